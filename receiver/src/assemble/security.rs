//! System calls that change rights or reach beyond the process: equal ones are told once in a while.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
};

use pipeline::{
    Kind, Observation, ProcessKey,
    observation::{Action, ProcessInfo, Security, Target},
};

use crate::{
    event::{Clock, deeds::SecurityEvent},
    targets::table::Table,
};

/// For how long equal calls are gathered after one was told, in ns.
const WINDOW: u64 = 1_000_000_000;

/// Most kinds of calls that are remembered.
const MOST: usize = 4096;

/// How far up it is looked for the top of a process's tree.
const GENERATIONS: usize = 64;

/// Calls that were told, by what makes them equal.
type Key = (ProcessKey, String);

#[derive(Debug)]
struct Gathered {
    info: Arc<ProcessInfo>,
    security: Security,
    /// Calls since the last one that was told; the time of the latest.
    more: u64,
    last: u64,
    due: u64,
}

/// What is gathered.
pub struct Rights {
    clock: Clock,
    gathered: HashMap<Key, Gathered>,
    due: BTreeMap<(u64, Key), ()>,
    /// Processes that are known to have an io_uring.
    rings: HashSet<ProcessKey>,
}

impl Rights {
    /// Nothing was called yet.
    pub fn new(clock: Clock) -> Self {
        Self { clock, gathered: HashMap::new(), due: BTreeMap::new(), rings: HashSet::new() }
    }

    /// A call of a process.
    pub fn event(
        &mut self,
        info: &Arc<ProcessInfo>,
        time: u64,
        event: &SecurityEvent,
        table: &Table,
        out: &mut Vec<Observation>,
    ) {
        let Some(security) = security(info, event, table) else { return };
        if matches!(security.action, Action::IoUring { operation: None }) && !self.rings.insert(info.key) {
            return;
        }
        let key = (info.key, format!("{:?} {:?} {}", security.action, security.error, security.call));
        if let Some(known) = self.gathered.get_mut(&key) {
            known.more = known.more.saturating_add(security.operations);
            known.last = time;
            known.info = info.clone();
            return;
        }
        while self.gathered.len() >= MOST
            && let Some(((_, first), ())) = self.due.first_key_value()
        {
            let first = first.clone();
            self.forget(&first, out);
        }
        let due = time.saturating_add(WINDOW);
        out.push(Observation::new(self.clock.wall(time), info.clone(), Kind::Security(Box::new(security.clone()))));
        self.due.insert((due, key.clone()), ());
        self.gathered.insert(key, Gathered { info: info.clone(), security, more: 0, last: time, due });
    }

    fn forget(&mut self, key: &Key, out: &mut Vec<Observation>) {
        let Some(known) = self.gathered.remove(key) else { return };
        self.due.remove(&(known.due, key.clone()));
        if known.more > 0 {
            let security = Security { operations: known.more, ..known.security };
            out.push(Observation::new(self.clock.wall(known.last), known.info, Kind::Security(Box::new(security))));
        }
    }

    /// Time went on.
    pub fn expire(&mut self, time: u64, out: &mut Vec<Observation>) {
        while let Some(((due, key), ())) = self.due.first_key_value()
            && *due <= time
        {
            let key = key.clone();
            self.forget(&key, out);
        }
    }

    /// A process goes on as another program, or ends.
    pub fn end(&mut self, process: ProcessKey, out: &mut Vec<Observation>) {
        self.rings.remove(&process);
        let mut keys: Vec<Key> = self.gathered.keys().filter(|(key, _)| *key == process).cloned().collect();
        keys.sort_unstable();
        for key in keys {
            self.forget(&key, out);
        }
    }

    /// Nothing more comes.
    pub fn finish(&mut self, out: &mut Vec<Observation>) {
        self.expire(u64::MAX, out);
    }
}

/// What a call means; `None` if it is of no interest.
fn security(info: &ProcessInfo, event: &SecurityEvent, table: &Table) -> Option<Security> {
    let [first, second, ..] = event.arguments;
    let path = |place: &Option<crate::event::deeds::Place>| place.as_ref().map(|place| place.path.clone());
    let place = path(&event.place);
    let target = |number: u64| target(number, event.level, table);
    let (call, action) = match event.call.as_str() {
        "setuid" => ("setuid", Action::SetUser { old: event.old.users(), new: event.new.users() }),
        "setreuid" => ("setreuid", Action::SetUser { old: event.old.users(), new: event.new.users() }),
        "setresuid" => ("setresuid", Action::SetUser { old: event.old.users(), new: event.new.users() }),
        "setgid" => ("setgid", Action::SetGroup { old: event.old.groups(), new: event.new.groups() }),
        "setregid" => ("setregid", Action::SetGroup { old: event.old.groups(), new: event.new.groups() }),
        "setresgid" => ("setresgid", Action::SetGroup { old: event.old.groups(), new: event.new.groups() }),
        "setfsuid" => ("setfsuid", file_system_id(false, event)),
        "setfsgid" => ("setfsgid", file_system_id(true, event)),
        "setgroups" => {
            let groups = event.text.split(',').filter_map(|group| group.parse().ok()).collect();
            ("setgroups", Action::SetGroups { groups, count: first & u64::from(u32::MAX) })
        }
        "capset" => ("capset", Action::Capabilities { old: event.old.capabilities, new: event.new.capabilities }),
        "ptrace" => ("ptrace", Action::Trace { request: first, target: target(second) }),
        "process_vm_readv" => (
            "process_vm_readv",
            Action::Memory { write: false, target: target(first), bytes: u64::try_from(event.result).unwrap_or(0) },
        ),
        "process_vm_writev" => (
            "process_vm_writev",
            Action::Memory { write: true, target: target(first), bytes: u64::try_from(event.result).unwrap_or(0) },
        ),
        "pidfd_getfd" => ("pidfd_getfd", Action::Descriptor { target: target(first) }),
        "mount_setattr" => {
            // The first four attributes have the numbers of a mount's flags; the propagation has them, too.
            let flags = second & 0xf | event.arguments[3];
            ("mount_setattr", Action::Mount { source: None, target: place, kind: None, flags })
        }
        "mount" => (
            "mount",
            Action::Mount {
                source: path(&event.other).filter(|source| !source.is_empty()),
                target: place,
                kind: Some(event.text.clone()).filter(|kind| !kind.is_empty()),
                flags: event.arguments[3],
            },
        ),
        "move_mount" => {
            ("move_mount", Action::Mount { source: path(&event.other), target: place, kind: None, flags: 0 })
        }
        "umount2" => ("umount2", Action::Unmount { target: place, flags: second }),
        "chroot" => ("chroot", Action::Root { target: place }),
        "pivot_root" => ("pivot_root", Action::Root { target: place }),
        "unshare" => ("unshare", Action::Namespaces { flags: first & NAMESPACES }),
        "setns" => ("setns", Action::Namespaces { flags: second & NAMESPACES }),
        "clone" => ("clone", Action::Namespaces { flags: first & NAMESPACES }),
        "clone3" => ("clone3", Action::Namespaces { flags: first & NAMESPACES }),
        "init_module" => ("init_module", Action::Module { name: None, removed: false }),
        "finit_module" => ("finit_module", Action::Module { name: place, removed: false }),
        "delete_module" => ("delete_module", Action::Module { name: place, removed: true }),
        "bpf" => ("bpf", Action::Bpf { command: first }),
        "memfd_create" => ("memfd_create", Action::Memfd { name: place }),
        "memfd_exec" => {
            let name = place.map(|name| name.trim_start_matches("memfd:").to_owned());
            ("execve", Action::MemfdExec { name })
        }
        "io_uring_setup" => ("io_uring_setup", Action::IoUring { operation: None }),
        "io_uring_enter" => {
            let operation = u32::try_from(first).ok();
            let action = Action::IoUring { operation };
            return Some(Security { action, call: "io_uring_enter", error: None, operations: second.max(1) });
        }
        call @ ("sethostname" | "setdomainname" | "settimeofday" | "clock_settime" | "reboot" | "kexec_load"
        | "kexec_file_load" | "swapon" | "swapoff" | "acct" | "iopl" | "ioperm" | "personality" | "keyctl"
        | "add_key" | "perf_event_open") => (known_name(call)?, system(call, place, event, &target)),
        "bind" => {
            let address = event.address.filter(|address| !is_own(address.ip()))?;
            ("bind", Action::Bind { address })
        }
        call @ ("kill" | "tkill" | "tgkill" | "rt_sigqueueinfo" | "rt_tgsigqueueinfo" | "pidfd_send_signal") => {
            if !is_foreign(info, first, event, table) {
                return None;
            }
            let signal = u32::try_from(second).unwrap_or(u32::MAX);
            let call = match call {
                "kill" => "kill",
                "tkill" => "tkill",
                "tgkill" => "tgkill",
                "rt_sigqueueinfo" => "rt_sigqueueinfo",
                "rt_tgsigqueueinfo" => "rt_tgsigqueueinfo",
                _ => "pidfd_send_signal",
            };
            (call, Action::Signal { signal, target: target(first) })
        }
        _ => return None,
    };
    Some(Security { action, call, error: (event.error != 0).then_some(event.error), operations: 1 })
}

/// All namespaces, include/uapi/linux/sched.h.
const NAMESPACES: u64 = 0x7e02_0080;

const EPERM: u32 = 1;

fn file_system_id(group: bool, event: &SecurityEvent) -> Action {
    let id = |number: u64| u32::try_from(number & u64::from(u32::MAX)).unwrap_or_default();
    Action::SetFileSystemId { group, old: id(event.result.cast_unsigned()), new: id(event.arguments[1]) }
}

/// The name of a call that is told as one of the whole host's.
fn known_name(call: &str) -> Option<&'static str> {
    const NAMES: [&str; 16] = [
        "sethostname",
        "setdomainname",
        "settimeofday",
        "clock_settime",
        "reboot",
        "kexec_load",
        "kexec_file_load",
        "swapon",
        "swapoff",
        "acct",
        "iopl",
        "ioperm",
        "personality",
        "keyctl",
        "add_key",
        "perf_event_open",
    ];
    NAMES.into_iter().find(|name| *name == call)
}

/// What concerns the whole host.
fn system(call: &str, place: Option<String>, event: &SecurityEvent, target: &dyn Fn(u64) -> Target) -> Action {
    let [first, second, third, _] = event.arguments;
    let text = Some(event.text.clone()).filter(|text| !text.is_empty());
    let request = match call {
        "reboot" => Some(restart(third)),
        "personality" => Some(format!("{:#x}", first & u64::from(u32::MAX))),
        "keyctl" => Some(key_operation(first)),
        "clock_settime" => Some(format!("clock {first}")),
        "iopl" => Some(format!("level {first}")),
        _ => None,
    };
    // The whole of a processor, or the caller itself.
    let target = (call == "perf_event_open" && pid(second) > 0).then(|| target(second));
    Action::System { name: text.or(place), request, target }
}

/// What reboot(2) was asked for (include/uapi/linux/reboot.h).
fn restart(command: u64) -> String {
    match command & u64::from(u32::MAX) {
        0x0123_4567 => "RESTART",
        0xcdef_0123 => "HALT",
        0x89ab_cdef => "CAD_ON",
        0 => "CAD_OFF",
        0x4321_fedc => "POWER_OFF",
        0xa1b2_c3d4 => "RESTART2",
        0xd000_fce2 => "SW_SUSPEND",
        0x4558_4543 => "KEXEC",
        other => return format!("{other:#x}"),
    }
    .into()
}

/// An operation of keyctl(2) (include/uapi/linux/keyctl.h).
fn key_operation(operation: u64) -> String {
    const NAMES: [&str; 23] = [
        "GET_KEYRING_ID",
        "JOIN_SESSION_KEYRING",
        "UPDATE",
        "REVOKE",
        "CHOWN",
        "SETPERM",
        "DESCRIBE",
        "CLEAR",
        "LINK",
        "UNLINK",
        "SEARCH",
        "READ",
        "INSTANTIATE",
        "NEGATE",
        "SET_REQKEY_KEYRING",
        "SET_TIMEOUT",
        "ASSUME_AUTHORITY",
        "GET_SECURITY",
        "SESSION_TO_PARENT",
        "REJECT",
        "INSTANTIATE_IOV",
        "INVALIDATE",
        "GET_PERSISTENT",
    ];
    let known = usize::try_from(operation & u64::from(u32::MAX)).ok().and_then(|at| NAMES.get(at));
    known.map_or_else(|| format!("operation {operation}"), |name| format!("KEYCTL_{name}"))
}

/// Loopback addresses: nobody else reaches them.
fn is_own(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// The number of a process as an argument: a C `int`.
fn pid(number: u64) -> i64 {
    i64::from(u32::try_from(number & 0xffff_ffff).unwrap_or_default().cast_signed())
}

fn target(number: u64, level: u32, table: &Table) -> Target {
    let pid = pid(number);
    // In a PID namespace of its own a process counts otherwise than the host.
    let known = u32::try_from(pid).ok().filter(|_| level == 0);
    Target { pid, inner: level != 0, process: known.and_then(|tgid| table.by_tgid(tgid)).map(|entry| entry.info.key) }
}

/// Whether a process is outside the tree of the one that signals it.
fn is_foreign(info: &ProcessInfo, number: u64, event: &SecurityEvent, table: &Table) -> bool {
    let pid = pid(number);
    if pid == -1 {
        return true;
    }
    if event.level != 0 {
        // Nobody is kept from signalling its own children, unless they are another user's by now.
        return event.error == EPERM;
    }
    let Ok(tgid) = u32::try_from(pid.unsigned_abs()) else { return false };
    // A process that is gone, or a thread: nothing is known of it.
    let Some(other) = table.by_tgid(tgid) else { return false };
    top(info.key, table) != top(other.info.key, table)
}

/// The highest watched process above one.
fn top(process: ProcessKey, table: &Table) -> ProcessKey {
    let above = |key: &ProcessKey| {
        let parent = table.get(*key).and_then(|entry| entry.info.parent)?;
        table.get(parent).filter(|entry| entry.watched).map(|entry| entry.info.key)
    };
    std::iter::successors(Some(process), above).take(GENERATIONS).last().unwrap_or(process)
}

#[cfg(test)]
mod tests {
    use pipeline::observation::Host;

    use super::*;
    use crate::event::deeds::Rights as Ids;

    fn key(tgid: u32) -> ProcessKey {
        ProcessKey { tgid, start: tgid.into() }
    }

    /// 1 is not watched; below it are the trees of 10 (with 11 and 12) and of 20.
    fn table() -> Table {
        let mut table = Table::new(Arc::new(Host::default()), Clock::default());
        table.entry(key(1));
        for (parent, child) in [(1, 10), (10, 11), (11, 12), (1, 20)] {
            table.fork(key(parent), key(child)).watched = true;
        }
        table
    }

    fn told(events: &[SecurityEvent]) -> Vec<Security> {
        let (table, mut rights, mut out) = (table(), Rights::new(Clock::default()), Vec::new());
        let info = table.get(key(12)).unwrap().info.clone();
        for (at, event) in events.iter().enumerate() {
            rights.event(&info, at as u64, event, &table, &mut out);
        }
        rights.finish(&mut out);
        assert!(rights.gathered.is_empty() && rights.due.is_empty());
        let security = out.into_iter().filter_map(|observation| match observation.kind {
            Kind::Security(security) => Some(*security),
            _ => None,
        });
        security.collect()
    }

    fn kill(pid: i32, level: u32) -> SecurityEvent {
        let arguments = [u64::from(pid.cast_unsigned()), 15, 0, 0];
        SecurityEvent { call: "kill".into(), arguments, level, ..SecurityEvent::default() }
    }

    #[test]
    fn signals_within_a_tree_are_nobody_elses_business() {
        for (pid, level, foreign) in [
            (10, 0, false),
            (11, 0, false),
            (-10, 0, false),
            (20, 0, true),
            (1, 0, true),
            (-1, 0, true),
            (-20, 0, true),
            (999, 0, false),
            // Counted in another namespace.
            (20, 1, false),
        ] {
            assert_eq!(told(&[kill(pid, level)]).len(), usize::from(foreign), "{pid} {level}");
        }
        let told = told(&[kill(20, 0)]);
        let target = Target { pid: 20, inner: false, process: Some(key(20)) };
        assert_eq!(told[0].action, Action::Signal { signal: 15, target });
    }

    #[test]
    fn equal_calls_are_told_twice_at_most() {
        let told = told(&vec![kill(-1, 0); 1000]);
        assert_eq!(told.iter().map(|security| security.operations).collect::<Vec<_>>(), [1, 999]);
    }

    #[test]
    fn in_a_namespace_of_its_own_a_target_is_right_or_not_known() {
        // The kernel knew whom the signal reached.
        let target = |event: SecurityEvent| match told(&[event]).pop().map(|security| security.action) {
            Some(Action::Signal { target, .. }) => Some(target),
            _ => None,
        };
        assert_eq!(target(kill(20, 0)), Some(Target { pid: 20, inner: false, process: Some(key(20)) }));
        // 20 is another process there, and it belongs to somebody else.
        let refused = SecurityEvent { error: EPERM, ..kill(20, 1) };
        assert_eq!(target(refused), Some(Target { pid: 20, inner: true, process: None }));
        assert_eq!(target(kill(-1, 1)), Some(Target { pid: -1, inner: true, process: None }));
        assert_eq!(target(SecurityEvent { error: 3, ..kill(20, 1) }), None);
    }

    #[test]
    fn a_ring_is_told_once_and_its_operations_by_kind() {
        let call = |call: &str, operation: u64, count: u64| SecurityEvent {
            call: call.into(),
            arguments: [operation, count, 0, 0],
            ..SecurityEvent::default()
        };
        let told = told(&[
            call("io_uring_setup", 8, 0),
            call("io_uring_setup", 8, 0),
            call("io_uring_enter", 18, 1),
            call("io_uring_enter", 22, 1),
            call("io_uring_enter", 18, 41),
        ]);
        let told: Vec<_> = told.into_iter().map(|security| (security.action, security.operations)).collect();
        let ring = |operation| Action::IoUring { operation };
        assert_eq!(told, [(ring(None), 1), (ring(Some(18)), 1), (ring(Some(22)), 1), (ring(Some(18)), 41)]);
    }

    #[test]
    fn what_is_the_whole_hosts_is_told() {
        let call = |call: &str, arguments: [u64; 4], text: &str| SecurityEvent {
            call: call.into(),
            arguments,
            text: text.into(),
            ..SecurityEvent::default()
        };
        let told = told(&[
            call("sethostname", [0; 4], "new"),
            call("reboot", [0, 0, 0x4321_fedc, 0], ""),
            call("keyctl", [11, 0, 0, 0], ""),
            call("perf_event_open", [0, 20, 0, 0], ""),
            call("setgroups", [2, 0, 0, 0], "4,5"),
        ]);
        let told: Vec<Action> = told.into_iter().map(|security| security.action).collect();
        let system = |name: Option<&str>, request: Option<&str>, target| Action::System {
            name: name.map(str::to_owned),
            request: request.map(str::to_owned),
            target,
        };
        let target = Target { pid: 20, inner: false, process: Some(key(20)) };
        let expected = [
            system(Some("new"), None, None),
            system(None, Some("POWER_OFF"), None),
            system(None, Some("KEYCTL_READ"), None),
            system(None, None, Some(target)),
            Action::SetGroups { groups: vec![4, 5], count: 2 },
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn calls_are_told_with_what_they_changed() {
        let old = Ids { user: [0; 3], ..Ids::default() };
        let new = Ids { user: [1000, 1001, 1002], ..Ids::default() };
        let set = SecurityEvent { call: "setresuid".into(), old, new, ..SecurityEvent::default() };
        let bind = |address: &str| SecurityEvent {
            call: "bind".into(),
            address: address.parse().ok(),
            ..SecurityEvent::default()
        };
        let refused = SecurityEvent { error: 1, ..set.clone() };
        let told = told(&[
            set,
            refused,
            bind("127.0.0.1:80"),
            bind("[::ffff:127.0.0.1]:80"),
            bind("0.0.0.0:80"),
            bind("[::1]:80"),
        ]);
        assert_eq!(told.len(), 3);
        assert!(matches!(
            told[0].action,
            Action::SetUser { new: pipeline::observation::Ids { effective: 1001, .. }, .. }
        ));
        assert_eq!((told[1].error, told[2].call), (Some(1), "bind"));
        assert!(super::security(&ProcessInfo::default(), &SecurityEvent::default(), &table()).is_none());
    }
}
