use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{event::Source, streams::client_hello::tests::hello};

const PROCESS: ProcessKey = ProcessKey { tgid: 7, start: 1 };
const MS: u64 = 1_000_000;

fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind, 3, 3][..], &(body.len() as u16).to_be_bytes(), body].concat()
}

/// A ServerHello, with TLS 1.3 chosen or not.
fn server_hello(new: bool) -> Vec<u8> {
    let extensions: &[u8] = if new { &[0, 6, 0, 43, 0, 2, 3, 4] } else { &[0, 5, 0xff, 1, 0, 1, 0] };
    let body = [&[3, 3][..], &[9; 32], &[0], &[0x13, 1, 0], extensions].concat();
    record(22, &[&[2, 0, 0, body.len() as u8][..], &body].concat())
}

struct World {
    opaque: Opaque,
    learned: Vec<Learned>,
}

impl World {
    /// A call, of which so many bytes are seen.
    fn call(&mut self, ms: u64, direction: Direction, bytes: &[u8], seen: usize) {
        let seen = bytes.get(..seen).unwrap_or(bytes).to_vec();
        let total = bytes.len() as u64;
        let chunk =
            Chunk { source: Source::Handshake, object: 9, socket: 9, direction, total, offset: 0, bytes: seen.into() };
        let learned = self.opaque.data(PROCESS, ms * MS, &chunk);
        if learned != Learned::Nothing {
            self.learned.push(learned);
        }
    }

    fn write(&mut self, ms: u64, bytes: &[u8]) {
        self.call(ms, Direction::Write, bytes, 64 << 10);
    }

    fn read(&mut self, ms: u64, bytes: &[u8]) {
        self.call(ms, Direction::Read, bytes, 64 << 10);
    }

    fn first_byte(&mut self) -> Option<u128> {
        let closed = self.opaque.close(PROCESS, 9, 1_000 * MS, 0, 0).unwrap();
        closed.first_byte.map(|time| time.as_millis())
    }
}

fn world() -> World {
    let mut world = World { opaque: Opaque::default(), learned: Vec::new() };
    world.write(0, &hello(Some("api.openai.com"), &["h2"], 0, 16_000));
    world
}

/// The handshake of TLS 1.3, to the request that is sent with the Finished.
fn begun() -> World {
    let mut world = world();
    let flight = [server_hello(true), record(20, &[1]), record(23, &[0; 900]), record(23, &[0; FINISHED[1] as usize])];
    world.read(10, &flight.concat());
    world.write(11, &[record(20, &[1]), record(23, &[0; FINISHED[1] as usize])].concat());
    world.write(12, &record(23, &[0; 400]));
    world.write(13, &record(23, &[0; 4000]));
    world
}

#[test]
fn tickets_are_no_answer() {
    let mut world = begun();
    world.read(21, &[record(23, &[0; 250]), record(23, &[0; 250])].concat());
    world.read(62, &record(23, &[0; 250]));
    world.read(212, &record(23, &[0; 300]));
    world.read(300, &record(23, &[0; 3000]));
    assert_eq!(world.first_byte(), Some(200));
}

#[test]
fn an_answer_that_may_be_a_ticket_is_not_told() {
    let mut world = begun();
    world.read(21, &record(23, &[0; 250]));
    world.read(25, &record(23, &[0; ALERT as usize]));
    assert_eq!(world.first_byte(), None);
    let mut fast = begun();
    fast.read(21, &record(23, &[0; 2000]));
    assert_eq!(fast.first_byte(), Some(9));
}

#[test]
fn tls_1_2_says_where_its_handshake_ends() {
    let mut world = world();
    world.read(10, &[server_hello(false), record(22, &[0; 2000])].concat());
    world.write(11, &[record(22, &[0; 70]), record(20, &[1]), record(22, &[0; 40])].concat());
    world.read(20, &[record(20, &[1]), record(22, &[0; 40])].concat());
    world.write(21, &record(23, &[0; 700]));
    world.read(121, &record(23, &[0; 50]));
    assert_eq!(world.first_byte(), Some(100));
}

#[test]
fn headers_that_are_not_seen_leave_it_open() {
    let mut world = begun();
    // The header of the second record is in a part that is not seen.
    world.call(212, Direction::Read, &[record(23, &[0; 100]), record(23, &[0; 100])].concat(), 64);
    assert_eq!(world.first_byte(), Some(200));
    let mut world = begun();
    world.call(21, Direction::Read, &[record(23, &[0; 100]), record(23, &[0; 100])].concat(), 64);
    world.read(212, &record(23, &[0; 300]));
    assert_eq!(world.first_byte(), None);
}

#[test]
fn the_offer_is_learned_and_bytes_are_counted() {
    let bytes = hello(Some("api.openai.com"), &[], 600, 16_000);
    let mut world = World { opaque: Opaque::default(), learned: Vec::new() };
    world.write(0, &bytes[..100]);
    world.write(1, &bytes[100..]);
    let offer = Offer { server_name: Some("api.openai.com".into()), alpn: Vec::new() };
    assert_eq!(world.learned, [Learned::Offer(offer)]);
    world.call(2, Direction::Read, &[0; 5_000], 64);
    let closed = world.opaque.close(PROCESS, 9, 5 * MS, 7, 6_000).unwrap();
    assert_eq!((closed.sent, closed.received, closed.ended), (bytes.len() as u64, 6_000, 5 * MS));
    assert_eq!(world.opaque.close(PROCESS, 9, 5 * MS, 7, 6_000), None);
}

#[test]
fn servers_and_what_is_ruled_out_are_not_followed() {
    let mut world = World { opaque: Opaque::default(), learned: Vec::new() };
    world.read(0, &hello(Some("api.openai.com"), &[], 0, 16_000));
    world.opaque.rule_out(PROCESS, 9);
    world.write(1, &server_hello(true));
    assert_eq!(world.learned, [Learned::Server]);
    assert_eq!(world.opaque.close(PROCESS, 9, 5 * MS, 0, 0), None);
    world.write(6, &record(23, &[0; 99]));
    assert_eq!(world.learned.last(), Some(&Learned::Joined));
    assert_eq!(world.opaque.exit(PROCESS, 7 * MS).len(), 1);
    assert!(world.opaque.ruled_out.is_empty());
}

proptest! {
    #[test]
    fn nothing_panics(calls in vec((any::<bool>(), 0u64..300, 0u64..300, vec(any::<u8>(), 0..80)), 0..20), flight in vec(any::<u8>(), 0..120)) {
        let mut world = begun();
        for (write, total, offset, bytes) in calls {
            let direction = if write { Direction::Write } else { Direction::Read };
            let chunk = Chunk { source: Source::Handshake, object: 9, socket: 9, direction, total, offset, bytes: bytes.into() };
            world.opaque.data(PROCESS, 20 * MS, &chunk);
        }
        world.opaque.finish(1);
        is_tls13(&flight);
        is_tls13(&[&[2, 0, 0, 100][..], &flight].concat());
    }
}
