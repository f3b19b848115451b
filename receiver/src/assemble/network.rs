//! Connections from their events: one observation for a short one, two for a long one, and for servers that accept
//! thousands, one for many.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use pipeline::{
    ProcessKey,
    observation::{Connection, ConnectionPhase, Endpoint, Failure, NameSource, ProcessInfo, Transport},
};

use crate::event::{Action, Clock, Network as Event, Socket, SocketKind};

/// A connection that is over so soon is told once, ns.
const SHORT: u64 = 2_000_000_000;

/// How long after a process's end the ends of its connections are waited for, ns: the kernel closes what is open just
/// after it told that the process ended.
const LINGER: u64 = 500_000_000;

/// Connections that are followed; their ends are told even of those beyond.
const MOST: usize = 32_768;

/// Accepted connections on one place that are told one by one, in the time of a window (ns).
const SINGLY: u64 = 16;
const WINDOW: u64 = 10_000_000_000;

/// What glibc asks first for the name of anything, and hardly any system has (nscd(8)).
const NSCD: &str = "/var/run/nscd/socket";

const DNS_PORT: u16 = 53;

/// Something to tell.
#[derive(Clone, Debug, PartialEq)]
pub struct Done {
    /// Who did it.
    pub process: Arc<ProcessInfo>,
    /// When to tell it, ns since boot.
    pub time: u64,
    /// `Socket::id`
    pub socket: u64,
    /// What.
    pub connection: Connection,
}

#[derive(Debug)]
struct Flow {
    process: Arc<ProcessInfo>,
    connection: Connection,
    /// Its beginning was told.
    told: bool,
    /// The kernel side tells its end, not the process's close.
    tracked: bool,
    /// When something has to be done about it.
    deadline: u64,
}

/// What was accepted on one place of late.
#[derive(Debug)]
struct Accepts {
    process: Arc<ProcessInfo>,
    /// ns since boot
    since: u64,
    singly: u64,
    count: u64,
    sent: Option<u64>,
    received: Option<u64>,
}

type Key = (ProcessKey, u64);
type Place = (ProcessKey, Transport, Option<Endpoint>);

/// All connections of watched processes.
#[derive(Debug, Default)]
pub struct Network {
    flows: BTreeMap<Key, Flow>,
    deadlines: BTreeSet<(u64, Key)>,
    /// How many processes have a socket.
    holders: BTreeMap<u64, ProcessKey>,
    accepts: BTreeMap<Place, Accepts>,
    listening: BTreeSet<(ProcessKey, Transport, Option<Endpoint>, Option<u32>)>,
}

impl Network {
    /// Something of a connection. `name`: what the process knows the peer by.
    pub fn event(
        &mut self,
        process: &Arc<ProcessInfo>,
        time: u64,
        event: &Event,
        name: Option<String>,
        clock: Clock,
        out: &mut Vec<Done>,
    ) {
        let key = (process.key, event.socket);
        let mut connection = Connection::new(
            match event.action {
                Action::Connect => ConnectionPhase::Connect,
                Action::Close { .. } => ConnectionPhase::Close,
                Action::Listen { .. } => ConnectionPhase::Listen,
                Action::Accept => ConnectionPhase::Accept { count: 1 },
            },
            event.transport,
            clock.wall(event.began),
        );
        connection.local.clone_from(&event.local);
        connection.peer.clone_from(&event.peer);
        connection.error = event.error;
        connection.name_source = name.as_ref().map(|_| NameSource::Dns);
        connection.name = name;
        match event.action {
            Action::Connect => {
                if event.error.is_some() && event.peer == Some(Endpoint::Unix(NSCD.into())) {
                    return;
                }
                connection.connect = Some(clock.wall(time).since(connection.started));
                if event.error.is_some() {
                    connection.ended = Some(clock.wall(time));
                    out.push(Done { process: process.clone(), time, socket: event.socket, connection });
                } else {
                    self.open(process, time, event.socket, connection, event.transport == Transport::Tcp, out);
                }
            }
            Action::Accept => {
                self.open(process, time, event.socket, connection, event.transport == Transport::Tcp, out);
            }
            Action::Listen { backlog } => {
                connection.backlog = Some(backlog);
                let place = (process.key, event.transport, event.local.clone(), connection.backlog);
                if event.error.is_some() || self.listening.len() >= MOST || self.listening.insert(place) {
                    out.push(Done { process: process.clone(), time, socket: event.socket, connection });
                }
            }
            Action::Close { sent, received } => {
                let flow = self.take(key);
                match flow {
                    Some(flow) => self.end(flow, key, time, Some((sent, received)), event.error, clock, out),
                    None => {
                        (connection.sent, connection.received) = (Some(sent), Some(received));
                        connection.ended = Some(clock.wall(time));
                        out.push(Done { process: process.clone(), time, socket: event.socket, connection });
                    }
                }
            }
        }
    }

    /// Whose connection this is.
    pub fn process(&self, process: ProcessKey, socket: u64) -> Option<Arc<ProcessInfo>> {
        self.flows.get(&(process, socket)).map(|flow| flow.process.clone())
    }

    /// A process uses a socket. Of one that was never told to be connected, this is the beginning.
    pub fn socket(
        &mut self,
        process: &Arc<ProcessInfo>,
        time: u64,
        socket: &Socket,
        name: Option<String>,
        clock: Clock,
        out: &mut Vec<Done>,
    ) {
        let (transport, phase) = match socket.kind {
            SocketKind::Udp if socket.received => (Transport::Udp, ConnectionPhase::Accept { count: 1 }),
            SocketKind::Udp => (Transport::Udp, ConnectionPhase::Connect),
            // It was there when the watch began.
            SocketKind::Tcp => (Transport::Tcp, ConnectionPhase::Close),
            SocketKind::Unix | SocketKind::Pipe => return,
        };
        // Look-ups tell more.
        let resolver = transport == Transport::Udp && socket.peer.is_some_and(|peer| peer.port() == DNS_PORT);
        if resolver || self.holders.contains_key(&socket.id) {
            return;
        }
        let mut connection = Connection::new(phase, transport, clock.wall(time));
        connection.local = socket.local.map(Endpoint::Ip);
        connection.peer = socket.peer.map(Endpoint::Ip);
        connection.name_source = name.as_ref().map(|_| NameSource::Dns);
        connection.name = name;
        self.open(process, time, socket.id, connection, false, out);
    }

    /// A process closed its descriptor of a socket, after so many bytes.
    pub fn closed(
        &mut self,
        process: ProcessKey,
        time: u64,
        socket: u64,
        bytes: (u64, u64),
        clock: Clock,
        out: &mut Vec<Done>,
    ) {
        let key = (process, socket);
        if self.flows.get(&key).is_some_and(|flow| !flow.tracked)
            && let Some(flow) = self.take(key)
        {
            self.end(flow, key, time, Some(bytes), None, clock, out);
        }
    }

    /// A process ends: what only its own closes would tell is over, unseen.
    pub fn exit(&mut self, process: ProcessKey, time: u64, clock: Clock, out: &mut Vec<Done>) {
        let keys: Vec<Key> = self.flows.range((process, 0)..=(process, u64::MAX)).map(|(key, _)| *key).collect();
        for key in keys {
            let tracked = self.flows.get(&key).is_some_and(|flow| flow.tracked);
            if !tracked && let Some(flow) = self.take(key) {
                self.end(flow, key, time, None, None, clock, out);
            } else {
                self.schedule(key, time + LINGER);
            }
        }
        let kept = self.flows.range((process, 0)..=(process, u64::MAX)).next().is_some();
        if !kept {
            self.flush(time, clock, out, |place, _| place.0 == process);
        }
        self.listening.retain(|place| place.0 != process);
    }

    /// Tells what is due at this time (ns since boot).
    pub fn expire(&mut self, now: u64, clock: Clock, out: &mut Vec<Done>) {
        while let Some((deadline, key)) = self.deadlines.first().copied()
            && deadline <= now
        {
            self.deadlines.pop_first();
            self.due(key, now, out);
        }
        self.flush(now, clock, out, |_, accepts| now.saturating_sub(accepts.since) >= WINDOW);
    }

    /// Nothing more comes: what was not told yet is told as open.
    pub fn finish(&mut self, now: u64, clock: Clock, out: &mut Vec<Done>) {
        let flows = std::mem::take(&mut self.flows);
        for ((_, socket), flow) in flows {
            if !flow.told && flow.connection.phase != ConnectionPhase::Close {
                self.begun(&flow, socket, now, out);
            }
        }
        self.deadlines.clear();
        self.holders.clear();
        self.flush(now, clock, out, |_, _| true);
    }

    fn open(
        &mut self,
        process: &Arc<ProcessInfo>,
        time: u64,
        socket: u64,
        connection: Connection,
        tracked: bool,
        out: &mut Vec<Done>,
    ) {
        let key = (process.key, socket);
        // One of the same number whose end was missed.
        if let Some(flow) = self.take(key)
            && !flow.told
            && !self.counted(&flow, time, None)
        {
            out.push(Done { process: flow.process, time, socket, connection: flow.connection });
        }
        if self.flows.len() >= MOST
            && let Some(first) = self.flows.keys().next().copied()
            && let Some(flow) = self.take(first)
            && !flow.told
        {
            out.push(Done { process: flow.process, time, socket: first.1, connection: flow.connection });
        }
        let deadline = time + SHORT;
        self.deadlines.insert((deadline, key));
        self.holders.insert(socket, process.key);
        self.flows.insert(key, Flow { process: process.clone(), connection, told: false, tracked, deadline });
    }

    fn take(&mut self, key: Key) -> Option<Flow> {
        let flow = self.flows.remove(&key)?;
        self.deadlines.remove(&(flow.deadline, key));
        if self.holders.get(&key.1) == Some(&key.0) {
            self.holders.remove(&key.1);
        }
        Some(flow)
    }

    fn schedule(&mut self, key: Key, deadline: u64) {
        if let Some(flow) = self.flows.get_mut(&key) {
            self.deadlines.remove(&(flow.deadline, key));
            flow.deadline = deadline;
            self.deadlines.insert((deadline, key));
        }
    }

    /// A connection is open for long, or its process is gone.
    fn due(&mut self, key: Key, now: u64, out: &mut Vec<Done>) {
        let Some(flow) = self.flows.get_mut(&key) else { return };
        let joined = flow.connection.phase == ConnectionPhase::Close;
        if flow.told || joined {
            return;
        }
        // Beyond what is told singly, only its end counts.
        let place = place(flow);
        let served = matches!(flow.connection.phase, ConnectionPhase::Accept { .. });
        let crowd = self.accepts.get(&place).is_some_and(|accepts| accepts.singly >= SINGLY);
        if served && crowd {
            return;
        }
        flow.told = true;
        let (process, connection) = (flow.process.clone(), flow.connection.clone());
        if served {
            self.singly(place, &process, now);
        }
        out.push(Done { process, time: now, socket: key.1, connection });
    }

    fn begun(&mut self, flow: &Flow, socket: u64, now: u64, out: &mut Vec<Done>) {
        if !self.counted(flow, now, None) {
            let (process, connection) = (flow.process.clone(), flow.connection.clone());
            out.push(Done { process, time: now, socket, connection });
        }
    }

    #[allow(clippy::too_many_arguments, reason = "what is known of an end")]
    fn end(
        &mut self,
        flow: Flow,
        key: Key,
        time: u64,
        bytes: Option<(u64, u64)>,
        error: Option<Failure>,
        clock: Clock,
        out: &mut Vec<Done>,
    ) {
        if !flow.told && self.counted(&flow, time, bytes) {
            return;
        }
        let mut connection = flow.connection;
        if flow.told {
            connection.phase = ConnectionPhase::Close;
            connection.connect = None;
        }
        connection.ended = Some(clock.wall(time));
        connection.sent = bytes.map(|bytes| bytes.0);
        connection.received = bytes.map(|bytes| bytes.1);
        connection.error = connection.error.or(error);
        out.push(Done { process: flow.process, time, socket: key.1, connection });
    }

    fn singly(&mut self, place: Place, process: &Arc<ProcessInfo>, time: u64) -> bool {
        let accepts = self.accepts.entry(place).or_insert_with(|| Accepts {
            process: process.clone(),
            since: time,
            singly: 0,
            count: 0,
            sent: Some(0),
            received: Some(0),
        });
        let singly = accepts.singly < SINGLY;
        accepts.singly += u64::from(singly);
        singly
    }

    /// Whether an accepted connection is only counted.
    fn counted(&mut self, flow: &Flow, time: u64, bytes: Option<(u64, u64)>) -> bool {
        if !matches!(flow.connection.phase, ConnectionPhase::Accept { .. }) {
            return false;
        }
        let place = place(flow);
        if self.singly(place.clone(), &flow.process, time) {
            return false;
        }
        if let Some(accepts) = self.accepts.get_mut(&place) {
            accepts.count += 1;
            let add = |sum: Option<u64>, more: Option<u64>| Some(sum?.saturating_add(more?));
            accepts.sent = add(accepts.sent, bytes.map(|bytes| bytes.0));
            accepts.received = add(accepts.received, bytes.map(|bytes| bytes.1));
        }
        true
    }

    fn flush(&mut self, now: u64, clock: Clock, out: &mut Vec<Done>, which: impl Fn(&Place, &Accepts) -> bool) {
        if self.accepts.is_empty() {
            return;
        }
        let all = std::mem::take(&mut self.accepts);
        for (place, accepts) in all {
            if !which(&place, &accepts) {
                self.accepts.insert(place, accepts);
                continue;
            }
            if accepts.count == 0 {
                continue;
            }
            let phase = ConnectionPhase::Accept { count: accepts.count };
            let mut connection = Connection::new(phase, place.1, clock.wall(accepts.since));
            connection.local = place.2;
            connection.ended = Some(clock.wall(now));
            (connection.sent, connection.received) = (accepts.sent, accepts.received);
            out.push(Done { process: accepts.process, time: now, socket: 0, connection });
        }
    }
}

fn place(flow: &Flow) -> Place {
    (flow.process.key, flow.connection.transport, flow.connection.local.clone())
}

#[cfg(test)]
mod tests;
