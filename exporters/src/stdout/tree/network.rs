//! What hangs under a span: whom its program talked to, one line a destination.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
};

use pipeline::{
    Kind, Observation, ProcessKey, SpanId,
    observation::{Connection, ConnectionPhase, Dns, Endpoint, Failure, ProcessInfo},
};

use crate::stdout::text;

/// Lines that a span has at most; what is beyond is counted.
const ROWS: usize = 12;

/// Spans that lines are kept for, and connections of calls that are remembered.
const MOST: usize = 16_384;

/// What makes two observations one line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    /// The name, if there is one, and the other end.
    To(Option<String>, Option<Endpoint>),
    /// Accepted at this end.
    At(Option<Endpoint>),
    /// Waiting at this end.
    Listen(Option<Endpoint>),
    /// Looked up.
    Name(String),
}

#[derive(Debug, Default)]
struct Row {
    count: u64,
    sent: u64,
    received: u64,
    /// How often each error came.
    errors: BTreeMap<String, u64>,
    /// Addresses that a name has.
    answers: BTreeSet<String>,
}

#[derive(Debug, Default)]
struct Rows {
    process: Option<Arc<ProcessInfo>>,
    /// In the order in which they came.
    rows: Vec<(Subject, Row)>,
    more: u64,
}

/// Lines that wait for their spans.
#[derive(Debug, Default)]
pub struct Network {
    spans: BTreeMap<SpanId, Rows>,
    /// Ends that model calls went to, and their names: the calls tell of those.
    calls: BTreeSet<(ProcessKey, SocketAddr)>,
    names: BTreeSet<(ProcessKey, String)>,
}

impl Network {
    /// Takes what belongs under a span.
    pub fn take(&mut self, observation: &Observation) {
        let key = observation.process.key;
        match &observation.kind {
            Kind::ModelCall(call) => {
                self.called(key, call.facts.as_ref().and_then(|facts| facts.peer), &call.server.address);
            }
            Kind::OpaqueCall(call) => self.called(key, call.facts.peer, &call.server_name),
            Kind::Connection(connection) => self.add(observation, subject(connection), |row| add(row, connection)),
            Kind::Dns(dns) => self.add(observation, Subject::Name(dns.name.clone()), |row| look_up(row, dns)),
            _ => {}
        }
    }

    fn called(&mut self, process: ProcessKey, peer: Option<SocketAddr>, name: &str) {
        if self.calls.len() < MOST
            && let Some(peer) = peer
        {
            self.calls.insert((process, peer));
        }
        if self.names.len() < MOST {
            self.names.insert((process, name.to_owned()));
        }
    }

    fn add(&mut self, observation: &Observation, subject: Subject, change: impl FnOnce(&mut Row)) {
        let Some(context) = observation.context else { return };
        if self.spans.len() >= MOST && !self.spans.contains_key(&context.span_id) {
            return;
        }
        let rows = self.spans.entry(context.span_id).or_default();
        rows.process.get_or_insert_with(|| observation.process.clone());
        if let Some((_, row)) = rows.rows.iter_mut().find(|(known, _)| *known == subject) {
            change(row);
        } else if rows.rows.len() < ROWS {
            let mut row = Row::default();
            change(&mut row);
            rows.rows.push((subject, row));
        } else {
            rows.more += 1;
        }
    }

    /// The lines of a span, with whether they are of a failure.
    pub fn lines(&mut self, span: SpanId) -> Vec<(String, bool)> {
        self.spans.remove(&span).map(|rows| self.show(&rows)).unwrap_or_default()
    }

    /// Lines of spans that were shown before they came, or never: with the process before them.
    pub fn rest(&mut self) -> Vec<(String, bool)> {
        let mut lines = Vec::new();
        for rows in std::mem::take(&mut self.spans).into_values() {
            let Some(process) = &rows.process else { continue };
            let who = format!("{} [{}]", process.executable_name(), process.key.tgid);
            lines.extend(
                self.show(&rows).into_iter().map(|(line, failed)| (format!("{}  {line}", text::escape(&who)), failed)),
            );
        }
        lines
    }

    fn show(&self, rows: &Rows) -> Vec<(String, bool)> {
        let process = rows.process.as_ref().map(|process| process.key).unwrap_or_default();
        let told = |subject: &Subject| match subject {
            Subject::To(name, Some(Endpoint::Ip(peer))) => {
                self.calls.contains(&(process, *peer))
                    || name.as_ref().is_some_and(|name| self.names.contains(&(process, name.clone())))
            }
            Subject::Name(name) => self.names.contains(&(process, name.clone())),
            _ => false,
        };
        let shown = rows.rows.iter().filter(|(subject, _)| !told(subject));
        let mut lines: Vec<(String, bool)> =
            shown.map(|(subject, row)| (text::escape(&line(subject, row)), !row.errors.is_empty())).collect();
        if rows.more > 0 {
            lines.push((format!("… {} more", rows.more), false));
        }
        lines
    }
}

fn subject(connection: &Connection) -> Subject {
    match connection.phase {
        ConnectionPhase::Listen => Subject::Listen(connection.local.clone()),
        _ if connection.served => Subject::At(connection.local.clone()),
        _ => Subject::To(connection.name.clone(), connection.peer.clone()),
    }
}

fn add(row: &mut Row, connection: &Connection) {
    row.count += match connection.phase {
        ConnectionPhase::Accept { count } => count,
        // Its beginning was counted.
        ConnectionPhase::Close => u64::from(row.count == 0),
        ConnectionPhase::Connect | ConnectionPhase::Listen => 1,
    };
    row.sent += connection.sent.unwrap_or(0);
    row.received += connection.received.unwrap_or(0);
    if let Some(error) = connection.error.map(Failure::name) {
        *row.errors.entry(error).or_default() += 1;
    }
}

fn look_up(row: &mut Row, dns: &Dns) {
    row.count += 1;
    row.answers.extend(dns.addresses.iter().cloned());
    if let Some(error) = dns.error() {
        *row.errors.entry(error).or_default() += 1;
    }
}

fn line(subject: &Subject, row: &Row) -> String {
    let end = |end: &Option<Endpoint>| end.as_ref().map_or_else(|| "?".to_owned(), ToString::to_string);
    let mut parts = vec![match subject {
        Subject::To(Some(name), peer) => format!("→ {name} {}", end(peer)),
        Subject::To(None, peer) => format!("→ {}", end(peer)),
        Subject::At(local) => format!("← at {}", end(local)),
        Subject::Listen(local) => format!("listens at {}", end(local)),
        Subject::Name(name) => format!("name {name}"),
    }];
    if let Subject::Name(_) = subject {
        parts.extend((!row.answers.is_empty()).then(|| row.answers.iter().cloned().collect::<Vec<_>>().join(", ")));
    } else if row.count > 1 {
        parts.push(format!("{}×", row.count));
    }
    for (error, count) in &row.errors {
        parts.push(if *count > 1 { format!("{error} {count}×") } else { error.clone() });
    }
    if row.sent + row.received > 0 {
        parts.push(format!("sent {}, received {}", bytes(row.sent), bytes(row.received)));
    }
    parts.join("  ")
}

pub fn bytes(count: u64) -> String {
    let scaled = |unit: f64| format!("{:.1}", count as f64 / unit);
    match count {
        0..10_000 => format!("{count} B"),
        10_000..10_000_000 => format!("{} kB", scaled(1e3)),
        10_000_000..10_000_000_000 => format!("{} MB", scaled(1e6)),
        _ => format!("{} GB", scaled(1e9)),
    }
}

#[cfg(test)]
mod tests {
    use pipeline::{SpanContext, Timestamp, TraceId, observation::Transport};

    use super::*;

    fn observed(kind: Kind) -> Observation {
        let mut observation = Observation::new(Timestamp(5), Arc::default(), kind);
        let (trace_id, span_id) = (TraceId([1; 16]), SpanId([2; 8]));
        observation.context = Some(SpanContext { trace_id, span_id, parent_span_id: None });
        observation
    }

    fn connection(port: u16, change: impl FnOnce(&mut Connection)) -> Observation {
        let mut connection = Connection::new(ConnectionPhase::Connect, Transport::Tcp, Timestamp(1));
        connection.peer = Some(Endpoint::Ip(([127, 0, 0, 1], port).into()));
        change(&mut connection);
        observed(Kind::Connection(Box::new(connection)))
    }

    #[test]
    fn a_destination_is_a_line() {
        let mut network = Network::default();
        for sent in [5, 20_000] {
            network.take(&connection(80, |one| {
                one.name = Some("a.test".into());
                (one.sent, one.received) = (Some(sent), Some(7));
            }));
        }
        network.take(&connection(81, |one| one.error = Some(Failure::Errno(111))));
        network.take(&connection(82, |one| {
            one.phase = ConnectionPhase::Accept { count: 3 };
            one.served = true;
            one.local = Some(Endpoint::Unix("@\u{1b}x".into()));
        }));
        let lines = network.lines(SpanId([2; 8]));
        let wanted = [
            ("→ a.test 127.0.0.1:80  2×  sent 20.0 kB, received 14 B", false),
            ("→ 127.0.0.1:81  ECONNREFUSED", true),
            ("← at @\\u{1b}x  3×", false),
        ];
        assert_eq!(lines, wanted.map(|(line, failed)| (line.to_owned(), failed)));
        assert_eq!(network.lines(SpanId([2; 8])), []);
    }

    #[test]
    fn lines_are_bounded_and_the_rest_is_told_at_the_end() {
        let mut network = Network::default();
        for port in 1..=20 {
            network.take(&connection(port, |_| {}));
        }
        let rest = network.rest();
        assert_eq!(rest.len(), ROWS + 1);
        assert_eq!(rest[0].0, "unknown [0]  → 127.0.0.1:1");
        assert_eq!(rest[ROWS].0, "unknown [0]  … 8 more");
    }
}
