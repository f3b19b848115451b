//! Digests of messages, by which correlation sees that one request continues another.

use std::borrow::Cow;

use pipeline::observation::Thread;
use sha2::{Digest, Sha256};

use super::json::{self, Object};

/// Most texts of a message, and of a request, of which a digest is kept.
const TEXTS: usize = 32;

/// Builds the digest of one message from its role, its text and the ids of its calls. Text that comes whole or in
/// parts gives the same.
pub struct MessageDigest {
    text: Sha256,
    ids: Vec<String>,
    /// A digest of each of its first texts.
    texts: Vec<u64>,
    /// True if the message holds text or other input of its author's own, not only results of tools.
    pub own: bool,
}

impl MessageDigest {
    /// Nothing yet.
    pub fn new() -> Self {
        Self { text: Sha256::new(), ids: Vec::new(), texts: Vec::new(), own: false }
    }

    /// Adds text.
    pub fn text(&mut self, text: &str) {
        if !text.is_empty() {
            let first = !self.own;
            self.own = true;
            self.text.update(text.as_bytes());
            if self.texts.len() < TEXTS {
                // The first text's digest is there already.
                let hash = if first { self.text.clone() } else { Sha256::new_with_prefix(text) };
                self.texts.push(Thread::shorten(hash.finalize().into()));
            }
        }
    }

    /// Adds the id of a call or of a result.
    pub fn id(&mut self, id: impl Into<String>) {
        self.ids.push(id.into());
    }

    /// Adds another part (an image, a file): every member but the marks that move between requests.
    pub fn part(&mut self, part: &Object<'_>) {
        const MARKS: &[&str] = &["cache_control", "annotations", "id", "status", "logprobs"];
        self.own = true;
        for (key, raw) in part.0.iter().filter(|(key, _)| !MARKS.contains(&key.as_ref())) {
            self.text.update(key.as_bytes());
            self.text.update([0]);
            self.text.update(raw.as_bytes());
            self.text.update([0]);
        }
    }

    /// Adds content that is a string or an array of parts; parts that `other` does not take are added as they are.
    pub fn content(&mut self, raw: Option<&str>, mut other: impl FnMut(&mut Self, &str, &Object<'_>) -> bool) {
        let Some(raw) = raw else { return };
        if let Some(text) = json::string(raw) {
            return self.text(&text);
        }
        for element in json::array(raw).unwrap_or_default() {
            if let Some(text) = json::string(element) {
                self.text(&text);
                continue;
            }
            let Some(part) = Object::parse(element) else { continue };
            let kind = part.str("type").unwrap_or(Cow::Borrowed("text"));
            match kind.as_ref() {
                "text" | "input_text" | "output_text" => self.text(&part.str("text").unwrap_or_default()),
                "refusal" => self.text(&part.str("refusal").unwrap_or_default()),
                kind => {
                    if !other(self, kind, &part) {
                        self.part(&part);
                    }
                }
            }
        }
    }

    /// Ends a message of a request.
    pub fn add_to(mut self, thread: &mut Thread, role: &str) {
        match role {
            "user" => {
                let room = TEXTS.saturating_sub(thread.asked.len());
                thread.asked.extend(self.texts.drain(..).take(room));
            }
            "assistant" | "model" => thread.asked.clear(),
            _ => {}
        }
        thread.messages.push(self.finish(role));
    }

    /// The digest.
    pub fn finish(self, role: &str) -> u64 {
        let mut all = Sha256::new();
        all.update((role.len() as u64).to_be_bytes());
        all.update(role.as_bytes());
        all.update(self.text.finalize());
        for id in &self.ids {
            all.update((id.len() as u64).to_be_bytes());
            all.update(id.as_bytes());
        }
        let hash: [u8; 32] = all.finalize().into();
        Thread::shorten(hash)
    }
}
