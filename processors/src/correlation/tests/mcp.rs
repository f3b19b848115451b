//! Scenarios about requests of the Model Context Protocol.

use pipeline::{SpanContext, SpanId, TraceId};

use super::world::{World, results, user};

#[test]
fn a_request_stands_under_the_tool_call_that_it_carries_out() {
    let mut world = World::new();
    world.found(10, 1, &["agent"]);
    let before = world.mcp(10, "add", "{}", None);
    let asked = user(&[1])
        .asks_tool("t1", "mcp__calc__add", r#"{"a":1,"b":2}"#)
        .asks_tool("t2", "mcp__calc__add", r#"{"a":3}"#)
        .asks_tool("t3", "mcp__calc__sub", "{}");
    let first = world.call(10, asked);
    assert_ne!(before.trace_id, first.trace_id);
    let second = world.mcp(10, "add", r#"{"a": 3}"#, None);
    let third = world.mcp(10, "add", r#"{"b":2,"a":1}"#, None);
    let unclear = world.mcp(10, "add", r#"{"a":9}"#, None);
    let alone = world.mcp(10, "sub", r#"{"with":"defaults"}"#, None);
    let other = world.mcp(10, "list", "{}", None);
    let remote = SpanContext { trace_id: TraceId([7; 16]), span_id: SpanId([8; 8]), parent_span_id: None };
    let told = world.mcp(10, "add", "{}", Some(remote));
    world.call(10, results(&[1, 2, 3], &["t1", "t2", "t3"]));
    let parent = |context: SpanContext| (context.trace_id, context.parent_span_id);
    let tool = |world: &World, id| world.tool(id).1;
    let below = |context: SpanContext| (context.trace_id, Some(context.span_id));
    assert_eq!(parent(second), below(tool(&world, "t2")));
    assert_eq!(parent(third), below(tool(&world, "t1")));
    assert_eq!(parent(alone), below(tool(&world, "t3")));
    let turn = world.turns()[0].1;
    assert_eq!([parent(unclear), parent(other)], [below(turn); 2]);
    assert_eq!(parent(told), below(remote));
}
