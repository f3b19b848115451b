//! Scenarios with a gateway between the agent and the provider.

use std::time::Duration;

use pipeline::{
    Kind, Observation, Processor, SpanContext, Timestamp,
    observation::{Link, Match},
};

use super::world::{World, key, results, user};

fn world() -> World {
    let mut world = World::new();
    world.found(9, 1, &["bash"]);
    world.spawn(10, 9, &["agent"]);
    world.spawn(30, 9, &["gateway"]);
    world.infos.get_mut(&30).unwrap().serves_models = true;
    world
}

/// The calls of the gateway, told after a while.
fn forwarded(world: &mut World) -> Vec<SpanContext> {
    let later = Timestamp(world.now).plus(Duration::from_secs(11));
    world.correlation.advance(later, &mut world.out);
    let call = |o: &&Observation| o.process.key == key(30) && matches!(o.kind, Kind::ModelCall(_));
    world.out.iter().filter(call).filter_map(|o| o.context).collect()
}

#[test]
fn a_gateways_call_hangs_under_the_one_that_it_was_made_for() {
    let mut world = world();
    let start = Timestamp(world.now);
    world.now += 500;
    world.try_call(30, user(&[1]).asks("t1", "ls -la"));
    let asked = world.call_since(10, start, user(&[1]).asks("t1", "ls -la"));
    world.spawn(11, 10, &["sh", "-c", "ls -la"]);
    world.exit(11, 0);
    let start = Timestamp(world.now);
    world.now += 500;
    // Once more by another provider, as the first one failed.
    world.try_call(30, results(&[1, 2, 3], &["t1"]).fails("500"));
    world.try_call(30, results(&[1, 2, 3], &["t1"]));
    let second = world.call_since(10, start, results(&[1, 2, 3], &["t1"]));
    let made = forwarded(&mut world);
    let above: Vec<_> = made.iter().map(|made| (made.trace_id, made.parent_span_id)).collect();
    let below = |context: SpanContext| (context.trace_id, Some(context.span_id));
    assert_eq!(above, [below(asked), below(second), below(second)]);
    assert_ne!(made[1].span_id, made[2].span_id);
    let turns: Vec<_> = world.turns().iter().map(|(turn, _)| turn.agent_name.clone()).collect();
    assert_eq!(turns, ["agent"]);
    assert_eq!(world.tools().len(), 1);
    assert_eq!(world.tool("t1").0.process, Some(key(11)));
}

#[test]
fn a_gateways_call_that_fits_none_or_two_is_not_an_agents() {
    let mut world = world();
    world.spawn(20, 9, &["agent"]);
    let start = Timestamp(world.now);
    world.now += 500;
    // Rewritten on its way.
    world.try_call(30, user(&[99]).asks("t1", "ls -la"));
    world.call_since(10, start, user(&[1]));
    let start = Timestamp(world.now);
    world.now += 500;
    // Both agents ask the same at the same time.
    world.try_call(30, user(&[7]));
    world.try_call(30, user(&[7]));
    world.call_since(10, start, user(&[7]));
    world.call_since(20, start, user(&[7]));
    let own = world.contexts(30, "Exec")[0];
    let made = forwarded(&mut world);
    assert_eq!(made.len(), 3);
    assert!(made.iter().all(|made| (made.trace_id, made.parent_span_id) == (own.trace_id, Some(own.span_id))));
    assert_eq!(world.turns().len(), 3);
    assert!(world.tools().is_empty());
}

#[test]
fn a_gateways_calls_say_how_they_were_found() {
    let mut world = world();
    let start = Timestamp(world.now);
    world.now += 500;
    world.try_call(30, user(&[1]));
    world.call_since(10, start, user(&[1]));
    world.try_call(30, user(&[2]));
    forwarded(&mut world);
    let calls = world.out.iter().filter(|o| o.process.key == key(30) && matches!(o.kind, Kind::ModelCall(_)));
    assert_eq!(calls.map(|o| o.link).collect::<Vec<_>>(), [Some(Link::Messages), Some(Link::Program)]);
}

#[test]
fn what_serves_a_models_api_and_runs_its_tools_itself_is_an_agent() {
    let mut world = world();
    world.try_call(30, user(&[1]).asks("t1", "make all"));
    world.spawn(31, 30, &["sh", "-c", "make all"]);
    world.exit(31, 2);
    // The answer is seen to end after it began.
    let (started, chunk) = (Timestamp(world.now + 500), world.now + 1_500);
    world.now += 2_000;
    world.spawn(32, 30, &["sh", "-c", "make more"]);
    let second =
        world.made(30, started, results(&[1, 2, 3], &["t1"]).asks("t2", "make more").last_chunk(chunk)).unwrap();
    world.exit(32, 0);
    let last = world.call(30, results(&[1, 2, 3, 4, 5], &["t2"]));
    assert_eq!(second.trace_id, last.trace_id);
    for (id, pid) in [("t1", 31), ("t2", 32)] {
        let (tool, context) = world.tool(id);
        assert_eq!((tool.process, tool.matched), (Some(key(pid)), Some(Match::Command)), "{id}");
        assert_eq!(world.contexts(pid, "Exit")[0].parent_span_id, Some(context.span_id));
    }
    let turns = world.turns();
    assert_eq!((turns.len(), turns[0].0.model_calls), (1, 3));
    // A new thread, whose first answer is seen to end after it began to run what it asks for.
    let (started, chunk) = (Timestamp(world.now + 500), world.now + 1_500);
    world.now += 2_000;
    world.spawn(33, 30, &["sh", "-c", "make it"]);
    world.made(30, started, user(&[60]).asks("t3", "make it").last_chunk(chunk)).unwrap();
    world.call(30, results(&[60, 61, 62], &["t3"]));
    assert_eq!(world.tool("t3").0.process, Some(key(33)));
    // Another one, of which nobody knows.
    world.try_call(30, user(&[70]));
    assert_eq!(forwarded(&mut world).len(), 6);
    assert_eq!(world.turns().len(), 2);
}

#[test]
fn a_gateway_stays_one_though_what_it_started_runs_what_it_was_asked_for() {
    let mut world = world();
    // The gateway is the agent's parent, and the agent ends its call late.
    world.spawn(40, 30, &["claude-code"]);
    let start = Timestamp(world.now);
    world.now += 500;
    world.try_call(30, user(&[1]).asks("t1", "make all"));
    world.spawn(41, 40, &["sh", "-c", "make all"]);
    world.exit(41, 0);
    let chunk = start.0 + 2_000;
    world.call_since(40, start, user(&[1]).asks("t1", "make all").last_chunk(chunk));
    assert_eq!(world.correlation.turns.values().map(|turn| turn.agent).collect::<Vec<_>>(), [key(40)]);
    // Something of its own that looks alike, when the agent has the answer.
    world.spawn(33, 30, &["sh", "-c", "make all"]);
    world.call(40, results(&[1, 2, 3], &["t1"]));
    assert_eq!(world.tool("t1").0.process, Some(key(41)));
    assert_eq!(forwarded(&mut world).len(), 1);
    assert_eq!(world.turns().len(), 1);
}

#[test]
fn an_agent_that_is_known_stays_one() {
    let mut world = World::new();
    world.found(9, 1, &["bash"]);
    world.spawn(10, 9, &["claude-code"]);
    world.infos.get_mut(&10).unwrap().serves_models = true;
    world.call(10, user(&[1]));
    assert_eq!(world.turns().len(), 1);
}
