//! Bedrock's knowledge bases (`POST /knowledgebases/{id}/retrieve`, `/retrieveAndGenerate`, `/retrieveAndGenerateStream`).
//!
//! Facts from the Agents for Bedrock Runtime API reference, "Retrieve", "RetrieveAndGenerate", and its service model. A
//! stream of it has no last event of its own: it ends with the body.

use pipeline::{
    observation::{Api, Document, ModelCall, Operation},
    providers,
};

use super::{
    anthropic_complete, bedrock,
    format::{Format, NoStream, Step, Stream},
    json::Object,
    media, table,
};

/// `/knowledgebases/{id}/retrieve`
pub const RETRIEVE: Format = Format {
    api: Api::BedrockRetrieve,
    operation: Operation::Retrieval,
    provider: "aws.bedrock",
    shape: |body| body.has("retrievalQuery"),
    request: retrieve,
    plain: retrieved,
    stream: || Box::new(NoStream),
};

/// `/retrieveAndGenerate`, `/retrieveAndGenerateStream`
pub const GENERATE: Format = Format {
    api: Api::BedrockRetrieveAndGenerate,
    operation: Operation::Chat,
    provider: "aws.bedrock",
    shape: |body| body.has("retrieveAndGenerateConfiguration"),
    request: generate,
    plain: |body, call| {
        let text = body.object("output").and_then(|output| output.string("text"));
        let mut stream = Box::new(GenerateStream { text: text.unwrap_or_default(), ..GenerateStream::default() });
        stream.event(Some("guardrail"), body, call);
        stream.session(body, call);
        stream.finish(call);
    },
    stream: || Box::<GenerateStream>::default(),
};

/// The knowledge base that a target names.
pub fn knowledge_base_in(target: &str) -> Option<String> {
    let (_, rest) = providers::path_of(target).split_once("/knowledgebases/")?;
    Some(table::percent_decoded(rest.split('/').next()?)).filter(|name| !name.is_empty())
}

/// How many results a configuration asks for.
fn results(configuration: Option<Object<'_>>) -> Option<i64> {
    let configuration = configuration?;
    let search = configuration.object("vectorSearchConfiguration");
    search.or_else(|| configuration.object("managedSearchConfiguration"))?.int("numberOfResults")
}

fn retrieve(body: &Object<'_>, call: &mut ModelCall) -> bool {
    let asked = &mut call.parameters;
    asked.model = None;
    asked.retrieval_top_k = results(body.object("retrievalConfiguration"));
    asked.guardrail_id = body.object("guardrailConfiguration").and_then(|config| config.string("guardrailId"));
    if let Some(content) = &mut call.content {
        content.query = body.object("retrievalQuery").and_then(|query| query.string("text"));
    }
    true
}

fn retrieved(body: &Object<'_>, call: &mut ModelCall) {
    let Some(content) = &mut call.content else { return };
    let document = |of: Object<'_>| Document { id: name(&of), score: of.float("score") };
    content.documents = body.objects("retrievalResults").map(document).collect();
}

/// The id of a result: its document's own, else where it lies.
fn name(result: &Object<'_>) -> Option<String> {
    let place = |location: Object<'_>| {
        let of = |(_, raw): &(std::borrow::Cow<'_, str>, &str)| {
            let inner = Object::parse(raw)?;
            ["uri", "url", "id"].iter().find_map(|key| inner.string(key))
        };
        location.0.iter().find_map(of)
    };
    let chunk = || result.object("metadata").and_then(|metadata| metadata.string("x-amz-bedrock-kb-chunk-id"));
    result.string("documentId").or_else(|| result.object("location").and_then(place)).or_else(chunk)
}

fn generate(body: &Object<'_>, call: &mut ModelCall) -> bool {
    let configuration = body.object("retrieveAndGenerateConfiguration").unwrap_or_default();
    let of = configuration
        .object("knowledgeBaseConfiguration")
        .or_else(|| configuration.object("externalSourcesConfiguration"))
        .unwrap_or_default();
    let asked = &mut call.parameters;
    asked.model = of.string("modelArn");
    asked.knowledge_base_id = of.string("knowledgeBaseId");
    asked.retrieval_top_k = results(of.object("retrievalConfiguration"));
    if let Some(generation) = of.object("generationConfiguration") {
        asked.guardrail_id = generation.object("guardrailConfiguration").and_then(|of| of.string("guardrailId"));
        let text = generation.object("inferenceConfig").and_then(|of| of.object("textInferenceConfig"));
        if let Some(text) = text {
            asked.max_tokens = text.int("maxTokens");
            asked.temperature = text.float("temperature");
            asked.top_p = text.float("topP");
            asked.stop_sequences = text.strings("stopSequences");
        }
    }
    call.conversation_id = body.string("sessionId").or(call.conversation_id.take());
    let question = body.object("input").and_then(|input| input.string("text")).unwrap_or_default();
    anthropic_complete::prompt(&question, call);
    true
}

#[derive(Default)]
struct GenerateStream {
    text: String,
    intervened: bool,
}

impl GenerateStream {
    fn session(&self, data: &Object<'_>, call: &mut ModelCall) {
        call.conversation_id = data.string("sessionId").or(call.conversation_id.take());
    }
}

impl Stream for GenerateStream {
    fn event(&mut self, name: Option<&str>, data: &Object<'_>, call: &mut ModelCall) -> Step {
        if bedrock::exception(name, data, call) {
            return Step::TERMINAL;
        }
        match name.unwrap_or_default() {
            "output" => {
                let text = data.str("text").unwrap_or_default();
                if call.content.is_some() {
                    self.text.push_str(&text);
                }
                return Step::content(!text.is_empty());
            }
            "guardrail" => {
                let action = data.str("action").or_else(|| data.str("guardrailAction"));
                self.intervened |= action.as_deref() == Some("INTERVENED");
            }
            _ => {}
        }
        Step::default()
    }

    fn finish(self: Box<Self>, call: &mut ModelCall) -> bool {
        if self.intervened {
            call.reply.finish_reasons = vec!["guardrail_intervened".to_owned()];
        }
        if let Some(content) = &mut call.content
            && call.error.is_none()
        {
            let mut parts = Vec::new();
            media::add_text(&mut parts, &self.text);
            let reason = if self.intervened { "content_filter" } else { "stop" };
            content.output = vec![media::answer(parts, reason.to_owned())];
        }
        true
    }
}
