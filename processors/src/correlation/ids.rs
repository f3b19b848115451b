//! Derived ids: the same events give the same traces.

use pipeline::{
    SpanContext, SpanId, TraceId,
    observation::{ModelCall, ProcessInfo},
};

/// The trace of a tree of processes.
pub fn process_trace(info: &ProcessInfo) -> TraceId {
    let (tgid, start) = (info.key.tgid.to_be_bytes(), info.key.start.to_be_bytes());
    TraceId::derive(&[b"process", info.host.boot_id.as_bytes(), &tgid, &start])
}

/// The span of one program of a process.
pub fn process_span(info: &ProcessInfo) -> SpanId {
    let (tgid, start) = (info.key.tgid.to_be_bytes(), info.key.start.to_be_bytes());
    SpanId::derive(&[b"process", info.host.boot_id.as_bytes(), &tgid, &start, &info.exec_count.to_be_bytes()])
}

/// A turn as the root of its own trace.
pub fn turn(info: &ProcessInfo, number: u32) -> SpanContext {
    let (tgid, start) = (info.key.tgid.to_be_bytes(), info.key.start.to_be_bytes());
    let parts: [&[u8]; 5] = [b"turn", info.host.boot_id.as_bytes(), &tgid, &start, &number.to_be_bytes()];
    SpanContext { trace_id: TraceId::derive(&parts), span_id: SpanId::derive(&parts), parent_span_id: None }
}

/// A model call of a turn.
pub fn call(turn: SpanContext, call: &ModelCall) -> SpanContext {
    let connection = &call.connection;
    let span_id = SpanId::derive(&[
        b"call",
        &turn.span_id.0,
        &connection.process.tgid.to_be_bytes(),
        &connection.object.to_be_bytes(),
        &connection.generation.to_be_bytes(),
        &call.index.to_be_bytes(),
        // Several calls may share one exchange (a WebSocket).
        &call.started.nanos().to_be_bytes(),
    ]);
    SpanContext { trace_id: turn.trace_id, span_id, parent_span_id: Some(turn.span_id) }
}

/// A tool call of a turn. It stands beside the model call that asked for it: it begins when that one has ended.
pub fn tool(turn: SpanContext, ordinal: u32) -> SpanContext {
    let span_id = SpanId::derive(&[b"tool", &turn.span_id.0, &ordinal.to_be_bytes()]);
    SpanContext { trace_id: turn.trace_id, span_id, parent_span_id: Some(turn.span_id) }
}

/// A conversation of our own making, one per agent process.
pub fn conversation(info: &ProcessInfo) -> String {
    let (tgid, start) = (info.key.tgid.to_be_bytes(), info.key.start.to_be_bytes());
    TraceId::derive(&[b"conversation", info.host.boot_id.as_bytes(), &tgid, &start]).to_string()
}
