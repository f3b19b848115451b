//! A call to a model, decoded from the wire.
//!
//! A number that was not reported is absent, never 0. Content is absent unless it is asked for, but for the arguments of
//! requested tools, which correlation needs and no exporter writes.

use std::{sync::Arc, time::Duration};

use sha2::{Digest, Sha256};

use crate::{
    ids::{ConnectionKey, SpanContext, Timestamp},
    observation::{
        content::Content,
        exchange::{ConnectionFacts, Loss},
    },
};

/// `gen_ai.operation.name`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `chat`
    Chat,
    /// `text_completion`
    TextCompletion,
    /// `generate_content`
    GenerateContent,
    /// `embeddings`
    Embeddings,
    /// `retrieval`
    Retrieval,
    /// `fetch_response`
    FetchResponse,
}

impl Operation {
    /// The convention's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Operation::Chat => "chat",
            Operation::TextCompletion => "text_completion",
            Operation::GenerateContent => "generate_content",
            Operation::Embeddings => "embeddings",
            Operation::Retrieval => "retrieval",
            Operation::FetchResponse => "fetch_response",
        }
    }

    /// True for what the conventions call an inference: their details event is for these only.
    pub fn is_inference(self) -> bool {
        matches!(self, Operation::Chat | Operation::TextCompletion | Operation::GenerateContent)
    }
}

/// Declares [`Api`] with the names that configurations use.
macro_rules! apis {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// The wire format of a call.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        pub enum Api {
            $($(#[$doc])* #[serde(rename = $name)] $variant,)*
        }

        impl Api {
            /// All of them.
            pub const ALL: &[Api] = &[$(Api::$variant),*];

            /// The name in a configuration.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Api::$variant => $name,)*
                }
            }
        }
    };
}

apis! {
    /// OpenAI `POST …/chat/completions`.
    ChatCompletions = "chat_completions",
    /// OpenAI `POST …/responses`, or a WebSocket there.
    Responses = "responses",
    /// OpenAI Realtime, a WebSocket to `…/v1/realtime`.
    Realtime = "realtime",
    /// OpenAI `POST …/embeddings`.
    Embeddings = "embeddings",
    /// OpenAI `POST …/images/generations`, `…/images/edits` and `…/images/variations`.
    Images = "images",
    /// OpenAI `POST …/audio/speech`.
    Speech = "speech",
    /// OpenAI `POST …/audio/transcriptions` and `…/audio/translations`.
    Transcriptions = "transcriptions",
    /// OpenAI `GET …/responses/{id}`.
    FetchResponse = "fetch_response",
    /// OpenAI `POST …/vector_stores/{id}/search`.
    VectorStoreSearch = "vector_store_search",
    /// Anthropic `POST …/messages`.
    Messages = "messages",
    /// Anthropic's older `POST …/v1/complete`.
    AnthropicComplete = "anthropic_complete",
    /// OpenAI's older `POST …/completions`.
    Completions = "completions",
    /// Gemini and Vertex `POST …:generateContent` and `:streamGenerateContent`.
    GenerateContent = "generate_content",
    /// Gemini and Vertex `POST …:embedContent`.
    EmbedContent = "embed_content",
    /// Gemini and Vertex `POST …:predict` and `:predictLongRunning`: embeddings, pictures, films.
    Predict = "predict",
    /// Ollama `POST /api/chat`.
    OllamaChat = "ollama_chat",
    /// Ollama `POST /api/generate`.
    OllamaGenerate = "ollama_generate",
    /// Ollama `POST /api/embed`.
    OllamaEmbed = "ollama_embed",
    /// Cohere `POST /v2/chat` and `/v1/chat`.
    CohereChat = "cohere_chat",
    /// Cohere `POST /v2/embed` and `/v1/embed`.
    CohereEmbed = "cohere_embed",
    /// Bedrock `POST /model/{id}/converse` and `converse-stream`.
    BedrockConverse = "bedrock_converse",
    /// Bedrock `POST /model/{id}/invoke` and `invoke-with-response-stream`.
    BedrockInvoke = "bedrock_invoke",
    /// Bedrock `POST /knowledgebases/{id}/retrieve`.
    BedrockRetrieve = "bedrock_retrieve",
    /// Bedrock `POST /retrieveAndGenerate` and `/retrieveAndGenerateStream`.
    BedrockRetrieveAndGenerate = "bedrock_retrieve_and_generate",
    /// Mistral `POST /v1/fim/completions`.
    MistralFim = "mistral_fim",
    /// Mistral `POST /v1/conversations` and `/v1/conversations/{id}`.
    MistralConversations = "mistral_conversations",
    /// DashScope `POST …/text-generation/generation` and `…/multimodal-generation/generation`.
    DashscopeGeneration = "dashscope_generation",
    /// DashScope `POST …/text-embedding/text-embedding` and `…/multimodal-embedding`.
    DashscopeEmbeddings = "dashscope_embeddings",
    /// watsonx `POST /ml/v1/text/chat` and `chat_stream`.
    WatsonxChat = "watsonx_chat",
    /// watsonx `POST /ml/v1/text/generation` and `generation_stream`.
    WatsonxGeneration = "watsonx_generation",
    /// watsonx `POST /ml/v1/text/embeddings`.
    WatsonxEmbeddings = "watsonx_embeddings",
    /// Hugging Face's text generation inference `POST /generate`, `/generate_stream`, `/`, and a model's own path at Hugging
    /// Face.
    TgiGenerate = "tgi_generate",
    /// llama.cpp `POST /completion`.
    LlamaCppCompletion = "llama_cpp_completion",
    /// LM Studio `POST /api/v1/chat`.
    LmStudioChat = "lm_studio_chat",
    /// Cloudflare Workers AI `POST …/ai/run/{model}`.
    CloudflareRun = "cloudflare_run",
    /// Databricks `POST /serving-endpoints/{name}/invocations`: chat completions, completions or embeddings by the body.
    DatabricksInvocations = "databricks_invocations",
    /// Snowflake Cortex `POST /api/v2/cortex/inference:complete`.
    CortexComplete = "cortex_complete",
    /// Replicate `POST /v1/models/{owner}/{name}/predictions`.
    ReplicatePredictions = "replicate_predictions",
}

/// `server.address` and `server.port`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerAddress {
    /// Host without port, lower case; a literal IPv6 address without brackets.
    pub address: String,
    /// Port.
    pub port: u16,
}

/// What the request asked for. Names follow `gen_ai.request.*`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parameters {
    /// `gen_ai.request.model`
    pub model: Option<String>,
    /// True if the request asked for a stream.
    pub stream: bool,
    /// True if each event of the stream repeats all that came before it (DashScope's way). Told to nobody.
    pub cumulative: bool,
    /// `gen_ai.request.max_tokens`
    pub max_tokens: Option<i64>,
    /// `gen_ai.request.temperature`
    pub temperature: Option<f64>,
    /// `gen_ai.request.top_p`
    pub top_p: Option<f64>,
    /// `gen_ai.request.top_k`
    pub top_k: Option<i64>,
    /// `gen_ai.request.frequency_penalty`
    pub frequency_penalty: Option<f64>,
    /// `gen_ai.request.presence_penalty`
    pub presence_penalty: Option<f64>,
    /// `gen_ai.request.stop_sequences`
    pub stop_sequences: Vec<String>,
    /// `gen_ai.request.seed`
    pub seed: Option<i64>,
    /// `gen_ai.request.choice.count`, when it is not 1.
    pub choice_count: Option<i64>,
    /// `gen_ai.output.type` (text, json, image, speech), when the request names a format.
    pub output_type: Option<String>,
    /// `gen_ai.request.reasoning.level`
    pub reasoning_level: Option<String>,
    /// `gen_ai.request.previous_response.id`
    pub previous_response_id: Option<String>,
    /// `openai.request.service_tier`, when it is not `auto`.
    pub service_tier: Option<String>,
    /// `gen_ai.request.encoding_formats`
    pub encoding_formats: Vec<String>,
    /// `gen_ai.embeddings.dimension.count`
    pub dimensions: Option<i64>,
    /// `gen_ai.prompt.name`: a template that the provider keeps.
    pub prompt_name: Option<String>,
    /// `gen_ai.prompt.version`
    pub prompt_version: Option<String>,
    /// `gen_ai.conversation.compacted`, if the request or the answer says so.
    pub compacted: Option<bool>,
    /// `gen_ai.data_source.id` of a retrieval.
    pub data_source_id: Option<String>,
    /// `gen_ai.retrieval.top_k`
    pub retrieval_top_k: Option<i64>,
    /// `gen_ai.request.stream_cursor`: from where a fetched response is streamed on.
    pub stream_cursor: Option<String>,
    /// `aws.bedrock.guardrail.id`
    pub guardrail_id: Option<String>,
    /// `aws.bedrock.knowledge_base.id`
    pub knowledge_base_id: Option<String>,
}

/// What the response told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reply {
    /// HTTP status; absent if no response was seen.
    pub status: Option<u16>,
    /// `gen_ai.response.id`
    pub id: Option<String>,
    /// `gen_ai.response.model`
    pub model: Option<String>,
    /// `gen_ai.response.finish_reasons`, as the provider said them, one per choice.
    pub finish_reasons: Vec<String>,
    /// `gen_ai.response.status` of a fetched response.
    pub response_status: Option<String>,
    /// `openai.response.service_tier`
    pub service_tier: Option<String>,
    /// `openai.response.system_fingerprint`
    pub system_fingerprint: Option<String>,
    /// `gen_ai.response.time_to_first_chunk`: request issued → first chunk with content. Streams only.
    pub time_to_first_chunk: Option<Duration>,
    /// When the last chunk with content came. Streams only.
    pub last_chunk: Option<Timestamp>,
    /// Chunks with content. Streams only.
    pub chunks: Option<u64>,
}

/// Tokens as the provider reported them, by the convention's counting: `input` includes cached tokens, `output`
/// includes reasoning tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// `gen_ai.usage.input_tokens`
    pub input: Option<u64>,
    /// `gen_ai.usage.output_tokens`
    pub output: Option<u64>,
    /// `gen_ai.usage.cache_read.input_tokens`
    pub cache_read: Option<u64>,
    /// `gen_ai.usage.cache_creation.input_tokens`
    pub cache_creation: Option<u64>,
    /// `gen_ai.usage.reasoning.output_tokens`
    pub reasoning: Option<u64>,
    /// The same by modality, where the provider splits them.
    pub modalities: Modalities,
}

/// Tokens by modality, as the provider reported them (`gen_ai.usage.{text,image,audio}.…` of the `next` profile).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Modalities {
    /// Text in.
    pub text_input: Option<u64>,
    /// Images in.
    pub image_input: Option<u64>,
    /// Audio in.
    pub audio_input: Option<u64>,
    /// Text out.
    pub text_output: Option<u64>,
    /// Images out.
    pub image_output: Option<u64>,
    /// Audio out.
    pub audio_output: Option<u64>,
    /// Text read from the cache.
    pub text_cache_read: Option<u64>,
    /// Images read from the cache.
    pub image_cache_read: Option<u64>,
    /// Audio read from the cache.
    pub audio_cache_read: Option<u64>,
}

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallError {
    /// `error.type`: the provider's error code or type, else the HTTP status, else a low-cardinality word.
    pub kind: String,
    /// The provider's message, with secrets masked.
    pub message: Option<String>,
}

/// A tool that the model asked the agent to run. Tools that the provider runs itself are not listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestedTool {
    /// The call id that the result will refer to.
    pub id: Option<String>,
    /// Name of the tool.
    pub name: String,
    /// Arguments as sent: a JSON text, whole or, for a broken stream, cut. Content: not exported by default.
    pub arguments: String,
}

/// A tool's result that a request carried back to the model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ToolResult {
    /// The call it answers.
    pub id: String,
    /// True if the request marks it as an error (Anthropic `is_error`).
    pub is_error: bool,
    /// The result itself, if content is captured.
    pub response: Option<serde_json::Value>,
}

/// What ties calls into one conversation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Thread {
    /// One digest per message of the request, in order; of role, text and call ids only, so that moved cache marks
    /// change nothing. The system prompt is not among them.
    pub messages: Vec<u64>,
    /// Digest of the system prompt or instructions, if any.
    pub system: Option<u64>,
    /// True if the last message is the user's own (not a tool's result): such a request opens a turn.
    pub from_user: bool,
    /// True if the request offers tools.
    pub has_tools: bool,
    /// Digests ([`Thread::digest`]) of the texts of the user's that come after the last answer of the model in the request,
    /// to find the call that asked for a sub-agent. They never leave the program.
    pub asked: Vec<u64>,
    /// Results of tools that come after the last answer of the model in the request.
    pub tool_results: Vec<ToolResult>,
}

impl Thread {
    /// The digest of a whole text: the beginning of its SHA-256.
    pub fn digest(text: &str) -> u64 {
        Self::shorten(Sha256::digest(text.as_bytes()).into())
    }

    /// The same of a hash.
    pub fn shorten(hash: [u8; 32]) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = hash;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }
}

/// A call to a model.
#[derive(Clone, Debug)]
pub struct ModelCall {
    /// `gen_ai.operation.name`
    pub operation: Operation,
    /// `gen_ai.provider.name`
    pub provider: String,
    /// Wire format.
    pub api: Api,
    /// Whom the request was for.
    pub server: ServerAddress,
    /// What was asked.
    pub parameters: Parameters,
    /// What came back.
    pub reply: Reply,
    /// Tokens.
    pub usage: Usage,
    /// Why it failed, if it did.
    pub error: Option<CallError>,
    /// `gen_ai.conversation.id`: only a real identifier from the wire.
    pub conversation_id: Option<String>,
    /// What ties it to other calls.
    pub thread: Thread,
    /// Tools that the model asked for.
    pub tool_calls: Vec<RequestedTool>,
    /// First byte of the request.
    pub started: Timestamp,
    /// Last byte of the response, or of the terminal event of its stream.
    pub ended: Timestamp,
    /// The context of a `traceparent` on the request: (trace, parent span) with `span_id` the remote parent.
    pub remote_parent: Option<SpanContext>,
    /// How often the client says it tried before (`x-stainless-retry-count`).
    pub resend_count: Option<u64>,
    /// The connection.
    pub connection: ConnectionKey,
    /// What is known of it.
    pub facts: Option<Arc<ConnectionFacts>>,
    /// Which exchange of the connection.
    pub index: u32,
    /// What is missing, if anything.
    pub losses: Vec<Loss>,
    /// What was said, if content is captured.
    pub content: Option<Box<Content>>,
    /// The span of its turn, which is not its parent if it hangs under a span of the agent's own; set by `correlation`.
    pub turn: Option<SpanContext>,
}
