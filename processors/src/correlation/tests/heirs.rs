//! Scenarios about agents that go on as another program or another process.

use pipeline::{
    Processor, Timestamp,
    observation::{Evidence, Match, TurnEnd},
};

use super::world::{World, key, results, user};

#[test]
fn an_agent_that_executes_itself_again_goes_on_with_its_turn() {
    let mut world = World::new();
    world.found(9, 1, &["bash"]);
    world.spawn(10, 9, &["claude-code", "wrapper.js"]);
    let first = world.call(10, user(&[1]).asks("a", "make all").asks("b", "make more"));
    world.spawn(11, 10, &["sh", "-c", "make all"]);
    world.exec(10, &["claude-code", "--resume"]);
    world.exit(11, 3);
    world.spawn(12, 10, &["sh", "-c", "make more"]);
    world.exit(12, 0);
    let second = world.call(10, results(&[1, 2, 3, 4], &["a", "b"]));
    assert_eq!(first.trace_id, second.trace_id);
    let turns: Vec<_> = world.turns().iter().map(|(turn, _)| (turn.end, turn.model_calls, turn.tool_calls)).collect();
    assert_eq!(turns, [(TurnEnd::Answered, 2, 2)]);
    for (id, pid) in [("a", 11), ("b", 12)] {
        let (tool, _) = world.tool(id);
        assert_eq!((tool.process, tool.result_seen), (Some(key(pid)), true), "{id}");
    }
    // Another program is another matter.
    world.call(10, user(&[50]).asks("c", "make all"));
    world.exec(10, &["bash"]);
    assert_eq!(world.turns()[1].0.end, TurnEnd::Exit);
}

#[test]
fn a_child_goes_on_with_the_turn_of_an_agent_that_ended() {
    let mut world = World::new();
    world.found(9, 1, &["bash"]);
    world.spawn(10, 9, &["claude-code"]);
    let first = world.call(10, user(&[1]).asks("a", "make all").asks("b", "make more"));
    world.spawn(11, 10, &["sh", "-c", "make all"]);
    world.spawn(20, 10, &["claude-code", "--worker"]);
    world.exit(10, 0);
    assert!(world.turns().is_empty());
    world.spawn(12, 20, &["sh", "-c", "make more"]);
    // A child of the first one's tool belongs to it still.
    world.spawn(13, 11, &["cc", "x.c"]);
    world.exit(11, 2);
    world.exit(12, 0);
    let second = world.call(20, results(&[1, 2, 3], &["a", "b"]));
    assert_eq!(first.trace_id, second.trace_id);
    let (a, context) = world.tool("a");
    assert_eq!((a.process, a.evidence, a.matched), (Some(key(11)), Evidence::Process, Some(Match::Command)));
    assert_eq!(a.exit.map(|exit| exit.code), Some(2));
    assert_eq!(world.tool("b").0.process, Some(key(12)));
    assert_eq!(world.above(11), Some(context.span_id));
    assert_eq!(world.above(13), Some(world.contexts(11, "Exec")[0].span_id));
    assert_eq!(world.turns().iter().map(|(turn, _)| turn.end).collect::<Vec<_>>(), [TurnEnd::Answered]);
}

#[test]
fn a_turn_that_nobody_goes_on_with_ended_with_its_process() {
    let mut world = World::new();
    world.found(9, 1, &["bash"]);
    world.spawn(10, 9, &["agent"]);
    world.call(10, user(&[1]).asks("a", "make all"));
    world.fork(20, 10);
    world.exit(10, 0);
    let ended = Timestamp(world.now);
    // Its own turn is another.
    world.call(20, user(&[70]));
    world.exit(20, 0);
    let turns: Vec<_> = world.turns().iter().map(|(turn, _)| (turn.number, turn.end, turn.ended)).collect();
    assert_eq!(turns[1], (0, TurnEnd::Exit, ended));
    assert!(world.correlation.turns.is_empty());
}

#[test]
fn a_child_takes_over_from_an_agent_that_only_waits_for_it() {
    let mut world = World::new();
    world.found(9, 1, &["bash"]);
    world.spawn(10, 9, &["claude-code"]);
    let first = world.call(10, user(&[1]).asks("a", "make all"));
    world.spawn(20, 10, &["claude-code", "--worker"]);
    world.spawn(11, 20, &["sh", "-c", "make all"]);
    world.exit(11, 0);
    let second = world.call(20, results(&[1, 2, 3], &["a"]));
    assert_eq!(first.trace_id, second.trace_id);
    assert_eq!(world.tool("a").0.process, Some(key(11)));
    assert_eq!(world.turns().len(), 1);
}

#[test]
fn an_agent_of_the_same_kind_that_a_tool_started_does_not_inherit() {
    let mut world = World::new();
    world.found(9, 1, &["bash"]);
    world.spawn(10, 9, &["claude-code"]);
    let outer = world.call(10, user(&[1]).asks("a", "claude-code -p hi").asks("b", "make all"));
    world.spawn(11, 10, &["claude-code", "-p", "hi"]);
    assert_eq!(world.above(11), world.correlation.turns.values().next().map(|turn| turn.tools[&0].context.span_id));
    world.call(11, user(&[7]).asks("i", "make all"));
    world.spawn(12, 11, &["sh", "-c", "make all"]);
    world.exit(10, 1);
    let inner = world.call(11, results(&[7, 8, 9], &["i"]));
    assert_eq!(inner.trace_id, outer.trace_id);
    let ends: Vec<_> = world.turns().iter().map(|(turn, _)| (turn.number, turn.end)).collect();
    assert_eq!(ends, [(0, TurnEnd::Exit), (0, TurnEnd::Answered)]);
    assert_eq!((world.tool("i").0.process, world.tool("b").0.process), (Some(key(12)), None));
}

#[test]
fn a_pid_that_is_used_again_is_another_process() {
    let mut world = World::new();
    world.found(9, 1, &["bash"]);
    world.spawn(10, 9, &["agent"]);
    let call = world.call(10, user(&[1]).asks("a", "make all"));
    world.spawn(11, 10, &["sh", "-c", "make all"]);
    world.exit(11, 0);
    world.exit(10, 0);
    // The same pids, later.
    world.reuse(10, 9, &["agent"]);
    world.reuse(11, 10, &["sh", "-c", "make all"]);
    world.exit(11, 1);
    assert_eq!(world.tool("a").0.exit.map(|exit| exit.code), Some(0));
    let last = world.out.last().and_then(|o| o.context);
    assert_ne!(last.map(|context| context.trace_id), Some(call.trace_id));
    world.correlation.advance(Timestamp(world.now).plus(std::time::Duration::from_secs(61)), &mut world.out);
    assert!(world.correlation.processes.values().all(|proc| proc.exit.is_none()));
}
