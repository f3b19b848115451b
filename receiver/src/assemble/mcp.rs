//! Requests of the Model Context Protocol and their answers: on the standard streams of servers, and in HTTP ([`http`]).
//!
//! On standard streams all is about channels: bytes that go one way, from whoever writes them to whoever reads them. A pipe is one; of a pair of
//! local sockets each end's writes are one. Both ends may be seen: then both tell of the same message ([`twins`]). A request and its answer are on two channels of the same two processes, and a client with several
//! servers uses the same ids on all of them: which channels belong together is told by who is at their other ends. Where
//! that is not seen, an id that is open on one channel only decides, and else nothing does.

mod http;
mod said;
mod twins;

use std::{collections::BTreeMap, sync::Arc};

use pipeline::{
    ProcessKey, Timestamp,
    observation::{ConnectionFacts, Exchange, Implementation, Loss, LossReason, McpCall, McpError, Part, Role},
};

use self::{
    http::Http,
    said::{Answer, Asked, from_client},
    twins::{Twins, Wire},
};
use crate::{
    event::{Chunk, Clock, Direction, Socket, SocketKind},
    streams::jsonrpc::{
        Framed, Framer,
        http::Rpc,
        message::{self, Id, Message},
    },
};

/// Messages that are no MCP, after which a lane is given up.
const FOREIGN: u32 = 64;

/// How long an answer waits for its request, ns: a thread may read the answer before the one that wrote the request
/// comes back from the kernel.
const PATIENCE: u64 = 1_000_000_000;

/// Answers that wait.
const MOST_EARLY: usize = 256;

/// Open requests of one process on one channel.
const MOST_OPEN: usize = 1_024;

/// Lanes of all processes.
const MOST_LANES: usize = 16_384;

/// Bytes of unfinished messages of all lanes.
const MOST_HELD: usize = 64 << 20;

/// Set in the number of a channel that is known by its reader's end only.
const READ_END: u64 = 1 << 63;

/// What came of what was seen.
#[derive(Debug)]
pub enum Outcome {
    /// A request was answered, or will not be.
    Call(ProcessKey, Box<McpCall>),
    /// This pipe or local socket carries something else.
    Foreign(ProcessKey, u64),
}

/// An end of a channel.
#[derive(Clone, Copy, Debug)]
struct End {
    process: ProcessKey,
    gone: bool,
}

#[derive(Debug, Default)]
struct Channel {
    writer: Option<End>,
    reader: Option<End>,
    /// The channel of the same local socket in the other direction.
    twin: Option<u64>,
    /// MCP was seen on it.
    mcp: bool,
    /// Whether the session's client writes it.
    from_client: Option<bool>,
    session: Session,
}

impl Channel {
    fn end(&mut self, direction: Direction) -> &mut Option<End> {
        match direction {
            Direction::Write => &mut self.writer,
            Direction::Read => &mut self.reader,
        }
    }

    fn is_over(&self) -> bool {
        [self.writer, self.reader].iter().flatten().all(|end| end.gone)
    }
}

/// What `initialize` told.
#[derive(Clone, Debug, Default)]
struct Session {
    protocol_version: Option<String>,
    client: Implementation,
    server: Implementation,
}

#[derive(Debug, Default)]
struct Lane {
    framer: Framer,
    foreign: u32,
    given_up: bool,
}

/// A channel as one process uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Side {
    process: ProcessKey,
    channel: u64,
    writes: bool,
}

#[derive(Debug)]
struct Early {
    side: Side,
    answer: Answer,
}

/// All sessions.
#[derive(Debug)]
pub struct Mcp {
    clock: Clock,
    lanes: BTreeMap<(ProcessKey, u64, bool), Lane>,
    held: usize,
    sockets: BTreeMap<u64, Socket>,
    channels: BTreeMap<u64, Channel>,
    open: BTreeMap<Side, BTreeMap<Id, Asked>>,
    early: Vec<Early>,
    http: Http,
    twins: Twins,
}

impl Mcp {
    /// No session yet.
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            lanes: BTreeMap::new(),
            held: 0,
            sockets: BTreeMap::new(),
            channels: BTreeMap::new(),
            open: BTreeMap::new(),
            early: Vec::new(),
            http: Http::default(),
            twins: Twins::default(),
        }
    }

    /// Something of an exchange of HTTP that is under way.
    pub fn rpc(&mut self, rpc: &Rpc, tls: bool, facts: Option<Arc<ConnectionFacts>>, out: &mut Vec<Outcome>) {
        self.http.rpc(rpc, tls, facts, &mut self.twins, out);
    }

    /// An exchange of HTTP is over. True if it was one of MCP.
    pub fn exchange(&mut self, exchange: &Exchange, out: &mut Vec<Outcome>) -> bool {
        self.http.exchange(exchange, &mut self.twins, out)
    }

    /// A local socket was told.
    pub fn socket(&mut self, socket: &Socket) {
        if socket.kind != SocketKind::Unix || self.sockets.len() >= MOST_LANES {
            return;
        }
        let mut socket = *socket;
        // Each end may tell of the other, or neither, as it happens.
        let known = self.sockets.values().find(|known| known.other == Some(socket.id)).map(|known| known.id);
        socket.other = socket.other.or(known);
        self.sockets.insert(socket.id, socket);
    }

    /// A piece of what a process wrote to a pipe or local socket, or read from it.
    pub fn data(&mut self, process: ProcessKey, time: u64, chunk: &Chunk, out: &mut Vec<Outcome>) {
        let key = (process, chunk.object, chunk.direction == Direction::Write);
        if !self.lanes.contains_key(&key) && self.lanes.len() >= MOST_LANES {
            return;
        }
        let lane = self.lanes.entry(key).or_default();
        if lane.given_up {
            return;
        }
        let mut framed = Vec::new();
        let before = lane.framer.held();
        lane.framer.chunk(chunk.total, chunk.offset, &chunk.bytes, time, &mut framed);
        self.held = (self.held + lane.framer.held()).saturating_sub(before);
        if self.held > MOST_HELD {
            self.held = self.held.saturating_sub(lane.framer.held());
            lane.framer = Framer::default();
        }
        if framed.is_empty() {
            return;
        }
        let side = self.side(process, chunk.object, chunk.direction);
        for framed in framed {
            let mut known = false;
            for message in message::read(&framed) {
                known |= self.message(side, &framed, &message, out);
            }
            let mcp = self.is_mcp(side.channel);
            let Some(lane) = self.lanes.get_mut(&key) else { return };
            lane.foreign = if known { 0 } else { lane.foreign + 1 };
            if lane.foreign == FOREIGN && !mcp {
                lane.given_up = true;
                lane.framer = Framer::default();
                out.push(Outcome::Foreign(process, chunk.object));
            }
        }
    }

    /// A process closed a pipe or local socket.
    pub fn close(&mut self, process: ProcessKey, object: u64, time: u64, out: &mut Vec<Outcome>) {
        for direction in [Direction::Write, Direction::Read] {
            if self.drop_lane((process, object, direction == Direction::Write)) {
                self.end(process, self.channel_of(object, direction), time, out);
            }
        }
        self.sockets.remove(&object);
    }

    /// A process ended.
    pub fn exit(&mut self, process: ProcessKey, time: u64, out: &mut Vec<Outcome>) {
        let lanes: Vec<_> =
            self.lanes.range((process, 0, false)..=(process, u64::MAX, true)).map(|(key, _)| *key).collect();
        for key in lanes {
            self.drop_lane(key);
        }
        let ends = |end: &Option<End>| end.is_some_and(|end| end.process == process && !end.gone);
        let used = self.channels.iter().filter(|(_, channel)| ends(&channel.writer) || ends(&channel.reader));
        let used: Vec<u64> = used.map(|(channel, _)| *channel).collect();
        for channel in used {
            self.end(process, channel, time, out);
        }
        self.early.retain(|early| early.side.process != process);
        self.http.exit(process, self.clock.wall(time), &mut self.twins, out);
        self.twins.exit(process, out);
    }

    /// Forgets answers that nobody asked for, and gives up waiting.
    pub fn expire(&mut self, now: u64, out: &mut Vec<Outcome>) {
        self.early.retain(|early| now.saturating_sub(early.answer.ended) <= PATIENCE);
        let now = self.clock.wall(now);
        self.http.expire(now, &mut self.twins, out);
        self.twins.expire(now.nanos(), out);
    }

    /// Nothing more comes.
    pub fn finish(&mut self, time: u64, out: &mut Vec<Outcome>) {
        for (side, requests) in std::mem::take(&mut self.open) {
            for asked in requests.into_values() {
                self.unanswered(side, asked, LossReason::Unobserved, time, out);
            }
        }
        self.http.finish(self.clock.wall(time), &mut self.twins, out);
        self.twins.finish(out);
    }

    fn drop_lane(&mut self, key: (ProcessKey, u64, bool)) -> bool {
        let lane = self.lanes.remove(&key);
        self.held = self.held.saturating_sub(lane.as_ref().map_or(0, |lane| lane.framer.held()));
        lane.is_some()
    }

    fn channel_of(&self, object: u64, direction: Direction) -> u64 {
        match (direction, self.sockets.get(&object)) {
            (Direction::Read, Some(socket)) => socket.other.unwrap_or(object | READ_END),
            _ => object,
        }
    }

    /// Notes who is at a channel's end.
    fn side(&mut self, process: ProcessKey, object: u64, direction: Direction) -> Side {
        let id = self.channel_of(object, direction);
        if self.sockets.contains_key(&object) {
            let other = match direction {
                Direction::Read => Direction::Write,
                Direction::Write => Direction::Read,
            };
            let twin = self.channel_of(object, other);
            self.channels.entry(id).or_default().twin = Some(twin);
            self.channels.entry(twin).or_default().twin = Some(id);
        }
        let end = self.channels.entry(id).or_default().end(direction);
        *end = Some(End { process, gone: false });
        Side { process, channel: id, writes: direction == Direction::Write }
    }

    fn is_mcp(&self, channel: u64) -> bool {
        self.channels.get(&channel).is_some_and(|channel| channel.mcp)
    }

    /// Whether a local socket is used in both directions. Node gives a child one pair for its input, and one for its output.
    fn has_twin(&self, channel: &Channel) -> bool {
        let twin = channel.twin.and_then(|twin| self.channels.get(&twin));
        twin.is_some_and(|twin| twin.writer.is_some() || twin.reader.is_some())
    }

    /// The channel between the same two processes in the other direction.
    fn partner(&self, channel: u64) -> Option<u64> {
        let this = self.channels.get(&channel)?;
        if self.has_twin(this) {
            return this.twin;
        }
        let (writer, reader) = (this.writer?.process, this.reader?.process);
        let back = |other: &Channel| {
            let ends = (other.writer.map(|end| end.process), other.reader.map(|end| end.process));
            ends == (Some(reader), Some(writer)) && !self.has_twin(other)
        };
        let mut found = self.channels.iter().filter(|(id, other)| **id != channel && back(other)).map(|(id, _)| *id);
        let only = found.next()?;
        found.next().is_none().then_some(only)
    }

    /// Takes a message. True if it is one of an MCP session.
    fn message(&mut self, side: Side, framed: &Framed, message: &Message<'_>, out: &mut Vec<Outcome>) -> bool {
        let Some(method) = message.text("method") else {
            return self.answer(side, framed, message, out);
        };
        let from_client = from_client(message);
        if let Some(from_client) = from_client {
            self.learn(side.channel, from_client);
        }
        if method == "notifications/cancelled"
            && let Some(id) = message.id("params.requestId")
            && let Some(asked) = self.open.get_mut(&side).and_then(|open| open.remove(&id))
        {
            let error = McpError { kind: "cancelled".into(), code: None, message: None };
            self.tell(side, asked, Ended { error: Some(error), ..Ended::at(framed.started) }, out);
        }
        match message.id("id") {
            Some(id) => self.request(side, id, framed, message, out),
            None => {
                let asked = self.asked(side, framed, message);
                self.tell(side, asked, Ended::at(framed.ended), out);
            }
        }
        self.is_mcp(side.channel)
    }

    fn learn(&mut self, channel: u64, from_client: bool) {
        let partner = self.partner(channel);
        for (id, from_client) in [(Some(channel), from_client), (partner, !from_client)] {
            if let Some(channel) = id.and_then(|id| self.channels.get_mut(&id)) {
                channel.mcp = true;
                channel.from_client = Some(from_client);
            }
        }
    }

    /// A request or a notification, and that it is under way.
    fn asked(&mut self, side: Side, framed: &Framed, message: &Message<'_>) -> Asked {
        let mut asked = Asked::of(framed, message);
        let started = self.clock.wall(asked.started);
        if asked.id.is_none() {
            asked.ordinal = self.twins.ordinal(side.process, started);
        }
        if side.writes {
            let wire = Wire { channel: Some(side.channel), ..Wire::default() };
            let (what, moment) = ((asked.method.as_str(), asked.id.as_deref()), (started, asked.ordinal));
            asked.sent = Some(self.twins.sends(what, wire, side.process, moment, started.nanos()));
        }
        asked
    }

    fn request(&mut self, side: Side, id: Id, framed: &Framed, message: &Message<'_>, out: &mut Vec<Outcome>) {
        let asked = self.asked(side, framed, message);
        let open = self.open.entry(side).or_default();
        if open.len() >= MOST_OPEN {
            return;
        }
        if let Some(before) = open.insert(id, asked) {
            // The id is used again: the answer to the first was missed.
            self.unanswered(side, before, LossReason::Unobserved, framed.started, out);
        }
        self.retry(side.process, out);
    }

    fn answer(&mut self, side: Side, framed: &Framed, message: &Message<'_>, out: &mut Vec<Outcome>) -> bool {
        let Some(answer) = Answer::of(framed, message) else { return self.is_mcp(side.channel) };
        if let Some(answer) = self.pair(side, answer, out) {
            if self.early.len() >= MOST_EARLY {
                self.early.remove(0);
            }
            self.early.push(Early { side, answer });
        }
        // Who is at the other end of a channel may have become known, or another request was answered.
        self.retry(side.process, out);
        let peers = self.channels.get(&side.channel).map(|channel| [channel.writer, channel.reader]);
        for end in peers.into_iter().flatten().flatten().filter(|end| end.process != side.process) {
            self.retry(end.process, out);
        }
        self.is_mcp(side.channel)
    }

    fn retry(&mut self, process: ProcessKey, out: &mut Vec<Outcome>) {
        if self.early.iter().all(|early| early.side.process != process) {
            return;
        }
        for Early { side, answer } in std::mem::take(&mut self.early) {
            let left = if side.process == process { self.pair(side, answer, out) } else { Some(answer) };
            if let Some(answer) = left {
                self.early.push(Early { side, answer });
            }
        }
    }

    /// Finds the request of an answer. Gives the answer back if there is none, or more than one.
    fn pair(&mut self, side: Side, answer: Answer, out: &mut Vec<Outcome>) -> Option<Answer> {
        let Some(asker) = self.asker(side, &answer.id) else { return Some(answer) };
        let Some(asked) = self.open.get_mut(&asker).and_then(|open| open.remove(&answer.id)) else {
            return Some(answer);
        };
        if self.open.get(&asker).is_some_and(BTreeMap::is_empty) {
            self.open.remove(&asker);
        }
        if self.is_mcp(asker.channel)
            && let Some(channel) = self.channels.get_mut(&side.channel)
        {
            channel.mcp = true;
        }
        if asked.method == "initialize"
            && let Some(channel) = self.channels.get_mut(&asker.channel)
        {
            channel.session = Session {
                protocol_version: answer.protocol_version.clone().or_else(|| asked.protocol_version.clone()),
                client: asked.client.clone(),
                server: answer.server.clone(),
            };
        }
        let lost = |part, cut: bool| cut.then_some(Loss { part, reason: LossReason::TooLarge, bytes: 0 });
        let losses = [lost(Part::Request, asked.cut), lost(Part::Response, answer.cut)].into_iter().flatten().collect();
        let ended = Ended {
            at: answer.ended,
            size: Some(answer.size),
            error: answer.error,
            protocol_version: answer.protocol_version,
            server: answer.server,
            result: answer.raw_result,
            losses,
        };
        self.tell(asker, asked, ended, out);
        None
    }

    /// Where the request is that a process's answer on this side belongs to.
    fn asker(&self, side: Side, id: &Id) -> Option<Side> {
        let at = |channel| Side { channel, writes: !side.writes, ..side };
        if let Some(partner) = self.partner(side.channel) {
            let asker = at(partner);
            return self.open.get(&asker).is_some_and(|open| open.contains_key(id)).then_some(asker);
        }
        let first = Side { process: side.process, channel: 0, writes: false };
        let last = Side { process: side.process, channel: u64::MAX, writes: true };
        let mut open = self.open.range(first..=last).filter(|(other, open)| {
            other.writes != side.writes && open.contains_key(id) && self.partner(other.channel).is_none()
        });
        let (only, _) = open.next()?;
        open.next().is_none().then_some(*only)
    }

    /// A process is no longer at a channel's end.
    fn end(&mut self, process: ProcessKey, channel: u64, time: u64, out: &mut Vec<Outcome>) {
        for writes in [true, false] {
            let side = Side { process, channel, writes };
            for asked in self.open.remove(&side).into_iter().flat_map(BTreeMap::into_values) {
                self.unanswered(side, asked, LossReason::Closed, time, out);
            }
        }
        let Some(known) = self.channels.get_mut(&channel) else { return };
        for end in [&mut known.writer, &mut known.reader].into_iter().flatten() {
            end.gone |= end.process == process;
        }
        if known.is_over() {
            self.channels.remove(&channel);
        }
    }

    fn unanswered(&mut self, side: Side, asked: Asked, reason: LossReason, time: u64, out: &mut Vec<Outcome>) {
        let losses = vec![Loss { part: Part::Response, reason, bytes: 0 }];
        self.tell(side, asked, Ended { losses, ..Ended::at(time) }, out);
    }

    /// Tells of a request or a notification, unless it is no MCP.
    fn tell(&mut self, side: Side, asked: Asked, ended: Ended<u64>, out: &mut Vec<Outcome>) {
        let at = self.clock.wall(ended.at);
        let partner = self.partner(side.channel);
        let channel = self.channels.get(&side.channel);
        let back = partner.and_then(|partner| self.channels.get(&partner));
        let Some(channel) = channel.filter(|channel| channel.mcp || back.is_some_and(|back| back.mcp)) else {
            if let Some(number) = asked.sent {
                self.twins.told(number, at.nanos(), out);
            }
            return;
        };
        let peer = if side.writes { channel.reader } else { channel.writer };
        let peer = peer.map(|end| end.process).filter(|peer| *peer != side.process);
        let from_client = channel.from_client.or_else(|| back?.from_client.map(|from_client| !from_client));
        let session = match (from_client, back) {
            (Some(false), Some(back)) => &back.session,
            _ => &channel.session,
        };
        let role = if side.writes { Role::Client } else { Role::Server };
        let started = self.clock.wall(asked.started);
        let call = call(role, started, asked.clone(), ended.wall(self.clock), session.clone(), None);
        let call = Box::new(McpCall { peer, ..call });
        match asked.sent {
            Some(number) => {
                out.push(Outcome::Call(side.process, call));
                self.twins.told(number, at.nanos(), out);
            }
            None => {
                let wire = Wire { channel: Some(side.channel), ..Wire::default() };
                self.twins.dealt(wire, side.process, call, at.nanos(), out);
            }
        }
    }
}

/// How a call ended.
#[derive(Debug)]
struct Ended<T> {
    at: T,
    size: Option<u64>,
    error: Option<McpError>,
    protocol_version: Option<String>,
    server: Implementation,
    result: Option<String>,
    losses: Vec<Loss>,
}

impl<T> Ended<T> {
    /// Without an answer.
    fn at(at: T) -> Self {
        let server = Implementation::default();
        Self { at, size: None, error: None, protocol_version: None, server, result: None, losses: Vec::new() }
    }
}

impl Ended<u64> {
    fn wall(self, clock: Clock) -> Ended<Timestamp> {
        let Ended { at, size, error, protocol_version, server, result, losses } = self;
        Ended { at: clock.wall(at), size, error, protocol_version, server, result, losses }
    }
}

/// A call of what was asked and how it ended. `version`: what HTTP says of the protocol's.
fn call(
    role: Role,
    started: Timestamp,
    asked: Asked,
    ended: Ended<Timestamp>,
    session: Session,
    version: Option<String>,
) -> McpCall {
    McpCall {
        id: asked.id,
        target: asked.target,
        jsonrpc_version: asked.jsonrpc_version,
        // A client may ask for one version and be given another.
        protocol_version: ended.protocol_version.or(version).or(session.protocol_version).or(asked.protocol_version),
        client: Implementation {
            name: asked.client.name.or(session.client.name),
            version: asked.client.version.or(session.client.version),
        },
        server: Implementation {
            name: ended.server.name.or(session.server.name),
            version: ended.server.version.or(session.server.version),
        },
        ordinal: asked.ordinal,
        ended: ended.at.max(started),
        arguments: asked.arguments,
        raw_result: ended.result.filter(|_| asked.method == "tools/call"),
        raw_arguments: asked.raw_arguments,
        request_size: asked.size,
        response_size: ended.size,
        error: ended.error,
        remote_parent: asked.remote_parent,
        losses: ended.losses,
        ..McpCall::new(role, asked.method, started)
    }
}

#[cfg(test)]
mod tests;
