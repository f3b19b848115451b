//! Connections that were joined, and bytes that are missing.

use super::*;

/// Feeds a call of which these bytes are missing.
fn holed(bench: &mut Bench, direction: crate::event::Direction, bytes: &[u8], gone: std::ops::Range<usize>) {
    let total = bytes.len() as u64;
    if gone.start > 0 {
        bench.piece(direction, total, 0, &bytes[..gone.start]);
    }
    if gone.end < bytes.len() {
        bench.piece(direction, total, gone.end as u64, &bytes[gone.end..]);
    }
}

#[test]
fn a_connection_is_joined_in_its_middle() {
    let mut sides = Sides::default();
    let _unseen = (ask(&mut sides, 1, "/v1/a", ""), answer(&mut sides, 1, ""));
    let mut bench = Bench::new();
    // The rest of an answer, then a request whose path is new and whose host is not.
    bench.call(Read, b"rest of a frame").call(Read, &data(1, true, b"end"));
    bench.call(Wrote, &ask(&mut sides, 3, "/v1/b", "x")).call(Read, &answer(&mut sides, 3, "y"));
    assert_eq!(bench.verdict(), Verdict::Http2);
    bench.call(Wrote, &ask(&mut sides, 5, "/v1/a", "p")).call(Read, &answer(&mut sides, 5, "q"));
    bench.call(Wrote, &ask(&mut sides, 7, "/v1/b", "v")).call(Read, &answer(&mut sides, 7, "w"));
    let out = bench.take();
    let unseen = vec![loss(Part::Request, LossReason::Unobserved, 0), loss(Part::Response, LossReason::Unobserved, 0)];
    let with = |request: &str, sent: &str, got: &str| (request.into(), sent.into(), 200, got.into(), unseen.clone());
    assert_eq!(
        out.iter().map(summary).collect::<Vec<_>>(),
        [with("POST /v1/b", "x", "y"), with("POST ", "p", "q"), with("POST /v1/b", "v", "w")]
    );
    assert_eq!(out[0].request.headers.get("host"), None);
    assert!(!format!("{out:?}").contains("SECRET"));
    bench.close();
}

#[test]
fn an_answer_whose_status_is_unknown_is_given_with_its_body() {
    let mut sides = Sides::default();
    let fields = [(":status", "429"), ("content-type", "text/event-stream")];
    let _unseen = sides.server.head(1, false, &fields);
    let mut bench = Bench::new();
    bench.call(Wrote, &ask(&mut sides, 3, "/v1/b", "x"));
    bench.call(Read, &[sides.server.head(3, false, &fields), data(3, false, b"data: 1\n\n")].concat());
    bench.call(Read, &data(3, true, b"data: 2\n\n"));
    let exchange = bench.take().remove(0);
    let answer = exchange.response.as_ref().unwrap();
    assert_eq!((answer.status, answer.body.bytes.as_ref()), (0, &b"data: 1\n\ndata: 2\n\n"[..]));
    assert_eq!(answer.body.marks.len(), 2);
    assert_eq!(exchange.losses, [loss(Part::Response, LossReason::Unobserved, 0)]);
}

#[test]
fn a_hole_in_a_body_costs_only_that() {
    let mut sides = Sides::default();
    let mut bench = Bench::new();
    bench.call(Wrote, &[hello(), ask(&mut sides, 1, "/a", "x")].concat());
    let got = [settings(), answer(&mut sides, 1, "0123456789"), frame_of(6, 0, 0, &[0; 8])].concat();
    let body = got.windows(4).position(|four| four == b"0123").unwrap();
    holed(&mut bench, Read, &got, body + 2..body + 7);
    bench.call(Wrote, &ask(&mut sides, 3, "/a", "x")).call(Read, &answer(&mut sides, 3, "y"));
    let out = bench.take();
    assert_eq!(summary(&out[0]).3, "01789");
    assert_eq!(out[0].losses, [loss(Part::Response, LossReason::Dropped, 5)]);
    assert_eq!(summary(&out[1]), whole("POST /a", "x", 200, "y"));
}

#[test]
fn after_lost_frames_a_call_that_begins_with_frames_is_followed() {
    let mut sides = Sides::default();
    let mut bench = Bench::new();
    bench.call(Wrote, &[hello(), ask(&mut sides, 1, "/a", "x")].concat());
    let got = [settings(), answer(&mut sides, 1, "answer")].concat();
    holed(&mut bench, Read, &got, 30..60);
    bench.call(Wrote, &ask(&mut sides, 3, "/a", "x")).call(Read, &answer(&mut sides, 3, "y"));
    bench.close();
    let out = bench.take();
    assert_eq!((out.len(), summary(&out[0]).3.as_str(), summary(&out[1]).3.as_str()), (2, "y", ""));
    // What the header fields refer to may have been in the hole.
    assert_eq!(out[0].losses, [loss(Part::Response, LossReason::Dropped, 0)]);
    assert_eq!(out[1].losses, [loss(Part::Response, LossReason::Dropped, 30)]);
}

#[test]
fn a_request_that_was_lost_leaves_its_answer() {
    let mut sides = Sides::default();
    let mut bench = Bench::new();
    bench.call(Wrote, &hello()).call(Read, &settings());
    let lost = ask(&mut sides, 1, "/a", "x");
    holed(&mut bench, Wrote, &lost, 0..20);
    bench.call(Read, &answer(&mut sides, 1, "y"));
    bench.call(Wrote, &ask(&mut sides, 3, "/b", "x")).call(Read, &answer(&mut sides, 3, "z"));
    let out = bench.take();
    assert_eq!((out.len(), summary(&out[0]).0.as_str(), summary(&out[0]).3.as_str()), (2, " ", "y"));
    assert_eq!(out[0].losses, [loss(Part::Request, LossReason::Dropped, 0)]);
    assert_eq!(summary(&out[1]).0, "POST /b");
    assert_eq!(out.iter().map(|exchange| exchange.index).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn calls_that_were_lost_without_a_trace_are_noticed() {
    let mut sides = Sides::default();
    let mut bench = Bench::new();
    bench.call(Wrote, &[hello(), ask(&mut sides, 1, "/a", "x")].concat());
    let big = data(1, true, &[b'x'; 5000]);
    bench.call(Read, &[settings(), sides.server.ok(1, "text/plain"), big[..1000].to_vec()].concat());
    bench.call(Wrote, &ask(&mut sides, 3, "/a", "x")).call(Read, &answer(&mut sides, 3, "y"));
    let out = bench.close().take();
    assert_eq!((out.len(), summary(&out[0]).3.as_str()), (2, "y"));
    assert_eq!(out[1].losses, [loss(Part::Response, LossReason::Dropped, 0)]);
}

#[test]
fn a_head_that_is_too_long_is_told() {
    let mut sides = Sides::default();
    let mut bench = Bench::new();
    bench.call(Wrote, &[hello(), sides.client.post(1, "/a")].concat());
    let _ = bench.streams.notices().count();
    // An entry of 4000 bytes, again and again.
    let value = "v".repeat(3000);
    let mut block = sides.client.block(&[(":method", "GET"), (":path", "/bomb"), ("x-bomb", &value)]);
    block.extend(vec![0xbe; 15_000]);
    bench.call(Wrote, &frame_of(frame::HEADERS, 5, 3, &block));
    assert!(bench.streams.buffered() < 1 << 20);
    let long = vec![0x82; 20_000];
    bench.call(Wrote, &frame_of(frame::HEADERS, 1, 5, &long));
    for _ in 0..20 {
        bench.call(Wrote, &frame_of(frame::CONTINUATION, 0, 5, &long));
        assert!(bench.streams.buffered() < 2 << 20);
    }
    bench.call(Wrote, &frame_of(frame::CONTINUATION, 4, 5, &long)).close();
    let out = bench.take();
    assert_eq!(out.len(), 3);
    assert_eq!(out[1].losses[0], loss(Part::Request, LossReason::TooLarge, 0));
    assert_eq!(out[2].losses[0], loss(Part::Request, LossReason::TooLarge, 0));
    assert_eq!(summary(&out[1]).0, "GET /bomb");
}

#[test]
fn memory_is_bounded_and_accounted_for() {
    let limit = 1 << 20;
    let mut bench = Bench::with(Config { max_body_size: 0, memory_limit: limit });
    let mut sides = Sides::default();
    bench.call(Wrote, &hello());
    for stream in 0..2_000 {
        bench.call(Wrote, &sides.client.post(2 * stream + 1, "/a"));
        bench.call(Wrote, &data(2 * stream + 1, false, &[b'x'; 4096]));
        assert!(bench.streams.buffered() <= limit);
    }
    bench.close();
    assert_eq!(bench.out.len(), 2_000);
}

#[test]
fn what_is_no_http2_is_ruled_out() {
    let mut bench = Bench::new();
    bench.call(Wrote, &[hello(), Encoder::default().post(1, "/a")].concat());
    for _ in 0..40 {
        bench.call(Read, &frame_of(6, 0, 0, &[0; 8])).call(Read, &frame_of(6, 0, 1, &[0; 7]));
    }
    assert_eq!(bench.verdict(), Verdict::NotHttp);
    assert_eq!(bench.streams.notices().filter(|notice| matches!(notice, Notice::Foreign { .. })).count(), 1);
}
