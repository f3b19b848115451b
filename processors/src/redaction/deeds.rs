//! Texts of what processes did: paths and names.

use pipeline::observation::{Action, File, Security};

use super::Masker;

pub fn file(file: &mut File, masker: &mut Masker) {
    masker.text(&mut file.path);
    masker.optional(&mut file.other);
}

pub fn security(security: &mut Security, masker: &mut Masker) {
    match &mut security.action {
        Action::Mount { source, target, kind, .. } => {
            masker.optional(source);
            masker.optional(target);
            masker.optional(kind);
        }
        Action::Unmount { target, .. } | Action::Root { target } => masker.optional(target),
        Action::Module { name, .. } | Action::Memfd { name } | Action::MemfdExec { name } => masker.optional(name),
        Action::SensitiveFile { path, .. } => masker.text(path),
        // Numbers only.
        Action::SetUser { .. }
        | Action::SetGroup { .. }
        | Action::Capabilities { .. }
        | Action::Trace { .. }
        | Action::Memory { .. }
        | Action::Namespaces { .. }
        | Action::Bpf { .. }
        | Action::Bind { .. }
        | Action::Signal { .. } => {}
    }
}
