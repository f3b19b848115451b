//! The key `capture::files`: a switch, or what exactly is told of files.

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};

use crate::{
    probes,
    record::{FileSettings, Reads},
};

/// What is told of files.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Keys {
    /// Which files are told that were only opened for reading.
    pub reads: Reads,
    /// Globs of paths that are sensitive beside the known ones; with a `!` in front: of those that are not.
    pub sensitive_paths: Vec<String>,
}

impl Default for Keys {
    fn default() -> Self {
        Self { reads: Reads::Sensitive, sensitive_paths: Vec::new() }
    }
}

/// `true`, `false`, or the keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files(pub Option<Keys>);

impl Default for Files {
    fn default() -> Self {
        Self(Some(Keys::default()))
    }
}

impl Files {
    /// What the kernel side is to tell.
    pub fn probes(&self) -> probes::Files {
        match &self.0 {
            None => probes::Files::Off,
            Some(keys) if keys.reads == Reads::None => probes::Files::Changes,
            Some(_) => probes::Files::All,
        }
    }

    /// What observations depend on.
    pub fn settings(&self) -> Option<FileSettings> {
        let keys = self.0.as_ref()?;
        Some(FileSettings { reads: keys.reads, sensitive_paths: keys.sensitive_paths.clone() })
    }
}

impl<'de> Deserialize<'de> for Files {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;
        impl<'de> Visitor<'de> for Form {
            type Value = Files;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("true, false, or a map with `reads` and `sensitive_paths`")
            }

            fn visit_bool<E>(self, on: bool) -> Result<Files, E> {
                Ok(Files(on.then(Keys::default)))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Files, A::Error> {
                Keys::deserialize(MapAccessDeserializer::new(map)).map(|keys| Files(Some(keys)))
            }
        }
        deserializer.deserialize_any(Form)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switch_or_keys() {
        let files = |text: &str| serde_json::from_str::<Files>(text);
        assert_eq!(files("true").unwrap(), Files::default());
        assert_eq!(files("false").unwrap().probes(), probes::Files::Off);
        let keys = files(r#"{"reads": "none", "sensitive_paths": ["/srv/*"]}"#).unwrap();
        assert_eq!(keys.probes(), probes::Files::Changes);
        assert_eq!(keys.settings().unwrap().sensitive_paths, ["/srv/*"]);
        assert_eq!(files(r#"{"reads": "all"}"#).unwrap().settings().unwrap().reads, Reads::All);
        assert!(files(r#"{"read": "all"}"#).unwrap_err().to_string().contains("unknown field `read`"));
        assert!(files("7").unwrap_err().to_string().contains("`sensitive_paths`"));
    }
}
