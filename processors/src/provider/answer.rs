//! Reading an exchange's response: an error, one JSON document, or a stream of events.

use pipeline::{
    Timestamp,
    observation::{Api, Body, Exchange, LossReason, ModelCall, Part, Response},
};

use super::{
    failure,
    format::{Format, Step},
    framing::{self, Piece},
    json::{self, Object},
    openai_audio,
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
    // That of a stream that was joined in its middle is not known.
    call.reply.status = Some(response.status).filter(|status| *status != 0);
    if response.status >= 400 {
        let text = String::from_utf8_lossy(&response.body.bytes);
        // Google's may be the only element of an array.
        let listed = || json::array(text.trim()).and_then(|list| Object::parse(list.first()?));
        call.error =
            Some(failure::of_status(response.status, &response.headers, Object::parse(&text).or_else(listed).as_ref()));
        return;
    }
    let broken = if openai_audio::is_raw(format.api, response) {
        openai_audio::raw(response, call);
        lost(exchange, |reason| reason == LossReason::Closed).then_some(failure::CONNECTION_CLOSED)
    } else if let Some(pieces) = framing::pieces(response, format.api == Api::GenerateContent) {
        call.parameters.stream = true;
        let terminal = stream(pieces, response, format, !lost_by_us(exchange), call);
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
        match failure::within(&object) {
            Some(error) => call.error = Some(error),
            None => (format.plain)(&object, call),
        }
        return true;
    }
    let text = String::from_utf8_lossy(&body.bytes);
    // A list of one, as Hugging Face's servers give it.
    if let Some(object) = json::array(text.trim()).and_then(|list| Object::parse(list.first()?)) {
        (format.plain)(&object, call);
        return true;
    }
    let object = Object::salvage(&text);
    if !object.0.is_empty() {
        (format.plain)(&object, call);
    }
    false
}

/// Reads an event stream. True if it came to its end. `seen`: onlooker saw all that the agent got.
fn stream<'a>(
    pieces: impl Iterator<Item = Piece<'a>>,
    response: &Response,
    format: &Format,
    seen: bool,
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
    if ended.is_none() && seen {
        reader.cut();
    }
    let whole = reader.finish(call);
    if let Some(time) = ended {
        call.ended = time;
    }
    ended.is_some() || whole
}
