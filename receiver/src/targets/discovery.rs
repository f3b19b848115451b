//! Finds files with TLS functions and attaches to each once.
//!
//! A file is looked at when a process executes or maps it; the answer, also "no", is kept per (device, inode). It is
//! opened through `/proc/<pid>/map_files`, which leads to the mapped file itself in every mount namespace, also when
//! its name was removed or replaced.

use std::{
    collections::HashMap,
    fs::File,
    os::{fd::AsRawFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use object::ReadCache;

use super::{openssl, plan::Plan, procfs::Proc};

/// How long "no TLS here" is believed: the inode's number may be another file's after that. An attached file's inode is
/// held by the kernel.
const NEGATIVE: Duration = Duration::from_secs(30);

/// How long a mapping that was told is looked for, and how many at once.
const PATIENCE: Duration = Duration::from_secs(1);
const PENDING: usize = 1024;

/// Words of a command that are looked at.
const WORDS: usize = 64;

/// Negatives that are remembered.
const MOST: usize = 65_536;

/// Attaches to functions of a file.
pub trait Attach {
    /// Attaches at these file offsets. The error says why not.
    fn attach(&mut self, path: &Path, plan: &Plan) -> Result<(), String>;
}

/// A file with TLS functions, for `doctor` and the heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// Its path as it was found.
    pub path: String,
    /// Device and inode.
    pub file: (u64, u64),
    /// Names of the functions.
    pub functions: Vec<String>,
    /// Why it could not be attached to, if it could not.
    pub error: Option<String>,
    /// Bytes of plaintext seen in processes that have it; 0: attached but silent.
    pub bytes: u64,
    /// Microseconds from the process's `exec` or `mmap` to the end of the attachment; none for one that was attached
    /// at start.
    pub delay: Option<u64>,
}

/// What is known of a file.
enum Known {
    /// Index into the table.
    Attached(usize),
    /// No TLS functions, since then.
    Nothing(Instant),
}

/// Looks at files and remembers the answers.
pub struct Discovery<A> {
    proc: Proc,
    attacher: A,
    known: HashMap<(u64, u64), Known>,
    table: Vec<Attached>,
    /// The TLS file that a process mapped last.
    users: HashMap<u32, usize>,
    /// Mappings that were told and not found yet: process, device, inode, since when.
    pending: Vec<(u32, u64, u64, Instant)>,
}

impl<A: Attach> Discovery<A> {
    /// Nothing is known yet.
    pub fn new(proc: Proc, attacher: A) -> Self {
        Self { proc, attacher, known: HashMap::new(), table: Vec::new(), users: HashMap::new(), pending: Vec::new() }
    }

    /// A process executed a program. True if something new was attached.
    pub fn exec(&mut self, tgid: u32) -> bool {
        let path = self.proc.executable_file(tgid);
        let before = self.table.len();
        self.users.remove(&tgid);
        let name = self.proc.executable(tgid).unwrap_or_else(|| path.display().to_string());
        if let Some(at) = self.look(&path, &name, None) {
            self.users.insert(tgid, at);
        }
        self.table.len() > before
    }

    /// A process mapped a file. True if something new was attached.
    pub fn map(&mut self, tgid: u32, dev: u64, inode: u64) -> bool {
        if let Some(answer) = self.recall((dev, inode)) {
            if let Some(at) = answer {
                self.users.insert(tgid, at);
            }
            return false;
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
        if let Some(at) = self.look(&path, &name, Some((dev, inode))) {
            self.users.insert(tgid, at);
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

    /// Looks at a file by its path, before anything maps it.
    pub fn path(&mut self, path: &Path) {
        self.look(path, &path.display().to_string(), None);
    }

    /// A process ended.
    pub fn exit(&mut self, tgid: u32) {
        self.users.remove(&tgid);
    }

    /// Plaintext was seen in a process.
    pub fn count(&mut self, tgid: u32, bytes: u64) {
        if let Some(entry) = self.users.get(&tgid).and_then(|at| self.table.get_mut(*at)) {
            entry.bytes = entry.bytes.saturating_add(bytes);
        }
    }

    /// How long the latest attachment took from the event that led to it, in microseconds.
    pub fn delayed(&mut self, micros: u64) {
        if let Some(entry) = self.table.last_mut() {
            entry.delay = Some(micros);
        }
    }

    /// All files with TLS functions that were found.
    pub fn table(&self) -> &[Attached] {
        &self.table
    }

    /// What is known of a file: `None` nothing, `Some(None)` it has no TLS functions.
    fn recall(&self, file: (u64, u64)) -> Option<Option<usize>> {
        match self.known.get(&file)? {
            Known::Attached(at) => Some(Some(*at)),
            Known::Nothing(since) => (since.elapsed() < NEGATIVE).then_some(None),
        }
    }

    /// Opens a file, looks into it and attaches. `alias`: device and inode as the kernel told them.
    fn look(&mut self, path: &Path, name: &str, alias: Option<(u64, u64)>) -> Option<usize> {
        let file = File::open(path).ok()?;
        let stat = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
        let key = (stat.dev(), stat.ino());
        let answer = self.recall(key).unwrap_or_else(|| self.inspect(&file, name, key));
        if self.known.len() > MOST {
            self.known.retain(|_, known| matches!(known, Known::Attached(_)));
        }
        for key in [Some(key), alias].into_iter().flatten() {
            self.known.insert(key, answer.map_or_else(|| Known::Nothing(Instant::now()), Known::Attached));
        }
        answer
    }

    fn inspect(&mut self, file: &File, name: &str, key: (u64, u64)) -> Option<usize> {
        let plan = match openssl::find(&ReadCache::new(file)).map(|functions| functions.plan()) {
            Ok(Some(plan)) => plan,
            Ok(None) | Err(openssl::ElfError::Foreign) => return None,
            Err(error) => {
                tracing::debug!(file = name, %error, "Cannot look for TLS functions.");
                return None;
            }
        };
        // The kernel resolves the path itself; this one leads to the open file whatever its name is by now.
        let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        let error = self.attacher.attach(&path, &plan).err();
        match &error {
            None => tracing::debug!(file = name, functions = ?plan.names(), "Attached to a TLS library."),
            Some(error) => tracing::warn!(file = name, %error, "Cannot attach to a TLS library."),
        }
        let path = name.to_owned();
        self.table.push(Attached {
            path,
            file: key,
            functions: plan.sites.into_iter().map(|site| site.name).collect(),
            error,
            bytes: 0,
            delay: None,
        });
        Some(self.table.len() - 1)
    }
}

/// libssl in the folders of the dynamic loader (ld.so(8), `/etc/ld.so.conf`): real paths, each once.
pub fn system_libraries() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> =
        ["/lib", "/usr/lib", "/lib64", "/usr/lib64", "/usr/local/lib"].map(PathBuf::from).to_vec();
    for part in ["x86_64-linux-gnu", "aarch64-linux-gnu"] {
        folders.push(Path::new("/usr/lib").join(part));
        folders.push(Path::new("/lib").join(part));
    }
    let mut configurations = vec![PathBuf::from("/etc/ld.so.conf")];
    configurations.extend(entries(Path::new("/etc/ld.so.conf.d"), |name| name.ends_with(".conf")));
    for configuration in configurations {
        let text = std::fs::read_to_string(configuration).unwrap_or_default();
        folders.extend(text.lines().map(str::trim).filter(|line| line.starts_with('/')).map(PathBuf::from));
    }
    let found = folders.iter().flat_map(|folder| libraries(folder)).filter_map(|path| path.canonicalize().ok());
    let mut found: Vec<PathBuf> = found.collect();
    found.sort();
    found.dedup();
    found
}

/// libssl in one folder, also under a name that a wheel gave it. (`libssl3.so` is NSS.)
fn libraries(folder: &Path) -> Vec<PathBuf> {
    entries(folder, |name| (name.starts_with("libssl.so") || name.starts_with("libssl-")) && name.contains(".so"))
}

/// Entries of a folder whose name fits, sorted.
fn entries(folder: &Path, fits: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let Ok(found) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = found
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(&fits))
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    paths
}

/// Files that a command is likely to map: of every word of it that is a program (`timeout 5 python3 x.py`,
/// `sh -c "node x.js"`), and libssl on the loader's own search path (`LD_LIBRARY_PATH`).
pub fn files_of_command(command: &[String], search: &str, loader: &str) -> Vec<PathBuf> {
    let words = command.iter().flat_map(|argument| argument.split_ascii_whitespace()).take(WORDS);
    let mut files: Vec<PathBuf> = words.flat_map(|word| files_of_program(word, search)).collect();
    let folders = loader.split([':', ';']).filter(|folder| !folder.is_empty());
    files.extend(folders.flat_map(|folder| libraries(Path::new(folder))));
    files.sort();
    files.dedup();
    files
}

/// Files that a program is likely to map: itself, what interprets it, and their own copies of libssl.
fn files_of_program(program: &str, search: &str) -> Vec<PathBuf> {
    let mut programs = resolve(program, search);
    // A script's interpreter, and what `env` starts. One level: an interpreter is no script.
    for path in programs.clone() {
        for word in shebang(&path) {
            programs.extend(resolve(&word, search));
        }
    }
    let mut files = Vec::new();
    for program in &programs {
        let real = program.canonicalize().unwrap_or_else(|_| program.clone());
        // A virtual environment has its own packages beside the real interpreter's.
        for path in [program, &real] {
            let Some(root) = path.parent().and_then(Path::parent) else { continue };
            // The system's own folders are large, and looked at by name already.
            if root == Path::new("/") || root == Path::new("/usr") {
                continue;
            }
            files.extend(libraries(&root.join("lib")));
            for python in entries(&root.join("lib"), |name| name.starts_with("python")) {
                for packages in ["site-packages", "dist-packages"] {
                    for bundle in entries(&python.join(packages), |name| name.ends_with(".libs")) {
                        files.extend(libraries(&bundle));
                    }
                }
            }
        }
        files.push(real);
    }
    files
}

/// Where a program is: by its path or on the search path; behind a version manager's shim all that it may start.
fn resolve(program: &str, search: &str) -> Vec<PathBuf> {
    let Some(path) = (if program.contains('/') {
        Some(PathBuf::from(program)).filter(|path| path.is_file())
    } else {
        search.split(':').map(|folder| Path::new(folder).join(program)).find(|path| path.is_file())
    }) else {
        return Vec::new();
    };
    let mut found = vec![path.clone()];
    if let (Some(name), Some(shims)) = (path.file_name(), path.parent())
        && shims.ends_with("shims")
        && let Some(root) = shims.parent()
    {
        // pyenv: versions/<version>/bin; asdf: installs/<tool>/<version>/bin
        for version in entries(&root.join("versions"), |_| true) {
            found.push(version.join("bin").join(name));
        }
        for tool in entries(&root.join("installs"), |_| true) {
            found.extend(entries(&tool, |_| true).iter().map(|version| version.join("bin").join(name)));
        }
        found.retain(|path| path.is_file());
    }
    found
}

/// The words of a `#!` line.
fn shebang(path: &Path) -> Vec<String> {
    use std::io::Read;
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(256).read_to_end(&mut start));
    if read.is_err() || !start.starts_with(b"#!") {
        return Vec::new();
    }
    let line = start.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line.get(2..).unwrap_or_default()).into_owned();
    line.split_ascii_whitespace().filter(|word| !word.starts_with('-')).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;
    use crate::targets::testing;

    #[derive(Default)]
    struct Fake(Vec<Plan>);

    impl Attach for Fake {
        fn attach(&mut self, path: &Path, plan: &Plan) -> Result<(), String> {
            assert!(File::open(path).is_ok());
            self.0.push(plan.clone());
            Ok(())
        }
    }

    #[test]
    fn each_file_is_attached_once_however_it_is_met() {
        let root = tempfile::tempdir().unwrap();
        let library = root.path().join("libssl.so.3");
        fs::write(&library, testing::elf(&[("SSL_write", 0x40_1010)])).unwrap();
        let other = root.path().join("libc.so");
        fs::write(&other, testing::elf(&[("malloc", 0x40_1010)])).unwrap();
        let proc = root.path().join("proc");
        testing::process(&proc, 5, 1, 1, library.to_str().unwrap(), &["x"], &[]);
        let (stat, plain) = (fs::metadata(&library).unwrap(), fs::metadata(&other).unwrap());
        let line = |range: &str, file: &fs::Metadata, path: &Path| {
            let (major, minor) = (libc::major(file.dev()), libc::minor(file.dev()));
            format!("{range} r-xp 0 {major:x}:{minor:x} {} {}\n", file.ino(), path.display())
        };
        fs::write(proc.join("5/maps"), line("1-2", &stat, &library) + &line("3-4", &plain, &other)).unwrap();
        fs::create_dir(proc.join("5/map_files")).unwrap();
        symlink(&library, proc.join("5/map_files/1-2")).unwrap();
        symlink(&other, proc.join("5/map_files/3-4")).unwrap();

        let mut discovery = Discovery::new(Proc::new(&proc), Fake::default());
        assert!(discovery.map(5, stat.dev(), stat.ino()));
        assert!(!discovery.map(5, stat.dev(), stat.ino()));
        assert!(!discovery.map(5, plain.dev(), plain.ino()));
        assert!(!discovery.exec(5));
        discovery.path(&library);
        discovery.scan(0);
        assert_eq!(discovery.attacher.0.len(), 1);
        discovery.count(5, 10);
        assert_eq!(discovery.table().len(), 1);
        assert_eq!(discovery.table()[0].bytes, 10);
        assert_eq!(discovery.table()[0].functions, ["SSL_write"]);
    }

    #[test]
    fn a_command_leads_to_its_interpreter_and_its_libraries() {
        let root = tempfile::tempdir().unwrap();
        let (bin, packages) = (root.path().join("bin"), root.path().join("lib/python3.11/site-packages/x.libs"));
        fs::create_dir_all(&bin).unwrap();
        fs::create_dir_all(&packages).unwrap();
        fs::write(bin.join("python3"), "").unwrap();
        fs::write(bin.join("tool"), "#!/usr/bin/env python3\n").unwrap();
        fs::write(packages.join("libssl-8b66dd34.so.3"), "").unwrap();
        let command = |text: &str| text.split('|').map(str::to_owned).collect::<Vec<_>>();
        let files = files_of_command(&command("sh|-c|exec tool -x"), bin.to_str().unwrap(), "");
        assert!(files.iter().any(|file| file.ends_with("bin/python3")), "{files:?}");
        assert!(files.iter().any(|file| file.ends_with("libssl-8b66dd34.so.3")), "{files:?}");
        assert!(files_of_command(&command("no-such-program"), "", "").is_empty());
        assert_eq!(files_of_command(&[], "", packages.to_str().unwrap()).len(), 1);
    }
}
