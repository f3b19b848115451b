//! Frames and messages.

use super::*;

fn lane(masked: bool, takeover: Option<bool>) -> Lane {
    Lane::new(masked, takeover)
}

fn feed(lane: &mut Lane, bytes: &[u8]) -> Vec<Told> {
    let mut told = Vec::new();
    lane.feed(bytes, true, Timestamp(5), 0, &mut told);
    told
}

fn texts(told: &[Told]) -> Vec<String> {
    let text = |told: &Told| match told {
        Told::Message(message) => {
            let bytes = String::from_utf8_lossy(&message.bytes).into_owned();
            message.loss.map_or(bytes.clone(), |loss| format!("{bytes} {loss:?}"))
        }
        other => format!("{other:?}"),
    };
    told.iter().map(text).collect()
}

#[test]
fn the_examples_of_the_rfc_are_read() {
    // RFC 6455, section 5.7.
    assert_eq!(texts(&feed(&mut lane(false, None), b"\x81\x05Hello")), ["Hello"]);
    let masked = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
    assert_eq!(texts(&feed(&mut lane(true, None), masked)), ["Hello"]);
    assert_eq!(texts(&feed(&mut lane(false, None), b"\x01\x03Hel\x80\x02lo")), ["Hello"]);
    // A ping and its answer between the fragments.
    assert_eq!(texts(&feed(&mut lane(false, None), b"\x01\x03Hel\x89\x05Hello\x80\x02lo\x8a\x00")), ["Hello"]);
    // RFC 7692, section 7.2.3.
    let hello = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
    let mut compressed = lane(false, Some(true));
    assert_eq!(texts(&feed(&mut compressed, &frame(0xc1, None, hello))), ["Hello"]);
    assert_eq!(texts(&feed(&mut compressed, b"\xc1\x05\xf2\x00\x11\x00\x00")), ["Hello"]);
    assert_eq!(texts(&feed(&mut lane(false, Some(true)), b"\x41\x03\xf2\x48\xcd\x80\x04\xc9\xc9\x07\x00")), ["Hello"]);
    // Without compression, with a final block, in two blocks.
    let stored = b"\xc1\x0b\x00\x05\x00\xfa\xffHello\x00";
    assert_eq!(texts(&feed(&mut lane(false, Some(true)), stored)), ["Hello"]);
    let last = b"\xc1\x08\xf3\x48\xcd\xc9\xc9\x07\x00\x00";
    assert_eq!(texts(&feed(&mut lane(false, Some(false)), last)), ["Hello"]);
    let two = b"\xc1\x0d\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00";
    assert_eq!(texts(&feed(&mut lane(false, Some(true)), two)), ["Hello"]);
}

#[test]
fn lengths_come_in_three_widths() {
    for length in [0, 1, 125, 126, 127, 65_535, 65_536, 100_000] {
        for mask in [None, Some(MASK)] {
            let payload = vec![b'x'; length];
            let told = feed(&mut lane(mask.is_some(), None), &frame(0x81, mask, &payload));
            let [Told::Message(message)] = told.as_slice() else { panic!("{length}: {told:?}") };
            assert_eq!((message.bytes.len(), message.wire), (length, length as u64));
        }
    }
}

#[test]
fn what_is_no_frame_is_not_read() {
    for bad in [
        &b"\xa1\x00"[..],
        b"\x83\x00",
        b"\x09\x00",
        b"\x89\x7e\x00\x80",
        b"\xc9\x00",
        b"\xc0\x00",
        b"\x81\x7e\x00\x05",
        b"\x81\x7f\x00\x00\x00\x00\x00\x00\xff\xff",
        b"\x81\x7f\x80\x00\x00\x00\x00\x01\x00\x00",
    ] {
        assert_eq!(super::super::frame::header(bad), Parsed::Bad, "{bad:?}");
    }
    // A server does not mask, a client does; a message does not begin within another.
    assert_eq!(texts(&feed(&mut lane(false, None), &frame(0x81, Some(MASK), b"{}"))), ["Lost(0)"]);
    assert_eq!(texts(&feed(&mut lane(true, None), b"\x81\x02{}")), ["Lost(0)"]);
    assert_eq!(texts(&feed(&mut lane(false, None), b"\x01\x01a\x81\x01b")), ["Lost(0)"]);
    assert_eq!(texts(&feed(&mut lane(false, None), b"\x81\x01a\x88\x00\x81\x01b")), ["a", "Close"]);
}

#[test]
fn a_hole_in_a_payload_costs_its_message() {
    let mut lane = lane(false, None);
    let mut told = feed(&mut lane, b"\x81\x09{\"a\"");
    lane.hole(2, Timestamp(6), &mut told);
    lane.feed(b":1}\x81\x02{}", false, Timestamp(7), 0, &mut told);
    assert_eq!(texts(&told), ["{\"a\":1} (Dropped, 2)", "{}"]);
    // To the end of the frame.
    told.clear();
    lane.feed(b"\x81\x04ab", true, Timestamp(7), 0, &mut told);
    lane.hole(2, Timestamp(8), &mut told);
    assert_eq!(texts(&told), ["ab (Dropped, 2)"]);
}

#[test]
fn after_a_hole_a_call_that_begins_with_a_frame_is_found() {
    let mut lane = lane(false, None);
    let mut told = feed(&mut lane, b"\x81\x04ab");
    lane.hole(7, Timestamp(6), &mut told);
    lane.feed(b"garbage", true, Timestamp(6), 0, &mut told);
    lane.feed(b"\x81\x02xx", true, Timestamp(6), 0, &mut told);
    lane.feed(b"\x81\x02{}", false, Timestamp(6), 0, &mut told);
    lane.feed(b"\x81\x02{}", true, Timestamp(6), 0, &mut told);
    assert_eq!(texts(&told), ["ab (Dropped, 2)", "Lost(5)", "{}"]);
}

#[test]
fn with_context_takeover_a_hole_costs_the_rest() {
    for (takeover, after) in [(true, " (Undecodable, 0)"), (false, "{\"third\":\"first\"}")] {
        let mut sender = Deflate::new(takeover);
        let mut lane = lane(false, Some(takeover));
        let first = sender.message(b"{\"first\":\"first first first\"}");
        let second = sender.message(b"{\"second\":\"first first first\"}");
        let third = sender.message(b"{\"third\":\"first\"}");
        let mut told = feed(&mut lane, &frame(0xc1, None, &first));
        let wire = frame(0xc1, None, &second);
        lane.feed(&wire[..5], true, Timestamp(6), 0, &mut told);
        lane.hole(wire.len() as u64 - 5, Timestamp(6), &mut told);
        lane.feed(&frame(0xc1, None, &third), true, Timestamp(6), 0, &mut told);
        lane.feed(b"\x81\x02{}", true, Timestamp(6), 0, &mut told);
        let texts = texts(&told);
        assert_eq!((texts[0].as_str(), texts[2].as_str()), ("{\"first\":\"first first first\"}", after));
        assert!(texts[1].contains("Dropped"), "{texts:?}");
        assert_eq!(texts[3], "{}");
        assert_eq!(lane.blind(), takeover);
    }
}

#[test]
fn a_message_that_expands_out_of_proportion_is_refused() {
    let mut sender = Deflate::new(false);
    let bomb = sender.message(&vec![b' '; 64 << 20]);
    let told = feed(&mut lane(false, Some(false)), &frame(0xc1, None, &bomb));
    let [Told::Message(message)] = told.as_slice() else { panic!() };
    assert_eq!(message.loss, Some((LossReason::Undecodable, 0)));
}

#[test]
fn of_a_long_message_head_and_tail_are_kept() {
    let mut lane = lane(true, None);
    let mut told = Vec::new();
    lane.feed(&frame(0x81, Some(MASK), &[b'a'; 1000]), true, Timestamp(1), 100, &mut told);
    let [Told::Message(message)] = told.as_slice() else { panic!() };
    assert_eq!((message.bytes.len(), message.omitted, message.loss), (100, 900, Some((LossReason::TooLarge, 900))));
}

#[test]
fn parameters_of_compression_are_read() {
    let of = |value: &str| deflate::agreed(&Headers(vec![("sec-websocket-extensions".into(), value.into())]));
    let agreed =
        |server_no_takeover, client_no_takeover| Some(deflate::Agreed { server_no_takeover, client_no_takeover });
    assert_eq!(of("permessage-deflate"), agreed(false, false));
    assert_eq!(of("permessage-deflate; client_max_window_bits=12; server_max_window_bits=9"), agreed(false, false));
    assert_eq!(of("x-other; a=1, permessage-deflate ; server_no_context_takeover"), agreed(true, false));
    assert_eq!(of("permessage-deflate;client_no_context_takeover;server_no_context_takeover"), agreed(true, true));
    assert_eq!((of("x-webkit-deflate-frame"), of("")), (None, None));
}

/// A message: fragments' lengths, compressed or not, a ping between fragments.
fn wire(masked: bool, deflate: &mut Option<Deflate>, payload: &[u8], cuts: &[usize], ping: bool) -> Vec<u8> {
    let mask = masked.then_some(MASK);
    let (payload, compressed) = match deflate {
        Some(deflate) => (deflate.message(payload), 0x40),
        None => (payload.to_vec(), 0),
    };
    let (mut wire, mut rest, mut first) = (Vec::new(), payload.as_slice(), 1 | compressed);
    for cut in cuts {
        let (now, later) = rest.split_at((*cut).min(rest.len()));
        wire.extend(frame(first, mask, now));
        if ping {
            wire.extend(frame(0x89, mask, b"are you there"));
        }
        (rest, first) = (later, 0);
    }
    wire.extend(frame(0x80 | first, mask, rest));
    wire
}

proptest! {
    #[test]
    fn any_split_and_any_fragments_give_the_same(
        messages in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..400), prop::collection::vec(0usize..150, 0..3), any::<bool>()), 1..6),
        splits in prop::collection::vec(1usize..60, 1..40),
        masked: bool,
        takeover in prop::option::of(any::<bool>()),
    ) {
        let mut sender = takeover.map(Deflate::new);
        let mut bytes = Vec::new();
        for (payload, cuts, ping) in &messages {
            bytes.extend(wire(masked, &mut sender, payload, cuts, *ping));
        }
        let mut lane = Lane::new(masked, takeover);
        let mut told = Vec::new();
        let mut rest = bytes.as_slice();
        for split in splits.iter().cycle() {
            let (now, later) = rest.split_at((*split).min(rest.len()));
            lane.feed(now, true, Timestamp(1), 0, &mut told);
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        let got: Vec<Bytes> = told.iter().map(|told| match told {
            Told::Message(Message { bytes, loss: None, .. }) => bytes.clone(),
            other => panic!("{other:?}"),
        }).collect();
        let sent: Vec<Bytes> = messages.iter().map(|(payload, ..)| Bytes::copy_from_slice(payload)).collect();
        prop_assert_eq!(got, sent);
        prop_assert!(lane.size() < 200_000);
    }

    #[test]
    fn anything_is_survived(
        steps in prop::collection::vec((any::<bool>(), any::<bool>(), prop::option::of(0u64..300), prop::collection::vec(any::<u8>(), 0..40)), 0..60),
        takeover in prop::option::of(any::<bool>()),
        joined: bool,
    ) {
        let extensions = if takeover.is_some() { "permessage-deflate" } else { "" };
        let socket = if joined { WebSocket::joined(&Of { role: Role::Server, limit: 64, ..OF }) } else { WebSocket::upgraded(&Of { limit: 64, ..OF }, upgrade("/v1/responses", extensions)) };
        let mut bench = Bench::of(socket);
        for (write, border, hole, bytes) in steps {
            let direction = if write { Wrote } else { Read };
            match hole {
                Some(hole) => bench.hole(direction, hole),
                None => bench.piece(direction, &bytes, border),
            };
        }
        bench.end();
    }

    #[test]
    fn masks_come_off_at_any_offset(bytes in prop::collection::vec(any::<u8>(), 0..50), cut in 0usize..50, mask: [u8; 4]) {
        let mut whole = bytes.clone();
        super::super::frame::unmask(&mut whole, mask, 0);
        let cut = cut.min(bytes.len());
        let (mut head, mut tail) = (bytes[..cut].to_vec(), bytes[cut..].to_vec());
        super::super::frame::unmask(&mut head, mask, 0);
        super::super::frame::unmask(&mut tail, mask, cut as u64);
        head.extend(tail);
        prop_assert_eq!(head, whole);
    }
}

#[test]
fn a_header_may_come_byte_by_byte() {
    let wire = frame(0x82, Some(MASK), &[7; 70_000]);
    assert_eq!(super::super::frame::header(&wire[..13]), Parsed::More);
    let Parsed::Header(Header { size, length, .. }) = super::super::frame::header(&wire) else { panic!() };
    assert_eq!((size, length), (14, 70_000));
}
