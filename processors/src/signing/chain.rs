//! The chain: numbers each record and ties it to the one before.

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
};

use pipeline::{
    ids::{Timestamp, hex},
    record::Envelope,
};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::{
    canonical,
    key::{ALGORITHM, Key, sha256},
};
use crate::error::Error;

/// `prevhash` of a chain's first record.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Digits of `sequence`: with leading zeros, so that sorting the texts sorts the records (the CloudEvents sequence
/// extension asks for a text with a lexicographic order).
pub const SEQUENCE_DIGITS: usize = 20;

/// Where a chain stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// `source` of its records.
    pub source: String,
    /// `keyid` of its records.
    pub key_id: String,
    /// `chainid` of its records: 16 hex digits.
    pub id: String,
    /// The latest record's number; 0 before the first.
    pub sequence: u64,
    /// SHA-256 of the latest record.
    pub hash: String,
}

impl Chain {
    /// A new chain. Its id is derived from where, by whom and when it was begun; never random, so that a replay
    /// gives the same.
    pub fn begin(source: String, key_id: String, instance: &str, started: Timestamp) -> Self {
        let mut hash = Sha256::new();
        for part in ["onlooker.chain", &source, &key_id, instance, &started.nanos().to_string()] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let id = hex(&hash.finalize()[..8]);
        Self { source, key_id, id, sequence: 0, hash: GENESIS.to_owned() }
    }

    /// Completes an envelope as the next record, and signs it.
    pub fn append(&mut self, mut envelope: Map<String, Value>, key: &Key) -> Envelope {
        self.sequence += 1;
        let mut member = |name: &str, value: String| envelope.insert(name.to_owned(), Value::String(value));
        member("id", format!("{}-{}", self.id, self.sequence));
        member("source", self.source.clone());
        member("chainid", self.id.clone());
        member("sequence", format!("{:0width$}", self.sequence, width = SEQUENCE_DIGITS));
        member("prevhash", std::mem::take(&mut self.hash));
        member("keyid", self.key_id.clone());
        member("signaturealg", ALGORITHM.to_owned());
        let signature = key.sign(&canonical::object_without(&envelope, "signature"));
        envelope.insert("signature".to_owned(), signature.into());
        let json = canonical::to_string(&Value::Object(envelope));
        self.hash = sha256(&json);
        Envelope { json, sequence: self.sequence, key_id: self.key_id.clone() }
    }
}

/// The file that keeps a chain over restarts. One process has it at a time.
pub struct StateFile {
    path: PathBuf,
    // Held for its lock.
    _lock: File,
}

const VERSION: u64 = 1;

impl StateFile {
    /// Takes the file, and reads the chain that it keeps, if any. A file that is there but cannot be trusted is an
    /// error: going on would begin a chain that hides the old one's end.
    pub fn open(path: &Path, key: &Key, key_id: &str) -> Result<(Self, Option<Chain>), Error> {
        let wrong = |reason: String| Error::State { path: path.display().to_string(), reason };
        let lock = with_suffix(path, ".lock");
        let file = File::create(&lock).map_err(|error| wrong(format!("cannot create {}: {error}", lock.display())))?;
        file.try_lock().map_err(|error| match error {
            std::fs::TryLockError::WouldBlock => {
                wrong("is in use by another signing processor; give each its own state_file".into())
            }
            std::fs::TryLockError::Error(error) => wrong(format!("cannot lock {}: {error}", lock.display())),
        })?;
        let this = Self { path: path.to_owned(), _lock: file };
        match std::fs::read_to_string(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok((this, None)),
            Err(error) => Err(wrong(format!("cannot be read: {error}"))),
            Ok(text) => match decode(text.trim_end(), key, key_id) {
                Ok(chain) => Ok((this, chain)),
                Err(what) => Err(wrong(format!(
                    "{what}; put back a good copy, or move the file away to begin a new chain (the old one then stays without its end)"
                ))),
            },
        }
    }

    /// Writes the chain: a new file in the old one's place, so that a crash leaves one or the other.
    pub fn save(&self, chain: &Chain, key: &Key) -> std::io::Result<()> {
        use std::os::unix::fs::OpenOptionsExt;
        let new = with_suffix(&self.path, ".new");
        let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(encode(chain, key).as_bytes())?;
        // Before the records leave: a chain that goes back after a power cut would use a number twice.
        file.sync_data()?;
        std::fs::rename(&new, &self.path)
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn encode(chain: &Chain, key: &Key) -> String {
    let mut state = Map::new();
    state.insert("version".into(), VERSION.into());
    state.insert("source".into(), chain.source.as_str().into());
    state.insert("keyid".into(), chain.key_id.as_str().into());
    state.insert("chainid".into(), chain.id.as_str().into());
    // As text: a double ends at 2^53.
    state.insert("sequence".into(), chain.sequence.to_string().into());
    state.insert("hash".into(), chain.hash.as_str().into());
    let signature = key.sign(&canonical::object_without(&state, "signature"));
    state.insert("signature".into(), signature.into());
    canonical::to_string(&Value::Object(state)) + "\n"
}

/// `None` if the state is another key's: its chain has ended with that key.
fn decode(text: &str, key: &Key, key_id: &str) -> Result<Option<Chain>, &'static str> {
    const DAMAGED: &str = "is damaged";
    let Ok(Value::Object(state)) = canonical::parse(text) else { return Err(DAMAGED) };
    let text = |name: &str| state.get(name).and_then(Value::as_str).map(str::to_owned).ok_or(DAMAGED);
    if state.get("version").and_then(Value::as_u64) != Some(VERSION) {
        return Err("is of another version");
    }
    if text("keyid")? != key_id {
        return Ok(None);
    }
    if !key.verify(&canonical::object_without(&state, "signature"), &text("signature")?) {
        return Err("is damaged, or was written with another key of the same key_id");
    }
    let sequence = text("sequence")?.parse().map_err(|_| DAMAGED)?;
    Ok(Some(Chain {
        source: text("source")?,
        key_id: text("keyid")?,
        id: text("chainid")?,
        sequence,
        hash: text("hash")?,
    }))
}
