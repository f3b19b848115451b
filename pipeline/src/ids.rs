//! Identifiers: processes, connections, traces and spans, components, and time.
//!
//! Trace and span ids are derived, never random: a replay of recorded events gives the same ids.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Wall-clock time in nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Nanoseconds since the Unix epoch.
    pub fn nanos(self) -> u64 {
        self.0
    }

    /// Time from `earlier` to `self`, zero if `earlier` is later.
    pub fn since(self, earlier: Timestamp) -> std::time::Duration {
        std::time::Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This time plus a duration.
    #[must_use]
    pub fn plus(self, duration: std::time::Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// RFC 3339 in UTC with nanoseconds, as `2026-11-21T04:30:53.123456789Z`.
    pub fn rfc3339(self) -> String {
        let (seconds, nanos) = (self.0 / 1_000_000_000, self.0 % 1_000_000_000);
        let (days, rest) = (seconds / 86_400, seconds % 86_400);
        // Civil date from a day count: H. Hinnant, "chrono-compatible low-level date algorithms".
        let z = days as i64 + 719_468;
        let era = z / 146_097;
        let doe = z - era * 146_097;
        let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
        let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
        let mp = (5 * doy + 2) / 153;
        let day = doy - (153 * mp + 2) / 5 + 1;
        let month = if mp < 10 { mp + 3 } else { mp - 9 };
        let year = yoe + era * 400 + i64::from(month <= 2);
        format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{nanos:09}Z", rest / 3600, rest % 3600 / 60, rest % 60)
    }
}

/// A process: its thread-group id and its start time, so that a reused pid is another process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProcessKey {
    /// Thread-group id in the initial pid namespace ("pid" in user space's words).
    pub tgid: u32,
    /// Start time in nanoseconds since boot (`task_struct.start_boottime` of the group leader).
    pub start: u64,
}

/// A connection as the TLS library sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ConnectionKey {
    /// The process that owns the TLS object.
    pub process: ProcessKey,
    /// Address of the TLS object (`SSL *`) in that process.
    pub object: u64,
    /// How often this address was freed and used again before this connection.
    pub generation: u32,
}

/// W3C trace id.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceId(pub [u8; 16]);

/// W3C span id.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpanId(pub [u8; 8]);

/// Domain-separated SHA-256 over length-prefixed parts.
fn digest(domain: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in std::iter::once(domain.as_bytes()).chain(parts.iter().copied()) {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

impl TraceId {
    /// The trace id that these parts always give. Never all zero.
    pub fn derive(parts: &[&[u8]]) -> Self {
        let hash = digest("onlooker.trace", parts);
        let mut id = [0; 16];
        id.copy_from_slice(&hash[..16]);
        if id == [0; 16] {
            id[15] = 1;
        }
        Self(id)
    }

    /// Parses 32 lower-case hex digits that are not all zero (W3C Trace Context, section 3.2.2.3).
    pub fn parse(text: &str) -> Option<Self> {
        parse_hex(text).filter(|id| *id != [0; 16]).map(Self)
    }
}

impl SpanId {
    /// The span id that these parts always give. Never all zero.
    pub fn derive(parts: &[&[u8]]) -> Self {
        let hash = digest("onlooker.span", parts);
        let mut id = [0; 8];
        id.copy_from_slice(&hash[..8]);
        if id == [0; 8] {
            id[7] = 1;
        }
        Self(id)
    }

    /// Parses 16 lower-case hex digits that are not all zero.
    pub fn parse(text: &str) -> Option<Self> {
        parse_hex(text).filter(|id| *id != [0; 8]).map(Self)
    }
}

fn parse_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let text = text.as_bytes();
    if text.len() != 2 * N {
        return None;
    }
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut out = [0; N];
    for (slot, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
        *slot = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(out)
}

/// Lower-case hex of some bytes.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]])
        .map(char::from)
        .collect()
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}
impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}
impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where an observation stands in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SpanContext {
    /// The trace.
    pub trace_id: TraceId,
    /// The observation's own span; for an event, the span it belongs to.
    pub span_id: SpanId,
    /// The span above, if any.
    pub parent_span_id: Option<SpanId>,
}

impl SpanContext {
    /// The context of a `traceparent` (W3C Trace Context, section 3.2): the trace and, as `span_id`, the remote parent.
    pub fn from_traceparent(value: &str) -> Option<Self> {
        let mut parts = value.trim().splitn(5, '-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let hex = |text: &str| parse_hex::<1>(text).is_some();
        if !hex(version) || version == "ff" || !hex(flags) || (version == "00" && parts.next().is_some()) {
            return None;
        }
        Some(Self { trace_id: TraceId::parse(trace)?, span_id: SpanId::parse(span)?, parent_span_id: None })
    }
}

/// The name of a component instance: `type` or `type/name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ComponentId {
    /// The type, as `otlp_grpc`.
    pub kind: String,
    /// The name after the slash, if any.
    pub name: Option<String>,
}

impl ComponentId {
    /// Parses an id by the Collector's rules (`component/identifiable.go`): the type is
    /// `[a-zA-Z][0-9a-zA-Z_]{0,62}`, the name 1 to 1024 characters without white space, control
    /// characters or symbols. The error says which part is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Err("id must not be empty".into());
        }
        let (kind, name) = match text.split_once('/') {
            Some((kind, name)) => (kind.trim(), Some(name.trim())),
            None => (text.trim(), None),
        };
        if kind.is_empty() {
            return Err(format!("in {text:?} id: the part before / should not be empty"));
        }
        if name == Some("") {
            return Err(format!("in {text:?} id: the part after / should not be empty"));
        }
        let mut chars = kind.chars();
        let head = chars.next().is_some_and(|c| c.is_ascii_alphabetic());
        if !head || kind.len() > 63 || !chars.all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(format!("in {text:?} id: invalid character(s) in type {kind:?}"));
        }
        if let Some(name) = name
            && (name.chars().count() > 1024
                || name.chars().any(|c| c.is_whitespace() || c.is_control() || "$+<=>^`|~".contains(c)))
        {
            return Err(format!("in {text:?} id: invalid character(s) in name {name:?}"));
        }
        Ok(Self { kind: kind.into(), name: name.map(Into::into) })
    }
}

impl fmt::Display for ComponentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind)?;
        self.name.as_ref().map_or(Ok(()), |name| write!(f, "/{name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_rendered_as_rfc3339() {
        assert_eq!(Timestamp(0).rfc3339(), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(Timestamp(951_782_399_000_000_001).rfc3339(), "2000-02-28T23:59:59.000000001Z");
        assert_eq!(Timestamp(1_709_164_800_000_000_000).rfc3339(), "2024-02-29T00:00:00.000000000Z");
    }

    #[test]
    fn ids_are_derived_from_their_parts_and_their_borders() {
        assert_eq!(TraceId::derive(&[b"a", b"b"]), TraceId::derive(&[b"a", b"b"]));
        assert_ne!(TraceId::derive(&[b"ab"]), TraceId::derive(&[b"a", b"b"]));
        let id = SpanId::derive(&[b"x"]);
        assert_eq!(SpanId::parse(&id.to_string()), Some(id));
        assert_eq!(SpanId::parse("0000000000000000"), None);
    }

    #[test]
    fn component_ids_follow_the_collector() {
        let id = ComponentId::parse("otlp_grpc/2").ok();
        assert_eq!(id.map(|id| id.to_string()).as_deref(), Some("otlp_grpc/2"));
        for bad in ["", "/x", "x/", "9x", "a b", "a/b c"] {
            assert!(ComponentId::parse(bad).is_err(), "{bad:?}");
        }
    }
}
