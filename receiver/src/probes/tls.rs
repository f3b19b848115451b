//! `tls.bpf.c`: TLS reads and writes at the library's own functions.

use std::path::Path;

use aya::{
    Ebpf,
    programs::{
        ProgramError, UProbe,
        uprobe::{UProbeAttachLocation, UProbeLink, UProbeScope},
    },
};

use super::{ProbeStatus, chain, process::hint};
use crate::{
    Error,
    targets::plan::{Probe, Site},
};

/// Everything that is attached to one file. Dropped: detached.
pub struct Links {
    links: Vec<UProbeLink>,
}

impl Links {
    /// How many programs are attached.
    pub fn count(&self) -> usize {
        self.links.len()
    }
}

/// The programs of a probe.
struct Pair {
    probe: Probe,
    /// Name in `doctor`.
    name: &'static str,
    /// At entry.
    enter: &'static str,
    /// At return, by a return probe; for `Site::returns` at each of them.
    leave: Option<&'static str>,
}

const fn pair(probe: Probe, name: &'static str, enter: &'static str, leave: Option<&'static str>) -> Pair {
    Pair { probe, name, enter, leave }
}

/// All programs.
const PROGRAMS: &[Pair] = &[
    pair(Probe::Read, "tls/read", "read_enter", Some("read_leave")),
    pair(Probe::Write, "tls/write", "write_enter", Some("write_leave")),
    pair(Probe::ReadEx, "tls/read_ex", "read_ex_enter", Some("read_ex_leave")),
    pair(Probe::WriteEx, "tls/write_ex", "write_ex_enter", Some("write_ex_leave")),
    pair(Probe::WriteFlags, "tls/write_flags", "write_flags_enter", Some("write_ex_leave")),
    pair(Probe::ReadSize, "tls/read_size", "read_size_enter", Some("read_size_leave")),
    pair(Probe::WriteSize, "tls/write_size", "write_size_enter", Some("write_size_leave")),
    pair(Probe::RustlsEncrypt, "tls/rustls_encrypt", "rustls_encrypt_enter", None),
    pair(Probe::RustlsDecrypt, "tls/rustls_decrypt", "rustls_decrypt_enter", Some("rustls_decrypt_leave")),
    pair(Probe::AeadSeal, "tls/aead_seal", "aead_seal_enter", None),
    pair(Probe::AeadScatter, "tls/aead_scatter", "aead_scatter_enter", None),
    pair(Probe::AeadOpen, "tls/aead_open", "aead_open_enter", Some("aead_open_leave")),
    pair(Probe::GoRead, "tls/go_read", "go_read_enter", Some("go_read_leave")),
    pair(Probe::GoWrite, "tls/go_write", "go_write_enter", None),
    pair(Probe::GoClose, "tls/go_close", "go_close_enter", None),
    pair(Probe::Free, "tls/free", "object_free", None),
    // A return probe alone.
    pair(Probe::New, "tls/new", "object_new", None),
];

/// The loaded programs.
#[derive(Default)]
pub struct Programs {
    usable: bool,
}

impl Programs {
    /// Loads each program.
    pub fn load(&mut self, ebpf: &mut Ebpf) -> Vec<ProbeStatus> {
        let load = |ebpf: &mut Ebpf, name: &str| match ebpf.program_mut(name).map(<&mut UProbe>::try_from) {
            Some(Ok(program)) => match program.load() {
                // Two probes may share one.
                Ok(()) | Err(ProgramError::AlreadyLoaded) => Ok(()),
                Err(error) => Err(chain(&error)),
            },
            _ => Err(format!("the probe object has no program {name}")),
        };
        let status: Vec<ProbeStatus> = PROGRAMS
            .iter()
            .map(|pair| {
                let result = load(ebpf, pair.enter).and_then(|()| pair.leave.map_or(Ok(()), |leave| load(ebpf, leave)));
                let purpose = if matches!(pair.probe, Probe::Free | Probe::New | Probe::GoClose) {
                    "the end of TLS connections"
                } else {
                    "plaintext of TLS connections"
                };
                ProbeStatus { name: pair.name.into(), purpose, hint: hint(&result), error: result.err() }
            })
            .collect();
        self.usable = status.iter().any(|line| line.error.is_none());
        status
    }

    /// Attaches to a function of this very program and detaches again: kernels differ in the rights that uprobes need
    /// (CVE-2025-38466 and its backports want CAP_SYS_ADMIN), and only trying tells.
    pub fn try_out(&self, ebpf: &mut Ebpf) -> ProbeStatus {
        let result = own_function()
            .ok_or_else(|| "the address of an own function could not be told".to_owned())
            .and_then(|offset| {
                let sites = [Site::new(Probe::Free, "bystander", offset)];
                self.attach(ebpf, Path::new("/proc/self/exe"), &sites).map(drop).map_err(|error| error.to_string())
            });
        ProbeStatus {
            name: "tls/attach".into(),
            purpose: "attaching to functions of libraries",
            hint: hint(&result),
            error: result.err(),
        }
    }

    /// Attaches to functions of a file, in their order. Everything or nothing: a half-attached stack would lie about one
    /// direction.
    pub fn attach(&self, ebpf: &mut Ebpf, path: &Path, sites: &[Site]) -> Result<Links, Error> {
        if !self.usable {
            return Err(Error::Kernel("the TLS programs could not be loaded; see `onlooker doctor`".into()));
        }
        let mut links = Vec::new();
        for site in sites {
            let Some(pair) = PROGRAMS.iter().find(|pair| pair.probe == site.probe) else {
                return Err(Error::Kernel(format!("there is no probe for {}", site.name)));
            };
            // The return probe first: an entry that is seen without its return would leave a stale call behind.
            let leaves: Vec<u64> = if site.returns.is_empty() { vec![site.entry] } else { site.returns.clone() };
            let leaves = leaves.into_iter().filter_map(|offset| pair.leave.map(|name| (name, offset)));
            for (name, offset) in leaves.chain(std::iter::once((pair.enter, site.entry))) {
                let Some(Ok(program)) = ebpf.program_mut(name).map(<&mut UProbe>::try_from) else { continue };
                let link = program
                    .attach(UProbeAttachLocation::AbsoluteOffset(offset), path, UProbeScope::AllProcesses)
                    .and_then(|id| program.take_link(id))
                    .map_err(|error| {
                        Error::Kernel(format!("cannot attach {name} to {}: {}", path.display(), chain(&error)))
                    })?;
                links.push(link);
            }
        }
        Ok(Links { links })
    }
}

/// A function that does nothing, to try a uprobe on.
#[inline(never)]
extern "C" fn bystander() {
    std::hint::black_box(());
}

/// File offset of [`bystander`] in this program's file.
fn own_function() -> Option<u64> {
    let address = bystander as *const () as u64;
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    maps.lines().find_map(|line| {
        let mut fields = line.split_whitespace();
        let (from, to) = fields.next()?.split_once('-')?;
        let offset = fields.nth(1)?;
        let hex = |text: &str| u64::from_str_radix(text, 16).ok();
        (hex(from)?..hex(to)?).contains(&address).then_some(address - hex(from)? + hex(offset)?)
    })
}
