//! Whether what passes through a function looks like what agents say to models.

/// Calls through a function that was found by its structure, after which it must have shown that it is right.
pub const CALLS: u64 = 4096;

/// Bytes of text that are enough.
const TEXT: usize = 16;

/// True if this beginning of a call's plaintext can be of HTTP/1, HTTP/2 or WebSocket, or of the text within them.
/// `total`: bytes of the whole call.
pub fn looks_right(bytes: &[u8], total: u64) -> bool {
    let text = bytes.get(..TEXT).is_some_and(|bytes| bytes.iter().all(is_text));
    text || http1(bytes) || http2(bytes) || websocket(bytes, total)
}

fn is_text(byte: &u8) -> bool {
    matches!(byte, b' '..=b'~' | b'\t' | b'\r' | b'\n')
}

/// A short request or status line, or a chunk's size line (RFC 9112).
fn http1(bytes: &[u8]) -> bool {
    const BEGINNINGS: [&[u8]; 10] = [
        b"GET ",
        b"POST ",
        b"PUT ",
        b"HEAD ",
        b"DELETE ",
        b"PATCH ",
        b"OPTIONS ",
        b"HTTP/1.",
        b"PRI * HTTP/2",
        b"CONNECT ",
    ];
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let size = (1..=8).contains(&digits) && bytes.get(digits..).is_some_and(|rest| rest.starts_with(b"\r\n"));
    size || BEGINNINGS.iter().any(|beginning| bytes.starts_with(beginning))
}

/// A frame's header (RFC 9113 4.1): one of the ten types, a length that the default allows or a little more, and the
/// reserved bit of the stream clear.
fn http2(bytes: &[u8]) -> bool {
    let Some([high, middle, low, kind, _, stream, ..]) = bytes.first_chunk::<9>() else { return false };
    let length = u32::from_be_bytes([0, *high, *middle, *low]);
    let fits = match kind {
        // RST_STREAM and WINDOW_UPDATE; PING; PRIORITY.
        3 | 8 => length == 4,
        6 => length == 8,
        2 => length == 5,
        // SETTINGS
        4 => length.is_multiple_of(6) && length < 1024,
        0 | 1 | 5 | 7 | 9 => length <= 1 << 17,
        _ => false,
    };
    fits && stream & 0x80 == 0
}

/// A frame (RFC 6455 5.2) that is as long as the call.
fn websocket(bytes: &[u8], total: u64) -> bool {
    let Some([first, second]) = bytes.first_chunk::<2>() else { return false };
    if first & 0x30 != 0 || !matches!(first & 15, 0 | 1 | 2 | 8 | 9 | 10) {
        return false;
    }
    let mask = if second & 0x80 != 0 { 4 } else { 0 };
    let length = match second & 0x7f {
        126 => bytes.get(2..4).map(|field| 4 + field.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))),
        127 => {
            bytes.get(2..10).map(|field| field.iter().fold(10, |sum: u64, byte| sum.wrapping_shl(8) | u64::from(*byte)))
        }
        short => Some(2 + u64::from(short)),
    };
    length.is_some_and(|length| length.saturating_add(mask) == total)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn protocols_look_right_and_noise_does_not() {
        for right in [
            &b"POST /v1/responses HTTP/1.1\r\n"[..],
            b"HTTP/1.1 200 OK\r\n",
            b"1f4\r\n{\"id\"",
            b"data: {\"choices\": []}",
            b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03",
            b"\x81\x05hello",
        ] {
            assert!(looks_right(right, right.len() as u64), "{right:?}");
        }
        for wrong in
            [&b""[..], b"\0", &[0x17, 3, 3, 0, 9, 1, 2, 3, 4], &[0xff; 64], &[0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0, 0]]
        {
            assert!(!looks_right(wrong, 1000), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64), total in any::<u64>()) {
            let _ = looks_right(&bytes, total);
        }
    }
}
