//! Commands that an agent ran as it runs those of its tools, though no call of a model asked for them.
//!
//! Agents run much on their own account: the state of the repository, hooks, look-ups of programs. None of that is worth
//! telling. So only what has the very shape of what its tools were seen to run counts, at a time when every open call
//! has its process already, and only when no answer claimed it afterwards.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use pipeline::{
    Kind, Observation, ProcessKey, Timestamp,
    observation::{Finding, ProcessInfo, Severity},
};

use super::{
    Correlation,
    state::{Place, ToolRef},
    words::words,
};
use crate::identity::program::{called_as, is_interpreter};

/// How long an answer may be late that asks for it: agents begin before its end is seen.
const LATE: Duration = Duration::from_secs(10);
/// Most that wait.
const WAITING: usize = 1_024;
/// Most shapes of an agent.
const SHAPES: usize = 8;

/// How an agent runs the commands of its tools.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    executable: String,
    /// The arguments before the script.
    flags: Vec<String>,
    /// The wrapper's words before the command.
    lead: Vec<String>,
}

/// Words of a wrapper that are compared.
const LEAD: usize = 2;

impl Shape {
    /// The shape of a shell or an interpreter with a script in its arguments. `wrapped`: the script has words of the
    /// agent's own before the command.
    fn of(info: &ProcessInfo, wrapped: bool) -> Option<Self> {
        let at = info.args.iter().skip(1).position(|arg| is_code(arg))? + 2;
        let script = info.args.get(at)?;
        if !is_interpreter(called_as(info)) || info.args.len() > at + 1 && !wrapped {
            return None;
        }
        let lead = words(script).into_iter().take(LEAD).map(|word| word.text);
        Some(Self {
            executable: info.executable.clone(),
            flags: info.args.get(1..at)?.to_vec(),
            lead: if wrapped { lead.collect() } else { Vec::new() },
        })
    }

    fn fits(&self, info: &ProcessInfo) -> bool {
        Self::of(info, !self.lead.is_empty()).is_some_and(|shape| shape == *self)
    }
}

fn is_code(arg: &str) -> bool {
    arg.strip_prefix('-').is_some_and(|flags| {
        (1..=4).contains(&flags.len()) && flags.bytes().all(|byte| byte.is_ascii_alphabetic()) && flags.ends_with('c')
    })
}

/// Programs that no call asked for so far, oldest first.
#[derive(Debug, Default)]
pub(super) struct Unasked(VecDeque<(Timestamp, Arc<ProcessInfo>)>);

impl Correlation {
    /// Notes how an agent runs the command of a call. `exact`: nothing but the command is what it runs.
    pub(super) fn learn_shape(&mut self, tool: ToolRef, info: &ProcessInfo, exact: bool) {
        let direct = self.processes.get(&info.key).and_then(|proc| proc.origin).map(|origin| origin.owner);
        if direct != Some(tool.agent) {
            return;
        }
        let Some(shape) = Shape::of(info, !exact) else { return };
        if let Some(agent) = self.processes.get_mut(&tool.agent)
            && !agent.shapes.contains(&shape)
            && agent.shapes.len() < SHAPES
        {
            agent.shapes.push(shape);
        }
    }

    /// Notes a program that no call claims, if it looks like what a call runs.
    pub(super) fn note_unasked(&mut self, info: &Arc<ProcessInfo>, place: Place, time: Timestamp) {
        if place.tool.is_some() {
            return;
        }
        let Some(origin) = self.processes.get(&info.key).and_then(|proc| proc.origin) else { return };
        let Some(agent) = self.processes.get(&origin.owner) else { return };
        if agent.exit.is_some() || !agent.shapes.iter().any(|shape| shape.fits(info)) {
            return;
        }
        // A call that runs no command of its own may be behind it.
        let open = agent.turns.iter().filter_map(|id| self.turns.get(id)).flat_map(|turn| turn.tools.values());
        if open.clone().any(|tool| tool.process.is_none() || tool.commands.fit(info).is_some()) {
            return;
        }
        if self.unasked.0.len() < WAITING {
            self.unasked.0.push_back((time, info.clone()));
        }
    }

    /// Tells of those that no answer asked for in time.
    pub(super) fn tell_unasked(&mut self, now: Timestamp, out: &mut Vec<Observation>) {
        while let Some((time, _)) = self.unasked.0.front()
            && time.plus(LATE) <= now
            && let Some((time, info)) = self.unasked.0.pop_front()
        {
            let place = self.processes.get(&info.key).and_then(|proc| proc.own).map(|(place, _)| place);
            let Some(place) = place.filter(|place| place.tool.is_none()) else { continue };
            let kind = Kind::Finding(Box::new(Finding {
                name: "onlooker.finding.process_without_tool",
                severity: Severity::Warn,
                message: "the agent ran a command as its tools do, but no call of a model asked for it".into(),
                attributes: Vec::new(),
            }));
            out.push(Observation { context: Some(place.context), ..Observation::new(time, info, kind) });
        }
    }

    /// Forgets what waits: its agent's calls cannot be read any more.
    pub(super) fn excuse(&mut self, agent: ProcessKey) {
        if let Some(proc) = self.processes.get_mut(&agent) {
            proc.shapes.clear();
        }
        self.unasked.0.retain(|(_, info)| {
            let owner = self.processes.get(&info.key).and_then(|proc| proc.origin).map(|origin| origin.owner);
            owner != Some(agent)
        });
    }
}
