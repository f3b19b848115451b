//! Models that Bedrock invokes with a prompt, and answer with text: Amazon Titan, Meta Llama, Mistral, Cohere Command,
//! AI21 Jurassic, DeepSeek.
//!
//! Facts from the Bedrock user guide, "Inference request parameters and response fields for foundation models": the same
//! few things under a name of each maker's own.

use pipeline::observation::{ModelCall, RequestedTool};

use super::{
    anthropic_complete,
    format::{Step, Stream},
    json::Object,
    media,
};

/// Reads a request.
pub fn request(body: &Object<'_>, call: &mut ModelCall) {
    let config = body.object("textGenerationConfig");
    let of = config.as_ref().unwrap_or(body);
    let int = |keys: &[&str]| keys.iter().find_map(|key| of.int(key));
    let float = |keys: &[&str]| keys.iter().find_map(|key| of.float(key));
    let asked = &mut call.parameters;
    asked.max_tokens = int(&["maxTokenCount", "max_gen_len", "max_tokens", "maxTokens"]);
    asked.temperature = of.float("temperature");
    asked.top_p = float(&["topP", "top_p", "p"]);
    asked.top_k = int(&["top_k", "topK", "k"]);
    asked.choice_count = int(&["num_generations", "numResults", "n"]).filter(|count| *count != 1);
    asked.seed = of.int("seed");
    asked.stop_sequences = ["stopSequences", "stop_sequences", "stop"].iter().flat_map(|key| of.strings(key)).collect();
    let prompt = body.str("inputText").or_else(|| body.str("prompt")).unwrap_or_default();
    anthropic_complete::prompt(&prompt, call);
}

/// One of the texts of an answer.
#[derive(Default)]
struct Answer {
    /// Only if content is captured.
    text: String,
    reason: Option<String>,
}

/// Reads the pieces of an answer; a whole one is a single piece.
#[derive(Default)]
pub struct TextStream {
    answers: Vec<Answer>,
    tools: Vec<RequestedTool>,
    cut: bool,
}

impl TextStream {
    fn add(&mut self, at: usize, text: Option<String>, reason: Option<String>, captured: bool) -> bool {
        // One that is told of is the next one or one of before.
        if at >= self.answers.len() {
            self.answers.push(Answer::default());
        }
        let last = self.answers.len().saturating_sub(1);
        let Some(answer) = self.answers.get_mut(at.min(last)) else { return false };
        answer.reason = reason.or(answer.reason.take());
        let text = text.unwrap_or_default();
        if captured {
            answer.text.push_str(&text);
        }
        !text.is_empty()
    }
}

impl Stream for TextStream {
    fn event(&mut self, _: Option<&str>, data: &Object<'_>, call: &mut ModelCall) -> Step {
        let captured = call.content.is_some();
        let mut content = false;
        let reason = |of: &Object<'_>| {
            ["stop_reason", "completionReason", "finish_reason"].iter().find_map(|key| of.string(key))
        };
        let mut listed = false;
        for (key, text) in
            [("results", "outputText"), ("outputs", "text"), ("generations", "text"), ("choices", "text")]
        {
            for (at, one) in data.objects(key).enumerate() {
                listed = true;
                let message = one.object("message");
                let said = one.string(text).or_else(|| message.as_ref()?.string("content"));
                content |= self.add(at, said, reason(&one), captured);
                for tool in message.iter().flat_map(|message| message.objects("tool_calls")) {
                    content = true;
                    let function = tool.object("function").unwrap_or_default();
                    self.tools.push(RequestedTool {
                        id: tool.string("id"),
                        name: function.string("name").unwrap_or_default(),
                        arguments: function.str("arguments").unwrap_or_default().into_owned(),
                    });
                }
            }
        }
        for (at, one) in data.objects("completions").enumerate() {
            listed = true;
            let said = one.object("data").and_then(|data| data.string("text"));
            let reason = one.object("finishReason").and_then(|reason| reason.string("reason"));
            content |= self.add(at, said, reason, captured);
        }
        if !listed {
            let said = ["generation", "outputText", "completion", "text"].iter().find_map(|key| data.string(key));
            if said.is_some() || reason(data).is_some() {
                content |= self.add(0, said, reason(data), captured);
            }
        }
        call.reply.id = data.string("id").or(call.reply.id.take());
        let tokens = data.objects("results").filter_map(|one| one.count("tokenCount"));
        let tokens = tokens.fold(None, |sum: Option<u64>, count| Some(count.saturating_add(sum.unwrap_or(0))));
        let usage = data.object("usage").unwrap_or_default();
        let input = data.count("prompt_token_count").or_else(|| data.count("inputTextTokenCount"));
        let output = data.count("generation_token_count").or_else(|| data.count("totalOutputTextTokenCount"));
        call.usage.input = input.or_else(|| usage.count("prompt_tokens")).or(call.usage.input);
        call.usage.output = output.or(tokens).or_else(|| usage.count("completion_tokens")).or(call.usage.output);
        Step::content(content)
    }

    fn cut(&mut self) {
        self.cut = true;
    }

    fn finish(self: Box<Self>, call: &mut ModelCall) -> bool {
        let whole = !self.answers.is_empty() && self.answers.iter().all(|answer| answer.reason.is_some());
        if let Some(content) = &mut call.content {
            let mut output: Vec<_> = self
                .answers
                .iter()
                .map(|answer| {
                    let mut parts = Vec::new();
                    media::add_text(&mut parts, &answer.text);
                    media::answer(parts, answer.reason.as_deref().map_or(media::CUT, finish_reason).to_owned())
                })
                .collect();
            if let Some(first) = output.first_mut() {
                first.parts.extend(self.tools.iter().map(|tool| {
                    pipeline::observation::MessagePart::tool_call(tool.id.clone(), tool.name.as_str(), &tool.arguments)
                }));
            }
            content.output = output;
        }
        let unseen = || self.cut.then(|| media::CUT.to_owned());
        call.reply.finish_reasons =
            self.answers.into_iter().filter_map(|answer| answer.reason.or_else(unseen)).collect();
        call.tool_calls = self.tools;
        whole
    }
}

/// The conventions' word for a reason; the maker's own where they have none.
fn finish_reason(reason: &str) -> &str {
    match reason {
        "FINISH" | "FINISHED" | "COMPLETE" | "STOP_CRITERIA_MET" | "stop" | "endoftext" | "end_turn"
        | "stop_sequence" => "stop",
        "LENGTH" | "MAX_TOKENS" | "length" | "max_tokens" => "length",
        "tool_calls" | "tool_use" => "tool_call",
        "CONTENT_FILTERED" | "ERROR_TOXIC" | "content_filtered" | "content_filter" => "content_filter",
        "ERROR" | "error" => "error",
        other => other,
    }
}
