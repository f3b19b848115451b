//! Reading JSON lazily and forgivingly: an object is its raw members, each decoded only when asked for. A member of a
//! wrong type is as good as absent. Nothing recurses with the input's depth.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Deserializer, de};
use serde_json::value::RawValue;

/// The raw members of a JSON object, in order.
#[derive(Clone, Debug, Default)]
pub struct Object<'a>(pub Vec<(Cow<'a, str>, &'a str)>);

/// An object's key: borrowed unless it has escapes.
struct Key<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> de::Visitor<'de> for V {
            type Value = Key<'de>;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(V)
    }
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> de::Visitor<'de> for V {
            type Value = Object<'de>;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some((key, value)) = map.next_entry::<Key<'de>, &'de RawValue>()? {
                    members.push((key.0, value.get()));
                }
                Ok(Object(members))
            }
        }
        deserializer.deserialize_map(V)
    }
}

/// A raw value that is a string.
pub fn string(raw: &str) -> Option<Cow<'_, str>> {
    raw.starts_with('"').then(|| serde_json::from_str::<Key>(raw).ok()).flatten().map(|key| key.0)
}

/// The raw elements of an array.
pub fn array(raw: &str) -> Option<Vec<&str>> {
    let elements: Vec<&RawValue> = raw.starts_with('[').then(|| serde_json::from_str(raw).ok()).flatten()?;
    Some(elements.into_iter().map(RawValue::get).collect())
}

impl<'a> Object<'a> {
    /// Parses a text that is one object.
    pub fn parse(text: &'a str) -> Option<Self> {
        text.trim_start().starts_with('{').then(|| serde_json::from_str(text).ok()).flatten()
    }

    /// Parses bytes that are one object in UTF-8.
    pub fn from_bytes(bytes: &'a [u8]) -> Option<Self> {
        std::str::from_utf8(bytes).ok().and_then(Self::parse)
    }

    /// The raw value of a member; the last one counts, `null` does not.
    pub fn raw(&self, key: &str) -> Option<&'a str> {
        self.0.iter().rev().find(|(name, _)| name == key).map(|(_, raw)| *raw).filter(|raw| *raw != "null")
    }

    /// True if there is such a member that is not `null`.
    pub fn has(&self, key: &str) -> bool {
        self.raw(key).is_some()
    }

    /// A string, borrowed where it has no escapes.
    pub fn str(&self, key: &str) -> Option<Cow<'a, str>> {
        self.raw(key).and_then(string)
    }

    /// A string that is not empty.
    pub fn string(&self, key: &str) -> Option<String> {
        self.str(key).filter(|text| !text.is_empty()).map(Cow::into_owned)
    }

    /// An integer; a number without fraction counts.
    pub fn int(&self, key: &str) -> Option<i64> {
        let raw = self.raw(key)?;
        raw.parse().ok().or_else(|| {
            let number: f64 = raw.parse().ok()?;
            // Bounds within which every integer is exact.
            (number.fract() == 0.0 && number.abs() < 9.0e15).then_some(number as i64)
        })
    }

    /// A count.
    pub fn count(&self, key: &str) -> Option<u64> {
        self.int(key).and_then(|number| u64::try_from(number).ok())
    }

    /// A finite number.
    pub fn float(&self, key: &str) -> Option<f64> {
        let raw = self.raw(key).filter(|raw| raw.starts_with(|c: char| c == '-' || c.is_ascii_digit()))?;
        raw.parse().ok().filter(|number: &f64| number.is_finite())
    }

    /// A truth value.
    pub fn bool(&self, key: &str) -> Option<bool> {
        match self.raw(key)? {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }

    /// An object.
    pub fn object(&self, key: &str) -> Option<Object<'a>> {
        self.raw(key).and_then(Object::parse)
    }

    /// The raw elements of an array.
    pub fn array(&self, key: &str) -> Option<Vec<&'a str>> {
        self.raw(key).and_then(array)
    }

    /// The objects in an array.
    pub fn objects(&self, key: &str) -> impl Iterator<Item = Object<'a>> + use<'a> {
        self.array(key).unwrap_or_default().into_iter().filter_map(Object::parse)
    }

    /// Strings of an array, or one string alone.
    pub fn strings(&self, key: &str) -> Vec<String> {
        let Some(raw) = self.raw(key) else { return Vec::new() };
        match string(raw) {
            Some(text) => vec![text.into_owned()],
            None => array(raw).unwrap_or_default().into_iter().filter_map(string).map(Cow::into_owned).collect(),
        }
    }

    /// What can still be read of an object of which a part is missing: whole members at its beginning and at its end.
    pub fn salvage(text: &'a str) -> Self {
        let mut object = Self::default();
        let bytes = text.as_bytes();
        let Some(open) = bytes.iter().position(|byte| *byte == b'{') else { return object };
        let mut members = |from: usize, to: usize| {
            let segment = text.get(from..to).unwrap_or_default();
            if let Some((key, value)) = member(segment) {
                object.0.push((key, value));
            }
        };
        // From the beginning: a comma at depth 1 ends a member.
        let (mut depth, mut in_string, mut start, mut at) = (0usize, false, open + 1, open);
        while let Some(byte) = bytes.get(at) {
            match byte {
                b'\\' if in_string => at += 1,
                b'"' => in_string = !in_string,
                _ if in_string => {}
                b'{' | b'[' => depth += 1,
                b',' if depth == 1 => {
                    members(start, at);
                    start = at + 1;
                }
                b'}' | b']' => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        members(start, at);
                        return object;
                    }
                }
                _ => {}
            }
            at += 1;
        }
        // From the end, only if the end is an object's: going backwards, a quote counts if an even number of
        // backslashes stands before it.
        let Some(close) = bytes.iter().rposition(|byte| !byte.is_ascii_whitespace()) else { return object };
        if bytes.get(close) != Some(&b'}') {
            return object;
        }
        let (mut depth, mut in_string, mut end, mut at) = (0usize, false, close, close + 1);
        while at > start {
            at -= 1;
            match bytes.get(at) {
                Some(b'"') => {
                    let escapes = bytes.get(start..at).unwrap_or_default();
                    if escapes.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 0 {
                        in_string = !in_string;
                    }
                }
                _ if in_string => {}
                Some(b'}' | b']') => depth += 1,
                Some(b'{' | b'[') => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        break;
                    }
                }
                Some(b',') if depth == 1 => {
                    members(at + 1, end);
                    end = at;
                }
                _ => {}
            }
        }
        object
    }
}

/// `"key": value`, if both are whole.
fn member(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
    let key = string(stream.next()?.ok()?.get())?;
    let rest = text.get(stream.byte_offset()..)?.trim_start().strip_prefix(':')?;
    let value: &RawValue = serde_json::from_str(rest).ok()?;
    Some((key, value.get()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WHOLE: &str = r#"{"model":"m-1","a":[1,{"model":"x"}],"t":"q\"},{\\","stream":true,"n":2.0}"#;

    #[test]
    fn members_are_read_by_type() {
        let object = Object::parse(WHOLE).unwrap();
        assert_eq!(object.string("model").as_deref(), Some("m-1"));
        assert_eq!((object.int("n"), object.bool("stream"), object.int("model")), (Some(2), Some(true), None));
        assert_eq!(object.str("t").as_deref(), Some("q\"},{\\"));
    }

    #[test]
    fn a_cut_object_gives_its_head_and_its_tail() {
        let head = Object::salvage(r#"{"model":"m","messages":[{"role":"us"#);
        assert_eq!(head.string("model").as_deref(), Some("m"));
        let both = Object::salvage(
            r#"{"a":1,"messages":[{"content":"hel-- gap --\"model\":\"spoof\"}],"model":"m","s":true}"#,
        );
        assert_eq!((both.string("model").as_deref(), both.bool("s")), (Some("m"), Some(true)));
        assert_eq!(Object::salvage(WHOLE).0.len(), 5);
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "[\\[\\]{}\":,\\\\a1 ]{0,80}", cut in 0usize..80) {
            let _ = Object::salvage(&text);
            let _ = Object::parse(&text);
            let head = &WHOLE[..cut.min(WHOLE.len())];
            for (key, value) in Object::salvage(head).0 {
                prop_assert_eq!(Object::parse(WHOLE).unwrap().raw(&key), Some(value).filter(|v| *v != "null"));
            }
        }
    }
}
