//! Any split gives the same; nothing panics.

use proptest::{collection::vec, prelude::*, sample::Index};

use super::*;

/// Conversations: what was written, what was read.
fn conversations() -> Vec<(Vec<u8>, Vec<u8>)> {
    let text = "data: {\"x\":\"some words\"}\n\n".repeat(20);
    let coded = gzip(text.as_bytes());
    let chunked = |body: &[u8], size: usize| {
        let mut wire = Vec::new();
        for chunk in body.chunks(size) {
            wire.extend(format!("{:x};e=1\r\n", chunk.len()).into_bytes());
            wire.extend_from_slice(chunk);
            wire.extend_from_slice(b"\r\n");
        }
        wire.extend_from_slice(b"0\r\nT: x\r\n\r\n");
        wire
    };
    let requests = |parts: &[&[u8]]| parts.concat();
    vec![
        (
            requests(&[
                b"POST /1 HTTP/1.1\r\nHost: a\r\nCookie: SECRET\r\nContent-Length: 11\r\n\r\nhello world",
                b"HEAD /2 HTTP/1.1\r\n\r\nGET /3 HTTP/1.1\r\nX: a\r\n b\r\n\r\n",
                b"POST /4 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
                &chunked(b"some request body", 5),
                b"\r\nGET /5 HTTP/1.1\r\n\r\n",
            ]),
            requests(&[
                b"HTTP/1.1 100 Continue\r\n\r\n",
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
                &chunked(text.as_bytes(), 26),
                b"HTTP/1.1 200 OK\r\nContent-Length: 55\r\n\r\n",
                &response("Content-Encoding: gzip\r\nContent-Type: text/event-stream\r\n", &coded),
                b"HTTP/1.1 204 No Content\r\n\r\n",
                b"HTTP/1.0 200 OK\r\nContent-Encoding: br\r\n\r\n",
                &brotli(text.as_bytes()),
            ]),
        ),
        (
            b"GET /ws HTTP/1.1\r\nUpgrade: websocket\r\n\r\n".to_vec(),
            b"HTTP/1.1 101 Switching Protocols\r\n\r\n\x81\x05HTTP/".to_vec(),
        ),
    ]
}

/// What must not depend on the split.
pub(in crate::streams) fn essence(out: &[Exchange]) -> Vec<String> {
    out.iter()
        .map(|exchange| {
            let response = exchange.response.as_ref();
            format!(
                "{:?} {} {:?} {:?} {:?} {:?} {:?}",
                exchange.connection,
                exchange.index,
                summary(exchange),
                exchange.request.headers,
                exchange.request.body.wire_size,
                response.map(|response| &response.headers),
                response.map(|response| response.body.wire_size),
            )
        })
        .collect()
}

/// Cuts into calls at some places, each call into chunks at others.
pub(in crate::streams) fn cut(bytes: &[u8], cuts: &[(Index, bool)]) -> Vec<(u64, u64, Vec<u8>)> {
    let mut places: Vec<(usize, bool)> = cuts.iter().map(|(at, call)| (at.index(bytes.len()), *call)).collect();
    places.extend([(0, true), (bytes.len(), true)]);
    places.sort_unstable_by_key(|(at, call)| (*at, !call));
    places.dedup_by_key(|(at, _)| *at);
    let borders: Vec<usize> = places.iter().filter(|(_, call)| *call).map(|(at, _)| *at).collect();
    places
        .windows(2)
        .map(|pair| {
            let (from, to) = (pair[0].0, pair[1].0);
            let start = borders.iter().rev().find(|border| **border <= from).copied().unwrap();
            let end = borders.iter().find(|border| **border >= to).copied().unwrap();
            ((end - start) as u64, (from - start) as u64, bytes[from..to].to_vec())
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_split_gives_the_same_exchanges(
        which in 0usize..2,
        server in any::<bool>(),
        sent in vec((any::<Index>(), any::<bool>()), 0..60),
        got in vec((any::<Index>(), any::<bool>()), 0..60),
    ) {
        let (requests, answers) = conversations().swap_remove(which);
        let (asks, answering) = if server { (Read, Wrote) } else { (Wrote, Read) };
        let whole = Bench::new().calls(&[(asks, &requests), (answering, &answers)]).close().take();
        prop_assert_eq!(whole.len(), if which == 0 { 5 } else { 1 });
        prop_assert!(whole.iter().all(|exchange| exchange.losses.is_empty()), "{:?}", essence(&whole));
        let mut bench = Bench::new();
        for (total, offset, bytes) in cut(&requests, &sent) {
            bench.piece(asks, total, offset, &bytes);
        }
        for (total, offset, bytes) in cut(&answers, &got) {
            bench.piece(answering, total, offset, &bytes);
        }
        bench.close();
        prop_assert_eq!(essence(&bench.out), essence(&whole));
    }

    #[test]
    fn any_interleaving_gives_the_same_exchanges(
        sent in vec((any::<Index>(), any::<bool>()), 0..20),
        got in vec((any::<Index>(), any::<bool>()), 0..20),
        turns in vec(any::<bool>(), 60),
    ) {
        let requests: Vec<u8> = (0..6).flat_map(|n| format!("POST /{n} HTTP/1.1\r\nContent-Length: 5\r\n\r\nab{n}cd").into_bytes()).collect();
        let answers: Vec<u8> = (0..6).flat_map(|n| response("", format!("answer {n}").as_bytes())).collect();
        let whole = exchanges(&[(Wrote, &requests), (Read, &answers)]);
        prop_assert_eq!(whole.len(), 6);
        // An answer does not begin before its request ended.
        let (ask, reply) = (requests.len() / 6, answers.len() / 6);
        let (mut asks, mut replies) = (cut(&requests, &sent).into_iter().peekable(), cut(&answers, &got).into_iter().peekable());
        let (mut asked, mut replied) = (0, 0);
        let mut bench = Bench::new();
        let mut turns = turns.into_iter().cycle();
        while asks.peek().is_some() || replies.peek().is_some() {
            let allowed = replies.peek().is_some_and(|(_, _, bytes)| (replied + bytes.len()).div_ceil(reply) <= asked / ask);
            if allowed && (asks.peek().is_none() || turns.next().unwrap()) {
                let (total, offset, bytes) = replies.next().unwrap();
                replied += bytes.len();
                bench.piece(Read, total, offset, &bytes);
            } else if let Some((total, offset, bytes)) = asks.next() {
                asked += bytes.len();
                bench.piece(Wrote, total, offset, &bytes);
            }
        }
        prop_assert_eq!(essence(&bench.out), essence(&whole));
    }

    #[test]
    fn damaged_codings_never_panic(
        coding in 0usize..5, damage in vec((any::<Index>(), any::<u8>()), 0..4), cuts in vec((any::<Index>(), any::<bool>()), 0..9),
        noise in vec(any::<u8>(), 0..200), noisy in any::<bool>(),
    ) {
        let text = b"some words and more words, again some words".repeat(9);
        let (name, mut body) = [
            ("gzip", gzip(&text)), ("deflate", zlib(&text)), ("deflate", raw_deflate(&text)), ("br", brotli(&text)), ("zstd", zstd(&text)),
        ].into_iter().nth(coding).unwrap();
        for (at, byte) in damage {
            let at = at.index(body.len());
            body[at] = byte;
        }
        if noisy {
            body = noise;
        }
        let wire = response(&format!("Content-Type: text/event-stream\r\nContent-Encoding: {name}\r\n"), &body);
        let whole = exchanges(&[GET, (Read, &wire), GET, (Read, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")]);
        prop_assert_eq!(whole.len(), 2);
        let mut bench = Bench::new();
        bench.calls(&[GET]);
        for (total, offset, bytes) in cut(&wire, &cuts) {
            bench.piece(Read, total, offset, &bytes);
        }
        let of = |exchange: &Exchange| (exchange.losses.clone(), exchange.response.as_ref().unwrap().body.wire_size);
        prop_assert_eq!(of(&bench.out[0]), of(&whole[0]));
    }

    #[test]
    fn arbitrary_chunks_never_panic(
        pieces in vec((any::<bool>(), 0u64..300, 0u64..300, vec(any::<u8>(), 0..40), 0usize..14), 0..80),
        limit in 0u64..64,
    ) {
        const WORDS: &[&[u8]] = &[
            b"GET / HTTP/1.1\r\n", b"POST / HTTP/1.1\r\n", b"HTTP/1.1 200 OK\r\n", b"\r\n", b"Content-Length: 5\r\n",
            b"Transfer-Encoding: chunked\r\n", b"5\r\nabcde\r\n", b"0\r\n\r\n", b"Content-Encoding: gzip\r\n", b"HTTP/1.1 101 X\r\n\r\n",
            b"CONNECT a:1 HTTP/1.1\r\n\r\n", b"Content-Type: text/event-stream\r\n", b"",
        ];
        let mut bench = Bench::with(Config { max_body_size: limit, memory_limit: limit * 1_000 });
        for (read, total, offset, mut bytes, word) in pieces {
            // Mostly plausible.
            if let Some(word) = WORDS.get(word) {
                bytes = word.to_vec();
            }
            let (total, offset) = if word % 2 == 0 { (bytes.len() as u64, 0) } else { (total, offset) };
            bench.piece(if read { Read } else { Wrote }, total, offset, &bytes);
            let held = bench.streams.buffered();
            prop_assert!(limit == 0 || held <= limit * 1_000);
        }
        bench.close();
        for exchange in &bench.out {
            for body in [Some(&exchange.request.body), exchange.response.as_ref().map(|response| &response.body)].into_iter().flatten() {
                prop_assert!(body.marks.is_sorted_by(|a, b| a.offset < b.offset));
                prop_assert!(limit == 0 || body.bytes.len() as u64 <= limit);
            }
        }
    }
}
