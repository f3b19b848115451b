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
