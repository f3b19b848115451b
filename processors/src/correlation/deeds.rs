//! What processes do to files and to the machine: in the span of the program that did it. An agent does some of its
//! tools' work itself: what fits an open call belongs to the call, the rest to the turn.

use pipeline::{
    Kind, Observation, SpanContext,
    observation::{Action, Link, ProcessInfo},
};

use super::{Correlation, state::Tool};

impl Correlation {
    /// Where a deed stands, and how that was found.
    pub(super) fn deed(&mut self, observation: &Observation) -> (SpanContext, Option<Link>) {
        let info = &observation.process;
        let place = self.place_of(info);
        let turns = self.processes.get(&info.key).map(|proc| proc.turns.as_slice()).unwrap_or_default();
        let open = turns.iter().filter_map(|id| self.turns.get(id)).filter(|turn| turn.started <= observation.time);
        let open: Vec<_> = open.collect();
        let subjects = subjects(observation, info);
        let calls = open.iter().flat_map(|turn| turn.tools.values());
        let fits = |tool: &&Tool| {
            tool.asked <= observation.time
                && tool.process.is_none()
                && subjects.iter().any(|subject| tool.arguments.contains(subject.as_str()))
        };
        let mut fitting = calls.filter(fits);
        match (fitting.next(), fitting.next(), open.as_slice()) {
            (Some(tool), None, _) => (tool.context, Some(Link::Arguments)),
            (_, _, [turn]) => (turn.context, Some(Link::Turn)),
            _ => (place.context, None),
        }
    }
}

/// What a call that asked for a deed would name: the paths, absolute or from the working directory, as they stand in JSON.
fn subjects(observation: &Observation, info: &ProcessInfo) -> Vec<String> {
    let paths = match &observation.kind {
        Kind::File(file) => vec![Some(&file.path), file.other.as_ref()],
        Kind::Security(security) => match &security.action {
            Action::SensitiveFile { path, .. } => vec![Some(path)],
            _ => Vec::new(),
        },
        _ => Vec::new(),
    };
    let cwd = info.cwd.as_deref().map(|cwd| format!("{}/", cwd.trim_end_matches('/')));
    let mut subjects = Vec::new();
    // Whole strings only: a name may be part of many others.
    let mut push = |text: &str| subjects.extend(serde_json::to_string(text));
    for path in paths.into_iter().flatten().filter(|path| path.len() > 1) {
        for path in meant(path) {
            push(path);
            if let Some(relative) = cwd.as_ref().and_then(|cwd| path.strip_prefix(cwd.as_str())) {
                push(relative);
                push(&format!("./{relative}"));
            }
        }
    }
    subjects
}

/// A path, and those that it may stand for: agents write `a.md.tmp.17` and then rename it to `a.md`.
fn meant(path: &str) -> impl Iterator<Item = &str> {
    let name = path.rfind('/').map_or(0, |at| at + 1);
    let dots = path.char_indices().rev().filter(move |(at, letter)| *letter == '.' && *at > name);
    std::iter::once(path).chain(dots.filter_map(|(at, _)| path.get(..at)))
}

#[cfg(test)]
mod tests {
    use pipeline::{
        ProcessKey, Timestamp,
        observation::{Deed, File},
    };

    use super::*;

    #[test]
    fn a_deed_is_named_in_the_ways_of_a_call() {
        let info = ProcessInfo { cwd: Some("/w".into()), key: ProcessKey::default(), ..ProcessInfo::default() };
        let file = File { other: Some("/x/\"b".into()), ..File::new(Deed::Rename, "/w/a.md.tmp") };
        let kind = Kind::File(Box::new(file));
        let subjects = subjects(&Observation::new(Timestamp(0), info.clone().into(), kind), &info);
        for wanted in [r#""/w/a.md.tmp""#, r#""a.md""#, r#""./a.md""#, r#""/w/a.md""#, r#""/x/\"b""#] {
            assert!(subjects.iter().any(|subject| subject == wanted), "{wanted} {subjects:?}");
        }
        assert!(!subjects.iter().any(|subject| subject == "\"\""));
        assert_eq!(meant("/w/.env").collect::<Vec<_>>(), ["/w/.env"]);
    }
}
