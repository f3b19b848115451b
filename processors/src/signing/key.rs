//! The signing key: HMAC-SHA256 (RFC 2104, FIPS 198-1).

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use pipeline::ids::hex;
use sha2::{Digest, Sha256};

use crate::error::Error;

/// The value of the extension attribute `signaturealg`.
pub const ALGORITHM: &str = "HMAC-SHA256";

/// A shorter key is refused: RFC 2104 section 3 discourages keys shorter than the hash.
pub const MIN_LENGTH: usize = 32;

/// A secret key. Not shown by `Debug`; the bytes themselves are not kept.
#[derive(Clone)]
pub struct Key {
    mac: Hmac<Sha256>,
    id: String,
}

impl Key {
    /// A key of these bytes, less one line end after them (as `openssl rand -hex 32 > FILE` writes it).
    pub fn new(bytes: &[u8]) -> Result<Self, Error> {
        let bytes = bytes.strip_suffix(b"\r\n").or_else(|| bytes.strip_suffix(b"\n")).unwrap_or(bytes);
        if bytes.len() < MIN_LENGTH {
            return Err(Error::ShortKey { length: bytes.len() });
        }
        let mac = Hmac::<Sha256>::new_from_slice(bytes).map_err(|_| Error::ShortKey { length: bytes.len() })?;
        let digest = Sha256::new().chain_update(b"onlooker key id").chain_update(bytes).finalize();
        Ok(Self { mac, id: hex(&digest[..4]) })
    }

    /// Reads a key file.
    pub fn read(path: &std::path::Path) -> Result<Self, Error> {
        let bytes = std::fs::read(path).map_err(|source| Error::Read { path: path.display().to_string(), source })?;
        Self::new(&bytes).map_err(|error| Error::KeyFile { path: path.display().to_string(), source: error.into() })
    }

    /// The name that the key has if nobody gives it another: the first 8 hex digits of
    /// SHA-256(`onlooker key id` ‖ key). 32 bits of a one-way hash: enough to tell keys apart, of no use to find one.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The signature of a text, base64 with padding (RFC 4648 section 4).
    pub fn sign(&self, text: &str) -> String {
        let mut mac = self.mac.clone();
        mac.update(text.as_bytes());
        STANDARD.encode(mac.finalize().into_bytes())
    }

    /// True if the signature is this key's over this text. Compares in constant time.
    pub fn verify(&self, text: &str, signature: &str) -> bool {
        let Ok(signature) = STANDARD.decode(signature) else { return false };
        let mut mac = self.mac.clone();
        mac.update(text.as_bytes());
        mac.verify_slice(&signature).is_ok()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.id)
    }
}

/// Lower-case hex SHA-256 of a text: the value of `prevhash`.
pub fn sha256(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A vector of another implementation of the same construction.
    #[test]
    fn a_known_signature_is_given() {
        let key = Key::new(&(0..32).collect::<Vec<u8>>()).unwrap();
        let text = concat!(
            r#"{"agtsignaturealg":"HMAC-SHA256","data":{"action":"x","decision":"deny"},"#,
            r#""datacontenttype":"application/json","id":"e1","schemaversion":"1","source":"/agent-os","#,
            r#""specversion":"1.0","time":"2026-05-11T06:34:00+00:00","type":"ai.agentos.policy.check"}"#
        );
        assert_eq!(key.sign(text), "iNzbYmaruulYOUIUD9MpCvZYufayMLxtMh8YBqPW6uQ=");
        assert!(key.verify(text, "iNzbYmaruulYOUIUD9MpCvZYufayMLxtMh8YBqPW6uQ="));
        // The last digit has two bits that base64 ignores; another one there is another text.
        assert!(!key.verify(text, "iNzbYmaruulYOUIUD9MpCvZYufayMLxtMh8YBqPW6uR="));
        assert!(!key.verify(text, ""));
    }

    #[test]
    fn one_line_end_is_no_part_of_the_key_and_short_keys_are_refused() {
        let key = "0123456789abcdef0123456789abcdef";
        let id = Key::new(key.as_bytes()).unwrap().id().to_owned();
        assert_eq!(Key::new(format!("{key}\n").as_bytes()).unwrap().id(), id);
        assert_eq!(Key::new(format!("{key}\r\n").as_bytes()).unwrap().id(), id);
        assert_ne!(Key::new(format!("{key}\n\n").as_bytes()).unwrap().id(), id);
        let error = Key::new(format!("{}\n", &key[1..]).as_bytes()).unwrap_err().to_string();
        assert!(error.contains("31 bytes") && error.contains("32"), "{error}");
    }
}
