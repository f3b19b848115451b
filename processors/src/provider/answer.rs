//! Reading an exchange's response: an error, one JSON document, or a stream of events.

use pipeline::{
    Timestamp,
    observation::{Body, Exchange, LossReason, ModelCall, Part, Response},
    sse,
};

use super::{
    failure,
    format::{Format, Step},
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
    let broken = if is_stream(response) {
        call.parameters.stream = true;
        let terminal = stream(response, format, call);
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

fn is_stream(response: &Response) -> bool {
    let kind = response.headers.get("content-type").unwrap_or_default().trim_start();
    let event_stream = "text/event-stream";
    if kind.get(..event_stream.len()).is_some_and(|start| start.eq_ignore_ascii_case(event_stream)) {
        return true;
    }
    // Some servers name no type, or a wrong one.
    let body = response.body.bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&response.body.bytes);
    body.starts_with(b"data:") || body.starts_with(b"event:")
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
fn stream(response: &Response, format: &Format, call: &mut ModelCall) -> bool {
    let body = &response.body;
    let mut reader = (format.stream)();
    let mut chunks = 0u64;
    let mut ended: Option<Timestamp> = None;
    for event in sse::events(&body.bytes) {
        let arrived = || body.arrived((event.end as u64).saturating_sub(1));
        let data: &str = event.data.as_ref();
        if data.trim() == "[DONE]" {
            ended = Some(arrived().unwrap_or(response.ended));
            break;
        }
        let Some(object) = Object::parse(data) else { continue };
        let Step { content, terminal } =
            reader.event(Some(event.event.as_ref()).filter(|name| !name.is_empty()), &object, call);
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
