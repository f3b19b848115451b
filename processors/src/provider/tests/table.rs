//! Which exchanges are calls, and of whom.

use pipeline::observation::Protocol;

use super::*;

fn custom(rows: Value) -> Provider {
    Provider::new(&Config { custom: serde_json::from_value(rows).expect("rows"), ..Config::default() })
}

#[test]
fn every_api_has_a_path_a_decoder_and_a_provider() {
    for api in Api::ALL {
        assert!(providers::ROUTES.iter().any(|route| route.api == *api), "{api:?} has no path");
        // Databricks' is one of others', by its body.
        let decoded = *api == Api::DatabricksInvocations || crate::provider::table::format_of(*api).is_some();
        assert!(decoded, "{api:?} has no decoder");
        assert!(providers::PROVIDERS.iter().any(|provider| provider.apis.contains(api)), "{api:?} has no provider");
    }
}

/// A chat at every host of the table is a call of that host's provider.
#[test]
fn every_host_is_its_providers() {
    for provider in providers::PROVIDERS {
        for pattern in provider.hosts {
            let host = pattern.replace('*', "x");
            let target = format!("{}/v1/chat/completions", provider.base.unwrap_or_default().replace('*', "x"));
            for host in [host.clone(), format!("{}.:443", host.to_uppercase()), format!("eu.{host}")] {
                let found = call(&exchange(&host, &target, &chat_request()));
                let first =
                    providers::PROVIDERS.iter().find(|other| other.name == found.provider).map(|other| other.name);
                assert_eq!(first, Some(provider.name), "{host}{target}");
            }
            for host in [format!("evil-{host}"), format!("{host}.evil.example"), format!("x{host}")] {
                // `*-aiplatform…` allows letters before its dash, on Google's own domain.
                if provider.hosts.iter().any(|pattern| providers::host_matches(&host, pattern)) {
                    continue;
                }
                let found = call(&exchange(&host, "/v1/chat/completions", &chat_request()));
                assert_eq!(found.provider, "openai", "{host}");
            }
        }
    }
}

#[test]
fn who_is_who_among_gateways() {
    let chat = chat_request();
    let message = message_request();
    let response = json!({"model": "m", "input": "hi"});
    for (host, target, body, provider, api) in [
        (
            "x.services.ai.azure.com",
            "/models/chat/completions?api-version=1",
            &chat,
            "azure.ai.inference",
            Api::ChatCompletions,
        ),
        ("x.services.ai.azure.com", "/openai/v1/responses", &response, "azure.ai.openai", Api::Responses),
        ("x.services.ai.azure.com", "/anthropic/v1/messages", &message, "azure.ai.inference", Api::Messages),
        ("models.inference.ai.azure.com", "/chat/completions", &chat, "azure.ai.inference", Api::ChatCompletions),
        ("api.groq.com", "/openai/v1/chat/completions", &chat, "groq", Api::ChatCompletions),
        ("api.deepseek.com", "/beta/completions", &json!({"model": "m", "prompt": "hi"}), "deepseek", Api::Completions),
        ("api.deepseek.com", "/anthropic/v1/messages", &message, "deepseek", Api::Messages),
        ("api.perplexity.ai", "/chat/completions", &chat, "perplexity", Api::ChatCompletions),
        ("api.together.xyz", "/v1/chat/completions", &chat, "together_ai", Api::ChatCompletions),
        ("api.fireworks.ai", "/inference/v1/chat/completions", &chat, "fireworks_ai", Api::ChatCompletions),
        ("openrouter.ai", "/api/v1/chat/completions", &chat, "openrouter", Api::ChatCompletions),
        ("openrouter.ai", "/api/v1/responses", &response, "openrouter", Api::Responses),
        ("dashscope.aliyuncs.com", "/compatible-mode/v1/chat/completions", &chat, "dashscope", Api::ChatCompletions),
        ("dashscope.aliyuncs.com", "/apps/anthropic/v1/messages", &message, "dashscope", Api::Messages),
        ("api.githubcopilot.com", "/chat/completions", &chat, "github_copilot", Api::ChatCompletions),
        ("api.individual.githubcopilot.com", "/responses", &response, "github_copilot", Api::Responses),
        ("api.business.githubcopilot.com", "/v1/messages", &message, "github_copilot", Api::Messages),
        ("api.enterprise.githubcopilot.com", "/chat/completions", &chat, "github_copilot", Api::ChatCompletions),
        ("models.github.ai", "/inference/chat/completions", &chat, "github", Api::ChatCompletions),
        ("chatgpt.com", "/backend-api/codex/responses", &response, "openai", Api::Responses),
        ("router.huggingface.co", "/v1/chat/completions", &chat, "huggingface", Api::ChatCompletions),
        (
            "router.huggingface.co",
            "/hf-inference/models/o/n/v1/chat/completions",
            &chat,
            "huggingface",
            Api::ChatCompletions,
        ),
        ("gateway.ai.cloudflare.com", "/v1/0a/gw/openai/chat/completions", &chat, "openai", Api::ChatCompletions),
        ("gateway.ai.cloudflare.com", "/v1/0a/gw/anthropic/v1/messages", &message, "anthropic", Api::Messages),
        ("gateway.ai.cloudflare.com", "/v1/0a/gw/compat/chat/completions", &chat, "cloudflare", Api::ChatCompletions),
        ("ai-gateway.vercel.sh", "/v1/messages", &message, "vercel_ai_gateway", Api::Messages),
        ("api.minimax.io", "/v1/text/chatcompletion_v2", &chat, "minimax", Api::ChatCompletions),
        ("open.bigmodel.cn", "/api/paas/v4/chat/completions", &chat, "zai", Api::ChatCompletions),
        ("qianfan.baidubce.com", "/v2/chat/completions", &chat, "qianfan", Api::ChatCompletions),
        ("ark.cn-beijing.volces.com", "/api/v3/chat/completions", &chat, "volcengine", Api::ChatCompletions),
        ("api.ai21.com", "/studio/v1/chat/completions", &chat, "ai21", Api::ChatCompletions),
        ("dbc-1.cloud.databricks.com", "/serving-endpoints/m/invocations", &chat, "databricks", Api::ChatCompletions),
        ("api.mistral.ai", "/v1/agents/completions", &chat, "mistral_ai", Api::ChatCompletions),
    ] {
        let found = understand(&exchange(host, target, body)).unwrap_or_else(|| panic!("{host}{target} is no call"));
        assert_eq!((found.provider.as_str(), found.api), (provider, api), "{host}{target}");
    }
}

#[test]
fn odd_targets_are_understood() {
    for target in [
        "//v1//chat/completions",
        "/v1/chat/completions/",
        "/v1/chat/completions?x=1#y",
        "/v1/ch%61t/completions",
        "https://api.groq.com/openai/v1/chat/completions",
        "http://user:word@api.groq.com:80/v1/chat/completions",
    ] {
        let found = understand(&exchange("api.groq.com", target, &chat_request()));
        assert_eq!(found.map(|call| call.provider).as_deref(), Some("groq"), "{target}");
    }
    for target in ["/v1/chat%2Fcompletions", "/v1/chat/completions/x", "/v1?u=/v1/chat/completions", "*", ""] {
        assert!(understand(&exchange("api.groq.com", target, &chat_request())).is_none(), "{target}");
    }
    let mut second = exchange("", "/v1/chat/completions", &chat_request());
    second.protocol = Protocol::Http2;
    second.request.headers = Headers(vec![(":authority".into(), "API.Groq.com:443".into())]);
    let found = call(&second);
    assert_eq!((found.provider.as_str(), found.server.address.as_str()), ("groq", "api.groq.com"));
}

#[test]
fn not_everything_at_a_provider_is_a_call() {
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}], "input": "x"});
    for (host, target) in [
        ("api.anthropic.com", "/v1/messages/count_tokens"),
        ("api.anthropic.com", "/v1/messages/batches"),
        ("api.anthropic.com", "/api/event_logging/batch"),
        ("api.openai.com", "/v1/batches"),
        ("api.openai.com", "/v1/files"),
        ("api.openai.com", "/v1/moderations"),
        ("api.openai.com", "/v1/models"),
        ("generativelanguage.googleapis.com", "/v1beta/models/g:countTokens"),
        ("api.githubcopilot.com", "/telemetry"),
        ("api.perplexity.ai", "/async/chat/completions"),
        ("openrouter.ai", "/api/v1/key"),
    ] {
        assert!(understand(&exchange(host, target, &body)).is_none(), "{host}{target}");
    }
}

/// A connection of HTTP/2 that was joined in its middle has neither path nor status: the fields of the request and the kind
/// of the answer tell.
#[test]
fn http2_without_a_path_is_told_by_its_shape() {
    let joined = |body: Value, answer: Value| {
        let mut got = answered(exchange("", "", &body), 0, &answer);
        got.protocol = Protocol::Http2;
        got.request.headers = Headers::default();
        understand(&got)
    };
    let chat = joined(chat_request(), json!({"id": "c", "object": "chat.completion", "choices": []})).expect("a chat");
    assert_eq!((chat.api, chat.reply.status, chat.error), (Api::ChatCompletions, None, None));
    let message = joined(message_request(), json!({"id": "m", "type": "message", "content": []})).expect("a message");
    assert_eq!(message.api, Api::Messages);
    let response =
        joined(json!({"model": "m", "input": "hi"}), json!({"id": "r", "object": "response"})).expect("a response");
    assert_eq!(response.api, Api::Responses);
    for (body, answer) in [
        (chat_request(), json!({"object": "list"})),
        (json!({"messages": []}), json!({"object": "chat.completion"})),
        (json!({"model": "m", "input": 1}), json!({"object": "list"})),
        (json!({"model": "m"}), json!({"object": "response"})),
        (json!("text"), json!({"object": "response"})),
    ] {
        assert!(joined(body.clone(), answer.clone()).is_none(), "{body} {answer}");
    }
    let mut first = answered(exchange("", "", &chat_request()), 200, &json!({"object": "chat.completion"}));
    first.protocol = Protocol::Http1;
    assert!(understand(&first).is_none());
}

#[test]
fn models_stand_in_paths() {
    for (target, model) in [
        ("/openai/deployments/my-gpt/chat/completions", Some("my-gpt")),
        ("/models/chat/completions", None),
        ("/v1beta/models/gemini-x:generateContent", Some("gemini-x")),
        ("/hf-inference/models/org/name", Some("org/name")),
        ("/hf-inference/models/org/name/v1/chat/completions", Some("org/name")),
        ("/serving-endpoints/my-m/invocations", Some("my-m")),
        ("/serving-endpoints/chat/completions", None),
        ("/client/v4/accounts/0a/ai/run/@cf/meta/llama-x", Some("@cf/meta/llama-x")),
        ("/client/v4/accounts/0a/ai/run/%40cf/meta/llama-x", Some("@cf/meta/llama-x")),
        ("/v1/0a/gw/workers-ai/@cf/meta/llama-x", Some("@cf/meta/llama-x")),
        ("/v1/models/meta/llama-x/predictions", Some("meta/llama-x")),
        ("/v1/realtime?model=gpt-x", Some("gpt-x")),
        ("/v1/chat/completions", None),
        ("/models", None),
    ] {
        assert_eq!(crate::provider::table::model_in(target).as_deref(), model, "{target}");
    }
}

#[test]
fn own_rows_name_hosts_paths_and_apis() {
    let provider = custom(json!([
        {"host": "gw.example", "path": "/llm/*", "api": "chat_completions", "provider": "corp"},
        {"path": "*/ask", "api": "ollama_chat"},
        {"host": "localhost:9", "api": "tgi_generate"},
        {"host": "gw.example", "provider": "other"},
    ]));
    let found = |host: &str, target: &str, body: &Value| {
        provider.understand(&exchange(host, target, body)).map(|call| (call.provider, call.api))
    };
    let chat = chat_request();
    assert_eq!(found("gw.example", "/llm/v9/x", &chat), Some(("corp".into(), Api::ChatCompletions)));
    // The operator says what it is: the body need not.
    assert_eq!(found("gw.example", "/llm/v9/x", &json!({})), Some(("corp".into(), Api::ChatCompletions)));
    assert_eq!(found("gw.example", "/wiki", &chat), None);
    assert_eq!(found("gw.example", "/v1/messages", &message_request()), Some(("other".into(), Api::Messages)));
    assert_eq!(found("any.example", "/a/ask", &chat), Some(("ollama".into(), Api::OllamaChat)));
    assert_eq!(found("any.example", "/ask/a", &chat), None);
    assert_eq!(found("localhost:9", "/x", &json!({"inputs": "hi"})), Some(("huggingface".into(), Api::TgiGenerate)));
    assert_eq!(found("localhost:9", "/x", &json!({"outputs": "hi"})), None);
    assert_eq!(found("localhost:10", "/x", &json!({"inputs": "hi"})), None);
    for api in Api::ALL {
        assert!(serde_json::from_value::<Custom>(json!({"path": "/x", "api": api.as_str()})).is_ok(), "{api:?}");
    }
}

#[test]
fn wrong_rows_are_told_with_what_would_be_right() {
    use pipeline::config::{Sources, decode};
    let read = |text: &str| {
        let text = format!("{{\"custom\": [{text}]}}");
        let sources = Sources { files: vec![("a test".into(), text)], ..Sources::default() };
        let node = sources.load(&|_| None).expect("a node");
        let mut problems = Vec::new();
        decode::<Config>(&node, "processors::provider", &mut problems);
        pipeline::config::render(&problems)
    };
    for (row, parts) in [
        ("{}", &["custom::0", "neither host nor path"][..]),
        (r#"{"host": ""}"#, &["custom::0::host", "must not be empty"]),
        (r#"{"host": "https://x.example/v1"}"#, &["custom::0::host", "is not a host", "`path`"]),
        (r#"{"host": ".x.example"}"#, &["custom::0::host", "empty label"]),
        (r#"{"host": "x.example:http"}"#, &["custom::0::host", "port"]),
        (r#"{"host": "b\u00fccher.example"}"#, &["custom::0::host", "punycode"]),
        (r#"{"host": "*.*"}"#, &["custom::0::host", "every host"]),
        (r#"{"host": "a*b*.example"}"#, &["custom::0::host", "two *"]),
        (r#"{"path": "llm", "api": "messages"}"#, &["custom::0::path", "begins with /"]),
        (r#"{"path": "/llm?x=1", "api": "messages"}"#, &["custom::0::path", "query"]),
        (r#"{"path": "/*", "api": "messages"}"#, &["custom::0::path", "every request"]),
        (r#"{"path": "/llm"}"#, &["custom::0", "says nothing", "`api`"]),
        (r#"{"path": "/llm", "api": "chat"}"#, &["custom::0::api", "chat_completions"]),
        (r#"{"path": "/llm", "provider": ""}"#, &["custom::0::provider", "must not be empty"]),
        (r#"{"hosts": "x"}"#, &["hosts"]),
    ] {
        let problems = read(row);
        for part in parts {
            assert!(problems.contains(part), "{row}: {part} in {problems}");
        }
    }
    for row in [
        r#"{"host": "[::1]:8080"}"#,
        r#"{"host": "*.x.example:1"}"#,
        r#"{"path": "/", "api": "tgi_generate"}"#,
        r#"{"host": "h", "path": "/*"}"#,
    ] {
        assert_eq!(read(row), "", "{row}");
    }
}

/// The README's tables are the code's.
#[test]
fn the_readme_shows_the_tables() {
    let readme = include_str!("../README.md");
    let table = |head: &str| -> Vec<String> {
        let rows = readme.lines().skip_while(|line| !line.starts_with(head)).skip(2);
        rows.take_while(|line| line.starts_with('|')).map(str::to_owned).collect()
    };
    let wanted: Vec<String> = providers::PROVIDERS
        .iter()
        .map(|provider| {
            let code = |list: Vec<String>| list.iter().map(|text| format!("`{text}`")).collect::<Vec<_>>().join(", ");
            let base = provider.base.unwrap_or_default();
            let hosts = code(provider.hosts.iter().map(|host| format!("{host}{base}")).collect());
            let apis = code(provider.apis.iter().map(|api| api.as_str().to_owned()).collect());
            let hosts = if hosts.is_empty() { "your own".to_owned() } else { hosts };
            format!("| {} | `{}` | {hosts} | {apis} |", provider.title, provider.name)
        })
        .collect();
    assert_eq!(
        table("| provider | `gen_ai.provider.name` |"),
        wanted,
        "the table of providers should be\n{}",
        wanted.join("\n")
    );
    let wanted: Vec<String> = Api::ALL
        .iter()
        .map(|api| {
            let paths: Vec<String> = providers::ROUTES
                .iter()
                .filter(|route| route.api == *api)
                .map(|route| {
                    let method = if route.method == "POST" { String::new() } else { format!("{} ", route.method) };
                    let mark = match route.trust {
                        providers::Trust::Telling => "",
                        providers::Trust::Shaped => " ²",
                        providers::Trust::Listed => " ¹",
                    };
                    format!("`{method}{}`{mark}", route.path)
                })
                .collect();
            format!("| `{}` | {} |", api.as_str(), paths.join(", "))
        })
        .collect();
    assert_eq!(table("| API | paths end in |"), wanted, "the table of APIs should be\n{}", wanted.join("\n"));
}
