//! The examples of RFC 7541, Appendix C, and what goes beyond them.

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::streams::http2::hpack::{Bad, Decoder, Field};

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn decoded(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<String>, Bad> {
    let mut fields = Vec::new();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    decoder.decode(block, |field| {
        fields.push(match field {
            Field::Known(name, value) => format!("{}: {}", text(name), text(value)),
            Field::Nameless(value) => format!("?: {}", text(value)),
            Field::Unknown => "?".to_owned(),
        });
    })?;
    Ok(fields)
}

/// Decodes blocks one after the other: fields, and the size of the table after each.
fn check(limit: usize, examples: &[(&str, &[&str], usize)]) {
    let mut decoder = Decoder::with_limit(limit);
    for (hex, fields, size) in examples {
        assert_eq!(decoded(&mut decoder, &bytes(hex)).unwrap(), *fields);
        assert_eq!(decoder.entries_size(), *size);
    }
}

const FIRST: &[&str] = &[":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com"];
const SECOND: &[&str] =
    &[":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com", "cache-control: no-cache"];
const THIRD: &[&str] = &[
    ":method: GET",
    ":scheme: https",
    ":path: /index.html",
    ":authority: www.example.com",
    "custom-key: custom-value",
];
const FOUND: &[&str] = &[
    ":status: 302",
    "cache-control: private",
    "date: Mon, 21 Oct 2013 20:13:21 GMT",
    "location: https://www.example.com",
];
const MOVED: &[&str] = &[
    ":status: 307",
    "cache-control: private",
    "date: Mon, 21 Oct 2013 20:13:21 GMT",
    "location: https://www.example.com",
];
const OK: &[&str] = &[
    ":status: 200",
    "cache-control: private",
    "date: Mon, 21 Oct 2013 20:13:22 GMT",
    "location: https://www.example.com",
    "content-encoding: gzip",
    "set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
];

#[test]
fn c_2_single_fields() {
    check(
        4096,
        &[("400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572", &["custom-key: custom-header"], 55)],
    );
    check(4096, &[("040c 2f73 616d 706c 652f 7061 7468", &[":path: /sample/path"], 0)]);
    check(4096, &[("1008 7061 7373 776f 7264 0673 6563 7265 74", &["password: secret"], 0)]);
    check(4096, &[("82", &[":method: GET"], 0)]);
}

#[test]
fn c_3_requests() {
    check(
        4096,
        &[
            ("8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d", FIRST, 57),
            ("8286 84be 5808 6e6f 2d63 6163 6865", SECOND, 110),
            ("8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65", THIRD, 164),
        ],
    );
}

#[test]
fn c_4_requests_in_huffman_code() {
    check(
        4096,
        &[
            ("8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff", FIRST, 57),
            ("8286 84be 5886 a8eb 1064 9cbf", SECOND, 110),
            ("8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf", THIRD, 164),
        ],
    );
}

#[test]
fn c_5_responses_with_a_small_table() {
    check(
        256,
        &[
            (
                "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32
                 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
                FOUND,
                222,
            ),
            ("4803 3330 37c1 c0bf", MOVED, 222),
            (
                "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970
                 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61
                 6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31",
                OK,
                215,
            ),
        ],
    );
}

#[test]
fn c_6_responses_with_a_small_table_in_huffman_code() {
    check(
        256,
        &[
            (
                "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad
                 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
                FOUND,
                222,
            ),
            ("4883 640e ffc1 c0bf", MOVED, 222),
            (
                "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2
                 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
                OK,
                215,
            ),
        ],
    );
}

#[test]
fn the_size_of_the_table_changes() {
    let mut decoder = Decoder::new();
    assert_eq!(decoded(&mut decoder, &bytes("4001 6101 62 4001 6301 64")).unwrap(), ["a: b", "c: d"]);
    // To 34: one entry stays; to 0 and back: none.
    assert_eq!(decoded(&mut decoder, &bytes("3f03 be bf")).unwrap(), ["c: d", "?"]);
    assert_eq!(decoded(&mut decoder, &bytes("20 3fe1 1f be")).unwrap(), ["?"]);
    assert_eq!(decoder.entries_size(), 0);
    // More than is kept.
    assert_eq!(decoded(&mut decoder, &bytes("3fe1 ff7f 4001 6101 62 be")).unwrap(), ["a: b", "a: b"]);
}

#[test]
fn entries_from_before_are_unknown_and_those_since_are_right() {
    let mut decoder = Decoder::new();
    decoder.forget();
    let fields = decoded(&mut decoder, &bytes("82 be c0 4001 6101 62 be bf 7e 0163 be bf")).unwrap();
    assert_eq!(fields, [":method: GET", "?", "?", "a: b", "a: b", "?", "a: c", "a: c", "a: b"]);
    // A literal whose name is unknown.
    let fields = decoded(&mut decoder, &bytes("7f02 0164 be")).unwrap();
    assert_eq!(fields, ["?: d", "?: d"]);
}

#[test]
fn what_is_no_block_is_refused() {
    for hex in ["80", "40", "4001", "400161", "40016102", "ff", "ffffffffffff", "3fffffffffff7f", "0085ffffffffff00"] {
        assert_eq!(decoded(&mut Decoder::new(), &bytes(hex)), Err(Bad), "{hex}");
    }
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(
        blocks in vec(vec(("[a-e:]{0,3}|:path|:status|accept", "[ -~]{0,5}"), 0..8), 0..20), coded: bool,
    ) {
        let mut encoder = Encoder { coded, ..Encoder::default() };
        let mut decoder = Decoder::new();
        for block in blocks {
            let fields: Vec<(&str, &str)> = block.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let wire = encoder.block(&fields);
            let expected: Vec<String> = fields.iter().map(|(name, value)| format!("{name}: {value}")).collect();
            prop_assert_eq!(decoded(&mut decoder, &wire).unwrap(), expected);
        }
    }

    #[test]
    fn a_decoder_that_joins_is_never_wrong(
        blocks in vec(vec(("[a-e]{1,2}|:path", "[a-e]{0,2}"), 0..6), 1..20), from in any::<proptest::sample::Index>(),
    ) {
        let (mut encoder, mut decoder) = (Encoder::default(), Decoder::new());
        decoder.forget();
        let from = from.index(blocks.len());
        for (at, block) in blocks.iter().enumerate() {
            let fields: Vec<(&str, &str)> = block.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let wire = encoder.block(&fields);
            if at < from {
                continue;
            }
            let got = decoded(&mut decoder, &wire).unwrap();
            prop_assert_eq!(got.len(), fields.len());
            for (got, (name, value)) in got.iter().zip(&fields) {
                prop_assert!(got == "?" || *got == format!("?: {value}") || *got == format!("{name}: {value}"), "{}", got);
            }
        }
    }

    #[test]
    fn no_block_panics_or_grows(blocks in vec(vec(any::<u8>(), 0..60), 0..20)) {
        let mut decoder = Decoder::new();
        for block in blocks {
            let _ = decoded(&mut decoder, &block);
            prop_assert!(decoder.entries_size() <= 64 * 1024);
        }
    }
}
