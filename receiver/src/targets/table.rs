//! The processes that are known, from a snapshot at start and then from events alone.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use pipeline::{
    ProcessKey, Timestamp,
    observation::{Host, ProcessInfo, Workload},
};

use super::{
    cgroup,
    pods::{Pods, Told},
    procfs::same_start,
};
use crate::{
    event::{Clock, Exec},
    record::Facts,
};

/// A process and how it stands to the watch.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What is known of it since its latest exec.
    pub info: Arc<ProcessInfo>,
    /// Observations of it go out.
    pub watched: bool,
    /// A rule says that it is never to be watched.
    pub excluded: bool,
    /// When it was recognised, it or the one that it was forked from.
    pub recognised: Option<Timestamp>,
    /// A process observation of it went out.
    pub told: bool,
    /// Its key as the kernel tells it; none while it is known from /proc only.
    pub kernel_key: Option<ProcessKey>,
    /// Id of its cgroup (v2) at its latest exec, if that was seen.
    cgroup_id: Option<u64>,
}

impl Entry {
    /// It was asked for by a key. Asked by the one under which it is told, nothing is learned about the kernel's.
    fn heard(&mut self, key: ProcessKey) {
        if self.info.key != key {
            self.kernel_key = Some(key);
        }
    }
}

/// Processes that are remembered for a while after their end.
const ENDED: usize = 1024;

/// Names of users that are remembered.
const USERS: usize = 4096;

/// Cgroups that are remembered.
const PLACES: usize = 4096;

/// Id of the root of the cgroups of v2: on hosts with v1 nearly everything is there, wherever it is in v1.
const ROOT: u64 = 1;

/// All known processes. At most one per process id.
///
/// A process found in /proc has a start time rounded to clock ticks. It keeps that key for good, so that everything
/// that is told of it has one key; the kernel's key becomes an alias.
#[derive(Debug)]
pub struct Table {
    host: Arc<Host>,
    clock: Clock,
    entries: HashMap<u32, Entry>,
    facts: HashMap<u32, Facts>,
    /// The latest that ended, oldest first.
    ended: VecDeque<Entry>,
    pods: Pods,
    /// Names of users as facts told them, by container and id.
    users: HashMap<(Option<String>, u32), String>,
    /// Path and surroundings of cgroups as facts told them, by id.
    places: HashMap<u64, (String, Option<Arc<Workload>>)>,
}

impl Table {
    /// An empty table.
    pub fn new(host: Arc<Host>, clock: Clock) -> Self {
        Self {
            host,
            clock,
            entries: HashMap::new(),
            facts: HashMap::new(),
            ended: VecDeque::new(),
            pods: Pods::default(),
            users: HashMap::new(),
            places: HashMap::new(),
        }
    }

    /// The entry of a process, if it is known.
    pub fn get(&self, key: ProcessKey) -> Option<&Entry> {
        self.entries.get(&key.tgid).filter(|entry| is(entry, key))
    }

    /// What a process was that ended not long ago: the kernel closes its files and sockets after it has told its end.
    pub fn ended(&self, key: ProcessKey) -> Option<&Entry> {
        self.ended.iter().rev().find(|entry| is(entry, key))
    }

    /// The entry of a process, if it is known.
    pub fn get_mut(&mut self, key: ProcessKey) -> Option<&mut Entry> {
        let entry = self.entries.get_mut(&key.tgid).filter(|entry| is(entry, key))?;
        entry.heard(key);
        Some(entry)
    }

    /// The process that has an id now, if it is known.
    pub fn by_tgid(&self, tgid: u32) -> Option<&Entry> {
        self.entries.get(&tgid)
    }

    /// The key under which observations of a process go out.
    pub fn key(&self, key: ProcessKey) -> ProcessKey {
        self.get(key).map_or(key, |entry| entry.info.key)
    }

    /// The entry of a process; one of which nothing was told yet gets an empty one.
    pub fn entry(&mut self, key: ProcessKey) -> &mut Entry {
        if self.get(key).is_none() {
            let info = ProcessInfo {
                key,
                started: self.clock.wall(key.start),
                executed: self.clock.wall(key.start),
                host: self.host.clone(),
                ..ProcessInfo::default()
            };
            self.entries.insert(key.tgid, entry(info, Some(key)));
        }
        // It was just made sure that it is there.
        let fresh = || entry(ProcessInfo { key, ..ProcessInfo::default() }, Some(key));
        let known = self.entries.entry(key.tgid).or_insert_with(fresh);
        known.heard(key);
        known
    }

    /// Facts from /proc. Those of a found process make an entry (its key is given back), the others wait for their
    /// exec.
    pub fn facts(&mut self, facts: &Facts) -> Option<ProcessKey> {
        let Some(found) = &facts.found else {
            self.facts.insert(facts.process.tgid, facts.clone());
            return None;
        };
        // An event may have been faster than the snapshot: what the kernel told stays.
        let known = self.entries.get(&facts.process.tgid);
        if known.is_some_and(|known| same_start(facts.process.start, known.info.key.start)) {
            return None;
        }
        let workload = surroundings(facts, &self.pods);
        self.learn_user(workload.as_deref(), found.uid, facts.user.as_deref());
        let started = self.clock.wall(facts.process.start);
        let info = ProcessInfo {
            key: facts.process,
            parent: found.parent.map(|parent| self.key(parent)),
            started,
            executed: started,
            exec_count: 0,
            executable: facts.executable.clone().unwrap_or_default(),
            build: facts.build.clone(),
            args: found.args.clone(),
            args_truncated: found.args_truncated,
            cwd: found.cwd.clone(),
            uid: found.uid,
            gid: found.gid,
            user: facts.user.clone(),
            workload,
            cgroup: facts.cgroup.clone(),
            markers: facts.markers.clone(),
            serves_models: false,
            agent: None,
            service_name: None,
            host: self.host.clone(),
        };
        self.entries.insert(facts.process.tgid, entry(info, None));
        Some(facts.process)
    }

    /// A process executed a program.
    pub fn exec(&mut self, key: ProcessKey, exec: &Exec, time: u64) -> &mut Entry {
        let parent = (exec.parent != ProcessKey::default()).then(|| self.key(exec.parent));
        let above = self.get(exec.parent);
        let above = above.map(|entry| (entry.info.clone(), entry.watched, entry.excluded, entry.cgroup_id));
        let facts = self.facts.remove(&key.tgid).filter(|facts| facts.process == key);
        let surroundings = facts.as_ref().and_then(|facts| surroundings(facts, &self.pods));
        if let Some(facts) = &facts {
            self.learn_user(surroundings.as_deref(), exec.uid, facts.user.as_deref());
            self.learn_place(exec.cgroup_id, facts.cgroup.as_deref(), surroundings.as_ref());
        }
        let place = self.places.get(&exec.cgroup_id).cloned();
        let known = self.get(key).is_some();
        let clock = self.clock;
        let slot = self.entry(key);
        if !known && let Some((_, watched, excluded, _)) = &above {
            // Its fork was not seen.
            (slot.watched, slot.excluded) = (*watched, *excluded);
        }
        let old = slot.info.clone();
        // One that was gone before /proc could be read lives where it did before, or where its parent does.
        let near = if known && (old.cgroup.is_some() || slot.cgroup_id.is_some()) {
            Some((old.clone(), slot.cgroup_id))
        } else {
            above.map(|(info, .., id)| (info, id))
        };
        // Unless it has moved since.
        let near = near.filter(|(_, id)| id.is_none_or(|id| id == exec.cgroup_id)).map(|(info, _)| info);
        slot.cgroup_id = Some(exec.cgroup_id);
        let (cgroup, workload) = match (facts.as_ref().and_then(|facts| facts.cgroup.clone()), place) {
            // The same place, the same surroundings.
            (Some(path), _) => {
                let same = near.filter(|near| near.cgroup.as_ref() == Some(&path));
                (Some(path), surroundings.or_else(|| same?.workload.clone()))
            }
            // Others told of that place.
            (None, Some((path, workload))) => (Some(path), workload),
            (None, None) => near.map(|near| (near.cgroup.clone(), near.workload.clone())).unwrap_or_default(),
        };
        let executable = facts.as_ref().and_then(|facts| facts.executable.clone());
        slot.info = Arc::new(ProcessInfo {
            key: old.key,
            parent: old.parent.or(parent),
            started: old.started,
            executed: clock.wall(time),
            exec_count: old.exec_count.saturating_add(1),
            build: facts.as_ref().and_then(|facts| facts.build.clone()),
            executable: executable.unwrap_or_else(|| absolute(&exec.filename, &exec.cwd, &old)),
            args: exec.args.clone(),
            args_truncated: exec.args_truncated,
            cwd: Some(exec.cwd.clone()).filter(|cwd| !cwd.is_empty()),
            uid: exec.uid,
            gid: exec.gid,
            user: None,
            workload,
            cgroup,
            markers: facts.map(|facts| facts.markers).unwrap_or_default(),
            serves_models: false,
            agent: None,
            service_name: None,
            host: old.host.clone(),
        });
        // By what was learnt: of this program itself, or of others there.
        let (cgroup, workload) = (slot.info.cgroup.is_some(), slot.info.workload.clone());
        let user = self.users.get(&user_key(workload.as_deref(), exec.uid)).filter(|_| cgroup).cloned();
        let slot = self.entry(key);
        Arc::make_mut(&mut slot.info).user = user;
        slot
    }

    fn learn_place(&mut self, id: u64, path: Option<&str>, workload: Option<&Arc<Workload>>) {
        let Some(path) = path.filter(|_| id > ROOT) else { return };
        if self.places.len() >= PLACES && !self.places.contains_key(&id) {
            self.places.clear();
        }
        self.places.insert(id, (path.to_owned(), workload.cloned()));
    }

    fn learn_user(&mut self, workload: Option<&Workload>, uid: u32, name: Option<&str>) {
        let key = user_key(workload, uid);
        match name {
            Some(name) if self.users.get(&key).is_none_or(|known| known != name) => {
                if self.users.len() >= USERS {
                    self.users.clear();
                }
                self.users.insert(key, name.to_owned());
            }
            Some(_) => {}
            None => drop(self.users.remove(&key)),
        }
    }

    /// What the kubelet told: known processes of those pods are completed, later ones when they come.
    pub fn pods(&mut self, told: &Told) {
        let changed = self.pods.learn(told);
        let completed = |workload: &Option<Arc<Workload>>| {
            let mut workload = Workload::clone(workload.as_deref()?);
            workload.pod_uid.as_ref().filter(|uid| changed.contains(uid.as_str()))?;
            self.pods.complete(&mut workload);
            Some(Arc::new(workload))
        };
        for entry in self.entries.values_mut() {
            if let Some(workload) = completed(&entry.info.workload) {
                Arc::make_mut(&mut entry.info).workload = Some(workload);
            }
        }
        for (_, workload) in self.places.values_mut() {
            if let Some(completed) = completed(workload) {
                *workload = Some(completed);
            }
        }
    }

    /// A process was forked: until its exec it is what its parent is.
    pub fn fork(&mut self, parent: ProcessKey, child: ProcessKey) -> &mut Entry {
        let above = self.entry(parent).clone();
        // The snapshot may have found the child already.
        if self.get(child).is_none() {
            let started = self.clock.wall(child.start);
            let info = ProcessInfo {
                key: child,
                parent: Some(above.info.key),
                started,
                executed: started,
                exec_count: 0,
                ..above.info.as_ref().clone()
            };
            let cgroup_id = above.cgroup_id;
            self.entries.insert(child.tgid, Entry { cgroup_id, ..entry(info, Some(child)) });
        }
        let slot = self.entry(child);
        slot.excluded |= above.excluded;
        slot.recognised = slot.recognised.or(above.recognised);
        slot
    }

    /// A process ended: it is forgotten.
    pub fn exit(&mut self, key: ProcessKey) {
        if self.get(key).is_some()
            && let Some(entry) = self.entries.remove(&key.tgid)
        {
            if self.ended.len() >= ENDED {
                self.ended.pop_front();
            }
            self.ended.push_back(entry);
        }
        self.facts.remove(&key.tgid);
    }

    /// A process and all that descend from it and live, by key.
    pub fn tree(&self, root: ProcessKey) -> Vec<ProcessKey> {
        let mut children: HashMap<ProcessKey, Vec<ProcessKey>> = HashMap::new();
        for entry in self.entries.values() {
            if let Some(parent) = entry.info.parent {
                children.entry(parent).or_default().push(entry.info.key);
            }
        }
        let mut found = Vec::new();
        let mut open = vec![root];
        while let Some(key) = open.pop() {
            // A damaged recording can hold a circle.
            if let Some(below) = children.remove(&key) {
                open.extend(below);
            }
            found.push(key);
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// A user is one within a container, or on the host.
fn user_key(workload: Option<&Workload>, uid: u32) -> (Option<String>, u32) {
    (workload.and_then(|workload| workload.container_id.clone()), uid)
}

/// Where a process runs; of an older recording, what its cgroup's path tells.
fn surroundings(facts: &Facts, pods: &Pods) -> Option<Arc<Workload>> {
    let parsed = || facts.cgroup.as_deref().map(cgroup::workload).filter(|found| *found != Workload::default());
    let mut workload = facts.workload.clone().or_else(parsed)?;
    pods.complete(&mut workload);
    Some(Arc::new(workload))
}

fn entry(info: ProcessInfo, kernel_key: Option<ProcessKey>) -> Entry {
    Entry {
        info: Arc::new(info),
        watched: false,
        excluded: false,
        recognised: None,
        told: false,
        kernel_key,
        cgroup_id: None,
    }
}

/// True if `key` (as the kernel tells it, or as it is in the table) is this entry's process.
fn is(entry: &Entry, key: ProcessKey) -> bool {
    entry.info.key == key
        || match entry.kernel_key {
            Some(known) => known == key,
            None => same_start(entry.info.key.start, key.start),
        }
}

/// The file name given to exec as a path: made absolute with the working directory.
fn absolute(filename: &str, cwd: &str, old: &ProcessInfo) -> String {
    if filename == "/proc/self/exe" {
        return old.executable.clone();
    }
    if filename.is_empty() || filename.starts_with('/') || cwd.is_empty() {
        return filename.to_owned();
    }
    let name = filename.trim_start_matches("./");
    format!("{}/{name}", cwd.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Found;

    fn table() -> Table {
        Table::new(Arc::default(), Clock { boot: 1_000 })
    }

    fn key(tgid: u32, start: u64) -> ProcessKey {
        ProcessKey { tgid, start }
    }

    fn found(tgid: u32, start: u64, parent: Option<ProcessKey>) -> Facts {
        let found = Found { parent, args: vec!["x".into()], uid: 5, ..Found::default() };
        Facts {
            process: key(tgid, start),
            found: Some(found),
            executable: Some("/bin/x".into()),
            user: Some("ada".into()),
            cgroup: Some("/a".into()),
            ..Facts::default()
        }
    }

    #[test]
    fn a_found_process_keeps_its_key_when_the_kernel_tells_a_finer_one() {
        let mut table = table();
        assert_eq!(table.facts(&found(7, 50_000_000, None)), Some(key(7, 50_000_000)));
        assert_eq!(table.key(key(7, 51_234_567)), key(7, 50_000_000));
        assert_eq!(table.entry(key(7, 51_234_567)).info.executable, "/bin/x");
        // Asked by its own key, it still knows the kernel's.
        assert_eq!(table.entry(key(7, 50_000_000)).info.executable, "/bin/x");
        assert_eq!(table.entry(key(7, 51_234_567)).info.executable, "/bin/x");
        // Another process with the same id, in another tick, and one in the same tick.
        assert_eq!(table.key(key(7, 61_000_000)), key(7, 61_000_000));
        assert_eq!(table.key(key(7, 52_000_000)), key(7, 52_000_000));
    }

    #[test]
    fn a_short_process_inherits_where_it_lived() {
        let mut table = table();
        table.facts(&found(7, 50_000_000, None));
        table.fork(key(7, 50_000_001), key(8, 90_000_000));
        let exec = Exec {
            parent: key(7, 50_000_001),
            filename: "./run".into(),
            cwd: "/srv".into(),
            uid: 5,
            ..Exec::default()
        };
        let info = table.exec(key(8, 90_000_000), &exec, 95_000_000).info.clone();
        assert_eq!(info.executable, "/srv/run");
        assert_eq!(info.cgroup.as_deref(), Some("/a"));
        assert_eq!(info.user.as_deref(), Some("ada"));
        assert_eq!(info.exec_count, 1);
        assert_eq!(info.parent, Some(key(7, 50_000_000)));
        assert_eq!(info.executed.0, 95_001_000);
        let other = Exec { uid: 6, ..exec.clone() };
        let info = table.exec(key(8, 90_000_000), &other, 96_000_000).info.clone();
        assert_eq!((info.user.as_deref(), info.exec_count), (None, 2));
        // It has moved, and nobody could look where.
        let moved = Exec { cgroup_id: 77, ..exec };
        let info = table.exec(key(8, 90_000_000), &moved, 97_000_000).info.clone();
        assert_eq!((info.cgroup.as_deref(), info.user.as_deref(), info.exec_count), (None, None, 3));
        // But somebody looked there before.
        table.facts(&Facts { process: key(9, 1), cgroup: Some("/b.service".into()), ..Facts::default() });
        table.exec(key(9, 1), &moved, 98_000_000);
        let info = table.exec(key(8, 90_000_000), &moved, 99_000_000).info.clone();
        assert_eq!(info.cgroup.as_deref(), Some("/b.service"));
        assert_eq!(info.workload.as_ref().and_then(|workload| workload.unit.as_deref()), Some("b.service"));
    }

    #[test]
    fn a_users_name_is_that_of_its_container() {
        let mut table = table();
        table.facts(&found(7, 50_000_000, None));
        let container = |name: Option<&str>| Facts {
            process: key(8, 1),
            user: name.map(str::to_owned),
            cgroup: Some(format!("/system.slice/docker-{}.scope", "a".repeat(64))),
            ..Facts::default()
        };
        let exec = Exec { uid: 5, ..Exec::default() };
        table.facts(&container(Some("node")));
        assert_eq!(table.exec(key(8, 1), &exec, 2).info.user.as_deref(), Some("node"));
        // Gone before anybody could look: by what is known of the place.
        assert_eq!(table.exec(key(8, 1), &exec, 3).info.user.as_deref(), Some("node"));
        table.facts(&container(None));
        assert_eq!(table.exec(key(8, 1), &exec, 4).info.user, None);
        let outside = Exec { parent: key(7, 50_000_001), uid: 5, ..Exec::default() };
        assert_eq!(table.exec(key(9, 9), &outside, 5).info.user.as_deref(), Some("ada"));
    }

    #[test]
    fn what_the_kubelet_tells_completes_what_runs_and_what_comes() {
        use crate::targets::pods::{Pod, Told};
        let mut table = table();
        let uid = "5b6fae0e-6e0a-4d6c-9c6d-2f1d0a3b4c5d";
        let inside = |tgid| Facts { cgroup: Some(format!("/kubepods/pod{uid}")), ..found(tgid, 50_000_000, None) };
        table.facts(&inside(7));
        table.fork(key(7, 50_000_001), key(8, 60_000_000));
        table.facts(&found(9, 50_000_000, None));
        let pod = |name: &str| Pod { uid: uid.into(), name: name.into(), namespace: "n".into(), ..Pod::default() };
        table.pods(&Told { pods: vec![pod("a")], gone: Vec::new() });
        let name = |table: &Table, tgid| table.by_tgid(tgid)?.info.workload.as_ref()?.pod_name.clone();
        table.facts(&inside(10));
        assert_eq!(
            [7, 8, 9, 10].map(|tgid| name(&table, tgid)),
            [Some("a"), Some("a"), None, Some("a")].map(|n| n.map(str::to_owned))
        );
        table.pods(&Told { pods: Vec::new(), gone: vec![uid.into()] });
        assert_eq!(name(&table, 7).as_deref(), Some("a"));
    }

    #[test]
    fn facts_belong_to_their_exec() {
        let mut table = table();
        table.facts(&Facts {
            process: key(9, 1),
            executable: Some("/bin/real".into()),
            markers: [("CODEX_TOOL_CALL_ID".to_owned(), "c1".to_owned())].into(),
            ..Facts::default()
        });
        let exec = Exec { filename: "/bin/link".into(), ..Exec::default() };
        let info = table.exec(key(9, 1), &exec, 2).info.clone();
        assert_eq!(info.executable, "/bin/real");
        assert_eq!(info.markers.len(), 1);
        let info = table.exec(key(9, 1), &exec, 3).info.clone();
        assert_eq!(info.executable, "/bin/link");
    }

    #[test]
    fn trees_follow_parents() {
        let mut table = table();
        table.fork(key(1, 1), key(2, 2));
        table.fork(key(2, 2), key(3, 3));
        table.fork(key(1, 1), key(4, 4));
        assert_eq!(table.tree(key(2, 2)), [key(2, 2), key(3, 3)]);
        table.exit(key(3, 3));
        assert_eq!(table.tree(key(2, 2)), [key(2, 2)]);
    }

    #[test]
    fn who_ended_is_known_for_a_while() {
        let mut table = Table::new(Arc::default(), Clock { boot: 0 });
        table.facts(&found(7, 50_000_000, None));
        table.exit(key(7, 50_000_000));
        assert!(table.get(key(7, 50_000_000)).is_none());
        assert!(table.ended(key(7, 50_000_000)).is_some());
        assert!(table.ended(key(7, 990_000_000)).is_none());
    }
}
