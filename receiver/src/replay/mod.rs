//! `replay`: the observations of a recorded run, without a kernel.

pub mod config;
#[cfg(test)]
mod tests;

use std::{path::PathBuf, sync::Arc};

use pipeline::{Batch, BuildContext, ComponentError, Factory, Mode, Output, Receiver, Signal, component::BoxFuture};
use tokio::sync::watch;

use self::config::Config;
use crate::{Error, assemble::Assembler, record::Reader};

/// The factory of `replay`.
pub fn factory() -> Factory<dyn Receiver> {
    Factory::new(
        "replay",
        "Gives the observations of a recorded run",
        &[Signal::Traces, Signal::Logs, Signal::Metrics],
        |config: Config, context: &BuildContext| -> Result<Box<dyn Receiver>, ComponentError> {
            let file = match &context.mode {
                Mode::Replay { file } => Some(file.clone()),
                _ => config.file,
            };
            let file = file.ok_or_else(|| ComponentError::new("file is missing: name a recording"))?;
            Ok(Box::new(Replay::new(file)))
        },
    )
}

/// The receiver.
pub struct Replay {
    file: PathBuf,
    thread: Option<std::thread::JoinHandle<Result<(), Error>>>,
    done: Arc<watch::Sender<bool>>,
}

impl Replay {
    /// A receiver for this recording.
    pub fn new(file: PathBuf) -> Self {
        Self { file, thread: None, done: Arc::new(watch::channel(false).0) }
    }
}

impl Receiver for Replay {
    fn start(&mut self, output: Output) -> Result<(), ComponentError> {
        let reader = Reader::open(&self.file).map_err(|error| ComponentError::new(error.to_string()))?;
        let done = self.done.clone();
        let thread = std::thread::Builder::new().name("onlooker-replay".into()).spawn(move || {
            let outcome = replay(reader, |batch| output.blocking_send(batch).is_ok());
            if let Err(error) = &outcome {
                tracing::error!("{error}");
            }
            drop(output);
            done.send_replace(true);
            outcome
        })?;
        self.thread = Some(thread);
        Ok(())
    }

    fn finished(&mut self) -> BoxFuture<'_, ()> {
        let mut done = self.done.subscribe();
        Box::pin(async move {
            // The sender lives in `self`.
            let _ = done.wait_for(|done| *done).await;
        })
    }

    fn stop(&mut self) -> BoxFuture<'_, Result<(), ComponentError>> {
        let thread = self.thread.take();
        Box::pin(async move {
            let Some(thread) = thread else { return Ok(()) };
            let joined = tokio::task::spawn_blocking(move || thread.join()).await;
            match joined {
                Ok(Ok(Ok(()))) => Ok(()),
                Ok(Ok(Err(error))) => Err(ComponentError::new(error.to_string())),
                _ => Err(ComponentError::new("the replay's thread failed; please report this")),
            }
        })
    }
}

/// Reads a recording to its end, or to where it is damaged, and gives its batches to `send` until that is false.
pub fn replay<R: std::io::Read>(mut reader: Reader<R>, mut send: impl FnMut(Batch) -> bool) -> Result<(), Error> {
    let mut assembler = Assembler::new(&reader.header);
    let mut batch = Batch::default();
    let mut commands = Vec::new();
    let outcome = loop {
        let frame = match reader.next() {
            Ok(Some(frame)) => frame,
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        };
        let moved = assembler.frame(&frame, &mut batch.observations, &mut commands);
        commands.clear();
        if let Some(watermark) = moved {
            let whole = Batch { observations: std::mem::take(&mut batch.observations), watermark };
            batch.watermark = watermark;
            if !send(whole) {
                return Ok(());
            }
        }
    };
    assembler.finish(&mut batch.observations, &mut commands);
    send(batch);
    outcome
}
