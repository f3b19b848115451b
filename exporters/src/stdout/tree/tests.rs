//! The tree as an operator sees it.

use super::*;
use crate::encode::tests::turn;

fn show(observations: &[Observation]) -> String {
    let (mut tree, mut out) = (Tree::new(false), Vec::new());
    tree.write(Signal::Traces, observations, &mut out).unwrap();
    tree.finish(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

const TURN: &str = r"invoke_agent agent  5.00s  2 model calls, 1 tool call  ended: exit
├─ chat gpt-4o  1.00s  in 512 out 34  tool_calls  by gpt-4o-2024-08-06  first chunk 250ms
├─ execute_tool shell  2.00s  process 11  exit 3  matched by command
│  └─ sh -c 'echo \u{1b}[31mred; exit 3'  [11]  exit 3  2.00s
└─ chat gpt-4o  1.00s  ERROR rate_limit_exceeded: slow down  INCOMPLETE: response dropped
";

#[test]
fn a_turn_is_a_tree_and_foreign_text_is_escaped() {
    assert_eq!(show(&turn()), TURN);
}

#[test]
fn the_order_of_arrival_does_not_matter_before_the_root() {
    let mut turn = turn();
    let last = turn.len() - 1;
    turn[..last].reverse();
    assert_eq!(show(&turn), TURN);
}

#[test]
fn what_has_no_root_is_shown_at_the_end() {
    let turn = turn();
    let text = show(&turn[1..4]);
    assert!(text.starts_with("execute_tool shell") && text.contains("└─ sh -c"), "{text}");
}

#[test]
fn content_is_shown_shortened_on_a_line_each() {
    use pipeline::observation::{Content, ContentMode, Message, MessagePart, ToolContent};
    let mut turn = turn();
    let say =
        |role: &str, part: MessagePart| vec![Message { role: role.into(), parts: vec![part], ..Message::default() }];
    for mode in [ContentMode::EventOnly, ContentMode::SpanOnly] {
        for observation in &mut turn {
            match &mut observation.kind {
                Kind::AgentTurn(turn) => {
                    let input =
                        say("user", MessagePart::text(format!("list\n the  files\u{1b}[2J {}", "x".repeat(999))));
                    turn.content = Some(Box::new(Content { mode, input, ..Content::default() }));
                }
                Kind::ModelCall(call) if call.error.is_none() => {
                    let output = say("assistant", MessagePart::tool_call(None, "shell", "{\"command\":\"ls\"}"));
                    call.turn = observation.context;
                    call.turn.as_mut().unwrap().span_id = observation.context.unwrap().parent_span_id.unwrap();
                    call.content = Some(Box::new(Content { mode, output, ..Content::default() }));
                }
                Kind::ToolCall(call) => {
                    let arguments = Some(serde_json::json!({"command": "ls"}));
                    call.content = Some(Box::new(ToolContent { mode, arguments, result: Some("a\nb".into()) }));
                }
                _ => {}
            }
        }
        let text = show(&turn);
        if mode == ContentMode::EventOnly {
            assert_eq!(text, TURN);
            continue;
        }
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].starts_with(r"│  » list the files\u{1b}[2J xxx") && lines[1].ends_with("x…"), "{text}");
        assert!(lines[1].chars().count() < 190);
        assert_eq!(lines[3], r#"│     « shell({"command":"ls"})"#);
        assert_eq!(lines[5], r#"│  │  » {"command":"ls"}"#);
        assert_eq!(lines[6], "│  │  « a b");
    }
}
