//! What is cut stays valid, within its limit, and takes linear time.

use proptest::prelude::*;
use serde_json::json;

use super::*;

/// The conventions' shapes, as far as they bind: what each part and message must have (gen-ai-*.json).
fn valid(shape: Shape, json: &Json) -> bool {
    let Some(items) = json.as_array() else { return shape == Shape::Free };
    let text = |value: &Json, key: &str| value.get(key).is_some_and(Json::is_string);
    let part = |part: &Json| text(part, "type");
    items.iter().all(|item| match shape {
        Shape::Messages | Shape::Answers => {
            text(item, "role")
                && item.get("parts").and_then(Json::as_array).is_some_and(|parts| parts.iter().all(part))
                && (shape == Shape::Messages || text(item, "finish_reason"))
        }
        Shape::Tools => text(item, "type") && text(item, "name"),
        Shape::List => part(item),
        Shape::Free => true,
    })
}

fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        any_text().prop_map(Json::from),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Json::from),
            prop::collection::vec((any_text(), inner), 0..8).prop_map(|members| members.into_iter().collect::<Json>()),
        ]
    })
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{0,12}",
        prop::collection::vec(any::<char>(), 0..200).prop_map(|chars| chars.into_iter().collect()),
        "[\\n\"\\\\é𝄞x]{0,400}",
    ]
}

fn any_part() -> impl Strategy<Value = Json> {
    prop_oneof![
        any_text().prop_map(|text| json!({"type": "text", "content": text})),
        any_text().prop_map(|text| json!({"type": "reasoning", "content": text})),
        (any_text(), any_json()).prop_map(|(name, arguments)| json!({"type": "tool_call", "id": "call_1", "name": name, "arguments": arguments})),
        any_json().prop_map(|response| json!({"type": "tool_call_response", "id": "call_1", "response": response})),
        any_json().prop_map(|call| json!({"type": "server_tool_call", "name": "search", "server_tool_call": {"type": "x", "more": call}})),
        any_text().prop_map(|text| json!({"type": "blob", "modality": "image", "mime_type": "image/png", "content": text})),
        (any_text(), any_json()).prop_map(|(kind, more)| json!({"type": kind, "more": more})),
    ]
}

fn any_message() -> impl Strategy<Value = Json> {
    ("user|assistant|tool|[a-z]{200}", prop::collection::vec(any_part(), 0..6))
        .prop_map(|(role, parts)| json!({"role": role, "parts": parts, "finish_reason": "stop"}))
}

fn any_content() -> impl Strategy<Value = (Shape, Json)> {
    let tool = (any_text(), any_json()).prop_map(|(name, parameters)| {
        json!({"type": "function", "name": name, "description": "what it does ".repeat(9), "parameters": parameters})
    });
    prop_oneof![
        prop::collection::vec(any_message(), 0..20).prop_map(|list| (Shape::Messages, Json::from(list))),
        prop::collection::vec(any_message(), 0..4).prop_map(|list| (Shape::Answers, Json::from(list))),
        prop::collection::vec(tool, 0..20).prop_map(|list| (Shape::Tools, Json::from(list))),
        prop::collection::vec(any_part(), 0..20).prop_map(|list| (Shape::List, Json::from(list))),
        any_json().prop_map(|json| (Shape::Free, json)),
    ]
}

proptest! {
    #[test]
    fn any_content_fits_any_limit_and_stays_valid(
        (shape, content) in any_content(),
        limit in LEAST..4096usize,
        chars in any::<bool>(),
    ) {
        let unit = if chars { Unit::Chars } else { Unit::Bytes };
        let mut cut = content.clone();
        prop_assert!(valid(shape, &content));
        let bounds = Bounds { value: limit, unit, ..Bounds::NONE };
        let was_cut = bounds.json(shape, &mut cut, &mut Lost::default());
        let text = cut.to_string();
        prop_assert_eq!(unit.size(&cut), unit.text(&text), "lengths are those of the text");
        prop_assert!(unit.text(&text) <= limit, "{} > {limit}: {text}", unit.text(&text));
        prop_assert!(serde_json::from_str::<Json>(&text).is_ok(), "{text}");
        prop_assert!(valid(shape, &cut), "{cut}");
        prop_assert_eq!(!was_cut, cut == content);
        if was_cut && shape == Shape::Free {
            prop_assert!(cut.is_null() || std::mem::discriminant(&cut) == std::mem::discriminant(&content));
        }
    }

    #[test]
    fn any_attributes_fit(texts in prop::collection::vec(any_text(), 0..60), limit in LEAST..2000usize, chars in any::<bool>()) {
        let unit = if chars { Unit::Chars } else { Unit::Bytes };
        let bounds = Bounds { value: limit, unit, ..Bounds::NONE };
        let mut attributes: Attributes = texts.iter().map(|text| (name::FILE_PATH, text.as_str().into())).collect();
        attributes.push((name::PROCESS_COMMAND_ARGS, texts.clone().into()));
        bounds.apply(&mut attributes);
        for (_, value) in &attributes {
            match value {
                Value::Str(text) => prop_assert!(unit.text(text) <= limit),
                Value::Strings(list) => prop_assert!(unit.text(&Json::from(list.clone()).to_string()) <= limit),
                _ => {}
            }
        }
        let whole = attributes.iter().find(|(name, _)| *name == name::PROCESS_COMMAND_ARGS).map(|(_, value)| value.clone());
        let marked = attributes.iter().any(|(name, _)| *name == name::ONLOOKER_PROCESS_ARGS_TRUNCATED);
        prop_assert_eq!(marked, whole != Some(Value::Strings(texts)));
    }
}

fn messages(count: usize, length: usize) -> Json {
    (0..count)
        .map(|at| json!({"role": "user", "parts": [{"type": "text", "content": format!("{at} {}", "w".repeat(length))}]}))
        .collect()
}

#[test]
fn the_longest_text_is_cut_first() {
    let mut content = json!([
        {"role": "user", "parts": [{"type": "text", "content": "short"}]},
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c", "response": "x".repeat(9000)}]},
    ]);
    let mut lost = Lost::default();
    assert!(Bounds { value: 2048, ..Bounds::NONE }.json(Shape::Messages, &mut content, &mut lost));
    assert_eq!(content[0]["parts"][0]["content"], "short");
    let response = content[1]["parts"][0]["response"].as_str().unwrap();
    assert!(response.ends_with("x…") && response.len() > 1800, "{}", response.len());
    assert_eq!((lost.items, lost.bytes), (0, 9000 - response.len()));
}

#[test]
fn the_oldest_messages_go_when_cutting_is_not_enough() {
    let mut content = messages(100, 300);
    let mut lost = Lost::default();
    assert!(Bounds { value: 2048, ..Bounds::NONE }.json(Shape::Messages, &mut content, &mut lost));
    let left = content.as_array().unwrap();
    assert!(left.len() >= 8 && left.len() + lost.items == 100, "{}", left.len());
    assert!(left.last().unwrap()["parts"][0]["content"].as_str().unwrap().starts_with("99 w"));
    assert!(content.to_string().len() > 1500);
}

#[test]
fn bytes_are_replaced_by_their_number_first() {
    let text = "a question ".repeat(20);
    let image =
        json!({"type": "blob", "modality": "image", "mime_type": "image/png", "content": "QUJD".repeat(10_000)});
    let mut content = json!([{"role": "user", "parts": [{"type": "text", "content": text}, image]}]);
    Bounds { value: 2048, ..Bounds::NONE }.json(Shape::Messages, &mut content, &mut Lost::default());
    assert_eq!(content[0]["parts"][0]["content"], text);
    assert_eq!(
        content[0]["parts"][1],
        json!({"type": "blob", "modality": "image", "mime_type": "image/png", "content": "", "size": 30_000})
    );
}

#[test]
fn a_span_that_was_cut_says_so() {
    let mut attributes: Attributes = vec![
        (name::GEN_AI_OPERATION_NAME, "chat".into()),
        (name::GEN_AI_INPUT_MESSAGES, messages(50, 500).into()),
        (name::GEN_AI_TOOL_CALL_RESULT, "r".repeat(5000).into()),
    ];
    Bounds { value: 1000, ..Bounds::NONE }.apply(&mut attributes);
    let get = |wanted: &str| attributes.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.clone());
    assert_eq!(get(name::ONLOOKER_CONTENT_TRUNCATED), Some(Value::Bool(true)));
    assert!(matches!(get(name::ONLOOKER_CONTENT_LOST_BYTES), Some(Value::Int(bytes)) if bytes > 20_000));
    assert!(matches!(get(name::ONLOOKER_CONTENT_LOST_MESSAGES), Some(Value::Int(count)) if count > 30));
}

#[test]
fn of_many_attributes_the_essential_ones_stay() {
    let mut attributes: Attributes = (0..20).map(|at| (name::ONLOOKER_FINDING_MESSAGE, i64::from(at).into())).collect();
    attributes.push((name::GEN_AI_USAGE_INPUT_TOKENS, 5.into()));
    attributes.push((name::GEN_AI_OPERATION_NAME, "chat".into()));
    assert_eq!(Bounds { count: 8, ..Bounds::NONE }.apply(&mut attributes), 14);
    let names: Vec<&str> = attributes.iter().map(|(name, _)| *name).collect();
    assert_eq!(names.len(), 8);
    assert_eq!(names[6..], [name::GEN_AI_USAGE_INPUT_TOKENS, name::GEN_AI_OPERATION_NAME]);
}

#[test]
fn limits_come_from_the_file_then_the_preset_then_the_environment() {
    let environment = |name: &str| match name {
        "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT" => Some("1000".into()),
        "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT" => Some("500".into()),
        "OTEL_ATTRIBUTE_COUNT_LIMIT" => Some("x".into()),
        _ => None,
    };
    let none = |_: &str| None;
    let bounds = |limits: &Limits, spans| {
        let bounds = limits.bounds_in(spans, &environment);
        (bounds.value, bounds.unit, bounds.count)
    };
    let default = Limits::default();
    assert_eq!(bounds(&default, true), (500, Unit::Chars, usize::MAX));
    assert_eq!(bounds(&default, false), (1000, Unit::Chars, usize::MAX));
    assert_eq!(default.bounds_in(true, &none), Bounds { value: 64 << 10, ..Bounds::NONE });
    let preset = Limits { preset: Some(Preset::Dash0), ..Limits::default() };
    assert_eq!(bounds(&preset, true), (2048, Unit::Bytes, 32));
    let both = Limits { attribute_value_length: Some(9000), ..preset };
    assert_eq!(bounds(&both, true), (9000, Unit::Bytes, 32));
    let relic = Limits { preset: Some(Preset::NewRelic), ..Limits::default() };
    assert_eq!(bounds(&relic, true), (4095, Unit::Chars, usize::MAX));
}

/// Twice the content takes about twice the steps: counted, not timed, by what is written.
#[test]
fn much_content_is_cut_in_linear_time() {
    // A wide part, a deep value, many messages: each would take minutes if some step were quadratic.
    let wide: serde_json::Map<String, Json> = (0..200_000).map(|at| (format!("k{at}"), Json::from("v"))).collect();
    let mut part = wide.clone();
    part.insert("type".into(), "x".into());
    let mut deep = json!("x".repeat(100_000));
    for _ in 0..100 {
        deep = json!([deep, "y".repeat(100)]);
    }
    for (shape, mut content) in [
        (Shape::Messages, json!([{"role": "user", "parts": [part]}])),
        (Shape::Messages, messages(200_000, 20)),
        (Shape::Free, Json::Object(wide)),
        (Shape::Free, deep),
    ] {
        Bounds { value: 2048, ..Bounds::NONE }.json(shape, &mut content, &mut Lost::default());
        assert!(content.to_string().len() <= 2048);
    }
}
