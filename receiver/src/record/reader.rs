//! Reads a recording frame by frame.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::Path,
};

use super::{Frame, Header, MAGIC, VERSION, codec};
use crate::Error;

/// Longest frame that is believed: the kernel's chunks are far smaller, and so is every list of facts.
const LONGEST: u32 = 64 << 20;

/// An open recording.
pub struct Reader<R = BufReader<File>> {
    input: R,
    /// Its header.
    pub header: Header,
    frames: u64,
}

impl Reader {
    /// Opens a file and reads its header.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let file = File::open(path)
            .map_err(|error| Error::Recording(format!("cannot read the recording {}: {error}", path.display())))?;
        Reader::new(BufReader::with_capacity(1 << 20, file))
    }
}

impl<R: Read> Reader<R> {
    /// Reads magic, version and header.
    pub fn new(mut input: R) -> Result<Self, Error> {
        let mut start = [0; MAGIC.len() + 2];
        let begun = input.read_exact(&mut start).is_ok() && start.starts_with(MAGIC);
        let [.., low, high] = start;
        if !begun {
            return Err(Error::Recording("not a recording: make one with `onlooker run --record FILE -- CMD`".into()));
        }
        let version = u16::from_le_bytes([low, high]);
        if version != VERSION {
            return Err(Error::Recording(format!(
                "the recording has format version {version}, this program reads version {VERSION}: \
                 use the version of onlooker that wrote it"
            )));
        }
        let mut reader = Self { input, header: Header::default(), frames: 0 };
        match reader.next()? {
            Some(Frame::Header(header)) => reader.header = *header,
            _ => return Err(Error::Recording("the recording has no header: it was cut off or damaged".into())),
        }
        Ok(reader)
    }

    /// The next frame; `None` at a clean end. After an error nothing more can be read.
    #[allow(clippy::should_implement_trait, reason = "an error ends it, which an iterator would not say")]
    pub fn next(&mut self) -> Result<Option<Frame>, Error> {
        loop {
            let mut length = [0; 4];
            match fill(&mut self.input, &mut length)? {
                0 => return Ok(None),
                4 => {}
                _ => return Err(self.broken("ends within an entry: it was cut off")),
            }
            let length = u32::from_le_bytes(length);
            if length > LONGEST {
                return Err(self.broken("is damaged: an entry has an impossible length"));
            }
            // Grows with what is really there: a damaged length must not reserve memory.
            let mut content = Vec::with_capacity(length.min(1 << 16) as usize);
            let got = self.input.by_ref().take(length.into()).read_to_end(&mut content)?;
            if got < length as usize {
                return Err(self.broken("ends within an entry: it was cut off"));
            }
            self.frames += 1;
            match codec::decode(content.into()) {
                Ok(Some(frame)) => return Ok(Some(frame)),
                Ok(None) => {}
                Err(problem) => return Err(self.broken(&format!("is damaged: {problem}"))),
            }
        }
    }

    fn broken(&self, what: &str) -> Error {
        Error::Recording(format!("the recording {what}; the {} entries before that were used", self.frames))
    }
}

/// Fills as much of `buffer` as there is.
fn fill(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match input.read(rest) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}
