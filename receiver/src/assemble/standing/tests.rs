use pipeline::observation::Deed;

use super::*;
use crate::{
    event::{
        Chunk, Clock, Direction, Exec, Socket, SocketKind, Source,
        deeds::{FileDeed, FileEvent, Place},
    },
    record::{FileSettings, Frame, Header, Settings},
    streams::dns::tests::answer,
};

const SECOND: u64 = 1_000_000_000;
const AGENT: ProcessKey = ProcessKey { tgid: 2, start: 2 * SECOND };
const CHILD: ProcessKey = ProcessKey { tgid: 3, start: 3 * SECOND };
const OTHER: ProcessKey = ProcessKey { tgid: 4, start: 4 * SECOND };

fn assembler(lookback: u64) -> Assembler {
    let settings = Settings {
        scope: Scope::Auto,
        follow_children: true,
        process: true,
        network: true,
        dns: true,
        files: Some(FileSettings::default()),
        security: true,
        lookback,
        ..Settings::default()
    };
    Assembler::new(&Header { settings, clock: Clock { boot: 0 }, ..Header::default() })
}

fn event(time: u64, process: ProcessKey, kind: EventKind) -> Frame {
    Frame::Event(Event { time, process, tid: process.tgid, kind })
}

fn exec(time: u64, process: ProcessKey, path: &str) -> Frame {
    event(time, process, EventKind::Exec(Exec { filename: path.into(), ..Exec::default() }))
}

fn wrote(time: u64, process: ProcessKey, path: &str) -> Frame {
    let place = Place { path: path.into(), resolved: true };
    let file = FileEvent {
        deed: FileDeed::Use,
        place,
        other: None,
        error: 0,
        flags: 1,
        mode: 0o100_644,
        uid: u32::MAX,
        gid: u32::MAX,
        length: 0,
        reads: 0,
        writes: 1,
        read: 0,
        written: 5,
        began: time,
        created: false,
        opened: false,
        closed: true,
        mapped: false,
    };
    event(time, process, EventKind::File(Box::new(file)))
}

fn data(time: u64, process: ProcessKey, source: Source, direction: Direction, bytes: &[u8]) -> Frame {
    let (total, bytes) = (bytes.len() as u64, bytes.to_vec().into());
    event(time, process, EventKind::Data(Chunk { source, object: 9, socket: 9, direction, total, offset: 0, bytes }))
}

fn call(time: u64, process: ProcessKey) -> Frame {
    let bytes = b"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n\r\n{}";
    data(time, process, Source::Socket, Direction::Write, bytes)
}

/// When, who and what, and what of it a recording would hold.
fn run(assembler: &mut Assembler, frames: &[Frame]) -> (Vec<(u64, u32, String)>, Vec<Frame>) {
    let (mut out, mut commands, mut recorded) = (Vec::new(), Vec::new(), Vec::new());
    for frame in frames {
        assembler.frame(frame, &mut out, &mut commands);
        recorded.extend(assembler.released().into_iter().map(Frame::Event));
        if !assembler.is_withheld() {
            recorded.push(frame.clone());
        }
    }
    let what = |kind: &Kind| match kind {
        Kind::Process(process) => format!("{:?}", process.phase),
        Kind::File(file) => format!("{:?} {} {}", file.deed, file.path, file.operations),
        Kind::Dns(dns) => format!("Dns {} {:?}", dns.name, dns.duration),
        other => format!("{other:?}"),
    };
    (out.iter().map(|one| (one.time.nanos(), one.process.key.tgid, what(&one.kind))).collect(), recorded)
}

/// An agent and what it starts, another program, and no call.
fn morning() -> Vec<Frame> {
    let socket = Socket {
        id: 9,
        kind: SocketKind::Udp,
        local: None,
        peer: Some(([127, 0, 0, 53], 53).into()),
        other: None,
        received: false,
    };
    let mut question = answer("a.b", [0, 0, 0, 0]);
    question[2..8].copy_from_slice(&[1, 0, 0, 1, 0, 0]);
    question.truncate(question.len() - 16);
    vec![
        exec(10 * SECOND, AGENT, "/bin/python3"),
        exec(10 * SECOND, OTHER, "/bin/python3"),
        wrote(11 * SECOND, AGENT, "/w/a"),
        wrote(11 * SECOND, OTHER, "/w/secret"),
        event(12 * SECOND, AGENT, EventKind::Fork { child: CHILD }),
        wrote(13 * SECOND, CHILD, "/w/b"),
        exec(14 * SECOND, CHILD, "/bin/sh"),
        wrote(15 * SECOND, CHILD, "/w/c"),
        wrote(15 * SECOND + 1, CHILD, "/w/c"),
        event(16 * SECOND, CHILD, EventKind::Exit { code: 0, signal: 0 }),
        event(17 * SECOND, AGENT, EventKind::Socket(socket)),
        data(17 * SECOND, AGENT, Source::Dns, Direction::Write, &question),
        data(17 * SECOND + 7, AGENT, Source::Dns, Direction::Read, &answer("a.b", [1, 2, 3, 4])),
        Frame::Tick(18 * SECOND),
        wrote(19 * SECOND, AGENT, "/w/a"),
    ]
}

#[test]
fn what_was_done_before_is_told_in_order_and_of_nobody_else() {
    let mut assembler = assembler(30 * SECOND);
    assembler.record();
    let mut frames = morning();
    frames.extend([call(20 * SECOND, AGENT), wrote(21 * SECOND, AGENT, "/w/d"), Frame::Tick(30 * SECOND)]);
    let (told, recorded) = run(&mut assembler, &frames);
    let file = |path: &str, operations: u64| format!("{:?} {path} {operations}", Deed::Write);
    let expected = [
        (10, 2, "Exec".to_owned()),
        (11, 2, file("/w/a", 1)),
        (12, 3, "Fork".into()),
        (13, 3, file("/w/b", 1)),
        (14, 3, "Exec".into()),
        (15, 3, file("/w/c", 1)),
        (15, 3, file("/w/c", 1)),
        (16, 3, "Exit(Exit { code: 0, signal: None })".into()),
        (17, 2, "Dns a.b Some(7ns)".into()),
        (19, 2, file("/w/a", 1)),
        (21, 2, file("/w/d", 1)),
    ];
    let seconds: Vec<_> = told.iter().map(|(time, tgid, what)| (time / SECOND, *tgid, what.clone())).collect();
    assert_eq!(seconds, expected);
    // The recording has nothing of the other one but that it was there, and gives the same.
    let of_other = recorded.iter().filter(|frame| matches!(frame, Frame::Event(event) if event.process == OTHER));
    assert_eq!(of_other.count(), 1);
    assert_eq!(recorded.len(), frames.len() - 1);
    let mut again = self::assembler(30 * SECOND);
    assert_eq!(run(&mut again, &recorded).0, told);
    assert_eq!(assembler.forgotten(), 0);
}

#[test]
fn what_is_too_old_or_not_kept_is_not_told() {
    let mut frames = morning();
    frames.extend([Frame::Tick(46 * SECOND), call(47 * SECOND, AGENT), Frame::Tick(60 * SECOND)]);
    let (told, _) = run(&mut assembler(30 * SECOND), &frames);
    let whats: Vec<&str> = told.iter().map(|(_, _, what)| what.as_str()).collect();
    assert_eq!(whats, ["Found", "Exit(Exit { code: 0, signal: None })", "Dns a.b Some(7ns)", "Write /w/a 1"]);
    let (told, _) = run(&mut assembler(0), &frames);
    assert_eq!(told.iter().map(|(_, _, what)| what.as_str()).collect::<Vec<_>>(), ["Found"]);
}

#[test]
fn a_flood_before_costs_no_more_than_its_room_and_is_counted() {
    let mut assembler = assembler(30 * SECOND);
    assembler.record();
    let mut frames = vec![exec(10 * SECOND, AGENT, "/bin/node"), exec(10 * SECOND, OTHER, "/bin/node")];
    frames.push(wrote(10 * SECOND, AGENT, "/w/first"));
    frames.extend((0..20_000u64).map(|n| wrote(11 * SECOND + n, OTHER, "/w/x")));
    frames.extend((0..1500u64).map(|n| wrote(12 * SECOND + n, AGENT, &format!("/w/{n}"))));
    frames.push(call(20 * SECOND, AGENT));
    let (told, recorded) = run(&mut assembler, &frames);
    assert!(told.iter().all(|(_, tgid, _)| *tgid == 2));
    // One call, and the latest of the files.
    assert_eq!(assembler.forgotten(), 1501 + 1 - 1024);
    assert_eq!(recorded.len(), 2 + 1024);
}

#[test]
fn excluded_processes_are_nowhere() {
    let mut header = Header { settings: assembler(30 * SECOND).settings.clone(), ..Header::default() };
    header.settings.exclude = vec![crate::targets::rules::Rule::Exe("python3".into())];
    let mut assembler = Assembler::new(&header);
    assembler.record();
    let mut frames = morning();
    frames.push(call(20 * SECOND, AGENT));
    let (told, recorded) = run(&mut assembler, &frames);
    assert_eq!(told, []);
    let deeds = recorded.iter().filter(|frame| {
        matches!(frame, Frame::Event(event) if !matches!(event.kind, EventKind::Exec(_) | EventKind::Fork { .. } | EventKind::Exit { .. }))
    });
    assert_eq!(deeds.count(), 0);
}

#[test]
fn a_child_that_the_kernel_side_may_not_know_is_named() {
    let mut assembler = assembler(30 * SECOND);
    let (mut out, mut commands) = (Vec::new(), Vec::new());
    let fork = |time, child| event(time, AGENT, EventKind::Fork { child });
    for frame in [
        exec(10 * SECOND, AGENT, "/bin/x"),
        call(20 * SECOND, AGENT),
        fork(21 * SECOND, CHILD),
        fork(29 * SECOND, OTHER),
    ] {
        assembler.frame(&frame, &mut out, &mut commands);
    }
    assert_eq!(commands, [Command::Watch(AGENT), Command::Watch(CHILD)]);
}
