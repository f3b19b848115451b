//! HTTP/1 as it should be.

use pipeline::observation::{Mark, Role};

use super::*;

#[test]
fn a_request_and_its_response() {
    let mut bench = Bench::new();
    bench.call(Wrote, b"POST /v1/x?y=1 HTTP/1.1\r\nHost: api.example\r\nAuthorization: Bearer S\r\nX-A:  b \r\nContent-Length: 5\r\n\r\n");
    let notices: Vec<Notice> = bench.streams.notices().collect();
    let [Notice::Request { connection, index: 0, role: Role::Client, time, method, target, host }] = &notices[..]
    else {
        panic!("{notices:?}")
    };
    assert_eq!((connection.object, time.0, method.as_str()), (OBJECT, 1_010, "POST"));
    assert_eq!((target.as_str(), host.as_deref()), ("/v1/x?y=1", Some("api.example")));
    bench.call(Wrote, b"hello").call(Read, b"HTTP/1.1 200 OK\r\nSet-Cookie: s=1\r\nContent-Length: 2\r\n\r\nhi");
    let [exchange] = &bench.take()[..] else { panic!() };
    assert_eq!(summary(exchange), whole("POST /v1/x?y=1", "hello", 200, "hi"));
    assert_eq!(exchange.request.headers.get("authorization"), Some("<redacted>"));
    assert_eq!(exchange.request.headers.get("x-a"), Some("b"));
    let response = exchange.response.as_ref().unwrap();
    assert_eq!(response.headers.get("set-cookie"), Some("<redacted>"));
    assert_eq!((exchange.request.started.0, exchange.request.ended.0), (1_010, 1_020));
    assert_eq!((response.started.0, response.ended.0), (1_030, 1_030));
    assert_eq!((exchange.connection.generation, exchange.index, exchange.tls), (0, 0, true));
    assert_eq!(bench.verdict(), Verdict::Http);
    assert!(!format!("{exchange:?}").contains("Bearer"));
}

#[test]
fn a_server_reads_requests() {
    let out = exchanges(&[(Read, GET.1), (Wrote, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")]);
    assert_eq!(out[0].role, Role::Server);
    assert_eq!(summary(&out[0]), whole("GET /a", "", 200, ""));
}

#[test]
fn keep_alive_and_pipelining_keep_the_order() {
    let mut calls: Vec<Call<'_>> = vec![
        (Wrote, b"GET /1 HTTP/1.1\r\n\r\nPOST /2 HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET /3 HTTP/1.1\r\n\r\n"),
        (Read, b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n2\r\n0\r\n\r\nHTTP/1.1 404 No\r\n"),
        (Read, b"Content-Length: 1\r\n\r\n3"),
    ];
    calls.push((Wrote, b"POST /4 HTTP/1.1\r\nContent-Length: 0\r\n\r\n"));
    calls.push((Wrote, b"POST /5 HTTP/1.1\r\nContent-Length: 0\r\n\r\n"));
    calls.push((Read, b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n4"));
    calls.push((Read, b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n5"));
    let out = exchanges(&calls);
    let got: Vec<_> = out.iter().map(summary).collect();
    assert_eq!(
        got,
        [
            whole("GET /1", "", 200, "1"),
            whole("POST /2", "abc", 201, "2"),
            whole("GET /3", "", 404, "3"),
            whole("POST /4", "", 200, "4"),
            whole("POST /5", "", 200, "5"),
        ]
    );
    assert_eq!(out.iter().map(|exchange| exchange.index).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
}

#[test]
fn chunked_both_ways_with_extensions_and_trailers() {
    let out = exchanges(&[
        (Wrote, b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x=\"y\"\r\nabc\r\n"),
        (Wrote, b"0\r\nX-T: 1\r\n\r\n"),
        (Read, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\nContent-Length: 999\r\n\r\n4\r\nWi"),
        (Read, b"ki\r\n5\r\npedia\r\n0\r\nExpires: never\r\n\r\n"),
    ]);
    assert_eq!(summary(&out[0]), whole("POST /a", "abc", 200, "Wikipedia"));
    assert_eq!(out[0].response.as_ref().unwrap().body.wire_size, 9);
}

#[test]
fn interim_responses_are_passed_over() {
    let out = exchanges(&[
        (Wrote, b"POST /a HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"),
        (Read, b"HTTP/1.1 100 Continue\r\n\r\n"),
        (Wrote, b"ok"),
        (Read, b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n!"),
    ]);
    assert_eq!(summary(&out[0]), whole("POST /a", "ok", 200, "!"));
    assert_eq!(out[0].response.as_ref().unwrap().started.0, 1_040);
}

#[test]
fn responses_without_a_body() {
    let out = exchanges(&[
        (Wrote, b"HEAD /1 HTTP/1.1\r\n\r\n"),
        (Read, b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\nContent-Encoding: gzip\r\n\r\n"),
        (Wrote, b"GET /2 HTTP/1.1\r\n\r\n"),
        (Read, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n"),
        (Wrote, b"GET /3 HTTP/1.1\r\n\r\n"),
        (Read, b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n"),
        GET,
        (Read, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ]);
    let got: Vec<_> = out.iter().map(summary).collect();
    let want = [("HEAD /1", 200), ("GET /2", 304), ("GET /3", 204), ("GET /a", 200)];
    assert_eq!(got, want.map(|(request, status)| whole(request, "", status, "")));
}

#[test]
fn an_upgrade_ends_http() {
    let mut bench = Bench::new();
    bench
        .call(Wrote, b"GET /ws HTTP/1.1\r\nUpgrade: other\r\n\r\n")
        .call(Read, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: other\r\n\r\n\x81\x02hi");
    assert_eq!(bench.verdict(), Verdict::NotHttp);
    bench.call(Wrote, b"GET /not HTTP/1.1\r\n\r\n").call(Read, b"\x81\x02ho");
    assert_eq!(bench.take().iter().map(summary).collect::<Vec<_>>(), [whole("GET /ws", "", 101, "")]);
    assert!(bench.streams.notices().any(|notice| matches!(notice, Notice::Foreign { .. })));
}

#[test]
fn a_websocket_is_followed() {
    let ask = b"\x81\xa0\0\0\0\0{\"type\":\"response.create\",\"a\":1}";
    let mut bench = Bench::new();
    bench
        .call(Wrote, b"GET /v1/responses HTTP/1.1\r\nUpgrade: websocket\r\n\r\n")
        .call(
            Read,
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\n\r\n\x81\x1a{\"type\":\"session.created\"}",
        )
        .call(Wrote, ask);
    assert_eq!(bench.verdict(), Verdict::WebSocket);
    assert!(bench.streams.buffered() > 0);
    bench
        .call(Read, b"\x81\x1b{\"type\":\"response.created\"}")
        .call(Read, b"\x81\x1d{\"type\":\"response.completed\"}");
    let call = whole(
        "GET /v1/responses",
        "{\"type\":\"response.create\",\"a\":1}",
        101,
        "data: {\"type\":\"response.created\"}\n\ndata: {\"type\":\"response.completed\"}\n\n",
    );
    let calls = bench.take();
    assert_eq!(calls.iter().map(summary).collect::<Vec<_>>(), [whole("GET /v1/responses", "", 101, ""), call]);
    assert_eq!(calls.iter().map(|call| call.index).collect::<Vec<_>>(), [0, 1]);
    // Joined in the middle, and broken off.
    let mut bench = Bench::new();
    bench.call(Wrote, ask).close();
    assert_eq!(bench.take()[0].losses, [loss(Part::Response, LossReason::Closed, 0)]);
}

#[test]
fn a_tunnel_may_hold_http_again() {
    let connect: Call<'_> = (Wrote, b"CONNECT api.example:443 HTTP/1.1\r\nHost: api.example:443\r\n\r\n");
    let mut bench = Bench::new();
    bench.calls(&[connect, (Read, b"HTTP/1.1 200 Connection established\r\n\r\n")]);
    bench.calls(&[GET, (Read, b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")]);
    let got: Vec<_> = bench.take().iter().map(summary).collect();
    assert_eq!(got, [whole("CONNECT api.example:443", "", 200, ""), whole("GET /a", "", 200, "x")]);
    let mut bench = Bench::new();
    bench.calls(&[connect, (Read, b"HTTP/1.1 200 OK\r\n\r\n"), (Wrote, b"\x16\x03\x01\x02\x00\x01")]);
    assert_eq!(bench.verdict(), Verdict::NotHttp);
    let refused = exchanges(&[connect, (Read, b"HTTP/1.1 407 No\r\nContent-Length: 2\r\n\r\nno")]);
    assert_eq!(summary(&refused[0]), whole("CONNECT api.example:443", "", 407, "no"));
}

#[test]
fn a_body_may_end_with_the_connection() {
    let mut bench = Bench::new();
    bench.calls(&[GET, (Read, b"HTTP/1.0 200 OK\r\n\r\nall "), (Read, b"of it")]);
    assert!(bench.out.is_empty());
    assert_eq!(bench.close().take().iter().map(summary).collect::<Vec<_>>(), [whole("GET /a", "", 200, "all of it")]);
    // The address serves another connection now.
    bench.calls(&[GET, (Read, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")]);
    let out = bench.take();
    assert_eq!((out[0].connection.generation, out[0].index), (1, 0));
}

#[test]
fn folded_and_odd_fields_are_read() {
    let out = exchanges(&[
        (Wrote, b"\r\nGET /a HTTP/1.1\r\nX-Fold: one\r\n\ttwo\r\nCookie: a=SECRET;\r\n b=SECRET\r\nbad line\r\nHost: h\r\n\r\n"),
        (Read, b"HTTP/1.1 200\r\nX-Fold: a\r\n b\r\ncontent-length: 1, 1\r\nContent-Length: 1\r\n\r\nx"),
    ]);
    assert_eq!(summary(&out[0]), whole("GET /a", "", 200, "x"));
    assert_eq!(
        out[0].request.headers.get("x-fold").map(|value| value.split_whitespace().collect::<Vec<_>>()),
        Some(vec!["one", "two"])
    );
    assert_eq!(out[0].request.headers.get("host"), Some("h"));
    assert!(!format!("{out:?}").contains("SECRET"));
}

#[test]
fn codings_are_taken_off() {
    let text = "many words, many words, many words".repeat(2_000);
    let bytes = text.as_bytes();
    let mut members = gzip(&bytes[..1_000]);
    members.extend(gzip(&bytes[1_000..]));
    for (coding, body) in [
        ("gzip", gzip(bytes)),
        ("x-gzip", members),
        ("deflate", zlib(bytes)),
        ("deflate", raw_deflate(bytes)),
        ("br", brotli(bytes)),
        ("zstd", zstd(bytes)),
        ("gzip, br", brotli(&gzip(bytes))),
        ("identity", bytes.to_vec()),
    ] {
        let wire = response(&format!("Content-Encoding: {coding}\r\n"), &body);
        let out = exchanges(&[GET, (Read, &wire)]);
        assert_eq!(summary(&out[0]), whole("GET /a", "", 200, &text), "{coding}");
        assert_eq!(out[0].response.as_ref().unwrap().body.wire_size, body.len() as u64);
        // Byte by byte.
        let mut bench = Bench::new();
        bench.calls(&[GET]);
        for byte in wire.iter() {
            bench.call(Read, &[*byte]);
        }
        assert_eq!(summary(&bench.out[0]), whole("GET /a", "", 200, &text), "{coding}");
    }
    let coded = gzip(b"body");
    let wire = [
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n{:x}\r\n", coded.len()).as_bytes(),
        &coded,
        b"\r\n0\r\n\r\n",
    ]
    .concat();
    assert_eq!(summary(&exchanges(&[GET, (Read, &wire)])[0]), whole("GET /a", "", 200, "body"));
}

#[test]
fn what_cannot_be_decoded_is_told_and_the_rest_goes_on() {
    let bomb = brotli(&vec![0; 64 << 20]);
    let cut = gzip(b"some text");
    let next = response("", b"next");
    for (coding, body) in [
        ("gzip", b"not gzip at all".to_vec()),
        ("br", b"\xff\xff\xff\xff".to_vec()),
        ("zstd", b"not zstd".to_vec()),
        ("deflate", b"\xff\xff\xff".to_vec()),
        ("compress", b"?".to_vec()),
        ("gzip", cut[..cut.len() - 9].to_vec()),
        ("br", bomb),
        ("gzip, gzip, gzip, gzip, gzip", b"x".to_vec()),
    ] {
        let wire = response(&format!("Content-Encoding: {coding}\r\n"), &body);
        let out = exchanges(&[GET, (Read, &wire), GET, (Read, &next)]);
        assert_eq!(out[0].losses, [loss(Part::Response, LossReason::Undecodable, 0)], "{coding}");
        assert!(out[0].response.as_ref().unwrap().body.bytes.len() <= 17 << 20);
        assert_eq!(summary(&out[1]), whole("GET /a", "", 200, "next"), "{coding}");
    }
}

#[test]
fn event_streams_keep_times() {
    let mut bench = Bench::new();
    bench.calls(&[
        GET,
        (
            Read,
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
    ]);
    for _ in 0..3 {
        bench.call(Read, b"9\r\ndata: x\n\n\r\n");
    }
    // Two chunks at one time are one part.
    bench.call(Read, b"9\r\ndata: y\n\n\r\n9\r\ndata: z\n\n\r\n0\r\n\r\n");
    let body = bench.take().remove(0).response.unwrap().body;
    let marks: Vec<_> = body.marks.iter().map(|Mark { offset, time }| (*offset, time.0)).collect();
    assert_eq!(marks, [(0, 1_030), (9, 1_040), (18, 1_050), (27, 1_060)]);
    assert_eq!(body.arrived(20).map(|time| time.0), Some(1_050));
}

#[test]
fn compressed_event_streams_are_decoded_as_they_come() {
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut br = brotli::CompressorWriter::new(Vec::new(), 4096, 4, 20);
    let mut zs = ::zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    let mut parts: [Vec<Vec<u8>>; 3] = Default::default();
    let mut seen = [0; 3];
    for number in 0..4 {
        let event = format!("data: event number {number}\n\n");
        for (at, all) in [
            {
                gz.write_all(event.as_bytes()).unwrap();
                gz.flush().unwrap();
                gz.get_ref().clone()
            },
            {
                br.write_all(event.as_bytes()).unwrap();
                br.flush().unwrap();
                br.get_ref().clone()
            },
            {
                zs.write_all(event.as_bytes()).unwrap();
                zs.flush().unwrap();
                zs.get_ref().clone()
            },
        ]
        .into_iter()
        .enumerate()
        {
            parts[at].push(all[seen[at]..].to_vec());
            seen[at] = all.len();
        }
    }
    let ends = [gz.finish().unwrap(), br.into_inner(), zs.finish().unwrap()];
    for (at, coding) in ["gzip", "br", "zstd"].iter().enumerate() {
        let mut bench = Bench::new();
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: {coding}\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        bench.calls(&[GET, (Read, head.as_bytes())]);
        for part in parts[at].iter().map(Vec::as_slice).chain([&ends[at][seen[at]..]]) {
            bench.call(Read, &[format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat());
        }
        bench.call(Read, b"0\r\n\r\n");
        let exchange = bench.take().remove(0);
        assert!(exchange.losses.is_empty(), "{coding}: {:?}", exchange.losses);
        let marks: Vec<_> =
            exchange.response.unwrap().body.marks.iter().map(|mark| (mark.offset, mark.time.0)).collect();
        assert_eq!(marks, [(0, 1_030), (22, 1_040), (44, 1_050), (66, 1_060)], "{coding}");
    }
}

#[test]
fn other_protocols_are_told_once() {
    let mut bench = Bench::new();
    bench.call(Wrote, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").call(Read, b"\0\0\0");
    assert_eq!(bench.verdict(), Verdict::Http2);
    assert_eq!(bench.streams.notices().count(), 0);
    let mut bench = Bench::new();
    for _ in 0..20 {
        bench.call(Wrote, b"\x01\x02query").call(Read, b"\x03answer");
    }
    assert_eq!(bench.verdict(), Verdict::NotHttp);
    assert_eq!(bench.streams.notices().count(), 1);
    assert!(bench.close().out.is_empty());
}

#[test]
fn an_early_answer_waits_for_its_request() {
    let out = exchanges(&[
        GET,
        (Read, b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1"),
        (Read, b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2"),
        (Wrote, b"GET /b HTTP/1.1\r\n\r\n"),
    ]);
    assert_eq!(summary(&out[1]), whole("GET /b", "", 200, "2"));
}
