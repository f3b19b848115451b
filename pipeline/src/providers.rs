//! Which hosts and paths belong to a model's API. The receiver asks to decide what to keep; `provider` to name it.
//!
//! Hosts are compared label by label after lower-casing and without port and trailing dot, so that neither
//! `evil-openai.com` nor `openai.com.evil.net` is OpenAI.

use crate::observation::Api;

/// Hosts and their `gen_ai.provider.name` (GenAI conventions, well-known values). A pattern matches the host itself
/// and every host below it; a `*` stands for any characters within one label.
pub const HOSTS: &[(&str, &str)] = &[
    ("api.openai.com", "openai"),
    ("chatgpt.com", "openai"),
    ("openai.azure.com", "azure.ai.openai"),
    ("cognitiveservices.azure.com", "azure.ai.openai"),
    ("services.ai.azure.com", "azure.ai.inference"),
    ("inference.ai.azure.com", "azure.ai.inference"),
    ("api.anthropic.com", "anthropic"),
    ("bedrock-runtime.*.amazonaws.com", "aws.bedrock"),
    ("bedrock-runtime-fips.*.amazonaws.com", "aws.bedrock"),
    ("bedrock-runtime.*.api.aws", "aws.bedrock"),
    ("generativelanguage.googleapis.com", "gcp.gemini"),
    ("aiplatform.googleapis.com", "gcp.vertex_ai"),
    ("*-aiplatform.googleapis.com", "gcp.vertex_ai"),
    ("cloudcode-pa.googleapis.com", "gcp.gemini"),
    ("api.mistral.ai", "mistral_ai"),
    ("codestral.mistral.ai", "mistral_ai"),
    ("api.x.ai", "x_ai"),
    ("api.groq.com", "groq"),
    ("api.deepseek.com", "deepseek"),
    ("api.cohere.com", "cohere"),
    ("api.cohere.ai", "cohere"),
    ("api.perplexity.ai", "perplexity"),
    ("api.moonshot.ai", "moonshot_ai"),
    ("api.moonshot.cn", "moonshot_ai"),
    ("ml.cloud.ibm.com", "ibm.watsonx.ai"),
];

/// Hosts that offer the models of many: which provider a call is for is told by its wire format.
pub const GATEWAYS: &[&str] = &[
    "openrouter.ai",
    "githubcopilot.com",
    "models.github.ai",
    "router.huggingface.co",
    "gateway.ai.cloudflare.com",
    "ai-gateway.vercel.sh",
    "api.together.xyz",
    "api.fireworks.ai",
    "api.cerebras.ai",
    "api.z.ai",
    "dashscope.aliyuncs.com",
    "dashscope-intl.aliyuncs.com",
];

/// The ends of paths that belong to one API each; the longest that fits counts.
const PATHS: &[(&str, Api)] = &[
    ("/chat/completions", Api::ChatCompletions),
    ("/v1/messages", Api::Messages),
    ("/embeddings", Api::Embeddings),
    ("/responses", Api::Responses),
    ("/v1/realtime", Api::Realtime),
    ("/openai/realtime", Api::Realtime),
    ("/completions", Api::Completions),
    (":generateContent", Api::GenerateContent),
    (":streamGenerateContent", Api::GenerateContent),
    (":embedContent", Api::EmbedContent),
    (":batchEmbedContents", Api::EmbedContent),
    ("/api/chat", Api::OllamaChat),
    ("/api/generate", Api::OllamaGenerate),
    ("/api/embed", Api::OllamaEmbed),
    ("/api/embeddings", Api::OllamaEmbed),
    ("/v1/chat", Api::CohereChat),
    ("/v2/chat", Api::CohereChat),
    ("/converse", Api::BedrockConverse),
    ("/converse-stream", Api::BedrockConverse),
    ("/invoke", Api::BedrockInvoke),
    ("/invoke-with-response-stream", Api::BedrockInvoke),
    // Anthropic's models on Vertex.
    (":rawPredict", Api::Messages),
    (":streamRawPredict", Api::Messages),
];

/// Splits an authority (`Host` header) into the normalised host and the port. Lower case, without one trailing dot;
/// a literal IPv6 address loses its brackets. A part that is not a port is no port.
pub fn split_authority(authority: &str) -> (String, Option<u16>) {
    let authority = authority.trim();
    let authority = authority.rsplit_once('@').map_or(authority, |(_, rest)| rest);
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        // More than one colon without brackets: an address, not a port.
        None if authority.matches(':').count() > 1 => (authority, None),
        None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
    };
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    (host, port.and_then(|port| port.parse().ok()))
}

/// True if the host is what the pattern says or stands below it. The host is normalised ([`split_authority`]).
pub fn host_matches(host: &str, pattern: &str) -> bool {
    let mut labels = host.rsplit('.');
    pattern.rsplit('.').all(|wanted| labels.next().is_some_and(|label| label_matches(label, wanted)))
        && labels.all(|label| !label.is_empty())
}

fn label_matches(label: &str, wanted: &str) -> bool {
    match wanted.split_once('*') {
        None => label == wanted,
        Some((head, tail)) => {
            !label.is_empty()
                && label.len() >= head.len() + tail.len()
                && label.starts_with(head)
                && label.ends_with(tail)
        }
    }
}

/// The `gen_ai.provider.name` of a host (with or without port), if it is a known provider's.
pub fn known_host(host: &str) -> Option<&'static str> {
    let (host, _) = split_authority(host);
    HOSTS.iter().find(|(pattern, _)| host_matches(&host, pattern)).map(|(_, provider)| *provider)
}

/// True for the host of a known provider or of a known gateway to many: a process that talks to it uses a model.
pub fn is_ai_host(host: &str) -> bool {
    let (host, _) = split_authority(host);
    HOSTS.iter().map(|(pattern, _)| pattern).chain(GATEWAYS).any(|pattern| host_matches(&host, pattern))
}

/// The path of a request target (origin or absolute form), without query and fragment.
pub fn path_of(target: &str) -> &str {
    let rest = match target.split_once("://") {
        Some((scheme, rest)) if !scheme.contains(['/', '?']) => rest.find('/').map_or("/", |at| &rest[at..]),
        _ => target,
    };
    rest.find(['?', '#']).map_or(rest, |at| &rest[..at])
}

/// The API that a request target's path belongs to, by how it ends. Only that: host, method and body may say no.
pub fn api_of(target: &str) -> Option<Api> {
    let path = path_of(target);
    let path = path.strip_suffix('/').unwrap_or(path);
    let longest = PATHS.iter().filter(|(end, _)| path.ends_with(end)).max_by_key(|(end, _)| end.len());
    longest.map(|(_, api)| *api).filter(|api| match api {
        // Others have such paths too.
        Api::BedrockConverse | Api::BedrockInvoke => path.contains("/model/"),
        _ => true,
    })
}

/// True if a `POST` to this target may be a call to a model, whatever the host.
pub fn is_ai_path(target: &str) -> bool {
    api_of(target).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_matched_by_labels() {
        for (host, provider) in [
            ("api.openai.com", Some("openai")),
            ("API.OpenAI.com.", Some("openai")),
            ("api.openai.com:443", Some("openai")),
            ("eu.api.openai.com", Some("openai")),
            ("corp.openai.azure.com", Some("azure.ai.openai")),
            ("bedrock-runtime.eu-west-1.amazonaws.com", Some("aws.bedrock")),
            ("us-central1-aiplatform.googleapis.com", Some("gcp.vertex_ai")),
            ("evil-openai.com", None),
            ("evilapi.openai.com", None),
            ("notanthropic.com", None),
            ("openai.com.evil.net", None),
            ("api.openai.com.evil.net", None),
            ("fedex.ai", None),
            ("storage.googleapis.com", None),
            ("my-bedrock-bucket.s3.amazonaws.com", None),
            ("bedrock-runtime.a.b.amazonaws.com", None),
            (".api.openai.com", None),
            ("api.openai.com..", None),
            ("", None),
        ] {
            assert_eq!(known_host(host), provider, "{host}");
        }
        assert!(is_ai_host("openrouter.ai") && !is_ai_host("notopenrouter.ai") && !is_ai_host("localhost"));
    }

    #[test]
    fn authorities_are_split() {
        for (authority, host, port) in [
            ("LocalHost:8080", "localhost", Some(8080)),
            ("[::1]:8443", "::1", Some(8443)),
            ("[2001:DB8::1]", "2001:db8::1", None),
            ("::1", "::1", None),
            ("a.example.", "a.example", None),
            ("a.example.:80", "a.example", Some(80)),
            ("a:99999", "a", None),
        ] {
            assert_eq!(split_authority(authority), (host.to_owned(), port), "{authority}");
        }
    }

    #[test]
    fn paths_are_matched_by_their_end() {
        for (target, api) in [
            ("/v1/chat/completions", Some(Api::ChatCompletions)),
            ("/chat/completions?a=b", Some(Api::ChatCompletions)),
            ("https://x.example/v1/responses", Some(Api::Responses)),
            ("/openai/deployments/d/chat/completions?api-version=1", Some(Api::ChatCompletions)),
            ("/v1/messages?beta=true", Some(Api::Messages)),
            ("/v1/embeddings/", Some(Api::Embeddings)),
            ("/v1/messages/count_tokens", None),
            ("/v1/responses/resp_1/cancel", None),
            ("/myresponses", None),
            ("/v1/completions", Some(Api::Completions)),
            ("/v1beta/models/gemini-x:streamGenerateContent?alt=sse", Some(Api::GenerateContent)),
            ("/api/chat", Some(Api::OllamaChat)),
            ("/v2/chat", Some(Api::CohereChat)),
            ("/model/m%3A0/converse-stream", Some(Api::BedrockConverse)),
            ("/chain/invoke", None),
            ("/search?next=/v1/responses", None),
            ("", None),
        ] {
            assert_eq!(api_of(target), api, "{target}");
        }
    }
}
