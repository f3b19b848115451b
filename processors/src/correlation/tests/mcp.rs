//! Scenarios about requests of the Model Context Protocol.

use pipeline::{
    ProcessKey, SpanContext, SpanId, TraceId,
    observation::{Evidence, McpCall, McpError, Role},
};

use super::world::{World, key, results, user};
use crate::correlation::config::Instrumented;

fn parent(context: SpanContext) -> (TraceId, Option<SpanId>) {
    (context.trace_id, context.parent_span_id)
}

fn below(context: SpanContext) -> (TraceId, Option<SpanId>) {
    (context.trace_id, Some(context.span_id))
}

fn remote() -> SpanContext {
    SpanContext { trace_id: TraceId([7; 16]), span_id: SpanId([8; 8]), parent_span_id: None }
}

#[test]
fn the_request_that_carries_out_a_call_of_the_model_is_told_by_the_calls_span() {
    let mut world = World::new();
    world.found(10, 1, &["agent"]);
    let before = world.mcp(10, "add", "{}", None).unwrap();
    let asked = user(&[1])
        .asks_tool("t1", "mcp__calc__add", r#"{"a":1,"b":2}"#)
        .asks_tool("t2", "mcp__calc__add", r#"{"a":3}"#)
        .asks_tool("t3", "mcp__calc__sub", "{}")
        .asks_tool("t4", "calc_mul", r#"{"a":4}"#);
    let first = world.call(10, asked);
    assert_ne!(before.trace_id, first.trace_id);
    assert!(world.mcp(10, "add", r#"{"a": 3}"#, None).is_none());
    assert!(world.mcp(10, "add", r#"{"b":2,"a":1}"#, None).is_none());
    let unclear = world.mcp(10, "add", r#"{"a":9}"#, None).unwrap();
    assert!(world.mcp(10, "sub", r#"{"with":"defaults"}"#, None).is_none());
    let again = world.mcp(10, "sub", "{}", None).unwrap();
    // Only its arguments say which call this is; with others it is none.
    let strange = world.mcp(10, "mul", r#"{"a":5}"#, None).unwrap();
    assert!(world.mcp(10, "mul", r#"{"a":4}"#, None).is_none());
    let other = world.mcp(10, "list", "{}", None).unwrap();
    let told = world.mcp(10, "list", "{}", Some(remote())).unwrap();
    world.call(10, results(&[1, 2, 3], &["t1", "t2", "t3", "t4"]));
    for (id, arguments) in [("t1", r#"{"a":1,"b":2}"#), ("t2", r#"{"a":3}"#), ("t4", r#"{"a":4}"#)] {
        let (tool, _) = world.tool(id);
        let mcp = tool.mcp.as_ref().unwrap();
        assert_eq!(mcp.arguments, McpCall::digest(arguments), "{id}");
        assert_eq!((tool.evidence, tool.started, tool.ended), (Evidence::Mcp, mcp.started, mcp.ended));
    }
    assert_eq!(parent(again), below(world.tool("t3").1));
    let turn = world.turns()[0].1;
    assert_eq!([parent(unclear), parent(strange), parent(other)], [below(turn); 3]);
    assert_eq!(parent(told), below(remote()));
}

/// What the other end tells of a request.
fn answered(asked: &McpCall, by: u32) -> McpCall {
    let sender = ProcessKey { tgid: by, start: 1 };
    McpCall {
        id: asked.id.clone(),
        target: asked.target.clone(),
        ended: asked.ended,
        peer: Some(sender),
        caller: Some((asked.started, asked.ordinal)),
        remote_parent: asked.remote_parent,
        ..McpCall::new(Role::Server, asked.method.clone(), asked.started.plus(std::time::Duration::from_nanos(1)))
    }
}

#[test]
fn the_other_end_stands_under_the_sender() {
    let mut world = World::new();
    world.found(10, 1, &["agent"]);
    world.found(20, 1, &["server"]);
    world.call(10, user(&[1]).asks_tool("t1", "calc__add", "{}"));
    let carried = world.mcp_request("add", "{}", None);
    assert!(world.mcp_call(10, carried.clone()).is_none());
    let alone = world.mcp_request("list", "{}", Some(remote()));
    let sent = world.mcp_call(10, alone.clone()).unwrap();
    let from = |call: &McpCall| McpCall { peer: Some(key(10)), ..answered(call, 10) };
    let first = world.mcp_call(20, from(&carried)).unwrap();
    let second = world.mcp_call(20, from(&alone)).unwrap();
    world.call(10, results(&[1, 2], &["t1"]));
    assert_eq!(parent(first), below(world.tool("t1").1));
    assert_eq!((parent(sent), parent(second)), (below(remote()), below(sent)));
    // Its sender is not seen.
    let unseen = world.mcp_request("list", "{}", Some(remote()));
    let unseen = world.mcp_call(20, McpCall { caller: None, peer: None, ..answered(&unseen, 10) }).unwrap();
    assert_eq!(parent(unseen), below(remote()));
}

#[test]
fn agents_that_trace_themselves() {
    for (instrumented, told) in
        [(Instrumented::Attach, true), (Instrumented::Suppress, false), (Instrumented::Duplicate, true)]
    {
        let mut world = World::new();
        world.correlation.config.instrumented = instrumented;
        world.found(10, 1, &["agent"]);
        let call = world.mcp_request("list", "{}", Some(remote()));
        let place = world.mcp_call(10, call);
        assert_eq!(place.is_some(), told);
        let attached = place.is_some_and(|place| parent(place) == below(remote()));
        assert_eq!(attached, instrumented == Instrumented::Attach);
    }
    // In the trace that the turn is in, the turn is nearer.
    let mut world = World::new();
    world.found(10, 1, &["agent"]);
    world.call(10, user(&[1]).asks("t", "ls").remote(remote()));
    let other = SpanContext { span_id: SpanId([9; 8]), ..remote() };
    let place = world.mcp(10, "list", "{}", Some(other)).unwrap();
    world.call(10, results(&[1, 2], &["t"]));
    assert_eq!(parent(place), below(world.turns()[0].1));
}

#[test]
fn a_failure_of_the_server_is_one_of_the_call() {
    let mut world = World::new();
    world.found(10, 1, &["agent"]);
    world.call(10, user(&[1]).asks_tool("t1", "calc__add", "{}"));
    let error = McpError { kind: "-32602".into(), code: Some(-32602), message: Some("no".into()) };
    let call = McpCall { error: Some(error), ..world.mcp_request("add", "{}", None) };
    world.mcp_call(10, call);
    world.call(10, results(&[1, 2], &["t1"]));
    let (tool, _) = world.tool("t1");
    assert_eq!(pipeline::record::tool_error(tool).as_deref(), Some("-32602"));
}
