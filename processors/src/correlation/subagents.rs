//! Sub-agents: threads of an agent's process that a call of one of its tools started. Such a thread's first message is the
//! prompt among the call's arguments; where none is, the only call that can have started it did.

use pipeline::{
    ProcessKey, SpanContext, Timestamp,
    observation::{Link, ModelCall, Thread, ToolResult},
};
use serde_json::Value;
use std::time::Duration;

use super::{
    Correlation,
    state::{Tool, ToolRef},
};

/// How long after the end of its call a sub-agent may begin: some calls only start one, and it works on beside.
const LATE: Duration = Duration::from_secs(10);
/// Most ended calls of an agent that may still start one.
const SPAWNED: usize = 64;
/// Most prompts of a call.
const PROMPTS: usize = 16;
/// Deepest level of the arguments that is looked at.
const DEPTH: usize = 4;
/// Members of arguments that hold what the other agent is told.
const FIELDS: &[&str] = &[
    "prompt",
    "prompts",
    "task",
    "tasks",
    "message",
    "messages",
    "instruction",
    "instructions",
    "input",
    "items",
    "query",
    "question",
    "request",
    "objective",
    "goal",
    "content",
    "text",
];

/// Agents that were seen to tell their sub-agents the prompt as it is.
const PLAIN: &[&str] = &["claude-code"];

/// A call that has ended and may still start a sub-agent.
#[derive(Clone, Debug)]
pub struct Spawned {
    context: SpanContext,
    turn: SpanContext,
    asked: Timestamp,
    until: Timestamp,
    prompts: Vec<u64>,
    conversation: Option<String>,
}

/// What a sub-agent's turn hangs under.
#[derive(Debug)]
pub(super) struct Above {
    pub context: SpanContext,
    pub link: Link,
    pub conversation: Option<String>,
}

/// Digests of what the arguments of a call (JSON) may give another agent as its first message.
pub(super) fn prompts(arguments: &str) -> Vec<u64> {
    let mut found = Vec::new();
    if let Ok(value) = serde_json::from_str(arguments) {
        collect(&value, false, DEPTH, &mut found);
    }
    found
}

fn collect(value: &Value, named: bool, depth: usize, found: &mut Vec<u64>) {
    let Some(depth) = depth.checked_sub(1) else { return };
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(key, value)| collect(value, FIELDS.contains(&key.as_str()), depth, found));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, named, depth, found)),
        Value::String(text) if named => {
            for text in [text.as_str(), text.trim()].into_iter().filter(|text| !text.is_empty()) {
                let digest = Thread::digest(text);
                if found.len() < PROMPTS && !found.contains(&digest) {
                    found.push(digest);
                }
            }
        }
        _ => {}
    }
}

impl Correlation {
    /// The call that a new thread is the work of, if that is certain.
    pub(super) fn sub_agent(&mut self, agent: ProcessKey, call: &ModelCall) -> Option<Above> {
        if !call.thread.has_tools {
            return None;
        }
        let proc = self.processes.get(&agent)?;
        let turns = proc.turns.iter().filter_map(|id| self.turns.get(id).map(|turn| (*id, turn)));
        let open: Vec<(ToolRef, &Tool, SpanContext)> = turns
            .flat_map(|(id, turn)| {
                let place = move |ordinal| ToolRef { turn: id, ordinal, agent };
                turn.tools.iter().map(move |(ordinal, tool)| (place(*ordinal), tool, turn.place()))
            })
            .filter(|(_, tool, _)| tool.starts_agent && !tool.has_turn && tool.asked <= call.started)
            .collect();
        let told = |prompts: &[u64]| prompts.iter().any(|prompt| call.thread.asked.contains(prompt));
        let fitting: Vec<_> = open.iter().filter(|(_, tool, _)| told(&tool.prompts)).collect();
        let over = |spawned: &&Spawned| {
            spawned.asked <= call.started && call.started <= spawned.until && told(&spawned.prompts)
        };
        let ended: Vec<_> = proc.spawned.iter().enumerate().filter(|(_, spawned)| over(spawned)).collect();
        let conversation = |place: ToolRef| self.turns.get(&place.turn).and_then(|turn| turn.conversation.clone());
        let (above, tool, gone) = match (fitting.as_slice(), ended.as_slice()) {
            ([], []) => {
                // Some agents put words of their own around the prompt.
                let [(place, tool, _)] = open.as_slice() else { return None };
                let agent = proc.info.agent.as_ref().filter(|agent| agent.known);
                let plain = proc.prompted || agent.is_some_and(|agent| PLAIN.contains(&agent.name.as_str()));
                let differs = plain && !tool.prompts.is_empty() && !call.thread.asked.is_empty();
                let above = Above { context: tool.context, link: Link::Sole, conversation: conversation(*place) };
                if differs {
                    return None;
                }
                (above, Some(*place), None)
            }
            ([(place, tool, _)], []) => {
                let conversation = conversation(*place);
                (Above { context: tool.context, link: Link::Prompt, conversation }, Some(*place), None)
            }
            ([], [(at, spawned)]) => {
                let conversation = spawned.conversation.clone();
                (Above { context: spawned.context, link: Link::Prompt, conversation }, None, Some(*at))
            }
            // Several have the same prompt: which of them it is nobody can tell, but if all are of one turn, that is known.
            _ => {
                let mut places = fitting
                    .iter()
                    .map(|(place, _, turn)| (*turn, conversation(*place)))
                    .chain(ended.iter().map(|(_, spawned)| (spawned.turn, spawned.conversation.clone())));
                let (context, conversation) = places.next()?;
                if places.any(|(other, _)| other.span_id != context.span_id) {
                    return None;
                }
                (Above { context, link: Link::Prompt, conversation }, None, None)
            }
        };
        let prompted: Vec<ToolRef> = fitting.iter().map(|(place, ..)| *place).collect();
        for tool in prompted {
            self.with_tool(tool, |tool| tool.prompted = true);
        }
        if let Some(proc) = self.processes.get_mut(&agent) {
            proc.prompted |= above.link == Link::Prompt;
            if let Some(gone) = gone {
                proc.spawned.remove(gone);
            }
        }
        if let Some(tool) = tool {
            self.with_tool(tool, |tool| tool.has_turn = true);
        }
        Some(above)
    }

    /// Remembers a call that ended before the sub-agent that it started was seen.
    pub(super) fn may_start(&mut self, place: ToolRef, tool: &Tool, result: Option<&ToolResult>, at: Timestamp) {
        if tool.has_turn || tool.prompts.is_empty() || result.is_some_and(|result| result.is_error) {
            return;
        }
        let Some(turn) = self.turns.get(&place.turn) else { return };
        let (context, conversation) = (turn.place(), turn.conversation.clone());
        let Some(proc) = self.processes.get_mut(&place.agent) else { return };
        proc.spawned.retain(|spawned| spawned.until >= at);
        if proc.spawned.len() >= SPAWNED {
            proc.spawned.pop_front();
        }
        proc.spawned.push_back(Spawned {
            context: tool.context,
            turn: context,
            asked: tool.asked,
            until: at.plus(LATE),
            prompts: tool.prompts.clone(),
            conversation,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_are_whole_texts_of_certain_members() {
        let one = prompts(r#"{"description":"d","prompt":" look at it\n","subagent_type":"Explore"}"#);
        assert_eq!(one, [Thread::digest(" look at it\n"), Thread::digest("look at it")]);
        let items = prompts(r#"{"items":[{"type":"text","text":"a b"},{"path":"c"}]}"#);
        assert_eq!(items, [Thread::digest("a b")]);
        assert!(prompts(r#"{"description":"d"}"#).is_empty());
        assert!(prompts("not JSON").is_empty());
        let many: Vec<String> = (0..100).map(|n| format!("task {n}")).collect();
        assert_eq!(prompts(&serde_json::json!({ "tasks": many }).to_string()).len(), PROMPTS);
    }

    proptest::proptest! {
        #[test]
        fn any_arguments_are_read_without_panic(arguments in ".{0,200}") {
            let _ = prompts(&arguments);
        }
    }
}
