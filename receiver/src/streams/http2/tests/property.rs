//! Any split gives the same; nothing panics.

use proptest::{collection::vec, prelude::*, sample::Index};

use super::*;
use crate::streams::tests::property::{cut, essence};

/// What was written, what was read.
fn conversation(coded: bool) -> (Vec<u8>, Vec<u8>) {
    let mut sides = Sides::default();
    (sides.client.coded, sides.server.coded) = (coded, coded);
    let asked = [
        hello(),
        ask(&mut sides, 1, "/v1/a", "first"),
        sides.client.post(3, "/v1/b"),
        frame_of(frame::DATA, 8, 3, b"\x02sec\0\0"),
        ask(&mut sides, 5, "/v1/a", "third"),
        data(3, true, b"ond"),
        frame_of(frame::SETTINGS, 1, 0, &[]),
        sides.client.head(7, true, &[(":method", "GET"), (":path", "/c"), ("x", "y")]),
        frame_of(7, 0, 0, &[0; 8]),
    ];
    let events = "data: {\"x\":\"some words\"}\n\n".repeat(20);
    let fields = [(":status", "200"), ("content-type", "text/event-stream"), ("content-encoding", "gzip")];
    let second = sides.server.ok(3, "text/plain");
    let block = sides.server.block(&fields);
    let answered = [
        settings(),
        frame_of(frame::SETTINGS, 1, 0, &[]),
        second,
        data(3, false, b"two"),
        frame_of(frame::HEADERS, 0, 1, &block[..2]),
        frame_of(frame::CONTINUATION, 4, 1, &block[2..]),
        data(1, true, &gzip(events.as_bytes())),
        sides.server.head(3, true, &[("x-trailer", "1")]),
        answer(&mut sides, 5, "three"),
        sides.server.head(7, true, &[(":status", "404")]),
    ];
    (asked.concat(), answered.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_split_gives_the_same_exchanges(
        coded: bool,
        server: bool,
        sent in vec((any::<Index>(), any::<bool>()), 0..60),
        got in vec((any::<Index>(), any::<bool>()), 0..60),
        turns in vec(any::<bool>(), 1..60),
    ) {
        let (requests, answers) = conversation(coded);
        let (asks, answering) = if server { (Read, Wrote) } else { (Wrote, Read) };
        let whole = Bench::new().calls(&[(asks, &requests), (answering, &answers)]).close().take();
        prop_assert_eq!(whole.len(), 4);
        prop_assert!(whole.iter().all(|exchange| exchange.losses.is_empty()), "{:?}", essence(&whole));
        let (mut sent, mut got) = (cut(&requests, &sent).into_iter().peekable(), cut(&answers, &got).into_iter().peekable());
        let mut bench = Bench::new();
        let mut turns = turns.into_iter().cycle();
        // The preface comes first; after it the directions mix in any way.
        while sent.peek().is_some() || got.peek().is_some() {
            let first = bench.verdict() != Verdict::Http2;
            if got.peek().is_none() || (sent.peek().is_some() && (first || turns.next().unwrap())) {
                let (total, offset, bytes) = sent.next().unwrap();
                bench.piece(asks, total, offset, &bytes);
            } else if let Some((total, offset, bytes)) = got.next() {
                bench.piece(answering, total, offset, &bytes);
            }
        }
        bench.close();
        let sorted = |out: &[Exchange]| {
            let mut out = out.to_vec();
            out.sort_by_key(|exchange| exchange.index);
            essence(&out)
        };
        prop_assert_eq!(sorted(&bench.out), sorted(&whole));
    }

    #[test]
    fn a_recording_gives_the_same_exchanges(
        coded: bool,
        sent in vec((any::<Index>(), Just(true)), 0..20),
        got in vec((any::<Index>(), any::<bool>()), 0..20),
        joined: bool,
    ) {
        let (mut requests, mut answers) = conversation(coded);
        let asked = requests.split_off(hello().len());
        let answered = answers.split_off(settings().len());
        let mut masker = crate::record::mask::Masker::default();
        let (mut live, mut replayed) = (Bench::new(), Bench::new());
        // Calls begin with frames.
        let mut pieces: Vec<_> = cut(&requests, &[]).into_iter().map(|piece| (Wrote, piece)).collect();
        pieces.extend(cut(&answers, &[]).into_iter().map(|piece| (Read, piece)));
        if joined {
            pieces.clear();
        }
        pieces.extend(cut(&asked, &sent).into_iter().map(|piece| (Wrote, piece)));
        pieces.extend(cut(&answered, &got).into_iter().map(|piece| (Read, piece)));
        for (direction, (total, offset, bytes)) in pieces {
            live.piece(direction, total, offset, &bytes);
            let chunk = crate::event::Chunk {
                source: crate::event::Source::Tls,
                socket: 0,
                object: 1,
                direction,
                total,
                offset,
                bytes: bytes.into(),
            };
            let masked = masker.mask(pipeline::ProcessKey { tgid: 1, start: 1 }, &chunk);
            prop_assert_eq!(masked.len(), chunk.bytes.len());
            prop_assert!(!String::from_utf8_lossy(&masked).contains("SECRET"));
            let secret = huffman(b"Bearer SECRET");
            prop_assert!(!masked.windows(secret.len()).any(|window| window == secret));
            replayed.piece(direction, total, offset, &masked);
        }
        live.close();
        replayed.close();
        // A path that is cut by the end of a call is not looked at, but overwritten.
        let cut_path = |one: &str| one.contains('*');
        for (replayed, live) in essence(&replayed.out).iter().zip(essence(&live.out)) {
            prop_assert!(cut_path(replayed) || *replayed == live, "{} {}", replayed, live);
        }
        prop_assert_eq!(replayed.out.len(), live.out.len());
    }

    #[test]
    fn damaged_conversations_never_panic(
        damage in vec((any::<Index>(), any::<u8>()), 0..6),
        sent in vec((any::<Index>(), any::<bool>()), 0..20),
        got in vec((any::<Index>(), any::<bool>()), 0..20),
        lost in vec(any::<Index>(), 0..4),
        limit in 0u64..64,
    ) {
        let (mut requests, mut answers) = conversation(false);
        for (at, byte) in damage {
            let side = if at.index(2) == 0 { &mut requests } else { &mut answers };
            let at = at.index(side.len());
            side[at] = byte;
        }
        let mut pieces: Vec<_> = cut(&requests, &sent).into_iter().map(|piece| (Wrote, piece)).collect();
        pieces.extend(cut(&answers, &got).into_iter().map(|piece| (Read, piece)));
        for lost in lost {
            let at = lost.index(pieces.len().max(1));
            if at < pieces.len() {
                pieces.remove(at);
            }
        }
        let mut bench = Bench::with(Config { max_body_size: limit, memory_limit: limit * 4_000 });
        for (direction, (total, offset, bytes)) in pieces {
            bench.piece(direction, total, offset, &bytes);
            prop_assert!(limit == 0 || bench.streams.buffered() <= limit * 4_000);
        }
        bench.close();
        prop_assert!(bench.out.len() <= 12);
    }

    #[test]
    fn arbitrary_frames_never_panic(
        frames in vec((any::<bool>(), 0u8..12, any::<u8>(), 0u32..8, vec(any::<u8>(), 0..20), any::<bool>()), 0..60),
        preface: bool,
    ) {
        let mut bench = Bench::new();
        if preface {
            bench.call(Wrote, PREFACE);
        }
        for (read, kind, flags, stream, payload, plain) in frames {
            let payload = if plain && kind == 1 { vec![0x83, 0x84, 0x88] } else { payload };
            bench.call(if read { Read } else { Wrote }, &frame_of(kind, flags, stream, &payload));
        }
        bench.close();
    }
}
