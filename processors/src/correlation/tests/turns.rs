//! Scenarios about turns.

use std::time::Duration;

use pipeline::{
    Kind, Processor, SpanContext, SpanId, Timestamp, TraceId,
    config::values::GoDuration,
    observation::{Evidence, TurnEnd},
};

use super::world::{World, results, user};
use crate::correlation::config::{Config, Instrumented};

fn agent() -> World {
    let mut world = World::new();
    world.found(10, 1, &["agent"]);
    world
}

#[test]
fn an_answer_without_tools_is_a_turn() {
    let mut world = agent();
    let call = world.call(10, user(&[1]).conversation("c1"));
    let turns = world.turns();
    let [(turn, context)] = turns.as_slice() else { panic!("one turn: {turns:?}") };
    assert_eq!((turn.end, turn.model_calls, turn.tool_calls), (TurnEnd::Answered, 1, 0));
    assert_eq!((turn.agent_name.as_str(), turn.conversation_id.as_deref()), ("agent", Some("c1")));
    assert_eq!((call.trace_id, call.parent_span_id), (context.trace_id, Some(context.span_id)));
    assert_eq!(context.parent_span_id, None);
    assert!(world.out.iter().all(|o| o.context.is_some()));
}

#[test]
fn results_go_on_with_the_turn_and_the_next_message_is_the_next_turn() {
    let mut world = agent();
    let first = world.call(10, user(&[1]).asks_tool("t1", "weather", r#"{"city":"x"}"#));
    let second = world.call(10, results(&[1, 2, 3], &["t1"]));
    let third = world.call(10, user(&[1, 2, 3, 4, 5]));
    assert_eq!(first.trace_id, second.trace_id);
    assert_ne!(first.trace_id, third.trace_id);
    let (tool, context) = world.tool("t1");
    assert_eq!((tool.evidence, tool.result_seen, tool.matched), (Evidence::Wire, true, None));
    assert_eq!(context.trace_id, first.trace_id);
    assert!(tool.started < tool.ended);
    let turns: Vec<_> = world.turns().iter().map(|(turn, _)| (turn.number, turn.end, turn.model_calls)).collect();
    assert_eq!(turns, [(0, TurnEnd::Answered, 2), (1, TurnEnd::Answered, 1)]);
    assert_eq!(world.findings(), 0);
}

#[test]
fn a_new_message_supersedes_and_steering_does_not() {
    let mut world = agent();
    world.call(10, user(&[1]).asks("t1", "sleep 99"));
    world.call(10, user(&[1, 2]));
    assert_eq!(world.turns()[0].0.end, TurnEnd::Superseded);
    assert!(!world.tool("t1").0.result_seen);
    // A result and a message together go on with the turn.
    world.call(10, user(&[7]).asks("t2", "sleep 99"));
    world.call(10, results(&[7, 8, 9, 10], &["t2"]).steered());
    assert_eq!(world.turns().last().map(|(turn, _)| turn.model_calls), Some(2));
}

#[test]
fn retries_stay_in_the_turn_and_a_failed_one_tells_its_error() {
    let mut world = agent();
    let first = world.call(10, user(&[1]).fails("rate_limit_exceeded"));
    let second = world.call(10, user(&[1]).fails("rate_limit_exceeded").resend(1));
    assert!(world.turns().is_empty());
    let third = world.call(10, user(&[1]).resend(2));
    assert!(first.trace_id == second.trace_id && second.trace_id == third.trace_id);
    let turn = world.turns()[0].0;
    assert_eq!((turn.model_calls, turn.end, turn.error.as_deref()), (3, TurnEnd::Answered, None));

    world.call(10, user(&[5]).fails("overloaded_error"));
    world.exit(10, 1);
    let turn = world.turns()[1].0;
    assert_eq!((turn.end, turn.error.as_deref()), (TurnEnd::Exit, Some("overloaded_error")));
}

#[test]
fn one_shots_at_the_same_time_are_turns_of_their_own() {
    let mut world = agent();
    let start = Timestamp(world.now);
    for _ in 0..3 {
        world.call_since(10, start, user(&[1]).one_shot());
    }
    world.call_since(10, start, user(&[1]).fails("500").one_shot());
    world.call_since(10, start, user(&[1]).one_shot());
    world.call(10, results(&[], &[]).embeds());
    world.call(10, results(&[], &[]).embeds().fails("429"));
    world.call(10, results(&[], &[]).embeds().resend(1));
    let calls: Vec<_> = world.turns().iter().map(|(turn, _)| turn.model_calls).collect();
    assert_eq!(calls, [1, 1, 1, 1, 1, 2]);
}

#[test]
fn a_list_sent_whole_after_a_lost_response_goes_on_with_the_turn() {
    let mut world = agent();
    // The first response that is named was a warm-up's, which is no call.
    let first = world.call(10, user(&[1]).previous("warm").reply("r1").asks("t1", "id"));
    let lost = world.call(10, results(&[3], &["t1"]).previous("r1").fails("previous_response_not_found"));
    let again = world.call(10, results(&[1, 2, 3], &["t1"]).reply("r2"));
    assert_eq!((first.trace_id, first.trace_id), (lost.trace_id, again.trace_id));
    let turns: Vec<_> = world.turns().iter().map(|(turn, _)| (turn.end, turn.model_calls)).collect();
    assert_eq!(turns, [(TurnEnd::Answered, 3)]);
    // Another list is another turn.
    world.call(10, user(&[4]).previous("r2").fails("previous_response_not_found"));
    assert_ne!(world.call(10, user(&[5])).trace_id, again.trace_id);
}

#[test]
fn a_thread_goes_on_by_previous_response_id() {
    let mut world = agent();
    let first = world.call(10, user(&[1]).reply("r1").asks_tool("t1", "f", "{}"));
    let second = world.call(10, results(&[9], &[]).previous("r1").reply("r2"));
    let third = world.call(10, user(&[4]).previous("r2"));
    assert_eq!(first.trace_id, second.trace_id);
    assert_ne!(first.trace_id, third.trace_id);
}

#[test]
fn a_sub_agent_hangs_under_the_one_tool_that_can_have_started_it() {
    let mut world = agent();
    world.call(10, user(&[1]).asks_tool("t1", "Task", r#"{"prompt":"x","subagent_type":"y"}"#));
    let sub = world.call(10, user(&[50]).asks("s1", "ls"));
    let title = world.call(10, user(&[60]).one_shot());
    world.call(10, results(&[50, 51, 52], &["s1"]));
    let main = world.call(10, results(&[1, 2, 3], &["t1"]));
    let (_, task) = world.tool("t1");
    assert_eq!(sub.trace_id, main.trace_id);
    assert_ne!(title.trace_id, main.trace_id);
    let under: Vec<_> =
        world.turns().iter().filter(|(_, c)| c.parent_span_id == Some(task.span_id)).map(|(t, _)| t.number).collect();
    assert_eq!(under, [1]);

    // Two candidates: none.
    world.call(10, user(&[70]).asks_tool("a", "Task", "{}").asks_tool("b", "Task", "{}"));
    let sub = world.call(10, user(&[80]));
    assert!(world.turns().iter().any(|(_, c)| c.trace_id == sub.trace_id && c.parent_span_id.is_none()));
}

#[test]
fn idle_turns_end_and_running_tools_keep_them() {
    let mut world = World::with(Config { turn_idle_timeout: GoDuration(Duration::from_secs(5)), ..Config::default() });
    world.found(10, 1, &["agent"]);
    world.call(10, user(&[1]).asks("t1", "make all"));
    world.spawn(11, 10, &["sh", "-c", "make all"]);
    world.now += 20_000_000_000;
    let mut out = Vec::new();
    world.correlation.advance(Timestamp(world.now), &mut out);
    assert!(out.is_empty());
    world.exit(11, 0);
    world.correlation.advance(Timestamp(world.now + 4_999_999_999), &mut out);
    assert!(out.is_empty());
    world.correlation.advance(Timestamp(world.now + 5_000_000_000), &mut out);
    assert!(matches!(&out[0].kind, Kind::ToolCall(tool) if tool.evidence == Evidence::Process && !tool.result_seen));
    assert!(matches!(&out[1].kind, Kind::AgentTurn(turn) if turn.end == TurnEnd::Idle && turn.ended.0 == world.now));
    assert!(world.correlation.turns.is_empty());
}

#[test]
fn a_remote_parent_takes_the_turn_into_its_trace() {
    let mut world = agent();
    let remote = SpanContext {
        trace_id: TraceId::derive(&[b"remote"]),
        span_id: SpanId::derive(&[b"remote"]),
        parent_span_id: None,
    };
    let call = world.call(10, user(&[1]).remote(remote));
    let (_, turn) = world.turns()[0];
    assert_eq!((call.trace_id, turn.trace_id), (remote.trace_id, remote.trace_id));
    assert_eq!(turn.parent_span_id, Some(remote.span_id));
}

#[test]
fn conversations_come_from_wire_children_or_on_request() {
    let mut world = World::new();
    world.found(9, 1, &["sh"]);
    world.fork(10, 9);
    world.exec(10, &["claude-code"]);
    world.fork(11, 10);
    world.exec_with(11, &["git"], &[("CLAUDE_CODE_SESSION_ID", "session-1")]);
    world.call(10, user(&[1]));
    assert_eq!(world.turns()[0].0.conversation_id.as_deref(), Some("session-1"));
    // A script below the agent has the marker too, but the session is not its own.
    world.fork(12, 11);
    world.exec_with(12, &["script"], &[("CLAUDE_CODE_SESSION_ID", "session-1")]);
    world.call(12, user(&[2]));
    assert_eq!(world.turns()[1].0.conversation_id, None);

    let mut world = World::with(Config { synthesize_conversation_id: true, ..Config::default() });
    world.found(10, 1, &["agent"]);
    world.call(10, user(&[1]));
    world.call(10, user(&[2]));
    let ids: Vec<_> = world.turns().iter().map(|(turn, _)| turn.conversation_id.clone()).collect();
    assert!(ids[0].is_some() && ids[0] == ids[1]);
}

#[test]
fn finish_ends_what_is_open() {
    let mut world = agent();
    world.call(10, user(&[1]).asks("t1", "make all"));
    world.spawn(11, 10, &["sh", "-c", "make all"]);
    world.finish();
    assert_eq!(world.turns()[0].0.end, TurnEnd::Shutdown);
    let (tool, _) = world.tool("t1");
    assert_eq!((tool.evidence, tool.exit, tool.result_seen), (Evidence::Process, None, false));
}

#[test]
fn keys_are_checked_and_documented() {
    let mut problems = Vec::new();
    let zero = Config { turn_idle_timeout: GoDuration::default(), ..Config::default() };
    pipeline::config::Component::validate(&zero, "processors::correlation", &mut problems);
    assert_eq!(problems[0].path, "processors::correlation::turn_idle_timeout");
    let readme = include_str!("../README.md");
    for key in ["turn_idle_timeout", "synthesize_conversation_id"] {
        assert!(readme.contains(&format!("| `{key}` |")), "{key}");
    }
}

fn remote(name: &[u8]) -> SpanContext {
    SpanContext { trace_id: TraceId::derive(&[name]), span_id: SpanId::derive(&[name]), parent_span_id: None }
}

#[test]
fn each_call_hangs_under_its_own_remote_parent() {
    let mut world = agent();
    world.call(10, user(&[1]).asks("t", "ls").remote(remote(b"a")));
    let second = world.call(10, results(&[1, 2], &["t"]).remote(remote(b"b")));
    assert_eq!((second.trace_id, second.parent_span_id), (remote(b"b").trace_id, Some(remote(b"b").span_id)));
    let (_, turn) = world.turns()[0];
    assert_eq!((turn.trace_id, turn.parent_span_id), (remote(b"a").trace_id, Some(remote(b"a").span_id)));
}

#[test]
fn what_the_agent_tells_itself_can_be_suppressed() {
    let mut world = agent();
    world.correlation.config.instrumented = Instrumented::Suppress;
    world.try_call(10, user(&[1]).asks("t", "ls").remote(remote(b"a")));
    world.try_call(10, results(&[1, 2], &["t"]).remote(remote(b"b")));
    assert!(world.turns().is_empty());
    let tool = world.tools().pop().unwrap().1;
    assert_eq!((tool.trace_id, tool.parent_span_id), (remote(b"a").trace_id, Some(remote(b"a").span_id)));
    assert_ne!(tool.span_id, remote(b"a").span_id);
}

#[test]
fn what_the_agent_tells_itself_can_be_told_twice() {
    let mut world = agent();
    world.correlation.config.instrumented = Instrumented::Duplicate;
    let call = world.call(10, user(&[1]).remote(remote(b"a")));
    let (_, turn) = world.turns()[0];
    assert_ne!(turn.trace_id, remote(b"a").trace_id);
    assert_eq!((call.trace_id, call.parent_span_id), (turn.trace_id, Some(turn.span_id)));
}
