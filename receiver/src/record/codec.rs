//! Frames to bytes and back. Events are binary, for there are many; what is rare is JSON, so that it can grow.

use bytes::Bytes;
use pipeline::{ProcessKey, observation::Heartbeat};
use serde::{Deserialize, Serialize};

use super::Frame;
use crate::event::{Chunk, Direction, Event, EventKind, Exec, Socket, SocketKind, Source};

const HEADER: u8 = 1;
const FACTS: u8 = 2;
const TICK: u8 = 3;
const HEARTBEAT: u8 = 4;
const PODS: u8 = 5;
const EXEC: u8 = 16;
const FORK: u8 = 17;
const EXIT: u8 = 18;
const MAP: u8 = 19;
const DATA: u8 = 20;
const CLOSE: u8 = 21;
const SOCKET: u8 = 22;
const PAIR: u8 = 23;
const SOCKET_CLOSE: u8 = 24;
/// As `DATA`, with where it was seen.
const SOURCED_DATA: u8 = 25;
const NETWORK: u8 = 32;
const FILE: u8 = 33;
const SECURITY: u8 = 34;

#[derive(Serialize, Deserialize)]
struct Beat {
    time: u64,
    sequence: u64,
    last: bool,
    probes: Vec<(String, Option<String>)>,
    counts: Vec<(String, u64)>,
}

/// Appends a frame with its length. `bytes` of a chunk come from the caller, who has masked them.
pub fn encode(frame: &Frame, out: &mut Vec<u8>) {
    let at = out.len();
    out.extend([0; 4]);
    match frame {
        Frame::Header(header) => json(out, HEADER, header.as_ref()),
        Frame::Facts(facts) => json(out, FACTS, facts.as_ref()),
        Frame::Tick(time) => {
            out.push(TICK);
            out.extend(time.to_le_bytes());
        }
        Frame::Heartbeat(time, beat) => {
            let beat = Beat {
                time: *time,
                sequence: beat.sequence,
                last: beat.last,
                probes: beat.probes.clone(),
                counts: beat.counts.clone(),
            };
            json(out, HEARTBEAT, &beat);
        }
        Frame::Pods(told) => json(out, PODS, told.as_ref()),
        Frame::Event(event) => encode_event(event, out),
    }
    let length = u32::try_from(out.len() - at - 4).unwrap_or(u32::MAX);
    if let Some(slot) = out.get_mut(at..at + 4) {
        slot.copy_from_slice(&length.to_le_bytes());
    }
}

fn json<T: Serialize>(out: &mut Vec<u8>, kind: u8, value: &T) {
    out.push(kind);
    // Writing JSON to memory fails for maps with keys that are not text only; there are none.
    let _ = serde_json::to_writer(out, value);
}

fn encode_event(event: &Event, out: &mut Vec<u8>) {
    out.push(match event.kind {
        EventKind::Exec(_) => EXEC,
        EventKind::Fork { .. } => FORK,
        EventKind::Exit { .. } => EXIT,
        EventKind::Map { .. } => MAP,
        EventKind::Data(Chunk { source: Source::Tls, socket: 0, .. }) => DATA,
        EventKind::Data(_) => SOURCED_DATA,
        EventKind::Close { .. } => CLOSE,
        EventKind::Socket(_) => SOCKET,
        EventKind::Pair { .. } => PAIR,
        EventKind::SocketClose { .. } => SOCKET_CLOSE,
        EventKind::Network(_) => NETWORK,
        EventKind::File(_) => FILE,
        EventKind::Security(_) => SECURITY,
    });
    out.extend(event.time.to_le_bytes());
    put_key(out, event.process);
    out.extend(event.tid.to_le_bytes());
    match &event.kind {
        EventKind::Exec(exec) => {
            put_key(out, exec.parent);
            put_text(out, &exec.filename);
            out.extend(u32::try_from(exec.args.len()).unwrap_or(u32::MAX).to_le_bytes());
            exec.args.iter().for_each(|arg| put_text(out, arg));
            out.push(u8::from(exec.args_truncated));
            put_text(out, &exec.cwd);
            out.extend(exec.uid.to_le_bytes());
            out.extend(exec.gid.to_le_bytes());
            out.extend(exec.cgroup_id.to_le_bytes());
        }
        EventKind::Fork { child } => put_key(out, *child),
        EventKind::Exit { code, signal } => {
            out.extend(code.to_le_bytes());
            out.extend(signal.to_le_bytes());
        }
        EventKind::Map { dev, inode } => {
            out.extend(dev.to_le_bytes());
            out.extend(inode.to_le_bytes());
        }
        EventKind::Data(chunk) => {
            if (chunk.source, chunk.socket) != (Source::Tls, 0) {
                out.push(source_code(chunk.source));
                out.extend(chunk.socket.to_le_bytes());
            }
            out.extend(chunk.object.to_le_bytes());
            out.push(u8::from(chunk.direction == Direction::Write));
            out.extend(chunk.total.to_le_bytes());
            out.extend(chunk.offset.to_le_bytes());
            out.extend_from_slice(&chunk.bytes);
        }
        EventKind::Close { object } => out.extend(object.to_le_bytes()),
        EventKind::Socket(socket) => {
            out.extend(socket.id.to_le_bytes());
            out.push(match socket.kind {
                SocketKind::Tcp => 0,
                SocketKind::Udp => 1,
                SocketKind::Unix => 2,
                SocketKind::Pipe => 3,
            });
            put_text(out, &socket.local.map(|address| address.to_string()).unwrap_or_default());
            put_text(out, &socket.peer.map(|address| address.to_string()).unwrap_or_default());
            out.extend(socket.other.unwrap_or(0).to_le_bytes());
            out.push(u8::from(socket.received));
        }
        EventKind::Pair { object, socket, direction } => {
            out.extend(object.to_le_bytes());
            out.extend(socket.to_le_bytes());
            out.push(u8::from(*direction == Direction::Write));
        }
        // Writing JSON to memory fails for maps with keys that are not text only; there are none.
        EventKind::Network(network) => drop(serde_json::to_writer(out, network)),
        EventKind::File(file) => drop(serde_json::to_writer(out, file)),
        EventKind::Security(security) => drop(serde_json::to_writer(out, security)),
        EventKind::SocketClose { socket, sent, received } => {
            for number in [socket, sent, received] {
                out.extend(number.to_le_bytes());
            }
        }
    }
}

fn source_code(source: Source) -> u8 {
    match source {
        Source::Tls => 0,
        Source::Record => 1,
        Source::Socket => 2,
        Source::Pipe => 3,
        Source::Handshake => 4,
        Source::Dns => 5,
    }
}

fn source(code: u8) -> Result<Source, &'static str> {
    Ok(match code {
        0 => Source::Tls,
        1 => Source::Record,
        2 => Source::Socket,
        3 => Source::Pipe,
        4 => Source::Handshake,
        5 => Source::Dns,
        _ => return Err("bytes from an unknown place"),
    })
}

fn put_key(out: &mut Vec<u8>, key: ProcessKey) {
    out.extend(key.tgid.to_le_bytes());
    out.extend(key.start.to_le_bytes());
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend(text.as_bytes());
}

/// Decodes a frame's content (without its length). `Ok(None)`: a kind that a later version added.
pub fn decode(content: Bytes) -> Result<Option<Frame>, &'static str> {
    let mut input = Input(content);
    let kind = input.u8()?;
    let frame = match kind {
        HEADER => Frame::Header(Box::new(input.json("header")?)),
        FACTS => Frame::Facts(Box::new(input.json("facts")?)),
        TICK => Frame::Tick(input.u64()?),
        HEARTBEAT => {
            let beat: Beat = input.json("heartbeat")?;
            let Beat { time, sequence, last, probes, counts } = beat;
            Frame::Heartbeat(time, Box::new(Heartbeat { sequence, last, probes, counts, ..Heartbeat::default() }))
        }
        PODS => Frame::Pods(Box::new(input.json("pods")?)),
        EXEC..=SOURCED_DATA | NETWORK | FILE | SECURITY => Frame::Event(decode_event(kind, &mut input)?),
        _ => return Ok(None),
    };
    Ok(Some(frame))
}

fn decode_event(kind: u8, input: &mut Input) -> Result<Event, &'static str> {
    let time = input.u64()?;
    let process = input.key()?;
    let tid = input.u32()?;
    let kind = match kind {
        EXEC => {
            let parent = input.key()?;
            let filename = input.text()?;
            let count = input.u32()?;
            let mut args = Vec::new();
            for _ in 0..count {
                args.push(input.text()?);
            }
            EventKind::Exec(Exec {
                parent,
                filename,
                args,
                args_truncated: input.u8()? != 0,
                cwd: input.text()?,
                uid: input.u32()?,
                gid: input.u32()?,
                cgroup_id: input.u64()?,
                program: None,
            })
        }
        FORK => EventKind::Fork { child: input.key()? },
        EXIT => EventKind::Exit { code: input.u32()?.cast_signed(), signal: input.u32()?.cast_signed() },
        MAP => EventKind::Map { dev: input.u64()?, inode: input.u64()? },
        DATA => EventKind::Data(Chunk {
            source: Source::Tls,
            socket: 0,
            object: input.u64()?,
            direction: input.direction()?,
            total: input.u64()?,
            offset: input.u64()?,
            bytes: std::mem::take(&mut input.0),
        }),
        SOURCED_DATA => EventKind::Data(Chunk {
            source: source(input.u8()?)?,
            socket: input.u64()?,
            object: input.u64()?,
            direction: input.direction()?,
            total: input.u64()?,
            offset: input.u64()?,
            bytes: std::mem::take(&mut input.0),
        }),
        CLOSE => EventKind::Close { object: input.u64()? },
        SOCKET => EventKind::Socket(Socket {
            id: input.u64()?,
            kind: match input.u8()? {
                0 => SocketKind::Tcp,
                1 => SocketKind::Udp,
                2 => SocketKind::Unix,
                3 => SocketKind::Pipe,
                _ => return Err("socket of an unknown kind"),
            },
            // Empty where it is not known.
            local: input.text()?.parse().ok(),
            peer: input.text()?.parse().ok(),
            other: Some(input.u64()?).filter(|other| *other != 0),
            // Recordings of earlier versions end here.
            received: input.u8().is_ok_and(|received| received != 0),
        }),
        NETWORK => EventKind::Network(Box::new(input.json("network")?)),
        FILE => EventKind::File(Box::new(input.json("file")?)),
        SECURITY => EventKind::Security(Box::new(input.json("security")?)),
        PAIR => EventKind::Pair { object: input.u64()?, socket: input.u64()?, direction: input.direction()? },
        SOCKET_CLOSE => EventKind::SocketClose { socket: input.u64()?, sent: input.u64()?, received: input.u64()? },
        _ => return Err("event of an unknown kind"),
    };
    Ok(Event { time, process, tid, kind })
}

struct Input(Bytes);

impl Input {
    fn take(&mut self, length: usize) -> Result<Bytes, &'static str> {
        if length > self.0.len() { Err("entry ends early") } else { Ok(self.0.split_to(length)) }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], &'static str> {
        <[u8; N]>::try_from(self.take(N)?.as_ref()).map_err(|_| "entry ends early")
    }

    fn u8(&mut self) -> Result<u8, &'static str> {
        self.array::<1>().map(u8::from_le_bytes)
    }

    fn direction(&mut self) -> Result<Direction, &'static str> {
        Ok(if self.u8()? == 0 { Direction::Read } else { Direction::Write })
    }

    fn u32(&mut self) -> Result<u32, &'static str> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, &'static str> {
        self.array().map(u64::from_le_bytes)
    }

    fn key(&mut self) -> Result<ProcessKey, &'static str> {
        Ok(ProcessKey { tgid: self.u32()?, start: self.u64()? })
    }

    fn text(&mut self) -> Result<String, &'static str> {
        let length = usize::try_from(self.u32()?).map_err(|_| "entry ends early")?;
        String::from_utf8(self.take(length)?.to_vec()).map_err(|_| "text is not utf-8")
    }

    fn json<T: for<'de> Deserialize<'de>>(&mut self, what: &'static str) -> Result<T, &'static str> {
        serde_json::from_slice(&self.0).map_err(|_| what)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use pipeline::observation::{Endpoint, Failure, Transport};

    use super::*;
    use crate::{
        event::{
            Action, Network,
            deeds::{FileDeed, FileEvent, Place, Rights, SecurityEvent},
        },
        record::{Facts, Header},
        targets::pods::{Pod, Told},
    };

    /// Any event.
    pub fn event() -> impl Strategy<Value = Event> {
        let key = || (any::<u32>(), any::<u64>()).prop_map(|(tgid, start)| ProcessKey { tgid, start });
        let exec = (key(), ".{0,9}", proptest::collection::vec(".{0,9}", 0..4), any::<bool>(), ".{0,9}", any::<u32>())
            .prop_map(|(parent, filename, args, args_truncated, cwd, uid)| {
                let (gid, cgroup_id, program) = (uid / 2, 7, None);
                EventKind::Exec(Exec { parent, filename, args, args_truncated, cwd, uid, gid, cgroup_id, program })
            });
        let data = (any::<u64>(), any::<bool>(), any::<u64>(), proptest::collection::vec(any::<u8>(), 0..64), 0u8..6)
            .prop_map(|(object, write, total, bytes, place)| {
                let direction = if write { Direction::Write } else { Direction::Read };
                let socket = u64::from(place) / 2;
                EventKind::Data(Chunk {
                    source: source(place).unwrap(),
                    socket,
                    object,
                    direction,
                    total,
                    offset: total / 3,
                    bytes: bytes.into(),
                })
            });
        let kind = prop_oneof![
            exec,
            key().prop_map(|child| EventKind::Fork { child }),
            (any::<i32>(), any::<i32>()).prop_map(|(code, signal)| EventKind::Exit { code, signal }),
            (any::<u64>(), any::<u64>()).prop_map(|(dev, inode)| EventKind::Map { dev, inode }),
            data,
            any::<u64>().prop_map(|object| EventKind::Close { object }),
            (any::<u64>(), any::<u64>()).prop_map(|(object, socket)| EventKind::Pair {
                object,
                socket,
                direction: Direction::Write
            }),
            (any::<u64>(), any::<u64>()).prop_map(|(socket, sent)| EventKind::SocketClose {
                socket,
                sent,
                received: 7
            }),
            (any::<u64>(), any::<u16>(), any::<bool>()).prop_map(|(id, port, tcp)| EventKind::Socket(Socket {
                id,
                kind: if tcp { SocketKind::Tcp } else { SocketKind::Pipe },
                local: tcp.then(|| ([127, 0, 0, 1], port).into()),
                peer: tcp.then(|| (std::net::Ipv6Addr::LOCALHOST, port).into()),
                other: (!tcp).then_some(id / 2 + 1),
                received: !tcp,
            })),
            (any::<u64>(), any::<u32>(), ".{0,9}", any::<bool>()).prop_map(|(socket, number, path, tcp)| {
                EventKind::Network(Box::new(Network {
                    action: if tcp {
                        Action::Close { sent: socket, received: 7 }
                    } else {
                        Action::Listen { backlog: 5 }
                    },
                    socket,
                    began: socket / 2,
                    transport: if tcp { Transport::Tcp } else { Transport::Other(number) },
                    local: (!tcp).then_some(Endpoint::Unix(path)),
                    peer: tcp.then_some(Endpoint::Ip(([127, 0, 0, 1], 7).into())),
                    error: tcp.then_some(Failure::Errno(number)),
                }))
            }),
            (any::<u64>(), any::<u32>(), ".{0,9}", any::<bool>()).prop_map(|(bytes, number, path, opened)| {
                let place = Place { path, resolved: opened };
                EventKind::File(Box::new(FileEvent {
                    deed: if opened { FileDeed::Use } else { FileDeed::Chown },
                    other: opened.then(|| place.clone()),
                    place,
                    error: number,
                    flags: number,
                    mode: number,
                    uid: number,
                    gid: u32::MAX,
                    length: bytes,
                    reads: number,
                    writes: 1,
                    read: bytes,
                    written: bytes,
                    began: bytes,
                    created: opened,
                    opened,
                    closed: !opened,
                    mapped: opened,
                }))
            }),
            (any::<u64>(), any::<i64>(), ".{0,9}", any::<bool>()).prop_map(|(number, result, text, bind)| {
                let rights = Rights { user: [1, 2, 3], group: [4, 5, 6], capabilities: number };
                EventKind::Security(Box::new(SecurityEvent {
                    call: if bind { "bind".into() } else { "mount".into() },
                    result,
                    arguments: [number, 1, 2, 3],
                    new: rights,
                    place: bind.then(|| Place { path: text.clone(), resolved: false }),
                    address: bind.then(|| ([0, 0, 0, 0], 7).into()),
                    text,
                    ..SecurityEvent::default()
                }))
            }),
        ];
        (any::<u64>(), key(), any::<u32>(), kind).prop_map(|(time, process, tid, kind)| Event {
            time,
            process,
            tid,
            kind,
        })
    }

    fn round_trip(frame: &Frame) -> Frame {
        let mut bytes = Vec::new();
        encode(frame, &mut bytes);
        let length = u32::from_le_bytes(bytes[..4].try_into().unwrap());
        assert_eq!(length as usize, bytes.len() - 4);
        decode(Bytes::from(bytes).slice(4..)).unwrap().unwrap()
    }

    #[test]
    fn rare_frames_come_back() {
        let header = Header { clock: crate::event::Clock { boot: 5 }, ..Header::default() };
        assert!(matches!(round_trip(&Frame::Header(Box::new(header.clone()))), Frame::Header(back) if *back == header));
        let facts = Facts { user: Some("ada".into()), ..Facts::default() };
        assert!(matches!(round_trip(&Frame::Facts(Box::new(facts.clone()))), Frame::Facts(back) if *back == facts));
        let beat = Heartbeat { sequence: 3, last: true, probes: vec![("exec".into(), None)], ..Heartbeat::default() };
        assert!(matches!(round_trip(&Frame::Heartbeat(9, Box::new(beat))), Frame::Heartbeat(9, back) if back.last));
        let pod = Pod { uid: "u".into(), labels: [("a".to_owned(), "b".to_owned())].into(), ..Pod::default() };
        let told = Told { pods: vec![pod], gone: vec!["v".into()] };
        assert!(matches!(round_trip(&Frame::Pods(Box::new(told.clone()))), Frame::Pods(back) if *back == told));
        assert!(decode(Bytes::from_static(&[99, 1, 2])).unwrap().is_none());
    }

    proptest! {
        #[test]
        fn events_come_back(event in event()) {
            let back = round_trip(&Frame::Event(event.clone()));
            prop_assert!(matches!(back, Frame::Event(back) if back == event));
        }

        #[test]
        fn any_bytes_are_safe(bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in 0u8..30) {
            let mut content = vec![kind];
            content.extend(bytes);
            let _ = decode(content.into());
        }
    }
}
