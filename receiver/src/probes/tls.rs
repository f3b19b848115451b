//! `tls.bpf.c`: TLS reads and writes at the library's own functions.

use std::path::Path;

use aya::{
    Ebpf,
    programs::{
        UProbe,
        uprobe::{UProbeAttachLocation, UProbeLink, UProbeScope},
    },
};

use super::{ProbeStatus, chain, process::hint};
use crate::{Error, targets::openssl::Functions};

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

/// The names of the programs, per function: at entry, at return.
const PROGRAMS: [(&str, Option<&str>); 5] = [
    ("read_enter", Some("read_leave")),
    ("write_enter", Some("write_leave")),
    ("read_ex_enter", Some("read_ex_leave")),
    ("write_ex_enter", Some("write_ex_leave")),
    ("object_free", None),
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
            Some(Ok(program)) => program.load().map_err(|error| chain(&error)),
            _ => Err(format!("the probe object has no program {name}")),
        };
        let purposes = ["tls/read", "tls/write", "tls/read_ex", "tls/write_ex", "tls/free"];
        let status: Vec<ProbeStatus> = PROGRAMS
            .iter()
            .zip(purposes)
            .map(|((enter, leave), name)| {
                let result = load(ebpf, enter).and_then(|()| leave.map_or(Ok(()), |leave| load(ebpf, leave)));
                let purpose =
                    if *enter == "object_free" { "the end of TLS connections" } else { "plaintext of TLS connections" };
                ProbeStatus { name: name.into(), purpose, hint: hint(&result), error: result.err() }
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
                let functions = Functions { free: Some(offset), ..Functions::default() };
                self.attach(ebpf, Path::new("/proc/self/exe"), &functions).map(drop).map_err(|error| error.to_string())
            });
        ProbeStatus {
            name: "tls/attach".into(),
            purpose: "attaching to functions of libraries",
            hint: hint(&result),
            error: result.err(),
        }
    }

    /// Attaches to the functions of a file. Everything or nothing: a half-attached pair would lie about one direction.
    pub fn attach(&self, ebpf: &mut Ebpf, path: &Path, functions: &Functions) -> Result<Links, Error> {
        if !self.usable {
            return Err(Error::Kernel("the TLS programs could not be loaded; see `onlooker doctor`".into()));
        }
        let offsets = [functions.read, functions.write, functions.read_ex, functions.write_ex, functions.free];
        let mut links = Vec::new();
        for ((enter, leave), offset) in PROGRAMS.iter().zip(offsets) {
            let Some(offset) = offset else { continue };
            // The return probe first: an entry that is seen without its return would leave a stale call behind.
            for name in leave.iter().copied().chain(std::iter::once(*enter)) {
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
