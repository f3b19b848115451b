//! Connections and look-ups of names, as events.

use super::{List, Severity};
use crate::{
    ids::Timestamp,
    observation::{Connection, ConnectionPhase, Dns, Endpoint, ProcessInfo, Transport},
    semconv::{self as name, event},
};

/// Name and weight of what was done with a socket.
pub(super) fn connection_event(connection: &Connection) -> (&'static str, Severity) {
    let name = match connection.phase {
        ConnectionPhase::Connect => event::NETWORK_CONNECT,
        ConnectionPhase::Close => event::NETWORK_CLOSE,
        ConnectionPhase::Listen => event::NETWORK_LISTEN,
        ConnectionPhase::Accept { .. } => event::NETWORK_ACCEPT,
    };
    (name, Severity::Info)
}

/// When it happened. What is open still is told a while after its beginning.
pub(super) fn time(connection: &Connection, told: Timestamp) -> Timestamp {
    match (connection.phase, connection.ended) {
        (ConnectionPhase::Connect | ConnectionPhase::Accept { count: 1 }, None) => {
            connection.started.plus(connection.connect.unwrap_or_default())
        }
        _ => told,
    }
}

fn who(out: &mut List, process: &ProcessInfo) {
    out.set(name::PROCESS_PID, i64::from(process.key.tgid));
    out.set(name::PROCESS_EXECUTABLE_NAME, process.executable_name());
}

/// Attributes of what was done with a socket.
pub(super) fn connection(out: &mut List, connection: &Connection, process: &ProcessInfo) {
    match connection.transport {
        Transport::Other(protocol) => out.set(name::ONLOOKER_NETWORK_PROTOCOL, i64::from(protocol)),
        transport => out.maybe(name::NETWORK_TRANSPORT, &transport.as_str()),
    }
    let ends = [&connection.peer, &connection.local];
    out.maybe(name::NETWORK_TYPE, &ends.into_iter().flatten().find_map(Endpoint::network));
    for (address, port, end) in [
        (name::NETWORK_PEER_ADDRESS, name::NETWORK_PEER_PORT, &connection.peer),
        (name::NETWORK_LOCAL_ADDRESS, name::NETWORK_LOCAL_PORT, &connection.local),
    ] {
        if let Some(end) = end {
            out.set(address, end.address());
            out.maybe(port, &end.port().map(i64::from));
        }
    }
    // Whom a connection is to, in the words of the conventions: its name if there is one, else its address.
    let server = if connection.served { &connection.local } else { &connection.peer };
    let address = connection.name.clone().or_else(|| server.as_ref().map(Endpoint::address));
    out.maybe(name::SERVER_ADDRESS, &address);
    out.maybe(name::SERVER_PORT, &server.as_ref().and_then(Endpoint::port).map(i64::from));
    if let (true, Some(peer)) = (connection.served, &connection.peer) {
        out.set(name::CLIENT_ADDRESS, peer.address());
        out.maybe(name::CLIENT_PORT, &peer.port().map(i64::from));
    }
    out.maybe(name::ONLOOKER_NETWORK_NAME_SOURCE, &connection.name_source.map(|source| source.as_str()));
    out.maybe(name::ERROR_TYPE, &connection.error.map(|error| error.name()));
    out.maybe(name::ONLOOKER_NETWORK_CONNECT_DURATION, &connection.connect.map(|time| time.as_secs_f64()));
    match connection.phase {
        ConnectionPhase::Connect | ConnectionPhase::Accept { count: 1 } => {
            out.set(name::ONLOOKER_NETWORK_ENDED, connection.ended.is_some());
        }
        ConnectionPhase::Close | ConnectionPhase::Listen | ConnectionPhase::Accept { .. } => {}
    }
    // Of one that never was, the outcome's duration says all.
    let was = connection.error.is_none() || connection.sent.is_some();
    out.maybe(name::ONLOOKER_NETWORK_DURATION, &connection.duration().filter(|_| was).map(|time| time.as_secs_f64()));
    out.count(name::ONLOOKER_NETWORK_SENT_BYTES, connection.sent);
    out.count(name::ONLOOKER_NETWORK_RECEIVED_BYTES, connection.received);
    out.maybe(name::ONLOOKER_NETWORK_BACKLOG, &connection.backlog.map(i64::from));
    if let ConnectionPhase::Accept { count } = connection.phase {
        out.count(name::ONLOOKER_NETWORK_COUNT, Some(count));
    }
    who(out, process);
}

/// Attributes of a look-up.
pub(super) fn dns(out: &mut List, dns: &Dns, process: &ProcessInfo) {
    out.set(name::DNS_QUESTION_NAME, dns.name.as_str());
    out.set(name::ONLOOKER_DNS_QUESTION_TYPE, dns.kind.as_str());
    out.list(name::DNS_ANSWERS, &dns.addresses);
    out.list(name::ONLOOKER_DNS_ALIASES, &dns.aliases);
    out.maybe(name::ONLOOKER_DNS_RESPONSE_CODE, &dns.code);
    out.maybe(name::ERROR_TYPE, &dns.error());
    if let Some(server) = dns.server {
        out.set(name::NETWORK_PEER_ADDRESS, server.ip().to_string());
        out.set(name::NETWORK_PEER_PORT, i64::from(server.port()));
        out.set(name::NETWORK_TYPE, if server.is_ipv4() { "ipv4" } else { "ipv6" });
    }
    out.maybe(name::NETWORK_TRANSPORT, &dns.transport.as_str());
    out.maybe(name::ONLOOKER_DNS_DURATION, &dns.duration.map(|time| time.as_secs_f64()));
    if dns.attempts > 1 {
        out.set(name::ONLOOKER_DNS_ATTEMPTS, i64::from(dns.attempts));
    }
    if dns.truncated {
        out.set(name::ONLOOKER_DNS_TRUNCATED, true);
    }
    who(out, process);
}
