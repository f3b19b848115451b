use pipeline::observation::{Headers, Request, Response};

use super::*;
use crate::{
    event::Exec,
    record::{Facts, Found},
    targets::rules::Rule,
};

const SECOND: u64 = 1_000_000_000;

fn key(tgid: u32) -> ProcessKey {
    ProcessKey { tgid, start: u64::from(tgid) * SECOND }
}

fn header(scope: Scope) -> Header {
    let settings =
        Settings { scope, follow_children: true, process: true, lookback: 30 * SECOND, ..Settings::default() };
    Header { settings, clock: Clock { boot: 0 }, ..Header::default() }
}

fn event(time: u64, process: ProcessKey, kind: EventKind) -> Frame {
    Frame::Event(Event { time: time * SECOND, process, tid: process.tgid, kind })
}

fn exec(time: u64, process: ProcessKey, parent: ProcessKey, path: &str) -> Frame {
    let exec = Exec { parent, filename: path.into(), args: vec![path.into()], ..Exec::default() };
    event(time, process, EventKind::Exec(exec))
}

fn fork(time: u64, parent: ProcessKey, child: ProcessKey) -> Frame {
    event(time, parent, EventKind::Fork { child })
}

fn found(process: ProcessKey, parent: Option<ProcessKey>, path: &str) -> Frame {
    let found = Found { parent, args: vec![path.into()], ..Found::default() };
    let facts = Facts { process, found: Some(found), executable: Some(path.into()), ..Facts::default() };
    Frame::Facts(Box::new(facts))
}

/// Phase, pid and executable of each observation.
fn told(out: &[Observation]) -> Vec<String> {
    let line = |observation: &Observation| {
        let phase = match &observation.kind {
            Kind::Process(process) => format!("{:?}", process.phase),
            Kind::Exchange(exchange) => exchange.request.target.clone(),
            other => format!("{other:?}"),
        };
        format!("{phase} {} {}", observation.process.key.tgid, observation.process.executable)
    };
    out.iter().map(line).collect()
}

fn run(assembler: &mut Assembler, frames: Vec<Frame>) -> (Vec<String>, Vec<Command>) {
    let (mut out, mut commands) = (Vec::new(), Vec::new());
    for frame in &frames {
        assembler.frame(frame, &mut out, &mut commands);
    }
    (told(&out), commands)
}

fn exchange(process: ProcessKey, time: u64, host: &str, target: &str) -> Seen {
    let request = Request {
        method: "POST".into(),
        target: target.into(),
        headers: Headers(vec![("host".into(), host.into())]),
        ended: Timestamp(time * SECOND),
        ..Request::default()
    };
    Seen::Exchange(Box::new(Exchange {
        connection: ConnectionKey { process, object: 9, generation: 0 },
        index: 0,
        role: Role::Client,
        tls: true,
        protocol: pipeline::observation::Protocol::Http1,
        facts: None,
        request,
        response: Some(Response { status: 200, ..Response::default() }),
        losses: Vec::new(),
    }))
}

#[test]
fn a_tree_is_told_as_it_happens() {
    let mut assembler = Assembler::new(&header(Scope::Tree));
    let exit = EventKind::Exit { code: 3, signal: 0 };
    let (told, commands) = run(
        &mut assembler,
        vec![
            found(key(1), None, "/bin/onlooker"),
            fork(10, key(1), key(2)),
            exec(11, key(2), key(1), "/bin/sh"),
            fork(12, key(2), key(3)),
            event(13, key(3), exit),
        ],
    );
    assert_eq!(
        told,
        ["Fork 2 /bin/onlooker", "Exec 2 /bin/sh", "Fork 3 /bin/sh", "Exit(Exit { code: 3, signal: None }) 3 /bin/sh",]
    );
    assert!(commands.is_empty());
}

#[test]
fn known_agents_are_watched_with_their_children() {
    let mut assembler = Assembler::new(&header(Scope::Auto));
    let (lines, commands) = run(
        &mut assembler,
        vec![
            found(key(1), None, "/sbin/init"),
            found(key(2), Some(key(1)), "/usr/bin/claude"),
            found(key(3), Some(key(2)), "/bin/bash"),
            exec(10, key(4), key(1), "/bin/ls"),
            fork(11, key(3), key(5)),
        ],
    );
    assert_eq!(lines, ["Found 2 /usr/bin/claude", "Found 3 /bin/bash", "Fork 5 /bin/bash"]);
    assert_eq!(commands, [Command::Watch(key(2)), Command::Watch(key(3))]);
}

#[test]
fn who_calls_a_model_is_told_from_shortly_before() {
    let mut assembler = Assembler::new(&header(Scope::Auto));
    let (lines, _) = run(
        &mut assembler,
        vec![
            exec(10, key(2), key(1), "/bin/myagent"),
            fork(11, key(2), key(3)),
            exec(12, key(3), key(2), "/bin/sh"),
            exec(12, key(7), key(1), "/bin/other"),
            event(13, key(3), EventKind::Exit { code: 0, signal: 9 }),
            Frame::Tick(14 * SECOND),
        ],
    );
    assert!(lines.is_empty(), "{lines:?}");
    let (mut out, mut commands) = (Vec::new(), Vec::new());
    let seen =
        vec![exchange(key(2), 15, "evil-api.openai.com.example", "/"), exchange(key(2), 16, "x", "/v1/messages")];
    assembler.seen(seen, &mut out, &mut commands);
    assert_eq!(
        told(&out),
        [
            "Exec 2 /bin/myagent",
            "Fork 3 /bin/myagent",
            "Exec 3 /bin/sh",
            "Exit(Exit { code: 0, signal: Some(9) }) 3 /bin/sh",
            "/v1/messages 2 /bin/myagent",
        ]
    );
    assert_eq!(commands, [Command::Watch(key(2))]);
    assert_eq!(run(&mut assembler, vec![exec(20, key(7), key(1), "/bin/other")]).0.len(), 0);
}

#[test]
fn who_serves_a_models_api_is_known_by_its_first_request() {
    let mut assembler = Assembler::new(&header(Scope::Auto));
    run(&mut assembler, vec![exec(10, key(2), key(1), "/bin/gateway"), exec(10, key(3), key(1), "/bin/server")]);
    let (mut out, mut commands) = (Vec::new(), Vec::new());
    let served = |process, target: &str| Seen::Served { process, host: "localhost:4000".into(), target: target.into() };
    assembler.seen(
        vec![served(key(2), "/v1/chat/completions"), served(key(3), "/index.html")],
        &mut out,
        &mut commands,
    );
    // To serve makes nobody an agent.
    assert!(commands.is_empty() && out.is_empty());
    let calls = [key(2), key(3)].map(|key| exchange(key, 15, "api.openai.com", "/v1/chat/completions"));
    assembler.seen(calls.into(), &mut out, &mut commands);
    let serves =
        |of: &[Observation], key| of.iter().rev().find(|o| o.process.key == key).map(|o| o.process.serves_models);
    assert_eq!((serves(&out, key(2)), serves(&out, key(3))), (Some(true), Some(false)));
    // Its next program is another one.
    out.clear();
    assembler.frame(&exec(20, key(2), key(1), "/bin/agent"), &mut out, &mut commands);
    assert_eq!(serves(&out, key(2)), Some(false));
}

#[test]
fn what_is_older_than_the_memory_is_not_told() {
    let mut assembler = Assembler::new(&header(Scope::Auto));
    run(&mut assembler, vec![exec(10, key(2), key(1), "/bin/myagent"), Frame::Tick(50 * SECOND)]);
    let (mut out, mut commands) = (Vec::new(), Vec::new());
    assembler.seen(vec![exchange(key(2), 51, "api.anthropic.com", "/")], &mut out, &mut commands);
    assert_eq!(told(&out), ["Found 2 /bin/myagent", "/ 2 /bin/myagent"]);
}

#[test]
fn connections_of_no_interest_are_ruled_out() {
    let mut assembler = Assembler::new(&header(Scope::Auto));
    run(&mut assembler, vec![exec(10, key(2), key(1), "/usr/bin/apt")]);
    let (mut out, mut commands) = (Vec::new(), Vec::new());
    for time in 0..u64::from(PLAIN_EXCHANGES) {
        assert!(commands.is_empty());
        assembler.seen(vec![exchange(key(2), time, "deb.example", "/x")], &mut out, &mut commands);
    }
    assert!(out.is_empty());
    assert_eq!(commands, [Command::Ignore { process: key(2), object: 9 }]);
}

#[test]
fn rules_decide_where_they_are_the_only_say() {
    let mut header = header(Scope::Rules);
    header.settings.include = vec![Rule::Exe("my*".into())];
    header.settings.exclude = vec![Rule::Args("*secret*".into())];
    let mut assembler = Assembler::new(&header);
    let (lines, commands) = run(
        &mut assembler,
        vec![
            exec(10, key(2), key(1), "/usr/bin/claude"),
            exec(11, key(3), key(1), "/bin/mytool"),
            exec(12, key(4), key(1), "/secret/mytool"),
            fork(13, key(4), key(5)),
            exec(14, key(5), key(4), "/bin/mytool"),
        ],
    );
    assert_eq!(lines, ["Exec 3 /bin/mytool"]);
    assert_eq!(commands, [Command::Watch(key(3)), Command::Exclude(key(4))]);
}
