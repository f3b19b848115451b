//! `calls.bpf.c`: the two programs that hand system calls of watched processes to those that look at them, and which call
//! goes to which program.

use std::collections::BTreeMap;

use aya::{
    Ebpf,
    maps::{Array, MapData, ProgramArray},
    programs::{ProgramError, RawTracePoint},
};

use super::{
    ProbeStatus, chain,
    process::hint,
    switch::{Point, Switch},
};

/// A program, when it runs, and for which calls.
pub(super) struct Program {
    /// Its name in the object.
    pub name: &'static str,
    /// True: at the entry of a call; false: at its return.
    pub entry: bool,
    /// The calls: their numbers (unistd_64.h of x86) and names.
    pub calls: &'static [(i64, &'static str)],
}

impl Program {
    /// At the return of calls.
    pub const fn at(name: &'static str, calls: &'static [(i64, &'static str)]) -> Self {
        Self { name, entry: false, calls }
    }

    /// At their entry.
    pub const fn entry(name: &'static str, calls: &'static [(i64, &'static str)]) -> Self {
        Self { name, entry: true, calls }
    }
}

/// Programs that do one thing together.
pub(super) struct Group {
    /// Name of the probe, as `file/open`.
    pub name: &'static str,
    /// What it is for.
    pub purpose: &'static str,
    /// The programs.
    pub programs: &'static [Program],
    /// Programs at tracepoints of their own: the program and the tracepoint.
    pub tracepoints: &'static [(&'static str, &'static str)],
    /// The same, before those of `process.bpf.c`: what they tell belongs to the program that ends.
    pub first: &'static [(&'static str, &'static str)],
}

impl Group {
    /// Of programs at system calls only.
    pub const fn of(name: &'static str, purpose: &'static str, programs: &'static [Program]) -> Self {
        Self { name, purpose, programs, tracepoints: &[], first: &[] }
    }
}

/// The name of a call that `security.bpf.c` tells.
pub(super) fn security_name(number: u32) -> Option<&'static str> {
    let calls = super::security::GROUPS.iter().flat_map(|group| group.programs).flat_map(|program| program.calls);
    calls.into_iter().find(|(known, _)| *known == i64::from(number)).map(|(_, name)| *name)
}

/// System calls there can be (`SYSCALL_NUMBERS`).
const NUMBERS: u32 = 512;

/// The kernel's tables of programs; they empty themselves when this is dropped.
#[derive(Default)]
pub(super) struct Calls {
    tables: Option<Tables>,
    /// What failed of what goes before the probes of processes.
    failed: Vec<(&'static str, String)>,
}

struct Tables {
    syscalls: Array<MapData, u32>,
    entries: ProgramArray<MapData>,
    returns: ProgramArray<MapData>,
}

impl Calls {
    /// Attaches what goes before the probes of processes. What fails is told with its group.
    pub fn attach_first(&mut self, ebpf: &mut Ebpf, groups: &[&Group]) {
        for (program, tracepoint) in groups.iter().flat_map(|group| group.first) {
            if let Err(error) = attach(ebpf, program, tracepoint) {
                self.failed.push((program, error));
            }
        }
    }

    /// Loads each program on its own, and hands calls to those that loaded: of two for the same call, first to that of the
    /// earlier group. Gives what lets all calls go, and takes them up again.
    pub fn attach(&mut self, ebpf: &mut Ebpf, groups: &[&Group]) -> (Vec<ProbeStatus>, Option<Switch>) {
        if groups.is_empty() {
            return (Vec::new(), None);
        }
        let (begun, switch) = match self.tables(ebpf) {
            Ok(switch) => (Ok(()), Some(switch)),
            Err(error) => (Err(error), None),
        };
        (groups.iter().map(|group| self.group(ebpf, group, &begun)).collect(), switch)
    }

    fn tables(&mut self, ebpf: &mut Ebpf) -> Result<Switch, String> {
        let mut map = |name: &str| ebpf.take_map(name).ok_or_else(|| format!("the probe object has no map {name}"));
        let failed = |error: aya::maps::MapError| chain(&error);
        let tables = Tables {
            syscalls: Array::try_from(map("SYSCALLS")?).map_err(failed)?,
            entries: ProgramArray::try_from(map("ENTRIES")?).map_err(failed)?,
            returns: ProgramArray::try_from(map("RETURNS")?).map_err(failed)?,
        };
        self.tables = Some(tables);
        let mut point = |program: &str, tracepoint| -> Result<Point, String> {
            let program = load(ebpf, program)?.fd().and_then(|fd| fd.try_clone().map_err(ProgramError::IOError));
            Ok(Point { program: program.map_err(|error| chain(&error))?, tracepoint })
        };
        // In this order: no return is seen whose entry was not.
        Switch::start(vec![point("call_entry", c"sys_enter")?, point("call_return", c"sys_exit")?])
    }

    fn group(&mut self, ebpf: &mut Ebpf, group: &Group, begun: &Result<(), String>) -> ProbeStatus {
        let mut errors: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for program in group.programs {
            let done = begun.clone().and_then(|()| self.program(ebpf, program));
            if let Err(error) = done {
                errors.entry(error).or_default().push(program.name);
            }
        }
        for (program, tracepoint) in group.tracepoints {
            if let Err(error) = attach(ebpf, program, tracepoint) {
                errors.entry(error).or_default().push(program);
            }
        }
        for (program, error) in self.failed.iter().filter(|(name, _)| group.first.iter().any(|(own, _)| own == name)) {
            errors.entry(error.clone()).or_default().push(program);
        }
        let errors: Vec<String> =
            errors.into_iter().map(|(error, programs)| format!("{}: {error}", programs.join(", "))).collect();
        let result = if errors.is_empty() { Ok(()) } else { Err(errors.join("; ")) };
        ProbeStatus { name: group.name.into(), purpose: group.purpose, hint: hint(&result), error: result.err() }
    }

    fn program(&mut self, ebpf: &mut Ebpf, program: &Program) -> Result<(), String> {
        let Some(tables) = &mut self.tables else { return Err("the kernel's tables of programs are missing".into()) };
        let loaded = load(ebpf, program.name)?;
        let fd = loaded.fd().map_err(|error| chain(&error))?;
        let (programs, bit) = if program.entry { (&mut tables.entries, 1) } else { (&mut tables.returns, 2) };
        for (number, _) in program.calls {
            let Ok(number) = u32::try_from(*number) else { continue };
            let bits = tables.syscalls.get(&number, 0).unwrap_or_default();
            // The second row: the program of the first goes on to it (`AFTER`, calls.bpf.c).
            let (row, bit) = if bits & bit == 0 { (0, bit) } else { (NUMBERS, bit << 2) };
            if bits & bit != 0 {
                return Err(format!("there are two programs for call {number} already"));
            }
            programs.set(row + number, fd, 0).map_err(|error| chain(&error))?;
            tables.syscalls.set(number, bits | bit, 0).map_err(|error| chain(&error))?;
        }
        Ok(())
    }
}

fn load<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut RawTracePoint, String> {
    match ebpf.program_mut(name).map(<&mut RawTracePoint>::try_from) {
        Some(Ok(program)) => program.load().map_err(|error| chain(&error)).map(|()| program),
        _ => Err(format!("the probe object has no program {name}")),
    }
}

/// Attaches a program to a raw tracepoint, for good.
pub(super) fn attach(ebpf: &mut Ebpf, name: &str, tracepoint: &str) -> Result<(), String> {
    load(ebpf, name)?.attach(tracepoint).map(drop).map_err(|error| chain(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probes::{file, network, process, security, socket};

    /// Of two programs for one call the first one must go on to the second (`AFTER`): these do.
    #[test]
    fn only_programs_that_go_on_share_a_call() {
        let groups = [process::GROUPS, socket::GROUPS, network::GROUPS, file::GROUPS, security::GROUPS];
        let mut asked: BTreeMap<(bool, i64), Vec<&str>> = BTreeMap::new();
        for program in groups.into_iter().flatten().flat_map(|group| group.programs) {
            for (number, _) in program.calls {
                assert!((0..i64::from(NUMBERS)).contains(number), "{}", program.name);
                asked.entry((program.entry, *number)).or_default().push(program.name);
            }
        }
        let shared: Vec<_> = asked.into_values().filter(|programs| programs.len() > 1).collect();
        let expected = [
            ["socket_read", "file_read"],
            ["socket_write", "file_write"],
            ["socket_readv", "file_read"],
            ["socket_writev", "file_write"],
            ["socket_close", "file_close"],
        ];
        assert_eq!(shared, expected);
    }
}
