//! Facts about processes from /proc. Every reader takes the root, so that tests need no root rights.
//!
//! Formats: proc_pid_stat(5), proc_pid_maps(5), proc_pid_cgroup(5), proc_pid_environ(5).

use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use pipeline::{
    ProcessKey,
    observation::{ProcessInfo, Workload},
};

use super::{builds::Builds, containers::Containers, users::Users};
use crate::record::{Facts, Found};

/// Nanoseconds of a clock tick in /proc: USER_HZ is 100 on every architecture that onlooker knows.
pub const TICK: u64 = 10_000_000;

/// Most that is read of a file in /proc: far above what any of them holds that matters here.
const MOST: u64 = 4 << 20;

/// The kernel copies this much of the arguments; the snapshot keeps to the same bound.
const ARGS: usize = 4096;

/// A file that a process has mapped executable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Device, as `stat` gives it.
    pub dev: u64,
    /// Inode.
    pub inode: u64,
    /// Address range, as the name of the entry in `map_files`.
    pub range: String,
    /// Path as the process sees it; ends with ` (deleted)` if it was removed.
    pub path: String,
}

/// A readable /proc.
#[derive(Clone, Debug)]
pub struct Proc {
    root: PathBuf,
}

impl Proc {
    /// The /proc at this path.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    fn path(&self, tgid: u32, name: &str) -> PathBuf {
        self.root.join(tgid.to_string()).join(name)
    }

    fn read(&self, tgid: u32, name: &str) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        fs::File::open(self.path(tgid, name)).ok()?.take(MOST).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }

    fn text(&self, tgid: u32, name: &str) -> Option<String> {
        self.read(tgid, name).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Ids of all processes, ascending.
    pub fn processes(&self) -> Vec<u32> {
        let Ok(entries) = fs::read_dir(&self.root) else { return Vec::new() };
        let mut found: Vec<u32> =
            entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        found.sort_unstable();
        found
    }

    /// Key (with a start time rounded down to ticks) and parent of a process.
    pub fn identity(&self, tgid: u32) -> Option<(ProcessKey, u32)> {
        let stat = self.text(tgid, "stat")?;
        // The name is in parentheses and may hold parentheses and blanks: fields begin after the last one.
        let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace();
        let parent = fields.nth(1)?.parse().ok()?;
        let ticks: u64 = fields.nth(17)?.parse().ok()?;
        Some((ProcessKey { tgid, start: ticks.checked_mul(TICK)? }, parent))
    }

    /// True if this is still the process of `key`, and not another with its id.
    pub fn is(&self, key: ProcessKey) -> bool {
        self.identity(key.tgid).is_some_and(|(now, _)| same_start(now.start, key.start))
    }

    /// Path of the executable.
    pub fn executable(&self, tgid: u32) -> Option<String> {
        let target = fs::read_link(self.path(tgid, "exe")).ok()?;
        Some(String::from_utf8_lossy(target.as_os_str().as_bytes()).into_owned())
    }

    /// A path through which the executable's file itself can be opened.
    pub fn executable_file(&self, tgid: u32) -> PathBuf {
        self.path(tgid, "exe")
    }

    /// A path through which a mapped file itself can be opened: right for containers, deleted and replaced files.
    pub fn mapped_file(&self, tgid: u32, mapping: &Mapping) -> PathBuf {
        self.path(tgid, "map_files").join(&mapping.range)
    }

    /// The same file by its name in the process's own mount namespace: for kernels and rights without `map_files`.
    pub fn named_file(&self, tgid: u32, mapping: &Mapping) -> PathBuf {
        self.path(tgid, "root").join(mapping.path.trim_end_matches(" (deleted)").trim_start_matches('/'))
    }

    /// Paths through which the files that a process has open can be opened.
    pub fn open_files(&self, tgid: u32) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.path(tgid, "fd")) else { return Vec::new() };
        entries.flatten().take(4096).map(|entry| entry.path()).collect()
    }

    /// Files that the process has mapped executable, each once.
    pub fn mappings(&self, tgid: u32) -> Vec<Mapping> {
        let Some(maps) = self.text(tgid, "maps") else { return Vec::new() };
        let mut found: Vec<Mapping> = Vec::new();
        for line in maps.lines() {
            let Some(mapping) = mapping(line) else { continue };
            if !found.iter().any(|known| (known.dev, known.inode) == (mapping.dev, mapping.inode)) {
                found.push(mapping);
            }
        }
        found
    }

    /// Path in the cgroup hierarchy: v2, else the systemd hierarchy of v1. A hybrid host keeps nearly everything in
    /// the root of v2, so a root there gives way to a real path of v1.
    pub fn cgroup(&self, tgid: u32) -> Option<String> {
        let text = self.text(tgid, "cgroup")?;
        let mut v2 = None;
        let mut systemd = None;
        for line in text.lines() {
            let mut parts = line.splitn(3, ':');
            match (parts.next(), parts.next(), parts.next()) {
                (Some("0"), Some(""), Some(path)) => v2 = Some(path.to_owned()),
                (Some(_), Some("name=systemd"), Some(path)) => systemd = Some(path.to_owned()),
                _ => {}
            }
        }
        match (v2, systemd) {
            (Some(root), Some(path)) if root == "/" && path != "/" => Some(path),
            (Some(path), _) | (None, Some(path)) => Some(path),
            (None, None) => None,
        }
    }

    /// The environment variables that identify agents, and no others.
    pub fn markers(&self, tgid: u32) -> BTreeMap<String, String> {
        let Some(environment) = self.read(tgid, "environ") else { return BTreeMap::new() };
        let entries = environment.split(|byte| *byte == 0).filter_map(|entry| {
            let at = entry.iter().position(|byte| *byte == b'=')?;
            let name = std::str::from_utf8(entry.get(..at)?).ok()?;
            let value = entry.get(at + 1..)?;
            let short = value.get(..256).unwrap_or(value);
            ProcessInfo::MARKERS.contains(&name).then(|| (name.to_owned(), String::from_utf8_lossy(short).into_owned()))
        });
        entries.collect()
    }

    /// What an exec event does not tell: `None` if the process is gone already, or its id is another's by now.
    pub fn facts(&self, key: ProcessKey, uid: u32, names: &mut Names) -> Option<Facts> {
        // Short ones are gone before anybody looks: that is to cost little.
        let executable = self.executable(key.tgid);
        if executable.is_none() && !self.is(key) {
            return None;
        }
        let cgroup = self.cgroup(key.tgid);
        let workload = cgroup.as_deref().and_then(|path| names.workload(path, uid));
        let facts = Facts {
            process: key,
            found: None,
            executable,
            build: names.builds.of(&self.executable_file(key.tgid)),
            user: self.user(key.tgid, uid, workload.as_ref(), names),
            workload,
            cgroup,
            markers: self.markers(key.tgid),
        };
        self.is(key).then_some(facts)
    }

    /// All there is to know of a process that was running before onlooker.
    pub fn found(&self, tgid: u32, names: &mut Names) -> Option<Facts> {
        let (process, parent) = self.identity(tgid)?;
        let parent = (parent != 0).then(|| self.identity(parent)).flatten().map(|(key, _)| key);
        let mut cmdline = self.read(tgid, "cmdline")?;
        let args_truncated = cmdline.len() > ARGS;
        cmdline.truncate(ARGS);
        if cmdline.last() == Some(&0) {
            cmdline.pop();
        }
        let args: Vec<String> = if cmdline.is_empty() {
            Vec::new()
        } else {
            cmdline.split(|byte| *byte == 0).map(|arg| String::from_utf8_lossy(arg).into_owned()).collect()
        };
        let status = self.text(tgid, "status")?;
        // "Uid: real effective saved file-system"
        let effective = |name: &str| -> Option<u32> {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_ascii_whitespace().nth(1)?.parse().ok()
        };
        let uid = effective("Uid:")?;
        let cwd = fs::read_link(self.path(tgid, "cwd")).ok();
        let found = Found {
            parent,
            args: pipeline::mask::args(args),
            args_truncated,
            cwd: cwd.map(|path| String::from_utf8_lossy(path.as_os_str().as_bytes()).into_owned()),
            uid,
            gid: effective("Gid:")?,
        };
        // A process without an executable is a thread of the kernel.
        let executable = self.executable(tgid)?;
        let cgroup = self.cgroup(tgid);
        let workload = cgroup.as_deref().and_then(|path| names.workload(path, uid));
        Some(Facts {
            process,
            found: Some(found),
            executable: Some(executable),
            build: names.builds.of(&self.executable_file(tgid)),
            user: self.user(tgid, uid, workload.as_ref(), names),
            workload,
            cgroup,
            markers: self.markers(tgid),
        })
    }

    /// Name of a process's user: in a container the container's own word for it, for the host's is another's.
    fn user(&self, tgid: u32, uid: u32, workload: Option<&Workload>, names: &mut Names) -> Option<String> {
        let Some(container) = workload.and_then(|workload| workload.container_id.as_deref()) else {
            return names.users.name(uid);
        };
        let inside = self.text(tgid, "uid_map").map_or(Some(uid), |map| inside(&map, uid))?;
        names.users.name_in(container, &self.path(tgid, "root"), inside)
    }
}

/// True if a start time from /proc (rounded down to ticks) and one from the kernel can be the same.
pub fn same_start(from_proc: u64, from_kernel: u64) -> bool {
    from_proc / TICK == from_kernel / TICK
}

/// What a user of the host is in a user namespace, by its map (user_namespaces(7): inside, outside, how many).
fn inside(map: &str, uid: u32) -> Option<u32> {
    map.lines().find_map(|line| {
        let mut numbers = line.split_ascii_whitespace().map(str::parse::<u32>);
        let (inside, outside, count) = (numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?);
        let at = uid.checked_sub(outside).filter(|at| *at < count)?;
        inside.checked_add(at)
    })
}

/// One line of /proc/<pid>/maps, if it is an executable mapping of a file.
fn mapping(line: &str) -> Option<Mapping> {
    let mut fields = line.splitn(6, ' ');
    let range = fields.next()?;
    let permissions = fields.next()?;
    let _offset = fields.next()?;
    let (major, minor) = fields.next()?.split_once(':')?;
    let inode: u64 = fields.next()?.parse().ok()?;
    let path = fields.next()?.trim_start();
    if permissions.as_bytes().get(2) != Some(&b'x') || inode == 0 || !path.starts_with('/') {
        return None;
    }
    // `map_files` writes the range without leading zeros, as `maps` does.
    let dev = libc::makedev(u32::from_str_radix(major, 16).ok()?, u32::from_str_radix(minor, 16).ok()?);
    Some(Mapping { dev, inode, range: range.to_owned(), path: path.to_owned() })
}

/// What ids mean on this host.
#[derive(Debug)]
pub struct Names {
    /// Users.
    pub users: Users,
    /// Containers.
    pub containers: Containers,
    /// Executables.
    pub builds: Builds,
}

impl Names {
    /// Those of the host whose root this is.
    pub fn read(root: &Path) -> Self {
        Self { users: Users::new(root), containers: Containers::new(root), builds: Builds::default() }
    }

    /// Where processes of a cgroup and a user run; `None` if the path tells nothing.
    fn workload(&mut self, path: &str, uid: u32) -> Option<Workload> {
        let home = self.users.home(uid).map(str::to_owned);
        Some(self.containers.workload(path, home.as_deref())).filter(|found| *found != Workload::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::targets::testing;

    #[test]
    fn a_process_is_read_with_its_facts() {
        let root = tempfile::tempdir().unwrap();
        testing::process(root.path(), 1, 0, 5, "/sbin/init", &["init"], &[]);
        let environment = ["PATH=/bin", "CLAUDECODE=1", "OPENAI_API_KEY=invented"];
        testing::process(root.path(), 42, 1, 700, "/usr/bin/node", &["node", "", "x.js"], &environment);
        fs::create_dir(root.path().join("etc")).unwrap();
        fs::write(root.path().join("etc/passwd"), "root:x:0:0::/:/bin/sh\nada:x:1000:1001::/home/ada:/bin/sh\n")
            .unwrap();
        let proc = Proc::new(root.path());
        let mut names = Names::read(root.path());
        assert_eq!(proc.processes(), [1, 42]);
        let facts = proc.found(42, &mut names).unwrap();
        assert_eq!(facts.process, ProcessKey { tgid: 42, start: 7_000_000_000 });
        assert_eq!(facts.executable.as_deref(), Some("/usr/bin/node"));
        assert_eq!(facts.user.as_deref(), Some("ada"));
        assert_eq!(facts.cgroup.as_deref(), Some("/user.slice/x.scope"));
        assert_eq!(facts.markers, BTreeMap::from([("CLAUDECODE".to_owned(), "1".to_owned())]));
        let found = facts.found.unwrap();
        assert_eq!(found.parent, Some(ProcessKey { tgid: 1, start: 50_000_000 }));
        assert_eq!(found.args, ["node", "", "x.js"]);
        assert_eq!((found.uid, found.gid), (1000, 1001));
        assert_eq!(found.cwd.as_deref(), Some("/work"));
        let late = ProcessKey { tgid: 42, start: 7_003_000_000 };
        assert!(proc.is(late));
        assert!(proc.facts(ProcessKey { tgid: 42, start: 7_013_000_000 }, 0, &mut names).is_none());
    }

    #[test]
    fn a_user_of_a_container_has_the_containers_name() {
        let root = tempfile::tempdir().unwrap();
        testing::process(root.path(), 42, 1, 700, "/usr/bin/node", &["node"], &[]);
        let cgroup = format!("0::/system.slice/docker-{}.scope\n", "a".repeat(64));
        fs::write(root.path().join("42/cgroup"), cgroup).unwrap();
        let passwd = |folder: &str, text: &str| {
            fs::create_dir_all(root.path().join(folder)).unwrap();
            fs::write(root.path().join(folder).join("passwd"), text).unwrap();
        };
        passwd("etc", "ada:x:1000:1::/home/ada:/bin/sh\n");
        let mut names = Names::read(root.path());
        let proc = Proc::new(root.path());
        // No file of its own: no name, and not the host's.
        assert_eq!(proc.found(42, &mut names).unwrap().user, None);
        passwd("42/root/etc", "node:x:1000:1::/home/node:/bin/sh\nroot:x:0:0::/root:/bin/sh\n");
        let mut names = Names::read(root.path());
        assert_eq!(proc.found(42, &mut names).unwrap().user.as_deref(), Some("node"));
        // Root of a user namespace.
        fs::write(root.path().join("42/uid_map"), "         0       1000      65536\n").unwrap();
        assert_eq!(proc.found(42, &mut names).unwrap().user.as_deref(), Some("root"));
        assert_eq!(inside("0 100000 65536\n70000 5 1", 100_007), Some(7));
        assert_eq!(inside("0 100000 65536\n70000 5 1", 5), Some(70_000));
        assert_eq!(inside("0 100000 65536\nx", 165_536), None);
        assert_eq!(inside("0 0 4294967295", 1000), Some(1000));
    }

    #[test]
    fn damaged_files_give_nothing() {
        let root = tempfile::tempdir().unwrap();
        testing::process(root.path(), 7, 0, 5, "/x", &["x"], &[]);
        fs::write(root.path().join("7/stat"), "7 (x").unwrap();
        assert!(Proc::new(root.path()).found(7, &mut Names::read(root.path())).is_none());
        assert!(Proc::new(root.path()).found(8, &mut Names::read(root.path())).is_none());
    }

    #[test]
    fn executable_file_mappings_are_listed_once() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("9")).unwrap();
        let maps = "00400000-00401000 r--p 00000000 fe:01 12 /bin/a\n\
                    00401000-00402000 r-xp 00001000 fe:01 12                  /bin/a b (deleted)\n\
                    00501000-00502000 r-xp 00001000 fe:01 12                  /bin/a b (deleted)\n\
                    7ff000-7ff100 r-xp 00000000 00:00 0                       [vdso]\n\
                    bad line\n\n";
        fs::write(root.path().join("9/maps"), maps).unwrap();
        let found = Proc::new(root.path()).mappings(9);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].range, "00401000-00402000");
        assert_eq!(found[0].path, "/bin/a b (deleted)");
        assert_eq!((found[0].dev, found[0].inode), (libc::makedev(0xfe, 1), 12));
    }
}
