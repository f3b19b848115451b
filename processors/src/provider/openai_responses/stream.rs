//! The events of a response, of this API and of realtime.

use std::collections::{BTreeMap, BTreeSet};

use pipeline::observation::{MessagePart, ModelCall, RequestedTool};

use super::{Said, Status, Tools, conclude, content, response, status};
use crate::provider::{
    failure,
    format::{Step, Stream},
    json::Object,
    media,
};

/// Reads the events of a response.
#[derive(Default)]
pub struct ResponseStream {
    tools: Tools,
    said: Said,
    status: Option<Status>,
    /// Places of items that were begun or that brought a delta.
    seen: BTreeSet<u64>,
    /// Places of items by their ids, for events that name no place.
    ids: BTreeMap<String, u64>,
    /// True once the whole output was listed.
    listed: bool,
    /// Pieces of items that are not finished, while content is captured.
    pieces: BTreeMap<u64, Vec<MessagePart>>,
    cut: bool,
}

impl ResponseStream {
    /// Keeps a piece of text or thought of an item that is not finished.
    fn piece(&mut self, kind: &str, data: &Object<'_>) {
        let Some(text) = data.str("delta") else { return };
        let known = || self.ids.get(data.str("item_id")?.as_ref()).copied();
        let place = data.count("output_index").or_else(known).unwrap_or(0);
        let parts = self.pieces.entry(place).or_default();
        if kind.contains("reasoning") {
            media::add_reasoning(parts, &text);
        } else if kind.contains("text") || kind.contains("transcript") || kind.contains("refusal") {
            media::add_text(parts, &text);
        }
    }
}

impl Stream for ResponseStream {
    fn event(&mut self, name: Option<&str>, data: &Object<'_>, call: &mut ModelCall) -> Step {
        let kind = data.str("type");
        let kind = kind.as_deref().or(name).unwrap_or_default();
        match kind {
            "response.created" | "response.in_progress" | "response.queued" => {
                if let Some(body) = data.object("response") {
                    response(&body, &mut self.tools, &mut self.said, call);
                }
                Step::default()
            }
            "response.completed"
            | "response.incomplete"
            | "response.failed"
            | "response.cancelled"
            | "response.done" => {
                if let Some(body) = data.object("response") {
                    // What it lists is the whole; some list nothing.
                    if body.raw("output").is_some_and(|raw| raw.contains('{')) {
                        self.listed = call.content.is_some();
                        self.said.items.clear();
                        self.pieces.clear();
                    }
                    response(&body, &mut self.tools, &mut self.said, call);
                    self.status = Some(match (status(&body), kind) {
                        (Status::Open, "response.completed") => Status::Completed,
                        (Status::Open, "response.failed") => Status::Failed(failure::of_event(&body)),
                        (Status::Open, "response.cancelled") => Status::Cancelled,
                        (status, _) => status,
                    });
                }
                Step::TERMINAL
            }
            "error" => {
                let mut error = failure::of_event(data);
                // On a WebSocket there is no other place for a status.
                if let Some(status) = data.int("status").filter(|_| error.kind == failure::OTHER) {
                    error.kind = status.to_string();
                }
                self.status = Some(Status::Failed(error));
                Step::TERMINAL
            }
            "response.output_item.added" | "response.output_item.done" => {
                let Some(item) = data.object("item") else { return Step::default() };
                let id = item.string("id");
                let known = || self.ids.get(id.as_ref()?).copied();
                let place = data.count("output_index").or_else(known).unwrap_or(self.seen.len() as u64);
                if let Some(id) = &id {
                    self.ids.insert(id.clone(), place);
                }
                let tool = self.tools.take(place, &item);
                let done = kind == "response.output_item.done";
                if done && call.content.is_some() {
                    self.pieces.remove(&place);
                    self.said.items.insert(place, content::parts(&item));
                }
                if done && item.str("type").is_some_and(|kind| kind.starts_with("compaction")) {
                    call.parameters.compacted = Some(true);
                }
                let new = self.seen.insert(place);
                // Beginning to ask for a tool is content; so is an item that came whole, without deltas.
                Step::content(new && (tool || done))
            }
            "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta" => {
                let delta = data.str("delta").unwrap_or_default();
                if let Some(tool) = self.tools.find(data) {
                    tool.arguments.push_str(&delta);
                }
                Step::content(!delta.is_empty())
            }
            "response.function_call_arguments.done" | "response.custom_tool_call_input.done" => {
                let whole = data.str("arguments").or_else(|| data.str("input"));
                if let (Some(tool), Some(whole)) = (self.tools.find(data), whole) {
                    tool.arguments = whole.into_owned();
                }
                Step::default()
            }
            // A picture that is not finished yet.
            "response.image_generation_call.partial_image" => Step::content(true),
            kind if kind.starts_with("response.") && kind.ends_with(".delta") => {
                self.seen.extend(data.count("output_index"));
                if call.content.is_some() {
                    self.piece(kind, data);
                }
                Step::content(data.raw("delta").is_some_and(|raw| raw != "\"\""))
            }
            _ => Step::default(),
        }
    }

    fn cut(&mut self) {
        self.cut = true;
    }

    fn finish(mut self: Box<Self>, call: &mut ModelCall) -> bool {
        if call.content.is_some() {
            for (place, parts) in std::mem::take(&mut self.pieces) {
                self.said.items.entry(place).or_insert(parts);
            }
            // Of a call that was not finished there is what its deltas brought.
            for (place, tool) in self.tools.items.iter().filter(|_| !self.listed) {
                self.said.items.entry(*place).or_insert_with(|| vec![asked(tool)]);
            }
        }
        let open = if self.cut { Status::Cut } else { Status::Open };
        conclude(self.tools, self.said, self.status.unwrap_or(open), call);
        false
    }
}

fn asked(tool: &RequestedTool) -> MessagePart {
    MessagePart::tool_call(tool.id.clone(), tool.name.as_str(), &tool.arguments)
}
