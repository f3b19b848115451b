//! Reading an exchange's response: an error, one JSON document, or a stream of events.

use pipeline::{
    Timestamp,
    observation::{Body, Exchange, LossReason, ModelCall, Part, Response},
};

use super::{
    failure,
    format::{Format, Step},
    framing::{self, Piece},
    json::Object,
};

/// Reads the response into the call.
pub fn read(exchange: &Exchange, format: &Format, call: &mut ModelCall) {
    let Some(response) = &exchange.response else {
        // What onlooker did not see is no failure of the call.
        if !lost_by_us(exchange) {
            call.error = Some(failure::plain(failure::CONNECTION_CLOSED));
        }
        return;
    };
    call.reply.status = Some(response.status);
    if response.status >= 400 {
        let text = String::from_utf8_lossy(&response.body.bytes);
        call.error = Some(failure::of_status(response.status, Object::parse(&text).as_ref()));
        return;
    }
    let broken = if let Some(pieces) = framing::pieces(response) {
        call.parameters.stream = true;
        let terminal = stream(pieces, response, format, call);
        (!terminal).then_some(failure::STREAM_INTERRUPTED)
    } else {
        let whole = document(&response.body, format, call);
        let closed = lost(exchange, |reason| reason == LossReason::Closed);
        (closed && !whole).then_some(failure::CONNECTION_CLOSED)
    };
    if let Some(kind) = broken
        && call.error.is_none()
        && !lost_by_us(exchange)
    {
        call.error = Some(failure::plain(kind));
    }
}

fn lost(exchange: &Exchange, which: impl Fn(LossReason) -> bool) -> bool {
    exchange.losses.iter().any(|loss| loss.part == Part::Response && which(loss.reason))
}

/// True if a part of the response is missing that the agent may well have got.
fn lost_by_us(exchange: &Exchange) -> bool {
    lost(exchange, |reason| reason != LossReason::Closed)
}

/// Reads a JSON document. False if it is not whole.
fn document(body: &Body, format: &Format, call: &mut ModelCall) -> bool {
    if let Some(object) = Object::from_bytes(&body.bytes) {
        (format.plain)(&object, call);
        return true;
    }
    let text = String::from_utf8_lossy(&body.bytes);
    let object = Object::salvage(&text);
    if !object.0.is_empty() {
        (format.plain)(&object, call);
    }
    false
}

/// Reads an event stream. True if it came to its end.
fn stream<'a>(
    pieces: impl Iterator<Item = Piece<'a>>,
    response: &Response,
    format: &Format,
    call: &mut ModelCall,
) -> bool {
    let body = &response.body;
    let mut reader = (format.stream)();
    let mut chunks = 0u64;
    let mut ended: Option<Timestamp> = None;
    for piece in pieces {
        let arrived = || body.arrived(piece.end.saturating_sub(1));
        let data: &str = piece.data.as_ref();
        if data.trim() == "[DONE]" {
            ended = Some(arrived().unwrap_or(response.ended));
            break;
        }
        let Some(object) = Object::parse(data) else { continue };
        let Step { content, terminal } =
            reader.event(Some(piece.name.as_ref()).filter(|name| !name.is_empty()), &object, call);
        if content {
            chunks += 1;
            if let Some(time) = arrived() {
                if chunks == 1 {
                    call.reply.time_to_first_chunk = Some(time.since(call.started));
                }
                call.reply.last_chunk = Some(time);
            }
        }
        if terminal {
            ended = Some(arrived().unwrap_or(response.ended));
            break;
        }
    }
    call.reply.chunks = Some(chunks);
    let whole = reader.finish(call);
    if let Some(time) = ended {
        call.ended = time;
    }
    ended.is_some() || whole
}
