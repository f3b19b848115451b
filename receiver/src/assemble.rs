//! Frames to observations, in order of time. A pure function of its input: live capture and replay share it.

mod connections;
mod join;
mod plaintext;
mod recent;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, sync::Arc};

use pipeline::{
    ConnectionKey, Kind, Observation, ProcessKey, Timestamp,
    observation::{Exchange, Exit, Process, ProcessInfo, ProcessPhase, Protocol, Role},
};

use self::{
    connections::Connections,
    join::{Join, Ready},
    plaintext::{Plaintext, Seen},
    recent::Recent,
};
use crate::{
    event::{Clock, Event, EventKind, Source},
    record::{Frame, Header, Scope, Settings},
    targets::{
        rules::{is_known_agent, is_model_path, is_provider_host},
        table::Table,
    },
};

/// Exchanges with no sign of a model after which a connection is ruled out. A gateway may be asked for its list of
/// models and the like first.
const PLAIN_EXCHANGES: u32 = 8;

/// What the kernel side is to be told. A replay has nobody to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Watch this process (and its children, if they are followed).
    Watch(ProcessKey),
    /// Tell nothing of this process and its children.
    Exclude(ProcessKey),
    /// Copy nothing more of this TLS object, socket or pipe.
    Ignore {
        /// The process, as the kernel knows it.
        process: ProcessKey,
        /// Address of the TLS object, or the socket's id.
        object: u64,
    },
}

/// Turns frames into observations.
pub struct Assembler {
    clock: Clock,
    settings: Settings,
    table: Table,
    plaintext: Plaintext,
    join: Join,
    connections: Connections,
    recent: Recent,
    /// Connections on which nothing of a model was seen so far, with the number of such exchanges.
    plain: HashMap<(ProcessKey, u64), u32>,
    observer: Arc<ProcessInfo>,
    now: Timestamp,
}

impl Assembler {
    /// An assembler for the events of one run.
    pub fn new(header: &Header) -> Self {
        let host = Arc::new(header.host.clone());
        let observer = ProcessInfo {
            executable: "onlooker".into(),
            service_name: Some("onlooker".into()),
            started: header.clock.wall(0),
            host: host.clone(),
            ..ProcessInfo::default()
        };
        Self {
            clock: header.clock,
            settings: header.settings.clone(),
            table: Table::new(host, header.clock),
            plaintext: Plaintext::new(&header.settings, header.clock),
            join: Join::default(),
            connections: Connections::default(),
            recent: Recent::default(),
            plain: HashMap::new(),
            observer: Arc::new(observer),
            now: Timestamp(0),
        }
    }

    /// Takes the next frame. Gives the new watermark, if it moved.
    pub fn frame(
        &mut self,
        frame: &Frame,
        out: &mut Vec<Observation>,
        commands: &mut Vec<Command>,
    ) -> Option<Timestamp> {
        match frame {
            Frame::Header(_) => None,
            Frame::Facts(facts) => {
                if let Some(key) = self.table.facts(facts) {
                    self.found(key, out, commands);
                }
                None
            }
            Frame::Event(event) => {
                self.event(event, out, commands);
                None
            }
            Frame::Tick(time) => {
                self.now = self.now.max(self.clock.wall(*time));
                self.recent.expire(self.now);
                self.connections.expire(*time);
                let mut ready = Vec::new();
                self.join.expire(Some(*time), &mut ready);
                self.ready(ready, out, commands);
                Some(self.now)
            }
            Frame::Heartbeat(time, beat) => {
                let kind = Kind::Heartbeat(beat.clone());
                out.push(Observation::new(self.clock.wall(*time), self.observer.clone(), kind));
                None
            }
        }
    }

    /// The end: what is still open goes out as broken off.
    pub fn finish(&mut self, out: &mut Vec<Observation>, commands: &mut Vec<Command>) {
        let mut ready = Vec::new();
        self.join.expire(None, &mut ready);
        self.ready(ready, out, commands);
        let mut seen = Vec::new();
        self.plaintext.finish(self.now.nanos().saturating_sub(self.clock.boot), &mut seen);
        self.seen(seen, out, commands);
    }

    fn event(&mut self, event: &Event, out: &mut Vec<Observation>, commands: &mut Vec<Command>) {
        let time = self.clock.wall(event.time);
        match &event.kind {
            EventKind::Exec(exec) => {
                let entry = self.table.exec(event.process, exec, event.time);
                entry.watched |= self.settings.scope == Scope::Tree;
                let key = entry.info.key;
                self.process(key, time, ProcessPhase::Exec, out);
                self.recognise(key, time, out, commands);
            }
            EventKind::Fork { child } => {
                let follow = self.settings.follow_children;
                let parent_watched = self.table.get(event.process).is_some_and(|parent| parent.watched);
                let entry = self.table.fork(event.process, *child);
                entry.watched |= self.settings.scope == Scope::Tree || (follow && parent_watched && !entry.excluded);
                let key = entry.info.key;
                self.process(key, time, ProcessPhase::Fork, out);
            }
            EventKind::Exit { code, signal } => {
                let key = self.table.entry(event.process).info.key;
                let mut ready = Vec::new();
                self.join.exit(key, &mut ready);
                self.ready(ready, out, commands);
                let mut seen = Vec::new();
                self.plaintext.exit(key, event.time, &mut seen);
                self.seen(seen, out, commands);
                self.join.exited(key);
                self.plain.retain(|(process, _), _| *process != key);
                let signal = (*signal != 0).then_some(*signal);
                self.process(key, time, ProcessPhase::Exit(Exit { code: *code, signal }), out);
                self.table.exit(event.process);
            }
            EventKind::Map { .. } => {}
            EventKind::Socket(socket) => self.connections.socket(event.time, socket),
            EventKind::Pair { object, socket, .. } => {
                let key = self.table.key(event.process);
                let mut ready = Vec::new();
                self.join.pair(key, *object, *socket, &mut ready);
                self.ready(ready, out, commands);
                // Its plaintext is seen: what is on the wire is of no use any more.
                self.ignore(key, *socket, commands);
            }
            EventKind::SocketClose { socket, .. } => {
                let key = self.table.key(event.process);
                for connection in self.join.connections(key, *socket) {
                    self.close(key, connection, event.time, out, commands);
                }
                self.join.closed(key, *socket);
                self.connections.closed(event.time, *socket);
            }
            // For parsers of their own, not for the streams.
            EventKind::Data(chunk) if matches!(chunk.source, Source::Pipe | Source::Handshake | Source::Dns) => {}
            EventKind::Data(chunk) => {
                let scope = self.settings.scope;
                let entry = self.table.entry(event.process);
                entry.watched |= scope == Scope::Tree;
                let key = entry.info.key;
                if entry.excluded || (scope == Scope::Rules && !entry.watched) {
                    self.ignore(key, chunk.object, commands);
                    return;
                }
                let told = entry.watched;
                let mut ready = Vec::new();
                self.join.data(key, event.time, chunk, told, &mut ready);
                self.ready(ready, out, commands);
            }
            EventKind::Close { object } => {
                let key = self.table.key(event.process);
                let mut ready = Vec::new();
                let ended = self.join.close(key, *object, &mut ready);
                self.ready(ready, out, commands);
                if let Some(connection) = ended {
                    self.close(key, connection, event.time, out, commands);
                }
                self.join.untie(key, *object);
            }
        }
    }

    /// Plaintext whose connection is known.
    fn ready(&mut self, ready: Vec<Ready>, out: &mut Vec<Observation>, commands: &mut Vec<Command>) {
        for Ready { process, time, chunk } in ready {
            let mut seen = Vec::new();
            self.plaintext.data(process, time, &chunk, &mut seen);
            self.seen(seen, out, commands);
        }
    }

    /// A connection is over.
    fn close(
        &mut self,
        process: ProcessKey,
        connection: u64,
        time: u64,
        out: &mut Vec<Observation>,
        commands: &mut Vec<Command>,
    ) {
        let mut seen = Vec::new();
        self.plaintext.close(process, connection, time, &mut seen);
        self.seen(seen, out, commands);
        self.plain.remove(&(process, connection));
    }

    /// A process that was running before.
    fn found(&mut self, key: ProcessKey, out: &mut Vec<Observation>, commands: &mut Vec<Command>) {
        if self.settings.scope == Scope::Tree {
            return;
        }
        let parent = self.table.get(key).and_then(|entry| entry.info.parent);
        let parent = parent.and_then(|parent| self.table.get(parent)).map(|entry| (entry.watched, entry.excluded));
        if let (Some((watched, excluded)), Some(entry)) = (parent, self.table.get_mut(key)) {
            entry.excluded = excluded;
            if watched && !excluded && self.settings.follow_children {
                self.watch(key, self.now, out, commands);
                return;
            }
        }
        self.recognise(key, self.now, out, commands);
    }

    /// Applies the rules to what a process is now.
    fn recognise(&mut self, key: ProcessKey, time: Timestamp, out: &mut Vec<Observation>, commands: &mut Vec<Command>) {
        let scope = self.settings.scope;
        let Some(entry) = self.table.get_mut(key) else { return };
        if scope == Scope::Tree || entry.watched || entry.excluded {
            return;
        }
        if self.settings.exclude.iter().any(|rule| rule.matches(&entry.info)) {
            entry.excluded = true;
            commands.push(Command::Exclude(entry.kernel_key.unwrap_or(key)));
            return;
        }
        let wanted = self.settings.include.iter().any(|rule| rule.matches(&entry.info))
            || (scope == Scope::Auto && is_known_agent(&entry.info));
        if wanted {
            self.watch(key, time, out, commands);
        }
    }

    /// From now on a process is told of, with what it and its children did shortly before.
    fn watch(&mut self, key: ProcessKey, time: Timestamp, out: &mut Vec<Observation>, commands: &mut Vec<Command>) {
        let tree = if self.settings.follow_children { self.table.tree(key) } else { vec![key] };
        let mut live = Vec::new();
        for key in tree {
            let Some(entry) = self.table.get_mut(key) else { continue };
            if !entry.excluded && !entry.watched {
                entry.watched = true;
                commands.push(Command::Watch(entry.kernel_key.unwrap_or(key)));
                live.push(key);
            }
        }
        let before = self.recent.take(&live, self.settings.follow_children);
        let first = before.first().map_or(time, |observation| observation.time);
        for key in live {
            if let Some(entry) = self.table.get_mut(key)
                && !entry.told
            {
                entry.told = true;
                // One whose beginning is among what follows tells it itself.
                let begun = before.iter().any(|observation| {
                    observation.process.key == key
                        && matches!(&observation.kind, Kind::Process(process) if is_beginning(&process.phase))
                });
                if !begun && self.settings.process {
                    out.push(process(first, entry.info.clone(), ProcessPhase::Found));
                }
            }
        }
        if self.settings.process {
            out.extend(before);
        }
    }

    /// Something happened to a process: told, or kept for a while.
    fn process(&mut self, key: ProcessKey, time: Timestamp, phase: ProcessPhase, out: &mut Vec<Observation>) {
        let Some(entry) = self.table.get_mut(key) else { return };
        if !self.settings.process || entry.excluded {
            return;
        }
        let observation = process(time, entry.info.clone(), phase);
        if entry.watched {
            entry.told = true;
            out.push(observation);
        } else if self.settings.scope != Scope::Tree {
            self.recent.push(observation);
        }
    }

    /// What the streams made of plaintext.
    fn seen(&mut self, seen: Vec<Seen>, out: &mut Vec<Observation>, commands: &mut Vec<Command>) {
        for seen in seen {
            match seen {
                Seen::Foreign(connection) => self.ignore(connection.process, connection.object, commands),
                Seen::Head { connection, time, host, target } => {
                    if is_provider_host(&host) || is_model_path(&target) {
                        self.caller(&connection, time, out, commands);
                    }
                }
                Seen::Exchange(exchange) => self.exchange(exchange, out, commands),
            }
        }
    }

    fn exchange(&mut self, mut exchange: Box<Exchange>, out: &mut Vec<Observation>, commands: &mut Vec<Command>) {
        let connection = exchange.connection;
        if let Some((socket, plain)) = self.join.socket(connection.process, connection.object) {
            exchange.tls = !plain;
            exchange.facts = self.connections.facts(socket);
        }
        let request = &exchange.request;
        let host = request.headers.get("host").unwrap_or_default();
        let time = exchange.response.as_ref().map_or(request.ended, |response| response.ended.max(request.ended));
        // Only messages of a model's API become an exchange of a WebSocket.
        let socket = exchange.protocol == Protocol::WebSocket;
        if socket || is_provider_host(host) || is_model_path(&request.target) {
            self.plain.remove(&(connection.process, connection.object));
            // A process that serves a model's API is not an agent.
            if exchange.role == Role::Client {
                self.caller(&connection, time, out, commands);
            }
        } else {
            let count = self.plain.entry((connection.process, connection.object)).or_default();
            *count += 1;
            if *count >= PLAIN_EXCHANGES {
                self.ignore(connection.process, connection.object, commands);
            }
        }
        if let Some(entry) = self.table.get(connection.process)
            && entry.watched
        {
            out.push(Observation::new(time, entry.info.clone(), Kind::Exchange(exchange)));
        }
    }

    /// A process talks to a model.
    fn caller(
        &mut self,
        connection: &ConnectionKey,
        time: Timestamp,
        out: &mut Vec<Observation>,
        commands: &mut Vec<Command>,
    ) {
        let idle = self.table.get(connection.process).is_some_and(|entry| !entry.watched && !entry.excluded);
        if idle && self.settings.scope == Scope::Auto {
            self.watch(connection.process, time, out, commands);
        }
    }

    fn ignore(&mut self, process: ProcessKey, object: u64, commands: &mut Vec<Command>) {
        self.plain.remove(&(process, object));
        let objects = self.join.objects(process, object);
        let process = self.table.get(process).and_then(|entry| entry.kernel_key).unwrap_or(process);
        commands.extend(objects.into_iter().map(|object| Command::Ignore { process, object }));
    }
}

fn process(time: Timestamp, info: Arc<ProcessInfo>, phase: ProcessPhase) -> Observation {
    Observation::new(time, info, Kind::Process(Box::new(Process { phase })))
}

fn is_beginning(phase: &ProcessPhase) -> bool {
    matches!(phase, ProcessPhase::Fork | ProcessPhase::Exec)
}
