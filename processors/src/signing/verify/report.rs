//! What a verification found, in words for operators.

use std::fmt;

/// What is wrong with a record or a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The signature is not that of the content: the record was changed, forged, or signed with another key.
    Changed,
    /// The content is as signed, but its text was rewritten.
    Reformatted,
    /// The records from `first` to `last` are not there.
    Removed {
        /// First missing number.
        first: u64,
        /// Last missing number.
        last: u64,
    },
    /// The chain's records before this one are not there: an earlier file is missing, or its beginning was cut.
    StartMissing,
    /// The record does not follow the one before it, though the numbers do: the one before was exchanged.
    Broken,
    /// A record of this number was there before.
    Doubled,
    /// The record stands behind later ones.
    Reordered,
    /// No given key has this id.
    UnknownKey(String),
    /// A record without a signature.
    Unsigned,
    /// Not a line of this format, or a cut one.
    Unparsable(String),
    /// The chain has no closing record: its end may have been cut off, or the program was killed or is running.
    NotClosed,
    /// There is no signed record at all.
    Empty,
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            What::Changed => f.write_str("changed: the signature does not match (or the key is another one)"),
            What::Reformatted => f.write_str("reformatted: the content is as signed, the text is not"),
            What::Removed { first, last } if first == last => write!(f, "removed: record {first} is missing before it"),
            What::Removed { first, last } => write!(f, "removed: records {first} to {last} are missing before it"),
            What::StartMissing => f.write_str("removed: the chain's records before it are missing"),
            What::Broken => f.write_str("broken: it was not signed as the next of the record before it"),
            What::Doubled => f.write_str("doubled: a record of this number was there before"),
            What::Reordered => f.write_str("reordered: it stands behind later records"),
            What::UnknownKey(id) => write!(f, "cannot be checked: no key {id:?} was given"),
            What::Unsigned => f.write_str("unsigned: it has no signature"),
            What::Unparsable(why) => write!(f, "cannot be read: {why}"),
            What::NotClosed => f.write_str(
                "not closed: it is the last of its chain but does not close it; later ones may have been cut off, \
                 or the program was killed or is still running",
            ),
            What::Empty => f.write_str("there is no signed record"),
        }
    }
}

/// Something that was found, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Name of the input; empty if it is about all of them.
    pub file: String,
    /// Line, from 1; 0 if it is about no line.
    pub line: u64,
    /// The record's number, where it could be read. Of a changed record it is what the record claims.
    pub sequence: Option<u64>,
    /// What is wrong.
    pub what: What,
    /// Place in the order of reading: file and item.
    pub(super) order: (usize, u64),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "{}:{}: ", self.file, self.line)?;
        }
        if let Some(sequence) = self.sequence {
            write!(f, "record {sequence} ")?;
        }
        write!(f, "{}", self.what)
    }
}

/// A chain that was seen: records of one origin, key and beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainSummary {
    /// `source`
    pub source: String,
    /// `keyid`
    pub key_id: String,
    /// `chainid`
    pub id: String,
    /// Lowest number seen.
    pub first: u64,
    /// Highest number seen.
    pub last: u64,
    /// Records with a good signature.
    pub records: u64,
    /// True if the last one closes the chain.
    pub closed: bool,
}

impl fmt::Display for ChainSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, key_id, id, first, last, records, closed } = self;
        let end = if *closed { "closed" } else { "not closed" };
        write!(f, "chain {id} of {source}, key {key_id}: records {first} to {last}, {records} good, {end}")
    }
}

/// How many lines and records there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Lines that are not blank.
    pub lines: u64,
    /// Records with an envelope.
    pub records: u64,
    /// Records whose signature is good.
    pub verified: u64,
    /// OTLP lines with spans or metrics: nothing in them is signed.
    pub skipped: u64,
    /// Problems, also those beyond [`super::Options::max_problems`].
    pub problems: u64,
    /// Warnings, likewise.
    pub warnings: u64,
}

/// What a verification found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Tampering, or what cannot be told from it. In the order of the files.
    pub problems: Vec<Problem>,
    /// What somebody should know, but which is no proof of tampering.
    pub warnings: Vec<Problem>,
    /// Chains, by source, key and id.
    pub chains: Vec<ChainSummary>,
    /// Counts.
    pub counts: Counts,
}

impl Report {
    /// True if nothing is wrong. There may be warnings.
    pub fn is_ok(&self) -> bool {
        self.counts.problems == 0
    }
}

/// Several lines: problems, warnings, chains, and the outcome as the last one.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, list, count) in
            [("error", &self.problems, self.counts.problems), ("warning", &self.warnings, self.counts.warnings)]
        {
            for problem in list {
                writeln!(f, "{kind}: {problem}")?;
            }
            let more = count.saturating_sub(list.len() as u64);
            if more > 0 {
                writeln!(f, "{kind}: and {more} more")?;
            }
        }
        for chain in &self.chains {
            writeln!(f, "{chain}")?;
        }
        let plural = |count: u64, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
        let Counts { records, verified, problems, .. } = self.counts;
        let chains = plural(self.chains.len() as u64, "chain");
        if self.is_ok() {
            write!(f, "OK: {} in {chains}, all signatures good, none missing", plural(records, "record"))
        } else {
            let found = plural(problems, "problem");
            write!(f, "FAILED: {found}; {verified} of {} in {chains} with a good signature", plural(records, "record"))
        }
    }
}
