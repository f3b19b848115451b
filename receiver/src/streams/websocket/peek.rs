//! What a message says of itself: the few members by which it is told to which answer it belongs. One pass, nothing
//! copied, and of a message that is cut, what stands before the cut.

use std::{borrow::Cow, fmt};

use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Longest identifier that is kept.
const LONGEST_ID: usize = 256;

/// Members of a JSON message. Of a member that stands twice the last counts; one of another type is as good as absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Peek<'a> {
    /// `type`
    pub(super) kind: Cow<'a, str>,
    /// `response_id`, else `response.id`
    pub(super) response_id: Option<String>,
    /// `event_id` of a client's message; that of the message that failed, of an error.
    pub(super) event_id: Option<String>,
    /// False of a message that asks for nothing to be generated.
    pub(super) generate: bool,
    /// It names a model or brings input of its own: a request of the responses API.
    pub(super) flat: bool,
    /// `response.output` has something in it.
    pub(super) output: bool,
}

/// The raw members.
#[derive(Default)]
struct Raw<'a> {
    kind: &'a str,
    response_id: &'a str,
    event_id: &'a str,
    generate: &'a str,
    response: &'a str,
    error: &'a str,
    model: &'a str,
    input: &'a str,
    id: &'a str,
    output: &'a str,
}

struct Into<'r, 'a>(&'r mut Raw<'a>);

impl<'de> DeserializeSeed<'de> for Into<'_, 'de> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

/// The name of a member; of one with escapes, nothing: none of ours has any.
struct Name<'a>(&'a str);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Name<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(text))
            }
            fn visit_str<E>(self, _: &str) -> Result<Name<'de>, E> {
                Ok(Name(""))
            }
        }
        deserializer.deserialize_str(V)
    }
}

impl<'de> Visitor<'de> for Into<'_, 'de> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Name(name)) = map.next_key::<Name<'de>>()? {
            let slot = match name {
                "type" => &mut self.0.kind,
                "response_id" => &mut self.0.response_id,
                "event_id" => &mut self.0.event_id,
                "generate" => &mut self.0.generate,
                "response" => &mut self.0.response,
                "error" => &mut self.0.error,
                "model" => &mut self.0.model,
                "input" => &mut self.0.input,
                "id" => &mut self.0.id,
                "output" => &mut self.0.output,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            *slot = map.next_value::<&'de RawValue>()?.get();
        }
        Ok(())
    }
}

fn read(text: &[u8]) -> (Raw<'_>, bool) {
    let mut raw = Raw::default();
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let whole = Into(&mut raw).deserialize(&mut deserializer).and_then(|()| deserializer.end()).is_ok();
    (raw, whole)
}

fn string(raw: &str) -> Option<Cow<'_, str>> {
    struct V;
    impl<'de> Visitor<'de> for V {
        type Value = Cow<'de, str>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }
        fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
            Ok(Cow::Borrowed(text))
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
            Ok(Cow::Owned(text.to_owned()))
        }
    }
    if !raw.starts_with('"') {
        return None;
    }
    serde_json::Deserializer::from_str(raw).deserialize_str(V).ok()
}

fn id(raw: &str) -> Option<String> {
    string(raw).filter(|id| !id.is_empty() && id.len() <= LONGEST_ID).map(Cow::into_owned)
}

/// The members of a raw object.
fn within(raw: &str) -> Option<Raw<'_>> {
    raw.starts_with('{').then(|| read(raw.as_bytes()).0)
}

/// Reads a message; nothing if it is no JSON object with a `type`. `cut` if a part of it is missing.
pub(super) fn peek(text: &[u8], cut: bool) -> Option<Peek<'_>> {
    if text.trim_ascii_start().first() != Some(&b'{') {
        return None;
    }
    let (raw, whole) = read(text);
    if !whole && !cut {
        return None;
    }
    let kind = string(raw.kind).filter(|kind| !kind.is_empty())?;
    let response = within(raw.response);
    let event_id = match kind.as_ref() {
        "error" => within(raw.error).and_then(|error| id(error.event_id)),
        _ => id(raw.event_id),
    };
    Some(Peek {
        response_id: id(raw.response_id).or_else(|| response.as_ref().and_then(|response| id(response.id))),
        event_id,
        generate: raw.generate != "false",
        flat: !raw.model.is_empty() || !raw.input.is_empty(),
        output: response.is_some_and(|response| {
            response.output.trim_start_matches('[').trim_start().starts_with(|first| first != ']')
        }),
        kind,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn members_are_found_wherever_they_stand() {
        let text = br#" {"delta":"{\"type\":\"x\"}","response_id":"r1","type":"response.output_text.delta"}"#;
        let peek = peek(text, false).unwrap();
        assert_eq!((peek.kind.as_ref(), peek.response_id.as_deref()), ("response.output_text.delta", Some("r1")));
        let done =
            super::peek(br#"{"type":"response.completed","response":{"output":[ {}],"id":"r"}}"#, false).unwrap();
        assert_eq!((done.response_id.as_deref(), done.output), (Some("r"), true));
        let empty = super::peek(br#"{"type":"response.completed","response":{"output":[],"id":"r"}}"#, false).unwrap();
        assert!(!empty.output);
        let error = br#"{"type":"error","event_id":"e","error":{"event_id":"mine","code":"c"}}"#;
        assert_eq!(super::peek(error, false).unwrap().event_id.as_deref(), Some("mine"));
        assert!(!super::peek(br#"{"type":"response.create","generate":false,"model":"m"}"#, false).unwrap().generate);
    }

    #[test]
    fn of_a_cut_message_what_stands_before_the_cut() {
        let text = br#"{"type":"response.create","model":"m","input":[{"a"#;
        assert_eq!(peek(text, false), None);
        let cut = peek(text, true).unwrap();
        assert_eq!((cut.kind.as_ref(), cut.flat), ("response.create", true));
        for text in ["", "[]", "{}", "null", "{\"type\":1}", "{\"type\":\"\"}", "{\"type\":null"] {
            assert_eq!(peek(text.as_bytes(), true), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200), cut: bool) {
            let _ = peek(&bytes, cut);
        }
    }
}
