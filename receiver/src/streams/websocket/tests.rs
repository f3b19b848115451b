//! Frames made here, their messages and their calls; properties over any split of them.

use bytes::Bytes;
use pipeline::{
    ProcessKey,
    observation::{Loss, Protocol},
};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    frame::{Header, Message},
    *,
};
use crate::event::Direction::{Read, Write as Wrote};

mod calls;
mod frames;

const KEY: ConnectionKey = ConnectionKey { process: ProcessKey { tgid: 7, start: 1 }, object: 9, generation: 0 };

const OF: Of = Of { key: KEY, role: Role::Client, tls: true, first_index: 1, limit: 0 };

/// A frame: first byte, mask or none, payload.
fn frame(first: u8, mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let mut wire = vec![first];
    let masked = if mask.is_some() { 0x80 } else { 0 };
    match payload.len() {
        length @ 0..126 => wire.push(masked | length as u8),
        length @ 126..=0xffff => {
            wire.push(masked | 126);
            wire.extend((length as u16).to_be_bytes());
        }
        length => {
            wire.push(masked | 127);
            wire.extend((length as u64).to_be_bytes());
        }
    }
    wire.extend(mask.unwrap_or_default().iter().take(if mask.is_some() { 4 } else { 0 }));
    let mut payload = payload.to_vec();
    super::frame::unmask(&mut payload, mask.unwrap_or_default(), 0);
    wire.extend(payload);
    wire
}

const MASK: [u8; 4] = [0x11, 0xf2, 0x53, 0x9c];

fn client(message: &Value) -> Vec<u8> {
    frame(0x81, Some(MASK), message.to_string().as_bytes())
}

fn server(message: &Value) -> Vec<u8> {
    frame(0x81, None, message.to_string().as_bytes())
}

/// One side's compressor (RFC 7692).
struct Deflate {
    compress: flate2::Compress,
    takeover: bool,
}

impl Deflate {
    fn new(takeover: bool) -> Self {
        Self { compress: flate2::Compress::new(flate2::Compression::best(), false), takeover }
    }

    fn message(&mut self, payload: &[u8]) -> Vec<u8> {
        if !self.takeover {
            self.compress.reset();
        }
        let mut out = Vec::with_capacity(payload.len() + 1024);
        self.compress.compress_vec(payload, &mut out, flate2::FlushCompress::Sync).unwrap();
        assert!(out.ends_with(&[0, 0, 0xff, 0xff]));
        out.truncate(out.len() - 4);
        out
    }
}

fn upgrade(target: &str, extensions: &str) -> Upgrade {
    let mut answer = vec![("upgrade".into(), "websocket".into())];
    if !extensions.is_empty() {
        answer.push(("sec-websocket-extensions".into(), extensions.into()));
    }
    Upgrade {
        method: "GET".into(),
        target: target.into(),
        request: Headers(vec![("host".into(), "api.openai.com".into())]),
        answer: Headers(answer),
    }
}

/// Feeds a connection; each call is a step later.
struct Bench {
    socket: WebSocket,
    time: u64,
    out: Vec<Exchange>,
    next: Next,
}

impl Bench {
    fn new(target: &str, extensions: &str) -> Self {
        Self::of(WebSocket::upgraded(&OF, upgrade(target, extensions)))
    }

    fn of(socket: WebSocket) -> Self {
        Self { socket, time: 0, out: Vec::new(), next: Next::More }
    }

    fn call(&mut self, direction: Direction, bytes: &[u8]) -> &mut Self {
        self.piece(direction, bytes, true)
    }

    fn piece(&mut self, direction: Direction, bytes: &[u8], border: bool) -> &mut Self {
        self.time += 1_000_000_000;
        self.next = self.socket.feed(direction, bytes, border, Timestamp(self.time), &mut self.out);
        self
    }

    fn hole(&mut self, direction: Direction, bytes: u64) -> &mut Self {
        self.next = self.socket.hole(direction, bytes, Timestamp(self.time), &mut self.out);
        self
    }

    fn asks(&mut self, message: &Value) -> &mut Self {
        self.call(Wrote, &client(message))
    }

    fn answers(&mut self, messages: &[Value]) -> &mut Self {
        for message in messages {
            self.call(Read, &server(message));
        }
        self
    }

    fn end(&mut self) -> Vec<Exchange> {
        self.socket.end(LossReason::Closed, &mut self.out);
        std::mem::take(&mut self.out)
    }

    fn take(&mut self) -> Vec<Exchange> {
        std::mem::take(&mut self.out)
    }
}

fn created(id: &str) -> Value {
    json!({"type": "response.created", "response": {"id": id, "status": "in_progress", "output": []}})
}

fn delta(text: &str) -> Value {
    json!({"type": "response.output_text.delta", "item_id": "msg", "output_index": 0, "delta": text})
}

fn completed(id: &str) -> Value {
    json!({"type": "response.completed", "response": {"id": id, "status": "completed", "output": [{"type": "message"}],
        "usage": {"input_tokens": 1}}})
}

/// Response id at the end of the body, request's model, events, losses.
fn summary(exchange: &Exchange) -> (String, String, usize, Vec<Loss>) {
    let request: Value = serde_json::from_slice(&exchange.request.body.bytes).unwrap_or_default();
    let (mut id, mut events) = (String::new(), 0);
    if let Some(response) = &exchange.response {
        for event in pipeline::sse::events(&response.body.bytes) {
            assert!(event.complete);
            events += 1;
            if let Ok(data) = serde_json::from_str::<Value>(&event.data) {
                id = data["response"]["id"].as_str().map_or(id, str::to_owned);
            }
        }
    }
    (id, request["model"].as_str().unwrap_or_default().to_owned(), events, exchange.losses.clone())
}

fn whole(id: &str, model: &str, events: usize) -> (String, String, usize, Vec<Loss>) {
    (id.into(), model.into(), events, Vec::new())
}

fn create(model: &str) -> Value {
    json!({"type": "response.create", "model": model, "input": [{"role": "user", "content": "hi"}]})
}
