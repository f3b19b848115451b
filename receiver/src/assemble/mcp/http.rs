//! MCP over HTTP: streamable HTTP (specifications 2025-03-26 and later) and the older HTTP with SSE (2024-11-05).
//!
//! An answer comes in the response to its request, or on another event stream of the same session: one that the client
//! opened with GET, one that it resumed, or with the older transport the only one. So a request waits for its answer by
//! its exchange first, then by its session. Requests of the server come on event streams, and the client posts the answers.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use pipeline::{
    ConnectionKey, ProcessKey, Timestamp, mask,
    observation::{
        ConnectionFacts, Exchange, Loss, LossReason, McpCall, McpError, McpHttp, Part, Protocol, Role, ServerAddress,
    },
    providers, sse,
};

use super::{
    Ended, Outcome, Session, call,
    said::{Answer, Asked, failure, from_client},
    twins::{Twins, Wire},
};
use crate::streams::jsonrpc::{
    Framed,
    events::Event,
    http::{Rpc, Said, framed, is_rpc},
    message::{self, Id, Message},
};

/// Exchanges that are under way, sessions, endpoints of the older transport.
const MOST: usize = 8_192;

/// Requests that wait under one id of one process.
const MOST_SAME: usize = 1_024;

/// How long a request whose response ended waits for an answer on another stream, ns.
const RESUMED: u64 = 300_000_000_000;

/// What requests and answers on different connections have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Scope {
    /// `Mcp-Session-Id`.
    Session(String),
    /// Where the messages of an event stream of the older transport are posted to: path and query.
    Endpoint(String),
    /// Neither: the server's authority.
    Server(String),
}

impl Scope {
    fn session_id(&self) -> Option<String> {
        match self {
            Scope::Session(id) => Some(id.clone()),
            Scope::Endpoint(target) => {
                let query = target.split_once('?')?.1;
                let value = |pair: &str| {
                    let (name, value) = pair.split_once('=')?;
                    let name = name.to_ascii_lowercase().replace('_', "");
                    (name == "sessionid").then(|| value.to_owned())
                };
                query.split('&').find_map(value)
            }
            Scope::Server(_) => None,
        }
    }

    fn is_session(&self) -> bool {
        !matches!(self, Scope::Server(_))
    }
}

type Place = (ConnectionKey, u32);

/// An exchange that is under way.
#[derive(Debug)]
struct Live {
    role: Role,
    protocol: Protocol,
    scope: Scope,
    server: Option<ServerAddress>,
    facts: Option<Arc<ConnectionFacts>>,
    version: Option<String>,
    status: Option<u16>,
    /// The session that the answer opens.
    opened: Option<String>,
    /// It is answered by an event stream.
    streamed: bool,
    /// Ids of its requests.
    asked: Vec<Id>,
    /// Its notifications.
    notes: Vec<Asked>,
}

impl Live {
    fn wire(&self) -> Wire {
        let facts = self.facts.as_ref();
        Wire::between(
            facts.and_then(|facts| facts.local),
            facts.and_then(|facts| facts.peer),
            self.opened.clone().or_else(|| self.scope.session_id()),
        )
    }
}

/// A request without its answer.
#[derive(Debug)]
struct Open {
    place: Place,
    /// Which end of the HTTP is observed.
    observed: Role,
    scope: Scope,
    asked: Asked,
    http: McpHttp,
    wire: Wire,
    version: Option<String>,
    /// Since when its exchange is over.
    orphan: Option<Timestamp>,
}

/// All sessions over HTTP.
#[derive(Debug, Default)]
pub(super) struct Http {
    live: BTreeMap<Place, Live>,
    /// By process, whether the session's client asked, and id.
    open: BTreeMap<(ProcessKey, bool, Id), Vec<Open>>,
    sessions: BTreeMap<(ProcessKey, Scope), Session>,
    /// Where processes post, or are posted to, by the older transport.
    endpoints: BTreeMap<(ProcessKey, String), ()>,
}

/// What an exchange's request says of itself.
struct Request<'a> {
    place: Place,
    role: Role,
    protocol: Protocol,
    tls: bool,
    facts: Option<Arc<ConnectionFacts>>,
    method: &'a str,
    target: &'a str,
    headers: &'a [(String, String)],
    body: &'a [u8],
    started: Timestamp,
    ended: Timestamp,
}

fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
}

/// What the two ends do in a call: who sent it is the client of it.
fn role(observed: Role, by_client: bool) -> Role {
    if (observed == Role::Client) == by_client { Role::Client } else { Role::Server }
}

/// Path and query of a target or an absolute URL.
fn local(target: &str) -> String {
    let rest = target.split_once("://").map_or(target, |(_, rest)| rest.find('/').map_or("/", |at| &rest[at..]));
    mask::target(rest).into_owned()
}

impl Http {
    /// Something of an exchange that is under way.
    pub(super) fn rpc(
        &mut self,
        rpc: &Rpc,
        tls: bool,
        facts: Option<Arc<ConnectionFacts>>,
        twins: &mut Twins,
        out: &mut Vec<Outcome>,
    ) {
        let place = (rpc.connection, rpc.index);
        match &rpc.said {
            Said::Asked { method, target, headers, body, started, ended } => {
                let request = Request {
                    place,
                    role: rpc.role,
                    protocol: rpc.protocol,
                    tls,
                    facts,
                    method,
                    target,
                    headers,
                    body,
                    started: *started,
                    ended: *ended,
                };
                self.asked(&request, twins, out);
            }
            Said::Answers { status, headers } => {
                if let Some(live) = self.live.get_mut(&place) {
                    live.status = Some(*status);
                    live.streamed = true;
                    live.opened = header(headers, "mcp-session-id").map(str::to_owned);
                }
            }
            Said::Event(event) => self.event(place, event, twins, out),
        }
    }

    /// An exchange is over. True if it was one of MCP.
    pub(super) fn exchange(&mut self, exchange: &Exchange, twins: &mut Twins, out: &mut Vec<Outcome>) -> bool {
        let place = (exchange.connection, exchange.index);
        let request = &exchange.request;
        let headers = &request.headers;
        if exchange.protocol == Protocol::WebSocket {
            return false;
        }
        if !self.live.contains_key(&place) && request.method == "POST" && is_rpc(&request.body.bytes) {
            // Answered before it was whole, or told in one piece.
            let late = Request {
                place,
                role: exchange.role,
                protocol: exchange.protocol,
                tls: exchange.tls,
                facts: exchange.facts.clone(),
                method: &request.method,
                target: &request.target,
                headers: &headers.0,
                body: &request.body.bytes,
                started: request.started,
                ended: request.ended,
            };
            self.asked(&late, twins, out);
        }
        let session = headers.get("mcp-session-id");
        if !self.live.contains_key(&place) {
            if let Some(session) = session.filter(|_| request.method == "DELETE") {
                let scope = Scope::Session(session.to_owned());
                self.sessions.remove(&(exchange.connection.process, scope));
            }
            return session.is_some() || headers.get("mcp-protocol-version").is_some();
        }
        if let Some(response) = &exchange.response {
            if let Some(live) = self.live.get_mut(&place) {
                live.status = Some(response.status);
                live.opened = response.headers.get("mcp-session-id").map(str::to_owned).or(live.opened.take());
                if live.facts.is_none() {
                    live.facts.clone_from(&exchange.facts);
                }
            }
            let kind = response.headers.get("content-type").unwrap_or_default();
            let body = &response.body.bytes;
            if kind.starts_with("text/event-stream") {
                if let Some(live) = self.live.get_mut(&place) {
                    live.streamed = true;
                }
                for event in sse::events(body).filter(|event| event.complete) {
                    let at = |offset: usize| response.body.arrived(offset as u64).unwrap_or(response.ended);
                    let event = Event {
                        kind: event.event.into_owned(),
                        data: event.data.into_owned().into_bytes(),
                        started: at(event.offset),
                        ended: at(event.end.saturating_sub(1)),
                    };
                    self.event(place, &event, twins, out);
                }
            } else if is_rpc(body) {
                self.served(place, &framed(body.to_vec(), response.started, response.ended), twins, out);
            }
        }
        self.over(place, exchange, twins, out);
        true
    }

    /// A request is complete.
    fn asked(&mut self, request: &Request<'_>, twins: &mut Twins, out: &mut Vec<Outcome>) {
        let process = request.place.0.process;
        let framed = framed(request.body.to_vec(), request.started, request.ended);
        let messages = message::read(&framed);
        let target = local(request.target);
        let session = header(request.headers, "mcp-session-id");
        let known = session.is_some()
            || header(request.headers, "mcp-protocol-version").is_some()
            || self.endpoints.contains_key(&(process, target.clone()))
            // An event stream that has JSON-RPC in it: other protocols post their requests to get one.
            || (request.method == "GET" && messages.is_empty());
        if !known && !messages.iter().any(|message| from_client(message).is_some()) {
            return;
        }
        let authority = header(request.headers, "host").unwrap_or_default();
        let (host, port) = providers::split_authority(authority);
        let server = (!host.is_empty())
            .then(|| ServerAddress { address: host, port: port.unwrap_or(if request.tls { 443 } else { 80 }) });
        let scope = match session {
            Some(session) => Scope::Session(session.to_owned()),
            None if self.endpoints.contains_key(&(process, target.clone())) => Scope::Endpoint(target),
            None => Scope::Server(authority.to_owned()),
        };
        let live = Live {
            role: request.role,
            protocol: request.protocol,
            scope,
            server,
            facts: request.facts.clone(),
            version: header(request.headers, "mcp-protocol-version").map(str::to_owned),
            status: None,
            opened: None,
            streamed: false,
            asked: Vec::new(),
            notes: Vec::new(),
        };
        while self.live.len() >= MOST
            && let Some((place, _)) = self.live.pop_first()
        {
            self.abandon(place, request.ended, twins, out);
        }
        self.live.insert(request.place, live);
        for message in &messages {
            self.message(request.place, true, &framed, message, twins, out);
        }
    }

    /// An event of a response.
    fn event(&mut self, place: Place, event: &Event, twins: &mut Twins, out: &mut Vec<Outcome>) {
        if event.kind == "endpoint" {
            let target = local(String::from_utf8_lossy(&event.data).trim());
            if let Some(live) = self.live.get_mut(&place) {
                live.scope = Scope::Endpoint(target.clone());
                if self.endpoints.len() >= MOST {
                    self.endpoints.pop_first();
                }
                self.endpoints.insert((place.0.process, target), ());
            }
            return;
        }
        self.served(place, &framed(event.data.clone(), event.started, event.ended), twins, out);
    }

    /// Messages of a session's server.
    fn served(&mut self, place: Place, framed: &Framed, twins: &mut Twins, out: &mut Vec<Outcome>) {
        for message in message::read(framed) {
            self.message(place, false, framed, &message, twins, out);
        }
    }

    fn message(
        &mut self,
        place: Place,
        by_client: bool,
        framed: &Framed,
        message: &Message<'_>,
        twins: &mut Twins,
        out: &mut Vec<Outcome>,
    ) {
        if message.text("method").is_none() {
            if let Some(answer) = Answer::of(framed, message) {
                self.answer(place, !by_client, answer, twins, out);
            }
            return;
        }
        let Some(live) = self.live.get(&place) else { return };
        let process = place.0.process;
        let mut asked = Asked::of(framed, message);
        if message.id("id").is_none() {
            asked.ordinal = twins.ordinal(process, Timestamp(asked.started));
        }
        let wire = live.wire();
        if role(live.role, by_client) == Role::Client {
            let moment = (Timestamp(asked.started), asked.ordinal);
            let number =
                twins.sends((&asked.method, asked.id.as_deref()), wire.clone(), process, moment, framed.started);
            asked.sent = Some(number);
        }
        let Some(id) = message.id("id") else {
            if asked.method == "notifications/cancelled"
                && let Some(id) = message.id("params.requestId")
            {
                self.cancelled(place, by_client, &id, framed, twins, out);
            }
            return self.note(place, by_client, asked, framed, twins, out);
        };
        let open = Open {
            place,
            observed: live.role,
            scope: live.scope.clone(),
            http: http(live, by_client),
            wire,
            version: live.version.clone(),
            asked,
            orphan: None,
        };
        let same = self.open.entry((process, by_client, id.clone())).or_default();
        if same.len() >= MOST_SAME {
            return;
        }
        same.push(open);
        if by_client && let Some(live) = self.live.get_mut(&place) {
            live.asked.push(id);
        }
    }

    /// A notification: the client's is told with what HTTP says of it.
    fn note(
        &mut self,
        place: Place,
        by_client: bool,
        asked: Asked,
        framed: &Framed,
        twins: &mut Twins,
        out: &mut Vec<Outcome>,
    ) {
        let Some(live) = self.live.get_mut(&place) else { return };
        if by_client {
            return live.notes.push(asked);
        }
        let open = Open {
            place,
            observed: live.role,
            scope: live.scope.clone(),
            http: http(live, by_client),
            wire: live.wire(),
            version: live.version.clone(),
            asked,
            orphan: None,
        };
        self.tell(by_client, open, Ended::at(Timestamp(framed.ended)), twins, out);
    }

    fn cancelled(
        &mut self,
        place: Place,
        by_client: bool,
        id: &Id,
        framed: &Framed,
        twins: &mut Twins,
        out: &mut Vec<Outcome>,
    ) {
        let Some(live) = self.live.get(&place) else { return };
        let scope = live.scope.clone();
        let Some(open) = self.take(place, by_client, id, &scope) else { return };
        let error = McpError { kind: "cancelled".into(), code: None, message: None };
        let ended = Ended { error: Some(error), ..Ended::at(Timestamp(framed.started)) };
        self.tell(by_client, open, ended, twins, out);
    }

    /// The request that something on this exchange answers.
    fn take(&mut self, place: Place, by_client: bool, id: &Id, scope: &Scope) -> Option<Open> {
        let key = (place.0.process, by_client, id.clone());
        let same = self.open.get_mut(&key)?;
        let here = same.iter().position(|open| open.place == place);
        let session = || same.iter().position(|open| open.scope == *scope && scope.is_session());
        // Without a session, only one that cannot be another's.
        let only = || {
            let mut fitting = same.iter().enumerate().filter(|(_, open)| open.scope == *scope || !by_client);
            let (at, _) = fitting.next()?;
            fitting.next().is_none().then_some(at)
        };
        let at = here.or_else(session).or_else(only)?;
        let open = same.remove(at);
        if same.is_empty() {
            self.open.remove(&key);
        }
        Some(open)
    }

    fn answer(&mut self, place: Place, by_client: bool, answer: Answer, twins: &mut Twins, out: &mut Vec<Outcome>) {
        let Some(live) = self.live.get(&place) else { return };
        let (role, scope, status) = (live.role, live.scope.clone(), live.status);
        let opened = live.opened.clone();
        let Some(mut open) = self.take(place, by_client, &answer.id, &scope) else { return };
        if by_client {
            open.http.status = status;
        }
        if open.asked.method == "initialize" && answer.error.is_none() {
            if let Some(opened) = opened {
                open.scope = Scope::Session(opened);
            }
            if self.sessions.len() >= MOST {
                self.sessions.pop_first();
            }
            let session = Session {
                protocol_version: answer.protocol_version.clone().or_else(|| open.asked.protocol_version.clone()),
                client: open.asked.client.clone(),
                server: answer.server.clone(),
            };
            // A server without sessions has many clients.
            if role == Role::Client || open.scope.is_session() {
                self.sessions.insert((place.0.process, open.scope.clone()), session);
            }
        }
        let lost = |part, cut: bool| cut.then_some(Loss { part, reason: LossReason::TooLarge, bytes: 0 });
        let ended = Ended {
            at: Timestamp(answer.ended),
            size: Some(answer.size),
            error: answer.error,
            protocol_version: answer.protocol_version,
            server: answer.server,
            result: answer.raw_result,
            losses: [lost(Part::Request, open.asked.cut), lost(Part::Response, answer.cut)]
                .into_iter()
                .flatten()
                .collect(),
        };
        self.tell(by_client, open, ended, twins, out);
    }

    /// An exchange is over: what it did not answer.
    fn over(&mut self, place: Place, exchange: &Exchange, twins: &mut Twins, out: &mut Vec<Outcome>) {
        let Some(live) = self.live.remove(&place) else { return };
        let response = exchange.response.as_ref();
        let status = response.map(|response| response.status);
        let at = response.map_or(exchange.request.ended, |response| response.ended).max(exchange.request.ended);
        let refused = status.filter(|status| *status >= 400).map(|status| {
            let body = response.map(|response| framed(response.body.bytes.to_vec(), at, at));
            // What the server says of it, which names no request that it could not read.
            let told = body.as_ref().and_then(|body| message::read(body).iter().find_map(failure));
            told.unwrap_or_else(|| McpError { kind: status.to_string(), code: None, message: None })
        });
        let moved = status.is_some_and(|status| (300..400).contains(&status));
        for id in &live.asked {
            let Some(mut open) = self.take_here(place, id) else { continue };
            open.http.status = status;
            if moved {
                // It is sent again, elsewhere.
                if let Some(number) = open.asked.sent {
                    twins.told(number, at.nanos(), out);
                }
                continue;
            }
            let elsewhere = status == Some(202) || live.streamed;
            if refused.is_none() && status.is_some() && elsewhere && live.scope.is_session() {
                open.orphan = Some(at);
                self.open.entry((place.0.process, true, id.clone())).or_default().push(open);
                continue;
            }
            let mut losses = exchange.losses.clone();
            if refused.is_none() && losses.is_empty() {
                losses.push(Loss { part: Part::Response, reason: LossReason::Closed, bytes: 0 });
            }
            let ended = Ended { error: refused.clone(), losses, ..Ended::at(at) };
            self.tell(true, open, ended, twins, out);
        }
        for asked in live.notes.iter().filter(|_| !moved) {
            let open = Open {
                place,
                observed: live.role,
                scope: live.scope.clone(),
                http: McpHttp { status, ..http(&live, true) },
                wire: live.wire(),
                version: live.version.clone(),
                asked: asked.clone(),
                orphan: None,
            };
            let ended = Ended { error: refused.clone(), ..Ended::at(at) };
            self.tell(true, open, ended, twins, out);
        }
        if let Scope::Endpoint(target) = &live.scope
            && live.asked.is_empty()
            && live.notes.is_empty()
            && exchange.request.method == "GET"
        {
            // Answers came on this stream only.
            self.endpoints.remove(&(place.0.process, target.clone()));
            self.sessions.remove(&(place.0.process, live.scope.clone()));
            self.give_up(twins, out, |process, open| {
                (process == place.0.process && open.scope == live.scope).then_some((at, LossReason::Closed))
            });
        }
    }

    fn take_here(&mut self, place: Place, id: &Id) -> Option<Open> {
        let key = (place.0.process, true, id.clone());
        let same = self.open.get_mut(&key)?;
        let at = same.iter().position(|open| open.place == place)?;
        let open = same.remove(at);
        if same.is_empty() {
            self.open.remove(&key);
        }
        Some(open)
    }

    /// There is no room for this exchange any more.
    fn abandon(&mut self, place: Place, at: Timestamp, twins: &mut Twins, out: &mut Vec<Outcome>) {
        self.give_up(twins, out, |_, open| (open.place == place).then_some((at, LossReason::Memory)));
    }

    /// Gives up requests that wait for an answer on another stream for too long. `now`: ns of the calls' clock.
    pub(super) fn expire(&mut self, now: Timestamp, twins: &mut Twins, out: &mut Vec<Outcome>) {
        self.give_up(twins, out, |_, open| {
            let since = open.orphan?;
            (now.nanos().saturating_sub(since.nanos()) > RESUMED).then_some((since, LossReason::Unobserved))
        });
    }

    /// A process ended.
    pub(super) fn exit(&mut self, process: ProcessKey, at: Timestamp, twins: &mut Twins, out: &mut Vec<Outcome>) {
        self.give_up(twins, out, |of, _| (of == process).then_some((at, LossReason::Closed)));
        self.live.retain(|(connection, _), _| connection.process != process);
        self.sessions.retain(|(of, _), _| *of != process);
        self.endpoints.retain(|(of, _), ()| *of != process);
    }

    /// Nothing more comes.
    pub(super) fn finish(&mut self, at: Timestamp, twins: &mut Twins, out: &mut Vec<Outcome>) {
        self.give_up(twins, out, |_, _| Some((at, LossReason::Unobserved)));
    }

    fn give_up(
        &mut self,
        twins: &mut Twins,
        out: &mut Vec<Outcome>,
        over: impl Fn(ProcessKey, &Open) -> Option<(Timestamp, LossReason)>,
    ) {
        let mut gone = Vec::new();
        self.open.retain(|(process, by_client, _), same| {
            let mut at = 0;
            while let Some(open) = same.get(at) {
                match over(*process, open) {
                    Some((when, reason)) => gone.push((*by_client, same.remove(at), when, reason)),
                    None => at += 1,
                }
            }
            !same.is_empty()
        });
        for (by_client, open, at, reason) in gone {
            let losses = vec![Loss { part: Part::Response, reason, bytes: 0 }];
            self.tell(by_client, open, Ended { losses, ..Ended::at(at) }, twins, out);
        }
    }

    fn tell(&self, by_client: bool, open: Open, ended: Ended<Timestamp>, twins: &mut Twins, out: &mut Vec<Outcome>) {
        let Open { place, observed, scope, asked, http, wire, version, .. } = open;
        let process = place.0.process;
        let session = self.sessions.get(&(process, scope.clone())).cloned().unwrap_or_default();
        let (at, sent) = (ended.at.nanos(), asked.sent);
        let started = Timestamp(asked.started);
        let call = Box::new(McpCall {
            session_id: scope.session_id(),
            http: Some(http),
            peer: sent.and_then(|number| twins.reached(number)).filter(|peer| *peer != process),
            ..call(role(observed, by_client), started, asked, ended, session, version)
        });
        match sent {
            Some(number) => {
                out.push(Outcome::Call(process, call));
                twins.told(number, at, out);
            }
            None => twins.dealt(wire, process, call, at, out),
        }
    }
}

fn http(live: &Live, by_client: bool) -> McpHttp {
    let peer: Option<SocketAddr> = live.facts.as_ref().and_then(|facts| facts.peer);
    McpHttp {
        protocol: live.protocol,
        server: live.server.clone().filter(|_| by_client && live.role == Role::Client),
        client: peer.filter(|_| by_client && live.role == Role::Server),
        status: live.status.filter(|_| by_client),
    }
}

#[cfg(test)]
mod tests;
