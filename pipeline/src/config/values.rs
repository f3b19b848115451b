//! Types of configuration values: durations in Go's notation, byte sizes, secrets.

use std::{fmt, time::Duration};

use serde::{Deserialize, Deserializer, de};

/// A duration as Go writes it: `300ms`, `1.5h`, `2h45m`; units ns, us (µs), ms, s, m, h; plain `0`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct GoDuration(pub Duration);

impl GoDuration {
    /// Parses Go's notation (`time.ParseDuration`), without a sign.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("invalid duration {text:?}: expected a number with a unit, as 500ms, 5s or 1h30m");
        if text == "0" {
            return Ok(Self::default());
        }
        let mut rest = text;
        let mut total = 0f64;
        if rest.is_empty() {
            return Err(wrong());
        }
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
            let number: f64 = rest[..digits].parse().map_err(|_| wrong())?;
            rest = &rest[digits..];
            let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
            let factor = match &rest[..end] {
                "ns" => 1e-9,
                "us" | "µs" | "μs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return Err(wrong()),
            };
            total += number * factor;
            rest = &rest[end..];
        }
        Duration::try_from_secs_f64(total).map(Self).map_err(|_| wrong())
    }
}

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl de::Visitor<'_> for V {
            type Value = GoDuration;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a duration with a unit, as 500ms, 5s or 1h30m")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<GoDuration, E> {
                GoDuration::parse(text).map_err(E::custom)
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<GoDuration, E> {
                if value == 0 {
                    Ok(GoDuration::default())
                } else {
                    Err(E::invalid_type(de::Unexpected::Signed(value), &self))
                }
            }
        }
        deserializer.deserialize_str(V)
    }
}

/// A number of bytes: `16MiB`, `512KiB`, `1GB`, or a plain number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// Parses a number with an optional unit: B, kB, MB, GB (powers of 1000), KiB, MiB, GiB (powers of 1024).
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("invalid size {text:?}: expected a number with a unit, as 16MiB or 512KiB");
        let text_trimmed = text.trim();
        let end = text_trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(text_trimmed.len());
        let number: u64 = text_trimmed[..end].parse().map_err(|_| wrong())?;
        let factor: u64 = match text_trimmed[end..].trim().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kb" => 1000,
            "m" | "mb" => 1_000_000,
            "g" | "gb" => 1_000_000_000,
            "ki" | "kib" => 1 << 10,
            "mi" | "mib" => 1 << 20,
            "gi" | "gib" => 1 << 30,
            _ => return Err(wrong()),
        };
        number.checked_mul(factor).map(Self).ok_or_else(wrong)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl de::Visitor<'_> for V {
            type Value = ByteSize;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a size in bytes, as 16MiB or 1048576")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<ByteSize, E> {
                ByteSize::parse(text).map_err(E::custom)
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<ByteSize, E> {
                u64::try_from(value).map(ByteSize).map_err(|_| E::invalid_value(de::Unexpected::Signed(value), &self))
            }
        }
        deserializer.deserialize_str(V)
    }
}

/// A value that is never shown: `Debug` and `Display` give `[REDACTED]`.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself, for its one use.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[REDACTED]")
    }
}
impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[REDACTED]")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_and_sizes_follow_their_notations() {
        let millis = |text: &str| GoDuration::parse(text).map(|duration| duration.0.as_millis());
        assert_eq!(millis("5s"), Ok(5000));
        assert_eq!(millis("1h30m"), Ok(5_400_000));
        assert_eq!(millis("1.5h"), Ok(5_400_000));
        assert_eq!(millis("200ms"), Ok(200));
        assert_eq!(millis("0"), Ok(0));
        for wrong in ["", "5", "s", "5 s", "-5s", "5d", "1e3s"] {
            assert!(millis(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(ByteSize::parse("16MiB"), Ok(ByteSize(16 << 20)));
        assert_eq!(ByteSize::parse("1 kB"), Ok(ByteSize(1000)));
        for wrong in ["", "MiB", "1.5MiB", "-1", "1xB", "99999999999GiB"] {
            assert!(ByteSize::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn secrets_are_never_shown() {
        let secret = Secret::new("canary");
        assert_eq!(format!("{secret} {secret:?}"), "[REDACTED] [REDACTED]");
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parsers_panic(text in "\\PC*") {
            let _ = GoDuration::parse(&text);
            let _ = ByteSize::parse(&text);
            let _ = crate::ids::ComponentId::parse(&text);
        }
    }
}
