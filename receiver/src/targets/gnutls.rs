//! GnuTLS (wget, git, and much of the GNU world): a shared library with exported names.

use super::plan::{Plan, Probe, Site, Stack};

/// How the names of interest begin.
pub const BEGINNING: &[u8] = b"gnutls_";

/// File offsets of the functions through which plaintext passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Functions {
    send: Option<u64>,
    receive: Option<u64>,
    free: Option<u64>,
}

impl Functions {
    /// Takes a function, if it is one of these.
    ///
    /// `gnutls_record_send` hands on to `gnutls_record_send2` (lib/record.c), as do `gnutls_record_send_file` and
    /// `gnutls_record_uncork` in other ways; only the first is hooked, or all would be seen twice. The same holds for
    /// `gnutls_record_recv`.
    pub fn take(&mut self, name: &[u8], offset: u64) {
        let slot = match name {
            b"gnutls_record_send" => &mut self.send,
            b"gnutls_record_recv" => &mut self.receive,
            b"gnutls_deinit" => &mut self.free,
            _ => return,
        };
        slot.get_or_insert(offset);
    }

    /// The plan; none unless both directions would be seen.
    pub fn plan(&self) -> Option<Plan> {
        let mut sites = vec![
            Site::new(Probe::WriteSize, "gnutls_record_send", self.send?),
            Site::new(Probe::ReadSize, "gnutls_record_recv", self.receive?),
        ];
        sites.extend(self.free.map(|offset| Site::new(Probe::Free, "gnutls_deinit", offset)));
        Some(Plan { stack: Stack::GnuTls, method: "names of functions".to_owned(), sites })
    }
}
