//! Scenarios about servers of the Model Context Protocol that run programs for an agent.

use pipeline::{
    Processor, Timestamp,
    observation::{Evidence, Match, McpCall},
};

use super::world::{World, key, results, user};

/// An agent with a server below it that said who it is.
fn agent() -> World {
    let mut world = World::new();
    world.found(9, 1, &["bash"]);
    world.spawn(10, 9, &["agent"]);
    world.spawn(20, 10, &["python3", "/srv/server.py"]);
    let hello = world.mcp_request("x", "{}", None);
    world.mcp_call(10, McpCall { method: "initialize".into(), target: None, peer: Some(key(20)), ..hello });
    world
}

/// A request that began when the world stood at `started` and ends now.
fn request(world: &mut World, tool: &str, arguments: &str, started: u64) -> McpCall {
    let call = world.mcp_request(tool, arguments, None);
    McpCall { started: Timestamp(started), peer: Some(key(20)), ..call }
}

#[test]
fn a_command_in_the_arguments_is_found_below_the_server() {
    let mut world = agent();
    world.call(10, user(&[1]).asks_tool("t1", "mcp__ops__shell", r#"{"command":"make all"}"#));
    world.now += 500;
    let started = world.now;
    world.spawn(21, 20, &["git", "rev-parse"]);
    world.exit(21, 0);
    world.spawn(22, 20, &["sh", "-c", "make all"]);
    world.spawn(23, 22, &["make", "all"]);
    world.exit(23, 0);
    world.exit(22, 2);
    world.spawn(24, 20, &["git", "status"]);
    let call = request(&mut world, "shell", r#"{"command":"make all"}"#, started);
    world.mcp_call(10, call);
    world.call(10, results(&[1, 2, 3], &["t1"]));
    let (tool, context) = world.tool("t1");
    assert_eq!((tool.evidence, tool.matched, tool.process), (Evidence::Process, Some(Match::Command), Some(key(22))));
    assert_eq!(tool.exit.map(|exit| exit.code), Some(2));
    assert!(tool.mcp.is_some());
    for pid in [21, 22, 24] {
        assert_eq!(world.above(pid), Some(context.span_id), "{pid}");
    }
    assert_eq!(world.above(23), Some(world.contexts(22, "Exec")[0].span_id));
    assert_eq!(world.findings(), 0);
}

#[test]
fn what_a_server_runs_for_its_only_request_belongs_to_the_call() {
    let mut world = agent();
    world.call(10, user(&[1]).asks_tool("t1", "mcp__ops__test", r#"{"path":"src"}"#));
    let early = world.now;
    world.spawn(21, 20, &["git", "gc"]);
    world.now += 500;
    let started = world.now;
    world.spawn(22, 20, &["pytest", "src"]);
    world.spawn(23, 22, &["python3", "worker.py"]);
    world.exit(23, 0);
    world.spawn(25, 20, &["python3", "report.py"]);
    world.exit(22, 1);
    assert!(world.contexts(22, "Exec").is_empty(), "it waits for the answer");
    let call = request(&mut world, "test", r#"{"path":"src"}"#, started);
    let ended = call.ended;
    world.mcp_call(10, call);
    // The server works on after its answer: for none.
    world.spawn(24, 20, &["git", "gc"]);
    world.call(10, results(&[1, 2, 3], &["t1"]));
    world.exit(25, 0);
    let (tool, context) = world.tool("t1");
    assert_eq!((tool.evidence, tool.matched, tool.process), (Evidence::Mcp, Some(Match::Sole), Some(key(22))));
    // The request's times and outcome are the tool's, not those of one program of it.
    assert_eq!((tool.started, tool.ended, tool.exit), (Timestamp(started), ended, None));
    assert!(early < started);
    assert_eq!((world.above(22), world.above(25)), (Some(context.span_id), Some(context.span_id)));
    assert_eq!(world.above(23), Some(world.contexts(22, "Exec")[0].span_id));
    let server = world.contexts(20, "Exec")[0].span_id;
    assert_eq!((world.above(21), world.above(24)), (Some(server), Some(server)));
    assert_eq!(world.contexts(25, "Exit")[0].parent_span_id, Some(context.span_id));
}

#[test]
fn what_started_while_two_requests_were_under_way_is_nobodys() {
    let mut world = agent();
    let both = user(&[1]).asks_tool("a", "mcp__ops__test", r#"{"n":1}"#).asks_tool("b", "mcp__ops__test", r#"{"n":2}"#);
    world.call(10, both);
    world.now += 500;
    let started = world.now;
    world.spawn(21, 20, &["pytest", "one"]);
    let first = request(&mut world, "test", r#"{"n":1}"#, started);
    world.mcp_call(10, first);
    world.spawn(22, 20, &["pytest", "two"]);
    let second = request(&mut world, "test", r#"{"n":2}"#, started);
    world.mcp_call(10, second);
    world.call(10, results(&[1, 2, 3], &["a", "b"]));
    // The second started when the first request was over: it can only be the other's.
    assert_eq!((world.tool("a").0.process, world.tool("b").0.process), (None, Some(key(22))));
    let server = world.contexts(20, "Exec")[0].span_id;
    assert_eq!(world.above(21), Some(server));
    assert!(world.correlation.held.is_empty());
}

#[test]
fn of_two_requests_after_each_other_each_has_its_own() {
    let mut world = agent();
    let both = user(&[1]).asks_tool("a", "mcp__ops__test", r#"{"n":1}"#).asks_tool("b", "mcp__ops__test", r#"{"n":2}"#);
    world.call(10, both);
    for (pid, arguments) in [(21, r#"{"n":1}"#), (22, r#"{"n":2}"#)] {
        world.now += 500;
        let started = world.now;
        world.spawn(pid, 20, &["pytest", "it"]);
        let call = request(&mut world, "test", arguments, started);
        world.mcp_call(10, call);
    }
    world.call(10, results(&[1, 2, 3], &["a", "b"]));
    for (id, pid) in [("a", 21), ("b", 22)] {
        let (tool, context) = world.tool(id);
        assert_eq!((tool.process, tool.matched), (Some(key(pid)), Some(Match::Sole)), "{id}");
        assert_eq!(world.above(pid), Some(context.span_id), "{id}");
    }
}

#[test]
fn a_request_of_its_own_has_what_was_run_for_it() {
    let mut world = agent();
    let started = world.now;
    world.spawn(21, 20, &["pytest", "src"]);
    let call = request(&mut world, "test", "{}", started);
    let place = world.mcp_call(10, call).unwrap();
    assert_eq!(world.above(21), Some(place.span_id));
    let told = world.out.iter().find_map(|o| match &o.kind {
        pipeline::Kind::McpCall(call) if o.context == Some(place) => call.program,
        _ => None,
    });
    assert_eq!(told, Some(key(21)));
    // Without any request it is the server's own.
    world.spawn(22, 20, &["git", "gc"]);
    world.correlation.advance(Timestamp(world.now).plus(std::time::Duration::from_secs(11)), &mut world.out);
    assert_eq!(world.above(22), Some(world.contexts(20, "Exec")[0].span_id));
}

#[test]
fn what_the_agent_runs_while_a_request_is_open_is_not_the_servers() {
    let mut world = agent();
    let call = world.call(10, user(&[1]).asks_tool("t1", "mcp__ops__test", r#"{"command":"pytest src"}"#));
    let started = world.now;
    world.spawn(30, 10, &["bash", "/tmp/hook.sh"]);
    let request = request(&mut world, "test", r#"{"command":"pytest src"}"#, started);
    world.mcp_call(10, request);
    world.call(10, results(&[1, 2, 3], &["t1"]));
    let (tool, _) = world.tool("t1");
    assert_eq!((tool.process, tool.evidence), (None, Evidence::Mcp));
    assert_eq!(world.above(30), call.parent_span_id);
}
