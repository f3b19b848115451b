//! What is known of each socket: addresses, and what was read on the wire before the plaintext began. Exchanges look it
//! up when they end, so that it does not matter which was told first.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use pipeline::observation::ConnectionFacts;

use crate::event::{Socket, SocketKind};

/// How long after its end a socket is remembered, ns: a TLS object may be freed after its socket was closed.
const LINGER: u64 = 10_000_000_000;

/// Sockets that are kept; with more, the table begins anew.
const MOST: usize = 65_536;

/// One socket.
#[derive(Clone, Debug)]
pub struct Known {
    /// As the kernel side told it.
    pub socket: Socket,
    /// What exchanges on it are given.
    pub facts: Arc<ConnectionFacts>,
}

/// Sockets by id.
#[derive(Debug, Default)]
pub struct Connections {
    known: HashMap<u64, Known>,
    /// Ended ones, oldest first: when, and which.
    ended: VecDeque<(u64, u64)>,
}

impl Connections {
    /// A socket was told at `time` (ns since boot). With other addresses than before, it is another one that got the
    /// number of an older one: what was known of that is forgotten.
    pub fn socket(&mut self, time: u64, socket: &Socket) {
        self.expire(time);
        if self.known.len() >= MOST {
            self.known.clear();
            self.ended.clear();
        }
        self.ended.retain(|(_, id)| *id != socket.id);
        let same = |known: &&mut Known| known.socket.local == socket.local && known.socket.peer == socket.peer;
        if let Some(known) = self.known.get_mut(&socket.id).filter(same) {
            known.socket = *socket;
            return;
        }
        let facts = ConnectionFacts { peer: socket.peer, local: socket.local, ..ConnectionFacts::default() };
        self.known.insert(socket.id, Known { socket: *socket, facts: Arc::new(facts) });
    }

    /// What is known of a socket.
    pub fn get(&self, id: u64) -> Option<&Known> {
        self.known.get(&id)
    }

    /// What exchanges on a TCP connection are given; nothing where there is no address to tell.
    pub fn facts(&self, id: u64) -> Option<Arc<ConnectionFacts>> {
        let known = self.known.get(&id).filter(|known| known.socket.kind == SocketKind::Tcp)?;
        Some(known.facts.clone())
    }

    /// To add what was learned. Exchanges that already have their facts keep them as they were.
    pub fn facts_mut(&mut self, id: u64) -> Option<&mut ConnectionFacts> {
        self.known.get_mut(&id).map(|known| Arc::make_mut(&mut known.facts))
    }

    /// A socket was closed at `time`.
    pub fn closed(&mut self, time: u64, id: u64) {
        if self.known.contains_key(&id) {
            self.ended.push_back((time, id));
        }
    }

    /// Forgets what ended long ago.
    pub fn expire(&mut self, now: u64) {
        while let Some((time, id)) = self.ended.front().copied()
            && now.saturating_sub(time) > LINGER
        {
            self.ended.pop_front();
            self.known.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(id: u64, port: u16) -> Socket {
        let address = |port| Some(std::net::SocketAddr::from(([127, 0, 0, 1], port)));
        Socket { id, kind: SocketKind::Tcp, local: address(port), peer: address(443), other: None, received: false }
    }

    #[test]
    fn facts_stay_for_a_while_after_the_end_and_never_pass_to_another_socket() {
        let mut connections = Connections::default();
        connections.socket(1, &socket(7, 1000));
        connections.facts_mut(7).unwrap().server_name = Some("a".into());
        connections.socket(2, &socket(7, 1000));
        assert_eq!(connections.facts(7).unwrap().server_name.as_deref(), Some("a"));
        connections.closed(3, 7);
        connections.expire(3 + LINGER);
        assert!(connections.facts(7).is_some());
        connections.expire(4 + LINGER);
        assert!(connections.facts(7).is_none());
        connections.socket(5, &socket(7, 1000));
        connections.socket(6, &socket(7, 1001));
        let facts = connections.facts(7).unwrap();
        assert_eq!((facts.server_name.as_deref(), facts.local.unwrap().port()), (None, 1001));
    }
}
