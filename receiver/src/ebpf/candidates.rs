//! Programs that are likely to become agents. The kernel side is told of them, and treats whoever executes one as watched
//! for its first seconds: what it does then is kept, and told if it turns out to be an agent.

use std::{
    collections::{HashMap, HashSet},
    os::unix::fs::MetadataExt,
    path::Path,
};

use pipeline::ProcessKey;

use super::kernel::Shared;
use crate::{
    event::{Event, Exec, Program},
    targets::{procfs::Proc, rules::is_likely_agent},
};

/// Programs that are remembered, of each kind; with more, they are judged anew.
const MOST: usize = 4096;

/// Where programs are.
const FOLDERS: &[&str] = &["/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/opt/bin"];

/// What is known of programs.
pub struct Candidates {
    kernel: Shared,
    /// For how long, ns; 0: there are no candidates; `u64::MAX`: as long as they run.
    lookback: u64,
    /// Whether others may be watched for another reason.
    rules: bool,
    likely: HashSet<Program>,
    unlikely: HashSet<Program>,
    /// What runs an unlikely one, since when (ns since boot).
    running: HashMap<u32, (ProcessKey, u64, Program)>,
}

impl Candidates {
    /// None is known yet.
    pub fn new(kernel: Shared, lookback: u64, rules: bool) -> Self {
        let (likely, unlikely) = (HashSet::new(), HashSet::new());
        Self { kernel, lookback, rules, likely, unlikely, running: HashMap::new() }
    }

    /// Looks at what is installed, and at what runs: `tls` are processes with TLS functions. What a file system names
    /// otherwise than the kernel is found when it is executed.
    pub fn survey(&mut self, proc: &Proc, tls: &[u32]) {
        if self.lookback == 0 {
            return;
        }
        for folder in FOLDERS {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                if entry.file_name().to_str().is_some_and(is_likely_agent) {
                    self.file(&entry.path());
                }
            }
        }
        for tgid in proc.processes() {
            let name = proc.executable(tgid).unwrap_or_default();
            if tls.contains(&tgid) || is_likely_agent(base(&name)) {
                self.file(&proc.executable_file(tgid));
                if self.lookback == u64::MAX
                    && tgid != std::process::id()
                    && let Some((process, _)) = proc.identity(tgid)
                {
                    self.kernel.candidate(process, u64::MAX);
                }
            }
        }
    }

    fn file(&mut self, path: &Path) {
        let Ok(stat) = path.metadata() else { return };
        let (major, minor) = (libc::major(stat.dev()), libc::minor(stat.dev()));
        if stat.is_file() && !is_shell_script(path) {
            self.add(Program { inode: stat.ino(), dev: major << 20 | minor });
        }
    }

    fn add(&mut self, program: Program) {
        if self.likely.len() >= MOST {
            self.likely.clear();
        }
        self.unlikely.remove(&program);
        if self.likely.insert(program) {
            self.kernel.candidate_program(program);
        }
    }

    /// A process executed a program. `tls`: whether TLS functions were found in it.
    pub fn exec(&mut self, event: &Event, exec: &Exec, proc: &Proc, tls: bool) {
        self.running.remove(&event.process.tgid);
        let Some(program) = exec.program.filter(|_| self.lookback > 0) else { return };
        // The kernel side knows it, but not that its system calls are to be seen again.
        if self.likely.contains(&program) {
            return self.kernel.wake();
        }
        if !self.unlikely.contains(&program) || tls {
            let name = proc.executable(event.process.tgid);
            if tls || is_likely_agent(base(name.as_deref().unwrap_or(&exec.filename))) {
                self.add(program);
                return self.kernel.candidate(event.process, event.time.saturating_add(self.lookback));
            }
            if self.unlikely.len() >= MOST {
                self.unlikely.clear();
            }
            self.unlikely.insert(program);
            if !self.rules {
                self.kernel.ordinary_program(program);
            }
        }
        self.running.insert(event.process.tgid, (event.process, event.time, program));
    }

    /// Whether it is known of a program that its processes are no candidates.
    pub fn is_unlikely(&self, exec: &Exec) -> bool {
        exec.program.is_some_and(|program| self.unlikely.contains(&program))
    }

    /// A process is seen to have TLS functions, at this time (ns since boot).
    pub fn tls(&mut self, tgid: u32, time: u64) {
        if let Some((process, executed, program)) = self.running.remove(&tgid) {
            self.add(program);
            let until = executed.saturating_add(self.lookback);
            if until > time {
                self.kernel.candidate(process, until);
            }
        }
    }

    /// A process ended.
    pub fn exit(&mut self, tgid: u32) {
        self.running.remove(&tgid);
    }
}

fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default().trim_end_matches(" (deleted)")
}

/// A script's interpreter is executed, not the script.
fn is_shell_script(path: &Path) -> bool {
    let mut start = [0; 2];
    let read = std::fs::File::open(path).and_then(|mut file| std::io::Read::read(&mut file, &mut start));
    read.is_ok() && start == *b"#!"
}
