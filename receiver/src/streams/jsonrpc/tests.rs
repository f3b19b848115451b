use proptest::{collection::vec, prelude::*, sample::Index};

use super::{message::read, *};

fn frames(calls: &[&[u8]]) -> Vec<Framed> {
    let mut framer = Framer::default();
    let mut out = Vec::new();
    for (time, call) in (1..).zip(calls) {
        framer.chunk(call.len() as u64, 0, call, time, &mut out);
    }
    out
}

fn texts(framed: &[Framed]) -> Vec<String> {
    framed.iter().map(|framed| String::from_utf8_lossy(&framed.bytes).into_owned()).collect()
}

#[test]
fn lines_are_messages_and_others_are_passed_over() {
    let framed = frames(&[b"starting up\n{\"a\":1}\r\n\n warning: {\"x\"", b":2}\n  [1]\n{\"b\"", b":2}\n{\"c"]);
    assert_eq!(texts(&framed), ["{\"a\":1}", "[1]", "{\"b\":2}"]);
    assert_eq!(
        framed.iter().map(|framed| (framed.started, framed.ended)).collect::<Vec<_>>(),
        [(1, 1), (2, 2), (2, 3)]
    );
    assert_eq!(framed[0].size, 7);
}

#[test]
fn headers_tell_lengths() {
    let framed = frames(&[
        b"Content-Length: 7\r\n\r\n{\"a\":1}content-length:9\r\nContent-Type: x\r\n\r\n",
        b"{\n\"b\":2\n}Content-Length: nonsense\r\n\r\n{\"c\":3}\n",
    ]);
    assert_eq!(texts(&framed), ["{\"a\":1}", "{\n\"b\":2\n}", "{\"c\":3}"]);
}

#[test]
fn after_a_hole_the_next_message_counts() {
    let mut framer = Framer::default();
    let mut out = Vec::new();
    framer.chunk(20, 0, b"{\"a\":", 1, &mut out);
    framer.chunk(20, 10, b"1}\n{\"b\":2}", 2, &mut out);
    framer.chunk(1, 0, b"\n", 3, &mut out);
    // The end of a call is missing, the next one begins a message.
    framer.chunk(20, 0, b"{\"c\":", 4, &mut out);
    framer.chunk(8, 0, b"{\"d\":4}\n", 5, &mut out);
    // A call's beginning is missing.
    framer.chunk(16, 8, b"{\"e\":5}\n", 6, &mut out);
    framer.chunk(8, 0, b"{\"f\":6}\n", 7, &mut out);
    assert_eq!(texts(&out), ["{\"b\":2}", "{\"d\":4}", "{\"f\":6}"]);
}

#[test]
fn of_a_long_message_the_ends_are_kept() {
    let mut framer = Framer::new(10_000);
    let mut out = Vec::new();
    let long = format!("{{\"result\":{{\"text\":\"{}\"}},\"jsonrpc\":\"2.0\",\"id\":7}}\n", "x".repeat(50_000));
    for part in long.as_bytes().chunks(777) {
        framer.chunk(part.len() as u64, 0, part, 1, &mut out);
        assert!(framer.held() <= 11_000);
    }
    assert_eq!((out.len(), out[0].size), (1, long.len() as u64 - 1));
    let messages = read(&out[0]);
    assert_eq!(messages[0].id("id").unwrap().text, "7");
    assert!(messages[0].answer && !messages[0].failed);
    let first = format!("{{\"jsonrpc\":\"2.0\",\"id\":\"7\",\"result\":{{\"text\":\"{}\"}}}}\n", "x".repeat(50_000));
    out.clear();
    framer.chunk(first.len() as u64, 0, first.as_bytes(), 1, &mut out);
    assert!(read(&out[0])[0].id("id").unwrap().quoted);
}

fn one(text: &str) -> Framed {
    Framed { bytes: text.into(), tail: None, size: text.len() as u64, started: 0, ended: 0 }
}

#[test]
fn members_are_read_by_their_places() {
    let framed =
        one(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a\"dd","arguments":{"id":5,"name":"x"},
        "_meta":{"traceparent":"00-a","other":[1,{"name":"y"}]}},"extra":{"method":"z"}}"#);
    let messages = read(&framed);
    let message = &messages[0];
    assert_eq!((message.text("method"), message.text("params.name")), (Some("tools/call"), Some("a\"dd")));
    assert_eq!(message.arguments, Some(r#"{"id":5,"name":"x"}"#));
    assert_eq!(message.text("params._meta.traceparent"), Some("00-a"));
    assert_eq!(message.id("id"), Some(message::Id { text: "1".into(), quoted: false }));
    assert!(!message.answer);
    let failed = one(r#"{"jsonrpc":"2.0","id":"1","error":{"code":-32602,"message":"no","data":{"code":1}}}"#);
    let failed = &read(&failed)[0];
    assert_eq!((failed.integer("error.code"), failed.text("error.message")), (Some(-32602), Some("no")));
    assert!(failed.answer && failed.failed);
    let odd = one(r#"{"jsonrpc":"2.0","id":null,"params":[1],"result":null,"error":"x"}"#);
    assert!(read(&odd)[0].answer);
}

#[test]
fn batches_have_several_messages_and_other_things_none() {
    let batch = one(r#"[{"jsonrpc":"2.0","id":1,"method":"ping"},7,{"jsonrpc":"2.0","id":1,"result":{}},[]]"#);
    assert_eq!(read(&batch).len(), 2);
    for text in ["{}", "[]", "7", "{\"jsonrpc\":", "{\"id\":1}", "", "{\"jsonrpc\":\"2.0\"} x"] {
        assert_eq!(read(&one(text)).len(), 0, "{text}");
    }
}

proptest! {
    #[test]
    fn any_split_gives_the_same(parts in vec(prop::sample::select(vec![
        "{\"a\":1}\n", "log line\n", "\r\n", "Content-Length: 9\r\n\r\n{\n\"b\":2\n}", "[{\"c\":3},{\"d\":[]}]\n", "{broken\n",
        "Content-Type: x\r\nContent-Length:2\r\n\r\n{}", "Con\n", "{\"long\":\"                                      \"}\n",
    ]), 0..12), cuts in vec(any::<Index>(), 0..10), seams in vec(any::<Index>(), 0..10)) {
        let bytes = parts.concat().into_bytes();
        let mut whole = Vec::new();
        Framer::default().chunk(bytes.len() as u64, 0, &bytes, 1, &mut whole);
        let places = |indexes: &[Index]| {
            let mut places: Vec<usize> = indexes.iter().map(|index| index.index(bytes.len() + 1)).collect();
            places.extend([0, bytes.len()]);
            places.sort_unstable();
            places.dedup();
            places
        };
        let (cuts, seams) = (places(&cuts), places(&seams));
        let (mut framer, mut out) = (Framer::default(), Vec::new());
        for call in cuts.windows(2) {
            let mut inner: Vec<usize> = seams.iter().copied().filter(|at| call[0] < *at && *at < call[1]).collect();
            inner.insert(0, call[0]);
            inner.push(call[1]);
            for piece in inner.windows(2) {
                let (total, offset) = ((call[1] - call[0]) as u64, (piece[0] - call[0]) as u64);
                framer.chunk(total, offset, &bytes[piece[0]..piece[1]], 1, &mut out);
            }
        }
        prop_assert_eq!(whole, out);
    }

    #[test]
    fn nothing_panics(calls in vec((any::<u16>(), any::<u16>(), vec(any::<u8>(), 0..64)), 0..20), limit in 0usize..64) {
        let (mut framer, mut out) = (Framer::new(limit), Vec::new());
        for (total, offset, bytes) in calls {
            framer.chunk(total.into(), offset.into(), &bytes, 1, &mut out);
        }
        out.iter().for_each(|framed| drop(read(framed)));
    }

    #[test]
    fn any_text_is_read(text in "[\\[\\]{}:,\"a-e0-3 ]{0,60}") {
        read(&one(&text));
    }
}
