//! What is done with events at once, on the reader's thread: attach to new files, read facts while the process lives,
//! mask arguments. Everything else waits in the queue.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use pipeline::telemetry::Counter;

use super::{candidates::Candidates, host::now, kernel::Shared, kubelet::Kubelet, pending::Pending, queue::Queue};
use crate::{
    event::{Event, EventKind, Program, Source},
    probes::{Delivery, tls::Links},
    record::Frame,
    targets::{
        discovery::{Discovery, Job, Outcome},
        procfs::{Names, Proc},
    },
};

/// In idle times the watermark moves this often.
const IDLE: Duration = Duration::from_millis(500);

/// Processes that matter to nobody so far are handed on this often: each time costs three threads a wake-up.
const CALM: Duration = Duration::from_millis(50);

/// Discovery, shared with the heartbeat and the thread that searches.
#[derive(Clone)]
pub struct Targets(Arc<(Mutex<Discovery<Shared>>, Condvar)>);

impl Targets {
    /// Shares it.
    pub fn new(discovery: Discovery<Shared>) -> Self {
        Self(Arc::new((Mutex::new(discovery), Condvar::new())))
    }

    /// Takes hold of it.
    pub fn lock(&self) -> MutexGuard<'_, Discovery<Shared>> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that there may be something to search.
    pub fn wake(&self) {
        self.0.1.notify_all();
    }

    /// Waits for a file to search, at most this long.
    pub fn job(&self, wait: Duration) -> Option<Job> {
        let mut discovery = self.lock();
        if let Some(job) = discovery.next_job() {
            return Some(job);
        }
        discovery = self.0.1.wait_timeout(discovery, wait).unwrap_or_else(PoisonError::into_inner).0;
        discovery.next_job()
    }

    /// Enters what became of a file.
    pub fn finish(&self, job: &Job, outcome: Outcome<Links>) {
        self.lock().finish(job, outcome);
        self.wake();
    }

    /// Waits until everything is searched, at most this long.
    pub fn wait(&self, most: Duration) {
        let busy = |discovery: &mut Discovery<Shared>| !discovery.is_done();
        drop(self.0.1.wait_timeout_while(self.lock(), most, busy));
    }

    /// Detaches from everything, in the background: the kernel waits for a grace period at each function, a tenth of a
    /// second, and nothing that was seen depends on it. The end of the program does the same.
    pub fn release(self, kernel: Shared) {
        let both = (self, kernel);
        if let Err(error) = std::thread::Builder::new().name("onlooker-detach".into()).spawn(move || drop(both)) {
            tracing::debug!(%error, "Detached in the foreground.");
        }
    }
}

/// The reader's sink.
pub struct Intake {
    /// Where TLS functions are.
    pub targets: Targets,
    /// The host's /proc.
    pub proc: Proc,
    /// What ids mean.
    pub names: Names,
    /// Where frames go.
    pub queue: Arc<Queue>,
    /// Events that were read.
    pub read: Counter,
    /// Events that found no room.
    pub dropped: Counter,
    /// Whether TLS is to be attached to.
    pub tls: bool,
    /// Who is likely to become an agent.
    pub candidates: Candidates,
    /// Facts that wait for their exec.
    pub facts: Pending,
    /// Who is asked about pods.
    pub kubelet: Option<Arc<Kubelet>>,
    /// When the last tick was queued.
    pub ticked: Instant,
    /// Frames that can wait for others.
    pub waiting: Vec<Frame>,
}

impl Delivery for Intake {
    fn urgent(&mut self, event: &Event) {
        let process = event.process;
        match &event.kind {
            EventKind::Exec(exec) => {
                // First the file: the process may be about to send its first request.
                self.attach(event, |targets| targets.exec(process.tgid, exec.program.map(Program::file)));
                let tls = self.tls && self.targets.lock().has_tls(process.tgid);
                self.candidates.exec(event, exec, &self.proc, tls);
                self.facts.exec(process, event.time);
                if let Some(facts) = self.proc.facts(process, exec.uid, &mut self.names) {
                    if let (Some(kubelet), Some(workload)) = (&self.kubelet, &facts.workload) {
                        kubelet.want(workload);
                    }
                    self.facts.add(event.time, now(), facts);
                }
            }
            EventKind::Map { dev, inode } => {
                self.attach(event, |targets| targets.map(process.tgid, *dev, *inode));
                if self.tls && self.targets.lock().has_tls(process.tgid) {
                    self.candidates.tls(process.tgid, event.time);
                }
            }
            _ => {}
        }
    }

    fn ordered(&mut self, events: Vec<Event>, watermark: u64) {
        if self.tls {
            self.account(&events);
        }
        self.read.add(events.len() as u64);
        let since = self.ticked.elapsed();
        if events.is_empty() && since < if self.waiting.is_empty() { IDLE } else { CALM } {
            return;
        }
        let mut frames = std::mem::take(&mut self.waiting);
        let mut calm = true;
        for mut event in events {
            calm &= match &event.kind {
                EventKind::Fork { .. } | EventKind::Exit { .. } => true,
                EventKind::Exec(exec) => self.candidates.is_unlikely(exec),
                _ => false,
            };
            match &event.kind {
                EventKind::Data(chunk) if matches!(chunk.source, Source::Tls | Source::Record) => {
                    self.candidates.tls(event.process.tgid, event.time);
                }
                EventKind::Exit { .. } => self.candidates.exit(event.process.tgid),
                _ => {}
            }
            if let EventKind::Exec(exec) = &mut event.kind {
                exec.args = pipeline::mask::args(std::mem::take(&mut exec.args));
                if let Some(facts) = self.facts.take(event.process, event.time) {
                    frames.push(Frame::Facts(Box::new(facts)));
                }
            }
            frames.push(Frame::Event(event));
        }
        if calm && since < CALM {
            self.waiting = frames;
            return;
        }
        frames.push(Frame::Tick(watermark));
        self.ticked = Instant::now();
        self.dropped.add(self.queue.push(frames));
    }

    fn end(&mut self) {
        self.dropped.add(self.queue.push(std::mem::take(&mut self.waiting)));
        self.queue.close();
    }
}

impl Intake {
    fn attach(&self, event: &Event, look: impl FnOnce(&mut Discovery<Shared>) -> bool) {
        if !self.tls {
            return;
        }
        let mut targets = self.targets.lock();
        if look(&mut targets) {
            let micros = now().saturating_sub(event.time) / 1000;
            targets.delayed(micros);
            tracing::debug!(pid = event.process.tgid, micros, "Attached to a file that a process brought.");
        }
        let more = !targets.is_done();
        drop(targets);
        if more {
            self.targets.wake();
        }
    }

    fn account(&self, events: &[Event]) {
        let mut targets = self.targets.lock();
        targets.retry();
        if !targets.is_done() {
            self.targets.wake();
        }
        for event in events {
            match &event.kind {
                EventKind::Data(chunk) => targets.count(event.process.tgid, chunk),
                EventKind::Exit { .. } => targets.exit(event.process.tgid),
                _ => {}
            }
        }
    }
}
