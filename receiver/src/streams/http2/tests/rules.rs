//! What whole conversations give.

use super::*;

#[test]
fn streams_at_once_are_told_apart() {
    let mut sides = Sides::default();
    let c = &mut sides.client;
    let first = [hello(), c.post(1, "/v1/a?key=SECRET"), c.post(3, "/v1/b"), data(3, true, b"second")].concat();
    let s = &mut sides.server;
    let answers =
        [settings(), s.ok(3, "text/plain"), s.ok(1, "text/plain"), data(1, false, b"one "), data(3, true, b"two")];
    let mut bench = Bench::new();
    bench.call(Wrote, &first).call(Read, &answers.concat()).call(Wrote, &data(1, true, b"first"));
    bench.call(Read, &data(1, true, b"more")).call(Wrote, &ask(&mut sides, 5, "/v1/a", "third"));
    bench.call(Read, &answer(&mut sides, 5, "three"));
    assert_eq!(bench.verdict(), Verdict::Http2);
    let out = bench.take();
    assert_eq!(
        out.iter().map(summary).collect::<Vec<_>>(),
        [
            whole("POST /v1/b", "second", 200, "two"),
            whole(&format!("POST {}", pipeline::mask::target("/v1/a?key=SECRET")), "first", 200, "one more"),
            whole("POST /v1/a", "third", 200, "three"),
        ]
    );
    assert!(!format!("{out:?}").contains("SECRET"));
    assert_eq!(out.iter().map(|exchange| exchange.index).collect::<Vec<_>>(), [1, 0, 2]);
    for exchange in &out {
        assert_eq!((exchange.protocol, exchange.tls), (Protocol::Http2, true));
        let headers = &exchange.request.headers;
        assert_eq!((headers.get("host"), headers.get("authorization")), (Some("api.openai.com"), Some("<redacted>")));
        assert_eq!(headers.get("content-type"), Some("application/json"));
        assert!(headers.0.iter().all(|(name, _)| !name.starts_with(':')));
        assert_eq!(exchange.response.as_ref().unwrap().headers.get("server"), Some("x"));
    }
    let notices: Vec<Notice> = bench.streams.notices().collect();
    assert_eq!(notices.len(), 3);
    assert!(matches!(&notices[1], Notice::Request { index: 1, method, target, host: Some(host), .. }
        if method == "POST" && target == "/v1/b" && host == "api.openai.com"));
    bench.close();
}

#[test]
fn padding_priority_continuation_trailers_and_strangers_are_passed_over() {
    let mut sides = Sides::default();
    let block = sides.client.block(&[(":method", "POST"), (":path", "/p"), (":scheme", "http"), ("x-long", "value")]);
    let (one, rest) = block.split_at(3);
    let mut head = vec![4, 0, 0, 0, 0, 9];
    head.extend(one);
    head.extend([0; 4]);
    let mut bench = Bench::new();
    bench.call(Wrote, &hello());
    bench.call(Wrote, &frame_of(frame::HEADERS, 0x28, 1, &head));
    bench.call(Wrote, &frame_of(frame::CONTINUATION, 0, 1, &rest[..1]));
    bench.call(Wrote, &frame_of(frame::CONTINUATION, 4, 1, &rest[1..]));
    bench.call(Wrote, &frame_of(2, 0, 1, &[0; 5])).call(Wrote, &frame_of(0x2a, 0xff, 7, b"grease"));
    bench.call(Wrote, &frame_of(frame::DATA, 9, 1, b"\x03body\0\0\0"));
    let s = &mut sides.server;
    let promise = [&[0, 0, 0, 2][..], &s.block(&[(":method", "GET"), (":path", "/pushed")])].concat();
    bench.call(Read, &[settings(), frame_of(frame::PUSH_PROMISE, 4, 1, &promise)].concat());
    bench.call(Read, &[s.head(2, false, &[(":status", "200")]), data(2, true, b"pushed")].concat());
    bench.call(Read, &s.head(1, false, &[(":status", "103"), ("link", "</x>")]));
    bench.call(Read, &[s.ok(1, "text/plain"), data(1, false, b"answer"), frame_of(6, 0, 0, &[0; 8])].concat());
    bench.call(Read, &s.head(1, true, &[("grpc-status", "0")]));
    let out = bench.take();
    assert_eq!(out.iter().map(summary).collect::<Vec<_>>(), [whole("POST /p", "body", 200, "answer")]);
    assert_eq!(out[0].request.headers.get("x-long"), Some("value"));
    bench.close();
    assert!(bench.out.is_empty());
}

#[test]
fn a_body_is_decoded_and_its_events_keep_their_times() {
    let mut sides = Sides::default();
    let mut bench = Bench::new();
    bench.call(Wrote, &[hello(), ask(&mut sides, 1, "/v1/messages", "{}")].concat());
    let fields = [(":status", "200"), ("content-type", "text/event-stream"), ("content-encoding", "gzip")];
    let events = ["event: a\ndata: 1\n\n", "data: 2\n\n", "data: [DONE]\n\n"];
    let coded = gzip(events.concat().as_bytes());
    bench.call(Read, &[settings(), sides.server.head(1, false, &fields), data(1, true, &coded)].concat());
    bench.call(Wrote, &ask(&mut sides, 3, "/v1/messages", "{}"));
    bench.call(Read, &sides.server.ok(3, "text/event-stream"));
    for event in events {
        bench.call(Read, &data(3, false, event.as_bytes()));
    }
    bench.call(Read, &data(3, true, b""));
    let out = bench.take();
    let bodies: Vec<_> = out.iter().map(|exchange| &exchange.response.as_ref().unwrap().body).collect();
    assert!(bodies.iter().all(|body| body.bytes == events.concat()) && out.iter().all(|one| one.losses.is_empty()));
    assert_eq!(bodies[0].wire_size, coded.len() as u64);
    let marks: Vec<_> = bodies[1].marks.iter().map(|mark| (mark.offset, mark.time.0)).collect();
    assert_eq!(marks, [(0, 1_050), (18, 1_060), (27, 1_070)]);
    let answer = out[1].response.as_ref().unwrap();
    assert_eq!((out[1].request.started.0, answer.started.0, answer.ended.0), (1_030, 1_040, 1_080));
}

#[test]
fn a_stream_that_is_reset_after_its_last_event_is_whole() {
    let done = "event: response.completed\ndata: {\"type\":\"response.completed\"}\n\n";
    for (text, losses) in
        [(done, vec![]), ("event: response.created\ndata: {}\n\n", vec![loss(Part::Response, LossReason::Closed, 0)])]
    {
        let mut sides = Sides::default();
        let mut bench = Bench::new();
        bench.call(Wrote, &[hello(), ask(&mut sides, 1, "/v1/responses", "{}")].concat());
        let got = [settings(), sides.server.ok(1, "text/event-stream"), data(1, false, text.as_bytes())].concat();
        bench.call(Read, &got);
        bench.call(Wrote, &frame_of(frame::RST_STREAM, 0, 1, &[0, 0, 0, 8]));
        bench.call(Wrote, &frame_of(7, 0, 0, &[0; 8]));
        bench.call(Read, &data(1, true, b"late"));
        let out = bench.take();
        assert_eq!((out.len(), &out[0].losses), (1, &losses));
        bench.close();
        assert!(bench.out.is_empty());
    }
}

#[test]
fn the_end_of_the_connection_ends_what_is_open() {
    let mut sides = Sides::default();
    let mut bench = Bench::new();
    bench.call(
        Wrote,
        &[hello(), sides.client.post(1, "/a"), data(1, false, b"ab"), ask(&mut sides, 3, "/b", "")].concat(),
    );
    bench.call(Read, &[settings(), sides.server.ok(3, "text/plain"), data(3, false, b"x")].concat()).close();
    let out = bench.take();
    let closed = |part| loss(part, LossReason::Closed, 0);
    assert_eq!(out[0].losses, [closed(Part::Request), closed(Part::Response)]);
    assert_eq!(out[1].losses, [closed(Part::Response)]);
    assert_eq!(summary(&out[1]).3, "x");
}

#[test]
fn a_body_of_the_declared_length_is_whole_without_the_end_of_its_stream() {
    for (text, losses) in [("12345", vec![]), ("123", vec![loss(Part::Response, LossReason::Closed, 2)])] {
        let mut sides = Sides::default();
        let mut bench = Bench::new();
        bench.call(Wrote, &[hello(), ask(&mut sides, 1, "/a", "")].concat());
        let head = sides.server.head(1, false, &[(":status", "200"), ("content-length", "5")]);
        bench.call(Read, &[settings(), head, data(1, false, text.as_bytes())].concat());
        assert!(bench.out.is_empty());
        assert_eq!(bench.close().take()[0].losses, losses);
    }
}

#[test]
fn a_server_is_seen_too() {
    let mut sides = Sides::default();
    let mut bench = Bench::new();
    bench.call(Wrote, &settings());
    bench.call(Read, &[hello(), ask(&mut sides, 1, "/a", "x")].concat()).call(Wrote, &answer(&mut sides, 1, "y"));
    let out = bench.take();
    assert_eq!((out.len(), out[0].role), (1, Role::Server));
    assert_eq!(summary(&out[0]), whole("POST /a", "x", 200, "y"));
}

#[test]
fn an_answer_may_be_told_before_its_request() {
    let mut sides = Sides::default();
    let mut bench = Bench::new();
    bench.call(Wrote, &hello()).call(Read, &settings());
    for stream in [1, 3] {
        let asked = ask(&mut sides, stream, "/a", "x");
        bench.call(Read, &answer(&mut sides, stream, "y")).call(Wrote, &asked);
    }
    let out = bench.take();
    assert_eq!(out.iter().map(summary).collect::<Vec<_>>(), vec![whole("POST /a", "x", 200, "y"); 2]);
    assert_eq!(out.iter().map(|exchange| exchange.index).collect::<Vec<_>>(), [0, 1]);
    bench.close();
}

#[test]
fn a_connection_that_takes_the_place_of_another_is_another() {
    let mut bench = Bench::new();
    for _ in 0..2 {
        let mut sides = Sides::default();
        bench.call(Wrote, &[hello(), ask(&mut sides, 1, "/a", "x")].concat());
        bench.call(Read, &[settings(), answer(&mut sides, 1, "y")].concat());
    }
    bench.call(Wrote, b"GET /c HTTP/1.1\r\n\r\n").call(Read, b"HTTP/1.1 204 X\r\n\r\n");
    let mut sides = Sides::default();
    bench.call(Wrote, &[hello(), ask(&mut sides, 1, "/a", "x")].concat());
    bench.call(Read, &[settings(), answer(&mut sides, 1, "y")].concat());
    let out = bench.take();
    let of = |exchange: &Exchange| (exchange.connection.generation, exchange.index, exchange.losses.len());
    assert_eq!(out.iter().map(of).collect::<Vec<_>>(), [(0, 0, 0), (1, 0, 0), (2, 0, 0), (3, 0, 0)]);
    bench.close();
}

#[test]
fn a_plain_socket_is_told_as_such() {
    let mut sides = Sides::default();
    let mut streams = crate::streams::Streams::new(Config { max_body_size: 0, memory_limit: 0 }, Default::default());
    let mut out = Vec::new();
    for (direction, bytes) in [
        (Wrote, [hello(), ask(&mut sides, 1, "/a", "x")].concat()),
        (Read, [settings(), answer(&mut sides, 1, "y")].concat()),
    ] {
        let chunk = crate::event::Chunk {
            source: crate::event::Source::Socket,
            socket: 0,
            object: 1,
            direction,
            total: bytes.len() as u64,
            offset: 0,
            bytes: bytes.into(),
        };
        streams.chunk(pipeline::ProcessKey { tgid: 1, start: 1 }, 1, &chunk, &mut out);
    }
    assert_eq!((out.len(), out[0].tls), (1, false));
}
