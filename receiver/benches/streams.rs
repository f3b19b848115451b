//! Throughput of the streams, single core: bytes of bodies, events of event streams. Budget: 500 MB/s, 500,000 events/s.
//!
//! `cargo bench -p onlooker-receiver --bench streams`
#![allow(clippy::print_stdout, reason = "a benchmark prints its result")]

use std::{hint::black_box, time::Instant};

use bytes::Bytes;
use pipeline::ProcessKey;
use receiver::{
    event::{Chunk, Clock, Direction},
    streams::{Config, Streams},
};

const PROCESS: ProcessKey = ProcessKey { tgid: 1, start: 1 };
const CONFIG: Config = Config { max_body_size: 16 << 20, memory_limit: 256 << 20 };

fn chunk(direction: Direction, bytes: &Bytes) -> Chunk {
    Chunk {
        source: receiver::event::Source::Tls,
        socket: 0,
        object: 1,
        direction,
        total: bytes.len() as u64,
        offset: 0,
        bytes: bytes.clone(),
    }
}

/// Feeds these chunks so many times; gives seconds and exchanges.
fn run(chunks: &[Chunk], times: u64) -> (f64, usize) {
    let mut streams = Streams::new(CONFIG, Clock::default());
    let (mut out, mut time, mut exchanges) = (Vec::new(), 0, 0);
    let start = Instant::now();
    for _ in 0..times {
        for chunk in chunks {
            time += 1;
            streams.chunk(PROCESS, time, chunk, &mut out);
        }
        exchanges += black_box(&out).len();
        out.clear();
        streams.notices().for_each(drop);
    }
    (start.elapsed().as_secs_f64(), exchanges)
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The header block of a request: `POST`, `https`, `/v1/x`, `h`; then of an answer: 200, an event stream.
const ASK: &[u8] = b"\x83\x87\x04\x05/v1/x\x01\x01h";
const ANSWER: &[u8] = b"\x88\x0f\x10\x11text/event-stream";

/// The same in HTTP/1 and HTTP/2, in calls of one frame or chunk: MB/s of a body, events/s of a stream. The streams of
/// HTTP/2 are several at once.
fn compare(piece: &Bytes, event: &str) {
    let one = |bytes: Vec<u8>, direction| chunk(direction, &Bytes::from(bytes));
    let measure = |name: &str, chunks: [Vec<Chunk>; 2], size: f64, unit: &str| {
        let [old, new] = chunks.map(|chunks| {
            let (seconds, exchanges) = run(&chunks, 1);
            assert!(exchanges > 0);
            size / seconds
        });
        println!("{name}: HTTP/1 {old:.0} {unit}, HTTP/2 {new:.0} {unit}, ratio {:.2}", new / old);
    };
    let (uploads, pieces) = (16, 512);
    let size = pieces * piece.len();
    let mut old = Vec::new();
    let mut new = vec![one(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), Direction::Write)];
    for upload in 0..uploads {
        let head = format!("POST /v1/x HTTP/1.1\r\nHost: h\r\nContent-Length: {size}\r\n\r\n");
        old.push(one(head.into_bytes(), Direction::Write));
        old.extend((0..pieces).map(|_| chunk(Direction::Write, piece)));
        old.push(one(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec(), Direction::Read));
        let stream = 2 * upload + 1;
        new.push(one(frame(1, 4, stream, ASK), Direction::Write));
        let whole = chunk(Direction::Write, &Bytes::from(frame(0, 0, stream, piece)));
        new.extend((0..pieces).map(|_| whole.clone()));
        new.push(one(frame(0, 1, stream, b""), Direction::Write));
        new.push(one([frame(1, 4, stream, ANSWER), frame(0, 1, stream, b"ok")].concat(), Direction::Read));
    }
    measure("bodies", [old, new], uploads as f64 * size as f64 / 1e6, "MB/s");
    let (rounds, events, at_once) = (100, 500, 8);
    let mut old = Vec::new();
    let mut new = vec![one(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), Direction::Write)];
    let coded = chunk(Direction::Read, &Bytes::from(format!("{:x}\r\n{event}\r\n", event.len())));
    for round in 0..rounds {
        let streams: Vec<u32> = (0..at_once).map(|at| 2 * (round * at_once + at) + 1).collect();
        for stream in &streams {
            old.push(one(b"POST /v1/x HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}".to_vec(), Direction::Write));
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
            old.push(one(head.into(), Direction::Read));
            old.extend((0..events).map(|_| coded.clone()));
            old.push(one(b"0\r\n\r\n".to_vec(), Direction::Read));
            let asked = [frame(1, 4, *stream, ASK), frame(0, 1, *stream, b"{}")];
            new.push(one(asked.concat(), Direction::Write));
            new.push(one(frame(1, 4, *stream, ANSWER), Direction::Read));
        }
        let framed: Vec<Chunk> =
            streams.iter().map(|stream| one(frame(0, 0, *stream, event.as_bytes()), Direction::Read)).collect();
        new.extend((0..events).flat_map(|_| framed.iter().cloned()));
        new.extend(streams.iter().map(|stream| one(frame(0, 1, *stream, b""), Direction::Read)));
    }
    measure("streams of events", [old, new], f64::from(rounds * events * at_once), "events/s");
}

fn main() {
    let request =
        |size: usize| Bytes::from(format!("POST /v1/x HTTP/1.1\r\nHost: h\r\nContent-Length: {size}\r\n\r\n"));
    let answer = Bytes::from_static(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let piece = Bytes::from(vec![b'x'; 16 * 1024]);
    for pieces in [16, 512] {
        let size = pieces * piece.len();
        let mut chunks = vec![chunk(Direction::Write, &request(size))];
        chunks.extend((0..pieces).map(|_| chunk(Direction::Write, &piece)));
        chunks.push(chunk(Direction::Read, &answer));
        let times = (2 << 30) / size as u64;
        let (seconds, exchanges) = run(&chunks, times);
        println!(
            "bodies of {} KiB: {:.0} MB/s, {exchanges} exchanges",
            size / 1024,
            times as f64 * size as f64 / 1e6 / seconds
        );
    }
    let event = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"text\":\"word\"}}\n\n";
    let head =
        Bytes::from_static(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
    compare(&piece, event);
    let event = Bytes::from(format!("{:x}\r\n{event}\r\n", event.len()));
    for events in [500, 100_000] {
        let mut chunks =
            vec![chunk(Direction::Write, &request(2)), chunk(Direction::Write, &Bytes::from_static(b"{}"))];
        chunks.push(chunk(Direction::Read, &head));
        chunks.extend((0..events).map(|_| chunk(Direction::Read, &event)));
        chunks.push(chunk(Direction::Read, &Bytes::from_static(b"0\r\n\r\n")));
        let times = 2_000_000 / events;
        let (seconds, exchanges) = run(&chunks, times);
        println!(
            "streams of {events} events: {:.0} events/s, {exchanges} exchanges",
            (times * events) as f64 / seconds
        );
    }
    let chunks = [
        chunk(Direction::Write, &request(2)),
        chunk(Direction::Write, &Bytes::from_static(b"{}")),
        chunk(Direction::Read, &answer),
    ];
    let (seconds, exchanges) = run(&chunks, 300_000);
    println!("small exchanges: {:.0} exchanges/s", exchanges as f64 / seconds);
}
