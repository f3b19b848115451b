//! Who is told of, who is not, and who may turn out to be an agent: what such a process does is kept for a while, and told
//! when it is recognised, with the times at which it happened.
//!
//! What only teaches (addresses, names, which connection is a model's) is taken in at once, from all of them. What would be
//! told is kept as it came from the kernel side: in the end it goes through the same hands as what happens now.

use std::sync::Arc;

use pipeline::{
    Kind, Observation, ProcessKey,
    observation::{Endpoint, ProcessInfo, ProcessPhase},
};

use super::{
    Assembler, Command,
    recent::{Kept, What},
};
use crate::{
    event::{Event, EventKind},
    record::Scope,
};

/// How a process stands to the watch.
pub enum Standing {
    /// It is told of.
    Told(Arc<ProcessInfo>),
    /// It may turn out to be an agent's.
    Open(Arc<ProcessInfo>),
    /// It is not, and will not be, as far as is known.
    Not,
}

impl Assembler {
    /// There is a recording: what processes do before they are recognised comes into it only then, by
    /// [`Assembler::released`].
    pub fn record(&mut self) {
        self.recorded = true;
    }

    /// Whether the frame that was taken last must not be recorded (yet).
    pub fn is_withheld(&self) -> bool {
        self.withheld
    }

    /// What was withheld, and belongs into the recording before the frame that was taken last.
    pub fn released(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.released)
    }

    /// How much of what should have been told of the time before a recognition was too much to be kept.
    pub fn forgotten(&self) -> u64 {
        self.recent.lost()
    }

    /// How a process stands now; of one that ended lately, how it stood.
    pub(super) fn standing(&mut self, process: ProcessKey) -> Standing {
        let tree = self.settings.scope == Scope::Tree;
        let open = self.settings.scope == Scope::Auto && self.settings.lookback > 0;
        let known = self.table.get(process).is_some();
        let entry = match self.table.ended(process).filter(|_| !known) {
            Some(entry) => entry,
            // Nothing is known of it but that it is not the one that has its number now.
            None if !known && self.table.by_tgid(process.tgid).is_some() => return Standing::Not,
            None => {
                let entry = self.table.entry(process);
                entry.watched |= tree;
                entry
            }
        };
        match (entry.excluded, entry.watched || tree) {
            (true, _) => Standing::Not,
            (false, true) => Standing::Told(entry.info.clone()),
            (false, false) if open => Standing::Open(entry.info.clone()),
            (false, false) => Standing::Not,
        }
    }

    /// Something that is told if its process is, and kept if it may be.
    pub(super) fn deed_or_keep(&mut self, event: &Event, out: &mut Vec<Observation>, commands: &mut Vec<Command>) {
        if let EventKind::Network(network) = &event.kind {
            let key = self.table.key(event.process);
            // A connection may outlive its process, whose number may be another's by then.
            if let Some(process) = self.told_of(key).or_else(|| self.network.process(key, network.socket)) {
                return self.deed(&process, event, out, commands);
            }
        }
        match self.standing(event.process) {
            // One that ended makes no new connections.
            Standing::Told(_) if matches!(event.kind, EventKind::Network(_)) => {}
            Standing::Told(process) => self.deed(&process, event, out, commands),
            Standing::Open(process) => {
                self.withheld = true;
                if self.is_of_interest(event) {
                    self.recent.deed(self.clock.wall(event.time), process, What::Deed(event.clone()));
                }
            }
            Standing::Not => self.withheld = self.settings.scope == Scope::Auto,
        }
    }

    /// Something that was only learned from: it must not be recorded of a process that is not told of.
    pub(super) fn keep_seen(&mut self, event: &Event) {
        match self.standing(event.process) {
            Standing::Told(_) => {}
            Standing::Open(process) => {
                self.withheld = true;
                if self.recorded {
                    self.recent.deed(self.clock.wall(event.time), process, What::Seen(event.clone()));
                }
            }
            Standing::Not => self.withheld = self.settings.scope == Scope::Auto,
        }
    }

    /// Whether it would be told at all.
    fn is_of_interest(&self, event: &Event) -> bool {
        match &event.kind {
            EventKind::File(file) => self.settings.files.is_some() && self.files.is_of_interest(file),
            EventKind::Security(_) => self.settings.security,
            EventKind::Network(_) => self.settings.network,
            // Not of all that are used anything is told, but what uses them later has to know them.
            _ => true,
        }
    }

    /// Something that a process did which is told of.
    fn deed(
        &mut self,
        process: &Arc<ProcessInfo>,
        event: &Event,
        out: &mut Vec<Observation>,
        commands: &mut Vec<Command>,
    ) {
        let key = process.key;
        let (mut done, mut outcomes) = (Vec::new(), Vec::new());
        match &event.kind {
            EventKind::File(file) if self.settings.files.is_some() => {
                self.files.event(process, event.time, file, out);
            }
            EventKind::Security(security) if self.settings.security => {
                self.rights.event(process, event.time, security, &self.table, out);
            }
            EventKind::Socket(socket) => {
                self.mcp.socket(socket);
                if self.settings.network {
                    let name = socket.peer.and_then(|peer| self.looked_up_as(key, peer.ip()));
                    self.network.socket(process, event.time, socket, name, self.clock, &mut done);
                }
            }
            EventKind::Network(network) if self.settings.network => {
                let name = match &network.peer {
                    Some(Endpoint::Ip(peer)) => self.looked_up_as(key, peer.ip()),
                    _ => None,
                };
                self.network.event(process, event.time, network, name, self.clock, &mut done);
            }
            EventKind::SocketClose { socket, sent, received } => {
                self.network.closed(key, event.time, *socket, (*sent, *received), self.clock, &mut done);
                self.mcp.close(key, *socket, event.time, &mut outcomes);
            }
            EventKind::Data(chunk) => self.mcp.data(key, event.time, chunk, &mut outcomes),
            _ => {}
        }
        self.connected(done, out);
        self.mcp(outcomes, out, commands);
    }

    /// Time went on, for what is told.
    pub(super) fn pass(&mut self, time: u64, out: &mut Vec<Observation>, commands: &mut Vec<Command>) {
        let (mut done, mut outcomes) = (Vec::new(), Vec::new());
        self.mcp.expire(time, &mut outcomes);
        self.files.expire(time, out);
        self.rights.expire(time, out);
        self.mcp(outcomes, out, commands);
        self.network.expire(time, self.clock, &mut done);
        self.connected(done, out);
    }

    /// A process ended, for what is told.
    pub(super) fn ends(&mut self, key: ProcessKey, time: u64, out: &mut Vec<Observation>, commands: &mut Vec<Command>) {
        let (mut done, mut outcomes) = (Vec::new(), Vec::new());
        self.mcp.exit(key, time, &mut outcomes);
        self.mcp(outcomes, out, commands);
        self.network.exit(key, time, self.clock, &mut done);
        self.connected(done, out);
        self.deeds_end(key, out);
    }

    /// Tells what processes did that were just recognised.
    pub(super) fn relive(&mut self, kept: Vec<Kept>, out: &mut Vec<Observation>, commands: &mut Vec<Command>) {
        for Kept { time, process, what } in kept {
            let since_boot = time.nanos().saturating_sub(self.clock.boot);
            self.pass(since_boot, out, commands);
            match what {
                What::Told(observation) => {
                    if let Kind::Process(told) = &observation.kind {
                        match told.phase {
                            ProcessPhase::Exec => self.deeds_end(process.key, out),
                            ProcessPhase::Exit(_) => self.ends(process.key, since_boot, out, commands),
                            _ => {}
                        }
                    }
                    if self.settings.process || !matches!(observation.kind, Kind::Process(_)) {
                        out.push(observation);
                    }
                }
                What::Deed(event) => {
                    self.deed(&process, &event, out, commands);
                    if self.recorded {
                        self.released.push(event);
                    }
                }
                What::Seen(event) => self.released.push(event),
            }
        }
    }
}

#[cfg(test)]
mod tests;
