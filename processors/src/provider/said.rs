//! What an answer says, gathered piece by piece: for the formats whose streams have one choice, and for those that take
//! one text and give one.

use pipeline::observation::{Message, MessagePart, ModelCall, RequestedTool};

use super::{media, openai_chat, thread::MessageDigest};

/// Gathers an answer. Text is kept only while content is captured.
#[derive(Default)]
pub struct Said {
    /// The content, while it is captured.
    pub parts: Vec<MessagePart>,
    /// Tools that the model asks for.
    pub tools: Vec<RequestedTool>,
    /// Why it ended, in the provider's word.
    pub reason: Option<String>,
    /// True if it broke off before its end.
    pub cut: bool,
}

impl Said {
    /// A piece of text. True if there is any.
    pub fn text(&mut self, call: &ModelCall, text: &str) -> bool {
        if call.content.is_some() {
            media::add_text(&mut self.parts, text);
        }
        !text.is_empty()
    }

    /// A piece of thought. True if there is any.
    pub fn thought(&mut self, call: &ModelCall, text: &str) -> bool {
        if call.content.is_some() {
            media::add_reasoning(&mut self.parts, text);
        }
        !text.is_empty()
    }

    /// Another part.
    pub fn part(&mut self, call: &ModelCall, part: impl FnOnce() -> MessagePart) {
        if call.content.is_some() {
            self.parts.push(part());
        }
    }

    /// Puts all into the call: the answer's message, its reason, its tools.
    pub fn finish(self, call: &mut ModelCall) {
        let Said { mut parts, tools, mut reason, cut } = self;
        // The conventions' word for an end that was expected and never came.
        if cut && reason.is_none() {
            reason = Some(media::CUT.to_owned());
        }
        if let Some(content) = &mut call.content {
            parts.extend(
                tools.iter().map(|tool| MessagePart::tool_call(tool.id.clone(), tool.name.clone(), &tool.arguments)),
            );
            if !parts.is_empty() || reason.is_some() {
                let mut end = ended(reason.as_deref());
                // Ollama says of any whole answer that it stopped.
                if end == "stop" && !tools.is_empty() {
                    end = "tool_call".to_owned();
                }
                content.output.push(media::answer(parts, end));
            }
        }
        call.tool_calls.extend(tools);
        call.reply.finish_reasons.extend(reason);
    }
}

/// The conventions' word for why an answer ended; of one whose end was not seen, that it failed.
pub fn ended(reason: Option<&str>) -> String {
    let Some(reason) = reason else { return media::CUT.to_owned() };
    match reason.to_ascii_uppercase().as_str() {
        // Cohere's, watsonx's, Ollama's, llama.cpp's and Hugging Face's words.
        "COMPLETE" | "STOP_SEQUENCE" | "EOS_TOKEN" | "EOS" | "WORD" | "STOP" => "stop".into(),
        "MAX_TOKENS" | "TOKEN_LIMIT" | "LIMIT" | "LENGTH" => "length".into(),
        "TOOL_CALL" | "TOOL_CALLS" => "tool_call".into(),
        "ERROR" | "ERROR_TOXIC" | "ERROR_LIMIT" | "USER_CANCEL" | "TIMEOUT" | "TIME_LIMIT" | "CANCELLED" => {
            "error".into()
        }
        _ => openai_chat::content::finish_reason(reason).to_owned(),
    }
}

/// Takes over a request that is one text, or several.
pub fn prompt(call: &mut ModelCall, texts: &[String]) {
    let mut digest = MessageDigest::new();
    for text in texts {
        digest.text(text);
        if let Some(content) = &mut call.content {
            content.input.push(user(vec![MessagePart::text(text)]));
        }
    }
    call.thread.from_user = true;
    digest.add_to(&mut call.thread, "user");
}

/// A message of the user's.
pub fn user(parts: Vec<MessagePart>) -> Message {
    Message { role: "user".into(), parts, ..Message::default() }
}
