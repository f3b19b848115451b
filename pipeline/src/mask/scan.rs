//! One pass over a text: an automaton finds the places where something may be ([`Anchor`]), and each place is looked at.
//!
//! A look costs no more than what it takes as found, or a fixed number of bytes, or what no other look goes over again:
//! so a pass is linear in the text.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind};

use super::{Extra, Rules, context, forms, kinds::Kind, marker, numbers, url};

/// What is looked at where a word was found.
#[derive(Clone, Copy)]
enum Anchor {
    Form(usize),
    Sk,
    Aws,
    Jwt,
    Telegram,
    Terraform,
    Pem,
    ServiceAccount,
    Marker,
    Name,
    Query,
    Header,
    Bearer,
    Basic,
    Url,
    Email,
    Command,
    User,
}

/// Words and what is looked at there. They are found in any case, also where they overlap.
const ANCHORS: &[(&str, Anchor)] = &[
    ("[redacted:", Anchor::Marker),
    ("sk-", Anchor::Sk),
    ("akia", Anchor::Aws),
    ("asia", Anchor::Aws),
    ("eyj", Anchor::Jwt),
    (":aa", Anchor::Telegram),
    (".atlasv1.", Anchor::Terraform),
    ("--begin ", Anchor::Pem),
    ("-- begin ", Anchor::Pem),
    ("service_account", Anchor::ServiceAccount),
    ("key", Anchor::Name),
    ("token", Anchor::Name),
    ("secret", Anchor::Name),
    ("passwd", Anchor::Name),
    ("password", Anchor::Name),
    ("passphrase", Anchor::Name),
    ("passcode", Anchor::Name),
    ("pass", Anchor::Name),
    ("credential", Anchor::Name),
    ("pwd", Anchor::Name),
    ("signature", Anchor::Query),
    ("auth=", Anchor::Query),
    ("sig=", Anchor::Query),
    ("code=", Anchor::Query),
    ("code_verifier=", Anchor::Query),
    ("assertion=", Anchor::Query),
    ("authorization", Anchor::Header),
    ("cookie", Anchor::Header),
    ("\"auth\"", Anchor::Header),
    ("bearer", Anchor::Bearer),
    ("basic", Anchor::Basic),
    ("://", Anchor::Url),
    ("@", Anchor::Email),
    ("curl", Anchor::Command),
    ("wget", Anchor::Command),
    ("http ", Anchor::Command),
    ("https ", Anchor::Command),
    (" -u", Anchor::User),
    ("-user", Anchor::User),
];

static AUTOMATON: LazyLock<Option<(AhoCorasick, Vec<Anchor>)>> = LazyLock::new(|| {
    let forms = forms::FORMS.iter().enumerate().map(|(at, form)| (form.prefix, Anchor::Form(at)));
    let (words, anchors): (Vec<&str>, Vec<Anchor>) = forms.chain(ANCHORS.iter().copied()).unzip();
    let mut builder = AhoCorasick::builder();
    builder.ascii_case_insensitive(true).kind(Some(AhoCorasickKind::DFA));
    Some((builder.build(words).ok()?, anchors))
});

/// A find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub start: usize,
    pub end: usize,
    pub kind: Kind,
    /// How much it says: a secret's own form more than its place.
    pub rank: u8,
    /// Backslashes and quote to be put around the mask, so that JSON stays JSON where a number stood.
    pub quote: Option<(usize, u8)>,
}

/// A pass over a text.
pub(super) struct Scan<'a> {
    bytes: &'a [u8],
    pub(super) rules: &'a Rules,
    found: Vec<Found>,
    /// Up to here forms were taken.
    form_end: usize,
    /// Up to here values were taken.
    value_end: usize,
    /// The first `@` from here on is there.
    at: Option<(usize, usize)>,
    /// Where a command began whose options may carry passwords, and up to where it was followed.
    pub(super) command: Option<usize>,
    /// Left of this no `{` is looked for again.
    braces: usize,
}

/// The finds in a text, by their beginnings; they may overlap.
pub(super) fn scan(text: &str, rules: &Rules) -> Vec<Found> {
    let bytes = text.as_bytes();
    let mut scan =
        Scan { bytes, rules, found: Vec::new(), form_end: 0, value_end: 0, at: None, command: None, braces: 0 };
    let Some((automaton, anchors)) = &*AUTOMATON else {
        // It cannot happen; if it did, nothing may leave.
        let end = bytes.len();
        return vec![Found { start: 0, end, kind: Kind::SecretValue, rank: 0, quote: None }];
    };
    let mut marked = 0;
    for found in automaton.find_overlapping_iter(bytes) {
        let (start, end) = (found.start(), found.end());
        if start < marked {
            continue;
        }
        let Some(anchor) = anchors.get(found.pattern().as_usize()) else { continue };
        match anchor {
            Anchor::Form(at) => {
                if let Some(form) = forms::FORMS.get(*at)
                    && start >= scan.form_end
                {
                    forms::look(&mut scan, form, start, end);
                }
            }
            Anchor::Marker => marked = start + marker::length(scan.slice(start, bytes.len()), rules).unwrap_or(0),
            Anchor::Name => context::name(&mut scan, start, end),
            Anchor::Query => context::query(&mut scan, start, end),
            Anchor::Header => context::header(&mut scan, start, end),
            Anchor::Bearer => context::bearer(&mut scan, start, end),
            Anchor::Basic => context::basic(&mut scan, start, end),
            Anchor::Url => url::url(&mut scan, start, end),
            Anchor::Email => numbers::email(&mut scan, start),
            Anchor::Command => scan.command = Some(end),
            Anchor::User => context::user(&mut scan, start, end),
            _ if start < scan.form_end => {}
            Anchor::Sk => forms::sk(&mut scan, start, end),
            Anchor::Aws => forms::aws(&mut scan, start, end),
            Anchor::Jwt => forms::jwt(&mut scan, start, end),
            Anchor::Telegram => forms::telegram(&mut scan, start, end),
            Anchor::Terraform => forms::terraform(&mut scan, start, end),
            Anchor::Pem => forms::pem(&mut scan, start, end),
            Anchor::ServiceAccount => forms::service_account(&mut scan, start, end),
        }
    }
    numbers::runs(&mut scan);
    scan.found
}

impl Scan<'_> {
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn byte(&self, at: usize) -> Option<u8> {
        steps::add(1);
        self.bytes.get(at).copied()
    }

    pub(super) fn slice(&self, start: usize, end: usize) -> &[u8] {
        self.bytes.get(start..end.min(self.bytes.len())).unwrap_or_default()
    }

    /// Where the run of these bytes ends that begins at `from`.
    pub(super) fn run(&self, from: usize, accept: impl Fn(u8) -> bool) -> usize {
        let rest = self.slice(from, self.bytes.len());
        let length = rest.iter().position(|byte| !accept(*byte)).unwrap_or(rest.len());
        steps::add(length);
        from + length
    }

    pub(super) fn form_end(&self) -> usize {
        self.form_end
    }

    pub(super) fn value_end(&self) -> usize {
        self.value_end
    }

    pub(super) fn wants(&self, extra: Extra) -> bool {
        self.rules.extra.has(extra)
    }

    /// True if a word may begin here: not within one, but right after an escape (`\n`, `%3D`, `\u0026`, a color). A weak
    /// one does not begin after `_` or `-` either.
    pub(super) fn begins_word(&self, at: usize, weak: bool) -> bool {
        let back = |by: usize| at.checked_sub(by).and_then(|at| self.byte(at));
        let Some(before) = back(1) else { return true };
        if !before.is_ascii_alphanumeric() {
            return !(weak && matches!(before, b'_' | b'-'));
        }
        let hex = |from: usize| (1..=from).all(|by| back(by).is_some_and(|byte| byte.is_ascii_hexdigit()));
        (back(2) == Some(b'\\') && matches!(before, b'n' | b't' | b'r' | b'b' | b'f'))
            || (back(3) == Some(b'%') && hex(2))
            || (back(6) == Some(b'\\') && back(5) == Some(b'u') && hex(4))
            || (before == b'm' && self.ends_color(at))
    }

    /// Where a word really begins whose run of letters begins at `start`: behind what an escape left there.
    pub(super) fn skip_escape(&self, start: usize, end: usize) -> usize {
        let digits = self.run(start, |byte| byte.is_ascii_digit()).min(start + 4);
        if self.byte(digits) == Some(b'm') && self.ends_color(digits + 1) {
            return (digits + 1).min(end);
        }
        let after = match (start.checked_sub(1).and_then(|at| self.byte(at)), self.byte(start)) {
            (Some(b'\\'), Some(b'n' | b't' | b'r' | b'b' | b'f')) => start + 1,
            (Some(b'\\'), Some(b'u')) => start + 5,
            (Some(b'%'), _) => start + 2,
            _ => start,
        };
        if after > start && after <= end && self.begins_word(after, false) { after } else { start }
    }

    /// ECMA-48: `ESC [ … m`.
    fn ends_color(&self, at: usize) -> bool {
        let head = self.slice(at.saturating_sub(16), at.saturating_sub(1));
        let codes = head.iter().rev().take_while(|byte| byte.is_ascii_digit() || **byte == b';').count();
        head.len().checked_sub(codes + 2).and_then(|start| head.get(start..start + 2)) == Some(b"\x1b[")
    }

    /// Takes a secret that has its own form. It ends where a word ends, so that no rest of it looks like another.
    pub(super) fn form(&mut self, start: usize, end: usize, kind: Kind) {
        let end = self.run(end, forms::word);
        self.form_end = self.form_end.max(end);
        self.found.push(Found { start, end, kind, rank: 3, quote: None });
    }

    /// Takes a secret that is known by its place.
    pub(super) fn value(&mut self, start: usize, end: usize, kind: Kind, quote: Option<(usize, u8)>) {
        let end = self.run(end, forms::word);
        self.value_end = self.value_end.max(end);
        self.found.push(Found { start, end, kind, rank: 2, quote });
    }

    /// Takes what is no credential.
    pub(super) fn other(&mut self, start: usize, end: usize, kind: Kind) {
        // The name of a kind is none.
        if start.checked_sub(1).is_some_and(|before| self.marker(before).is_some()) {
            return;
        }
        let rank = u8::from(kind.info().class == super::Class::Personal);
        self.found.push(Found { start, end, kind, rank, quote: None });
    }

    /// The length of the mask that stands here, if one does.
    pub(super) fn marker(&self, at: usize) -> Option<usize> {
        marker::length(self.slice(at, self.bytes.len()), self.rules)
    }

    /// Where the next `@` is. All such questions together go over the text once.
    pub(super) fn next_at(&mut self, from: usize) -> usize {
        match self.at {
            Some((asked, at)) if asked <= from && from <= at => at,
            _ => {
                let at = memchr::memchr(b'@', self.slice(from, self.len())).map_or(self.len(), |found| from + found);
                steps::add(at - from);
                self.at = Some((from, at));
                at
            }
        }
    }

    /// The `{` before this place, or the place. What one question went over is not gone over again.
    pub(super) fn take_braces(&mut self, at: usize) -> usize {
        let floor = self.braces.max(self.form_end).min(at);
        let found = memchr::memrchr2(b'{', b'}', self.slice(floor, at)).map(|found| floor + found);
        steps::add(at - floor);
        self.braces = at;
        found.filter(|found| self.byte(*found) == Some(b'{')).unwrap_or(at)
    }
}

/// Counts the bytes that looks go over, so that a test can tell how their number grows. Costs nothing outside of tests.
pub(super) mod steps {
    #[cfg(test)]
    thread_local! {
        static STEPS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
    }

    #[cfg(test)]
    pub(in super::super) fn add(count: usize) {
        STEPS.with(|steps| steps.set(steps.get() + count as u64));
    }

    #[cfg(not(test))]
    #[inline(always)]
    pub(in super::super) fn add(_: usize) {}

    #[cfg(test)]
    pub(in super::super) fn take() -> u64 {
        STEPS.with(std::cell::Cell::take)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_automaton_is_built() {
        assert!(super::AUTOMATON.is_some());
    }
}
