//! Sessions of the Model Context Protocol: from `initialize` to the end of a process at one of its ends, or to the next
//! `initialize` between the same two.

use std::collections::{BTreeMap, VecDeque};

use pipeline::{
    ProcessKey, Timestamp,
    observation::{McpCall, Role},
};

use super::aggregate::Attributes;

/// Most sessions that are open at once; of more, the oldest is forgotten.
const SESSIONS: usize = 4_096;

/// Who speaks with whom: the observed process, whether it serves, and the other end.
type Ends = (ProcessKey, bool, String);

/// A session that is open.
#[derive(Debug)]
struct Session {
    started: Timestamp,
    /// The end of its last request.
    used: Timestamp,
    attributes: Attributes,
    /// The process at the other end, of a session on standard streams.
    peer: Option<ProcessKey>,
    /// Whose it is.
    service: String,
}

/// A session that is over.
#[derive(Debug, PartialEq)]
pub struct Ended {
    /// True if the observed process was its server.
    pub served: bool,
    /// Seconds.
    pub seconds: f64,
    /// What its metric says of it.
    pub attributes: Attributes,
    /// `service.name` of the observed process.
    pub service: String,
}

/// All open sessions.
#[derive(Debug, Default)]
pub struct Sessions {
    open: BTreeMap<Ends, Session>,
    order: VecDeque<Ends>,
}

impl Sessions {
    /// Takes a request; gives the session that it superseded.
    pub fn request(&mut self, key: ProcessKey, service: &str, call: &McpCall, attributes: Attributes) -> Option<Ended> {
        let served = call.role == Role::Server;
        let server = call.http.as_ref().and_then(|http| http.server.as_ref());
        let other = match (server, call.peer) {
            (Some(server), _) => format!("{}:{}", server.address, server.port),
            (None, Some(peer)) => format!("{}.{}", peer.tgid, peer.start),
            (None, None) => String::new(),
        };
        let ends = (key, served, other);
        if call.method != "initialize" {
            if let Some(session) = self.open.get_mut(&ends) {
                session.used = session.used.max(call.ended);
            }
            return None;
        }
        let peer = call.peer.filter(|_| call.http.is_none());
        let session =
            Session { started: call.started, used: call.ended, attributes, peer, service: service.to_owned() };
        let before = self.open.insert(ends.clone(), session);
        if let Some(before) = before {
            return Some(before.ended(served, None));
        }
        self.order.push_back(ends);
        if self.order.len() > SESSIONS
            && let Some(oldest) = self.order.pop_front()
        {
            self.open.remove(&oldest);
        }
        None
    }

    /// Ends the sessions of a process that ended.
    pub fn exit(&mut self, key: ProcessKey, at: Timestamp) -> Vec<Ended> {
        if self.open.is_empty() {
            return Vec::new();
        }
        let over: Vec<Ends> = self
            .open
            .iter()
            .filter(|((own, ..), session)| *own == key || session.peer == Some(key))
            .map(|(ends, _)| ends.clone())
            .collect();
        self.order.retain(|ends| !over.contains(ends));
        let ended = over.into_iter().filter_map(|ends| Some((ends.1, self.open.remove(&ends)?)));
        ended.map(|(served, session)| session.ended(served, Some(at))).collect()
    }
}

impl Session {
    /// Streams end with their process; in HTTP nothing is known after the last request.
    fn ended(self, served: bool, exit: Option<Timestamp>) -> Ended {
        let end = exit.filter(|_| self.peer.is_some()).unwrap_or(self.used);
        Ended {
            served,
            seconds: end.since(self.started).as_secs_f64(),
            attributes: self.attributes,
            service: self.service,
        }
    }
}
