//! Every link says how it was made.

use pipeline::{
    Kind, SpanContext, SpanId, TraceId,
    observation::{Deed, Link, McpCall, McpMatch, ProcessPhase, Role},
};

use super::world::{World, key, results, user};

fn agent() -> World {
    let mut world = World::new();
    world.found(9, 1, &["bash"]);
    world.spawn(10, 9, &["claude-code"]);
    world
}

/// How the spans above what this process told were found, by a predicate on its kind.
fn links(world: &World, pid: u32, wanted: impl Fn(&Kind) -> bool) -> Vec<Option<Link>> {
    world.out.iter().filter(|o| o.process.key == key(pid) && wanted(&o.kind)).map(|o| o.link).collect()
}

fn is_call(kind: &Kind) -> bool {
    matches!(kind, Kind::ModelCall(_))
}

fn is_program(kind: &Kind) -> bool {
    matches!(kind, Kind::Process(process) if !matches!(process.phase, ProcessPhase::Fork))
}

#[test]
fn calls_say_how_they_go_on_with_their_turn() {
    let mut world = agent();
    world.call(10, user(&[1]).fails("529"));
    world.call(10, user(&[1]).asks("a", "make all"));
    world.call(10, results(&[1, 2, 3], &["a"]).asks_tool("b", "read", "{}").reply("r1"));
    world.call(10, results(&[1, 2, 3, 4, 5], &[]).asks_tool("c", "read", "{}").reply("r2"));
    world.call(10, results(&[9], &[]).previous("r2"));
    let remote = SpanContext { trace_id: TraceId([1; 16]), span_id: SpanId([1; 8]), parent_span_id: None };
    world.call(10, user(&[20]).remote(remote));
    let expected = [
        None,
        Some(Link::Retry),
        Some(Link::Result),
        Some(Link::Messages),
        Some(Link::ResponseId),
        Some(Link::Traceparent),
    ];
    assert_eq!(links(&world, 10, is_call), expected);
    let turns = links(&world, 10, |kind| matches!(kind, Kind::AgentTurn(_)));
    assert_eq!(turns, [None, Some(Link::Traceparent)]);
}

#[test]
fn programs_say_how_their_call_was_found() {
    let mut world = agent();
    world.call(10, user(&[1]).asks("a", "make all").asks("b", "make more"));
    world.spawn(11, 10, &["sh", "-c", "make all"]);
    world.spawn(12, 11, &["make", "all"]);
    world.exec(11, &["echo"]);
    world.fork(13, 10);
    world.exec_with(13, &["anything"], &[("CODEX_TOOL_CALL_ID", "b")]);
    world.spawn(14, 10, &["git", "status"]);
    for pid in [12, 11, 13, 14] {
        world.exit(pid, 0);
    }
    world.call(10, results(&[1, 2, 3], &["a", "b"]).asks("c", "make it"));
    world.spawn(15, 10, &["bash", "/tmp/x.sh"]);
    world.exit(15, 0);
    world.call(10, results(&[1, 2, 3, 4, 5], &["c"]));
    for (pid, link) in [
        (11, Some(Link::Command)),
        // What the kernel says needs no word.
        (12, None),
        (13, Some(Link::CallId)),
        (14, Some(Link::Turn)),
        (15, Some(Link::Sole)),
    ] {
        let told = links(&world, pid, is_program);
        assert!(told.len() >= 2 && told.iter().all(|told| *told == link), "{pid} {told:?}");
    }
}

#[test]
fn an_agent_in_an_agent_and_one_that_goes_on_elsewhere_say_so() {
    let mut world = agent();
    world.call(10, user(&[1]).asks("a", "agent -p hi"));
    world.spawn(11, 10, &["agent", "-p", "hi"]);
    world.call(11, user(&[7]));
    let turns = links(&world, 11, |kind| matches!(kind, Kind::AgentTurn(_)));
    assert_eq!(turns, [Some(Link::Program)]);
    assert_eq!(world.turns()[0].1.parent_span_id, Some(world.contexts(11, "Exec")[0].span_id));
    world.exit(11, 0);
    // As another program, as a child after its end, and as a child that takes over.
    world.exec(10, &["claude-code", "--again"]);
    world.call(10, results(&[1, 2, 3], &["a"]).asks("b", "make b"));
    world.spawn(20, 10, &["claude-code", "--worker"]);
    world.exit(10, 0);
    world.call(20, results(&[1, 2, 3, 4, 5], &["b"]).asks("c", "make c"));
    world.call(20, results(&[1, 2, 3, 4, 5, 6, 7], &["c"]).asks("d", "make d"));
    world.spawn(30, 20, &["claude-code", "--worker"]);
    world.call(30, results(&[1, 2, 3, 4, 5, 6, 7, 8, 9], &["d"]));
    assert_eq!(links(&world, 10, is_call), [None, Some(Link::Heir)]);
    assert_eq!(links(&world, 20, is_call), [Some(Link::Heir), Some(Link::Result)]);
    assert_eq!(links(&world, 30, is_call), [Some(Link::Heir)]);
    assert_eq!(world.turns().len(), 2);
}

#[test]
fn requests_to_servers_and_deeds_say_so() {
    let mut world = agent();
    let is_request = |kind: &Kind| matches!(kind, Kind::McpCall(_));
    world.found(20, 1, &["server"]);
    world.mcp(10, "before", "{}", None);
    world.call(
        10,
        user(&[1])
            .asks_tool("a", "mcp__x__one", "{}")
            .asks_tool("b", "mcp__x__two", r#"{"n":1}"#)
            .asks_tool("c", "mcp__x__two", r#"{"n":2}"#)
            .asks_tool("d", "write", r#"{"path":"/w/a.md"}"#),
    );
    world.mcp(10, "one", "{}", None);
    world.mcp(10, "one", "{}", None);
    world.mcp(10, "two", r#"{"n":2}"#, None);
    let asked = world.mcp_request("list", "{}", None);
    let answered = McpCall {
        peer: Some(key(10)),
        caller: Some((asked.started, asked.ordinal)),
        id: asked.id.clone(),
        ..McpCall::new(Role::Server, "tools/call", asked.started)
    };
    world.mcp_call(10, asked);
    world.mcp_call(20, answered);
    world.file(10, Deed::Write, "/w/a.md");
    world.file(10, Deed::Write, "/w/log");
    world.call(10, results(&[1, 2, 3], &["a", "b", "c", "d"]));
    assert_eq!(links(&world, 10, is_request), [Some(Link::Program), Some(Link::Call), Some(Link::Turn)]);
    assert_eq!(links(&world, 20, is_request), [Some(Link::Message)]);
    let files = links(&world, 10, |kind| matches!(kind, Kind::File(_)));
    assert_eq!(files, [Some(Link::Arguments), Some(Link::Turn)]);
    let matched = |id| world.tool(id).0.mcp.as_ref().and_then(|call| call.matched);
    assert_eq!((matched("a"), matched("c")), (Some(McpMatch::Name), Some(McpMatch::Arguments)));
}
