//! Amazon Bedrock's `converse` (`POST /model/{id}/converse`, `converse-stream`), and what every call to Bedrock says in its
//! header fields.
//!
//! Facts from the Bedrock Runtime API reference, "Converse", "ConverseStream", and its service model: usage leaves out what
//! was read from or written to the cache; a stream ends with `messageStop` and then `metadata` with the usage.

use std::collections::BTreeMap;

use pipeline::{
    observation::{
        Api, Exchange, MessagePart, Modalities, ModelCall, Operation, Parameters, RequestedTool, ToolResult, Usage,
    },
    providers,
};

use super::{
    bedrock_content, bedrock_knowledge, failure,
    format::{Format, Step, Stream},
    json::Object,
    media, table,
    thread::MessageDigest,
};

/// `converse`, `converse-stream`
pub const CONVERSE: Format = Format {
    api: Api::BedrockConverse,
    operation: Operation::Chat,
    provider: "aws.bedrock",
    shape: |body| body.array("messages").is_some(),
    request,
    plain,
    stream: || Box::<ConverseStream>::default(),
};

/// What stands beside the bodies of a call to Bedrock: the guardrail, the knowledge base, tokens that the body leaves out,
/// the kind of an error.
pub fn beside(exchange: &Exchange, call: &mut ModelCall) {
    let sent = &exchange.request.headers;
    if call.api == Api::BedrockRetrieve {
        call.parameters.knowledge_base_id = bedrock_knowledge::knowledge_base_in(&exchange.request.target);
        call.parameters.data_source_id = call.parameters.knowledge_base_id.clone();
    }
    if call.parameters.guardrail_id.is_none() {
        call.parameters.guardrail_id =
            sent.get("x-amzn-bedrock-guardrailidentifier").filter(|id| !id.is_empty()).map(str::to_owned);
    }
    let Some(response) = &exchange.response else { return };
    let count = |name: &str| response.headers.get(name).and_then(|text| text.trim().parse().ok());
    let usage = &mut call.usage;
    if usage.input.is_none() && usage.output.is_none() {
        usage.input = count("x-amzn-bedrock-input-token-count");
        usage.output = count("x-amzn-bedrock-output-token-count").filter(|_| call.operation != Operation::Embeddings);
    }
    // `ValidationException:http://…`
    let kind = response.headers.get("x-amzn-errortype").and_then(|kind| kind.split([':', '#']).next()).map(str::trim);
    if let (Some(kind), Some(error)) = (kind.filter(|kind| !kind.is_empty()), &mut call.error)
        && error.kind == response.status.to_string()
    {
        error.kind = failure::word(kind.to_owned()).unwrap_or_else(|| std::mem::take(&mut error.kind));
    }
}

/// The model or the prompt that a target names: an id, or an ARN, mostly percent-encoded, with or without its slashes.
pub fn model_in(target: &str) -> Option<String> {
    let (_, rest) = providers::path_of(target).split_once("/model/")?;
    let (name, _) = rest.rsplit_once('/')?;
    Some(table::percent_decoded(name)).filter(|name| !name.is_empty())
}

/// A prompt of Bedrock's prompt management is called in the place of a model:
/// `arn:aws:bedrock:{region}:{account}:prompt/{id}:{version}`.
fn named_prompt(asked: &mut Parameters) {
    let named = asked.model.as_deref().and_then(|model| model.strip_prefix("arn:")?.split_once(":prompt/"));
    let Some((_, prompt)) = named else { return };
    let (name, version) = prompt.split_once(':').map_or((prompt, None), |(name, version)| (name, Some(version)));
    (asked.prompt_name, asked.prompt_version) = (Some(name.to_owned()), version.map(str::to_owned));
    asked.model = None;
}

fn request(body: &Object<'_>, call: &mut ModelCall) -> bool {
    let asked = &mut call.parameters;
    named_prompt(asked);
    if let Some(config) = body.object("inferenceConfig") {
        // By `invoke`, Nova takes names in snake case too.
        let either = |a, b| config.int(a).or_else(|| config.int(b));
        asked.max_tokens = either("maxTokens", "max_new_tokens");
        asked.temperature = config.float("temperature");
        asked.top_p = config.float("topP").or_else(|| config.float("top_p"));
        asked.top_k = either("topK", "top_k");
        asked.stop_sequences = config.strings("stopSequences");
    }
    if let Some(more) = body.object("additionalModelRequestFields") {
        let inner = more.object("inferenceConfig");
        let of = |key| more.int(key).or_else(|| inner.as_ref()?.int(key));
        asked.top_k = of("top_k").or_else(|| of("topK")).or_else(|| of("k")).or(asked.top_k);
        asked.reasoning_level = more
            .object("output_config")
            .and_then(|config| config.string("effort"))
            .or_else(|| more.string("reasoning_effort"))
            .or_else(|| more.object("reasoningConfig").and_then(|config| config.string("maxReasoningEffort")));
    }
    if let Some(config) = body.object("outputConfig") {
        asked.reasoning_level = config.string("effort").or(asked.reasoning_level.take());
        let json = config.object("textFormat").is_some_and(|of| of.str("type").as_deref() == Some("json_schema"));
        asked.output_type = json.then(|| "json".to_owned());
    }
    asked.guardrail_id = body.object("guardrailConfig").and_then(|config| config.string("guardrailIdentifier"));
    asked.service_tier = body.object("serviceTier").and_then(|tier| tier.string("type"));
    thread(body, call);
    if let Some(content) = &mut call.content {
        bedrock_content::request(body, content);
    }
    true
}

fn thread(body: &Object<'_>, call: &mut ModelCall) {
    let captured = call.content.is_some();
    let thread = &mut call.thread;
    let tools = body.object("toolConfig").and_then(|config| config.array("tools"));
    thread.has_tools = tools.is_some_and(|tools| !tools.is_empty());
    if body.has("system") {
        let mut digest = MessageDigest::new();
        for part in body.objects("system") {
            digest.text(&part.str("text").unwrap_or_default());
        }
        thread.system = Some(digest.finish("system"));
    }
    for message in body.objects("messages") {
        let role = message.str("role").unwrap_or_default();
        let assistant = role == "assistant";
        if assistant {
            thread.tool_results.clear();
        }
        let (mut results, mut digest) = (false, MessageDigest::new());
        for part in message.objects("content") {
            if let Some(text) = part.str("text") {
                digest.text(&text);
            } else if let Some(used) = part.object("toolUse") {
                digest.id(used.str("toolUseId").unwrap_or_default());
            } else if let Some(result) = part.object("toolResult") {
                let id = result.string("toolUseId").unwrap_or_default();
                digest.id(id.as_str());
                if assistant {
                    // Of a tool that Amazon ran.
                    continue;
                }
                results = true;
                let is_error = result.str("status").as_deref() == Some("error");
                let response = captured.then(|| bedrock_content::result(&result));
                thread.tool_results.push(ToolResult { id, is_error, response });
            } else if !part.has("reasoningContent") && !part.has("cachePoint") {
                digest.part(&part);
            }
        }
        thread.from_user = !assistant && digest.own && !results;
        digest.add_to(thread, &role);
    }
}

/// By the convention's counting: input includes the cache.
fn usage(usage: &Object<'_>) -> Usage {
    // By `invoke`, Nova's names end in `Count`.
    let cache = |a, b| usage.count(a).or_else(|| usage.count(b));
    let read = cache("cacheReadInputTokens", "cacheReadInputTokenCount");
    let written = cache("cacheWriteInputTokens", "cacheWriteInputTokenCount");
    let cached = read.unwrap_or(0).saturating_add(written.unwrap_or(0));
    Usage {
        input: usage.count("inputTokens").map(|input| input.saturating_add(cached)),
        output: usage.count("outputTokens"),
        cache_read: read,
        cache_creation: written,
        reasoning: None,
        modalities: Modalities::default(),
    }
}

/// What an answer or the end of a stream says beside the message.
fn metadata(body: &Object<'_>, call: &mut ModelCall) {
    if let Some(found) = body.object("usage") {
        call.usage = usage(&found);
    }
    let router = body.object("trace").and_then(|trace| trace.object("promptRouter"));
    call.reply.model = router.and_then(|router| router.string("invokedModelId")).or(call.reply.model.take());
    call.reply.service_tier = body.object("serviceTier").and_then(|tier| tier.string("type"));
}

fn plain(body: &Object<'_>, call: &mut ModelCall) {
    let reason = body.string("stopReason");
    metadata(body, call);
    let message = body.object("output").and_then(|output| output.object("message")).unwrap_or_default();
    let used = message.objects("content").filter_map(|part| part.object("toolUse"));
    call.tool_calls.extend(used.filter(|used| !bedrock_content::is_server_tool(used)).map(|used| RequestedTool {
        id: used.string("toolUseId"),
        name: used.string("name").unwrap_or_default(),
        arguments: used.raw("input").unwrap_or_default().to_owned(),
    }));
    if let Some(content) = &mut call.content {
        let finish = reason.as_deref().map_or(media::CUT, bedrock_content::finish_reason).to_owned();
        content.output = vec![media::answer(bedrock_content::parts(&message), finish)];
    }
    call.reply.finish_reasons.extend(reason);
}

/// An event that is an exception (`throttlingException`), or an error of the stream itself (`:InternalFailure`).
pub fn exception(name: Option<&str>, data: &Object<'_>, call: &mut ModelCall) -> bool {
    let Some(name) = name else { return false };
    let kind = name.strip_prefix(':').or_else(|| Some(name).filter(|name| name.ends_with("Exception")));
    let Some(kind) = kind else { return false };
    let mut error = failure::of_event(data);
    error.kind = kind.to_owned();
    call.error = Some(error);
    true
}

/// A block that is being assembled: what began it, and what was added.
#[derive(Default)]
struct Block {
    /// `start` as it came, if anything did.
    start: String,
    text: String,
    thoughts: String,
    /// Input of a tool, as JSON text.
    input: String,
    /// Parts of a result, of an image.
    pieces: Vec<MessagePart>,
}

impl Block {
    fn part(self) -> Option<MessagePart> {
        let start = Object::parse(&self.start);
        let of = |key| start.as_ref().and_then(|start| start.object(key));
        if let Some(used) = of("toolUse") {
            let input = (!self.input.is_empty()).then(|| media::value(&self.input));
            return Some(bedrock_content::tool_use(&used, input));
        }
        if let Some(result) = of("toolResult") {
            return Some(bedrock_content::tool_result(&result, media::result_of_parts(self.pieces)));
        }
        if !self.thoughts.is_empty() {
            return Some(MessagePart::Reasoning { content: self.thoughts });
        }
        let text = (!self.text.is_empty()).then(|| MessagePart::text(self.text));
        text.or_else(|| self.pieces.into_iter().next())
    }

    fn add(&mut self, delta: &Object<'_>) {
        if let Some(text) = delta.str("text") {
            self.text.push_str(&text);
        } else if let Some(thought) = delta.object("reasoningContent") {
            self.thoughts.push_str(&thought.str("text").or_else(|| thought.str("redactedContent")).unwrap_or_default());
        } else if let Some(used) = delta.object("toolUse") {
            self.input.push_str(&used.str("input").unwrap_or_default());
        } else if let Some(image) = delta.raw("image") {
            self.pieces.push(MessagePart::Other(serde_json::json!({"type": "image", "image": media::value(image)})));
        }
        for piece in delta.objects("toolResult") {
            match piece.str("text") {
                Some(text) => media::add_text(&mut self.pieces, &text),
                None => self.pieces.push(MessagePart::Other(media::typed("json", &piece, &[]))),
            }
        }
    }
}

/// Reads the events of `converse-stream`, by their names.
#[derive(Default)]
pub struct ConverseStream {
    tools: BTreeMap<u64, RequestedTool>,
    /// Only if content is captured.
    blocks: BTreeMap<u64, Block>,
    reason: Option<String>,
    begun: bool,
    stopped: bool,
    cut: bool,
}

impl Stream for ConverseStream {
    fn event(&mut self, name: Option<&str>, data: &Object<'_>, call: &mut ModelCall) -> Step {
        if exception(name, data, call) {
            return Step::TERMINAL;
        }
        self.begun = true;
        let block = data.count("contentBlockIndex").unwrap_or(0);
        match name.unwrap_or_default() {
            "contentBlockStart" => {
                let start = data.object("start");
                let used = start.and_then(|start| start.object("toolUse"));
                let content = used.is_some();
                if let Some(used) = used.filter(|used| !bedrock_content::is_server_tool(used)) {
                    self.tools.insert(
                        block,
                        RequestedTool {
                            id: used.string("toolUseId"),
                            name: used.string("name").unwrap_or_default(),
                            arguments: String::new(),
                        },
                    );
                }
                if call.content.is_some() {
                    self.blocks.entry(block).or_default().start = data.raw("start").unwrap_or_default().to_owned();
                }
                Step::content(content)
            }
            "contentBlockDelta" => {
                let Some(delta) = data.object("delta") else { return Step::default() };
                if call.content.is_some() {
                    self.blocks.entry(block).or_default().add(&delta);
                }
                let input = delta.object("toolUse").and_then(|used| used.string("input"));
                if let (Some(input), Some(tool)) = (&input, self.tools.get_mut(&block)) {
                    tool.arguments.push_str(input);
                }
                let thoughts = || delta.object("reasoningContent").is_some_and(|of| !of.has("signature"));
                Step::content(input.is_some() || delta.string("text").is_some() || thoughts())
            }
            "messageStop" => {
                self.stopped = true;
                self.reason = data.string("stopReason");
                Step::default()
            }
            "metadata" => {
                metadata(data, call);
                Step::TERMINAL
            }
            _ => Step::default(),
        }
    }

    fn cut(&mut self) {
        self.cut = true;
    }

    fn finish(self: Box<Self>, call: &mut ModelCall) -> bool {
        if let Some(content) = &mut call.content
            && (self.stopped || !self.blocks.is_empty())
        {
            let finish = self.reason.as_deref().map_or(media::CUT, bedrock_content::finish_reason).to_owned();
            let parts = self.blocks.into_values().filter_map(Block::part).collect();
            content.output = vec![media::answer(parts, finish)];
        }
        let unseen = || (self.cut && self.begun && !self.stopped).then(|| media::CUT.to_owned());
        call.reply.finish_reasons.extend(self.reason.or_else(unseen));
        call.tool_calls = self.tools.into_values().collect();
        self.stopped
    }
}
