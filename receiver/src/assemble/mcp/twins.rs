//! Messages that are seen at both ends: what the receiver tells of one names the sender's own account of it, and comes
//! after it.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
};

use pipeline::{ProcessKey, Timestamp, observation::McpCall};

use super::{Outcome, PATIENCE};

/// How long a call is waited for that the sender has not ended.
const LONGEST: u64 = 600_000_000_000;

/// Messages that are remembered, and calls that wait.
const MOST: usize = 8_192;

/// By what the two ends of a message know each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wire {
    /// The channel of standard streams.
    pub channel: Option<u64>,
    /// The two addresses of a connection, the smaller one first.
    pub ends: Option<(SocketAddr, SocketAddr)>,
    /// The session, where something stands between the two.
    pub session: Option<String>,
}

impl Wire {
    /// A connection between two addresses.
    pub(super) fn between(one: Option<SocketAddr>, other: Option<SocketAddr>, session: Option<String>) -> Self {
        let ends = one.zip(other).map(|(one, other)| (one.min(other), one.max(other)));
        Self { channel: None, ends, session }
    }

    fn fits(&self, other: &Self) -> bool {
        fn same<T: PartialEq>(one: &Option<T>, other: &Option<T>) -> bool {
            one.is_some() && one == other
        }
        same(&self.channel, &other.channel) || same(&self.ends, &other.ends) || same(&self.session, &other.session)
    }
}

/// Method and id.
type Key = (String, Option<String>);

#[derive(Debug)]
struct Sent {
    number: u64,
    wire: Wire,
    process: ProcessKey,
    started: Timestamp,
    ordinal: u32,
    /// When, in ns since boot.
    at: u64,
    /// The sender's account was given.
    told: Option<u64>,
    /// The process that the message reached, if it is seen.
    reached: Option<ProcessKey>,
}

#[derive(Debug)]
struct Waiting {
    sent: Option<u64>,
    wire: Wire,
    process: ProcessKey,
    call: Box<McpCall>,
    at: u64,
}

/// All messages.
#[derive(Debug, Default)]
pub(super) struct Twins {
    sent: BTreeMap<Key, Vec<Sent>>,
    keys: BTreeMap<u64, Key>,
    waiting: VecDeque<Waiting>,
    last: u64,
    /// The last moment of each process at which something began, and how often.
    moments: BTreeMap<ProcessKey, (Timestamp, u32)>,
}

impl Twins {
    /// How many messages of a process began at this moment before.
    pub(super) fn ordinal(&mut self, process: ProcessKey, started: Timestamp) -> u32 {
        let moment = self.moments.entry(process).or_insert((started, 0));
        if moment.0 != started {
            *moment = (started, 0);
        }
        let before = moment.1;
        moment.1 = before.saturating_add(1);
        before
    }

    /// A process sends a message. Gives its number.
    pub(super) fn sends(
        &mut self,
        (method, id): (&str, Option<&str>),
        wire: Wire,
        process: ProcessKey,
        (started, ordinal): (Timestamp, u32),
        at: u64,
    ) -> u64 {
        if self.keys.len() >= MOST
            && let Some((oldest, _)) = self.keys.first_key_value()
        {
            self.forget(*oldest);
        }
        self.last += 1;
        let number = self.last;
        let key = (method.to_owned(), id.map(str::to_owned));
        let mut sent = Sent { number, wire, process, started, ordinal, at, told: None, reached: None };
        // The other end may have told of it first.
        let fits = |waiting: &&mut Waiting| {
            waiting.sent.is_none()
                && waiting.call.method == key.0
                && waiting.call.id == key.1
                && waiting.wire.fits(&sent.wire)
        };
        if let Some(waiting) = self.waiting.iter_mut().find(fits) {
            waiting.sent = Some(number);
            waiting.call.caller = Some((started, ordinal));
            waiting.call.peer = Some(process);
            sent.reached = Some(waiting.process);
        }
        self.keys.insert(number, key.clone());
        self.sent.entry(key).or_default().push(sent);
        number
    }

    /// The process that a message reached.
    pub(super) fn reached(&self, number: u64) -> Option<ProcessKey> {
        self.get(number)?.reached
    }

    fn get(&self, number: u64) -> Option<&Sent> {
        self.sent.get(self.keys.get(&number)?)?.iter().find(|sent| sent.number == number)
    }

    /// The sender's account of a message was given.
    pub(super) fn told(&mut self, number: u64, at: u64, out: &mut Vec<Outcome>) {
        let mut reached = false;
        if let Some(key) = self.keys.get(&number)
            && let Some(sent) = self.sent.get_mut(key).and_then(|all| all.iter_mut().find(|sent| sent.number == number))
        {
            sent.told = Some(at);
            reached = sent.reached.is_some();
        }
        if let Some(place) = self.waiting.iter().position(|waiting| waiting.sent == Some(number))
            && let Some(waiting) = self.waiting.remove(place)
        {
            out.push(Outcome::Call(waiting.process, waiting.call));
        }
        if reached {
            self.forget(number);
        }
    }

    fn forget(&mut self, number: u64) {
        let Some(key) = self.keys.remove(&number) else { return };
        if let Some(all) = self.sent.get_mut(&key) {
            all.retain(|sent| sent.number != number);
            if all.is_empty() {
                self.sent.remove(&key);
            }
        }
    }

    /// A process has dealt with a message that was sent to it.
    pub(super) fn dealt(
        &mut self,
        wire: Wire,
        process: ProcessKey,
        mut call: Box<McpCall>,
        at: u64,
        out: &mut Vec<Outcome>,
    ) {
        let key = (call.method.clone(), call.id.clone());
        // The first of several that are the same: notifications have no id.
        let found = self
            .sent
            .get_mut(&key)
            .and_then(|all| all.iter_mut().find(|sent| sent.reached.is_none() && sent.wire.fits(&wire)));
        let mut number = None;
        if let Some(sent) = found {
            sent.reached = Some(process);
            call.caller = Some((sent.started, sent.ordinal));
            call.peer = Some(sent.process).filter(|sender| *sender != process);
            number = Some(sent.number);
            if sent.told.is_some() {
                out.push(Outcome::Call(process, call));
                if let Some(number) = number {
                    self.forget(number);
                }
                return;
            }
        }
        if self.waiting.len() >= MOST
            && let Some(first) = self.waiting.pop_front()
        {
            out.push(Outcome::Call(first.process, first.call));
        }
        self.waiting.push_back(Waiting { sent: number, wire, process, call, at });
    }

    /// Gives up what was waited for too long.
    pub(super) fn expire(&mut self, now: u64, out: &mut Vec<Outcome>) {
        self.release(out, |waiting| {
            let patience = if waiting.sent.is_some() { LONGEST } else { PATIENCE };
            now.saturating_sub(waiting.at) > patience
        });
        let old: Vec<u64> = self
            .sent
            .values()
            .flatten()
            .filter(|sent| match sent.told {
                Some(told) => now.saturating_sub(told) > PATIENCE,
                None => now.saturating_sub(sent.at) > LONGEST,
            })
            .map(|sent| sent.number)
            .collect();
        for number in old {
            self.forget(number);
        }
    }

    /// A process ended.
    pub(super) fn exit(&mut self, process: ProcessKey, out: &mut Vec<Outcome>) {
        self.release(out, |waiting| waiting.process == process);
        self.moments.remove(&process);
    }

    /// Nothing more comes.
    pub(super) fn finish(&mut self, out: &mut Vec<Outcome>) {
        self.release(out, |_| true);
    }

    fn release(&mut self, out: &mut Vec<Outcome>, over: impl Fn(&Waiting) -> bool) {
        let (over, rest): (VecDeque<_>, VecDeque<_>) = std::mem::take(&mut self.waiting).into_iter().partition(over);
        self.waiting = rest;
        out.extend(over.into_iter().map(|waiting| Outcome::Call(waiting.process, waiting.call)));
    }
}
