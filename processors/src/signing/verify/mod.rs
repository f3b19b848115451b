//! Checks signed records offline: what was changed, removed, doubled or reordered, and where.
//!
//! Reads each input once, line by line. Memory grows with the number of chains and of problems, not of records.
//! Of an OTLP log record only the body is signed; what else the line tells is not checked.

mod follow;
mod lines;
mod report;
#[cfg(test)]
pub(in crate::signing) mod tests;

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
};

use serde_json::{Map, Value};

use super::{
    CLOSED, canonical, envelope,
    key::{ALGORITHM, Key, sha256},
};
use crate::error::Error;
use follow::{ChainKey, Followed};
use lines::Line;
pub use report::{ChainSummary, Counts, Problem, Report, What};

/// A longer line is not read: a chain's records are a few hundred bytes, an export request some MiB.
const MAX_LINE: u64 = 64 << 20;

/// The keys that records may have been signed with.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    named: BTreeMap<String, Key>,
    unnamed: Vec<Key>,
}

impl Keys {
    /// Adds a key. Without an id it is tried on every record whose `keyid` has no key of its own.
    pub fn add(&mut self, id: Option<String>, key: Key) {
        match id {
            Some(id) => {
                self.named.insert(id, key);
            }
            None => self.unnamed.push(key),
        }
    }

    /// Adds a `--key-file` value: `PATH` or `ID=PATH`. A path with `=` in it is taken as a path if it exists.
    pub fn add_file(&mut self, value: &str) -> Result<(), Error> {
        let (id, path) = match value.split_once('=') {
            Some((id, path)) if !id.contains('/') && !Path::new(value).exists() => (Some(id.to_owned()), path),
            _ => (None, value),
        };
        self.add(id, Key::read(Path::new(path))?);
        Ok(())
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.named.is_empty() && self.unnamed.is_empty()
    }

    /// `None` if there is no key for this id.
    fn check(&self, id: &str, text: &str, signature: &str) -> Option<bool> {
        match self.named.get(id) {
            Some(key) => Some(key.verify(text, signature)),
            None if self.unnamed.is_empty() => None,
            None => Some(self.unnamed.iter().any(|key| key.verify(text, signature))),
        }
    }
}

/// What counts as a problem.
#[derive(Clone, Debug)]
pub struct Options {
    /// A chain without its closing record is a problem, not a warning.
    pub require_closed: bool,
    /// A chain that does not begin with its first record is a warning, not a problem: older files are not at hand.
    pub allow_partial: bool,
    /// Records without a signature are a warning, not a problem.
    pub allow_unsigned: bool,
    /// Records whose text was rewritten (white space, order of members, escapes) but whose content is as signed are a
    /// warning, not a problem.
    pub allow_reformatted: bool,
    /// Problems and warnings beyond these many are only counted.
    pub max_problems: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            require_closed: false,
            allow_partial: false,
            allow_unsigned: false,
            allow_reformatted: false,
            max_problems: 1000,
        }
    }
}

/// Checks files as one sequence, in this order. `-` is standard input. An error is a file that cannot be read.
pub fn verify_files<P: AsRef<Path>>(files: &[P], keys: &Keys, options: &Options) -> Result<Report, Error> {
    let mut verifier = Verifier::new(keys, options);
    for file in files {
        let path = file.as_ref();
        let failed = |source| Error::Read { path: path.display().to_string(), source };
        if path == Path::new("-") {
            verifier.read("-", std::io::stdin().lock()).map_err(failed)?;
        } else {
            let reader = BufReader::with_capacity(1 << 16, File::open(path).map_err(failed)?);
            verifier.read(&path.display().to_string(), reader).map_err(failed)?;
        }
    }
    Ok(verifier.finish())
}

/// Checks readers, each with a name for messages, as one sequence in this order.
pub fn verify<R: BufRead>(
    inputs: impl IntoIterator<Item = (String, R)>,
    keys: &Keys,
    options: &Options,
) -> Result<Report, Error> {
    let mut verifier = Verifier::new(keys, options);
    for (name, reader) in inputs {
        verifier.read(&name, reader).map_err(|source| Error::Read { path: name, source })?;
    }
    Ok(verifier.finish())
}

/// Where something stands.
#[derive(Clone, Copy, Debug)]
struct Place {
    file: usize,
    line: u64,
    /// Counts the records of a file.
    item: u64,
}

/// A verification in progress.
struct Verifier<'a> {
    keys: &'a Keys,
    options: &'a Options,
    files: Vec<String>,
    chains: BTreeMap<ChainKey, Followed>,
    report: Report,
}

impl<'a> Verifier<'a> {
    fn new(keys: &'a Keys, options: &'a Options) -> Self {
        Self { keys, options, files: Vec::new(), chains: BTreeMap::new(), report: Report::default() }
    }

    fn read(&mut self, name: &str, mut reader: impl BufRead) -> std::io::Result<()> {
        self.files.push(name.to_owned());
        let mut place = Place { file: self.files.len() - 1, line: 0, item: 0 };
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            if reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut bytes)? == 0 {
                return Ok(());
            }
            place.line += 1;
            place.item += 1;
            if bytes.len() as u64 == MAX_LINE && !bytes.ends_with(b"\n") {
                self.note(place, None, What::Unparsable(format!("longer than {MAX_LINE} bytes")));
                skip_line(&mut reader)?;
                continue;
            }
            let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            self.report.counts.lines += 1;
            match std::str::from_utf8(line) {
                Err(_) => self.note(place, None, What::Unparsable("not UTF-8".into())),
                Ok(line) => self.line(&mut place, line),
            }
        }
    }

    fn line(&mut self, place: &mut Place, line: &str) {
        match lines::classify(line) {
            Line::Envelope => self.record(*place, line),
            Line::Logs(bodies) => {
                for body in bodies {
                    match body {
                        Some(body) => self.record(*place, &body),
                        None => self.note(*place, None, What::Unsigned),
                    }
                    place.item += 1;
                }
            }
            Line::Other => self.report.counts.skipped += 1,
            Line::Unknown(why) => self.note(*place, None, What::Unparsable(why)),
        }
    }

    /// One envelope.
    fn record(&mut self, place: Place, text: &str) {
        self.report.counts.records += 1;
        let value = match canonical::parse(text) {
            Ok(value) => value,
            Err(error) => {
                return self.note(place, None, What::Unparsable(format!("not sound JSON, column {}", error.column())));
            }
        };
        let reformatted = canonical::to_string(&value) != text;
        let Value::Object(object) = value else {
            return self.note(place, None, What::Unparsable("not an object".into()));
        };
        let member = |name: &str| member(&object, name);
        let sequence = member("sequence").and_then(|text| text.parse::<u64>().ok()).filter(|number| *number > 0);
        if object.get("signature").is_none() {
            return self.note(place, sequence, What::Unsigned);
        }
        let Some(key_id) = member("keyid") else { return self.note(place, sequence, What::Changed) };
        let signature = member("signature").unwrap_or_default();
        let signed = canonical::object_without(&object, "signature");
        let good = match self.keys.check(key_id, &signed, signature) {
            None => return self.note(place, sequence, What::UnknownKey(key_id.to_owned())),
            // A signature by another algorithm or version is none that this can vouch for.
            Some(good) => good && member("signaturealg") == Some(ALGORITHM) && member("specversion") == Some("1.0"),
        };
        let chain = ChainKey {
            source: member("source").unwrap_or_default().to_owned(),
            key_id: key_id.to_owned(),
            id: member("chainid").unwrap_or_default().to_owned(),
        };
        let (Some(sequence), true) = (sequence, good) else {
            // What it claims is not to be trusted; but if it claims the next place, that one is not missing too.
            match sequence {
                Some(1) => self.chains.entry(chain).or_default().changed(1),
                Some(sequence) => {
                    if let Some(chain) = self.chains.get_mut(&chain) {
                        chain.changed(sequence);
                    }
                }
                None => {}
            }
            return self.note(place, sequence, What::Changed);
        };
        if reformatted {
            self.note(place, Some(sequence), What::Reformatted);
        }
        self.report.counts.verified += 1;
        let hash =
            if reformatted { sha256(&canonical::to_string(&Value::Object(object.clone()))) } else { sha256(text) };
        let closes = member("type") == Some(&envelope::event_type(CLOSED));
        let found = self.chains.entry(chain).or_default().next(
            place,
            sequence,
            member("prevhash").unwrap_or_default(),
            hash,
            closes,
        );
        if let Some(what) = found {
            self.note(place, Some(sequence), what);
        }
    }

    fn note(&mut self, place: Place, sequence: Option<u64>, what: What) {
        let warning = match what {
            What::NotClosed => !self.options.require_closed,
            What::StartMissing => self.options.allow_partial,
            What::Unsigned => self.options.allow_unsigned,
            What::Reformatted => self.options.allow_reformatted,
            _ => false,
        };
        let counts = &mut self.report.counts;
        let (list, count) = if warning {
            (&mut self.report.warnings, &mut counts.warnings)
        } else {
            (&mut self.report.problems, &mut counts.problems)
        };
        *count += 1;
        if list.len() < self.options.max_problems {
            let file = self.files.get(place.file).cloned().unwrap_or_default();
            list.push(Problem { file, line: place.line, sequence, what, order: (place.file, place.item) });
        }
    }

    fn finish(mut self) -> Report {
        for (key, chain) in std::mem::take(&mut self.chains) {
            for (place, sequence, what) in chain.missing() {
                self.note(place, Some(sequence), what);
            }
            let summary = chain.summary(key);
            if summary.records == 0 {
                continue;
            }
            if let (false, Some(place)) = (summary.closed, chain.last_place()) {
                self.note(place, Some(summary.last), What::NotClosed);
            }
            self.report.chains.push(summary);
        }
        if self.report.counts.records == 0 && self.report.counts.problems == 0 {
            self.note(Place { file: usize::MAX, line: 0, item: 0 }, None, What::Empty);
        }
        self.report.problems.sort_by_key(|problem| problem.order);
        self.report.warnings.sort_by_key(|problem| problem.order);
        self.report
    }
}

fn member<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    object.get(name).and_then(Value::as_str)
}

fn skip_line(reader: &mut impl BufRead) -> std::io::Result<()> {
    loop {
        let available = reader.fill_buf()?;
        if available.is_empty() {
            return Ok(());
        }
        let end = available.iter().position(|byte| *byte == b'\n');
        let used = end.map_or(available.len(), |at| at + 1);
        reader.consume(used);
        if end.is_some() {
            return Ok(());
        }
    }
}
