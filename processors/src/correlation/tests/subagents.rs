//! Scenarios about sub-agents that are threads of the same process.

use pipeline::{
    SpanContext,
    observation::{AgentTurn, Link},
};

use super::world::{Call, World, results, user};

fn agent() -> World {
    let mut world = World::new();
    world.found(9, 1, &["bash"]);
    world.spawn(10, 9, &["agent"]);
    world
}

fn task(call: Call, id: &'static str, prompt: &str) -> Call {
    let arguments = serde_json::json!({ "description": "a task", "prompt": prompt, "subagent_type": "general" });
    call.asks_tool(id, "Task", &arguments.to_string())
}

/// A sub-agent's first request: the prompt among other texts.
fn told(message: u64, prompt: &str) -> Call {
    user(&[message]).says(&["<reminder/>", prompt])
}

/// The turn of a process that has this number, its place, and how that was found.
fn turn(world: &World, number: u32) -> (&AgentTurn, SpanContext, Option<Link>) {
    let of = |o: &pipeline::Observation| o.link;
    let links = world.out.iter().filter(|o| matches!(o.kind, pipeline::Kind::AgentTurn(_))).map(of);
    let turns = world.turns();
    let found = turns.into_iter().zip(links).find(|((turn, _), _)| turn.number == number);
    let ((turn, context), link) = found.expect("the turn was told");
    (turn, context, link)
}

#[test]
fn sub_agents_of_one_answer_hang_under_the_calls_whose_prompts_they_were_told() {
    let mut world = agent();
    world.call(10, task(task(user(&[1]), "a", "look left"), "b", " look right\n"));
    // In any order, and working at the same time.
    world.call(10, told(60, "look right").asks("r", "ls /right"));
    world.call(10, told(50, "look left").asks("l", "ls /left"));
    world.spawn(11, 10, &["sh", "-c", "ls /left"]);
    world.spawn(12, 10, &["sh", "-c", "ls /right"]);
    world.exit(12, 0);
    world.exit(11, 0);
    world.call(10, results(&[60, 61, 62], &["r"]));
    world.call(10, results(&[50, 51, 52], &["l"]));
    world.call(10, results(&[1, 2, 3], &["a", "b"]));
    for (id, number, tool, pid) in [("a", 2, "l", 11), ("b", 1, "r", 12)] {
        let (_, context, link) = turn(&world, number);
        assert_eq!((context.parent_span_id, link), (Some(world.tool(id).1.span_id), Some(Link::Prompt)), "{id}");
        assert_eq!(world.tool(tool).1.parent_span_id, Some(context.span_id));
        assert_eq!(world.above(pid), Some(world.tool(tool).1.span_id));
    }
    assert_eq!(turn(&world, 0).2, None);
}

#[test]
fn sub_agents_that_were_told_the_same_hang_under_the_turn_that_asked_for_them() {
    let mut world = agent();
    world.call(10, task(task(user(&[1]), "a", "look"), "b", "look"));
    world.call(10, told(50, "look").asks("x", "ls /x"));
    // The same messages again, but not as a retry: the first was answered.
    world.call(10, told(50, "look").asks("y", "ls /y"));
    world.call(10, results(&[50, 51, 52], &["x"]));
    world.call(10, results(&[50, 53, 54], &["y"]));
    world.call(10, results(&[1, 2, 3], &["a", "b"]));
    let (_, above, _) = turn(&world, 0);
    for (number, tool) in [(1, "x"), (2, "y")] {
        let (_, context, link) = turn(&world, number);
        assert_eq!((context.parent_span_id, link), (Some(above.span_id), Some(Link::Prompt)));
        assert_eq!(world.tool(tool).1.parent_span_id, Some(context.span_id));
    }
}

#[test]
fn a_thread_that_was_told_something_else_is_no_sub_agent() {
    let mut world = agent();
    // Nothing is known of how this agent tells its sub-agents: the only call it can be.
    world.call(10, task(user(&[1]), "a", "look"));
    world.call(10, told(50, "Your task: look"));
    world.call(10, results(&[1, 2, 3], &["a"]));
    assert_eq!(turn(&world, 1).2, Some(Link::Sole));
    // Two that it can be, and none that it fits.
    world.call(10, task(task(user(&[4]), "b", "one"), "c", "two"));
    world.call(10, told(60, "three"));
    assert_eq!(turn(&world, 3).1.parent_span_id, None);
    world.call(10, told(70, "one"));
    assert_eq!(turn(&world, 4).2, Some(Link::Prompt));
    // One is left, but it is known now that this agent tells its prompts as they are.
    world.call(10, told(80, "three"));
    assert_eq!(turn(&world, 5).1.parent_span_id, None);
    world.call(10, told(90, "two"));
    world.call(10, results(&[4, 5, 6], &["b", "c"]));
    assert_eq!(turn(&world, 6).1.parent_span_id, Some(world.tool("c").1.span_id));
}

#[test]
fn a_sub_agent_may_begin_after_the_end_of_its_call() {
    let mut world = agent();
    world.call(10, task(task(user(&[1]), "a", "look left"), "b", "look right"));
    world.call(10, results(&[1, 2, 3], &["a", "b"]));
    world.call(10, told(50, "look right"));
    world.call(10, told(60, "look right"));
    let (_, context, link) = turn(&world, 1);
    assert_eq!((context.parent_span_id, link), (Some(world.tool("b").1.span_id), Some(Link::Prompt)));
    // Each call starts one, and only soon.
    assert_eq!(turn(&world, 2).1.parent_span_id, None);
    world.now += 11_000_000_000;
    world.call(10, told(70, "look left"));
    assert_eq!(turn(&world, 3).1.parent_span_id, None);
    // One that failed started none.
    world.call(10, task(user(&[4]), "c", "look up"));
    world.call(10, results(&[4, 5, 6], &["c"]).refused());
    world.call(10, told(80, "look up"));
    assert_eq!(turn(&world, 5).1.parent_span_id, None);
}
