//! Records: an observation as a named event with attributes, the common ground of log records, CloudEvents and
//! signatures.

use crate::{ids::Timestamp, observation::Severity};

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Text.
    Str(String),
    /// Integer.
    Int(i64),
    /// Floating point; never NaN or infinite.
    Double(f64),
    /// Truth.
    Bool(bool),
    /// List of texts.
    Strings(Vec<String>),
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Value::Str(value.to_owned())
    }
}
impl From<String> for Value {
    fn from(value: String) -> Self {
        Value::Str(value)
    }
}
impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Value::Int(value)
    }
}
impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Value::Bool(value)
    }
}
impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Value::Double(value)
    }
}
impl From<Vec<String>> for Value {
    fn from(value: Vec<String>) -> Self {
        Value::Strings(value)
    }
}

/// Attributes in the order in which they are written. Names come from [`crate::semconv`].
pub type Attributes = Vec<(&'static str, Value)>;

/// An observation as an event.
#[derive(Clone, Debug)]
pub struct Record {
    /// Event name, as `onlooker.process.exec`.
    pub name: &'static str,
    /// When it happened.
    pub time: Timestamp,
    /// How much it matters.
    pub severity: Severity,
    /// Attributes.
    pub attributes: Attributes,
}

/// A signed CloudEvents 1.0 envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The envelope with its signature, as canonical JSON (RFC 8785) on one line.
    pub json: String,
    /// Position in the chain.
    pub sequence: u64,
    /// Name of the key.
    pub key_id: String,
}
