//! Messages and calls.

use super::*;

const DROPPED: Loss = Loss { part: Part::Response, reason: LossReason::Dropped, bytes: 0 };

#[test]
fn each_answer_is_a_call() {
    let mut bench = Bench::new("/v1/responses", "");
    bench.asks(&json!({"type": "response.create", "model": "m", "generate": false, "input": []}));
    bench.answers(&[created("w"), json!({"type": "response.completed", "response": {"id": "w", "output": []}})]);
    assert!(bench.out.is_empty());
    bench.asks(&create("m1")).answers(&[created("r1"), delta("a"), delta("b"), completed("r1")]);
    bench.asks(&create("m2")).answers(&[json!({"type": "codex.rate_limits"}), created("r2"), completed("r2")]);
    let calls = bench.take();
    assert_eq!(calls.iter().map(summary).collect::<Vec<_>>(), [whole("r1", "m1", 4), whole("r2", "m2", 2)]);
    let first = &calls[0];
    assert_eq!((first.index, first.protocol, first.request.method.as_str()), (1, Protocol::WebSocket, "GET"));
    assert_eq!((first.request.started, calls[1].index), (Timestamp(4_000_000_000), 2));
    let response = first.response.as_ref().unwrap();
    assert_eq!((response.status, response.headers.get("content-type")), (101, Some("text/event-stream")));
    let second = pipeline::sse::events(&response.body.bytes).nth(1).unwrap();
    assert_eq!(response.body.arrived(second.offset as u64), Some(Timestamp(6_000_000_000)));
    assert_eq!((response.started, response.ended), (Timestamp(5_000_000_000), Timestamp(8_000_000_000)));
    assert_eq!(bench.socket.calls.size(), 0);
}

#[test]
fn a_warm_up_without_an_answer_takes_none() {
    let warm = json!({"type": "response.create", "model": "m", "generate": false, "input": []});
    let mut bench = Bench::new("/v1/responses", "");
    bench.asks(&warm).asks(&create("m1")).answers(&[created("r1"), delta("a"), completed("r1")]);
    assert_eq!(bench.take().iter().map(summary).collect::<Vec<_>>(), [whole("r1", "m1", 3)]);
    // Answered late.
    bench.asks(&warm).asks(&create("m2")).answers(&[
        created("w"),
        json!({"type": "response.completed", "response": {"id": "w", "output": []}}),
        created("r2"),
        delta("a"),
        completed("r2"),
    ]);
    assert_eq!(bench.take().iter().map(summary).collect::<Vec<_>>(), [whole("r2", "m2", 3)]);
    assert!(bench.end().is_empty());
}

#[test]
fn errors_end_calls() {
    let mut bench = Bench::new("/v1/responses", "");
    let error = json!({"type": "error", "status": 400, "error": {"code": "previous_response_not_found"}});
    bench.asks(&create("m1")).answers(std::slice::from_ref(&error));
    bench.asks(&create("m2")).answers(&[created("r2"), error]);
    assert_eq!(bench.take().iter().map(summary).collect::<Vec<_>>(), [whole("", "m1", 1), whole("r2", "m2", 2)]);
}

#[test]
fn what_is_open_at_the_end_says_so() {
    let closed = Loss { part: Part::Response, reason: LossReason::Closed, bytes: 0 };
    let mut bench = Bench::new("/v1/responses", "");
    bench.asks(&create("m1")).answers(&[created("r1")]).asks(&create("m2"));
    bench.call(Read, &frame(0x88, None, b"\x03\xe8"));
    let calls = bench.take();
    assert_eq!(calls[0].losses, [closed]);
    assert_eq!((calls[1].losses.as_slice(), calls[1].response.is_none()), (&[closed][..], true));
}

#[test]
fn an_answer_that_is_told_before_its_question_belongs_to_it() {
    let mut bench = Bench::new("/v1/responses", "");
    bench.answers(&[created("r1")]);
    bench.time -= 1_000_000_000 - 1_000;
    bench.asks(&create("m1")).answers(&[completed("r1")]);
    assert_eq!(bench.take().iter().map(summary).collect::<Vec<_>>(), [whole("r1", "m1", 2)]);
    let mut bench = Bench::new("/v1/realtime", "");
    bench.answers(&[created("r1")]);
    bench.time -= 1_000_000_000 - 1_000;
    bench.asks(&create("m1")).answers(&[json!({"type": "response.done", "response": {"id": "r1"}})]);
    assert_eq!(bench.end().iter().map(summary).collect::<Vec<_>>(), [whole("r1", "m1", 2)]);
    // One that came long before does not.
    let mut bench = Bench::new("/v1/responses", "");
    bench.answers(&[created("r2"), delta("x"), completed("r2")]);
    let calls = bench.take();
    assert_eq!(calls[0].losses, [Loss { part: Part::Request, reason: LossReason::Unobserved, bytes: 0 }]);
}

#[test]
fn realtime_answers_are_told_apart_by_their_ids() {
    let mut bench = Bench::new("/v1/realtime?model=gpt-realtime", "");
    let event = |kind: &str, id: &str| json!({"type": kind, "response_id": id, "delta": "x"});
    let done = |id: &str| json!({"type": "response.done", "response": {"id": id, "status": "completed"}});
    bench.answers(&[json!({"type": "session.created", "session": {}})]);
    bench.asks(&json!({"type": "conversation.item.create", "item": {"type": "message", "role": "user"}}));
    bench.asks(&json!({"type": "response.create", "event_id": "e1", "response": {"metadata": {}}}));
    bench.asks(&json!({"type": "response.create", "event_id": "e2", "response": {"conversation": "none"}}));
    bench.asks(&json!({"type": "response.create", "event_id": "e3"}));
    bench.answers(&[
        created("a"),
        created("b"),
        event("response.output_text.delta", "b"),
        event("response.output_text.delta", "a"),
        json!({"type": "error", "event_id": "s", "error": {"event_id": "e3", "code": "invalid_value"}}),
        json!({"type": "error", "event_id": "s", "error": {"event_id": "unknown"}}),
        done("b"),
        done("a"),
    ]);
    let calls = bench.take();
    let ids: Vec<_> = calls.iter().map(|call| (summary(call).0, call.index, summary(call).2)).collect();
    assert_eq!(ids, [(String::new(), 3, 1), ("b".into(), 2, 3), ("a".into(), 1, 3)]);
    let lines: Vec<_> = calls[2].request.body.bytes.split(|byte| *byte == b'\n').collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[1].starts_with(b"{\"") && calls[2].request.target.ends_with("gpt-realtime"));
    assert!(bench.end().is_empty());
}

#[test]
fn a_voice_is_answered_unasked() {
    let mut bench = Bench::new("/v1/realtime?model=gpt-realtime", "");
    for _ in 0..200 {
        bench.asks(&json!({"type": "input_audio_buffer.append", "audio": "AAAA"}));
    }
    bench.answers(&[json!({"type": "input_audio_buffer.committed"}), created("a")]);
    bench.answers(&[json!({"type": "response.done", "response": {"id": "a", "status": "completed"}})]);
    let calls = bench.take();
    assert_eq!((calls.len(), calls[0].request.body.bytes.len(), bench.next), (1, 0, Next::More));
    assert_eq!(calls[0].request.started, Timestamp(201_000_000_000));
    assert!(calls[0].losses.is_empty());
}

#[test]
fn compressed_conversations_are_followed() {
    for (parameters, takeover) in [
        ("permessage-deflate", true),
        ("permessage-deflate; server_no_context_takeover; client_no_context_takeover", false),
    ] {
        let mut bench = Bench::new("/v1/responses", parameters);
        let (mut asks, mut answers) = (Deflate::new(takeover), Deflate::new(takeover));
        for at in 0..20 {
            let id = format!("r{at}");
            let ask = asks.message(create("m").to_string().as_bytes());
            bench.call(Wrote, &frame(0xc1, Some(MASK), &ask));
            for event in [created(&id), delta("word"), completed(&id)] {
                let event = answers.message(event.to_string().as_bytes());
                bench.call(Read, &frame(0xc1, None, &event));
            }
            assert_eq!(bench.take().iter().map(summary).collect::<Vec<_>>(), [whole(&id, "m", 3)]);
        }
    }
}

#[test]
fn after_a_hole_each_call_says_that_its_answer_cannot_be_read() {
    let mut bench = Bench::new("/v1/responses", "permessage-deflate");
    let mut answers = Deflate::new(true);
    for (at, hole) in [(0, true), (1, false), (2, false)] {
        bench.asks(&create(&format!("m{at}")));
        for event in [created("r"), delta("word"), completed("r")] {
            let event = frame(0xc1, None, &answers.message(event.to_string().as_bytes()));
            if hole {
                bench.hole(Read, event.len() as u64);
            } else {
                bench.call(Read, &event);
            }
        }
    }
    let calls = bench.end();
    assert_eq!(calls.len(), 3);
    for (at, call) in calls.iter().enumerate() {
        assert_eq!(summary(call).1, format!("m{at}"));
        let [loss] = call.losses.as_slice() else { panic!("{:?}", call.losses) };
        assert_eq!(loss.part, Part::Response);
        assert_eq!(loss.reason, if at == 0 { LossReason::Dropped } else { LossReason::Undecodable });
        assert!(loss.bytes > 0);
    }
}

#[test]
fn a_hole_costs_one_call_where_nothing_is_compressed() {
    let mut bench = Bench::new("/v1/responses", "");
    bench.asks(&create("m1")).answers(&[created("r1")]).hole(Read, 500);
    bench.asks(&create("m2")).answers(&[created("r2"), completed("r2")]);
    let calls = bench.take();
    assert_eq!(
        calls.iter().map(summary).collect::<Vec<_>>(),
        [("r1".into(), "m1".into(), 1, vec![Loss { bytes: 500, ..DROPPED }]), whole("r2", "m2", 2),]
    );
    // A hole in the question.
    let ask = client(&create("m3"));
    bench.piece(Wrote, &ask[..30], true).hole(Wrote, ask.len() as u64 - 30);
    bench.answers(&[created("r3"), completed("r3")]);
    let calls = bench.take();
    assert_eq!(calls[0].losses.len(), 1);
    assert_eq!((calls[0].losses[0].part, calls[0].losses[0].reason), (Part::Request, LossReason::Dropped));
}

#[test]
fn a_connection_is_joined_in_its_middle() {
    let ask = client(&create("m1"));
    assert!(begins_client_message(&ask));
    let first = frame(0x81, Some(MASK), br#"{"type":"response.create","model":"m","input":[]}"#);
    assert!(begins_client_message(&first[..40]));
    for other in [&b"GET / HTTP/1.1\r\n"[..], &client(&json!({"type": "chat"})), &server(&create("m")), b"\x81\x80abcd"]
    {
        assert!(!begins_client_message(other), "{other:?}");
    }
    for role in [Role::Client, Role::Server] {
        let (asking, answering) = if role == Role::Client { (Wrote, Read) } else { (Read, Wrote) };
        let mut bench = Bench::of(WebSocket::joined(&Of { role, first_index: 0, ..OF }));
        bench.call(asking, &ask);
        for event in [created("r1"), completed("r1")] {
            bench.call(answering, &server(&event));
        }
        let calls = bench.take();
        assert_eq!(calls.iter().map(summary).collect::<Vec<_>>(), [whole("r1", "m1", 2)]);
        assert_eq!((calls[0].role, calls[0].index), (role, 0));
    }
}

#[test]
fn other_protocols_are_ruled_out() {
    let mut bench = Bench::new("/socket", "");
    for _ in 0..31 {
        bench.asks(&json!({"type": "ping"})).call(Read, &frame(0x82, None, &[0; 20]));
        assert_eq!(bench.next, Next::More);
    }
    bench.asks(&json!({"jsonrpc": "2.0"})).asks(&json!(1));
    assert_eq!(bench.next, Next::Foreign);
    assert!(bench.end().is_empty());
}

proptest! {
    #[test]
    fn any_split_gives_the_same_calls(splits in prop::collection::vec(1usize..200, 1..50)) {
        let mut bytes = Vec::new();
        let mut wanted = Vec::new();
        for at in 0..4 {
            let id = format!("r{at}");
            for event in [created(&id), delta("x"), completed(&id)] {
                bytes.extend(server(&event));
            }
            wanted.push(whole(&id, "m", 3));
        }
        let mut bench = Bench::new("/v1/responses", "");
        (0..4).for_each(|_| { bench.asks(&create("m")); });
        let mut rest = bytes.as_slice();
        for split in splits.iter().cycle() {
            let (now, later) = rest.split_at((*split).min(rest.len()));
            bench.call(Read, now);
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(bench.take().iter().map(summary).collect::<Vec<_>>(), wanted);
    }
}
