//! Which results of tools a request carries that are news to the model.

use super::*;

fn results(target: &str, body: &Value) -> Vec<String> {
    call(&openai(target, body)).thread.tool_results.into_iter().map(|result| result.id).collect()
}

fn responses(items: &[Value]) -> Vec<String> {
    results("/v1/responses", &json!({"model": "m", "input": items}))
}

fn asked(id: &str) -> Value {
    json!({"type": "function_call", "call_id": id, "name": "f", "arguments": "{}"})
}

fn given(id: &str) -> Value {
    json!({"type": "function_call_output", "call_id": id, "output": "o"})
}

fn said(role: &str) -> Value {
    json!({"type": "message", "role": role, "content": "c"})
}

fn thought() -> Value {
    json!({"type": "reasoning", "summary": [], "encrypted_content": "x"})
}

#[test]
fn results_after_the_last_answer_are_kept() {
    for (name, items, expected) in [
        ("interleaved", vec![said("user"), asked("a"), given("a"), asked("b"), given("b")], vec!["a", "b"]),
        ("parallel", vec![said("user"), asked("a"), asked("b"), given("b"), given("a")], vec!["b", "a"]),
        ("thoughts first", vec![thought(), asked("a"), given("a"), asked("b"), given("b")], vec!["a", "b"]),
        ("a later answer", vec![thought(), asked("a"), given("a"), thought(), asked("b"), given("b")], vec!["b"]),
        ("words between", vec![asked("a"), given("a"), said("assistant"), asked("b"), given("b")], vec!["b"]),
        (
            "words before a call",
            vec![said("assistant"), asked("a"), asked("b"), given("a"), given("b")],
            vec!["a", "b"],
        ),
        ("all answered", vec![asked("a"), given("a"), said("assistant"), said("user")], vec![]),
        ("only new items", vec![given("a"), given("b")], vec!["a", "b"]),
        ("the user adds something", vec![asked("a"), given("a"), asked("b"), given("b"), said("user")], vec!["a", "b"]),
        (
            "several kinds",
            vec![
                json!({"type": "custom_tool_call", "call_id": "a", "name": "p", "input": "x"}),
                json!({"type": "custom_tool_call_output", "call_id": "a", "output": "o"}),
                json!({"type": "local_shell_call", "call_id": "b", "action": {}}),
                json!({"type": "local_shell_call_output", "call_id": "b", "output": "o"}),
                json!({"type": "web_search_call", "id": "w", "status": "completed"}),
                json!({"type": "tool_search_output", "call_id": "c", "execution": "client", "tools": []}),
            ],
            vec!["a", "b", "c"],
        ),
    ] {
        assert_eq!(responses(&items), expected, "{name}");
    }
}

#[test]
fn a_chat_names_the_answer_to_which_results_belong() {
    let asked = |ids: &[&str]| {
        let calls: Vec<Value> = ids.iter().map(|id| json!({"id": id, "function": {"name": "f"}})).collect();
        json!({"role": "assistant", "tool_calls": calls})
    };
    let given = |id: &str| json!({"role": "tool", "tool_call_id": id, "content": "o"});
    for (messages, expected) in [
        (vec![asked(&["a"]), given("a"), asked(&["b", "c"]), given("c"), given("b")], vec!["c", "b"]),
        (vec![asked(&["a"]), given("a"), json!({"role": "assistant", "content": "done"})], vec![]),
    ] {
        let body = json!({"model": "m", "messages": messages});
        assert_eq!(results("/v1/chat/completions", &body), expected);
    }
}

#[test]
fn a_result_is_kept_with_content_only() {
    let body = json!({"model": "m", "input": [{"type": "function_call_output", "call_id": "a", "output": "{\"x\": 1}"},
        {"type": "function_call_output", "call_id": "b", "output": [{"type": "input_text", "text": "t"}]}]});
    assert!(call(&openai("/v1/responses", &body)).thread.tool_results.iter().all(|result| result.response.is_none()));
    let kept = super::said(&openai("/v1/responses", &body)).thread.tool_results;
    assert_eq!(kept[0].response, Some(json!({"x": 1})));
    assert_eq!(kept[1].response, Some(json!("t")));
    let body = json!({"model": "m", "messages": [{"role": "tool", "tool_call_id": "a", "content": "t"}]});
    assert_eq!(super::said(&openai("/v1/chat/completions", &body)).thread.tool_results[0].response, Some(json!("t")));
}
