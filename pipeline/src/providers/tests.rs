use super::{
    custom::{Asked, Sign},
    *,
};

/// The classic mistakes of matching names of hosts, and what is right.
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
        ("eu-de.ml.cloud.ibm.com", Some("ibm.watsonx.ai")),
        ("api.business.githubcopilot.com", Some("github_copilot")),
        ("ark.cn-beijing.volces.com", Some("volcengine")),
        ("user@api.openai.com", Some("openai")),
        // No label boundary.
        ("evil-openai.com", None),
        ("evilapi.openai.com", None),
        ("notanthropic.com", None),
        ("fedex.ai", None),
        ("notopenrouter.ai", None),
        // Not at the end.
        ("openai.com.evil.net", None),
        ("api.openai.com.evil.net", None),
        ("api.openai.com@evil.net", None),
        // Only a part of the provider's domain.
        ("openai.com", None),
        ("storage.googleapis.com", None),
        ("my-bedrock-bucket.s3.amazonaws.com", None),
        ("bedrock-runtime.a.b.amazonaws.com", None),
        ("bedrock-runtime..amazonaws.com", None),
        // Serves other things too.
        ("api.cloudflare.com", None),
        ("dbc-1.cloud.databricks.com", None),
        // Not a name.
        (".api.openai.com", None),
        ("api.openai.com..", None),
        ("api..openai.com", None),
        // A Cyrillic letter, and the same as it goes over the wire.
        ("api.\u{43e}penai.com", None),
        ("api.xn--penai-d6d.com", None),
        ("[::1]:443", None),
        ("localhost", None),
        ("", None),
    ] {
        assert_eq!(known_host(host), provider, "{host}");
        assert_eq!(is_ai_host(host), provider.is_some(), "{host}");
    }
}

#[test]
fn hosts_and_paths_name_the_provider() {
    for (host, target, provider) in [
        ("x.services.ai.azure.com", "/models/chat/completions?api-version=1", Some("azure.ai.inference")),
        ("x.services.ai.azure.com", "/openai/v1/responses", Some("azure.ai.openai")),
        ("x.services.ai.azure.com", "/openaix/v1/responses", Some("azure.ai.inference")),
        ("api.cloudflare.com", "/client/v4/accounts/0a/ai/run/@cf/meta/llama-x", Some("cloudflare")),
        ("api.cloudflare.com", "/client/v4/accounts/0a/workers/scripts", None),
        ("gateway.ai.cloudflare.com", "/v1/0a/gw/anthropic/v1/messages", Some("anthropic")),
        ("gateway.ai.cloudflare.com", "/v1/0a/gw/compat/chat/completions", Some("cloudflare")),
        ("dbc-1.cloud.databricks.com", "/serving-endpoints/m/invocations", Some("databricks")),
        ("dbc-1.cloud.databricks.com", "/api/2.0/jobs/list", None),
        ("openrouter.ai", "/api/v1/chat/completions", Some("openrouter")),
    ] {
        assert_eq!(name_at(host, target), provider, "{host} {target}");
    }
}

#[test]
fn paths_are_matched_by_their_end() {
    for (target, api) in [
        ("/v1/chat/completions", Some(Api::ChatCompletions)),
        ("/chat/completions?a=b", Some(Api::ChatCompletions)),
        ("//v1//chat/completions/", Some(Api::ChatCompletions)),
        ("/v1/ch%61t/completions", Some(Api::ChatCompletions)),
        ("https://x.example/v1/responses", Some(Api::Responses)),
        ("/openai/deployments/d/chat/completions?api-version=1", Some(Api::ChatCompletions)),
        ("/v1/messages?beta=true", Some(Api::Messages)),
        ("/v1/embeddings/", Some(Api::Embeddings)),
        ("/v1/messages/count_tokens", None),
        ("/v1/messages/batches", None),
        ("/v1/batches", None),
        ("/v1/files", None),
        ("/v1/models", None),
        ("/v1/moderations", None),
        ("/health", None),
        ("/api/tags", None),
        ("/api/show", None),
        ("/api/pull", None),
        ("/api/event_logging/batch", None),
        ("/async/chat/completions", None),
        ("/v1beta/models/gemini-x:countTokens", None),
        ("/v1/responses/resp_1/cancel", None),
        ("/myresponses", None),
        ("/v1/completions", Some(Api::Completions)),
        ("/v1/fim/completions", Some(Api::MistralFim)),
        ("/v1beta/models/gemini-x:streamGenerateContent?alt=sse", Some(Api::GenerateContent)),
        ("/v1beta/models/gemini-x%3AgenerateContent", Some(Api::GenerateContent)),
        ("/api/chat", Some(Api::OllamaChat)),
        ("/api/v1/chat", Some(Api::LmStudioChat)),
        ("/v2/chat", Some(Api::CohereChat)),
        ("/model/m%3A0/converse-stream", Some(Api::BedrockConverse)),
        ("/ml/v1/text/embeddings?version=2024-05-31", Some(Api::WatsonxEmbeddings)),
        ("/chain/invoke", None),
        ("/v1/predictions", None),
        ("/", None),
        ("/search?next=/v1/responses", None),
        ("", None),
    ] {
        assert_eq!(api_of(target), api, "{target}");
    }
}

#[test]
fn some_paths_count_on_their_hosts_only() {
    for (host, target, api) in [
        ("api.replicate.com", "/v1/models/meta/llama-x/predictions", Some(Api::ReplicatePredictions)),
        ("x.endpoints.huggingface.cloud", "/", Some(Api::TgiGenerate)),
        ("router.huggingface.co", "/hf-inference/models/org/name", Some(Api::TgiGenerate)),
        ("router.huggingface.co", "/hf-inference/models/org/name/v1/chat/completions", Some(Api::ChatCompletions)),
        ("api.mistral.ai", "/v1/conversations", Some(Api::MistralConversations)),
        ("api.openai.com", "/v1/conversations/conv_1", None),
        ("api.openai.com", "/v1/models/m", None),
    ] {
        let provider = provider_at(host, target);
        assert_eq!(route("POST", target, provider).map(|route| route.api), api, "{host} {target}");
        assert!(route("GET", target, provider).is_none());
    }
}

#[test]
fn the_tables_are_sound() {
    let mut titles: Vec<&str> = PROVIDERS.iter().map(|provider| provider.title).collect();
    titles.sort_unstable();
    titles.dedup();
    assert_eq!(titles.len(), PROVIDERS.len());
    for provider in PROVIDERS {
        assert!(provider.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._".contains(&b)));
        for host in provider.hosts {
            assert_eq!(split_authority(host), ((*host).to_owned(), None));
        }
        assert!(!provider.apis.is_empty(), "{}", provider.title);
        for api in provider.apis {
            assert!(ROUTES.iter().any(|route| route.api == *api), "{api:?} has no path");
        }
    }
    for route in ROUTES {
        assert!(route.path.starts_with('/'), "{}", route.path);
        let offered = PROVIDERS.iter().any(|provider| provider.apis.contains(&route.api));
        assert!(offered, "{} is offered by nobody", route.path);
    }
}

fn table(rows: &[(&str, &str)]) -> Table {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let rows = rows.iter().map(|(host, path)| Custom { host: text(host), path: text(path), ..Custom::default() });
    Table::from(rows.collect::<Vec<_>>())
}

#[test]
fn own_rows_fit_by_host_port_and_path() {
    for (host, path, authority, target, fits) in [
        ("llm.corp.example", "", "LLM.corp.example.:443", "/x", true),
        ("llm.corp.example", "", "eu.llm.corp.example", "/x", true),
        ("llm.corp.example", "", "badllm.corp.example", "/x", false),
        ("LLM.Corp.Example", "", "llm.corp.example", "/x", true),
        ("localhost:9", "", "localhost:9", "/x", true),
        ("localhost:9", "", "localhost:10", "/x", false),
        ("[::1]:9", "", "[::1]:9", "/x", true),
        ("*.corp.example", "", "a.corp.example", "/x", true),
        ("", "/llm/chat", "any.example", "/llm/chat?x=1", true),
        ("", "/llm/chat", "any.example", "/llm//chat/", true),
        ("", "/llm/chat", "any.example", "/v1/llm/chat", false),
        ("", "*/chat", "any.example", "/v1/llm/chat", true),
        ("", "/llm/*", "any.example", "/llm/a/b", true),
        ("gw.example", "/llm/*", "gw.example", "/llm/a", true),
        ("gw.example", "/llm/*", "other.example", "/llm/a", false),
        ("gw.example", "/llm/*", "gw.example", "/wiki", false),
    ] {
        let own = table(&[(host, path)]);
        let (name, port) = split_authority(authority);
        assert_eq!(own.find(Asked { host: &name, port, target }).is_some(), fits, "{host} {path} {authority} {target}");
        assert_eq!(own.sign(authority, target) == Sign::Call, fits, "{host} {path} {authority} {target}");
    }
}

#[test]
fn signs_of_a_call() {
    let own = table(&[("gw.example", "/llm/*")]);
    for (authority, target, sign) in [
        ("api.openai.com", "/v1/files", Sign::Call),
        ("any.example", "/v1/chat/completions", Sign::Call),
        ("any.example", "/generate", Sign::May),
        ("any.example", "/v1/predictions", Sign::None),
        ("any.example", "/index.html", Sign::None),
        ("gw.example", "/index.html", Sign::None),
        ("gw.example", "/llm/x", Sign::Call),
        ("", "", Sign::None),
    ] {
        assert_eq!(own.sign(authority, target), sign, "{authority} {target}");
    }
    assert!(own.is_ai_host("gw.example:443") && !own.is_ai_host("w.example") && !table(&[("", "/x")]).is_ai_host("a"));
}

#[test]
fn a_table_is_written_and_read() {
    let own = table(&[("localhost:9", "/x"), ("a.example", "")]);
    let text = serde_json::to_string(&own).unwrap();
    assert_eq!(serde_json::from_str::<Table>(&text).unwrap(), own);
}
