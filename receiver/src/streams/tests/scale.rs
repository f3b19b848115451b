//! Big inputs. Nothing here reads the clock: a quadratic step would make these take minutes.

use super::*;

#[test]
fn big_bodies_and_many_events() {
    let size = 16 << 20;
    let body: Vec<u8> = (0..size).map(|at: usize| (at / 7) as u8).collect();
    let mut bench = Bench::new();
    bench.call(Wrote, format!("POST /a HTTP/1.1\r\nContent-Length: {size}\r\n\r\n").as_bytes());
    for piece in body.chunks(16_384) {
        bench.call(Wrote, piece);
    }
    assert!(bench.streams.buffered() < 33 << 20);
    bench.call(Read, b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..100_000 {
        bench.call(Read, b"9\r\ndata: x\n\n\r\n");
    }
    bench.call(Read, b"0\r\n\r\n");
    let exchange = bench.take().remove(0);
    assert!(exchange.losses.is_empty() && exchange.request.body.bytes == body);
    let body = exchange.response.unwrap().body;
    assert_eq!((body.marks.len(), body.bytes.len()), (100_000, 900_000));
    assert_eq!(pipeline::sse::events(&body.bytes).count(), 100_000);
}

#[test]
fn one_byte_at_a_time() {
    let text = "x".repeat(300_000);
    let long_line = format!("GET /{} HTTP/1.1\r\nX: {}\r\n\r\n", &text[..60_000], &text[..150_000]);
    let answer =
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{text}\r\n0\r\n\r\n", text.len());
    let mut bench = Bench::new();
    for byte in long_line.bytes() {
        bench.call(Wrote, &[byte]);
    }
    for byte in answer.bytes() {
        bench.call(Read, &[byte]);
    }
    assert_eq!(
        bench.take().iter().map(|e| e.response.as_ref().unwrap().body.bytes.len()).collect::<Vec<_>>(),
        [300_000]
    );
}

#[test]
fn the_ring_of_marks_is_bounded() {
    let mut bench = Bench::with(Config { max_body_size: 1_000, memory_limit: 0 });
    bench.calls(&[
        GET,
        (Read, b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ]);
    for _ in 0..100_000 {
        bench.call(Read, b"9\r\ndata: x\n\n\r\n");
        assert!(bench.streams.buffered() < 100_000);
    }
}
