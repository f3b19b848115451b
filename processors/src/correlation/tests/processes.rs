//! Scenarios about processes and the calls that they run.

use pipeline::{
    Kind, Processor, Timestamp,
    observation::{Deed, Evidence, Match, TurnEnd},
};

use super::world::{World, key, results, user};

fn agent() -> World {
    let mut world = World::new();
    world.found(9, 1, &["bash"]);
    world.spawn(10, 9, &["agent"]);
    world
}

#[test]
fn a_command_is_tied_to_its_process_with_children_and_exit_code() {
    let mut world = agent();
    world.call(10, user(&[1]).asks("t1", "make -j2 && ls"));
    world.spawn(50, 9, &["sh", "-c", "make -j2 && ls"]);
    world.spawn(11, 10, &["sh", "-c", "make -j2 && ls"]);
    world.spawn(12, 11, &["make", "-j2"]);
    world.fork(13, 12);
    world.spawn(14, 13, &["cc", "x.c"]);
    world.exit(14, 0);
    world.exit(13, 0);
    world.exit(12, 0);
    world.exit(11, 3);
    world.call(10, results(&[1, 2, 3], &["t1"]));
    let (tool, context) = world.tool("t1");
    assert_eq!((tool.evidence, tool.matched, tool.process), (Evidence::Process, Some(Match::Command), Some(key(11))));
    assert_eq!(tool.exit.map(|exit| exit.code), Some(3));
    assert_eq!(tool.started, world.infos[&11].started);
    assert_eq!(world.above(11), Some(context.span_id));
    let span = |pid| world.contexts(pid, "Exec")[0].span_id;
    assert_eq!(world.above(12), Some(span(11)));
    // Forked only: no span, but its children hang where it hangs.
    assert_eq!(world.contexts(13, "Fork")[0].span_id, span(12));
    assert!(world.contexts(13, "Exit").is_empty());
    assert_eq!(world.above(14), Some(span(12)));
    assert_eq!(world.contexts(11, "Exec"), world.contexts(11, "Exit"));
    // The same command elsewhere is not linked.
    assert_ne!(world.contexts(50, "Exec")[0].trace_id, context.trace_id);
    // It is a child of a program that has no span, as that was running before.
    assert_eq!(world.above(50), None);
    assert_eq!(world.contexts(50, "Exec")[0].trace_id, world.contexts(9, "Found")[0].trace_id);
    assert_eq!(world.findings(), 0);
}

#[test]
fn parallel_commands_find_their_own_process() {
    let mut world = agent();
    world.call(10, user(&[1]).asks("a", "ls").asks("b", "ls -la /x").asks("c", "ls -la /x && id"));
    world.spawn(13, 10, &["sh", "-c", "ls -la /x && id"]);
    world.spawn(12, 10, &["sh", "-c", "eval 'ls -la /x' < /dev/null"]);
    world.spawn(11, 10, &["sh", "-c", "ls"]);
    world.call(10, results(&[1, 2, 3], &["a", "b", "c"]));
    for (id, pid) in [("a", 11), ("b", 12), ("c", 13)] {
        assert_eq!(world.tool(id).0.process, Some(key(pid)), "{id}");
        assert_eq!(world.above(pid), Some(world.tool(id).1.span_id));
    }
}

#[test]
fn identical_commands_at_the_same_time_stay_unlinked() {
    let mut world = agent();
    let call = world.call(10, user(&[1]).asks("a", "sleep 1").asks("b", "sleep 1"));
    world.spawn(11, 10, &["sh", "-c", "sleep 1"]);
    world.spawn(12, 10, &["sh", "-c", "sleep 1"]);
    world.call(10, results(&[1, 2, 3], &["a", "b"]));
    assert!(world.tools().iter().all(|(tool, _)| tool.process.is_none() && tool.evidence == Evidence::Wire));
    assert_eq!((world.above(11), world.above(12)), (call.parent_span_id, call.parent_span_id));
    assert_eq!(world.findings(), 0);
}

#[test]
fn the_call_id_in_the_environment_decides() {
    let mut world = agent();
    world.call(10, user(&[1]).asks("a", "sleep 1").asks("b", "sleep 1"));
    world.fork(12, 10);
    world.exec_with(12, &["/proc/self/exe", "run"], &[("CODEX_TOOL_CALL_ID", "b")]);
    world.exec_with(12, &["bash", "-c", "sleep 1"], &[("CODEX_TOOL_CALL_ID", "b")]);
    world.exec_with(12, &["sleep", "1"], &[("CODEX_TOOL_CALL_ID", "b")]);
    world.exit(12, 0);
    world.call(10, results(&[1, 2, 3], &["a", "b"]));
    assert_eq!(world.tool("b").0.matched, Some(Match::CallId));
    assert_eq!(world.tool("a").0.process, None);
    let execs = world.contexts(12, "Exec");
    assert!(execs.iter().all(|context| context.parent_span_id == Some(world.tool("b").1.span_id)));
    assert!(execs[0].span_id != execs[1].span_id && execs[1].span_id != execs[2].span_id);
    let replaced: Vec<_> = world.contexts(12, "Replaced");
    assert_eq!(replaced, execs[..2]);
    assert_eq!(world.contexts(12, "Exit"), execs[2..]);
}

#[test]
fn a_shell_that_becomes_its_command_keeps_its_place() {
    let mut world = agent();
    world.call(10, user(&[1]).asks("a", "exec ls -la"));
    world.spawn(11, 10, &["bash", "-c", "exec ls -la"]);
    world.exec(11, &["ls", "-la"]);
    world.exit(11, 0);
    world.call(10, results(&[1, 2, 3], &["a"]));
    let (tool, context) = world.tool("a");
    assert_eq!(tool.exit.map(|exit| exit.code), Some(0));
    assert_eq!(world.above(11), Some(context.span_id));
}

#[test]
fn a_background_process_outlives_its_call_and_its_turn() {
    let mut world = agent();
    world.call(10, user(&[1]).asks("a", "npm start &"));
    world.spawn(11, 10, &["sh", "-c", "npm start &"]);
    let call = world.call(10, results(&[1, 2, 3], &["a"]));
    let (tool, context) = world.tool("a");
    assert_eq!((tool.evidence, tool.exit, tool.result_seen), (Evidence::Process, None, true));
    let tool_span = context.span_id;
    world.spawn(12, 11, &["node", "server.js"]);
    world.exit(12, 0);
    world.exit(11, 0);
    let late = world.contexts(11, "Exit")[0];
    assert_eq!((late.trace_id, late.parent_span_id), (call.trace_id, Some(tool_span)));
    assert_eq!(world.contexts(12, "Exit")[0].trace_id, call.trace_id);
}

#[test]
fn what_a_background_process_does_later_stays_its_own() {
    let mut world = agent();
    let call = world.call(10, user(&[1]).asks("a", "npm start &"));
    world.spawn(11, 10, &["sh", "-c", "npm start &"]);
    // Away from its shell and its session, by a double fork.
    world.fork(12, 11);
    world.fork(13, 12);
    world.exit(12, 0);
    world.exec(13, &["node", "server.js"]);
    world.exit(11, 0);
    world.call(10, results(&[1, 2, 3], &["a"]));
    // The shell is forgotten, the next turn is on its way, its parent is another.
    world.now += 120_000_000_000;
    world.correlation.advance(Timestamp(world.now), &mut world.out);
    world.infos.get_mut(&13).unwrap().parent = Some(key(1));
    let next = world.call(10, user(&[1, 2, 3, 4, 5]).asks("b", "curl localhost"));
    let wrote = world.file(13, Deed::Write, "/w/access.log");
    let called = world.connection(13);
    world.spawn(14, 13, &["convert", "x.png"]);
    let read = world.file(14, Deed::Write, "/w/x.jpg");
    let server = world.contexts(13, "Exec")[0];
    assert_eq!((server.trace_id, server.parent_span_id), (call.trace_id, Some(world.contexts(11, "Exec")[0].span_id)));
    assert_ne!(next.trace_id, call.trace_id);
    assert_eq!((wrote, called), (server, server));
    assert_eq!(world.above(14), Some(server.span_id));
    assert_eq!(read, world.contexts(14, "Exec")[0]);
    assert_eq!(read.trace_id, call.trace_id);
}

#[test]
fn the_agent_ends_in_the_middle_of_a_tool() {
    let mut world = agent();
    let call = world.call(10, user(&[1]).asks("a", "make all"));
    world.spawn(11, 10, &["sh", "-c", "make all"]);
    world.exit(10, 137);
    world.exit(11, 0);
    let (tool, _) = world.tool("a");
    assert_eq!((tool.evidence, tool.result_seen, tool.exit), (Evidence::Process, false, None));
    assert_eq!(world.turns()[0].0.end, TurnEnd::Exit);
    assert_eq!(world.contexts(11, "Exit")[0].trace_id, call.trace_id);
    let order: Vec<_> = world
        .out
        .iter()
        .filter_map(|o| match &o.kind {
            Kind::ToolCall(_) => Some("tool"),
            Kind::AgentTurn(_) => Some("turn"),
            _ => None,
        })
        .collect();
    assert_eq!(order, ["tool", "turn"]);
}

#[test]
fn housekeeping_hangs_under_the_only_open_turn() {
    let mut world = agent();
    world.spawn(11, 10, &["git", "status"]);
    let first = world.call(10, user(&[1]).asks_tool("a", "weather", "{}"));
    world.spawn(12, 10, &["git", "log"]);
    world.call(10, user(&[50]).asks_tool("b", "weather", "{}"));
    world.spawn(13, 10, &["git", "diff"]);
    let own = world.contexts(10, "Exec")[0];
    assert_eq!(world.above(11), Some(own.span_id));
    assert_eq!(world.above(12), first.parent_span_id);
    // Two turns are open: the agent's own trace.
    assert_eq!(world.above(13), Some(own.span_id));
    assert_eq!(own.parent_span_id, None);
    assert_eq!(own.trace_id, world.contexts(9, "Found")[0].trace_id);
}

#[test]
fn a_sole_child_is_linked_once_the_agent_has_gone_on() {
    let mut world = agent();
    world.call(10, user(&[1]).asks("a", "make all"));
    world.spawn(11, 10, &["bash", "/tmp/tool-1.sh"]);
    world.spawn(12, 11, &["make", "all"]);
    world.exit(12, 0);
    world.exit(11, 4);
    assert!(world.contexts(11, "Exec").is_empty(), "held until the decision");
    world.call(10, results(&[1, 2, 3], &["a"]));
    let (tool, context) = world.tool("a");
    assert_eq!((tool.matched, tool.process), (Some(Match::Sole), Some(key(11))));
    assert_eq!(tool.exit.map(|exit| exit.code), Some(4));
    assert_eq!(world.above(11), Some(context.span_id));
    assert_eq!(world.above(12), Some(world.contexts(11, "Exec")[0].span_id));
    assert!(world.correlation.held.is_empty() && world.correlation.members.is_empty());
}

#[test]
fn a_shell_that_runs_all_calls_is_none_of_them() {
    let mut world = agent();
    world.call(10, user(&[1]).asks("a", "make all"));
    world.spawn(11, 10, &["bash"]);
    world.spawn(12, 11, &["make", "all"]);
    world.exit(12, 0);
    world.call(10, results(&[1, 2, 3], &["a"]).asks("b", "make more"));
    world.spawn(13, 11, &["make", "more"]);
    world.exit(13, 2);
    world.call(10, results(&[1, 2, 3, 4, 5], &["b"]).asks("c", "cd /x && ls | wc -l"));
    world.spawn(14, 11, &["ls"]);
    world.exit(14, 0);
    world.call(10, results(&[1, 2, 3, 4, 5, 6, 7], &["c"]));
    world.exit(11, 0);
    for (id, pid) in [("a", 12), ("b", 13)] {
        let (tool, context) = world.tool(id);
        assert_eq!((tool.matched, tool.process), (Some(Match::Command), Some(key(pid))));
        assert_eq!(world.above(pid), Some(context.span_id));
    }
    assert_eq!(world.tool("c").0.process, None);
    assert_eq!(world.above(14), Some(world.contexts(11, "Exec")[0].span_id));
    assert_eq!(world.findings(), 0);
}

#[test]
fn a_sole_child_of_the_next_request_or_one_of_two_is_not_linked() {
    let mut world = agent();
    let first = world.call(10, user(&[1]).asks("a", "make all"));
    world.now += 1_000;
    let started = Timestamp(world.now);
    world.spawn(11, 10, &["bash", "/tmp/hook.sh"]);
    world.call_since(10, started, results(&[1, 2, 3], &["a"]).asks("b", "make more"));
    assert_eq!(world.tool("a").0.process, None);
    assert_eq!(world.above(11), first.parent_span_id);

    world.spawn(12, 10, &["bash", "/tmp/one.sh"]);
    world.spawn(13, 10, &["bash", "/tmp/two.sh"]);
    world.call(10, results(&[1, 2, 3, 4, 5], &["b"]));
    assert_eq!(world.tool("b").0.process, None);
    assert_eq!((world.above(12), world.above(13)), (first.parent_span_id, first.parent_span_id));
    assert_eq!(world.findings(), 0);
}

#[test]
fn forks_that_do_not_execute_pass_their_place_on() {
    let mut world = agent();
    let call = world.call(10, user(&[1]).asks("a", "ls -la"));
    world.fork(11, 10);
    world.fork(12, 11);
    world.exit(11, 0);
    world.exec(12, &["ls", "-la"]);
    world.exit(12, 0);
    world.fork(13, 10);
    world.fork(14, 13);
    world.exec(14, &["git", "gc"]);
    world.call(10, results(&[1, 2, 3], &["a"]));
    assert_eq!(world.tool("a").0.process, Some(key(12)));
    assert_eq!(world.above(14), call.parent_span_id);
}

#[test]
fn a_process_from_before_the_answer_is_not_linked() {
    let mut world = agent();
    world.spawn(11, 10, &["bash"]);
    world.fork(12, 11);
    world.call(10, user(&[1]).asks("a", "ls -la"));
    world.exec(12, &["ls", "-la"]);
    world.call(10, results(&[1, 2, 3], &["a"]));
    assert_eq!(world.tool("a").0.process, None);
}

#[test]
fn a_process_that_starts_before_the_end_of_the_answer_is_seen_is_linked() {
    let mut world = agent();
    world.spawn(11, 10, &["sh", "-c", "make all"]);
    let chunk = world.now;
    world.spawn(12, 10, &["sh", "-c", "make all"]);
    world.exec(12, &["make", "all"]);
    world.spawn(13, 12, &["cc", "x.c"]);
    world.spawn(14, 10, &["sh", "-c", "id -u"]);
    world.exit(14, 5);
    let call = world.call(10, user(&[1]).asks("a", "make all").asks("b", "id -u").last_chunk(chunk));
    world.exit(13, 0);
    world.exit(12, 2);
    world.call(10, results(&[1, 2, 3], &["a", "b"]));
    let (tool, context) = world.tool("a");
    assert_eq!((tool.process, tool.exit.map(|exit| exit.code)), (Some(key(12)), Some(2)));
    let exit = world.contexts(12, "Exit")[0];
    assert_eq!((exit.trace_id, exit.parent_span_id), (call.trace_id, Some(context.span_id)));
    let below = world.contexts(13, "Exit")[0];
    assert_eq!((below.trace_id, below.parent_span_id), (call.trace_id, Some(exit.span_id)));
    // It ended before: only the call knows of it.
    assert_eq!(world.tool("b").0.exit.map(|exit| exit.code), Some(5));
    assert_ne!(world.contexts(11, "Exec")[0].trace_id, call.trace_id);
}

#[test]
fn a_call_that_the_agents_end_broke_off_is_a_turn_that_ended() {
    let mut world = agent();
    world.exit(10, 1);
    world.call(10, user(&[1]).fails("closed"));
    assert_eq!(world.turns()[0].0.end, TurnEnd::Exit);
}

#[test]
fn a_lasting_shell_below_the_agent_runs_commands() {
    let mut world = agent();
    world.spawn(11, 10, &["bash"]);
    world.call(10, user(&[1]).asks("a", "ls -la"));
    world.spawn(12, 11, &["ls", "-la"]);
    world.exit(12, 0);
    world.call(10, results(&[1, 2, 3], &["a"]));
    assert_eq!(world.tool("a").0.process, Some(key(12)));
}

#[test]
fn an_agent_below_a_tool_joins_its_trace() {
    let mut world = agent();
    let outer = world.call(10, user(&[1]).asks("a", "claude-code -p hi"));
    world.spawn(11, 10, &["sh", "-c", "claude-code -p hi"]);
    world.spawn(12, 11, &["claude-code", "-p", "hi"]);
    let inner = world.call(12, user(&[9]).asks("i", "id"));
    world.spawn(13, 12, &["bash", "-c", "id"]);
    world.exit(13, 0);
    world.call(12, results(&[9, 10, 11], &["i"]));
    assert_eq!(inner.trace_id, outer.trace_id);
    let (_, turn) = world.turns()[0];
    assert_eq!(turn.parent_span_id, Some(world.contexts(12, "Exec")[0].span_id));
    assert_eq!(world.tool("i").0.process, Some(key(13)));
}

#[test]
fn a_command_without_a_process_is_a_finding() {
    let mut world = agent();
    world.call(10, user(&[1]).asks("a", "rm -rf /x"));
    world.call(10, results(&[1, 2, 3], &["a"]));
    assert_eq!(world.findings(), 1);
    // What was refused has not run.
    world.call(10, user(&[10]).asks("b", "rm -rf /y"));
    world.call(10, results(&[10, 11, 12], &["b"]).refused());
    assert_eq!(world.findings(), 1);
    // Where no process is ever seen, nothing can be said.
    let mut world = World::new();
    world.call(10, user(&[1]).asks("a", "rm -rf /x"));
    world.call(10, results(&[1, 2, 3], &["a"]));
    assert_eq!(world.findings(), 0);
}

#[test]
fn memory_is_given_back() {
    let mut world = agent();
    for pid in 100..2_000 {
        world.spawn(pid, 10, &["git", "status"]);
        world.exit(pid, 0);
    }
    world.exit(10, 0);
    world.exit(9, 0);
    world.correlation.advance(Timestamp(world.now).plus(super::super::GRACE), &mut world.out);
    let left = &world.correlation;
    assert!(left.processes.is_empty() && left.order.is_empty() && left.ended.is_empty() && left.turns.is_empty());
}
