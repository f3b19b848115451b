//! A thread that formats and writes, shared by `file` and `stdout`.
//!
//! Its queue is bounded. When the disk or the terminal is slower than the flow, the pipelines wait, and the receivers
//! count what they then cannot take: loss is decided in one place.

use std::{
    io::Write,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use pipeline::{
    BuildContext, ComponentError, Observation, Signal,
    telemetry::{Counter, names},
};

/// Batches that may wait.
const QUEUE: usize = 256;

/// Turns observations into bytes.
pub trait Format: Send {
    /// Writes a batch; gives how many items were written.
    fn write(&mut self, signal: Signal, batch: &[Observation], out: &mut dyn Write) -> std::io::Result<usize>;

    /// Writes what was held back.
    fn finish(&mut self, out: &mut dyn Write) -> std::io::Result<()> {
        let _ = out;
        Ok(())
    }
}

type Message = (Signal, Arc<Vec<Observation>>);

/// The writing side of an exporter.
pub struct Writer {
    name: String,
    sender: Mutex<Option<SyncSender<Message>>>,
    /// Observations that wait, by signal.
    pending: [Counter; 3],
    thread: Mutex<Option<JoinHandle<Outcome>>>,
}

struct Outcome {
    error: Option<std::io::Error>,
    lost: usize,
}

impl Writer {
    /// Starts the thread. It writes to `out` and flushes when the queue is empty, at most every `flush`.
    pub fn start(
        context: &BuildContext,
        mut format: Box<dyn Format>,
        mut out: Box<dyn Write + Send>,
        flush: Duration,
    ) -> Result<Self, ComponentError> {
        let (sender, receiver) = sync_channel(QUEUE);
        let counter = |name, signal: Signal| {
            context.telemetry.counter(name, &[("exporter", &context.id), ("signal", signal.as_str())])
        };
        let counters = [Signal::Traces, Signal::Logs, Signal::Metrics].map(|signal| {
            [names::OFFERED, names::EXPORTED, names::EXPORT_DROPPED, names::PENDING].map(|name| counter(name, signal))
        });
        let pending = counters.each_ref().map(|[.., pending]| pending.clone());
        let name = context.id.clone();
        let thread = std::thread::Builder::new().name(format!("write {name}")).spawn({
            let name = name.clone();
            move || work(&name, &receiver, format.as_mut(), &mut *out, flush, &counters)
        })?;
        Ok(Self { name, sender: Mutex::new(Some(sender)), thread: Mutex::new(Some(thread)), pending })
    }

    /// Hands a batch over; waits if the writer is behind.
    pub fn send(&self, signal: Signal, batch: Arc<Vec<Observation>>) {
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // After the stop, or if the thread failed: the stop tells.
        if let Some(sender) = sender {
            let waits = batch.len() as u64;
            let pending = &self.pending[signal as usize];
            pending.shift(0, waits);
            if sender.send((signal, batch)).is_err() {
                pending.shift(waits, 0);
            }
        }
    }

    /// Writes what waits, flushes and ends. The error tells what was lost.
    pub fn stop(&self) -> Result<(), ComponentError> {
        drop(self.sender.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        match thread.map(JoinHandle::join) {
            None => Ok(()),
            Some(Err(_)) => Err(ComponentError::new("the writing thread failed")),
            Some(Ok(Outcome { error: None, .. })) => Ok(()),
            Some(Ok(Outcome { error: Some(error), lost })) => Err(ComponentError::new(format!(
                "{}: writing failed: {error}; {lost} observations were lost",
                self.name
            ))),
        }
    }
}

fn work(
    name: &str,
    input: &Receiver<Message>,
    format: &mut dyn Format,
    out: &mut dyn Write,
    flush: Duration,
    counters: &[[Counter; 4]; 3],
) -> Outcome {
    let mut outcome = Outcome { error: None, lost: 0 };
    let mut fail = |error: std::io::Error, lost: usize| {
        // A reader that went away (a closed pipe) is told once, not for each line.
        if outcome.error.is_none() {
            tracing::error!(exporter = name, %error, "Writing failed; what cannot be written is lost.");
        }
        outcome.lost += lost;
        outcome.error.get_or_insert(error);
    };
    loop {
        match input.recv_timeout(flush) {
            Ok((signal, batch)) => {
                let [offered, sent, dropped, pending] = &counters[signal as usize];
                match format.write(signal, &batch, out) {
                    Ok(count) => {
                        offered.add(count as u64);
                        sent.add(count as u64);
                    }
                    Err(error) => {
                        offered.add(batch.len() as u64);
                        dropped.add(batch.len() as u64);
                        fail(error, batch.len());
                    }
                }
                pending.shift(batch.len() as u64, 0);
            }
            Err(RecvTimeoutError::Timeout) => {
                if let Err(error) = out.flush() {
                    fail(error, 0);
                }
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    if let Err(error) = format.finish(out).and_then(|()| out.flush()) {
        fail(error, 0);
    }
    outcome
}
