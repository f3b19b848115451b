//! Which exchanges are calls of a model, and of whom.

use pipeline::{
    observation::{Api, Exchange, ModelCall, Protocol, Role, ServerAddress},
    providers::{self, Asked, Trust},
};

use super::{
    anthropic_complete, anthropic_messages, bedrock, bedrock_invoke, bedrock_knowledge, cloudflare, cohere, cortex,
    dashscope, format::Format, gemini, google_predict, hugging_face, json::Object, llama_cpp, lm_studio, mistral,
    ollama, openai_audio, openai_chat, openai_completions, openai_embeddings, openai_fetch, openai_images,
    openai_realtime, openai_responses, openai_retrieval, replicate, watsonx,
};

/// The known wire formats, a row each.
const FORMATS: &[&Format] = &[
    &openai_chat::FORMAT,
    &openai_responses::FORMAT,
    &openai_realtime::FORMAT,
    &openai_embeddings::FORMAT,
    &openai_completions::FORMAT,
    &openai_images::FORMAT,
    &openai_audio::SPEECH,
    &openai_audio::TRANSCRIPTIONS,
    &openai_fetch::FORMAT,
    &openai_retrieval::FORMAT,
    &anthropic_messages::FORMAT,
    &anthropic_complete::FORMAT,
    &gemini::FORMAT,
    &google_predict::EMBEDDINGS,
    &google_predict::PREDICT,
    &ollama::CHAT,
    &ollama::GENERATE,
    &ollama::EMBED,
    &cohere::FORMAT,
    &cohere::EMBED,
    &mistral::FIM,
    &mistral::CONVERSATIONS,
    &dashscope::GENERATION,
    &dashscope::EMBEDDINGS,
    &watsonx::CHAT,
    &watsonx::GENERATION,
    &watsonx::EMBEDDINGS,
    &hugging_face::GENERATE,
    &llama_cpp::COMPLETION,
    &lm_studio::CHAT,
    &cloudflare::RUN,
    &cortex::COMPLETE,
    &replicate::PREDICTIONS,
    &bedrock::CONVERSE,
    &bedrock_invoke::INVOKE,
    &bedrock_knowledge::RETRIEVE,
    &bedrock_knowledge::GENERATE,
];

/// The decoder of an API.
pub fn format_of(api: Api) -> Option<&'static Format> {
    FORMATS.iter().find(|format| format.api == api).copied()
}

/// What an exchange may be, by all but its body.
pub struct Match {
    /// How to read it.
    pub format: &'static Format,
    /// `gen_ai.provider.name`
    pub provider: String,
    /// Whom it was for.
    pub server: ServerAddress,
    /// True if its path is one of the API's.
    path: bool,
    /// True if its host is one that serves models.
    host: bool,
}

impl Match {
    /// True if it is a call after all. A known host and a path of its API are enough: a wrong body is a call that fails.
    /// Else the body must have the API's shape. `body` is what could be read of it, and `whole` is false if onlooker has
    /// not seen all of it: then the path gives it the benefit of the doubt.
    pub fn confirmed(&self, body: Option<&Object<'_>>, whole: bool) -> bool {
        // A request without a body has no shape.
        let bare = self.format.api == Api::FetchResponse;
        (self.path && (self.host || !whole || bare)) || body.is_some_and(self.format.shape)
    }
}

/// Recognises by role, method, host and path what may be a call. The operator's rows come first.
pub fn classify(exchange: &Exchange, custom: &providers::Table) -> Option<Match> {
    let request = &exchange.request;
    let websocket = exchange.protocol == Protocol::WebSocket;
    if exchange.role != Role::Client {
        return None;
    }
    let method = if websocket { "POST" } else { request.method.as_str() };
    let server = server(exchange);
    let known = providers::provider_at(&server.address, &request.target);
    let row = custom.find(Asked { host: &server.address, port: Some(server.port), target: &request.target });
    let row = row.filter(|_| method.eq_ignore_ascii_case("POST"));
    let host = known.is_some() || row.is_some() || websocket;
    let route = providers::route(method, &request.target, known);
    // Others on the list may have such a path for something else: OpenAI's conversations are no calls, Mistral's are.
    let offered = |api| known.is_some_and(|known| known.apis.contains(&api));
    let mut path = route.is_some_and(|route| route.trust != Trust::Shaped || offered(route.api));
    let mut api = route.map(|route| route.api);
    if websocket && !matches!(api, Some(Api::Responses | Api::Realtime)) {
        // Of a connection that was joined in its middle there is no target.
        (api, path) = (Some(spoken(exchange)), true);
    } else if !websocket && api == Some(Api::Realtime) {
        return None;
    }
    if exchange.protocol == Protocol::Http2 && request.target.is_empty() {
        api = shaped(exchange);
        path = api.is_some();
    }
    if let Some(row) = row {
        if row.path.is_some() && row.api.is_some() {
            (api, path) = (row.api, true);
        } else if path {
            api = api.or(row.api);
        } else {
            // A path that others have too does not tell by itself.
            api = row.api.or(api);
        }
    }
    if api == Some(Api::DatabricksInvocations) {
        api = served(&Object::from_bytes(&request.body.bytes)?);
    }
    let format = format_of(api?)?;
    let named = row.and_then(|row| row.provider.as_deref());
    let provider = named.or_else(|| providers::name_at(&server.address, &request.target));
    let provider = provider.or_else(|| signed(exchange)).unwrap_or(format.provider).to_owned();
    Some(Match { format, provider, server, path, host })
}

/// The program that serves a host of nobody known, by the marks that it leaves in paths and header fields.
fn signed(exchange: &Exchange) -> Option<&'static str> {
    let path = providers::normal_path(&exchange.request.target);
    if path.contains("/locations/") && path.contains("/publishers/") {
        return Some("gcp.vertex_ai");
    }
    if path.starts_with("/api/v0/") {
        return Some("lm_studio");
    }
    let headers = &exchange.response.as_ref()?.headers;
    if headers.get("server").is_some_and(|server| server.starts_with("llama.cpp")) {
        return Some("llama_cpp");
    }
    headers.0.iter().any(|(name, _)| name.starts_with("x-litellm-")).then_some("litellm_proxy")
}

/// Names the server that an answer is marked as one's, where neither host nor path tells: Ollama's fingerprint.
pub fn marked(call: &mut ModelCall) {
    if call.provider == "openai"
        && call.reply.system_fingerprint.as_deref() == Some("fp_ollama")
        && providers::known_host(&call.server.address).is_none()
    {
        call.provider = "ollama".into();
    }
}

/// What a path that serves any kind of model was asked for, by the body's fields.
fn served(body: &Object<'_>) -> Option<Api> {
    const FIELDS: &[(&str, Api)] =
        &[("messages", Api::ChatCompletions), ("prompt", Api::Completions), ("input", Api::Embeddings)];
    FIELDS.iter().find(|(field, _)| body.has(field)).map(|(_, api)| *api)
}

/// Which API an exchange of HTTP/2 speaks whose path is not known, because the connection was joined in its middle: by the
/// fields of its request and the kind of object that answered.
fn shaped(exchange: &Exchange) -> Option<Api> {
    let body = Object::from_bytes(&exchange.request.body.bytes).filter(|body| body.has("model"))?;
    let answer = &exchange.response.as_ref()?.body.bytes;
    let start = String::from_utf8_lossy(answer.get(..answer.len().min(1024)).unwrap_or_default()).replace(": ", ":");
    let says = |words: &[&str]| words.iter().any(|word| start.contains(word));
    if body.has("messages") {
        if says(&["\"object\":\"chat.completion"]) {
            return Some(Api::ChatCompletions);
        }
        return says(&["\"type\":\"message_start\"", "\"type\":\"message\""]).then_some(Api::Messages);
    }
    (body.has("input") && says(&["\"object\":\"response\"", "\"type\":\"response.created\""])).then_some(Api::Responses)
}

/// Which API an exchange of a WebSocket speaks, by the message that asked: a request of the responses API has its fields
/// beside its type.
fn spoken(exchange: &Exchange) -> Api {
    let (_, asked) = super::asking(exchange);
    let flat = Object::from_bytes(asked).is_some_and(|body| body.has("model") || body.has("input"));
    if flat { Api::Responses } else { Api::Realtime }
}

/// The server that the request names: `Host`, `:authority` or an absolute target; else the one that the connection is known
/// to go to. Empty if there is none.
fn server(exchange: &Exchange) -> ServerAddress {
    let headers = &exchange.request.headers;
    let absolute = exchange
        .request
        .target
        .split_once("://")
        .map(|(scheme, rest)| (scheme, rest.split(['/', '?', '#']).next().unwrap_or_default()));
    let absolute =
        absolute.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https"));
    let tls = exchange.tls || absolute.is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case("https"));
    // RFC 9112, section 3.2.2: an absolute target wins over Host.
    let authority =
        absolute.map(|(_, authority)| authority).or_else(|| headers.get("host")).or_else(|| headers.get(":authority"));
    let (mut address, mut port) = providers::split_authority(authority.unwrap_or_default());
    if let Some(facts) = exchange.facts.as_ref().filter(|_| address.is_empty()) {
        let name = facts.server_name.clone().or_else(|| facts.resolved_name.clone());
        address = name.or_else(|| facts.peer.map(|peer| peer.ip().to_string())).unwrap_or_default();
        port = facts.peer.map(|peer| peer.port());
    }
    ServerAddress { address, port: port.unwrap_or(if tls { 443 } else { 80 }) }
}

/// The model that a path names, where the body names none: Azure's `/openai/deployments/{name}/…`, Gemini's
/// `…/models/{name}:method`, Bedrock's `/model/{id}/…`, Hugging Face's `/models/{owner}/{name}`, Databricks'
/// `/serving-endpoints/{name}/…`, Cloudflare's `/ai/run/{model}`, Realtime's `?model=`.
pub fn model_in(target: &str) -> Option<String> {
    if providers::api_of(target) == Some(Api::Realtime) {
        // Azure: `deployment`.
        let query = target.split_once('?')?.1.split('#').next()?;
        let named = |key: &str| query.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
        return named("model").or_else(|| named("deployment")).map(percent_decoded).filter(|name| !name.is_empty());
    }
    if let Some(Api::BedrockConverse | Api::BedrockInvoke) = providers::api_of(target) {
        return bedrock::model_in(target);
    }
    let path = providers::path_of(target);
    let mut segments = path.split('/').filter(|segment| !segment.is_empty());
    let mut before = "";
    let kind = loop {
        let segment = segments.next()?;
        // Azure AI inference has `/models/chat/completions`, where nothing is named.
        if matches!(segment, "deployments" | "models" | "tunedModels" | "model" | "serving-endpoints" | "workers-ai")
            || (segment == "run" && before == "ai")
        {
            break segment;
        }
        before = segment;
    };
    let rest: Vec<&str> = segments.collect();
    let name = match (kind, rest.as_slice()) {
        // The OpenAI-compatible paths below are followed by what they are.
        (_, []) | ("models", ["chat" | "completions" | "embeddings" | "images" | "info", ..]) => return None,
        ("serving-endpoints" | "workers-ai", ["chat" | "completions" | "embeddings" | "responses" | "v1", ..]) => {
            return None;
        }
        ("run" | "workers-ai", rest) => percent_decoded(&rest.join("/")),
        ("models" | "deployments", [owner, name, "predictions"]) | ("models", [owner, name]) => {
            percent_decoded(&format!("{owner}/{name}"))
        }
        ("models", [owner, name, "v1" | "pipeline", ..]) => percent_decoded(&format!("{owner}/{name}")),
        (_, [name, ..]) => percent_decoded(name),
    };
    // A Bedrock id may end in `:0`; Gemini's methods are words.
    let name = match name.rsplit_once(':') {
        Some((name, method)) if method.starts_with(|c: char| c.is_ascii_lowercase()) => name.to_owned(),
        _ => name,
    };
    Some(name).filter(|name| !name.is_empty())
}

/// True if a path of Google's or Amazon's asks for a stream: their bodies do not say.
pub fn streams(target: &str) -> bool {
    const ENDS: &[&str] = &[
        ":streamGenerateContent",
        ":streamRawPredict",
        "/converse-stream",
        "/invoke-with-response-stream",
        "/retrieveAndGenerateStream",
    ];
    ENDS.iter().any(|end| providers::normal_path(target).ends_with(end))
}

/// RFC 3986, section 2.1. What is no escape stays.
pub fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escape = (*first == b'%').then(|| after.get(..2)).flatten();
        let value = escape.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        bytes.push(value.unwrap_or(*first));
        rest = if value.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
