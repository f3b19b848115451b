use std::{fs, os::unix::fs::symlink};

use super::*;
use crate::{
    event::{Direction, Source},
    targets::{
        plan::{Probe, Site},
        testing,
    },
};

#[derive(Default)]
struct Fake(Vec<Plan>);

impl Attach for Fake {
    type Links = usize;

    fn attach(&mut self, path: &Path, plan: &Plan) -> Result<usize, String> {
        assert!(File::open(path).is_ok());
        self.0.push(plan.clone());
        Ok(self.0.len())
    }
}

fn chunk(bytes: &[u8]) -> Chunk {
    let total = bytes.len() as u64;
    let bytes = bytes.to_vec().into();
    Chunk { source: Source::Tls, socket: 0, object: 1, direction: Direction::Write, total, offset: 0, bytes }
}

/// An invented process that has these files mapped.
fn mapping(proc: &Path, pid: u32, files: &[&Path]) {
    testing::process(proc, pid, 1, 1, files[0].to_str().unwrap(), &["x"], &[]);
    let folder = proc.join(pid.to_string());
    fs::create_dir(folder.join("map_files")).unwrap();
    let mut maps = String::new();
    for (at, file) in files.iter().enumerate() {
        let stat = fs::metadata(file).unwrap();
        let (major, minor) = (libc::major(stat.dev()), libc::minor(stat.dev()));
        maps += &format!("{at}-{} r-xp 0 {major:x}:{minor:x} {} {}\n", at + 1, stat.ino(), file.display());
        symlink(file, folder.join(format!("map_files/{at}-{}", at + 1))).unwrap();
    }
    fs::write(folder.join("maps"), maps).unwrap();
}

/// A file that is large enough to be searched.
fn large_elf(more: usize) -> Vec<u8> {
    let room = usize::try_from(analysis::SMALLEST).unwrap() + more;
    [testing::elf(&[("main", 0x40_1010)]), vec![0; room]].concat()
}

fn id(path: &Path) -> FileId {
    let stat = fs::metadata(path).unwrap();
    (stat.dev(), stat.ino())
}

#[test]
fn each_file_is_attached_once_however_it_is_met() {
    let root = tempfile::tempdir().unwrap();
    let library = root.path().join("libssl.so.3");
    fs::write(&library, testing::elf(&[("SSL_write", 0x40_1010)])).unwrap();
    let other = root.path().join("script");
    fs::write(&other, "#!/bin/sh\n").unwrap();
    let proc = root.path().join("proc");
    mapping(&proc, 5, &[&library, &other]);

    let mut discovery = Discovery::new(Proc::new(&proc), Fake::default());
    assert!(discovery.map(5, id(&library).0, id(&library).1));
    assert!(!discovery.map(5, id(&library).0, id(&library).1));
    assert!(!discovery.map(5, id(&other).0, id(&other).1));
    assert!(!discovery.exec(5, None));
    discovery.path(&library);
    discovery.scan(0);
    assert!(discovery.is_done());
    assert_eq!(discovery.attacher.0.len(), 1);
    discovery.count(5, &chunk(b"0123456789"));
    assert_eq!(discovery.table().len(), 1);
    assert_eq!(discovery.table()[0].bytes, 10);
    assert_eq!(discovery.table()[0].functions, ["SSL_write"]);
    assert_eq!(discovery.users_of(id(&library)), [5]);
}

fn plan(method: &str) -> Found {
    let sites = vec![Site::new(Probe::Write, "SSL_write", 0x1010)];
    let plan = Plan { stack: Stack::BoringSsl, method: method.into(), sites };
    Found { plans: vec![plan], doubts: Vec::new() }
}

#[test]
fn files_without_exports_are_searched_the_smallest_first() {
    let root = tempfile::tempdir().unwrap();
    let proc = root.path().join("proc");
    let (small, large) = (root.path().join("small"), root.path().join("large"));
    fs::write(&small, large_elf(0)).unwrap();
    fs::write(&large, large_elf(4096)).unwrap();
    mapping(&proc, 5, &[&large, &small]);
    let mut discovery = Discovery::new(Proc::new(&proc), Fake::default());
    assert!(!discovery.exec(5, None));
    discovery.scan(0);
    let first = discovery.next_job().unwrap();
    assert_eq!(first.file, id(&small));
    assert!(first.open().is_some());
    let second = discovery.next_job().unwrap();
    assert!(discovery.next_job().is_none() && !discovery.is_done());

    assert!(!discovery.finish(&first, Outcome::Searched(Found::default(), Ok(Vec::new()))));
    assert!(discovery.finish(&second, Outcome::Searched(plan("structure"), Ok(vec![7]))));
    assert!(discovery.is_done());
    // Both answers are remembered.
    discovery.scan(0);
    assert!(discovery.is_done());
    assert_eq!(discovery.table().len(), 1);
    assert!(discovery.table()[0].delay.is_some());

    // A file that is not what it was is nobody's.
    fs::remove_file(&small).unwrap();
    fs::write(&small, "x").unwrap();
    assert!(first.open().is_none());
}

#[test]
fn what_nobody_uses_is_released_and_can_come_back() {
    let root = tempfile::tempdir().unwrap();
    let proc = root.path().join("proc");
    let paths: Vec<PathBuf> = (0..3).map(|n| root.path().join(format!("libssl{n}.so"))).collect();
    for path in &paths {
        fs::write(path, testing::elf(&[("SSL_write", 0x40_1010)])).unwrap();
    }
    mapping(&proc, 5, &[&paths[0], &paths[1]]);
    let mut discovery = Discovery::new(Proc::new(&proc), Fake::default());
    discovery.path(&paths[2]);
    discovery.scan(0);
    let now = Instant::now();
    assert!(discovery.idle(now + IDLE).is_empty());
    discovery.exit(5);
    assert!(discovery.idle(now).is_empty());
    let idle = discovery.idle(now + IDLE);
    assert_eq!(idle, [id(&paths[0]), id(&paths[1])]);
    assert_eq!(mapped_by(&discovery.proc, &idle[..1]), [(5, idle[0])]);
    discovery.used(6, idle[0]);
    assert_eq!(discovery.release(idle[1]), [3]);
    assert_eq!(discovery.idle(now + IDLE * 2), []);
    assert_eq!(discovery.table().len(), 2);
    // The others are still known.
    assert!(!discovery.map(5, idle[0].0, idle[0].1));
    assert!(discovery.map(5, idle[1].0, idle[1].1));
    discovery.count(5, &chunk(b"abc"));
    assert_eq!(discovery.table().last().unwrap().bytes, 3);
}

#[test]
fn what_never_looks_like_http_is_detached() {
    let root = tempfile::tempdir().unwrap();
    let proc = root.path().join("proc");
    for (name, says, refuted) in [("a", &b"\xff\xff\xff\xff"[..], true), ("b", b"POST /x HTTP/1.1\r\n", false)] {
        let path = root.path().join(name);
        fs::write(&path, large_elf(0)).unwrap();
        mapping(&proc, u32::from(name.as_bytes()[0]), &[&path]);
        let mut discovery = Discovery::new(Proc::new(&proc), Fake::default());
        let pid = u32::from(name.as_bytes()[0]);
        discovery.exec(pid, None);
        let job = discovery.next_job().unwrap();
        discovery.finish(&job, Outcome::Searched(plan("structure"), Ok(vec![9])));
        for _ in 0..proof::CALLS {
            discovery.count(pid, &chunk(says));
        }
        assert_eq!(discovery.refuted().len(), usize::from(refuted));
        assert_eq!(discovery.table()[0].error.is_some(), refuted);
        assert_eq!(discovery.refuted().len(), 0);
    }
}
