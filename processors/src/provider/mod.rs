//! `provider`: understands calls to models. An [`Exchange`](pipeline::observation::Exchange) becomes a
//! [`ModelCall`](pipeline::observation::ModelCall) or ends here; everything else passes.
//!
//! `table` says which exchanges are calls and of whom, one file per wire format how to read them.

mod answer;
mod anthropic_complete;
mod anthropic_content;
mod anthropic_messages;
mod bedrock;
mod bedrock_content;
mod bedrock_invoke;
mod bedrock_knowledge;
mod bedrock_text;
mod cloudflare;
mod cohere;
mod config;
mod cortex;
mod dashscope;
mod failure;
mod format;
mod framing;
mod gemini;
mod google_arguments;
mod google_content;
mod google_predict;
mod header;
mod hugging_face;
mod json;
mod llama_cpp;
mod lm_studio;
mod media;
mod mistral;
mod ollama;
mod openai_audio;
mod openai_chat;
mod openai_completions;
mod openai_embeddings;
mod openai_fetch;
mod openai_form;
mod openai_images;
mod openai_realtime;
mod openai_responses;
mod openai_retrieval;
mod replicate;
mod said;
mod table;
#[cfg(test)]
mod tests;
mod thread;
mod watsonx;

pub use config::{Config, Custom};

use std::borrow::Cow;

use pipeline::{
    BuildContext, ComponentError, Factory, Observation, Processor, Signal, Tally,
    observation::{
        Api, Content, ContentMode, Exchange, Kind, ModelCall, Parameters, Part, Protocol, Reply, Thread, Usage,
    },
    providers,
};

use self::json::Object;

/// The factory of this processor.
pub fn factory() -> Factory<dyn Processor> {
    Factory::new(
        "provider",
        "recognises calls to models and decodes them",
        &[Signal::Traces, Signal::Logs, Signal::Metrics],
        |config, _: &BuildContext| -> Result<Box<dyn Processor>, ComponentError> {
            Ok(Box::new(Provider::new(&config)))
        },
    )
    // The receiver must know such hosts too.
    .shares(|config: Config, shared| shared.providers.extend(config.custom))
}

/// The processor.
pub struct Provider {
    custom: providers::Table,
    content: ContentMode,
    /// Exchanges that were no calls of a model.
    others: u64,
}

impl Provider {
    /// A processor of this configuration.
    pub fn new(config: &Config) -> Self {
        Self { custom: config.custom.clone().into(), content: config.mode(), others: 0 }
    }

    /// The call that an exchange was; `None` if it was none.
    pub fn understand(&self, exchange: &Exchange) -> Option<ModelCall> {
        let request = &exchange.request;
        let found = table::classify(exchange, &self.custom)?;
        let lost = request.body.omitted > 0 || exchange.losses.iter().any(|loss| loss.part == Part::Request);
        let (before, asked) = asking(exchange);
        let form = openai_form::as_json(&request.headers, asked, self.content.captures());
        let asked = form.as_deref().unwrap_or(asked);
        let parsed = Object::from_bytes(asked);
        let whole = parsed.is_some() || !lost;
        let text: Cow<'_, str> = match parsed {
            Some(_) => Cow::Borrowed(""),
            None => String::from_utf8_lossy(asked),
        };
        let body = parsed.or_else(|| (!text.is_empty()).then(|| Object::salvage(&text)));
        if !found.confirmed(body.as_ref(), whole) {
            return None;
        }
        let mut call = ModelCall {
            operation: found.format.operation,
            provider: found.provider,
            api: found.format.api,
            server: found.server,
            parameters: Parameters {
                model: table::model_in(&request.target),
                stream: table::streams(&request.target),
                ..Parameters::default()
            },
            reply: Reply::default(),
            usage: Usage::default(),
            error: None,
            conversation_id: header::conversation(&request.headers),
            thread: Thread::default(),
            tool_calls: Vec::new(),
            started: request.started,
            ended: exchange.response.as_ref().map_or(request.ended, |response| response.ended).max(request.started),
            remote_parent: header::remote_parent(&request.headers),
            resend_count: header::resend_count(&request.headers),
            connection: exchange.connection,
            facts: exchange.facts.clone(),
            index: exchange.index,
            losses: exchange.losses.clone(),
            content: Content::begin(self.content),
            turn: None,
        };
        if let Some(body) = &body
            && !(found.format.request)(body, &mut call)
        {
            return None;
        }
        match call.api {
            Api::FetchResponse => openai_fetch::asked(&request.target, &mut call),
            Api::VectorStoreSearch => openai_retrieval::asked(&request.target, &mut call),
            _ => {}
        }
        if exchange.protocol == Protocol::WebSocket {
            // The upgrade's are those of the connection, not of the call.
            call.resend_count = None;
            call.remote_parent = body.as_ref().and_then(header::remote_parent_in);
            if found.format.api == Api::Realtime {
                openai_realtime::items(before, body.is_some(), &mut call);
            }
        }
        answer::read(exchange, found.format, &mut call);
        bedrock::beside(exchange, &mut call);
        table::marked(&mut call);
        if call.api == Api::TgiGenerate {
            hugging_face::header_fields(exchange, &mut call);
        }
        Some(call)
    }
}

/// The message that asked, and on a WebSocket what was handed in before it, one message a line.
fn asking(exchange: &Exchange) -> (&[u8], &[u8]) {
    let body: &[u8] = &exchange.request.body.bytes;
    let last = if exchange.protocol == Protocol::WebSocket {
        body.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1)
    } else {
        0
    };
    body.split_at_checked(last).unwrap_or((&[], body))
}

impl Processor for Provider {
    fn process(&mut self, mut observation: Observation, out: &mut Vec<Observation>) {
        if let Kind::Exchange(exchange) = &observation.kind {
            let Some(call) = self.understand(exchange) else {
                self.others += 1;
                return;
            };
            observation.kind = Kind::ModelCall(Box::new(call));
        }
        if let Kind::McpCall(call) = &mut observation.kind {
            call.decide_content(self.content);
        }
        out.push(observation);
    }

    fn tally(&self) -> Tally {
        Tally { merged: self.others, ..Tally::default() }
    }
}
