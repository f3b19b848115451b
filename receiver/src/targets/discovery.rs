//! Finds files with TLS functions and attaches to each once.
//!
//! A file is looked at when a process executes or maps it; the answer, also "no", is kept per (device, inode). It is
//! opened through `/proc/<pid>/map_files`, which leads to the mapped file itself in every mount namespace, also when
//! its name was removed or replaced.
//!
//! What a file exports is read and attached to at once, as its process may send at once. Anything more is a [`Job`],
//! for a thread of its own: the smallest file first, so that a large one delays nobody.

use std::{
    collections::HashMap,
    fs::{File, Metadata},
    os::{fd::AsRawFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use object::ReadCache;

use super::{
    analysis,
    openssl::ElfError,
    plan::{Found, Plan, Stack},
    procfs::Proc,
    proof,
};
use crate::event::Chunk;

/// How long "no TLS here" is believed without a look at the file's dates: the inode's number may be another file's
/// after that. An attached file's inode is held by the kernel.
const NEGATIVE: Duration = Duration::from_secs(30);

/// How long a mapping that was told is looked for, and how many at once.
const PATIENCE: Duration = Duration::from_secs(1);
const PENDING: usize = 1024;

/// Files that wait to be searched at most.
const JOBS: usize = 4096;

/// Negatives that are remembered.
const MOST: usize = 65_536;

/// Files that one process is known to use at most.
const FILES: usize = 64;

/// How long a file stays attached that no process has mapped.
const IDLE: Duration = Duration::from_secs(60);

/// Device and inode.
pub type FileId = (u64, u64);

/// Attaches to functions of a file.
pub trait Attach {
    /// What stays attached as long as it lives.
    type Links;

    /// Attaches at these file offsets. The error says why not.
    fn attach(&mut self, path: &Path, plan: &Plan) -> Result<Self::Links, String>;
}

/// A file with TLS functions, for `doctor` and the heartbeat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attached {
    /// Its path as it was found.
    pub path: String,
    /// Device and inode.
    pub file: FileId,
    /// The TLS stacks in it, and how each was found.
    pub stacks: Vec<(Stack, String)>,
    /// Names of the functions.
    pub functions: Vec<String>,
    /// What is in it and could not be told apart.
    pub doubts: Vec<String>,
    /// Why it is not attached to, if it is not.
    pub error: Option<String>,
    /// Bytes of plaintext seen in processes that have it; 0: attached but silent.
    pub bytes: u64,
    /// Microseconds from the process's `exec` or `mmap` to the end of the attachment; none for one that was attached
    /// at start.
    pub delay: Option<u64>,
}

/// A file that is to be searched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// A path through which it can be opened.
    pub path: PathBuf,
    /// Its name.
    pub name: String,
    /// Device and inode.
    pub file: FileId,
    /// Bytes.
    pub size: u64,
    print: Print,
    since: Instant,
    /// True if a process brought it.
    mapped: bool,
}

impl Job {
    /// Opens the file; none if it is another one by now.
    pub fn open(&self) -> Option<File> {
        // An inode's number may be another file's by now. Removing a name changes the second date, but not the file.
        let is_it = |stat: &Metadata| {
            let print = Print::of(stat);
            (stat.dev(), stat.ino()) == self.file && (print.0, print.1) == (self.print.0, self.print.1)
        };
        [self.path.as_path(), Path::new(&self.name)].into_iter().find_map(|path| {
            let file = File::open(path).ok()?;
            file.metadata().is_ok_and(|stat| is_it(&stat)).then_some(file)
        })
    }
}

/// What became of a job.
pub enum Outcome<L> {
    /// The file is gone, or is another one by now.
    Gone,
    /// It was searched, and attached to if something was found: the links, or why not.
    Searched(Found, Result<Vec<L>, String>),
}

/// What a file looks like from outside: size and both dates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Print(u64, (i64, i64), (i64, i64));

impl Print {
    fn of(stat: &Metadata) -> Self {
        Self(stat.size(), (stat.mtime(), stat.mtime_nsec()), (stat.ctime(), stat.ctime_nsec()))
    }
}

/// What is known of a file.
enum Known {
    /// Index into the table.
    Attached(usize),
    /// It waits to be searched.
    Pending,
    /// No TLS functions, since then.
    Nothing(Print, Instant),
}

/// What is remembered of an attached file.
struct Held<L> {
    /// Attached as long as these live.
    links: Vec<L>,
    /// True if it stays attached: found at start, before anybody used it.
    pinned: bool,
    /// Nobody uses it, since then.
    idle: Option<Instant>,
    /// What it passes looked like HTTP at least once, or there is no need of a proof.
    proved: bool,
    /// Calls that did not.
    calls: u64,
}

/// Looks at files and remembers the answers.
pub struct Discovery<A: Attach> {
    proc: Proc,
    attacher: A,
    known: HashMap<FileId, Known>,
    /// Files as the kernel names them, where that is not how `stat` does.
    aliases: HashMap<FileId, FileId>,
    table: Vec<Attached>,
    held: Vec<Held<A::Links>>,
    /// The TLS files of each process, the latest last.
    users: HashMap<u32, Vec<FileId>>,
    /// Mappings that were told and not found yet: process, device, inode, since when.
    pending: Vec<(u32, u64, u64, Instant)>,
    jobs: Vec<Job>,
    working: usize,
}

impl<A: Attach> Discovery<A> {
    /// Nothing is known yet.
    pub fn new(proc: Proc, attacher: A) -> Self {
        Self {
            proc,
            attacher,
            known: HashMap::new(),
            aliases: HashMap::new(),
            table: Vec::new(),
            held: Vec::new(),
            users: HashMap::new(),
            pending: Vec::new(),
            jobs: Vec::new(),
            working: 0,
        }
    }

    /// A process executed a program: `file`, if the kernel says which. True if something new was attached.
    pub fn exec(&mut self, tgid: u32, file: Option<FileId>) -> bool {
        let path = self.proc.executable_file(tgid);
        let before = self.table.len();
        self.users.remove(&tgid);
        // By far the most are known, and have nothing: one look, and no file is opened.
        if let Some(Known::Nothing(print, _)) = file.and_then(|file| self.known.get(&self.real(file)))
            && path.metadata().map_or(true, |stat| Print::of(&stat) == *print)
        {
            return false;
        }
        let name = self.proc.executable(tgid).unwrap_or_else(|| path.display().to_string());
        if let Some(file) = self.look(&path, &name, file, true) {
            self.uses(tgid, file);
        }
        self.table.len() > before
    }

    /// A process mapped a file. True if something new was attached.
    pub fn map(&mut self, tgid: u32, dev: u64, inode: u64) -> bool {
        let file = self.real((dev, inode));
        match self.known.get(&file) {
            Some(Known::Attached(_) | Known::Pending) => {
                self.uses(tgid, file);
                return false;
            }
            Some(Known::Nothing(_, since)) if since.elapsed() < NEGATIVE => return false,
            _ => {}
        }
        let before = self.table.len();
        if !self.find(tgid, dev, inode) && self.pending.len() < PENDING {
            self.pending.push((tgid, dev, inode, Instant::now()));
        }
        self.table.len() > before
    }

    /// Tries again what was told before it could be found. True if something new was attached.
    pub fn retry(&mut self) -> bool {
        let before = self.table.len();
        for (tgid, dev, inode, since) in std::mem::take(&mut self.pending) {
            if !self.find(tgid, dev, inode) && since.elapsed() < PATIENCE {
                self.pending.push((tgid, dev, inode, since));
            }
        }
        self.table.len() > before
    }

    /// Finds a file by a process that is mapping it, and looks at it. False if it cannot be found (yet).
    fn find(&mut self, tgid: u32, dev: u64, inode: u64) -> bool {
        let Some((path, name)) = self.locate(tgid, dev, inode) else { return false };
        if let Some(file) = self.look(&path, &name, Some((dev, inode)), true) {
            self.uses(tgid, file);
        }
        true
    }

    /// A path to a file that a process is mapping, and its name. The event comes at the beginning of `mmap`: until
    /// the mapping is there, the file is open in the process.
    fn locate(&self, tgid: u32, dev: u64, inode: u64) -> Option<(PathBuf, String)> {
        let mapped = || {
            let mappings = self.proc.mappings(tgid);
            // Some file systems show another device in `maps` than the kernel's inode has.
            let exact = mappings.iter().find(|mapping| (mapping.dev, mapping.inode) == (dev, inode));
            let mapping = exact.or_else(|| mappings.iter().find(|mapping| mapping.inode == inode))?;
            let file = self.proc.mapped_file(tgid, mapping);
            let file = if file.exists() { file } else { self.proc.named_file(tgid, mapping) };
            Some((file, mapping.path.clone()))
        };
        let open = || {
            let is_it = |path: &PathBuf| path.metadata().is_ok_and(|stat| stat.is_file() && stat.ino() == inode);
            let file = self.proc.open_files(tgid).into_iter().find(is_it)?;
            let name = std::fs::read_link(&file).map(|name| name.display().to_string());
            let name = name.unwrap_or_else(|_| file.display().to_string());
            Some((file, name))
        };
        mapped().or_else(open).or_else(mapped)
    }

    /// Looks at everything that runs already.
    pub fn scan(&mut self, except: u32) {
        for tgid in self.proc.processes().into_iter().filter(|tgid| *tgid != except) {
            for mapping in self.proc.mappings(tgid) {
                self.map(tgid, mapping.dev, mapping.inode);
            }
        }
    }

    /// Looks at a file by its path, before anything maps it. It stays attached.
    pub fn path(&mut self, path: &Path) {
        let name = path.display().to_string();
        if let Some(file) = self.look(path, &name, None, false)
            && let Some(Known::Attached(at)) = self.known.get(&file)
            && let Some(held) = self.held.get_mut(*at)
        {
            held.pinned = true;
        }
    }

    /// A process ended.
    pub fn exit(&mut self, tgid: u32) {
        self.users.remove(&tgid);
    }

    /// Plaintext was seen in a process. It is counted for the file that the process mapped last.
    pub fn count(&mut self, tgid: u32, chunk: &Chunk) {
        let Some(files) = self.users.get(&tgid) else { return };
        let attached = files.iter().filter_map(|file| match self.known.get(file) {
            Some(Known::Attached(at)) => Some(*at),
            _ => None,
        });
        let attached: Vec<usize> = attached.take(2).collect();
        let last = files.iter().rev().find_map(|file| match self.known.get(file) {
            Some(Known::Attached(at)) => Some(*at),
            _ => None,
        });
        if let Some(entry) = last.and_then(|at| self.table.get_mut(at)) {
            entry.bytes = entry.bytes.saturating_add(chunk.bytes.len() as u64);
        }
        // Only where it is clear which file it passed through.
        if let (&[at], 0) = (attached.as_slice(), chunk.offset)
            && let Some(held) = self.held.get_mut(at).filter(|held| !held.proved)
        {
            held.proved = proof::looks_right(&chunk.bytes, chunk.total);
            held.calls += 1;
        }
    }

    /// How long the latest attachment took from the event that led to it, in microseconds.
    pub fn delayed(&mut self, micros: u64) {
        if let Some(entry) = self.table.last_mut() {
            entry.delay = Some(micros);
        }
    }

    /// Whether a process is known to have TLS functions.
    pub fn has_tls(&self, tgid: u32) -> bool {
        let files = self.users.get(&tgid).map(Vec::as_slice).unwrap_or_default();
        files.iter().any(|file| matches!(self.known.get(file), Some(Known::Attached(_))))
    }

    /// All processes that are known to have TLS functions.
    pub fn tls_users(&self) -> Vec<u32> {
        self.users.keys().copied().filter(|tgid| self.has_tls(*tgid)).collect()
    }

    /// All files with TLS functions that were found.
    pub fn table(&self) -> &[Attached] {
        &self.table
    }

    /// The file as `stat` names it.
    fn real(&self, file: FileId) -> FileId {
        self.aliases.get(&file).copied().unwrap_or(file)
    }

    fn uses(&mut self, tgid: u32, file: FileId) {
        let files = self.users.entry(tgid).or_default();
        if !files.contains(&file) && files.len() < FILES {
            files.push(file);
        }
    }

    /// Opens a file and looks at what it exports; attaches, or makes it a job. `alias`: device and inode as the kernel
    /// told them. Gives the file, if it is attached to or may be.
    fn look(&mut self, path: &Path, name: &str, alias: Option<FileId>, mapped: bool) -> Option<FileId> {
        let file = File::open(path).ok()?;
        let stat = file.metadata().ok().filter(Metadata::is_file)?;
        let id = (stat.dev(), stat.ino());
        if let Some(alias) = alias.filter(|alias| *alias != id) {
            if self.aliases.len() >= MOST {
                self.aliases.clear();
            }
            self.aliases.insert(alias, id);
        }
        match self.known.get_mut(&id) {
            Some(Known::Attached(_) | Known::Pending) => return Some(id),
            Some(Known::Nothing(print, since)) if *print == Print::of(&stat) => {
                *since = Instant::now();
                return None;
            }
            _ => {}
        }
        if self.known.len() > MOST {
            self.known.retain(|_, known| !matches!(known, Known::Nothing(..)));
        }
        let nothing = || Known::Nothing(Print::of(&stat), Instant::now());
        let small = stat.len() < analysis::SMALLEST;
        let data = ReadCache::new(&file);
        match if small { analysis::names(&data) } else { analysis::exported(&data) } {
            Ok(found) if !found.plans.is_empty() => {
                let found = analysis::cheaper(found, &file);
                let links = attach(&mut self.attacher, &file, &found.plans);
                self.attached(id, name, found, links, None);
            }
            answer if small || answer == Err(ElfError::Foreign) => {
                self.known.insert(id, nothing());
                return None;
            }
            // A damaged table of names does not hide the code.
            Ok(_) | Err(_) => {
                if self.jobs.len() >= JOBS {
                    return None;
                }
                let (path, name) = (path.to_owned(), name.to_owned());
                let (size, print) = (stat.len(), Print::of(&stat));
                self.jobs.push(Job { path, name, file: id, size, print, since: Instant::now(), mapped });
                self.known.insert(id, Known::Pending);
            }
        }
        Some(id)
    }

    /// Enters a file into the table.
    fn attached(
        &mut self,
        id: FileId,
        name: &str,
        found: Found,
        links: Result<Vec<A::Links>, String>,
        delay: Option<u64>,
    ) {
        let (links, error) = match links {
            Ok(links) => (links, None),
            Err(error) => (Vec::new(), Some(error)),
        };
        let error = error.or_else(|| found.plans.is_empty().then(|| found.doubts.join("; ")));
        let stacks: Vec<_> = found.plans.iter().map(|plan| (plan.stack, plan.method.clone())).collect();
        let functions: Vec<String> =
            found.plans.into_iter().flat_map(|plan| plan.sites).map(|site| site.name).collect();
        match &error {
            None => tracing::debug!(file = name, ?functions, "Attached to a TLS stack."),
            Some(error) => tracing::warn!(file = name, %error, "Cannot see what this file sends over TLS."),
        }
        let proved = stacks.iter().all(|(_, method)| method == analysis::BY_NAME);
        let path = name.to_owned();
        self.table.push(Attached { path, file: id, stacks, functions, doubts: found.doubts, error, bytes: 0, delay });
        self.held.push(Held { links, pinned: false, idle: None, proved, calls: 0 });
        self.known.insert(id, Known::Attached(self.table.len() - 1));
    }

    /// The next file to search: the smallest.
    pub fn next_job(&mut self) -> Option<Job> {
        let (at, _) = self.jobs.iter().enumerate().min_by_key(|(_, job)| (job.size, job.file))?;
        self.working += 1;
        Some(self.jobs.swap_remove(at))
    }

    /// True if no file waits or is being searched.
    pub fn is_done(&self) -> bool {
        self.jobs.is_empty() && self.working == 0
    }

    /// A job is done. True if something new was attached.
    pub fn finish(&mut self, job: &Job, outcome: Outcome<A::Links>) -> bool {
        self.working = self.working.saturating_sub(1);
        match outcome {
            Outcome::Gone => {
                self.known.remove(&job.file);
                false
            }
            Outcome::Searched(found, _) if found == Found::default() => {
                self.known.insert(job.file, Known::Nothing(job.print, Instant::now()));
                for files in self.users.values_mut() {
                    files.retain(|file| *file != job.file);
                }
                self.users.retain(|_, files| !files.is_empty());
                false
            }
            Outcome::Searched(found, links) => {
                let delay = job.mapped.then(|| u64::try_from(job.since.elapsed().as_micros()).unwrap_or(u64::MAX));
                self.attached(job.file, &job.name, found, links, delay);
                if !job.mapped
                    && let Some(held) = self.held.last_mut()
                {
                    held.pinned = true;
                }
                true
            }
        }
    }

    /// Attached files that no process is known to use any more for a while. A child of a fork has the files of its
    /// parent and tells nobody: ask [`mapped_by`] before they are released.
    pub fn idle(&mut self, now: Instant) -> Vec<FileId> {
        let used: std::collections::HashSet<FileId> = self.users.values().flatten().copied().collect();
        let mut idle = Vec::new();
        for (entry, held) in self.table.iter().zip(&mut self.held) {
            if held.pinned || held.links.is_empty() || used.contains(&entry.file) {
                held.idle = None;
                continue;
            }
            let since = *held.idle.get_or_insert(now);
            if now.saturating_duration_since(since) >= IDLE {
                idle.push(entry.file);
            }
        }
        idle
    }

    /// A process uses a file after all.
    pub fn used(&mut self, tgid: u32, file: FileId) {
        self.uses(tgid, file);
    }

    /// Forgets an attached file. The links are to be dropped elsewhere: detaching takes a tenth of a second a function.
    pub fn release(&mut self, file: FileId) -> Vec<A::Links> {
        let Some(Known::Attached(at)) = self.known.get(&file) else { return Vec::new() };
        let at = *at;
        self.known.remove(&file);
        let links = self.held.get_mut(at).map(|held| std::mem::take(&mut held.links)).unwrap_or_default();
        // The place in the table stays, so that others keep theirs; what is there is not shown any more.
        if at + 1 == self.table.len() {
            self.table.pop();
            self.held.pop();
        } else if at < self.table.len() {
            self.table.swap_remove(at);
            self.held.swap_remove(at);
            let moved = self.table.get(at).map(|entry| entry.file);
            if let Some(moved) = moved {
                self.known.insert(moved, Known::Attached(at));
            }
        }
        links
    }

    /// Takes the links of files found by their structure that have shown, over many calls, that they are something
    /// else.
    pub fn refuted(&mut self) -> Vec<A::Links> {
        let mut links = Vec::new();
        for (entry, held) in self.table.iter_mut().zip(&mut self.held) {
            if held.proved || held.links.is_empty() || held.calls < proof::CALLS {
                continue;
            }
            let calls = held.calls;
            let error = format!("detached: in {calls} calls nothing looked like HTTP or WebSocket");
            tracing::warn!(file = entry.path, %error, "What was taken for a TLS stack is none.");
            entry.error = Some(error);
            links.append(&mut held.links);
        }
        links
    }

    /// Processes that are known to use a file.
    pub fn users_of(&self, file: FileId) -> Vec<u32> {
        let mut users: Vec<u32> =
            self.users.iter().filter(|(_, files)| files.contains(&file)).map(|(tgid, _)| *tgid).collect();
        users.sort_unstable();
        users
    }
}

/// Attaches to everything that was found in a file, or to nothing.
pub fn attach<A: Attach>(attacher: &mut A, file: &File, plans: &[Plan]) -> Result<Vec<A::Links>, String> {
    // The kernel resolves the path itself; this one leads to the open file whatever its name is by now.
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    plans.iter().map(|plan| attacher.attach(&path, plan)).collect()
}

/// Processes that have one of these files mapped.
pub fn mapped_by(proc: &Proc, files: &[FileId]) -> Vec<(u32, FileId)> {
    let mut found = Vec::new();
    for tgid in proc.processes() {
        let mappings = proc.mappings(tgid);
        // By inode alone: some file systems show another device.
        let of = |file: &&FileId| mappings.iter().any(|mapping| mapping.inode == file.1);
        found.extend(files.iter().filter(of).map(|file| (tgid, *file)));
    }
    found
}

#[cfg(test)]
mod tests;
