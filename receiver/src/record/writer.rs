//! Writes a recording on a thread of its own.

use std::{
    fs::{File, OpenOptions, Permissions},
    io::{BufWriter, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::mpsc::{SyncSender, sync_channel},
    thread::JoinHandle,
};

use super::{Frame, Header, MAGIC, VERSION, codec, mask::Masker};
use crate::{Error, event::EventKind};

/// Batches that may wait for the disk. Then the sender waits too: a recording has no holes of its own.
const WAITING: usize = 64;

/// A recording that is being written.
pub struct Recorder {
    sender: Option<SyncSender<Vec<Frame>>>,
    thread: Option<JoinHandle<Result<(), std::io::Error>>>,
    path: PathBuf,
}

impl Recorder {
    /// Creates the file (readable by its owner only) and writes the header.
    pub fn create(path: &Path, header: &Header) -> Result<Self, Error> {
        let failed = |error: std::io::Error| Error::Recording(format!("cannot write {}: {error}", path.display()));
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path).map_err(failed)?;
        // It may have existed with wider rights. A pipe or a device keeps its own.
        if file.metadata().map_err(failed)?.is_file() {
            file.set_permissions(Permissions::from_mode(0o600)).map_err(failed)?;
        }
        let mut output = BufWriter::with_capacity(1 << 20, file);
        let mut start = MAGIC.to_vec();
        start.extend(VERSION.to_le_bytes());
        codec::encode(&Frame::Header(Box::new(header.clone())), &mut start);
        output.write_all(&start).map_err(failed)?;
        let (sender, receiver) = sync_channel::<Vec<Frame>>(WAITING);
        let thread = std::thread::Builder::new().name("onlooker-record".into()).spawn(move || {
            let mut masker = Masker::default();
            let mut bytes = Vec::new();
            for frames in receiver {
                write(&frames, &mut masker, &mut bytes, &mut output)?;
            }
            output.flush()
        })?;
        Ok(Self { sender: Some(sender), thread: Some(thread), path: path.to_owned() })
    }

    /// Takes frames. After a failed write they are dropped; [`Recorder::finish`] tells the failure.
    pub fn write(&mut self, frames: Vec<Frame>) {
        if let Some(sender) = &self.sender
            && sender.send(frames).is_err()
        {
            tracing::warn!(file = %self.path.display(), "The recording stopped: it cannot be written.");
            self.sender = None;
        }
    }

    /// Waits until everything is in the file.
    pub fn finish(mut self) -> Result<(), Error> {
        self.sender = None;
        let Some(thread) = self.thread.take() else { return Ok(()) };
        let outcome = thread.join().unwrap_or_else(|_| Err(std::io::Error::other("its thread failed")));
        outcome.map_err(|error| Error::Recording(format!("cannot write {}: {error}", self.path.display())))
    }
}

fn write(
    frames: &[Frame],
    masker: &mut Masker,
    bytes: &mut Vec<u8>,
    output: &mut BufWriter<File>,
) -> std::io::Result<()> {
    for frame in frames {
        bytes.clear();
        match frame {
            Frame::Event(event) => {
                let mut event = event.clone();
                match &mut event.kind {
                    EventKind::Data(chunk) => chunk.bytes = masker.mask(event.process, chunk).into(),
                    EventKind::Close { object } | EventKind::SocketClose { socket: object, .. } => {
                        masker.close(event.process, *object);
                    }
                    EventKind::Exit { .. } => masker.exit(event.process),
                    _ => {}
                }
                codec::encode(&Frame::Event(event), bytes);
            }
            other => codec::encode(other, bytes),
        }
        output.write_all(bytes)?;
    }
    Ok(())
}
