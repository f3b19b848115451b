//! The assembly thread: frames out of the queue, into the recording, into observations, into the pipelines.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use pipeline::{
    Batch, Output,
    observation::Heartbeat,
    telemetry::{Telemetry, names},
};

use super::{
    host::now,
    intake::Targets,
    kernel::Shared,
    kubelet::Kubelet,
    queue::{Queue, Taken},
};
use crate::{
    Error,
    assemble::{Assembler, Command},
    record::{Frame, Header, Recorder},
};

/// Time between two heartbeats.
const BEAT: Duration = Duration::from_secs(60);

/// How often the kernel side forgets who is no candidate any more.
const SWEEP: Duration = Duration::from_secs(10);

/// Everything that the thread works with.
pub struct Session {
    /// Where frames come from.
    pub queue: Arc<Queue>,
    /// Where observations go.
    pub output: Output,
    /// Where frames are kept.
    pub recorder: Option<Recorder>,
    /// The kernel side.
    pub kernel: Shared,
    /// Where TLS functions are.
    pub targets: Targets,
    /// Who is asked about pods.
    pub kubelet: Option<Arc<Kubelet>>,
    /// onlooker's counters.
    pub telemetry: Arc<Telemetry>,
    /// The receiver's id.
    pub id: String,
    sequence: u64,
    assembler: Assembler,
    batch: Batch,
    commands: Vec<Command>,
}

impl Session {
    /// A session that has seen nothing yet.
    #[allow(clippy::too_many_arguments, reason = "called once; each is one of its fields")]
    pub fn new(
        header: &Header,
        queue: Arc<Queue>,
        output: Output,
        recorder: Option<Recorder>,
        kernel: Shared,
        targets: Targets,
        kubelet: Option<Arc<Kubelet>>,
        telemetry: Arc<Telemetry>,
        id: String,
    ) -> Self {
        let mut assembler = Assembler::new(header);
        if recorder.is_some() {
            assembler.record();
        }
        Self {
            queue,
            output,
            recorder,
            kernel,
            targets,
            kubelet,
            telemetry,
            id,
            sequence: 0,
            assembler,
            batch: Batch::default(),
            commands: Vec::new(),
        }
    }

    /// Works until the queue is closed and empty.
    pub fn run(mut self) -> Result<(), Error> {
        let assembled = self.telemetry.counter(names::ASSEMBLED, &[("receiver", self.id.as_str())]);
        let pulse = self.telemetry.counter(names::PULSE, &[("receiver", self.id.as_str())]);
        let (mut beaten, mut swept) = (Instant::now(), Instant::now());
        self.frames(vec![self.beat(false)]);
        loop {
            pulse.add(1);
            match self.queue.pop(Duration::from_millis(500)) {
                Taken::Frames(frames) => {
                    let events = frames.iter().filter(|frame| matches!(frame, Frame::Event(_))).count();
                    self.frames(frames);
                    assembled.add(events as u64);
                }
                Taken::Nothing => {}
                Taken::Closed => break,
            }
            if swept.elapsed() >= SWEEP {
                swept = Instant::now();
                self.kernel.sweep();
            }
            if beaten.elapsed() >= BEAT {
                beaten = Instant::now();
                self.frames(vec![self.beat(false)]);
            }
        }
        self.frames(vec![self.beat(true)]);
        self.assembler.finish(&mut self.batch.observations, &mut self.commands);
        self.send();
        self.recorder.take().map_or(Ok(()), Recorder::finish)
    }

    fn frames(&mut self, frames: Vec<Frame>) {
        let mut recorded = Vec::with_capacity(if self.recorder.is_some() { frames.len() } else { 0 });
        for frame in frames {
            if matches!(frame, Frame::Heartbeat(..)) {
                self.sequence += 1;
            }
            let moved = self.assembler.frame(&frame, &mut self.batch.observations, &mut self.commands);
            if self.recorder.is_some() {
                recorded.extend(self.assembler.released().into_iter().map(Frame::Event));
                if !self.assembler.is_withheld() {
                    recorded.push(frame);
                }
            }
            if let Some(watermark) = moved {
                self.batch.watermark = watermark;
                self.send();
            }
        }
        if let Some(recorder) = &mut self.recorder {
            recorder.write(recorded);
        }
        if self.commands.is_empty() {
            return;
        }
        self.kernel.obey(self.commands.drain(..));
    }

    fn send(&mut self) {
        let watermark = self.batch.watermark;
        let batch = std::mem::replace(&mut self.batch, Batch { observations: Vec::new(), watermark });
        // Nobody listens any more only when the program ends.
        let _ = self.output.blocking_send(batch);
    }

    /// Coverage and losses as they are now.
    fn beat(&self, last: bool) -> Frame {
        let mut probes = self.kernel.status();
        probes.extend(self.kubelet.as_ref().map(|kubelet| kubelet.status()));
        let mut counts = Vec::new();
        for (reason, count) in self.kernel.drops() {
            let labels = [("receiver", self.id.as_str()), ("reason", reason)];
            self.telemetry.counter(names::KERNEL_DROPPED, &labels).set(count);
            counts.push((format!("kernel.dropped.{reason}"), count));
        }
        let labels = [("receiver", self.id.as_str()), ("reason", names::QUEUE_FULL)];
        counts.push(("queue.dropped".to_owned(), self.telemetry.counter(names::KERNEL_DROPPED, &labels).get()));
        counts.push(("lookback.dropped".to_owned(), self.assembler.forgotten()));
        if let Some(seen) = self.kernel.sees_calls() {
            counts.push(("calls.seen".to_owned(), u64::from(seen)));
        }
        // What became of what was seen, stage by stage (`pipeline::ledger`).
        for ((name, labels), count) in self.telemetry.snapshot() {
            if names::CHAIN.contains(&name) && (count > 0 || name == names::SEEN) {
                let labels: Vec<&str> = labels.iter().map(|(_, value)| value.as_str()).collect();
                counts.push((format!("{}/{}", name.trim_start_matches("onlooker."), labels.join("/")), count));
            }
        }
        let targets = self.targets.lock();
        let attached = targets.table();
        let working = attached.iter().filter(|file| file.error.is_none());
        counts.push(("tls.files".to_owned(), working.clone().count() as u64));
        counts.push(("tls.files.silent".to_owned(), working.filter(|file| file.bytes == 0).count() as u64));
        counts.push(("tls.bytes".to_owned(), attached.iter().map(|file| file.bytes).sum()));
        if let Some(slowest) = attached.iter().filter_map(|file| file.delay).max() {
            counts.push(("tls.attach.slowest_us".to_owned(), slowest));
        }
        for file in attached.iter().filter(|file| file.error.is_some()) {
            probes.push((format!("tls {}", file.path), file.error.clone()));
        }
        let beat = Heartbeat { sequence: self.sequence, last, probes, counts, ..Heartbeat::default() };
        Frame::Heartbeat(now(), Box::new(beat))
    }
}
