//! Content of calls in the shapes of the GenAI conventions: messages, system instructions, tool definitions.
//!
//! Nothing of it is there unless the operator switched capture on. The JSON shapes are those of the conventions' schemas
//! (gen-ai-input-messages.json, gen-ai-output-messages.json, gen-ai-system-instructions.json,
//! gen-ai-tool-definitions.json, gen-ai-retrieval-documents.json).

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// Where content is written, by the values of `OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContentMode {
    /// Nowhere.
    #[default]
    NoContent,
    /// On spans, as JSON text.
    SpanOnly,
    /// On events, structured.
    EventOnly,
    /// On both.
    SpanAndEvent,
}

impl ContentMode {
    /// True if anything is captured.
    pub fn captures(self) -> bool {
        self != ContentMode::NoContent
    }
    /// True if spans carry content.
    pub fn on_spans(self) -> bool {
        matches!(self, ContentMode::SpanOnly | ContentMode::SpanAndEvent)
    }
    /// True if events carry content.
    pub fn on_events(self) -> bool {
        matches!(self, ContentMode::EventOnly | ContentMode::SpanAndEvent)
    }
}

/// What was said in a call.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Content {
    /// Where it may be written.
    pub mode: ContentMode,
    /// `gen_ai.system_instructions`: only what the API carries apart from the messages.
    pub system_instructions: Vec<MessagePart>,
    /// `gen_ai.input.messages`
    pub input: Vec<Message>,
    /// `gen_ai.output.messages`, one per choice.
    pub output: Vec<Message>,
    /// `gen_ai.tool.definitions`
    pub tools: Vec<ToolDefinition>,
    /// `gen_ai.retrieval.query.text`
    pub query: Option<String>,
    /// `gen_ai.retrieval.documents`
    pub documents: Vec<Document>,
}

impl Content {
    /// Empty content of a call, to be filled by a decoder; `None` if nothing is captured.
    pub fn begin(mode: ContentMode) -> Option<Box<Content>> {
        mode.captures().then(|| Box::new(Content { mode, ..Content::default() }))
    }
}

/// A message (gen-ai-input-messages.json `ChatMessage`, gen-ai-output-messages.json `OutputMessage`).
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Message {
    /// system, user, assistant, tool, or the API's own word.
    pub role: String,
    /// What it consists of, in order.
    pub parts: Vec<MessagePart>,
    /// Name of the participant, if the API carries one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Output only: stop, length, content_filter, tool_call, compaction, error, or the API's own word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finish_reason: Option<String>,
}

/// A part of a message, tagged by `type`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum MessagePart {
    /// Text.
    Text {
        /// The text.
        content: String,
    },
    /// The model's thoughts, or their summary.
    Reasoning {
        /// The text.
        content: String,
    },
    /// A tool that the model asks the agent to run.
    ToolCall {
        /// The call's id.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        /// Name of the tool.
        name: String,
        /// Arguments, parsed if they are JSON, else the text.
        #[serde(skip_serializing_if = "Option::is_none")]
        arguments: Option<Json>,
    },
    /// What a tool gave back.
    ToolCallResponse {
        /// The call's id.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        /// The result.
        response: Json,
    },
    /// A tool that the provider runs itself.
    ServerToolCall {
        /// The call's id.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        /// Name of the tool.
        name: String,
        /// An object with a `type`, and what the API says of the call.
        server_tool_call: Json,
    },
    /// What such a tool gave.
    ServerToolCallResponse {
        /// The call's id.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        /// An object with a `type`, and what the API says of the result.
        server_tool_call_response: Json,
    },
    /// Bytes inline.
    Blob {
        /// MIME type.
        #[serde(skip_serializing_if = "Option::is_none")]
        mime_type: Option<String>,
        /// image, video, audio or document.
        modality: String,
        /// Base64.
        content: String,
    },
    /// A file that was uploaded before.
    File {
        /// MIME type.
        #[serde(skip_serializing_if = "Option::is_none")]
        mime_type: Option<String>,
        /// image, video, audio or document.
        modality: String,
        /// The API's id of it.
        file_id: String,
    },
    /// A reference.
    Uri {
        /// MIME type.
        #[serde(skip_serializing_if = "Option::is_none")]
        mime_type: Option<String>,
        /// image, video, audio or document.
        modality: String,
        /// The URI.
        uri: String,
    },
    /// The conversation so far, compacted.
    Compaction {
        /// Id.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        /// The summary, if it can be read.
        #[serde(skip_serializing_if = "Option::is_none")]
        content: Option<String>,
    },
    /// Anything else: an object with a `type` of its own.
    #[serde(untagged)]
    Other(Json),
}

impl MessagePart {
    /// A text part.
    pub fn text(content: impl Into<String>) -> Self {
        MessagePart::Text { content: content.into() }
    }
    /// A tool call; its arguments are parsed if they are JSON.
    pub fn tool_call(id: Option<String>, name: impl Into<String>, arguments: &str) -> Self {
        let arguments = (!arguments.is_empty()).then(|| parsed(arguments));
        MessagePart::ToolCall { id, name: name.into(), arguments }
    }
}

/// A text as JSON, if it is: else as the text that it is.
pub fn parsed(text: &str) -> Json {
    serde_json::from_str(text).unwrap_or_else(|_| Json::String(text.to_owned()))
}

/// A tool that was offered to the model. The convention leaves out description and parameters by default, for their size.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ToolDefinition {
    /// `function`, or the API's own type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Name.
    pub name: String,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// JSON schema of its arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Json>,
}

/// A document that was found.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Document {
    /// Its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// How well it fits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
}

/// What a tool was given and what it gave.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ToolContent {
    /// Where it may be written.
    pub mode: ContentMode,
    /// `gen_ai.tool.call.arguments`: an object where it can be parsed.
    pub arguments: Option<Json>,
    /// `gen_ai.tool.call.result`
    pub result: Option<Json>,
}
