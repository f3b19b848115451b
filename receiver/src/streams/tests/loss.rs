//! Holes, broken-off messages, limits.

use super::*;

const OK: Call<'static> = (Read, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");

#[test]
fn what_breaks_off_says_so() {
    for (calls, want) in [
        (vec![GET], vec![loss(Part::Response, LossReason::Closed, 0)]),
        (
            vec![GET, (Read, &b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"[..])],
            vec![loss(Part::Response, LossReason::Closed, 6)],
        ),
        (
            vec![GET, (Read, &b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc"[..])],
            vec![loss(Part::Response, LossReason::Closed, 2)],
        ),
        (
            vec![(Wrote, &b"POST /a HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc"[..])],
            vec![loss(Part::Request, LossReason::Closed, 6), loss(Part::Response, LossReason::Closed, 0)],
        ),
        (
            vec![(Wrote, &b"POST /a HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc"[..]), OK],
            vec![loss(Part::Request, LossReason::Closed, 6)],
        ),
    ] {
        let out = Bench::new().calls(&calls).close().take();
        assert_eq!(out.len(), 1);
        assert_eq!(out[0].losses, want);
        let mut bench = Bench::new();
        bench.calls(&calls);
        bench.streams.process_exit(PROCESS, 99, &mut bench.out);
        assert_eq!(bench.out[0].losses, want);
        let mut bench = Bench::new();
        bench.calls(&calls);
        bench.streams.finish(99, &mut bench.out);
        assert!(bench.out[0].losses.iter().all(|loss| loss.reason == LossReason::Unobserved));
        assert_eq!(bench.streams.buffered(), 0);
    }
}

#[test]
fn an_event_stream_may_end_by_its_last_event() {
    for (last, complete) in [
        ("data: [DONE]\n\n", true),
        ("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n", true),
        ("event: response.completed\r\ndata: {}\r\n\r\n", true),
        ("data: {\"type\":\"response.completed\"}\n\n", true),
        ("data: [DONE]\n", false),
        ("data: more\n\n", false),
    ] {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        let wire = format!("{head}9\r\ndata: x\n\n\r\n{:x}\r\n{last}\r\n", last.len());
        let out = Bench::new().calls(&[GET, (Read, wire.as_bytes())]).close().take();
        assert_eq!(out[0].losses.is_empty(), complete, "{last:?}");
    }
}

#[test]
fn a_hole_in_a_body_is_counted_and_passed_over() {
    let mut bench = Bench::new();
    bench.call(Wrote, b"POST /a HTTP/1.1\r\nContent-Length: 10\r\n\r\n");
    bench.piece(Wrote, 10, 0, b"01").piece(Wrote, 10, 6, b"6789").calls(&[OK, GET]);
    // The tail of a call is missing: seen with the next one.
    bench.call(Read, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    bench.piece(Read, 6, 0, b"8\r\nab").call(Read, b"efgh\r\n0\r\n\r\n").calls(&[GET, OK]);
    let got: Vec<_> = bench.take().iter().map(summary).collect();
    let mut first = whole("POST /a", "016789", 200, "ok");
    first.4 = vec![loss(Part::Request, LossReason::Dropped, 4)];
    let mut second = whole("GET /a", "", 200, "abefgh");
    second.4 = vec![loss(Part::Response, LossReason::Dropped, 1)];
    // "8\r\nab" is 5 of 6 bytes: one is missing, so the chunk is one short of its size.
    assert_eq!(got[0], first);
    assert_eq!(got[1].4[0], second.4[0]);
    assert_eq!(got.last().unwrap(), &whole("GET /a", "", 200, "ok"));
}

#[test]
fn a_lost_request_head_does_not_shift_the_answers() {
    let mut bench = Bench::new();
    bench.calls(&[GET, OK]);
    bench.piece(Wrote, 100, 60, &[b'x'; 40]).calls(&[OK, GET, (Read, b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n")]);
    let out = bench.take();
    assert_eq!(out.len(), 3);
    assert_eq!((out[1].request.method.as_str(), out[1].losses[0]), ("", loss(Part::Request, LossReason::Dropped, 60)));
    assert_eq!(summary(&out[2]), whole("GET /a", "", 404, ""));
    // What there is of a head is kept.
    let mut bench = Bench::new();
    bench.piece(Wrote, 90, 0, b"POST /v1/messages HTTP/1.1\r\nHost: api.example\r\nContent-Le").piece(
        Wrote,
        90,
        80,
        b"0123456789",
    );
    bench.calls(&[OK, GET, OK]);
    let out = bench.take();
    assert_eq!(
        (out[0].request.target.as_str(), out[0].request.headers.get("host")),
        ("/v1/messages", Some("api.example"))
    );
    assert_eq!(summary(&out[1]), whole("GET /a", "", 200, "ok"));
}

#[test]
fn after_a_lost_answer_the_next_call_is_seen() {
    for lost in [
        &b"HTTP/1.1 200 OK\r\nContent-Ty"[..],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
        b"",
    ] {
        let mut bench = Bench::new();
        bench.call(Wrote, GET.1).piece(Read, 500, 0, lost).calls(&[GET, OK, GET, OK]);
        let out = bench.close().take();
        assert_eq!(out.len(), 3, "{lost:?}");
        assert!(
            out[0].losses.iter().any(|loss| (loss.part, loss.reason) == (Part::Response, LossReason::Dropped)),
            "{:?}",
            out[0].losses
        );
        assert_eq!(
            out[1..].iter().map(summary).collect::<Vec<_>>(),
            vec![whole("GET /a", "", 200, "ok"); 2],
            "{lost:?}"
        );
    }
}

#[test]
fn whole_calls_may_be_lost_without_a_trace() {
    // Of a request's body: its answer came, and here is the next request.
    let out = exchanges(&[(Wrote, b"POST /1 HTTP/1.1\r\nContent-Length: 100\r\n\r\nabc"), OK, GET, OK]);
    assert_eq!(out[0].losses, [loss(Part::Request, LossReason::Dropped, 97)]);
    assert_eq!(summary(&out[1]), whole("GET /a", "", 200, "ok"));
    // Of an answer's body: here is the next answer.
    let out = exchanges(&[GET, (Read, b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc"), GET, OK]);
    assert_eq!(out[0].losses, [loss(Part::Response, LossReason::Dropped, 97)]);
    assert_eq!(summary(&out[1]), whole("GET /a", "", 200, "ok"));
}

#[test]
fn a_connection_joined_in_the_middle_waits_for_a_request() {
    let got = exchanges(&[
        (Read, b"rest of an answer GET /x HTTP/1.1\r\n\r\n"),
        (Wrote, b"P"),
        (Wrote, b"OST"),
        GET,
        (Read, b"tail"),
        OK,
    ]);
    assert_eq!(got.iter().map(summary).collect::<Vec<_>>(), [whole("GET /a", "", 200, "ok")]);
}

#[test]
fn an_object_may_be_reused_without_being_freed() {
    let mut bench = Bench::new();
    bench.calls(&[GET, (Read, b"HTTP/1.1 200 OK\r\n\r\nto the end"), GET, OK]);
    let out = bench.take();
    assert_eq!(
        out.iter().map(summary).collect::<Vec<_>>(),
        [whole("GET /a", "", 200, "to the end"), whole("GET /a", "", 200, "ok")]
    );
    assert_eq!((out[1].connection.generation, out[1].index), (1, 0));
    let mut bench = Bench::new();
    bench.call(Wrote, b"POST /1 HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
    bench.time += 3_000_000_000;
    bench.calls(&[(Wrote, b"POST /2 HTTP/1.1\r\nContent-Length: 0\r\n\r\n"), OK]);
    let out = bench.take();
    assert_eq!(out[0].losses, [loss(Part::Response, LossReason::Closed, 0)]);
    assert_eq!(summary(&out[1]), whole("POST /2", "", 200, "ok"));
}

#[test]
fn lengths_that_make_no_sense() {
    for bad in [
        "Content-Length: -1",
        "Content-Length: 1\r\nContent-Length: 2",
        "Content-Length: 99999999999999999999",
        "Content-Length: +5",
        "Content-Length: 1,x",
    ] {
        let request = format!("POST /a HTTP/1.1\r\n{bad}\r\n\r\nxxxxx");
        let out = exchanges(&[(Wrote, request.as_bytes()), OK, GET, OK]);
        assert_eq!(out[0].losses, [loss(Part::Request, LossReason::Undecodable, 0)], "{bad}");
        assert_eq!(summary(&out[1]), whole("GET /a", "", 200, "ok"), "{bad}");
        let answer = format!("HTTP/1.1 200 OK\r\n{bad}\r\n\r\nxxxxx");
        let out = exchanges(&[GET, (Read, answer.as_bytes()), GET, OK]);
        assert_eq!(out[0].losses, [loss(Part::Response, LossReason::Undecodable, 0)], "{bad}");
        assert_eq!(summary(&out[1]), whole("GET /a", "", 200, "ok"), "{bad}");
    }
    let out = exchanges(&[(Wrote, b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), OK, GET, OK]);
    assert_eq!(summary(&out[1]), whole("GET /a", "", 200, "ok"));
}

#[test]
fn endless_heads_are_bounded() {
    let mut bench = Bench::new();
    bench.call(Wrote, b"GET /a HTTP/1.1\r\n");
    for _ in 0..400 {
        bench.call(Wrote, &[&[b'a'; 1000][..], b": b\r\n"].concat());
    }
    assert!(bench.streams.buffered() < 2 << 20);
    bench.calls(&[OK, GET, OK]);
    let out = bench.take();
    assert_eq!(out[0].losses, [loss(Part::Request, LossReason::TooLarge, 0)]);
    assert_eq!(summary(&out[1]), whole("GET /a", "", 200, "ok"));
}

#[test]
fn long_bodies_keep_head_and_tail() {
    let body: Vec<u8> = (0..100u8).collect();
    for pieces in [1, 3, 7, 100] {
        let mut bench = Bench::with(Config { max_body_size: 20, memory_limit: 0 });
        bench.calls(&[
            GET,
            (Read, b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 100\r\n\r\n"),
        ]);
        for piece in body.chunks(pieces) {
            bench.call(Read, piece);
        }
        let exchange = bench.take().remove(0);
        assert_eq!(exchange.losses, [loss(Part::Response, LossReason::TooLarge, 80)]);
        let got = exchange.response.unwrap().body;
        assert_eq!((got.omitted, got.wire_size), (80, 100));
        assert_eq!(got.bytes, [&body[..10], &body[90..]].concat());
        // Piece n came at 1_030 + 10 n.
        for (offset, byte) in [(0, 0), (9, 9), (10, 90), (19, 99)] {
            assert_eq!(
                got.arrived(offset).map(|time| time.0),
                Some(1_030 + 10 * (byte / pieces as u64)),
                "{pieces} {offset}"
            );
        }
        assert!(got.marks.is_sorted_by(|a, b| a.offset < b.offset) && got.marks[0].offset == 0);
    }
}

#[test]
fn all_streams_together_are_bounded() {
    let limit = 1 << 20;
    let mut streams = Streams::new(Config { max_body_size: 0, memory_limit: limit }, Clock { boot: 0 });
    let mut out = Vec::new();
    let chunk = |object, bytes: &[u8]| Chunk {
        source: crate::event::Source::Tls,
        socket: 0,
        object,
        direction: Wrote,
        total: bytes.len() as u64,
        offset: 0,
        bytes: bytes::Bytes::copy_from_slice(bytes),
    };
    for object in 0..20 {
        streams.chunk(PROCESS, object, &chunk(object, b"POST /a HTTP/1.1\r\nContent-Length: 200000\r\n\r\n"), &mut out);
    }
    for time in 0..20 {
        for object in 0..20 {
            streams.chunk(PROCESS, time, &chunk(object, &[b'x'; 10_000]), &mut out);
            assert!(streams.buffered() <= limit);
        }
    }
    assert!(out.is_empty());
    for object in 0..20 {
        let answer = Chunk { direction: Read, ..chunk(object, OK.1) };
        streams.chunk(PROCESS, 30, &answer, &mut out);
    }
    assert_eq!((out.len(), streams.buffered() < 200_000), (20, true));
    let lost: Vec<u64> = out.iter().flat_map(|exchange| &exchange.losses).map(|loss| loss.bytes).collect();
    assert!(
        lost.len() >= 10
            && out.iter().all(|exchange| {
                let missing: u64 = exchange.losses.iter().map(|loss| loss.bytes).sum();
                exchange.request.body.bytes.len() as u64 + missing == 200_000
            })
    );
}

#[test]
fn requests_that_are_never_answered_are_bounded() {
    fn sent_between_threads<T: Send>(_: &T) {}
    let mut bench = Bench::new();
    bench.calls(&[GET, (Read, b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nabc")]);
    for _ in 0..10_000 {
        bench.call(Wrote, GET.1);
    }
    assert!(bench.streams.buffered() < 1 << 20);
    assert_eq!(bench.out.len(), 10_001 - 256);
    assert!(bench.out.iter().all(|exchange| exchange.losses[0].reason == LossReason::Unobserved));
    bench.call(Read, b"more of a lost body").close();
    assert_eq!(bench.out.len(), 10_001);
    assert!(bench.out[10_000].losses == [loss(Part::Response, LossReason::Closed, 0)]);
    sent_between_threads(&bench.streams);
}

#[test]
fn a_chunked_answer_is_rejoined_after_a_hole() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    let events: Vec<String> = (0..6).map(|number| format!("9\r\ndata: {number}\n\n\r\n")).collect();
    let mut bench = Bench::new();
    bench.calls(&[GET, (Read, head)]).call(Read, events[0].as_bytes());
    // A tail of a call; then a whole call without a trace, in the middle of a chunk.
    bench.piece(Read, 14, 0, &events[1].as_bytes()[..5]).call(Read, events[2].as_bytes());
    bench.call(Read, &events[3].as_bytes()[..5]).call(Read, events[4].as_bytes()).call(Read, events[5].as_bytes());
    bench.call(Read, b"0\r\n\r\n").calls(&[GET, OK]);
    let out = bench.take();
    assert_eq!(out[0].losses, [loss(Part::Response, LossReason::Dropped, 9)]);
    let body = &out[0].response.as_ref().unwrap().body.bytes;
    assert!(body.starts_with(b"data: 0\n\nda") && body.ends_with(b"data: 5\n\n"), "{body:?}");
    assert_eq!(summary(&out[1]), whole("GET /a", "", 200, "ok"));
}

#[test]
fn a_cut_last_call_is_told_at_the_end() {
    let mut bench = Bench::new();
    bench.calls(&[GET, (Read, b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n")]).piece(Read, 20, 0, b"0123456789");
    let out = bench.close().take();
    assert_eq!(out[0].losses, [loss(Part::Response, LossReason::Dropped, 10)]);
}
