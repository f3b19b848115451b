//! Deeds on files: equal ones of a process become one observation that says how many it stands for.
//!
//! What a process does to a path for the first time is told at once: when the file is closed, or the call is over. From
//! then on the same is gathered and told once in a while, the rarer the longer it goes on. A process that touches very many
//! paths has them told by folder. All is told before the process goes on as another program, and before its end.

mod sensitive;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use pipeline::{
    Kind, Observation, ProcessKey, Timestamp,
    observation::{Action, Deed, File, ProcessInfo, Security},
};

pub use self::sensitive::Sensitive;
use crate::{
    event::{
        Clock,
        deeds::{FileDeed, FileEvent},
    },
    record::{FileSettings, Reads},
};

/// How long an open file is waited for, and for how long at first the same deed is gathered, in ns.
const WINDOW: u64 = 1_000_000_000;

/// The longest time between two observations of what goes on, in ns.
const LONGEST: u64 = 30_000_000_000;

/// Deeds of one kind that a process has told each by itself; beyond it they are told by folder. They grow back.
const SINGLE: u64 = 256;

/// One of them grows back in this time, in ns.
const REGROWTH: u64 = 100_000_000;

/// Most paths that are remembered at a time, of all processes together.
const MOST: usize = 32_768;

/// What is gathered together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    deed: Deed,
    error: u32,
    path: String,
}

/// A deed that may come again.
#[derive(Debug)]
struct Slot {
    process: ProcessKey,
    key: Key,
    info: Arc<ProcessInfo>,
    /// What is gathered, and when it began and was last seen.
    gathered: Option<(File, u64, u64)>,
    /// How long is gathered.
    window: u64,
    /// When something is to be done: to tell what is gathered, or to forget.
    due: u64,
}

/// How many deeds of a kind a process may still tell each by itself.
#[derive(Clone, Copy, Debug)]
struct Budget {
    left: u64,
    at: u64,
}

/// What is known of one process.
#[derive(Debug, Default)]
struct Process {
    slots: HashMap<Key, u64>,
    budgets: HashMap<Deed, Budget>,
}

/// The deeds of all processes.
pub struct Files {
    clock: Clock,
    reads: Reads,
    sensitive: Sensitive,
    processes: HashMap<ProcessKey, Process>,
    slots: HashMap<u64, Slot>,
    due: BTreeSet<(u64, u64)>,
    next: u64,
    /// What files that were made without a name are called since they got one.
    named: BTreeMap<(ProcessKey, String), String>,
}

impl Files {
    /// Nothing was done yet.
    pub fn new(settings: Option<&FileSettings>, clock: Clock) -> Self {
        let settings = settings.cloned().unwrap_or_default();
        Self {
            clock,
            reads: settings.reads,
            sensitive: Sensitive::new(&settings.sensitive_paths),
            processes: HashMap::new(),
            slots: HashMap::new(),
            due: BTreeSet::new(),
            next: 0,
            named: BTreeMap::new(),
        }
    }

    /// Something was done with a file.
    pub fn event(&mut self, info: &Arc<ProcessInfo>, time: u64, event: &FileEvent, out: &mut Vec<Observation>) {
        let named = self.named.get(&(info.key, event.place.path.clone())).filter(|_| event.place.resolved);
        let path = named.unwrap_or(&event.place.path).clone();
        match event.deed {
            FileDeed::Open => {
                let changes = event.error == 0 || event.flags & CHANGES != 0;
                let deed = if changes { Deed::Write } else { Deed::Read };
                let file = File {
                    resolved: event.place.resolved,
                    flags: Some(event.flags),
                    mode: (event.error == 0).then_some(event.mode),
                    created: event.created,
                    ..File::new(deed, path)
                };
                // A file is told when it is closed.
                self.take(info, (time, time), file, event.error, event.error != 0, out);
            }
            FileDeed::Use => {
                let file = |deed, operations: u64| File {
                    resolved: event.place.resolved,
                    flags: Some(event.flags),
                    mode: Some(event.mode),
                    operations,
                    ..File::new(deed, path.as_str())
                };
                let began = event.began.min(time);
                let writable = event.flags & 3 != 0;
                if event.writes > 0 || event.mapped || (writable && event.closed) {
                    let written = (event.writes > 0).then_some(event.written);
                    let operations = u64::from(event.writes) + u64::from(event.mapped);
                    let file = File { written, mapped: event.mapped, ..file(Deed::Write, operations) };
                    self.take(info, (began, time), file, 0, event.closed, out);
                }
                if event.reads > 0 || (event.opened && !writable) {
                    let read = (event.reads > 0).then_some(event.read);
                    let operations = u64::from(event.reads) + u64::from(event.opened);
                    let file = File { read, ..file(Deed::Read, operations) };
                    self.take(info, (began, time), file, 0, event.closed, out);
                }
            }
            _ => self.change(info, time, event, out),
        }
    }

    /// A call on a path.
    fn change(&mut self, info: &Arc<ProcessInfo>, time: u64, event: &FileEvent, out: &mut Vec<Observation>) {
        let deed = match event.deed {
            FileDeed::Create => Deed::Create,
            FileDeed::Delete => Deed::Delete,
            FileDeed::Rename => Deed::Rename,
            FileDeed::Link => Deed::Link,
            FileDeed::Symlink => Deed::Symlink,
            FileDeed::Truncate => Deed::Truncate,
            FileDeed::Chmod => Deed::Chmod,
            FileDeed::Chown => Deed::Chown,
            FileDeed::Mkdir => Deed::Mkdir,
            FileDeed::Rmdir => Deed::Rmdir,
            FileDeed::Setxattr => Deed::Setxattr,
            FileDeed::Removexattr => Deed::Removexattr,
            FileDeed::Open | FileDeed::Use => return,
        };
        let other = event.other.as_ref().map(|place| place.path.clone());
        if let Some(new) = other.as_ref().filter(|_| is_naming(event)) {
            self.name(info, &event.place.path, new, out);
        }
        for path in [Some(&event.place.path), other.as_ref()].into_iter().flatten() {
            self.tell_path(info.key, path, out);
        }
        let id = |id: u32| (deed == Deed::Chown && id != u32::MAX).then_some(id);
        let file = File {
            resolved: event.place.resolved,
            other,
            mode: matches!(deed, Deed::Create | Deed::Chmod | Deed::Mkdir).then_some(event.mode),
            owner: id(event.uid),
            group: id(event.gid),
            length: (deed == Deed::Truncate).then_some(event.length),
            flags: (deed == Deed::Rename && event.flags != 0).then_some(event.flags),
            ..File::new(deed, event.place.path.as_str())
        };
        self.take(info, (time, time), file, event.error, true, out);
    }

    /// A file that was made without a name gets one: what was done with it before is told by that.
    fn name(&mut self, info: &Arc<ProcessInfo>, old: &str, new: &str, out: &mut Vec<Observation>) {
        for deed in [Deed::Read, Deed::Write] {
            let key = Key { deed, error: 0, path: old.to_owned() };
            let id = self.processes.get(&info.key).and_then(|process| process.slots.get(&key)).copied();
            let gathered = id.and_then(|id| self.slots.get_mut(&id)).and_then(|slot| slot.gathered.take());
            if let Some(id) = id {
                self.forget(id, out);
            }
            if let Some((file, began, last)) = gathered {
                let file = File { path: new.to_owned(), created: deed == Deed::Write, ..file };
                self.take(info, (began, last), file, 0, false, out);
            }
        }
        if self.named.len() < MOST {
            self.named.insert((info.key, old.to_owned()), new.to_owned());
        }
    }

    /// Takes a deed that lasted from a time to a time. `whole`: there is nothing to wait for.
    fn take(
        &mut self,
        info: &Arc<ProcessInfo>,
        (began, time): (u64, u64),
        mut file: File,
        error: u32,
        whole: bool,
        out: &mut Vec<Observation>,
    ) {
        file.error = (error != 0).then_some(error);
        let read = file.deed == Deed::Read;
        file.sensitive = self.sensitive.category(&file.path, read).or_else(|| {
            let other = file.other.as_deref().filter(|_| file.deed != Deed::Symlink)?;
            match file.deed {
                Deed::Setxattr | Deed::Removexattr => (other == CAPABILITY).then(|| "capabilities".to_owned()),
                _ => self.sensitive.category(other, read),
            }
        });
        if (read && !self.is_read_wanted(error, file.sensitive.is_some()))
            || (file.sensitive.is_none() && is_noise(&file))
        {
            return;
        }
        let mut key = Key { deed: file.deed, error, path: file.path.clone() };
        let known = self.processes.get(&info.key).is_some_and(|process| process.slots.contains_key(&key));
        if !known && file.sensitive.is_none() && !self.afford(info.key, file.deed, time) {
            fold(&mut file);
            key.path.clone_from(&file.path);
        }
        let id = self.slot(info, &key, time);
        let Some(slot) = self.slots.get_mut(&id) else { return };
        let folded = file.folded;
        match &mut slot.gathered {
            Some((gathered, _, last)) => {
                merge(gathered, file);
                *last = time;
            }
            gathered => *gathered = Some((file, began, time)),
        }
        let used = slot.gathered.as_ref().is_some_and(|(file, ..)| is_used(file));
        // In its window, or still open, or opened and closed only: a descriptor of it may have been duplicated before.
        let waits = slot.window > 0 || folded || !whole || !used;
        let due =
            if waits { slot.due.max(time.saturating_add(if slot.window > 0 { 0 } else { WINDOW })) } else { time };
        self.schedule(id, due);
        if !waits {
            self.tell(id, time, out);
        }
    }

    /// Whether a read is told.
    fn is_read_wanted(&self, error: u32, sensitive: bool) -> bool {
        // Programs look for files at many places.
        let absent = matches!(i32::try_from(error), Ok(libc::ENOENT | libc::ENOTDIR));
        match self.reads {
            _ if absent && !sensitive => false,
            Reads::All => true,
            Reads::Sensitive => sensitive,
            Reads::None => false,
        }
    }

    /// Whether anything of this might be told: most of what programs do when they begin is to read themselves.
    pub fn is_of_interest(&self, event: &FileEvent) -> bool {
        let reads = match event.deed {
            FileDeed::Open => event.error != 0 && event.flags & CHANGES == 0,
            FileDeed::Use => event.writes == 0 && event.flags & 3 == 0,
            _ => false,
        };
        !reads || self.is_read_wanted(event.error, self.sensitive.category(&event.place.path, true).is_some())
    }

    /// The slot of a deed; a new one if there is none.
    fn slot(&mut self, info: &Arc<ProcessInfo>, key: &Key, time: u64) -> u64 {
        let process = self.processes.entry(info.key).or_default();
        if let Some(id) = process.slots.get(key) {
            if let Some(slot) = self.slots.get_mut(id) {
                slot.info = info.clone();
            }
            return *id;
        }
        let id = self.next;
        self.next += 1;
        process.slots.insert(key.clone(), id);
        let slot =
            Slot { process: info.key, key: key.clone(), info: info.clone(), gathered: None, window: 0, due: time };
        self.slots.insert(id, slot);
        self.due.insert((time, id));
        id
    }

    fn schedule(&mut self, id: u64, due: u64) {
        if let Some(slot) = self.slots.get_mut(&id) {
            self.due.remove(&(slot.due, id));
            slot.due = due;
            self.due.insert((due, id));
        }
    }

    /// Whether a process may tell one more deed of a kind by itself.
    fn afford(&mut self, process: ProcessKey, deed: Deed, time: u64) -> bool {
        let budgets = &mut self.processes.entry(process).or_default().budgets;
        let budget = budgets.entry(deed).or_insert(Budget { left: SINGLE, at: time });
        let grown = time.saturating_sub(budget.at) / REGROWTH;
        budget.left = budget.left.saturating_add(grown).min(SINGLE);
        budget.at = budget.at.saturating_add(grown.saturating_mul(REGROWTH)).min(time.max(budget.at));
        let affords = budget.left > 0;
        budget.left = budget.left.saturating_sub(1);
        affords
    }

    /// Tells what a slot has gathered, at a time; the slot stays for its window.
    fn tell(&mut self, id: u64, time: u64, out: &mut Vec<Observation>) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        slot.window = slot.window.saturating_mul(2).clamp(WINDOW, LONGEST);
        let due = time.saturating_add(slot.window);
        let gathered = slot.gathered.take();
        let info = slot.info.clone();
        self.schedule(id, due);
        if let Some(gathered) = gathered {
            observe(self.clock, info, gathered, out);
        }
    }

    /// Tells what was done with a path so far, before its name changes.
    fn tell_path(&mut self, process: ProcessKey, path: &str, out: &mut Vec<Observation>) {
        for deed in [Deed::Read, Deed::Write] {
            let key = Key { deed, error: 0, path: path.to_owned() };
            let id = self.processes.get(&process).and_then(|process| process.slots.get(&key)).copied();
            if let Some(slot) = id.and_then(|id| self.slots.get_mut(&id))
                // What goes on for longer is not told at each turn.
                && slot.window == 0
                && let Some(gathered) = slot.gathered.take()
            {
                observe(self.clock, slot.info.clone(), gathered, out);
            }
        }
    }

    /// Time went on.
    pub fn expire(&mut self, time: u64, out: &mut Vec<Observation>) {
        while let Some((due, id)) = self.due.first().copied()
            && (due <= time || self.slots.len() > MOST)
        {
            if self.slots.get(&id).is_some_and(|slot| slot.gathered.is_some()) && self.slots.len() <= MOST {
                self.tell(id, due, out);
            } else {
                self.forget(id, out);
            }
        }
    }

    fn forget(&mut self, id: u64, out: &mut Vec<Observation>) {
        let Some(slot) = self.slots.remove(&id) else { return };
        self.due.remove(&(slot.due, id));
        if let Some(process) = self.processes.get_mut(&slot.process) {
            process.slots.remove(&slot.key);
            if process.slots.is_empty() && process.budgets.is_empty() {
                self.processes.remove(&slot.process);
            }
        }
        if let Some(gathered) = slot.gathered {
            observe(self.clock, slot.info, gathered, out);
        }
    }

    /// A process goes on as another program, or ends: all that it did is told.
    pub fn end(&mut self, process: ProcessKey, out: &mut Vec<Observation>) {
        while let Some((key, _)) = self.named.range((process, String::new())..).next()
            && key.0 == process
        {
            let key = key.clone();
            self.named.remove(&key);
        }
        let Some(process) = self.processes.remove(&process) else { return };
        let mut ids: Vec<u64> = process.slots.into_values().collect();
        ids.sort_unstable();
        for id in ids {
            self.forget(id, out);
        }
    }

    /// Nothing more comes.
    pub fn finish(&mut self, out: &mut Vec<Observation>) {
        let mut processes: Vec<ProcessKey> = self.processes.keys().copied().collect();
        processes.sort_unstable();
        for process in processes {
            self.end(process, out);
        }
    }
}

/// The attribute with the capabilities that a program gets when it is executed (capabilities(7)).
const CAPABILITY: &str = "security.capability";

/// Whether a file gets a name that was made without one (O_TMPFILE): the kernel calls it `#` and its number until then.
fn is_naming(event: &FileEvent) -> bool {
    let name = event.place.path.rsplit('/').next().unwrap_or_default();
    let unnamed = name.strip_prefix('#').is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
    event.deed == FileDeed::Link && event.error == 0 && event.place.resolved && unnamed
}

/// Flags of an open that may change the file: O_WRONLY, O_RDWR, O_CREAT, O_TRUNC.
const CHANGES: u32 = 0o1103;

/// What every program does: writing to devices that keep nothing.
fn is_noise(file: &File) -> bool {
    matches!(file.path.as_str(), "/dev/null" | "/dev/zero" | "/dev/full" | "/dev/random" | "/dev/urandom")
        || file.path == "/dev/tty"
        || file.path.starts_with("/dev/pts/")
}

/// Whether more was done than opening a file.
fn is_used(file: &File) -> bool {
    file.error.is_some() || !matches!(file.deed, Deed::Write) || file.written.is_some() || file.mapped
}

/// The path becomes that of its folder.
fn fold(file: &mut File) {
    file.path = format!("{}/*", file.directory().trim_end_matches('/'));
    file.other = None;
    file.folded = true;
    file.resolved = false;
}

fn merge(gathered: &mut File, file: File) {
    let sum = |a: Option<u64>, b: Option<u64>| match (a, b) {
        (None, None) => None,
        (a, b) => Some(a.unwrap_or(0).saturating_add(b.unwrap_or(0))),
    };
    gathered.operations = gathered.operations.saturating_add(file.operations);
    gathered.read = sum(gathered.read, file.read);
    gathered.written = sum(gathered.written, file.written);
    gathered.created |= file.created;
    gathered.mapped |= file.mapped;
    gathered.mode = file.mode.or(gathered.mode);
    gathered.other = file.other.or(gathered.other.take());
    gathered.owner = file.owner.or(gathered.owner);
    gathered.group = file.group.or(gathered.group);
    gathered.length = file.length.or(gathered.length);
    gathered.flags = gathered.flags.or(file.flags);
}

/// What was gathered becomes an observation, and one more if it changed what security rests on.
fn observe(
    clock: Clock,
    info: Arc<ProcessInfo>,
    (mut file, began, last): (File, u64, u64),
    out: &mut Vec<Observation>,
) {
    // Closed, after all that was done with it was told.
    if file.operations == 0 {
        return;
    }
    let time: Timestamp = clock.wall(last);
    file.duration = Duration::from_nanos(last.saturating_sub(began));
    let change = file.sensitive.clone().filter(|_| file.deed != Deed::Read).map(|category| Security {
        action: Action::SensitiveFile { path: file.path.clone(), category },
        call: call(file.deed),
        error: file.error,
        operations: file.operations,
    });
    out.push(Observation::new(time, info.clone(), Kind::File(Box::new(file))));
    if let Some(change) = change {
        out.push(Observation::new(time, info, Kind::Security(Box::new(change))));
    }
}

/// The call by which a deed is done, in its plainest form.
fn call(deed: Deed) -> &'static str {
    match deed {
        Deed::Read => "read",
        Deed::Write => "write",
        Deed::Create => "mknod",
        Deed::Delete => "unlink",
        Deed::Rename => "rename",
        Deed::Link => "link",
        Deed::Symlink => "symlink",
        Deed::Truncate => "truncate",
        Deed::Chmod => "chmod",
        Deed::Chown => "chown",
        Deed::Mkdir => "mkdir",
        Deed::Rmdir => "rmdir",
        Deed::Setxattr => "setxattr",
        Deed::Removexattr => "removexattr",
    }
}

#[cfg(test)]
mod tests;
