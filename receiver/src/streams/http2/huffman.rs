//! The Huffman code of header strings (RFC 7541, section 5.2 and Appendix B). It is canonical: the lengths are all of it.

/// Lengths of the codes of all bytes, then of the end of the string.
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28,
    28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12,
    10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6,
    5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22,
    22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20,
    22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28,
    27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28,
    27, 27, 27, 27, 27, 26, 30,
];

/// Longest code.
const LONGEST: usize = 30;

/// The symbol that ends a string; it is never sent whole.
const END: u16 = 256;

/// Bits of the look-up of short codes.
const SHORT: usize = 9;

/// The code, ready for decoding.
struct Code {
    /// Symbols by length, then by value.
    symbols: [u16; 257],
    /// For each length: where its symbols begin, its first code, and one past its last code, at the left of 32 bits.
    lengths: [(u16, u32, u64); LONGEST + 1],
    /// By the first [`SHORT`] bits: symbol and length; length 0 if the code is longer.
    short: [(u16, u8); 1 << SHORT],
}

#[allow(clippy::indexing_slicing, reason = "computed by the compiler")]
const fn code() -> Code {
    let mut made = Code { symbols: [0; 257], lengths: [(0, 0, 0); LONGEST + 1], short: [(0, 0); 1 << SHORT] };
    let (mut length, mut next, mut place) = (1, 0u32, 0);
    while length <= LONGEST {
        let (start, first) = (place, next);
        let mut symbol = 0;
        while symbol < LENGTHS.len() {
            if LENGTHS[symbol] as usize == length {
                made.symbols[place] = symbol as u16;
                if length <= SHORT {
                    let mut at = (next as usize) << (SHORT - length);
                    while at < (next as usize + 1) << (SHORT - length) {
                        made.short[at] = (symbol as u16, length as u8);
                        at += 1;
                    }
                }
                place += 1;
                next += 1;
            }
            symbol += 1;
        }
        made.lengths[length] = (start as u16, first, (next as u64) << (32 - length));
        next <<= 1;
        length += 1;
    }
    made
}

static CODE: Code = code();

/// The string is not in the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bad;

/// Appends the decoded string.
pub(super) fn decode(coded: &[u8], out: &mut Vec<u8>) -> Result<(), Bad> {
    let mut bytes = coded.iter();
    // The next bits, at the left; `have` of them count.
    let (mut bits, mut have) = (0u64, 0usize);
    loop {
        while have <= 56 {
            let Some(byte) = bytes.next() else { break };
            bits |= u64::from(*byte) << (56 - have);
            have += 8;
        }
        if have == 0 {
            return Ok(());
        }
        // What is beyond the end is taken for ones, as padding is.
        let filled = if have < 64 { bits | (u64::MAX >> have) } else { bits };
        let window = (filled >> 32) as u32;
        let (symbol, length) = symbol(window).ok_or(Bad)?;
        if length > have || symbol == END {
            // Padding is the beginning of the end's code, and less than a byte.
            return if have < 8 && filled == u64::MAX { Ok(()) } else { Err(Bad) };
        }
        out.push(u8::try_from(symbol).map_err(|_| Bad)?);
        bits <<= length;
        have -= length;
    }
}

/// The first symbol of these bits, and its length.
fn symbol(window: u32) -> Option<(u16, usize)> {
    let (symbol, length) = CODE.short.get((window >> (32 - SHORT)) as usize).copied()?;
    if length > 0 {
        return Some((symbol, usize::from(length)));
    }
    let longer = CODE.lengths.iter().enumerate().skip(SHORT + 1);
    for (length, (start, first, end)) in longer {
        if u64::from(window) < *end {
            let place = (window >> (32 - length)).checked_sub(*first)?;
            let symbol = CODE.symbols.get(usize::from(*start) + place as usize).copied()?;
            return Some((symbol, length));
        }
    }
    None
}

/// The code of `*`, which is one byte long: so many of them are as good as so many bytes of any coded string.
pub(crate) const STAR: u8 = 0xf9;

/// Bits of filler that symbols of one byte or less can give.
fn fills(bits: usize) -> bool {
    bits == 0 || (5..=8).contains(&bits) || bits >= 10
}

/// Writes a coded string anew in its own length: symbols, and whether each is to be overwritten.
pub(crate) fn overwrite(coded: &mut [u8], symbols: impl Iterator<Item = (u8, bool)>) {
    const FILLERS: [(u32, usize); 4] = [(0xf9, 8), (0x5d, 7), (0x19, 6), (0, 5)];
    let (mut out, mut bits, mut have) = (Vec::with_capacity(coded.len()), 0u64, 0);
    let mut put = |code: u32, length: usize| {
        bits = bits << length | u64::from(code);
        have += length;
        while have >= 8 {
            have -= 8;
            out.push((bits >> have) as u8);
        }
    };
    let mut gone = 0;
    for symbol in symbols.map(Some).chain([None]) {
        if let Some((symbol, true)) = symbol {
            gone += LENGTHS.get(usize::from(symbol)).map_or(0, |length| usize::from(*length));
            continue;
        }
        while gone > 0 {
            let Some((code, length)) =
                FILLERS.iter().copied().find(|(_, length)| gone.checked_sub(*length).is_some_and(fills))
            else {
                return coded.fill(STAR);
            };
            put(code, length);
            gone -= length;
        }
        if let Some((symbol, _)) = symbol {
            let Some((code, length)) = code_of(symbol) else { return coded.fill(STAR) };
            put(code, length);
        }
    }
    put(0x7f, 7);
    out.truncate(coded.len());
    if out.len() == coded.len() { coded.copy_from_slice(&out) } else { coded.fill(STAR) }
}

/// The code of a byte, and its length.
fn code_of(symbol: u8) -> Option<(u32, usize)> {
    let length = usize::from(*LENGTHS.get(usize::from(symbol))?);
    let (start, first, _) = CODE.lengths.get(length).copied()?;
    let place = CODE.symbols.iter().skip(usize::from(start)).position(|at| *at == u16::from(symbol))?;
    Some((first + u32::try_from(place).ok()?, length))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Encodes, from the same lengths in another way: codes are counted up.
    pub(in crate::streams::http2) fn encode(text: &[u8]) -> Vec<u8> {
        let mut order: Vec<usize> = (0..257).collect();
        order.sort_by_key(|symbol| (LENGTHS[*symbol], *symbol));
        let (mut codes, mut code, mut length) = ([0u64; 257], 0u64, 0);
        for symbol in order {
            code <<= LENGTHS[symbol] - length;
            length = LENGTHS[symbol];
            codes[symbol] = code;
            code += 1;
        }
        let bits: Vec<bool> = text
            .iter()
            .flat_map(|byte| {
                let (code, length) = (codes[usize::from(*byte)], LENGTHS[usize::from(*byte)]);
                (0..length).rev().map(move |at| code >> at & 1 == 1)
            })
            .collect();
        bits.chunks(8)
            .map(|bits| (0..8).fold(0, |byte, at| byte << 1 | u8::from(bits.get(at).copied().unwrap_or(true))))
            .collect()
    }

    #[test]
    fn fillers_are_what_they_should_be() {
        let codes: Vec<_> = [b'*', b'B', b'3', b'0'].into_iter().map(|symbol| code_of(symbol).unwrap()).collect();
        assert_eq!(codes, [(u32::from(STAR), 8), (0x5d, 7), (0x19, 6), (0, 5)]);
    }

    #[test]
    fn strings_that_are_not_in_the_code_are_refused() {
        let decoded = |coded: &[u8]| {
            let mut out = Vec::new();
            decode(coded, &mut out).map(|()| out)
        };
        assert_eq!(decoded(b""), Ok(vec![]));
        assert_eq!(decoded(&[0x1f]), Ok(b"a".to_vec()));
        // A whole byte of padding, padding of zeros, the end itself.
        assert_eq!(decoded(&[0x1f, 0xff]), Err(Bad));
        assert_eq!(decoded(&[0x18]), Err(Bad));
        assert_eq!(decoded(&[0xff, 0xff, 0xff, 0xfc]), Err(Bad));
        assert_eq!(decoded(&[0xff; 5]), Err(Bad));
    }

    proptest! {
        #[test]
        fn what_is_overwritten_keeps_its_length(text in "[ -~]{0,40}", from in 0usize..40, to in 0usize..40) {
            let before = encode(text.as_bytes());
            let mut coded = before.clone();
            let gone = |at: usize| (from..to).contains(&at);
            overwrite(&mut coded, text.bytes().enumerate().map(|(at, byte)| (byte, gone(at))));
            let mut out = Vec::new();
            prop_assert_eq!(decode(&coded, &mut out), Ok(()));
            let kept: Vec<u8> = text.bytes().enumerate().filter(|(at, _)| !gone(*at)).map(|(_, byte)| byte).collect();
            let (head, tail) = kept.split_at(from.min(kept.len()));
            prop_assert!(out.starts_with(head) && out.ends_with(tail));
            let fill = out.get(head.len()..out.len() - tail.len()).unwrap();
            prop_assert!(fill.iter().all(|byte| b"*B30".contains(byte)));
            prop_assert!(from < to || coded == before);
        }

        #[test]
        fn what_is_encoded_is_decoded(text: Vec<u8>) {
            let mut out = Vec::new();
            prop_assert_eq!(decode(&encode(&text), &mut out), Ok(()));
            prop_assert_eq!(out, text);
        }

        #[test]
        fn no_bytes_panic(coded: Vec<u8>) {
            let mut out = Vec::new();
            let _ = decode(&coded, &mut out);
            prop_assert!(out.len() <= coded.len() * 8 / 5);
        }
    }
}
