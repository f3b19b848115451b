//! Requests of the Model Context Protocol and their answers, on the standard streams of servers.
//!
//! All is about channels: bytes that go one way, from whoever writes them to whoever reads them. A pipe is one; of a pair of
//! local sockets each end's writes are one. Both ends may be seen: then the same message comes twice, and the session's
//! client tells of it. A request and its answer are on two channels of the same two processes, and a client with several
//! servers uses the same ids on all of them: which channels belong together is told by who is at their other ends. Where
//! that is not seen, an id that is open on one channel only decides, and else nothing does.

use std::collections::BTreeMap;

use pipeline::{
    ProcessKey, SpanContext, mask,
    observation::{Implementation, Loss, LossReason, McpCall, McpError, McpTarget, Part, Role},
};

use crate::{
    event::{Chunk, Clock, Direction, Socket, SocketKind},
    streams::jsonrpc::{
        Framed, Framer,
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

/// Longest texts that go out, in characters.
const LONGEST_NAME: usize = 256;
const LONGEST_MESSAGE: usize = 512;

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

/// Requests that only a session's client sends, and notifications.
const CLIENT: &[&str] = &[
    "tools/list",
    "tools/call",
    "resources/list",
    "resources/templates/list",
    "resources/read",
    "resources/subscribe",
    "resources/unsubscribe",
    "prompts/list",
    "prompts/get",
    "completion/complete",
    "logging/setLevel",
    "notifications/initialized",
    "notifications/roots/list_changed",
];

/// Those that only its server sends.
const SERVER: &[&str] = &[
    "sampling/createMessage",
    "roots/list",
    "elicitation/create",
    "notifications/message",
    "notifications/tools/list_changed",
    "notifications/resources/list_changed",
    "notifications/resources/updated",
    "notifications/prompts/list_changed",
];

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

/// A request that is open for one process.
#[derive(Debug)]
struct Asked {
    id: String,
    method: String,
    target: Option<McpTarget>,
    jsonrpc_version: Option<String>,
    protocol_version: Option<String>,
    client: Implementation,
    arguments: Option<[u8; 8]>,
    remote_parent: Option<SpanContext>,
    size: u64,
    started: u64,
    cut: bool,
}

#[derive(Debug)]
struct Answer {
    id: Id,
    ended: u64,
    size: u64,
    error: Option<McpError>,
    protocol_version: Option<String>,
    server: Implementation,
    cut: bool,
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
        }
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
    }

    /// Forgets answers that nobody asked for.
    pub fn expire(&mut self, now: u64) {
        self.early.retain(|early| now.saturating_sub(early.answer.ended) <= PATIENCE);
    }

    /// Nothing more comes.
    pub fn finish(&mut self, time: u64, out: &mut Vec<Outcome>) {
        for (side, requests) in std::mem::take(&mut self.open) {
            for asked in requests.into_values() {
                self.unanswered(side, asked, LossReason::Unobserved, time, out);
            }
        }
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
        // Editors' and other agents' protocols begin with `initialize` too; only here its version is a date.
        let begins = method == "initialize" && message.text("params.protocolVersion").is_some();
        let from_client =
            if begins || CLIENT.contains(&method) { Some(true) } else { SERVER.contains(&method).then_some(false) };
        if let Some(from_client) = from_client {
            self.learn(side.channel, from_client);
        }
        if method == "notifications/cancelled" {
            if let Some(id) = message.id("params.requestId")
                && let Some(asked) = self.open.get_mut(&side).and_then(|open| open.remove(&id))
            {
                let error = McpError { kind: "cancelled".into(), code: None, message: None };
                self.tell(side, asked, framed.started, None, Some(error), Vec::new(), out);
            }
        } else if let Some(id) = message.id("id") {
            self.request(side, id, framed, message, out);
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

    fn request(&mut self, side: Side, id: Id, framed: &Framed, message: &Message<'_>, out: &mut Vec<Outcome>) {
        let method = message.text("method").unwrap_or_default();
        let name = |path| message.text(path).map(|text| masked(text, LONGEST_NAME));
        let uri =
            |path| message.text(path).map(|text| McpTarget::Resource(shorten(&mask::target(text), LONGEST_MESSAGE)));
        let target = match method {
            "tools/call" => name("params.name").map(McpTarget::Tool),
            "prompts/get" => name("params.name").map(McpTarget::Prompt),
            "completion/complete" => name("params.ref.name").map(McpTarget::Prompt).or_else(|| uri("params.ref.uri")),
            _ if method.starts_with("resources/") => uri("params.uri"),
            _ => None,
        };
        let asked = Asked {
            id: masked(&id.text, LONGEST_NAME),
            method: masked(method, LONGEST_NAME),
            target,
            jsonrpc_version: name("jsonrpc").filter(|version| version != "2.0"),
            protocol_version: name("params.protocolVersion"),
            client: Implementation { name: name("params.clientInfo.name"), version: name("params.clientInfo.version") },
            arguments: message.arguments.filter(|_| method == "tools/call").and_then(McpCall::digest),
            remote_parent: message.text("params._meta.traceparent").and_then(SpanContext::from_traceparent),
            size: framed.size,
            started: framed.started,
            cut: framed.tail.is_some(),
        };
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
        let Some(id) = message.id("id").filter(|_| message.answer) else { return self.is_mcp(side.channel) };
        let name = |path| message.text(path).map(|text| masked(text, LONGEST_NAME));
        let error = if message.failed {
            let code = message.integer("error.code");
            let text = message.text("error.message").map(|text| masked(text, LONGEST_MESSAGE));
            Some(McpError { kind: code.map_or_else(|| "_OTHER".into(), |code| code.to_string()), code, message: text })
        } else {
            let says = || "the tool's result says that it failed".to_owned();
            message.truth("result.isError").then(|| McpError {
                kind: "tool_error".into(),
                code: None,
                message: Some(says()),
            })
        };
        let answer = Answer {
            id,
            ended: framed.ended,
            size: framed.size,
            error,
            protocol_version: name("result.protocolVersion"),
            server: Implementation { name: name("result.serverInfo.name"), version: name("result.serverInfo.version") },
            cut: framed.tail.is_some(),
        };
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
                protocol_version: answer.protocol_version.or_else(|| asked.protocol_version.clone()),
                client: asked.client.clone(),
                server: answer.server,
            };
        }
        let lost = |part, cut: bool| cut.then_some(Loss { part, reason: LossReason::TooLarge, bytes: 0 });
        let losses = [lost(Part::Request, asked.cut), lost(Part::Response, answer.cut)].into_iter().flatten().collect();
        self.tell(asker, asked, answer.ended, Some(answer.size), answer.error, losses, out);
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
        self.tell(side, asked, time, None, None, losses, out);
    }

    /// Tells of a request, unless it is no MCP or the other end does.
    #[allow(clippy::too_many_arguments, reason = "all of it is the call")]
    fn tell(
        &mut self,
        side: Side,
        asked: Asked,
        ended: u64,
        response_size: Option<u64>,
        error: Option<McpError>,
        losses: Vec<Loss>,
        out: &mut Vec<Outcome>,
    ) {
        let partner = self.partner(side.channel);
        let Some(channel) = self.channels.get(&side.channel) else { return };
        let back = partner.and_then(|partner| self.channels.get(&partner));
        if !channel.mcp && back.is_none_or(|back| !back.mcp) {
            return;
        }
        let peer = if side.writes { channel.reader } else { channel.writer };
        let peer = peer.map(|end| end.process).filter(|peer| *peer != side.process);
        let from_client = channel.from_client.or_else(|| back?.from_client.map(|from_client| !from_client));
        if peer.is_some() && side.writes != from_client.unwrap_or(true) {
            return;
        }
        let session = match (from_client, back) {
            (Some(false), Some(back)) => &back.session,
            _ => &channel.session,
        };
        let started = self.clock.wall(asked.started);
        let own = |told: &Option<String>, asked: Option<String>| told.clone().or(asked);
        let call = McpCall {
            role: if side.writes { Role::Client } else { Role::Server },
            method: asked.method,
            id: Some(asked.id),
            target: asked.target,
            jsonrpc_version: asked.jsonrpc_version,
            protocol_version: own(&session.protocol_version, asked.protocol_version),
            client: Implementation {
                name: own(&session.client.name, asked.client.name),
                version: own(&session.client.version, asked.client.version),
            },
            server: session.server.clone(),
            peer,
            started,
            ended: self.clock.wall(ended).max(started),
            arguments: asked.arguments,
            request_size: asked.size,
            response_size,
            error,
            remote_parent: asked.remote_parent,
            losses,
            ..McpCall::new(Role::Client, "", started)
        };
        out.push(Outcome::Call(side.process, Box::new(call)));
    }
}

fn masked(text: &str, longest: usize) -> String {
    shorten(&mask::text(text), longest)
}

/// After masking: half of a secret may not look like one.
fn shorten(text: &str, longest: usize) -> String {
    text.chars().take(longest).collect()
}

#[cfg(test)]
mod tests;
