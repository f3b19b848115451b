//! What processes do to files and to the machine: in the span of the program that did it. An agent does some of its
//! tools' work itself: what fits an open call belongs to the call, the rest to the turn.

use pipeline::{
    Kind, Observation, SpanContext,
    observation::{Action, ProcessInfo},
};

use super::{Correlation, state::Tool};

impl Correlation {
    /// Where a deed stands.
    pub(super) fn deed(&mut self, observation: &Observation) -> SpanContext {
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
            (Some(tool), None, _) => tool.context,
            (_, _, [turn]) => turn.context,
            _ => place.context,
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
    for path in paths.into_iter().flatten().filter(|path| path.len() > 1) {
        let relative = cwd.as_ref().and_then(|cwd| path.strip_prefix(cwd.as_str()));
        // Whole strings only: a name may be part of many others.
        for path in [Some(path.as_str()), relative].into_iter().flatten() {
            if let Ok(quoted) = serde_json::to_string(path) {
                subjects.push(quoted);
            }
        }
        if let Some(relative) = relative
            && let Ok(quoted) = serde_json::to_string(&format!("./{relative}"))
        {
            subjects.push(quoted);
        }
    }
    subjects
}
