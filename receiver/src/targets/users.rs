//! Names and homes of users (passwd(5)): the host's, and those of containers.

use std::{
    collections::HashMap,
    fs::File,
    io::Read,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::fs::{Mode, OFlags, ResolveFlags};

/// Most that is read of a file.
const MOST: u64 = 1 << 20;
/// Most users of one file.
const ENTRIES: usize = 16_384;
/// Most containers whose users are remembered.
const CONTAINERS: usize = 256;
/// How long a name that a file does not have is not looked for again.
const AGAIN: Duration = Duration::from_secs(10);

/// What tells one state of a file from another: inode, size, time of change.
type State = (u64, u64, i64, i64);

/// The users of one passwd file.
#[derive(Debug, Default)]
struct Passwd {
    names: HashMap<u32, (String, String)>,
    state: Option<State>,
    looked: Option<Instant>,
}

impl Passwd {
    /// The entry of a user. The file is read again if it has changed, but looked at only for a user that it does not have.
    fn get(&mut self, uid: u32, open: impl FnOnce() -> Option<File>) -> Option<&(String, String)> {
        if !self.names.contains_key(&uid) && self.looked.is_none_or(|at| at.elapsed() >= AGAIN) {
            self.looked = Some(Instant::now());
            self.read(open());
        }
        self.names.get(&uid)
    }

    fn read(&mut self, file: Option<File>) -> Option<()> {
        let file = file?;
        let meta = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
        let state = (meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec());
        if self.state == Some(state) {
            return None;
        }
        let mut bytes = Vec::new();
        file.take(MOST).read_to_end(&mut bytes).ok()?;
        (self.names, self.state) = (entries(&String::from_utf8_lossy(&bytes)), Some(state));
        Some(())
    }
}

fn entries(text: &str) -> HashMap<u32, (String, String)> {
    let entry = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?.to_owned();
        let uid = fields.nth(1)?.parse().ok()?;
        let home = fields.nth(2).unwrap_or_default().to_owned();
        Some((uid, (name, home)))
    };
    let mut users = HashMap::new();
    for (uid, known) in text.lines().filter_map(entry).take(ENTRIES) {
        users.entry(uid).or_insert(known);
    }
    users
}

/// What user ids are called.
#[derive(Debug)]
pub struct Users {
    path: PathBuf,
    host: Passwd,
    containers: HashMap<String, Passwd>,
}

impl Users {
    /// Those of the host with this root; without a passwd file nobody has a name.
    pub fn new(root: &Path) -> Self {
        Self { path: root.join("etc/passwd"), host: Passwd::default(), containers: HashMap::new() }
    }

    /// The name of a user of the host.
    pub fn name(&mut self, uid: u32) -> Option<String> {
        self.host.get(uid, || File::open(&self.path).ok()).map(|(name, _)| name.clone())
    }

    /// The name of a user in a container, by the id that it has there. `root`: the root of one of its processes.
    pub fn name_in(&mut self, container: &str, root: &Path, uid: u32) -> Option<String> {
        if self.containers.len() >= CONTAINERS && !self.containers.contains_key(container) {
            self.containers.clear();
        }
        let passwd = self.containers.entry(container.to_owned()).or_default();
        passwd.get(uid, || open_inside(root)).map(|(name, _)| name.clone())
    }

    /// The home of a user of the host.
    pub fn home(&mut self, uid: u32) -> Option<&str> {
        let (_, home) = self.host.get(uid, || File::open(&self.path).ok())?;
        Some(home.as_str()).filter(|home| home.starts_with('/'))
    }
}

/// The passwd file below a root that is not to be trusted: links lead nowhere but into it, and nothing is waited for.
fn open_inside(root: &Path) -> Option<File> {
    let folder = rustix::fs::open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let file = rustix::fs::openat2(&folder, "etc/passwd", flags, Mode::empty(), resolve).ok()?;
    Some(File::from(file))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn write(path: &Path, text: &str) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    #[test]
    fn the_first_entry_counts_and_a_user_who_came_later_is_found() {
        let root = tempfile::tempdir().unwrap();
        let mut users = Users::new(root.path());
        assert_eq!(users.name(0), None);
        let path = root.path().join("etc/passwd");
        write(&path, "root:x:0:0::/root:/bin/sh\ntoor:x:0:0::/:/bin/sh\nbroken\n:x:7:7::/:\nx:y:z\n");
        // It was looked for just now.
        assert_eq!(users.name(0), None);
        users.host.looked = None;
        assert_eq!((users.name(0).as_deref(), users.home(0)), (Some("root"), Some("/root")));
        users.host.looked = None;
        write(&path, "root:x:0:0::/root:/bin/sh\nada:x:1000:1000::relative:/bin/sh\n");
        assert_eq!((users.name(1000).as_deref(), users.home(1000)), (Some("ada"), None));
        assert_eq!(users.name(7), None);
    }

    #[test]
    fn a_containers_file_is_not_left() {
        let root = tempfile::tempdir().unwrap();
        write(&root.path().join("secret"), "outside:x:0:0::/:/bin/sh\n");
        let inner = root.path().join("inner");
        std::fs::create_dir_all(inner.join("etc")).unwrap();
        symlink(root.path().join("secret"), inner.join("etc/passwd")).unwrap();
        let mut users = Users::new(root.path());
        assert_eq!(users.name_in("a", &inner, 0), None);
        std::fs::remove_file(inner.join("etc/passwd")).unwrap();
        symlink("../../../secret", inner.join("etc/passwd")).unwrap();
        assert_eq!(users.name_in("b", &inner, 0), None);
        // A link within it is as good as a file.
        write(&inner.join("secret"), "inside:x:0:0::/:/bin/sh\n");
        assert_eq!(users.name_in("c", &inner, 0).as_deref(), Some("inside"));
        // A pipe that nobody writes to is not waited for.
        std::fs::remove_file(inner.join("secret")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            inner.join("secret"),
            rustix::fs::FileType::Fifo,
            Mode::RUSR | Mode::WUSR,
            0,
        )
        .unwrap();
        assert_eq!(users.name_in("d", &inner, 0), None);
        for number in 0..CONTAINERS + 10 {
            users.name_in(&number.to_string(), &inner, 0);
        }
        assert!(users.containers.len() <= CONTAINERS);
    }
}
