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
