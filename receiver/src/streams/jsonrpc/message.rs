//! What a message of JSON-RPC 2.0 says, as far as it matters for the Model Context Protocol. Arguments and results are
//! passed over, not built.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use serde::{
    Deserializer as _,
    de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::Framed;

/// Longest text that is kept of a member, in characters.
const LONGEST: usize = 1_024;

/// Members that are kept, by their paths.
const WANTED: &[&str] = &[
    "jsonrpc",
    "id",
    "method",
    "params.name",
    "params.uri",
    "params.ref.name",
    "params.ref.uri",
    "params.requestId",
    "params.protocolVersion",
    "params.clientInfo.name",
    "params.clientInfo.version",
    "params._meta.traceparent",
    "params._meta.io.modelcontextprotocol/protocolVersion",
    "params._meta.io.modelcontextprotocol/clientInfo.name",
    "params._meta.io.modelcontextprotocol/clientInfo.version",
    "params.arguments",
    "result.isError",
    "result.protocolVersion",
    "result.serverInfo.name",
    "result.serverInfo.version",
    "result._meta.io.modelcontextprotocol/serverInfo.name",
    "result._meta.io.modelcontextprotocol/serverInfo.version",
    "error.code",
    "error.message",
];

/// The path whose value is kept as it is written.
const RAW: &str = "params.arguments";

#[derive(Clone, Debug, PartialEq)]
enum Scalar {
    Text(String),
    Number(String),
    Truth(bool),
    Other,
}

/// A message. Which members it has tells what it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Message<'a> {
    members: BTreeMap<&'static str, Scalar>,
    /// `params.arguments` as it is written.
    pub arguments: Option<&'a str>,
    /// `result` as it is written.
    pub result: Option<&'a str>,
    /// True if it has a `result` or an `error`: it is an answer.
    pub answer: bool,
    /// True if it has an `error`.
    pub failed: bool,
}

impl Message<'_> {
    /// A member that is a text.
    pub fn text(&self, path: &'static str) -> Option<&str> {
        match self.members.get(path) {
            Some(Scalar::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// A member that is `true`.
    pub fn truth(&self, path: &'static str) -> bool {
        self.members.get(path) == Some(&Scalar::Truth(true))
    }

    /// A member that is an integer.
    pub fn integer(&self, path: &'static str) -> Option<i64> {
        match self.members.get(path) {
            Some(Scalar::Number(number)) => number.parse().ok(),
            _ => None,
        }
    }

    /// An id: a text or a number, as text. The two do not mean the same: `1` is not `"1"`.
    pub fn id(&self, path: &'static str) -> Option<Id> {
        match self.members.get(path)? {
            Scalar::Text(text) => Some(Id { text: text.clone(), quoted: true }),
            Scalar::Number(text) => Some(Id { text: text.clone(), quoted: false }),
            _ => None,
        }
    }
}

/// The id of a request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id {
    /// As text.
    pub text: String,
    /// True if it is a text.
    pub quoted: bool,
}

/// Reads a message, or the messages of a batch. Nothing comes of what is no JSON-RPC.
pub fn read(framed: &Framed) -> Vec<Message<'_>> {
    let mut found = Vec::new();
    let mut parser = serde_json::Deserializer::from_slice(&framed.bytes);
    let whole = parser.deserialize_any(Top(&mut found)).is_ok() && parser.end().is_ok();
    if let Some(tail) = &framed.tail {
        // What stands in the middle is not known: members of the beginning, and an id at the very end.
        found.truncate(1);
        if let Some(message) = found.first_mut()
            && !message.members.contains_key("id")
            && let Some(id) = last_id(tail)
        {
            message.members.insert("id", id);
            message.members.entry("jsonrpc").or_insert_with(|| Scalar::Text("2.0".into()));
        }
    } else if !whole {
        return Vec::new();
    }
    found.retain(|message| message.members.contains_key("jsonrpc"));
    found
}

/// The id of `…,"id":7}` or `…,"id":7,"jsonrpc":"2.0"}`.
fn last_id(tail: &[u8]) -> Option<Scalar> {
    let at = memchr::memmem::rfind(tail, b"\"id\"")?;
    let mut end = vec![b'{'];
    end.extend_from_slice(tail.get(at..)?);
    let mut found = Vec::new();
    let mut parser = serde_json::Deserializer::from_slice(&end);
    parser.deserialize_any(Top(&mut found)).ok()?;
    parser.end().ok()?;
    found.first()?.members.get("id").cloned()
}

struct Top<'m, 'a>(&'m mut Vec<Message<'a>>);

impl<'a> Visitor<'a> for Top<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a message or a batch")
    }

    fn visit_map<A: MapAccess<'a>>(self, map: A) -> Result<(), A::Error> {
        self.0.push(Message::default());
        let Some(message) = self.0.last_mut() else { return Err(A::Error::custom("no message")) };
        Node { message, path: "" }.visit_map(map)
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(One(self.0))?.is_some() {}
        Ok(())
    }
}

/// A message of a batch: not a batch again.
struct One<'m, 'a>(&'m mut Vec<Message<'a>>);

impl<'a> DeserializeSeed<'a> for One<'_, 'a> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        self.0.push(Message::default());
        let Some(message) = self.0.last_mut() else { return Err(D::Error::custom("no message")) };
        deserializer.deserialize_any(Node { message, path: "" })
    }
}

/// The value at a path.
struct Node<'m, 'a> {
    message: &'m mut Message<'a>,
    /// Empty for the message itself.
    path: &'static str,
}

impl Node<'_, '_> {
    fn keep<E>(self, value: Scalar) -> Result<(), E> {
        if WANTED.contains(&self.path) {
            self.message.members.insert(self.path, value);
        }
        Ok(())
    }

    /// The path of a member, if it is wanted or leads to what is.
    fn below(&self, key: &str) -> Option<&'static str> {
        let rest = |wanted: &'static str| match self.path {
            "" => Some(wanted),
            path => wanted.strip_prefix(path)?.strip_prefix('.'),
        };
        WANTED.iter().find_map(|wanted| {
            let after = rest(wanted)?.strip_prefix(key)?;
            let path = wanted.get(..wanted.len() - after.len())?;
            (after.is_empty() || after.starts_with('.')).then_some(path)
        })
    }
}

impl<'a> DeserializeSeed<'a> for Node<'_, 'a> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for Node<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<Cow<'_, str>>()? {
            if self.path.is_empty() && matches!(&*key, "result" | "error") {
                self.message.answer = true;
                self.message.failed |= key == "error";
            }
            match self.below(&key) {
                Some("result") => {
                    // Kept as it is written, and looked into: twice over the same text is still linear.
                    let raw = map.next_value::<&'a RawValue>()?.get();
                    self.message.result = Some(raw);
                    let node = Node { message: &mut *self.message, path: "result" };
                    serde_json::Deserializer::from_str(raw).deserialize_any(node).map_err(A::Error::custom)?;
                }
                Some(RAW) => self.message.arguments = Some(map.next_value::<&'a RawValue>()?.get()),
                Some(path) => map.next_value_seed(Node { message: &mut *self.message, path })?,
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        self.keep(Scalar::Other)
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.keep(Scalar::Text(text.chars().take(LONGEST).collect()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<(), E> {
        self.keep(Scalar::Number(number.to_string()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<(), E> {
        self.keep(Scalar::Number(number.to_string()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<(), E> {
        self.keep(Scalar::Number(number.to_string()))
    }

    fn visit_bool<E>(self, truth: bool) -> Result<(), E> {
        self.keep(Scalar::Truth(truth))
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.keep(Scalar::Other)
    }
}
