//! Digests of messages, and who spoke last.

use pipeline::observation::ToolResult;

use super::*;

fn threads(host: &str, target: &str, body: Value) -> Thread {
    call(&exchange(host, target, &body)).thread
}

#[test]
fn digests_see_through_notation() {
    let chat = |messages: Value| {
        threads("api.openai.com", "/v1/chat/completions", json!({"model": "m", "messages": messages}))
    };
    let plain = chat(json!([{"role": "system", "content": "s"}, {"role": "user", "content": "ab"}]));
    let mut parts = chat(json!([
        {"role": "system", "content": [{"type": "text", "text": "s"}]},
        {"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b", "cache_control": {"type": "ephemeral"}}], "role": "user"}]));
    // The texts of the user's are digested each.
    assert_eq!(
        (&plain.asked, &parts.asked),
        (&vec![Thread::digest("ab")], &vec![Thread::digest("a"), Thread::digest("b")])
    );
    parts.asked.clone_from(&plain.asked);
    assert_eq!(plain, parts);
    assert_ne!(plain.messages, chat(json!([{"role": "user", "content": "abc"}])).messages);
    assert_ne!(plain.messages, chat(json!([{"role": "assistant", "content": "ab"}])).messages);

    let message = |messages: Value| {
        threads(
            "api.anthropic.com",
            "/v1/messages",
            json!({"model": "m", "system": [{"type": "text", "text": "s"}], "messages": messages}),
        )
    };
    let plain = message(json!([{"role": "user", "content": "ab"}]));
    let marked = message(
        json!([{"role": "user", "content": [{"type": "text", "text": "ab", "cache_control": {"type": "ephemeral"}}]}]),
    );
    assert_eq!(plain, marked);
    let thought = message(
        json!([{"role": "assistant", "content": [{"type": "thinking", "thinking": "x"}, {"type": "tool_use", "id": "t"}]}]),
    );
    let silent = message(json!([{"role": "assistant", "content": [{"type": "tool_use", "id": "t"}]}]));
    assert_eq!(thought.messages, silent.messages);

    let response = |input: Value| threads("api.openai.com", "/v1/responses", json!({"model": "m", "input": input}));
    assert_eq!(
        response(json!("ab")),
        response(json!([{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "ab"}]}]))
    );
}

#[test]
fn what_the_user_asked_is_what_comes_after_the_last_answer() {
    let asked = |target: &str, body: Value| threads("api.openai.com", target, body).asked;
    let ab = [Thread::digest("a"), Thread::digest("b")];
    let messages = json!([
        {"role": "user", "content": "before"}, {"role": "assistant", "content": "yes"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url"}, {"type": "text", "text": "b"}]},
        {"role": "system", "content": "c"}]);
    assert_eq!(asked("/v1/chat/completions", json!({"model": "m", "messages": messages})), ab);
    let input = json!([{"type": "message", "role": "user", "content": "before"},
        {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "a"}]},
        {"type": "message", "role": "user", "content": "b"}]);
    assert_eq!(asked("/v1/responses", json!({"model": "m", "input": input})), ab);
    let many: Vec<Value> = (0..100).map(|n| json!({"role": "user", "content": n.to_string()})).collect();
    assert_eq!(asked("/v1/chat/completions", json!({"model": "m", "messages": many})).len(), 32);
}

#[test]
fn a_turn_opens_with_the_users_own_words() {
    let chat = |messages: Value| {
        threads("api.openai.com", "/v1/chat/completions", json!({"model": "m", "messages": messages}))
    };
    let result = |id: &str, is_error| ToolResult { id: id.into(), is_error, ..ToolResult::default() };
    let after = chat(json!([
        {"role": "user", "content": "u"},
        {"role": "assistant", "tool_calls": [{"id": "a"}]}, {"role": "tool", "tool_call_id": "a", "content": "1"},
        {"role": "assistant", "content": null, "tool_calls": [{"id": "b"}, {"id": "c"}]},
        {"role": "tool", "tool_call_id": "b", "content": "2"}, {"role": "tool", "tool_call_id": "c", "content": "3"}]));
    assert_eq!((after.from_user, after.messages.len()), (false, 6));
    assert_eq!(after.tool_results, [result("b", false), result("c", false)]);
    let next = chat(json!([{"role": "assistant", "content": "x"}, {"role": "user", "content": "u"}]));
    assert!(next.from_user && next.tool_results.is_empty());

    let message = |content: Value| {
        threads(
            "api.anthropic.com",
            "/v1/messages",
            json!({"model": "m", "messages": [
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t"}]}, {"role": "user", "content": content}]}),
        )
    };
    let results = message(json!([{"type": "tool_result", "tool_use_id": "t", "is_error": true, "content": "no"}]));
    assert_eq!((results.from_user, results.tool_results.as_slice()), (false, &[result("t", true)][..]));
    let both = message(json!([{"type": "tool_result", "tool_use_id": "t"}, {"type": "text", "text": "and"}]));
    assert!(!both.from_user && both.tool_results.len() == 1);
    assert!(message(json!("and")).from_user);

    let response = |input: Value| {
        threads("api.openai.com", "/v1/responses", json!({"model": "m", "previous_response_id": "r", "input": input}))
    };
    let outputs = response(json!([{"type": "function_call_output", "call_id": "x", "output": "1"}]));
    assert_eq!((outputs.from_user, outputs.tool_results.as_slice()), (false, &[result("x", false)][..]));
    let whole = response(json!([
        {"role": "user", "content": "u"},
        {"type": "function_call", "call_id": "a", "name": "f"}, {"type": "function_call_output", "call_id": "a"},
        {"type": "reasoning"},
        {"type": "custom_tool_call", "call_id": "b", "name": "f"}, {"type": "custom_tool_call_output", "call_id": "b"}]));
    assert_eq!((whole.from_user, whole.tool_results.as_slice()), (false, &[result("b", false)][..]));
}
