//! Every row of the table of providers, with every API that it offers: the exchanges of the cases, sent to that row's host
//! and path, plain, streamed, cut in the middle and failing. `rows/<title>.jsonl` is what comes out, a line each.

use std::collections::BTreeMap;

use pipeline::{
    observation::Api,
    providers::{self, PROVIDERS, Provider},
};

use super::*;

/// A path whose calls are told as what their bodies are.
const BY_BODY: Api = Api::DatabricksInvocations;

/// An exchange of an API that succeeds.
struct Model {
    case: PathBuf,
    /// The path's own part: what a row's base goes before.
    target: String,
}

fn call(observations: &[Observation]) -> Option<&pipeline::observation::ModelCall> {
    observations.iter().find_map(|made| match &made.kind {
        Kind::ModelCall(call) => Some(&**call),
        _ => None,
    })
}

/// The first case of each API, plain and streamed; the shortest answer is enough.
fn models() -> BTreeMap<(String, bool), Model> {
    let mut models = BTreeMap::new();
    for case in cases() {
        let (request, response) =
            (Message::read(&case.join("request.http")), Message::read(&case.join("response.http")));
        let made = observe(&wire(&request, &response, false), ContentMode::NoContent);
        let Some(call) = call(&made).filter(|call| call.error.is_none()) else { continue };
        let target = request.first.split(' ').nth(1).unwrap_or_default().to_owned();
        models
            .entry((format!("{:?}", call.api), call.parameters.stream))
            .or_insert(Model { case: case.clone(), target });
    }
    models
}

/// The same request to a row's host.
fn moved(model: &Model, provider: &Provider) -> Message {
    let mut request = Message::read(&model.case.join("request.http"));
    let target = match provider.base {
        Some(base) => format!("{}{}", base.replace('*', "golden"), model.target),
        None => model.target.clone(),
    };
    let mut words = request.first.split(' ');
    request.first = format!("{} {target} {}", words.next().unwrap_or_default(), words.next_back().unwrap_or_default());
    let hosts = provider.hosts.iter().map(|host| host.replace('*', "golden"));
    // Two rows may share a host, and be told apart by the path.
    let own = |host: &String| providers::provider_at(host, &target).is_some_and(|found| found.title == provider.title);
    if let Some(host) = hosts.clone().find(own).or(hosts.clone().next()) {
        request.headers.retain(|(name, _)| name != "host");
        request.headers.insert(0, ("host".into(), host));
    }
    request
}

/// A failure that the folder of cases has, else one in the shape that most share.
fn failure(model: &Model) -> Message {
    let own = model.case.with_file_name("failure.http");
    if own.exists() {
        return Message::read(&own);
    }
    Message {
        first: "HTTP/1.1 429 Too Many Requests".into(),
        headers: vec![("content-type".into(), "application/json".into())],
        body: br#"{"error":{"message":"slow down","type":"rate_limit_error","code":"rate_limit_exceeded"}}"#.to_vec(),
        hint: None,
    }
}

fn name_of(title: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let name: String = title.chars().map(plain).collect();
    name.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-")
}

#[test]
fn every_row_of_the_table_comes_out_as_it_should() {
    if std::env::var_os("GOLDEN").is_some() {
        return;
    }
    let (models, mut problems) = (models(), Vec::new());
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/rows");
    for provider in PROVIDERS {
        let mut lines = String::new();
        for api in provider.apis.iter().filter(|api| **api != BY_BODY) {
            let of_api: Vec<_> = models.iter().filter(|((name, _), _)| *name == format!("{api:?}")).collect();
            if of_api.is_empty() {
                problems.push(format!("{}: no case of {api:?} in tests/golden", provider.title));
            }
            for ((_, streamed), model) in of_api {
                let request = moved(model, provider);
                let response = Message::read(&model.case.join("response.http"));
                let target = request.first.split(' ').nth(1).unwrap_or_default().to_owned();
                let host = request.header("host").to_owned();
                let route =
                    providers::route(request.first.split(' ').next().unwrap_or_default(), &target, Some(provider));
                let variants = [
                    ("whole", wire(&request, &response, false)),
                    ("cut", wire(&request, &response, true)),
                    ("failing", wire(&request, &failure(model), false)),
                ];
                for (variant, wire) in variants {
                    // A WebSocket that is refused carried no call.
                    if variant == "failing" && *api == Api::Realtime {
                        continue;
                    }
                    let how = if *streamed { "streamed" } else { "plain" };
                    let place = format!(
                        "{} {api:?} {how} {variant} ({host}{target}, {:?})",
                        provider.title,
                        route.map(|route| route.path)
                    );
                    let made = observe(&wire, ContentMode::NoContent);
                    let Some(call) = call(&made) else {
                        problems.push(format!("{place}: no call"));
                        continue;
                    };
                    if call.api != *api {
                        problems.push(format!("{place}: told as {:?}", call.api));
                    }
                    if !provider.hosts.is_empty() && call.provider != provider.name {
                        problems.push(format!("{place}: provider {}", call.provider));
                    }
                    if (variant == "failing")
                        != call.error.as_ref().is_some_and(|error| {
                            error.kind != "stream_interrupted" && error.kind != "connection_closed"
                        })
                        && variant != "cut"
                    {
                        problems.push(format!("{place}: error {:?}", call.error));
                    }
                    let told = otlp(&made);
                    let line = json!({"api": format!("{api:?}"), "answer": how, "variant": variant, "otlp": told});
                    lines.push_str(&line.to_string());
                    lines.push('\n');
                }
            }
        }
        let path = folder.join(format!("{}.jsonl", name_of(provider.title)));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::create_dir_all(&folder).expect("a folder");
            fs::write(&path, lines).expect("a file");
        } else if fs::read_to_string(&path).unwrap_or_default() != lines {
            problems.push(format!("{}: differs; look at it with UPDATE_GOLDEN=1 and git diff", path.display()));
        }
    }
    assert!(problems.is_empty(), "{} problems\n{}", problems.len(), problems.join("\n"));
}

/// Each API is shown by a case, so that a row which offers it can be tested.
#[test]
fn every_api_has_a_case() {
    if std::env::var_os("GOLDEN").is_some() {
        return;
    }
    let models = models();
    let missing: Vec<String> = Api::ALL
        .iter()
        .filter(|api| **api != BY_BODY)
        .map(|api| format!("{api:?}"))
        .filter(|api| !models.keys().any(|(name, _)| name == api))
        .collect();
    assert!(missing.is_empty(), "no case of {missing:?}");
}
