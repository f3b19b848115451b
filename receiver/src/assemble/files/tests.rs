use pipeline::observation::{Deed, File};
use proptest::prelude::*;

use super::*;
use crate::event::deeds::Place;

const MS: u64 = 1_000_000;

fn info(tgid: u32) -> Arc<ProcessInfo> {
    Arc::new(ProcessInfo { key: ProcessKey { tgid, start: 1 }, ..ProcessInfo::default() })
}

fn event(deed: FileDeed, path: &str) -> FileEvent {
    FileEvent {
        deed,
        place: Place { path: path.into(), resolved: true },
        other: None,
        error: 0,
        flags: 0o101,
        mode: 0o100_644,
        uid: u32::MAX,
        gid: u32::MAX,
        length: 0,
        reads: 0,
        writes: 0,
        read: 0,
        written: 0,
        began: 0,
        created: false,
        opened: false,
        closed: false,
        mapped: false,
    }
}

fn open(path: &str) -> FileEvent {
    FileEvent { created: true, opened: true, ..event(FileDeed::Open, path) }
}

fn close(path: &str, writes: u32, written: u64) -> FileEvent {
    FileEvent { writes, written, closed: true, ..event(FileDeed::Use, path) }
}

fn files() -> Files {
    Files::new(Some(&FileSettings::default()), Clock::default())
}

fn told(out: &mut Vec<Observation>) -> Vec<File> {
    let files = out.drain(..).filter_map(|observation| match observation.kind {
        Kind::File(file) => Some(*file),
        _ => None,
    });
    files.collect()
}

#[test]
fn a_file_that_is_written_is_one_observation_when_it_is_closed() {
    let (mut files, mut out, info) = (files(), Vec::new(), info(1));
    files.event(&info, MS, &open("/a"), &mut out);
    assert!(out.is_empty());
    files.event(&info, 3 * MS, &FileEvent { began: 2 * MS, ..close("/a", 2, 10) }, &mut out);
    let told = told(&mut out);
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].deed, told[0].created, told[0].written, told[0].operations), (Deed::Write, true, Some(10), 3));
    assert_eq!(told[0].duration, Duration::from_millis(2));
}

#[test]
fn what_is_repeated_is_gathered_ever_longer() {
    let (mut files, mut out, info) = (files(), Vec::new(), info(1));
    // A line is added to a log every millisecond for a minute.
    for n in 0..60_000 {
        files.expire(n * MS, &mut out);
        files.event(&info, n * MS, &open("/log"), &mut out);
        files.event(&info, n * MS, &FileEvent { began: n * MS, ..close("/log", 1, 7) }, &mut out);
    }
    files.end(info.key, &mut out);
    let told = told(&mut out);
    assert!((4..=8).contains(&told.len()), "{}", told.len());
    assert_eq!(told.iter().map(|file| file.operations).sum::<u64>(), 120_000);
    assert_eq!(told.iter().filter_map(|file| file.written).sum::<u64>(), 420_000);
}

#[test]
fn a_redirection_of_a_shell_is_one_observation() {
    // open, dup2, close, write, close: the first close is of a copy.
    let (mut files, mut out, info) = (files(), Vec::new(), info(1));
    files.event(&info, MS, &open("/o"), &mut out);
    files.event(&info, MS, &close("/o", 0, 0), &mut out);
    files.event(&info, 2 * MS, &FileEvent { began: MS, ..close("/o", 1, 3) }, &mut out);
    let told = told(&mut out);
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].created, told[0].written), (true, Some(3)));
}

#[test]
fn a_change_of_a_name_comes_after_what_was_done_before() {
    let (mut files, mut out, info) = (files(), Vec::new(), info(1));
    files.event(&info, MS, &open("/a"), &mut out);
    let other = Some(Place { path: "/b".into(), resolved: false });
    files.event(&info, 2 * MS, &FileEvent { other, ..event(FileDeed::Rename, "/a") }, &mut out);
    let told = told(&mut out);
    let deeds: Vec<Deed> = told.iter().map(|file| file.deed).collect();
    assert_eq!(deeds, [Deed::Write, Deed::Rename]);
    assert_eq!(told[1].other.as_deref(), Some("/b"));
}

#[test]
fn reads_are_told_of_sensitive_files_only() {
    let (mut files, mut out, info) = (files(), Vec::new(), info(1));
    for path in ["/usr/include/stdio.h", "/etc/shadow"] {
        let read =
            FileEvent { flags: 0, reads: 2, read: 100, opened: true, closed: true, ..event(FileDeed::Use, path) };
        files.event(&info, MS, &read, &mut out);
    }
    // What is not there is looked for everywhere; who looks for keys is told.
    for path in ["/usr/lib/x.so", "/home/grace/.aws/credentials"] {
        files.event(&info, MS, &FileEvent { error: 2, flags: 0, ..event(FileDeed::Open, path) }, &mut out);
    }
    let told = told(&mut out);
    assert_eq!(told.len(), 2);
    assert_eq!((told[0].sensitive.as_deref(), told[0].read), (Some("accounts"), Some(100)));
    assert_eq!((told[1].sensitive.as_deref(), told[1].error), (Some("secrets"), Some(2)));
}

#[test]
fn a_change_of_a_sensitive_file_is_told_twice() {
    let (mut files, mut out, info) = (files(), Vec::new(), info(1));
    files.event(&info, MS, &open("/home/grace/.bashrc"), &mut out);
    files.event(&info, MS, &close("/home/grace/.bashrc", 1, 3), &mut out);
    let kinds: Vec<bool> = out.iter().map(|observation| matches!(observation.kind, Kind::Security(_))).collect();
    assert_eq!(kinds, [false, true]);
}

#[test]
fn very_many_paths_are_told_by_folder() {
    let (mut files, mut out, info) = (files(), Vec::new(), info(1));
    for n in 0..100_000_u64 {
        files.event(&info, n * 1000, &event(FileDeed::Delete, &format!("/d{}/{n}", n % 7)), &mut out);
        files.expire(n * 1000, &mut out);
    }
    files.finish(&mut out);
    let told = told(&mut out);
    assert!(told.len() < 400, "{}", told.len());
    assert_eq!(told.iter().map(|file| file.operations).sum::<u64>(), 100_000);
    assert!(told.iter().any(|file| file.folded && file.path == "/d3/*"));
    // A sensitive one among them stands alone.
    files.event(&info, 1_000_000_000, &event(FileDeed::Delete, "/etc/shadow"), &mut out);
    assert!(!self::told(&mut out)[0].folded);
}

proptest! {
    /// Whatever happens, each operation is told once.
    #[test]
    fn nothing_is_lost_or_told_twice(steps in prop::collection::vec((0u8..6, 0u8..4, 0u8..3, 0u64..3000), 0..300)) {
        let (mut files, mut out, mut time) = (files(), Vec::new(), 0);
        let mut expected = 0;
        for (what, path, process, later) in steps {
            time += later * MS;
            let (info, path) = (info(process.into()), format!("/p{path}"));
            files.expire(time, &mut out);
            let event = match what {
                0 => open(&path),
                1 => close(&path, 2, 8),
                2 => FileEvent { writes: 1, written: 1, began: time, ..event(FileDeed::Use, &path) },
                3 => event(FileDeed::Delete, &path),
                4 => FileEvent { error: 13, ..event(FileDeed::Chmod, &path) },
                _ => {
                    files.end(info.key, &mut out);
                    continue;
                }
            };
            expected += match what { 1 => 2, _ => 1 };
            files.event(&info, time, &event, &mut out);
        }
        files.finish(&mut out);
        let told = told(&mut out);
        prop_assert_eq!(told.iter().map(|file| file.operations).sum::<u64>(), expected);
        prop_assert!(files.slots.is_empty() && files.due.is_empty() && files.processes.is_empty());
    }
}

#[test]
fn a_file_that_got_its_name_later_is_told_by_it() {
    let (mut files, mut out, info) = (files(), Vec::new(), info(1));
    let unnamed = FileEvent { flags: 0o20_200_001, ..open("/w/#12") };
    files.event(&info, MS, &unnamed, &mut out);
    files.event(&info, 2 * MS, &FileEvent { closed: false, ..close("/w/#12", 1, 3) }, &mut out);
    let place = |path: &str| Place { path: path.into(), resolved: true };
    let link = FileEvent { other: Some(place("/w/final")), flags: 0, ..event(FileDeed::Link, "/w/#12") };
    files.event(&info, 3 * MS, &link, &mut out);
    files.event(&info, 4 * MS, &close("/w/#12", 1, 4), &mut out);
    files.finish(&mut out);
    let told = told(&mut out);
    let written: u64 = told.iter().filter(|file| file.path == "/w/final").filter_map(|file| file.written).sum();
    assert_eq!(written, 7, "{told:#?}");
    assert!(told.iter().any(|file| file.path == "/w/final" && file.created), "{told:#?}");
    let old: Vec<Deed> = told.iter().filter(|file| file.path == "/w/#12").map(|file| file.deed).collect();
    assert_eq!(old, [Deed::Link]);
    assert!(files.named.is_empty());
}

#[test]
fn capabilities_of_a_file_are_sensitive_and_other_labels_are_not() {
    let (mut files, mut out, info) = (files(), Vec::new(), info(1));
    let set = |name: &str| FileEvent {
        other: Some(Place { path: name.into(), resolved: false }),
        ..event(FileDeed::Setxattr, "/w/tool")
    };
    files.event(&info, MS, &set("security.capability"), &mut out);
    let security = out.iter().any(|observation| matches!(&observation.kind, Kind::Security(_)));
    let told = told(&mut out);
    assert_eq!(told.first().and_then(|file| file.sensitive.as_deref()), Some("capabilities"));
    assert!(security);
    files.event(
        &info,
        MS,
        &FileEvent { place: Place { path: "/w/b".into(), resolved: true }, ..set("system.posix_acl_access") },
        &mut out,
    );
    files.finish(&mut out);
    assert!(self::told(&mut out).iter().all(|file| file.sensitive.is_none()));
}

#[test]
fn a_mapped_file_is_told_without_bytes_and_a_mere_close_not_at_all() {
    let (mut files, mut out, info) = (files(), Vec::new(), info(1));
    files.event(&info, MS, &open("/a"), &mut out);
    files.event(&info, 2 * MS, &FileEvent { mapped: true, ..close("/a", 0, 0) }, &mut out);
    let mapped = told(&mut out);
    assert!(mapped[0].mapped && mapped[0].written.is_none());
    assert_eq!(mapped[0].operations, 2);
    files.event(&info, 3 * MS, &close("/b", 0, 0), &mut out);
    files.finish(&mut out);
    assert!(told(&mut out).is_empty());
}
