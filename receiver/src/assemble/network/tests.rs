//! Connections from their events.

use proptest::prelude::*;

use super::*;

const CLOCK: Clock = Clock { boot: 0 };
const SECOND: u64 = 1_000_000_000;

#[derive(Default)]
struct World {
    network: Network,
    out: Vec<Done>,
}

fn process(tgid: u32) -> Arc<ProcessInfo> {
    Arc::new(ProcessInfo { key: ProcessKey { tgid, start: 1 }, ..ProcessInfo::default() })
}

fn event(action: Action, socket: u64, began: u64) -> Event {
    let end = |port| Some(Endpoint::Ip(([127, 0, 0, 1], port).into()));
    let peer = (!matches!(action, Action::Listen { .. })).then(|| end(80)).flatten();
    Event { action, socket, began, transport: Transport::Tcp, local: end(8000), peer, error: None }
}

impl World {
    fn event(&mut self, tgid: u32, time: u64, event: &Event) {
        self.network.event(&process(tgid), time, event, Some("a.test".into()), CLOCK, &mut self.out);
    }

    fn act(&mut self, action: Action, socket: u64, time: u64) {
        self.event(1, time, &event(action, socket, time.saturating_sub(5)));
    }

    fn close(&mut self, socket: u64, time: u64) {
        self.act(Action::Close { sent: 3, received: 4 }, socket, time);
    }

    fn expire(&mut self, now: u64) {
        self.network.expire(now, CLOCK, &mut self.out);
    }

    fn exit(&mut self, time: u64) {
        self.network.exit(ProcessKey { tgid: 1, start: 1 }, time, CLOCK, &mut self.out);
    }

    fn finish(&mut self, now: u64) {
        self.network.finish(now, CLOCK, &mut self.out);
    }

    /// What was told: phase, bytes sent, whether it is over.
    fn told(&mut self) -> Vec<(ConnectionPhase, Option<u64>, bool)> {
        let told = self.out.drain(..).map(|done| done.connection);
        told.map(|told| (told.phase, told.sent, told.ended.is_some())).collect()
    }
}

use ConnectionPhase::{Accept, Close, Connect};

#[test]
fn a_short_connection_is_told_once_and_a_long_one_twice() {
    let mut world = World::default();
    world.act(Action::Connect, 1, 10);
    world.expire(SECOND);
    assert_eq!(world.told(), []);
    world.close(1, SECOND);
    let [done] = &world.out[..] else { panic!("{:?}", world.out) };
    assert_eq!((done.time, done.connection.name.as_deref()), (SECOND, Some("a.test")));
    assert_eq!(done.connection.connect.map(|time| time.as_nanos()), Some(5));
    assert_eq!(world.told(), [(Connect, Some(3), true)]);
    world.act(Action::Connect, 2, 10);
    world.expire(10 + SHORT);
    assert_eq!(world.told(), [(Connect, None, false)]);
    world.expire(100 * SECOND);
    world.close(2, 100 * SECOND);
    assert_eq!(world.told(), [(Close, Some(3), true)]);
    // Nothing of it is left.
    world.finish(200 * SECOND);
    assert_eq!(world.told(), []);
    assert!(world.network.flows.is_empty() && world.network.deadlines.is_empty());
}

#[test]
fn failures_are_told_at_once_and_nscd_is_not() {
    let mut world = World::default();
    let mut failed = event(Action::Connect, 1, 5);
    failed.error = Some(Failure::Aborted);
    world.event(1, 10, &failed);
    assert_eq!(world.told(), [(Connect, None, true)]);
    failed.peer = Some(Endpoint::Unix(NSCD.into()));
    world.event(1, 10, &failed);
    assert_eq!(world.told(), []);
}

#[test]
fn what_is_open_at_the_end_of_a_process_is_closed_just_after() {
    let mut world = World::default();
    world.act(Action::Connect, 1, 10);
    world.exit(20);
    assert_eq!(world.told(), []);
    world.close(1, 30);
    assert_eq!(world.told(), [(Connect, Some(3), true)]);
    // Another process holds it.
    world.act(Action::Connect, 2, 10);
    world.exit(20);
    world.expire(20 + LINGER);
    assert_eq!(world.told(), [(Connect, None, false)]);
    world.close(2, 5 * SECOND);
    assert_eq!(world.told(), [(Close, Some(3), true)]);
}

#[test]
fn a_connection_that_was_there_before_is_told_at_its_end() {
    let mut world = World::default();
    let mut socket = Socket {
        id: 1,
        kind: SocketKind::Tcp,
        local: None,
        peer: Some(([127, 0, 0, 1], 80).into()),
        other: None,
        received: false,
    };
    world.network.socket(&process(1), 10, &socket, None, CLOCK, &mut world.out);
    // Another process that has the same one.
    world.network.socket(&process(2), 11, &socket, None, CLOCK, &mut world.out);
    world.expire(9 * SECOND);
    world.network.closed(ProcessKey { tgid: 2, start: 1 }, 9 * SECOND, 1, (1, 1), CLOCK, &mut world.out);
    assert_eq!(world.told(), []);
    world.network.closed(ProcessKey { tgid: 1, start: 1 }, 9 * SECOND, 1, (7, 8), CLOCK, &mut world.out);
    assert_eq!(world.told(), [(Close, Some(7), true)]);
    // UDP ends with its process; a resolver's socket is not told at all.
    socket.kind = SocketKind::Udp;
    world.network.socket(&process(1), 10, &socket, None, CLOCK, &mut world.out);
    socket.peer = Some(([127, 0, 0, 1], 53).into());
    socket.id = 2;
    world.network.socket(&process(1), 10, &socket, None, CLOCK, &mut world.out);
    world.exit(20);
    assert_eq!(world.told(), [(Connect, None, true)]);
}

#[test]
fn what_a_server_accepts_is_summed_up() {
    let mut world = World::default();
    for socket in 0..1000 {
        world.act(Action::Accept, socket, socket);
        world.close(socket, socket + 1);
    }
    let told = world.told();
    assert_eq!(told.len(), 16);
    assert_eq!(told[0], (Accept { count: 1 }, Some(3), true));
    world.expire(WINDOW);
    assert_eq!(world.told(), []);
    world.expire(WINDOW + 1);
    assert_eq!(world.told(), [(Accept { count: 984 }, Some(984 * 3), true)]);
    // A new window.
    world.act(Action::Accept, 5, 20 * SECOND);
    world.expire(23 * SECOND);
    assert_eq!(world.told(), [(Accept { count: 1 }, None, false)]);
}

#[test]
fn listening_is_told_once() {
    let mut world = World::default();
    let listen = Action::Listen { backlog: 5 };
    world.act(listen, 1, 10);
    world.act(listen, 1, 20);
    assert_eq!(world.told().len(), 1);
    world.act(Action::Listen { backlog: 6 }, 1, 30);
    assert_eq!(world.told().len(), 1);
}

proptest! {
    /// Whatever happens: each connect and each accepted connection is told once as such, and nothing is left over.
    #[test]
    fn none_is_lost_or_doubled(steps in prop::collection::vec((0u8..6, 0u64..8, 0u64..SECOND), 0..200)) {
        let mut world = World::default();
        let (mut connects, mut accepts, mut now) = (0, 0, 0);
        let mut open = BTreeSet::new();
        for (kind, socket, wait) in steps {
            now += wait;
            match kind {
                0 | 1 => {
                    // A number is another's only after its end.
                    if open.insert(socket) {
                        let action = if kind == 0 { Action::Connect } else { Action::Accept };
                        if kind == 0 { connects += 1 } else { accepts += 1 }
                        world.act(action, socket, now);
                    }
                }
                2 => if open.remove(&socket) { world.close(socket, now) },
                3 => world.expire(now),
                4 => world.exit(now),
                _ => world.network.closed(ProcessKey { tgid: 1, start: 1 }, now, socket, (1, 2), CLOCK, &mut world.out),
            }
            prop_assert!(world.out.iter().all(|done| done.time <= now));
        }
        world.finish(now);
        let told = world.told();
        prop_assert_eq!(told.iter().filter(|told| told.0 == Connect).count(), connects);
        let accepted: u64 = told.iter().map(|told| match told.0 { Accept { count } => count, _ => 0 }).sum();
        prop_assert_eq!(accepted, accepts);
        prop_assert!(world.network.flows.is_empty() && world.network.accepts.is_empty());
    }
}
