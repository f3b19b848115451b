//! Look-ups of names (RFC 1035).

use std::{net::SocketAddr, time::Duration};

use crate::{ids::Timestamp, observation::connection::Transport};

/// A question that a process asked a name server, and the answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Dns {
    /// `dns.question.name`: in lower case, without a trailing dot; bytes that stand in no host's name as `\ddd` (RFC 4343).
    pub name: String,
    /// Type of the records asked for, as `AAAA`; `TYPE64` for those without a name (RFC 3597).
    pub kind: String,
    /// The answer's code, as `NXDOMAIN`; absent without an answer.
    pub code: Option<String>,
    /// `dns.answers`: addresses of that name, aliases followed.
    pub addresses: Vec<String>,
    /// The aliases (CNAME) that led to them, in order.
    pub aliases: Vec<String>,
    /// True if the answer was cut; resolvers then ask again by TCP.
    pub truncated: bool,
    /// Whom it was sent to; the first one, where a resolver asks several on one socket.
    pub server: Option<SocketAddr>,
    /// How it was sent.
    pub transport: Transport,
    /// How often it was sent.
    pub attempts: u32,
    /// When it was first sent.
    pub started: Timestamp,
    /// From the first question to the answer; absent without one.
    pub duration: Option<Duration>,
}

impl Dns {
    /// The value of `error.type`: the code that is an error, or that nobody answered.
    pub fn error(&self) -> Option<String> {
        match &self.code {
            None => Some("no_answer".into()),
            Some(code) => (code != "NOERROR").then(|| code.clone()),
        }
    }
}
