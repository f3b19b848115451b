//! Content against the conventions' JSON schemas (pipeline/registry/schemas).
//!
//! Only the keywords that these schemas use are understood; a schema with another one fails every test. The schemas end in
//! a generic part that allows anything with a `type`, so it is asked for more than they do: what says that it is a `text`
//! must be a text.

use pipeline::observation::ModelCall;
use serde::Serialize;
use serde_json::Value;

const INPUT: &str = include_str!("../../../../pipeline/registry/schemas/gen-ai-input-messages.json");
const OUTPUT: &str = include_str!("../../../../pipeline/registry/schemas/gen-ai-output-messages.json");
const SYSTEM: &str = include_str!("../../../../pipeline/registry/schemas/gen-ai-system-instructions.json");
const TOOLS: &str = include_str!("../../../../pipeline/registry/schemas/gen-ai-tool-definitions.json");
const DOCUMENTS: &str = include_str!("../../../../pipeline/registry/schemas/gen-ai-retrieval-documents.json");

/// Fails unless every content of the call is what its schema says. A call without content passes.
#[allow(dead_code, reason = "the golden tests only check")]
pub fn assert_content_valid(call: &ModelCall) {
    if let Err(error) = check(call) {
        panic!("{error}");
    }
}

/// What is wrong with the content of a call: attribute, place, rule.
pub fn check(call: &ModelCall) -> Result<(), String> {
    let Some(content) = &call.content else { return Ok(()) };
    of("gen_ai.system_instructions", SYSTEM, &content.system_instructions)?;
    of("gen_ai.input.messages", INPUT, &content.input)?;
    of("gen_ai.output.messages", OUTPUT, &content.output)?;
    of("gen_ai.tool.definitions", TOOLS, &content.tools)?;
    of("gen_ai.retrieval.documents", DOCUMENTS, &content.documents)
}

fn of(name: &str, schema: &str, value: &impl Serialize) -> Result<(), String> {
    let value = serde_json::to_value(value).map_err(|error| format!("{name}: {error}"))?;
    let schema: Value = serde_json::from_str(schema).map_err(|error| format!("schema of {name}: {error}"))?;
    valid(&schema, &schema, &value, name)
}

fn valid(root: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let rules = schema.as_object().ok_or_else(|| format!("{at}: the schema is no object"))?;
    for (keyword, rule) in rules {
        let wrong = || format!("{at}: {value} breaks {keyword} {rule}");
        match keyword.as_str() {
            // Told to people, and what allows anything.
            "$defs" | "title" | "description" | "default" | "format" | "additionalProperties" => {}
            "type" if !is(value, rule.as_str().unwrap_or_default()) => return Err(wrong()),
            "const" if value != rule => return Err(wrong()),
            "enum" if !list(rule).contains(value) => return Err(wrong()),
            "type" | "const" | "enum" => {}
            "required" => {
                if let Some(name) =
                    list(rule).iter().find(|name| value.get(name.as_str().unwrap_or_default()).is_none())
                {
                    return Err(format!("{at}: {value} lacks {name}"));
                }
            }
            "properties" => {
                for (name, rule) in rule.as_object().into_iter().flatten() {
                    if let Some(value) = value.get(name) {
                        valid(root, rule, value, &format!("{at}.{name}"))?;
                    }
                }
            }
            "items" => {
                for (number, value) in value.as_array().into_iter().flatten().enumerate() {
                    valid(root, rule, value, &format!("{at}[{number}]"))?;
                }
            }
            "$ref" => valid(root, referred(root, rule), value, at)?,
            "anyOf" => any_of(root, list(rule), value, at)?,
            other => return Err(format!("the schema of {at} has {other}, which this test does not understand")),
        }
    }
    Ok(())
}

/// One of the choices; where one of them is meant by the value's `type`, that one.
fn any_of(root: &Value, choices: &[Value], value: &Value, at: &str) -> Result<(), String> {
    let kind = value.get("type");
    let resolved = |choice: &'_ Value| choice.get("$ref").map_or(choice.clone(), |name| referred(root, name).clone());
    let choices: Vec<Value> = choices.iter().map(resolved).collect();
    let meant = |choice: &&Value| kind.is_some() && choice.pointer("/properties/type/const") == kind;
    if let Some(choice) = choices.iter().find(meant) {
        return valid(root, choice, value, at);
    }
    let fits = |choice: &Value| valid(root, choice, value, at).is_ok();
    choices.iter().any(fits).then_some(()).ok_or_else(|| format!("{at}: {value} is none of what it may be"))
}

fn referred<'a>(root: &'a Value, name: &Value) -> &'a Value {
    let path = name.as_str().and_then(|name| name.strip_prefix('#'));
    path.and_then(|path| root.pointer(path)).unwrap_or(&Value::Null)
}

fn list(rule: &Value) -> &[Value] {
    rule.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn is(value: &Value, kind: &str) -> bool {
    match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    }
}

#[test]
fn the_validator_is_strict() {
    use serde_json::json;
    for (schema, value, fine) in [
        (INPUT, json!([{"role": "user", "parts": [{"type": "text", "content": "hi"}]}]), true),
        (INPUT, json!([{"role": "user", "parts": [{"type": "text", "text": "hi"}]}]), false),
        (INPUT, json!([{"role": "user", "parts": [{"type": "own", "text": "hi"}]}]), true),
        (INPUT, json!([{"role": "user", "parts": ["hi"]}]), false),
        (INPUT, json!([{"role": "user"}]), false),
        (INPUT, json!([{"role": 1, "parts": []}]), false),
        (INPUT, json!({"role": "user", "parts": []}), false),
        (
            OUTPUT,
            json!([{"role": "assistant", "parts": [{"type": "tool_call", "name": "f"}], "finish_reason": "stop"}]),
            true,
        ),
        (
            OUTPUT,
            json!([{"role": "assistant", "parts": [{"type": "tool_call", "id": "f"}], "finish_reason": "stop"}]),
            false,
        ),
        (OUTPUT, json!([{"role": "assistant", "parts": []}]), false),
        (
            OUTPUT,
            json!([{"role": "assistant", "finish_reason": "stop", "parts":
            [{"type": "server_tool_call", "name": "s", "server_tool_call": {"query": "no type"}}]}]),
            false,
        ),
        (SYSTEM, json!([{"type": "text", "content": "s"}]), true),
        (TOOLS, json!([{"type": "function", "name": "f", "parameters": {}}]), true),
        (TOOLS, json!([{"type": "function", "name": "f", "parameters": "{}"}]), false),
        (TOOLS, json!([{"type": "web_search"}]), false),
        (DOCUMENTS, json!([{"id": "d", "score": 0.5}]), true),
        (DOCUMENTS, json!([{"id": 5}]), false),
    ] {
        let found = of("it", schema, &value);
        assert_eq!(found.is_ok(), fine, "{value} {found:?}");
    }
}
