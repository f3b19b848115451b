//! The tables: who offers models where, and which path belongs to which API.

use super::{Provider, Route, Trust};
use crate::observation::Api;

const fn row(
    title: &'static str,
    name: &'static str,
    hosts: &'static [&'static str],
    apis: &'static [Api],
) -> Provider {
    Provider { title, name, hosts, base: None, apis }
}

const fn below(
    title: &'static str,
    name: &'static str,
    hosts: &'static [&'static str],
    base: &'static str,
    apis: &'static [Api],
) -> Provider {
    Provider { title, name, hosts, base: Some(base), apis }
}

/// What OpenAI offers.
const OPENAI: &[Api] = &[
    Api::ChatCompletions,
    Api::Responses,
    Api::Completions,
    Api::Embeddings,
    Api::Realtime,
    Api::Images,
    Api::Speech,
    Api::Transcriptions,
    Api::FetchResponse,
    Api::VectorStoreSearch,
];
/// What most offer.
const OPENAI_LIKE: &[Api] = &[Api::ChatCompletions, Api::Completions, Api::Embeddings];
/// What gateways to many offer.
const GATEWAY: &[Api] = &[Api::ChatCompletions, Api::Completions, Api::Embeddings, Api::Responses, Api::Messages];

/// Who offers models, and where. The first row that fits counts.
///
/// A host stands for itself and every host below it; a `*` for any characters within one label. `gen_ai.provider.name` is
/// the conventions' well-known value where there is one, else the name by which LiteLLM's list of models and prices knows
/// the provider: that is the one which backends' own tables of prices are made from.
pub const PROVIDERS: &[Provider] = &[
    row("OpenAI", "openai", &["api.openai.com"], OPENAI),
    row("ChatGPT (codex)", "openai", &["chatgpt.com"], &[Api::Responses]),
    row("Azure OpenAI", "azure.ai.openai", &["openai.azure.com", "cognitiveservices.azure.com"], OPENAI),
    below("Azure OpenAI in AI Foundry", "azure.ai.openai", &["services.ai.azure.com"], "/openai", OPENAI),
    row(
        "Azure AI inference, AI Foundry",
        "azure.ai.inference",
        &["services.ai.azure.com", "inference.ai.azure.com", "models.ai.azure.com"],
        &[Api::ChatCompletions, Api::Completions, Api::Embeddings, Api::Messages],
    ),
    row(
        "Anthropic",
        "anthropic",
        &["api.anthropic.com"],
        &[Api::Messages, Api::AnthropicComplete, Api::ChatCompletions],
    ),
    row(
        "Gemini",
        "gcp.gemini",
        &["generativelanguage.googleapis.com", "cloudcode-pa.googleapis.com"],
        &[Api::GenerateContent, Api::EmbedContent, Api::Predict, Api::ChatCompletions, Api::Embeddings],
    ),
    row(
        "Vertex AI",
        "gcp.vertex_ai",
        &["aiplatform.googleapis.com", "*-aiplatform.googleapis.com", "aiplatform.*.rep.googleapis.com"],
        &[Api::GenerateContent, Api::EmbedContent, Api::Predict, Api::Messages, Api::ChatCompletions],
    ),
    row(
        "Amazon Bedrock",
        "aws.bedrock",
        &[
            "bedrock-runtime.*.amazonaws.com",
            "bedrock-runtime-fips.*.amazonaws.com",
            "bedrock-runtime.*.api.aws",
            "bedrock-runtime-fips.*.api.aws",
            "bedrock-runtime.*.amazonaws.com.cn",
            "bedrock-runtime.*.vpce.amazonaws.com",
            "bedrock-mantle.*.api.aws",
        ],
        &[Api::BedrockConverse, Api::BedrockInvoke, Api::ChatCompletions, Api::Responses, Api::Messages],
    ),
    row(
        "Amazon Bedrock knowledge bases",
        "aws.bedrock",
        &[
            "bedrock-agent-runtime.*.amazonaws.com",
            "bedrock-agent-runtime-fips.*.amazonaws.com",
            "bedrock-agent-runtime.*.api.aws",
            "bedrock-agent-runtime.*.amazonaws.com.cn",
            "bedrock-agent-runtime.*.vpce.amazonaws.com",
        ],
        &[Api::BedrockRetrieve, Api::BedrockRetrieveAndGenerate],
    ),
    row(
        "Mistral",
        "mistral_ai",
        &["api.mistral.ai", "codestral.mistral.ai"],
        &[Api::ChatCompletions, Api::MistralFim, Api::MistralConversations, Api::Embeddings],
    ),
    row(
        "Cohere",
        "cohere",
        &["api.cohere.com", "api.cohere.ai"],
        &[Api::CohereChat, Api::CohereEmbed, Api::ChatCompletions, Api::Embeddings],
    ),
    row(
        "Groq",
        "groq",
        &["api.groq.com"],
        &[Api::ChatCompletions, Api::Responses, Api::Embeddings, Api::Speech, Api::Transcriptions],
    ),
    row("DeepSeek", "deepseek", &["api.deepseek.com"], &[Api::ChatCompletions, Api::Completions, Api::Messages]),
    row(
        "xAI",
        "x_ai",
        &["api.x.ai"],
        &[Api::ChatCompletions, Api::Responses, Api::Completions, Api::Messages, Api::Images, Api::FetchResponse],
    ),
    row("Perplexity", "perplexity", &["api.perplexity.ai"], &[Api::ChatCompletions, Api::Responses]),
    row("Moonshot", "moonshot_ai", &["api.moonshot.ai", "api.moonshot.cn"], &[Api::ChatCompletions, Api::Messages]),
    row(
        "IBM watsonx.ai",
        "ibm.watsonx.ai",
        &["ml.cloud.ibm.com"],
        &[Api::WatsonxChat, Api::WatsonxGeneration, Api::WatsonxEmbeddings],
    ),
    row(
        "Qwen (DashScope)",
        "dashscope",
        &["dashscope.aliyuncs.com", "dashscope-intl.aliyuncs.com", "dashscope-us.aliyuncs.com"],
        &[
            Api::DashscopeGeneration,
            Api::DashscopeEmbeddings,
            Api::ChatCompletions,
            Api::Responses,
            Api::Embeddings,
            Api::Messages,
        ],
    ),
    row(
        "Hugging Face",
        "huggingface",
        &["router.huggingface.co", "api-inference.huggingface.co", "endpoints.huggingface.cloud"],
        &[Api::ChatCompletions, Api::Responses, Api::Completions, Api::Embeddings, Api::TgiGenerate],
    ),
    row(
        "GitHub Copilot",
        "github_copilot",
        &["githubcopilot.com"],
        &[Api::ChatCompletions, Api::Responses, Api::Messages, Api::Embeddings],
    ),
    row("GitHub Models", "github", &["models.github.ai"], &[Api::ChatCompletions, Api::Embeddings]),
    row("OpenRouter", "openrouter", &["openrouter.ai"], GATEWAY),
    row("Together", "together_ai", &["api.together.xyz", "api.together.ai"], OPENAI_LIKE),
    row(
        "Fireworks",
        "fireworks_ai",
        &["api.fireworks.ai"],
        &[Api::ChatCompletions, Api::Completions, Api::Embeddings, Api::Responses, Api::Messages],
    ),
    row("Vercel AI Gateway", "vercel_ai_gateway", &["ai-gateway.vercel.sh"], GATEWAY),
    row(
        "Cloudflare AI Gateway",
        "cloudflare",
        &["gateway.ai.cloudflare.com"],
        &[Api::ChatCompletions, Api::Responses, Api::Messages, Api::Embeddings, Api::CloudflareRun],
    ),
    below(
        "Cloudflare Workers AI",
        "cloudflare",
        &["api.cloudflare.com"],
        "/client/v4/accounts/*/ai",
        &[Api::CloudflareRun, Api::ChatCompletions, Api::Responses, Api::Embeddings],
    ),
    row("Cerebras", "cerebras", &["api.cerebras.ai"], &[Api::ChatCompletions, Api::Completions]),
    row("SambaNova", "sambanova", &["api.sambanova.ai"], &[Api::ChatCompletions, Api::Responses, Api::Embeddings]),
    row("NVIDIA NIM", "nvidia_nim", &["integrate.api.nvidia.com"], OPENAI_LIKE),
    below(
        "Databricks",
        "databricks",
        &["cloud.databricks.com", "azuredatabricks.net", "gcp.databricks.com"],
        "/serving-endpoints",
        &[Api::DatabricksInvocations, Api::ChatCompletions, Api::Completions, Api::Embeddings, Api::Responses],
    ),
    below(
        "Snowflake Cortex",
        "snowflake",
        &["snowflakecomputing.com"],
        "/api/v2/cortex",
        &[Api::CortexComplete, Api::ChatCompletions, Api::Messages],
    ),
    row("AI21", "ai21", &["api.ai21.com"], &[Api::ChatCompletions]),
    row("Replicate", "replicate", &["api.replicate.com"], &[Api::ReplicatePredictions]),
    row(
        "Nebius",
        "nebius",
        &["api.studio.nebius.com", "api.studio.nebius.ai", "api.tokenfactory.nebius.com"],
        OPENAI_LIKE,
    ),
    row("DeepInfra", "deepinfra", &["api.deepinfra.com"], OPENAI_LIKE),
    row("Hyperbolic", "hyperbolic", &["api.hyperbolic.xyz"], &[Api::ChatCompletions, Api::Completions]),
    row("Novita", "novita", &["api.novita.ai"], OPENAI_LIKE),
    row("Baseten", "baseten", &["inference.baseten.co"], &[Api::ChatCompletions]),
    row(
        "Z.ai, Zhipu",
        "zai",
        &["api.z.ai", "open.bigmodel.cn"],
        &[Api::ChatCompletions, Api::Embeddings, Api::Messages],
    ),
    row(
        "MiniMax",
        "minimax",
        &["api.minimax.io", "api.minimax.chat", "api.minimaxi.com", "api.minimaxi.chat"],
        &[Api::ChatCompletions, Api::Messages],
    ),
    row("Baidu Qianfan", "qianfan", &["qianfan.baidubce.com"], &[Api::ChatCompletions, Api::Embeddings]),
    row(
        "Volcengine Ark",
        "volcengine",
        &["ark.*.volces.com", "ark.*.bytepluses.com"],
        &[Api::ChatCompletions, Api::Responses, Api::Embeddings],
    ),
    row("Tencent Hunyuan", "hunyuan", &["api.hunyuan.cloud.tencent.com"], &[Api::ChatCompletions, Api::Embeddings]),
    row("StepFun", "stepfun", &["api.stepfun.com", "api.stepfun.ai"], &[Api::ChatCompletions, Api::Messages]),
    row(
        "SiliconFlow",
        "siliconflow",
        &["api.siliconflow.cn", "api.siliconflow.com"],
        &[Api::ChatCompletions, Api::Embeddings, Api::Messages],
    ),
    // On hosts of the operator's own: told by path, header fields and answer.
    row(
        "Ollama",
        "ollama",
        &["ollama.com"],
        &[Api::OllamaChat, Api::OllamaGenerate, Api::OllamaEmbed, Api::ChatCompletions],
    ),
    row("llama.cpp server", "llama_cpp", &[], &[Api::LlamaCppCompletion, Api::ChatCompletions, Api::Embeddings]),
    row("LM Studio", "lm_studio", &[], &[Api::LmStudioChat, Api::ChatCompletions, Api::Completions, Api::Embeddings]),
    row("LiteLLM", "litellm_proxy", &[], GATEWAY),
];

/// Providers behind Cloudflare's AI gateway, by the fourth segment of its paths (`/v1/{account}/{gateway}/{provider}/…`).
pub const UPSTREAMS: &[(&str, &str)] = &[
    ("anthropic", "anthropic"),
    ("aws-bedrock", "aws.bedrock"),
    ("azure-openai", "azure.ai.openai"),
    ("cerebras", "cerebras"),
    ("cohere", "cohere"),
    ("deepseek", "deepseek"),
    ("google-ai-studio", "gcp.gemini"),
    ("google-vertex-ai", "gcp.vertex_ai"),
    ("grok", "x_ai"),
    ("groq", "groq"),
    ("huggingface", "huggingface"),
    ("mistral", "mistral_ai"),
    ("openai", "openai"),
    ("openrouter", "openrouter"),
    ("perplexity-ai", "perplexity"),
    ("replicate", "replicate"),
];

/// A path that belongs to one API wherever it is.
const fn post(path: &'static str, api: Api) -> Route {
    Route { method: "POST", path, api, trust: Trust::Telling }
}

/// A path that others have too: only a body of the API's shape makes it a call, and no process becomes an agent by it.
const fn shaped(path: &'static str, api: Api) -> Route {
    Route { method: "POST", path, api, trust: Trust::Shaped }
}

/// A path that counts only on hosts whose row has the API.
const fn listed(path: &'static str, api: Api) -> Route {
    Route { method: "POST", path, api, trust: Trust::Listed }
}

/// How the paths of APIs end, by whole segments; a `*` stands for any characters within one segment. The longest that fits
/// counts, and of two as long the one whose API the host's row has.
pub const ROUTES: &[Route] = &[
    post("/chat/completions", Api::ChatCompletions),
    // MiniMax's own name for the same.
    post("/text/chatcompletion_v2", Api::ChatCompletions),
    post("/responses", Api::Responses),
    post("/v1/realtime", Api::Realtime),
    post("/openai/realtime", Api::Realtime),
    post("/completions", Api::Completions),
    post("/embeddings", Api::Embeddings),
    post("/images/generations", Api::Images),
    shaped("/images/edits", Api::Images),
    shaped("/images/variations", Api::Images),
    post("/audio/speech", Api::Speech),
    post("/audio/transcriptions", Api::Transcriptions),
    post("/audio/translations", Api::Transcriptions),
    post("/vector_stores/*/search", Api::VectorStoreSearch),
    Route { method: "GET", path: "/responses/resp_*", api: Api::FetchResponse, trust: Trust::Telling },
    // Where ids have no such mark.
    Route { method: "GET", path: "/responses/*", api: Api::FetchResponse, trust: Trust::Listed },
    post("/v1/messages", Api::Messages),
    // Azure AI Foundry's and Cloudflare's, and Anthropic's models on Vertex.
    post("/anthropic/messages", Api::Messages),
    post("/*:rawPredict", Api::Messages),
    post("/*:streamRawPredict", Api::Messages),
    post("/publishers/mistralai/models/*:rawPredict", Api::ChatCompletions),
    post("/publishers/mistralai/models/*:streamRawPredict", Api::ChatCompletions),
    post("/publishers/ai21/models/*:rawPredict", Api::ChatCompletions),
    post("/publishers/ai21/models/*:streamRawPredict", Api::ChatCompletions),
    shaped("/v1/complete", Api::AnthropicComplete),
    post("/*:generateContent", Api::GenerateContent),
    post("/*:streamGenerateContent", Api::GenerateContent),
    post("/*:embedContent", Api::EmbedContent),
    post("/*:batchEmbedContents", Api::EmbedContent),
    shaped("/*:predict", Api::Predict),
    shaped("/*:predictLongRunning", Api::Predict),
    post("/model/*/converse", Api::BedrockConverse),
    post("/model/*/converse-stream", Api::BedrockConverse),
    post("/model/*/invoke", Api::BedrockInvoke),
    post("/model/*/invoke-with-response-stream", Api::BedrockInvoke),
    post("/knowledgebases/*/retrieve", Api::BedrockRetrieve),
    post("/retrieveAndGenerate", Api::BedrockRetrieveAndGenerate),
    post("/retrieveAndGenerateStream", Api::BedrockRetrieveAndGenerate),
    post("/fim/completions", Api::MistralFim),
    post("/v1/agents/completions", Api::ChatCompletions),
    shaped("/v1/conversations", Api::MistralConversations),
    listed("/v1/conversations/*", Api::MistralConversations),
    post("/v1/chat", Api::CohereChat),
    post("/v2/chat", Api::CohereChat),
    shaped("/v1/embed", Api::CohereEmbed),
    shaped("/v2/embed", Api::CohereEmbed),
    post("/ml/v1/text/chat", Api::WatsonxChat),
    post("/ml/v1/text/chat_stream", Api::WatsonxChat),
    post("/ml/v1/deployments/*/text/chat", Api::WatsonxChat),
    post("/ml/v1/deployments/*/text/chat_stream", Api::WatsonxChat),
    post("/ml/v1/text/generation", Api::WatsonxGeneration),
    post("/ml/v1/text/generation_stream", Api::WatsonxGeneration),
    post("/ml/v1/deployments/*/text/generation", Api::WatsonxGeneration),
    post("/ml/v1/deployments/*/text/generation_stream", Api::WatsonxGeneration),
    post("/ml/v1/text/embeddings", Api::WatsonxEmbeddings),
    post("/services/aigc/text-generation/generation", Api::DashscopeGeneration),
    post("/services/aigc/multimodal-generation/generation", Api::DashscopeGeneration),
    post("/services/embeddings/text-embedding/text-embedding", Api::DashscopeEmbeddings),
    post("/services/embeddings/multimodal-embedding/multimodal-embedding", Api::DashscopeEmbeddings),
    post("/api/chat", Api::OllamaChat),
    post("/api/generate", Api::OllamaGenerate),
    post("/api/embed", Api::OllamaEmbed),
    post("/api/embeddings", Api::OllamaEmbed),
    shaped("/generate", Api::TgiGenerate),
    shaped("/generate_stream", Api::TgiGenerate),
    listed("/models/*", Api::TgiGenerate),
    listed("/models/*/*", Api::TgiGenerate),
    listed("/", Api::TgiGenerate),
    shaped("/completion", Api::LlamaCppCompletion),
    shaped("/api/v1/chat", Api::LmStudioChat),
    listed("/ai/run/*/*/*", Api::CloudflareRun),
    listed("/workers-ai/*/*/*", Api::CloudflareRun),
    post("/serving-endpoints/*/invocations", Api::DatabricksInvocations),
    post("/api/v2/cortex/inference:complete", Api::CortexComplete),
    listed("/v1/predictions", Api::ReplicatePredictions),
    listed("/v1/models/*/*/predictions", Api::ReplicatePredictions),
    listed("/v1/deployments/*/*/predictions", Api::ReplicatePredictions),
];

/// Ends of paths that are no calls of a model although an API's path is within them or ends alike: counts of tokens, and
/// requests whose answer comes elsewhere.
pub const NOT_CALLS: &[&str] =
    &["/models/count-tokens:rawPredict", "/async/chat/completions", "/queue/chat/completions"];
