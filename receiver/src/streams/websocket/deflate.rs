//! `permessage-deflate` (RFC 7692): what the upgrade's answer agreed on, and inflating one direction. Streaming; bounded
//! in expansion.

use flate2::{Decompress, FlushDecompress, Status};
use pipeline::observation::Headers;

/// Output that any message may give…
const ALLOWANCE: u64 = 16 << 20;

/// …plus so many bytes for each byte of input, as for content codings.
const EXPANSION: u64 = 256;

/// Size of the buffer that is inflated into.
const BUFFER: usize = 4 * 1024;

/// What an inflating direction is taken to hold: window and tables.
const SIZE: u64 = 48 * 1024;

/// What the sender of a compressed message leaves out at its end (RFC 7692, section 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// The bytes cannot be inflated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Undecodable;

/// What was agreed on. Window sizes do not matter to one who reads: the largest can read all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Agreed {
    /// Each message of the server's begins with an empty window.
    pub(super) server_no_takeover: bool,
    /// Each message of the client's does.
    pub(super) client_no_takeover: bool,
}

/// What the answer to an upgrade accepts; nothing without `permessage-deflate`.
pub(super) fn agreed(answer: &Headers) -> Option<Agreed> {
    let fields = answer.0.iter().filter(|(name, _)| name == "sec-websocket-extensions");
    let mut extensions = fields.flat_map(|(_, value)| value.split(',')).map(|extension| extension.split(';'));
    let parameters = extensions
        .find_map(|mut parts| parts.next()?.trim().eq_ignore_ascii_case("permessage-deflate").then_some(parts))?;
    let mut agreed = Agreed::default();
    for parameter in parameters {
        let name = parameter.split('=').next().unwrap_or_default().trim();
        agreed.server_no_takeover |= name.eq_ignore_ascii_case("server_no_context_takeover");
        agreed.client_no_takeover |= name.eq_ignore_ascii_case("client_no_context_takeover");
    }
    Some(agreed)
}

/// The compressed messages of one direction.
pub(super) struct Inflate {
    /// None before the first message.
    inflate: Option<Box<Decompress>>,
    /// A message may refer to the ones before it.
    takeover: bool,
    /// What a later message may refer to is not known.
    dead: bool,
    /// The final block of the present message came (RFC 7692, section 7.2.3.4).
    ended: bool,
    taken: u64,
    given: u64,
}

impl std::fmt::Debug for Inflate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inflate").field("takeover", &self.takeover).field("dead", &self.dead).finish_non_exhaustive()
    }
}

impl Inflate {
    /// Before the first message.
    pub(super) fn new(takeover: bool) -> Self {
        Self { inflate: None, takeover, dead: false, ended: false, taken: 0, given: 0 }
    }

    /// True if no compressed message can be read any more.
    pub(super) fn dead(&self) -> bool {
        self.dead
    }

    /// Bytes that it is taken to hold.
    pub(super) fn size(&self) -> u64 {
        if self.inflate.is_some() { SIZE } else { 0 }
    }

    /// Inflates a piece of a message; what came out of it is handed to `sink`.
    pub(super) fn feed(&mut self, bytes: &[u8], sink: &mut dyn FnMut(&[u8])) -> Result<(), Undecodable> {
        if self.dead {
            return Err(Undecodable);
        }
        let result = self.run(bytes, sink);
        if result.is_err() {
            self.lose();
        }
        result
    }

    /// Ends a message.
    pub(super) fn finish(&mut self, sink: &mut dyn FnMut(&[u8])) -> Result<(), Undecodable> {
        self.feed(&TAIL, sink)?;
        (self.taken, self.given) = (0, 0);
        if self.ended {
            // The window before a final block is not kept here; almost nobody sends one.
            self.lose();
        } else if !self.takeover
            && let Some(inflate) = &mut self.inflate
        {
            inflate.reset(false);
        }
        Ok(())
    }

    /// A part of a message is missing, or the message was not compressed as it should be.
    pub(super) fn lose(&mut self) {
        self.inflate = None;
        self.ended = false;
        (self.taken, self.given) = (0, 0);
        self.dead |= self.takeover;
    }

    fn run(&mut self, mut input: &[u8], sink: &mut dyn FnMut(&[u8])) -> Result<(), Undecodable> {
        let inflate = self.inflate.get_or_insert_with(|| Box::new(Decompress::new(false)));
        self.taken = self.taken.saturating_add(input.len() as u64);
        let limit = self.taken.saturating_mul(EXPANSION).saturating_add(ALLOWANCE);
        let mut buffer = [0; BUFFER];
        while !self.ended {
            let before = (inflate.total_in(), inflate.total_out());
            let status = inflate.decompress(input, &mut buffer, FlushDecompress::None).map_err(|_| Undecodable)?;
            let taken = usize::try_from(inflate.total_in() - before.0).map_err(|_| Undecodable)?;
            let written = usize::try_from(inflate.total_out() - before.1).map_err(|_| Undecodable)?;
            input = input.get(taken..).unwrap_or_default();
            self.given = self.given.saturating_add(written as u64);
            if self.given > limit {
                return Err(Undecodable);
            }
            if written > 0 {
                sink(buffer.get(..written).unwrap_or_default());
            }
            self.ended = status == Status::StreamEnd;
            if written == buffer.len() {
                // There may be more behind a full buffer.
                continue;
            }
            if input.is_empty() {
                break;
            }
            if taken == 0 && written == 0 {
                return Err(Undecodable);
            }
        }
        Ok(())
    }
}
