use std::os::unix::fs::PermissionsExt;

use pipeline::{Kind, ProcessKey, observation::Heartbeat};

use super::*;
use crate::{
    event::{Chunk, Clock, Direction, Event, EventKind, Exec},
    record::{Frame, Header, Recorder, Scope, Settings},
};

const AGENT: ProcessKey = ProcessKey { tgid: 70, start: 5_000 };

fn header() -> Header {
    let settings = Settings {
        scope: Scope::Tree,
        follow_children: true,
        process: true,
        max_body_size: 1 << 20,
        memory_limit: 1 << 26,
        ..Settings::default()
    };
    Header { settings, clock: Clock { boot: 1_000_000 }, ..Header::default() }
}

fn event(time: u64, kind: EventKind) -> Frame {
    Frame::Event(Event { time, process: AGENT, tid: 71, kind })
}

fn data(time: u64, direction: Direction, text: &str, cut: usize) -> Vec<Frame> {
    let total = text.len() as u64;
    let piece = |from: usize, to: usize| {
        let bytes = text.as_bytes()[from..to].to_vec().into();
        let chunk = Chunk {
            source: crate::event::Source::Tls,
            socket: 0,
            object: 0x1000,
            direction,
            total,
            offset: from as u64,
            bytes,
        };
        event(time, EventKind::Data(chunk))
    };
    let cut = cut.clamp(1, text.len() - 1);
    vec![piece(0, cut), piece(cut, text.len())]
}

/// A small run: a program calls a model and ends.
fn frames() -> Vec<Frame> {
    let exec = Exec { filename: "/bin/agent".into(), args: vec!["agent".into()], ..Exec::default() };
    let request = "POST /v1/chat/completions?key=SECRET1 HTTP/1.1\r\nhost: api.openai.com\r\n\
        authorization: Bearer SECRET2\r\ncontent-length: 13\r\n\r\n{\"model\":\"m\"}";
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 11\r\nset-cookie: a=SECRET3\r\n\r\n{\"id\":\"r1\"}";
    let mut frames = vec![event(6_000, EventKind::Exec(exec))];
    frames.extend(data(7_000, Direction::Write, request, 70));
    frames.push(Frame::Tick(7_500));
    frames.extend(data(8_000, Direction::Read, answer, 50));
    frames.push(event(9_000, EventKind::Close { object: 0x1000 }));
    frames.push(Frame::Heartbeat(9_100, Box::new(Heartbeat { sequence: 1, ..Heartbeat::default() })));
    frames.push(event(9_500, EventKind::Exit { code: 2, signal: 0 }));
    frames.push(Frame::Tick(10_000));
    frames
}

fn live(frames: &[Frame]) -> String {
    let mut assembler = Assembler::new(&header());
    let (mut out, mut commands) = (Vec::new(), Vec::new());
    let mut text = String::new();
    for frame in frames {
        if let Some(watermark) = assembler.frame(frame, &mut out, &mut commands) {
            text += &format!("{:?} {watermark:?}\n", std::mem::take(&mut out));
        }
    }
    assembler.finish(&mut out, &mut commands);
    text + &format!("{out:?}\n")
}

fn replayed(bytes: &[u8]) -> (String, Result<(), Error>, usize) {
    let mut text = String::new();
    let mut last = String::new();
    let mut count = 0;
    let outcome = Reader::new(bytes).and_then(|reader| {
        replay(reader, |batch| {
            count += batch.observations.len();
            text += &last;
            text += &format!("{:?}", batch.observations);
            last = format!(" {:?}\n", batch.watermark);
            true
        })
    });
    // The last batch has no tick of its own.
    (text + "\n", outcome, count)
}

fn recorded(frames: Vec<Frame>) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.rec");
    let mut recorder = Recorder::create(&path, &header()).unwrap();
    for frame in frames {
        recorder.write(vec![frame]);
    }
    recorder.finish().unwrap();
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    std::fs::read(path).unwrap()
}

#[test]
fn a_replay_gives_what_the_run_gave_and_holds_no_secret() {
    let bytes = recorded(frames());
    assert!(!String::from_utf8_lossy(&bytes).contains("SECRET"));
    let (text, outcome, _) = replayed(&bytes);
    outcome.unwrap();
    assert_eq!(text, live(&frames()));
    assert!(text.contains("/v1/chat/completions"), "{text}");
    assert!(text.contains("r1"), "{text}");
    assert!(!text.contains("SECRET"));
}

#[test]
fn a_recording_that_was_cut_off_is_used_as_far_as_it_goes() {
    let bytes = recorded(frames());
    let (_, outcome, whole) = replayed(&bytes);
    outcome.unwrap();
    for length in 0..bytes.len() {
        let (_, outcome, count) = replayed(&bytes[..length]);
        assert!(count <= whole + 1);
        if let Err(error) = outcome {
            let error = error.to_string();
            assert!(error.contains("recording"), "{error}");
        }
    }
    let (_, outcome, count) = replayed(&bytes[..bytes.len() - 3]);
    assert!(outcome.unwrap_err().to_string().contains("cut off"));
    assert!(count > 0);
}

#[test]
fn what_is_no_recording_is_said_to_be_none() {
    let error = |bytes: &[u8]| replayed(bytes).1.unwrap_err().to_string();
    assert!(error(b"").contains("not a recording"));
    assert!(error(b"{\"resourceSpans\":[]}").contains("not a recording"));
    assert!(error(b"onlooker-rec\x63\0").contains("version 99"));
    assert!(error(b"onlooker-rec\x01\0").contains("no header"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_receiver_sends_everything_and_finishes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.rec");
    std::fs::write(&path, recorded(frames())).unwrap();
    let mut receiver = Replay::new(path);
    let (output, mut batches) = tokio::sync::mpsc::channel(1);
    receiver.start(output).unwrap();
    let mut kinds = Vec::new();
    while let Some(batch) = batches.recv().await {
        kinds.extend(batch.observations.into_iter().map(|observation| observation.kind));
    }
    receiver.finished().await;
    receiver.stop().await.unwrap();
    assert!(kinds.iter().any(|kind| matches!(kind, Kind::Process(_))));
    assert!(kinds.iter().any(|kind| matches!(kind, Kind::Heartbeat(_))));
    let mut missing = Replay::new(folder.path().join("none"));
    let (output, _batches) = tokio::sync::mpsc::channel(1);
    assert!(missing.start(output).unwrap_err().to_string().contains("cannot read the recording"));
}

#[test]
fn any_damage_is_safe() {
    let bytes = recorded(frames());
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x55;
        let _ = replayed(&damaged);
    }
}

/// What a late attachment sees: the first answer without its request. The next exchange is whole.
#[test]
fn an_answer_without_its_request_does_not_harm_the_next_exchange() {
    let exec = Exec { filename: "/bin/agent".into(), args: vec!["agent".into()], ..Exec::default() };
    let mut frames = vec![event(6_000, EventKind::Exec(exec))];
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
    let request = "POST /second HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\n1";
    frames.extend(data(7_000, Direction::Read, answer, 50));
    frames.extend(data(8_000, Direction::Write, request, 10));
    frames.extend(data(9_000, Direction::Read, answer, 20));
    frames.push(Frame::Tick(10_000));
    let mut assembler = Assembler::new(&header());
    let (mut out, mut commands) = (Vec::new(), Vec::new());
    for frame in &frames {
        assembler.frame(frame, &mut out, &mut commands);
    }
    let whole = out.iter().any(|observation| match &observation.kind {
        Kind::Exchange(exchange) => exchange.request.target == "/second" && exchange.losses.is_empty(),
        _ => false,
    });
    assert!(whole, "{out:?}");
}
