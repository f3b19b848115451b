//! Who is watched, and who is a candidate: likely to become an agent, and for a short time treated as if it were one
//! (`WATCHED` and `CANDIDATES`, process.bpf.c).

use std::collections::HashSet;

use aya::maps::{HashMap, Map, MapData};
use pipeline::ProcessKey;

use super::{chain, now};
use crate::{Error, event::Program};

/// `BPF_NOEXIST`, include/uapi/linux/bpf.h
const NO_EXIST: u64 = 1;

/// The kernel side's maps.
pub(super) struct Watched {
    /// `struct watch` by tgid: its start, and until when; 0: for good.
    processes: HashMap<MapData, u32, [u64; 2]>,
    /// `struct file_id`
    programs: HashMap<MapData, [u64; 2], u8>,
    /// The same, of programs that are none.
    ordinary: HashMap<MapData, [u64; 2], u8>,
    /// What is counted of open files: `struct open_file`, of which the second half begins with the tgid, and
    /// `struct file_use`.
    open_files: HashMap<MapData, [u64; 2], [u64; 6]>,
    holders: HashMap<MapData, u32, u64>,
}

impl Watched {
    /// Takes the maps out of the object.
    pub(super) fn new(map: &mut impl FnMut(&str) -> Result<Map, Error>) -> Result<Self, Error> {
        let failed = |error: aya::maps::MapError| Error::Kernel(chain(&error));
        Ok(Self {
            processes: HashMap::try_from(map("WATCHED")?).map_err(failed)?,
            programs: HashMap::try_from(map("CANDIDATES")?).map_err(failed)?,
            ordinary: HashMap::try_from(map("ORDINARY")?).map_err(failed)?,
            open_files: HashMap::try_from(map("OPEN_FILES")?).map_err(failed)?,
            holders: HashMap::try_from(map("HOLDERS")?).map_err(failed)?,
        })
    }

    /// Watches a process for good.
    pub(super) fn watch(&mut self, process: ProcessKey) -> Result<(), Error> {
        let watch = [process.start, 0];
        if self.processes.insert(process.tgid, watch, 0).is_ok() {
            return Ok(());
        }
        // The map may be full of those that are candidates no more.
        self.sweep(now());
        self.processes.insert(process.tgid, watch, 0).map_err(|error| Error::Kernel(chain(&error)))
    }

    /// Watches it no more. That it was not watched is no error.
    pub(super) fn unwatch(&mut self, tgid: u32) {
        let _ = self.processes.remove(&tgid);
    }

    /// Notes a candidate, if it is not known yet.
    pub(super) fn candidate(&mut self, process: ProcessKey, until: u64) {
        // One that is known is watched, or inherited its time.
        let _ = self.processes.insert(process.tgid, [process.start, until], NO_EXIST);
    }

    /// A process is to be seen no more; one that is watched stays so.
    pub(super) fn is_no_candidate(&mut self, tgid: u32) {
        if self.processes.get(&tgid, 0).is_ok_and(|[_, until]| until != 0) {
            self.unwatch(tgid);
        }
    }

    /// Notes a program whose processes are candidates.
    pub(super) fn program(&mut self, program: Program) -> Result<(), Error> {
        let key = [program.inode, u64::from(program.dev)];
        // That it was not there is no error.
        let _ = self.ordinary.remove(&key);
        self.programs.insert(key, 1, 0).map_err(|error| Error::Kernel(chain(&error)))
    }

    /// Notes a program of no interest.
    pub(super) fn ordinary(&mut self, program: Program) -> Result<(), Error> {
        let key = [program.inode, u64::from(program.dev)];
        self.ordinary.insert(key, 1, 0).map_err(|error| Error::Kernel(chain(&error)))
    }

    /// Whether nobody is watched and nobody a candidate at this time (ns since boot).
    pub(super) fn is_empty(&self, time: u64) -> bool {
        let mut watches = self.processes.iter().filter_map(Result::ok);
        !watches.any(|(_, [_, until])| until == 0 || until > time)
    }

    /// Takes out those whose time was over before `time` (ns since boot), with what was counted of their open files: their
    /// closes are not seen any more.
    pub(super) fn sweep(&mut self, time: u64) {
        let over = |[_, until]: [u64; 2]| until != 0 && until < time;
        let entries = self.processes.iter().filter_map(Result::ok);
        let over: HashSet<u32> = entries.filter(|(_, watch)| over(*watch)).map(|(tgid, _)| tgid).collect();
        let mut holders = HashSet::new();
        for tgid in over {
            self.unwatch(tgid);
            if self.holders.remove(&tgid).is_ok() {
                holders.insert(u64::from(tgid));
            }
        }
        if holders.is_empty() {
            return;
        }
        let files = self.open_files.keys().filter_map(Result::ok);
        let files: Vec<[u64; 2]> = files.filter(|[_, tgid]| holders.contains(tgid)).collect();
        for file in files {
            let _ = self.open_files.remove(&file);
        }
    }
}
