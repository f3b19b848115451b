//! Texts of what processes did: paths and names.

use pipeline::observation::{Action, Connection, Dns, Endpoint, File, Security};

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

pub fn connection(connection: &mut Connection, masker: &mut Masker) {
    for end in [&mut connection.local, &mut connection.peer] {
        if let Some(Endpoint::Unix(path)) = end {
            masker.text(path);
        }
    }
    masker.optional(&mut connection.name);
}

pub fn dns(dns: &mut Dns, masker: &mut Masker) {
    masker.text(&mut dns.name);
    for alias in &mut dns.aliases {
        masker.text(alias);
    }
}
