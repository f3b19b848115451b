//! A configuration value that remembers the text it came from.

use serde::de::{self, DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess, Visitor};

/// A YAML value after parsing. Maps keep their order; duplicate keys were refused by the parser.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Node {
    /// `null`, or a key with nothing after it.
    #[default]
    Null,
    /// `true`, `false`.
    Bool(bool),
    /// A whole number.
    Int(i128),
    /// A number with a fraction.
    Float(f64),
    /// Text.
    Str(String),
    /// A list.
    Seq(Vec<Node>),
    /// A map.
    Map(Vec<(String, Node)>),
    /// A scalar that was one whole `${…}`: its value as YAML, and the text itself for fields that are text
    /// (`0123` stays `0123` there).
    Expanded {
        /// The text parsed as YAML.
        value: Box<Node>,
        /// The text.
        text: String,
    },
}

impl Node {
    /// The entry of a map.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// The entries of a map; empty for anything else.
    pub fn entries(&self) -> &[(String, Node)] {
        match self {
            Node::Map(entries) => entries,
            Node::Expanded { value, .. } => value.entries(),
            _ => &[],
        }
    }

    /// True for `null` and for an expansion to nothing.
    pub fn is_null(&self) -> bool {
        match self {
            Node::Null => true,
            Node::Expanded { value, .. } => value.is_null(),
            _ => false,
        }
    }

    /// What it is, for messages.
    pub fn describe(&self) -> &'static str {
        match self {
            Node::Null => "nothing",
            Node::Bool(_) => "a boolean",
            Node::Int(_) => "a number",
            Node::Float(_) => "a number with a fraction",
            Node::Str(_) => "a string",
            Node::Seq(_) => "a list",
            Node::Map(_) => "a map",
            Node::Expanded { value, .. } => value.describe(),
        }
    }

    /// Converts a parsed YAML value. Keys that are not text are an error.
    pub fn from_yaml(value: serde_yaml::Value) -> Result<Node, String> {
        use serde_yaml::Value;
        Ok(match value {
            Value::Null => Node::Null,
            Value::Bool(value) => Node::Bool(value),
            Value::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(value), _) => Node::Int(value.into()),
                (None, Some(value)) => Node::Int(value.into()),
                (None, None) => Node::Float(number.as_f64().unwrap_or_default()),
            },
            Value::String(value) => Node::Str(value),
            Value::Sequence(items) => Node::Seq(items.into_iter().map(Node::from_yaml).collect::<Result<_, _>>()?),
            Value::Mapping(entries) => Node::Map(
                entries
                    .into_iter()
                    .map(|(key, value)| match key {
                        Value::String(key) => Ok((key, Node::from_yaml(value)?)),
                        Value::Number(key) => Ok((key.to_string(), Node::from_yaml(value)?)),
                        Value::Bool(key) => Ok((key.to_string(), Node::from_yaml(value)?)),
                        _ => Err("keys must be plain text".to_owned()),
                    })
                    .collect::<Result<_, _>>()?,
            ),
            Value::Tagged(tagged) => return Err(format!("the YAML tag {} is not supported", tagged.tag)),
        })
    }
}

/// Why a node does not fit a type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NodeError(pub String);

impl de::Error for NodeError {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        NodeError(message.to_string())
    }
}

struct Entries<'a>(std::slice::Iter<'a, (String, Node)>, Option<&'a Node>);

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = NodeError;
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, NodeError> {
        let Some((key, value)) = self.0.next() else { return Ok(None) };
        self.1 = Some(value);
        seed.deserialize(key.as_str().into_deserializer()).map(Some)
    }
    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, NodeError> {
        seed.deserialize(self.1.take().unwrap_or(&Node::Null))
    }
}

struct Items<'a>(std::slice::Iter<'a, Node>);

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = NodeError;
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, NodeError> {
        self.0.next().map(|node| seed.deserialize(node)).transpose()
    }
}

impl<'de> de::Deserializer<'de> for &'de Node {
    type Error = NodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NodeError> {
        match self {
            Node::Null => visitor.visit_unit(),
            Node::Bool(value) => visitor.visit_bool(*value),
            Node::Int(value) => match (i64::try_from(*value), u64::try_from(*value)) {
                (Ok(value), _) => visitor.visit_i64(value),
                (Err(_), Ok(value)) => visitor.visit_u64(value),
                _ => Err(NodeError("number out of range".into())),
            },
            Node::Float(value) => visitor.visit_f64(*value),
            Node::Str(value) => visitor.visit_borrowed_str(value),
            Node::Seq(items) => visitor.visit_seq(Items(items.iter())),
            Node::Map(entries) => visitor.visit_map(Entries(entries.iter(), None)),
            Node::Expanded { value, .. } => value.deserialize_any(visitor),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NodeError> {
        match self {
            Node::Expanded { text, .. } => visitor.visit_borrowed_str(text),
            other => other.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NodeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NodeError> {
        if self.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, NodeError> {
        // `key:` with nothing after it means all defaults, as in the Collector.
        if self.is_null() { visitor.visit_map(Entries([].iter(), None)) } else { self.deserialize_any(visitor) }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NodeError> {
        if self.is_null() { visitor.visit_map(Entries([].iter(), None)) } else { self.deserialize_any(visitor) }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NodeError> {
        if self.is_null() { visitor.visit_seq(Items([].iter())) } else { self.deserialize_any(visitor) }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, NodeError> {
        match self {
            Node::Str(text) | Node::Expanded { text, .. } => {
                visitor.visit_enum(IntoDeserializer::<NodeError>::into_deserializer(text.as_str()))
            }
            Node::Map(entries) if entries.len() == 1 => {
                visitor.visit_enum(de::value::MapAccessDeserializer::new(Entries(entries.iter(), None)))
            }
            other => Err(NodeError(format!(
                "invalid type: {}, expected {name} as one of {}",
                other.describe(),
                variants.join(", ")
            ))),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, NodeError> {
        visitor.visit_newtype_struct(self)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char
        bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any
    }
}

impl serde::Serialize for Node {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Node::Null => serializer.serialize_unit(),
            Node::Bool(value) => serializer.serialize_bool(*value),
            Node::Int(value) => match i64::try_from(*value) {
                Ok(value) => serializer.serialize_i64(value),
                Err(_) => serializer.serialize_u64(u64::try_from(*value).unwrap_or(u64::MAX)),
            },
            Node::Float(value) => serializer.serialize_f64(*value),
            Node::Str(value) => serializer.serialize_str(value),
            Node::Seq(items) => serializer.collect_seq(items),
            Node::Map(entries) => serializer.collect_map(entries.iter().map(|(key, value)| (key, value))),
            Node::Expanded { value, .. } => value.serialize(serializer),
        }
    }
}

impl Node {
    /// The same tree with secrets replaced by `[REDACTED]`: values of headers, and of keys that are named like secrets.
    pub fn redacted(&self) -> Node {
        self.redact(false)
    }

    fn redact(&self, secret: bool) -> Node {
        match self {
            Node::Map(entries) => Node::Map(
                entries
                    .iter()
                    .map(|(key, value)| {
                        let name = key.to_ascii_lowercase();
                        let named = matches!(
                            name.as_str(),
                            "headers" | "key" | "key_pem" | "token" | "password" | "secret" | "api_key"
                        );
                        (key.clone(), value.redact(secret || named))
                    })
                    .collect(),
            ),
            Node::Seq(items) => Node::Seq(items.iter().map(|item| item.redact(secret)).collect()),
            Node::Expanded { value, .. } => value.redact(secret),
            Node::Null => Node::Null,
            _ if secret => Node::Str("[REDACTED]".into()),
            other => other.clone(),
        }
    }

    /// Sets the value at a path of map keys, making maps on the way.
    pub fn set(&mut self, path: &[&str], value: Node) {
        let Some((key, rest)) = path.split_first() else {
            *self = value;
            return;
        };
        if !matches!(self, Node::Map(_)) {
            *self = Node::Map(Vec::new());
        }
        if let Node::Map(entries) = self {
            let at = entries.iter().position(|(name, _)| name == key).unwrap_or_else(|| {
                entries.push(((*key).to_owned(), Node::Null));
                entries.len() - 1
            });
            entries[at].1.set(rest, value);
        }
    }
}
