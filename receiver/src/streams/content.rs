//! Content and transfer codings: gzip, deflate, br, zstd, and stacks of them. Streaming: what can be decoded of the bytes
//! so far is given out at once. Bounded: a body that expands out of all proportion is refused.

use brotli::{BrotliDecompressStream, BrotliResult, BrotliState, enc::StandardAlloc};
use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{DParameter, Decoder as Zstd, InBuffer, Operation, OutBuffer};

/// More codings on top of each other are refused.
const MOST: usize = 4;

/// Output that any input may give…
const ALLOWANCE: u64 = 16 << 20;

/// …plus so many bytes for each byte of input. Text compresses to 1/10, an event stream with repetitions to 1/100.
const EXPANSION: u64 = 256;

/// Largest window of zstd on the web (RFC 9659): 8 MiB.
const ZSTD_WINDOW_LOG: u32 = 23;

/// Size of the buffer of a stage.
const BUFFER: usize = 16 * 1024;

/// What a stage is taken to hold, in bytes.
const STAGE_SIZE: u64 = 64 * 1024;

/// The bytes are not in the coding that the header names, or it is one that is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Undecodable;

/// Where in a gzip file (RFC 1952, section 2.3).
#[derive(Clone, Copy, Debug)]
enum Gzip {
    /// In the fixed part of a member's header: bytes seen, flags.
    Fixed(u8, u8),
    /// In the length of the extra field: bytes seen, value.
    ExtraLength(u8, u8, u16),
    /// In the extra field: bytes left.
    Extra(u8, u16),
    /// In the zero-terminated name or comment.
    Text(u8),
    /// In the header's checksum: bytes left.
    Checksum(u8),
    /// In the deflated data.
    Data,
    /// In the trailer: bytes left.
    Trailer(u8),
    /// After a member.
    Between,
    /// In what is no member, after one.
    Garbage,
}

const FHCRC: u8 = 2;
const FEXTRA: u8 = 4;
const FNAME: u8 = 8;
const FCOMMENT: u8 = 16;

impl Gzip {
    /// What follows in a header of which the fields before these flags are done.
    fn field(flags: u8) -> Self {
        if flags & FEXTRA != 0 {
            Gzip::ExtraLength(0, flags & !FEXTRA, 0)
        } else if flags & (FNAME | FCOMMENT) != 0 {
            Gzip::Text(if flags & FNAME != 0 { flags & !FNAME } else { flags & !FCOMMENT })
        } else if flags & FHCRC != 0 {
            Gzip::Checksum(2)
        } else {
            Gzip::Data
        }
    }

    /// Moves on by a byte outside of the data.
    fn step(self, byte: u8) -> Result<Self, Undecodable> {
        Ok(match self {
            Gzip::Fixed(at, flags) => match (at, byte) {
                (0, 0x1f) | (1, 0x8b) | (2, 8) | (4..9, _) => Gzip::Fixed(at + 1, flags),
                (3, _) if byte & 0xe0 == 0 => Gzip::Fixed(4, byte),
                (9, _) => Gzip::field(flags),
                _ => return Err(Undecodable),
            },
            Gzip::ExtraLength(0, flags, _) => Gzip::ExtraLength(1, flags, u16::from(byte)),
            Gzip::ExtraLength(_, flags, low) => match u16::from(byte) << 8 | low {
                0 => Gzip::field(flags),
                length => Gzip::Extra(flags, length),
            },
            Gzip::Extra(flags, 1) => Gzip::field(flags),
            Gzip::Extra(flags, left) => Gzip::Extra(flags, left.saturating_sub(1)),
            Gzip::Text(flags) if byte == 0 => Gzip::field(flags),
            Gzip::Checksum(1) => Gzip::Data,
            Gzip::Checksum(left) => Gzip::Checksum(left.saturating_sub(1)),
            Gzip::Trailer(1) => Gzip::Between,
            Gzip::Trailer(left) => Gzip::Trailer(left.saturating_sub(1)),
            Gzip::Between if byte == 0x1f => Gzip::Fixed(1, 0),
            // Padding with zeros is usual; anything else is passed over, as gzip itself does.
            Gzip::Between if byte == 0 => Gzip::Between,
            Gzip::Between => Gzip::Garbage,
            Gzip::Text(_) | Gzip::Data | Gzip::Garbage => self,
        })
    }
}

/// A coding being taken off.
enum Stage {
    Gzip(Gzip, Box<Decompress>),
    /// Not known yet whether zlib (RFC 1950) or, as some servers send, raw (RFC 1951): the first byte.
    Deflate(Option<u8>),
    /// Known; true at its end.
    Inflate(Box<Decompress>, bool),
    Brotli(Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>, bool),
    /// True at the end of a frame.
    Zstd(Zstd<'static>, bool),
}

impl Stage {
    fn new(coding: &str) -> Result<Self, Undecodable> {
        Ok(match coding {
            "gzip" | "x-gzip" => Stage::Gzip(Gzip::Fixed(0, 0), Box::new(Decompress::new(false))),
            "deflate" => Stage::Deflate(None),
            "br" => {
                let alloc = StandardAlloc::default;
                // Strict: no large windows.
                Stage::Brotli(Box::new(BrotliState::new_strict(alloc(), alloc(), alloc())), false)
            }
            "zstd" => {
                let mut decoder = Zstd::new().map_err(|_| Undecodable)?;
                decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG)).map_err(|_| Undecodable)?;
                Stage::Zstd(decoder, false)
            }
            _ => return Err(Undecodable),
        })
    }

    /// Decodes some of the input into the buffer. Gives bytes taken and bytes written; both 0 if more input is needed.
    fn run(&mut self, input: &[u8], out: &mut [u8]) -> Result<(usize, usize), Undecodable> {
        match self {
            Stage::Gzip(state, inflate) => {
                let mut taken = 0;
                while !matches!(state, Gzip::Data) {
                    let Some(byte) = input.get(taken) else { return Ok((taken, 0)) };
                    if matches!(state, Gzip::Garbage) {
                        return Ok((input.len(), 0));
                    }
                    *state = state.step(*byte)?;
                    taken += 1;
                }
                let rest = input.get(taken..).unwrap_or_default();
                let (more, written, ended) = inflate_some(inflate, rest, out)?;
                if ended {
                    inflate.reset(false);
                    *state = Gzip::Trailer(8);
                }
                Ok((taken + more, written))
            }
            Stage::Deflate(first) => {
                let Some(byte) = input.first().copied() else { return Ok((0, 0)) };
                let Some(before) = *first else {
                    *first = Some(byte);
                    return Ok((1, 0));
                };
                // RFC 1950, section 2.2: method 8, and the two bytes are a multiple of 31.
                let zlib = before & 0x0f == 8 && (u16::from(before) << 8 | u16::from(byte)) % 31 == 0;
                let mut inflate = Box::new(Decompress::new(zlib));
                // One byte is too short for a symbol: it gives no output.
                inflate_some(&mut inflate, &[before], out)?;
                *self = Stage::Inflate(inflate, false);
                self.run(input, out)
            }
            Stage::Inflate(_, true) => Ok((input.len(), 0)),
            Stage::Inflate(inflate, ended) => {
                let (taken, written, end) = inflate_some(inflate, input, out)?;
                *ended = end;
                Ok((taken, written))
            }
            Stage::Brotli(_, true) => Ok((input.len(), 0)),
            Stage::Brotli(state, ended) => {
                let (mut left, mut taken, mut room, mut written, mut total) = (input.len(), 0, out.len(), 0, 0);
                match BrotliDecompressStream(
                    &mut left,
                    &mut taken,
                    input,
                    &mut room,
                    &mut written,
                    out,
                    &mut total,
                    state,
                ) {
                    BrotliResult::ResultFailure => return Err(Undecodable),
                    BrotliResult::ResultSuccess => *ended = true,
                    BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => {}
                }
                Ok((taken, written))
            }
            Stage::Zstd(decoder, ended) => {
                let mut source = InBuffer::around(input);
                let mut target = OutBuffer::around(out);
                let hint = decoder.run(&mut source, &mut target).map_err(|_| Undecodable)?;
                let (taken, written) = (source.pos(), target.pos());
                if taken > 0 || written > 0 {
                    *ended = hint == 0;
                }
                Ok((taken, written))
            }
        }
    }

    /// True if the input so far is a whole.
    fn ended(&self) -> bool {
        match self {
            Stage::Gzip(state, _) => matches!(state, Gzip::Between | Gzip::Garbage),
            Stage::Deflate(_) => false,
            Stage::Inflate(_, ended) | Stage::Brotli(_, ended) | Stage::Zstd(_, ended) => *ended,
        }
    }
}

/// Bytes taken, bytes written, whether the data ended.
fn inflate_some(inflate: &mut Decompress, input: &[u8], out: &mut [u8]) -> Result<(usize, usize, bool), Undecodable> {
    let (before_in, before_out) = (inflate.total_in(), inflate.total_out());
    let status = inflate.decompress(input, out, FlushDecompress::None).map_err(|_| Undecodable)?;
    let taken = usize::try_from(inflate.total_in() - before_in).map_err(|_| Undecodable)?;
    let written = usize::try_from(inflate.total_out() - before_out).map_err(|_| Undecodable)?;
    Ok((taken, written, status == Status::StreamEnd))
}

/// Takes the codings off a body.
pub(super) struct Decoder {
    /// The outermost coding first.
    stages: Vec<(Stage, Vec<u8>)>,
    taken: u64,
    given: u64,
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder").field("stages", &self.stages.len()).finish_non_exhaustive()
    }
}

impl Decoder {
    /// For codings in the order in which they were applied (as the header fields list them), in lower case. `None` for
    /// none.
    pub(super) fn new<'a>(codings: impl DoubleEndedIterator<Item = &'a str>) -> Result<Option<Self>, Undecodable> {
        let mut stages = Vec::new();
        for coding in codings.rev().filter(|coding| !matches!(*coding, "" | "identity")) {
            if stages.len() == MOST {
                return Err(Undecodable);
            }
            stages.push((Stage::new(coding)?, vec![0; BUFFER]));
        }
        Ok(if stages.is_empty() { None } else { Some(Self { stages, taken: 0, given: 0 }) })
    }

    /// Bytes that it is taken to hold.
    pub(super) fn size(&self) -> u64 {
        self.stages.len() as u64 * STAGE_SIZE
    }

    /// Decodes a piece; what came out of it is handed to `sink`.
    pub(super) fn feed(&mut self, bytes: &[u8], sink: &mut dyn FnMut(&[u8])) -> Result<(), Undecodable> {
        self.taken = self.taken.saturating_add(bytes.len() as u64);
        let limit = self.taken.saturating_mul(EXPANSION).saturating_add(ALLOWANCE);
        run(&mut self.stages, bytes, &mut self.given, limit, sink)
    }

    /// True if all codings came to their end, or nothing came at all.
    pub(super) fn ended(&self) -> bool {
        self.taken == 0 || self.stages.iter().all(|(stage, _)| stage.ended())
    }
}

fn run(
    stages: &mut [(Stage, Vec<u8>)],
    mut input: &[u8],
    given: &mut u64,
    limit: u64,
    sink: &mut dyn FnMut(&[u8]),
) -> Result<(), Undecodable> {
    let Some(((stage, buffer), inner)) = stages.split_first_mut() else {
        sink(input);
        return Ok(());
    };
    loop {
        let (taken, written) = stage.run(input, buffer)?;
        input = input.get(taken..).unwrap_or_default();
        *given = given.saturating_add(written as u64);
        if *given > limit {
            return Err(Undecodable);
        }
        if written > 0 {
            run(inner, buffer.get(..written).unwrap_or_default(), given, limit, sink)?;
        }
        if written == buffer.len() {
            // There may be more behind a full buffer.
            continue;
        }
        if input.is_empty() {
            return Ok(());
        }
        if taken == 0 && written == 0 {
            return Err(Undecodable);
        }
    }
}
