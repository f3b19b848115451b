//! Recorded wire bytes for every rule, and properties over any split of them.

mod http;
mod loss;
pub(super) mod property;
mod scale;

use std::io::Write;

use pipeline::observation::{Exchange, Loss, LossReason, Part};

use super::*;
use crate::event::Direction::{self, Read, Write as Wrote};

pub(in crate::streams) const PROCESS: ProcessKey = ProcessKey { tgid: 7, start: 1 };
pub(in crate::streams) const OBJECT: u64 = 0x5000;

/// A call: direction and bytes.
pub(in crate::streams) type Call<'a> = (Direction, &'a [u8]);

/// Feeds one connection; each call is one step later.
pub(in crate::streams) struct Bench {
    pub(in crate::streams) streams: Streams,
    pub(in crate::streams) time: u64,
    pub(in crate::streams) out: Vec<Exchange>,
}

impl Bench {
    pub(in crate::streams) fn new() -> Self {
        Self::with(Config { max_body_size: 0, memory_limit: 0 })
    }

    pub(in crate::streams) fn with(config: Config) -> Self {
        Self { streams: Streams::new(config, Clock { boot: 1_000 }), time: 0, out: Vec::new() }
    }

    /// A whole call in one piece.
    pub(in crate::streams) fn call(&mut self, direction: Direction, bytes: &[u8]) -> &mut Self {
        self.piece(direction, bytes.len() as u64, 0, bytes)
    }

    /// A piece of a call.
    pub(in crate::streams) fn piece(
        &mut self,
        direction: Direction,
        total: u64,
        offset: u64,
        bytes: &[u8],
    ) -> &mut Self {
        self.time += 10;
        let chunk = Chunk {
            source: crate::event::Source::Tls,
            socket: 0,
            object: OBJECT,
            direction,
            total,
            offset,
            bytes: bytes::Bytes::copy_from_slice(bytes),
        };
        self.streams.chunk(PROCESS, self.time, &chunk, &mut self.out);
        self
    }

    pub(in crate::streams) fn calls(&mut self, calls: &[Call<'_>]) -> &mut Self {
        for (direction, bytes) in calls {
            self.call(*direction, bytes);
        }
        self
    }

    pub(in crate::streams) fn close(&mut self) -> &mut Self {
        self.time += 10;
        self.streams.close(PROCESS, OBJECT, self.time, &mut self.out);
        assert_eq!(self.streams.buffered(), 0, "nothing is held after the end");
        self
    }

    pub(in crate::streams) fn verdict(&self) -> Verdict {
        self.streams.verdict(PROCESS, OBJECT)
    }

    pub(in crate::streams) fn take(&mut self) -> Vec<Exchange> {
        std::mem::take(&mut self.out)
    }
}

/// The exchanges of these calls, before the connection is closed.
pub(in crate::streams) fn exchanges(calls: &[Call<'_>]) -> Vec<Exchange> {
    Bench::new().calls(calls).take()
}

/// Method, target, request body, status, response body, losses.
pub(in crate::streams) fn summary(exchange: &Exchange) -> (String, String, u16, String, Vec<Loss>) {
    let response = exchange.response.as_ref();
    (
        format!("{} {}", exchange.request.method, exchange.request.target),
        String::from_utf8_lossy(&exchange.request.body.bytes).into_owned(),
        response.map_or(0, |response| response.status),
        response.map_or(String::new(), |response| String::from_utf8_lossy(&response.body.bytes).into_owned()),
        exchange.losses.clone(),
    )
}

pub(in crate::streams) fn whole(
    request: &str,
    sent: &str,
    status: u16,
    got: &str,
) -> (String, String, u16, String, Vec<Loss>) {
    (request.into(), sent.into(), status, got.into(), vec![])
}

pub(in crate::streams) fn loss(part: Part, reason: LossReason, bytes: u64) -> Loss {
    Loss { part, reason, bytes }
}

pub(in crate::streams) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(in crate::streams) fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(in crate::streams) fn raw_deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(in crate::streams) fn brotli(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    brotli::CompressorWriter::new(&mut out, 4096, 4, 20).write_all(bytes).unwrap();
    out
}

pub(in crate::streams) fn zstd(bytes: &[u8]) -> Vec<u8> {
    ::zstd::stream::encode_all(bytes, 3).unwrap()
}

/// A response with a body of known length.
pub(in crate::streams) fn response(fields: &str, body: &[u8]) -> Vec<u8> {
    let mut wire = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {}\r\n\r\n", body.len()).into_bytes();
    wire.extend_from_slice(body);
    wire
}

pub(in crate::streams) const GET: Call<'static> = (Wrote, b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
