//! Frames to observations, in order of time. A pure function of its input: live capture and replay share it.

mod connections;
mod files;
mod join;
mod lookups;
mod mcp;
mod names;
mod network;
mod opaque;
mod plaintext;
mod recent;
mod security;
mod standing;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, net::IpAddr, sync::Arc, time::Duration};

use pipeline::{
    ConnectionKey, Kind, Observation, ProcessKey, Timestamp,
    observation::{
        Dns, Endpoint, Exchange, Exit, Heartbeat, NameSource, OpaqueCall, Process, ProcessInfo, ProcessPhase, Protocol,
        Role,
    },
    providers::{self, Sign},
    telemetry::names as counters,
};

use self::{
    connections::Connections,
    files::Files,
    join::{Join, Ready},
    lookups::Lookups,
    mcp::{Mcp, Outcome},
    names::Names,
    network::{Done, Network},
    opaque::{Closed, Learned, Opaque},
    plaintext::{Plaintext, Seen},
    recent::{Recent, What},
    security::Rights,
    standing::Standing,
};
use crate::{
    event::{Chunk, Clock, Event, EventKind, Socket, SocketKind, Source},
    record::{Frame, Header, Scope, Settings},
    targets::{
        rules::{is_known_agent, sign},
        table::Table,
    },
};

/// Exchanges with no sign of a model after which a connection is ruled out. A gateway may be asked for its list of
/// models and the like first.
const PLAIN_EXCHANGES: u32 = 8;

/// How far up it is looked for who looked up a name.
const GENERATIONS: usize = 16;

/// How long after it was recognised a process's children are named to the kernel side one by one.
const FRESH: Duration = Duration::from_secs(5);

/// A watermark goes alone this often: each time costs the threads of the pipelines a wake-up.
const CALM: Duration = Duration::from_millis(100);

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
    mcp: Mcp,
    names: Names,
    network: Network,
    lookups: Lookups,
    opaque: Opaque,
    files: Files,
    rights: Rights,
    recent: Recent,
    /// Of the last heartbeat.
    counts: Vec<(String, u64)>,
    /// Connections on which nothing of a model was seen so far, with the number of such exchanges.
    plain: HashMap<(ProcessKey, u64), u32>,
    observer: Arc<ProcessInfo>,
    now: Timestamp,
    /// The last watermark that was given.
    given: Timestamp,
    /// Whether there is a recording.
    recorded: bool,
    /// The latest frame is not to be recorded.
    withheld: bool,
    /// What was withheld and is to be recorded now.
    released: Vec<Event>,
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
            mcp: Mcp::new(header.clock),
            names: Names::default(),
            network: Network::default(),
            lookups: Lookups::default(),
            opaque: Opaque::default(),
            files: Files::new(header.settings.files.as_ref(), header.clock),
            rights: Rights::new(header.clock),
            counts: Vec::new(),
            recent: Recent::new(header.settings.lookback),
            plain: HashMap::new(),
            observer: Arc::new(observer),
            now: Timestamp(0),
            given: Timestamp(0),
            recorded: false,
            withheld: false,
            released: Vec::new(),
        }
    }

    /// A heartbeat with what its counts grew by since the one before.
    fn grown(&mut self, beat: &Heartbeat) -> Heartbeat {
        let before = |name: &str| self.counts.iter().find(|(known, _)| known == name).map_or(0, |(_, count)| *count);
        let deltas = beat.counts.iter().map(|(name, count)| (name.clone(), count.saturating_sub(before(name))));
        let gauge =
            |name: &str| counters::GAUGES.iter().any(|gauge| name.starts_with(gauge.trim_start_matches("onlooker.")));
        let deltas = deltas.filter(|(name, grown)| *grown > 0 && !gauge(name)).collect();
        self.counts.clone_from(&beat.counts);
        Heartbeat { deltas, ..beat.clone() }
    }

    /// Takes the next frame. Gives the new watermark if there is anything before it, and else if it moved far.
    pub fn frame(
        &mut self,
        frame: &Frame,
        out: &mut Vec<Observation>,
        commands: &mut Vec<Command>,
    ) -> Option<Timestamp> {
        self.withheld = false;
        match frame {
            Frame::Header(_) => None,
            Frame::Facts(facts) => {
                if let Some(key) = self.table.facts(facts) {
                    self.found(key, out, commands);
                }
                None
            }
            Frame::Pods(told) => {
                self.table.pods(told);
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
                self.pass(*time, out, commands);
                let over = self.lookups.expire(*time, self.clock);
                self.looked_up(over, out);
                let mut ready = Vec::new();
                self.join.expire(Some(*time), &mut ready);
                self.ready(ready, out, commands);
                if out.is_empty() && self.now.since(self.given) < CALM {
                    return None;
                }
                self.given = self.now;
                Some(self.now)
            }
            Frame::Heartbeat(time, beat) => {
                let beat = self.grown(beat);
                let kind = Kind::Heartbeat(Box::new(beat));
                out.push(Observation::new(self.clock.wall(*time), self.observer.clone(), kind));
                None
            }
        }
    }

    /// The end: what is still open goes out as broken off.
    pub fn finish(&mut self, out: &mut Vec<Observation>, commands: &mut Vec<Command>) {
        self.files.finish(out);
        self.rights.finish(out);
        let mut ready = Vec::new();
        self.join.expire(None, &mut ready);
        self.ready(ready, out, commands);
        let mut outcomes = Vec::new();
        self.mcp.finish(self.now.nanos().saturating_sub(self.clock.boot), &mut outcomes);
        self.mcp(outcomes, out, commands);
        let mut seen = Vec::new();
        self.plaintext.finish(self.now.nanos().saturating_sub(self.clock.boot), &mut seen);
        self.seen(seen, out, commands);
        let now = self.now.nanos().saturating_sub(self.clock.boot);
        for closed in self.opaque.finish(now) {
            self.unreadable(closed, out);
        }
        let mut done = Vec::new();
        self.network.finish(now, self.clock, &mut done);
        self.connected(done, out);
        let over = self.lookups.finish(now, self.clock);
        self.looked_up(over, out);
    }

    fn event(&mut self, event: &Event, out: &mut Vec<Observation>, commands: &mut Vec<Command>) {
        let time = self.clock.wall(event.time);
        match &event.kind {
            EventKind::Exec(exec) => {
                // What the process did before, its earlier program did.
                let key = self.table.key(event.process);
                self.deeds_end(key, out);
                let entry = self.table.exec(event.process, exec, event.time);
                entry.watched |= self.settings.scope == Scope::Tree;
                let key = entry.info.key;
                self.process(key, time, ProcessPhase::Exec, out);
                self.recognise(key, time, out, commands);
            }
            EventKind::Fork { child } => {
                let follow = self.settings.follow_children;
                let parent = self.table.get(event.process);
                let parent_watched = parent.is_some_and(|parent| parent.watched);
                // The kernel side may not have known yet that it is watched.
                let fresh = parent.and_then(|parent| parent.recognised).is_some_and(|at| time.since(at) < FRESH);
                let entry = self.table.fork(event.process, *child);
                entry.watched |= self.settings.scope == Scope::Tree || (follow && parent_watched && !entry.excluded);
                let key = entry.info.key;
                if entry.watched && fresh {
                    commands.push(Command::Watch(*child));
                }
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
                for closed in self.opaque.exit(key, event.time) {
                    self.unreadable(closed, out);
                }
                self.opaque.exited(key);
                self.join.exited(key);
                self.plain.retain(|(process, _), _| *process != key);
                let over = self.lookups.exit(key, event.time, self.clock);
                self.looked_up(over, out);
                let signal = (*signal != 0).then_some(*signal);
                self.ends(key, event.time, out, commands);
                self.process(key, time, ProcessPhase::Exit(Exit { code: *code, signal }), out);
                self.table.exit(event.process);
            }
            EventKind::Map { .. } => {}
            EventKind::File(_) | EventKind::Security(_) | EventKind::Network(_) => {
                self.deed_or_keep(event, out, commands);
            }
            EventKind::Socket(socket) => {
                self.connections.socket(event.time, socket);
                let key = self.table.key(event.process);
                self.resolve(key, socket);
                self.deed_or_keep(event, out, commands);
            }
            EventKind::Pair { object, socket, .. } => {
                self.keep_seen(event);
                let key = self.table.key(event.process);
                let mut ready = Vec::new();
                self.join.pair(key, *object, *socket, &mut ready);
                self.ready(ready, out, commands);
                self.opaque.rule_out(key, *socket);
                // Its plaintext is seen: what is on the wire is of no use any more.
                self.ignore(key, *socket, commands);
            }
            EventKind::SocketClose { socket, sent, received } => {
                let key = self.table.key(event.process);
                if let Some(closed) = self.opaque.close(key, *socket, event.time, *sent, *received) {
                    self.unreadable(closed, out);
                }
                for connection in self.join.connections(key, *socket) {
                    self.close(key, connection, event.time, out, commands);
                }
                self.join.closed(key, *socket);
                self.connections.closed(event.time, *socket);
                let over = self.lookups.close(key, *socket, event.time, self.clock);
                self.looked_up(over, out);
                self.deed_or_keep(event, out, commands);
            }
            EventKind::Data(chunk) => {
                let scope = self.settings.scope;
                let entry = self.table.entry(event.process);
                entry.watched |= scope == Scope::Tree;
                let key = entry.info.key;
                if entry.excluded || (scope == Scope::Rules && !entry.watched) {
                    self.withheld = scope == Scope::Auto && !matches!(chunk.source, Source::Tls | Source::Record);
                    self.ignore(key, chunk.object, commands);
                    return;
                }
                let told = entry.watched;
                match chunk.source {
                    Source::Pipe => return self.deed_or_keep(event, out, commands),
                    Source::Socket | Source::Handshake | Source::Dns => self.keep_seen(event),
                    Source::Tls | Source::Record => {}
                }
                match chunk.source {
                    Source::Handshake => return self.handshake(key, event.time, chunk, commands),
                    Source::Dns => {
                        let socket = self.connections.get(chunk.object).map(|known| &known.socket);
                        let told = self.lookups.data(key, event.time, chunk, socket, self.clock);
                        told.answers.iter().for_each(|answer| self.names.message(key, answer));
                        return self.looked_up(told.over, out);
                    }
                    Source::Tls | Source::Record | Source::Socket | Source::Pipe => {}
                }
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

    /// A process goes on as another program, or ends.
    fn deeds_end(&mut self, key: ProcessKey, out: &mut Vec<Observation>) {
        self.files.end(key, out);
        self.rights.end(key, out);
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
                entry.recognised = Some(time);
                commands.push(Command::Watch(entry.kernel_key.unwrap_or(key)));
                live.push(key);
            }
        }
        let before = self.recent.take(&live, self.settings.follow_children, self.now.max(time));
        let first = before.first().map_or(time, |one| one.time);
        for key in live {
            if let Some(entry) = self.table.get_mut(key)
                && !entry.told
            {
                entry.told = true;
                // One whose beginning is among what follows tells it itself.
                let begun = before.iter().any(|one| {
                    one.process.key == key
                        && matches!(&one.what, What::Told(Observation { kind: Kind::Process(process), .. }) if is_beginning(&process.phase))
                });
                if !begun && self.settings.process {
                    out.push(process(first, entry.info.clone(), ProcessPhase::Found));
                }
            }
        }
        self.relive(before, out, commands);
    }

    /// Something happened to a process: told, or kept for a while.
    fn process(&mut self, key: ProcessKey, time: Timestamp, phase: ProcessPhase, out: &mut Vec<Observation>) {
        let Some(entry) = self.table.get_mut(key) else { return };
        if entry.excluded {
            return;
        }
        let observation = process(time, entry.info.clone(), phase);
        if !entry.watched {
            self.recent.process(observation);
        } else if self.settings.process {
            entry.told = true;
            out.push(observation);
        }
    }

    /// What the streams made of plaintext.
    fn seen(&mut self, seen: Vec<Seen>, out: &mut Vec<Observation>, commands: &mut Vec<Command>) {
        for seen in seen {
            match seen {
                Seen::Foreign(connection) => self.ignore(connection.process, connection.object, commands),
                Seen::Head { connection, time, host, target } => {
                    if self.join.socket(connection.process, connection.object).is_none() {
                        self.opaque.read(connection.process, providers::split_authority(&host).0);
                    }
                    if sign(&self.settings.providers, &host, &target) == Sign::Call {
                        self.caller(&connection, time, out, commands);
                    }
                }
                Seen::Served { process, host, target } => {
                    if sign(&self.settings.providers, &host, &target) == Sign::Call
                        && let Some(entry) = self.table.get_mut(process)
                        && !entry.info.serves_models
                    {
                        Arc::make_mut(&mut entry.info).serves_models = true;
                    }
                }
                Seen::Rpc(rpc) => {
                    let tie = self.join.socket(rpc.connection.process, rpc.connection.object);
                    let facts = tie.and_then(|(socket, _)| self.connections.facts(socket));
                    let tls = tie.map_or(rpc.tls, |(_, plain)| !plain);
                    let mut outcomes = Vec::new();
                    self.mcp.rpc(&rpc, tls, facts, &mut outcomes);
                    self.mcp(outcomes, out, commands);
                }
                Seen::Exchange(exchange) => self.exchange(exchange, out, commands),
            }
        }
    }

    fn mcp(&mut self, outcomes: Vec<Outcome>, out: &mut Vec<Observation>, commands: &mut Vec<Command>) {
        for outcome in outcomes {
            match outcome {
                Outcome::Foreign(process, object) => self.ignore(process, object, commands),
                Outcome::Call(process, call) => {
                    if let Some(entry) = self.table.get(process)
                        && entry.watched
                    {
                        out.push(Observation::new(call.ended, entry.info.clone(), Kind::McpCall(call)));
                    }
                }
            }
        }
    }

    /// A piece of a TLS connection as it is on the wire.
    fn handshake(&mut self, process: ProcessKey, time: u64, chunk: &Chunk, commands: &mut Vec<Command>) {
        let socket = chunk.object;
        let learned = self.opaque.data(process, time, chunk);
        if let Learned::Offer(offer) = &learned
            && let Some(facts) = self.connections.facts_mut(socket)
        {
            facts.server_name.clone_from(&offer.server_name);
            facts.alpn.clone_from(&offer.alpn);
        }
        if learned != Learned::Nothing && (learned == Learned::Server || self.provider(socket).is_none()) {
            self.opaque.rule_out(process, socket);
            self.ignore(process, socket, commands);
        }
    }

    /// The name by which a socket's peer is known, if it is a provider's.
    fn provider(&self, socket: u64) -> Option<(String, NameSource)> {
        let facts = &self.connections.get(socket)?.facts;
        let name = match (&facts.server_name, &facts.resolved_name) {
            (Some(name), _) => (name, NameSource::Sni),
            (None, Some(name)) => (name, NameSource::Dns),
            (None, None) => return None,
        };
        self.settings.providers.is_ai_host(name.0).then(|| (name.0.clone(), name.1))
    }

    /// A process, if it is told of.
    fn told_of(&self, process: ProcessKey) -> Option<Arc<ProcessInfo>> {
        let entry = self.table.get(process).filter(|entry| entry.watched && !entry.excluded)?;
        Some(entry.info.clone())
    }

    /// Connections, with the names of their peers.
    fn connected(&self, done: Vec<Done>, out: &mut Vec<Observation>) {
        for Done { process, time, socket, mut connection } in done {
            let facts = self.connections.facts(socket).filter(|facts| {
                matches!((&connection.peer, facts.peer), (Some(Endpoint::Ip(peer)), Some(known)) if *peer == known)
            });
            if let Some(name) = facts.as_ref().and_then(|facts| facts.server_name.clone()) {
                (connection.name, connection.name_source) = (Some(name), Some(NameSource::Sni));
            }
            // What it runs now; of one that ended, nothing is known any more but what was.
            let newer = |now: &Arc<ProcessInfo>| now.exec_count > process.exec_count;
            let process = self.told_of(process.key).filter(newer).unwrap_or(process);
            out.push(Observation::new(self.clock.wall(time), process, Kind::Connection(Box::new(connection))));
        }
    }

    /// Look-ups that are over.
    fn looked_up(&mut self, over: Vec<(u64, ProcessKey, Dns)>, out: &mut Vec<Observation>) {
        for (time, process, dns) in over {
            let time = self.clock.wall(time);
            let tell = |process| Observation::new(time, process, Kind::Dns(Box::new(dns)));
            match self.standing(process) {
                _ if !self.settings.dns => {}
                Standing::Told(process) => out.push(tell(process)),
                Standing::Open(process) => self.recent.deed(time, process.clone(), What::Told(tell(process))),
                Standing::Not => {}
            }
        }
    }

    /// The name that a process or one above it looked up to get an address.
    fn looked_up_as(&self, process: ProcessKey, address: IpAddr) -> Option<String> {
        let above = |key: &ProcessKey| self.table.get(*key).and_then(|entry| entry.info.parent);
        let processes: Vec<ProcessKey> = std::iter::successors(Some(process), above).take(GENERATIONS).collect();
        self.names.find(&processes, address).map(str::to_owned)
    }

    /// Notes the name that a process or one above it looked up to get a peer's address.
    fn resolve(&mut self, process: ProcessKey, socket: &Socket) {
        let Some(peer) = socket.peer.filter(|_| socket.kind == SocketKind::Tcp) else { return };
        if let Some(name) = self.looked_up_as(process, peer.ip())
            && let Some(facts) = self.connections.facts_mut(socket.id)
        {
            facts.resolved_name = Some(name);
        }
    }

    /// A TLS connection is over whose plaintext was not seen.
    fn unreadable(&mut self, closed: Closed, out: &mut Vec<Observation>) {
        let Some((server_name, name_source)) = self.provider(closed.socket) else { return };
        let Some(facts) = self.connections.facts(closed.socket) else { return };
        let Some(entry) = self.table.get(closed.process).filter(|entry| entry.watched) else { return };
        if self.opaque.is_read(closed.process, &server_name) {
            return;
        }
        let call = OpaqueCall {
            provider: self.settings.providers.known_host(&server_name).map(str::to_owned),
            server_name,
            name_source,
            facts,
            started: self.clock.wall(closed.started),
            ended: self.clock.wall(closed.ended),
            sent: closed.sent,
            received: closed.received,
            first_byte: closed.first_byte,
        };
        out.push(Observation::new(call.ended, entry.info.clone(), Kind::OpaqueCall(Box::new(call))));
    }

    fn exchange(&mut self, mut exchange: Box<Exchange>, out: &mut Vec<Observation>, commands: &mut Vec<Command>) {
        let connection = exchange.connection;
        if let Some((socket, plain)) = self.join.socket(connection.process, connection.object) {
            exchange.tls = !plain;
            exchange.facts = self.connections.facts(socket);
        }
        let mut outcomes = Vec::new();
        if self.mcp.exchange(&exchange, &mut outcomes) {
            self.plain.remove(&(connection.process, connection.object));
            return self.mcp(outcomes, out, commands);
        }
        let request = &exchange.request;
        let host = request.headers.get("host").unwrap_or_default();
        let time = exchange.response.as_ref().map_or(request.ended, |response| response.ended.max(request.ended));
        // Only messages of a model's API become an exchange of a WebSocket.
        let socket = exchange.protocol == Protocol::WebSocket;
        let sign = if socket { Sign::Call } else { sign(&self.settings.providers, host, &request.target) };
        if sign == Sign::Call {
            self.plain.remove(&(connection.process, connection.object));
            // A process that serves a model's API is not an agent.
            if exchange.role == Role::Client {
                self.caller(&connection, time, out, commands);
            }
        } else if sign == Sign::None {
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
