//! Everything that onlooker can say, under both profiles and with content: each name is the conventions' or registered as
//! our own, each value of its type and, where there is an enumeration, of its values. And nothing in the table is idle.

use std::collections::{BTreeMap, BTreeSet};

use pipeline::{
    observation::{
        Action, Build, Connection, ConnectionFacts, ConnectionPhase, Content, Deed, Dns, Document, Endpoint, Failure,
        File, Ids, Implementation, Link, McpCall, McpError, McpHttp, McpMatch, Message, MessagePart, Modalities,
        NameSource, OnBehalf, OpaqueCall, Owner, Protocol, Security, Target, ToolContent, ToolDefinition, Transport,
        Workload,
        metrics::{Data, Metric, Metrics, Point, Temporality},
    },
    record::Envelope,
    semconv::Profile,
};
use serde_json::{Value as Json, json};

use super::{tests::*, *};

/// Type and values of an attribute; instrument and unit of a metric.
type Row = (String, Vec<String>);

#[derive(Default)]
struct Registry {
    attributes: BTreeMap<String, Row>,
    /// Names of `next` alone.
    next: BTreeSet<String>,
    /// Names that go out only on request.
    requested: BTreeSet<String>,
    events: BTreeSet<String>,
}

fn registry() -> Registry {
    let mut found = Registry::default();
    let mut section = 0;
    for line in include_str!("../../../pipeline/registry/semconv.txt").lines() {
        if line.starts_with('#') {
            section +=
                usize::from(["# Added", "# Not of", "# Events", "# Metrics."].iter().any(|s| line.starts_with(s)));
            section += usize::from(line.starts_with("# Metrics,"));
            continue;
        }
        let (head, values) = line.split_once(" = ").unwrap_or((line, ""));
        let (name, kind) = head.split_once(' ').unwrap();
        match section {
            0..=2 => {
                let row = (kind.to_owned(), values.split_whitespace().map(Into::into).collect());
                found.attributes.insert(name.into(), row);
                if section == 1 {
                    found.next.insert(name.into());
                } else if section == 2 {
                    found.requested.insert(name.into());
                }
            }
            3 => drop(found.events.insert(name.into())),
            _ => {}
        }
    }
    let own: serde_yaml::Value =
        serde_yaml::from_str(include_str!("../../../pipeline/registry/onlooker.yaml")).unwrap();
    let text = |value: &serde_yaml::Value| value.as_str().unwrap().to_owned();
    for group in own["groups"].as_sequence().unwrap() {
        match group["type"].as_str().unwrap() {
            "attribute_group" => {
                for attribute in group["attributes"].as_sequence().unwrap() {
                    let row = match attribute["type"].as_str() {
                        Some(kind) => (kind.to_owned(), Vec::new()),
                        None => {
                            let members = attribute["type"]["members"].as_sequence().unwrap();
                            ("string".into(), members.iter().map(|member| text(&member["value"])).collect())
                        }
                    };
                    found.attributes.insert(text(&attribute["id"]), row);
                }
            }
            "event" => drop(found.events.insert(text(&group["name"]))),
            _ => {}
        }
    }
    found
}

impl Registry {
    fn check(&self, attribute: &Json, profile: Profile, on_request: bool) -> Result<String, String> {
        let name = attribute["key"].as_str().unwrap();
        let value = &attribute["value"];
        let said = format!("{name} = {value}");
        // Of a template, what follows the name is the user's.
        let template = name.strip_prefix(semconv::K8S_POD_LABEL).and_then(|rest| rest.strip_prefix('.'));
        let name = template.map_or(name, |_| semconv::K8S_POD_LABEL);
        let (kind, values) = self.attributes.get(name).ok_or_else(|| format!("no such name: {said}"))?;
        if self.next.contains(name) && profile != Profile::Next {
            return Err(format!("a name of the next profile: {said}"));
        }
        if self.requested.contains(name) && !on_request {
            return Err(format!("nobody asked for it: {said}"));
        }
        let all = |items: &str| {
            value["arrayValue"]["values"].as_array().is_some_and(|all| all.iter().all(|v| v.get(items).is_some()))
        };
        let fits = match kind.as_str() {
            "string" => value.get("stringValue").is_some() && template.is_none(),
            "template[string]" => value.get("stringValue").is_some() && template.is_some(),
            "int" => value.get("intValue").is_some(),
            "double" => value.get("doubleValue").is_some(),
            "boolean" => value.get("boolValue").is_some(),
            "string[]" => all("stringValue"),
            "any" => true,
            other => return Err(format!("unknown type {other}: {said}")),
        };
        if !fits {
            return Err(format!("not of type {kind}: {said}"));
        }
        // The conventions' list of providers is open to others, and so is that of MCP's methods.
        let open = [semconv::GEN_AI_PROVIDER_NAME, semconv::MCP_METHOD_NAME, semconv::OPENAI_REQUEST_SERVICE_TIER]
            .contains(&name);
        if !values.is_empty()
            && !open
            && !value["stringValue"].as_str().is_some_and(|value| values.iter().any(|v| v == value))
        {
            return Err(format!("no value of the enumeration: {said}"));
        }
        Ok(name.into())
    }
}

fn content(mode: ContentMode) -> Content {
    let part = |part| vec![part];
    Content {
        mode,
        system_instructions: part(MessagePart::text("be brief")),
        input: vec![
            Message {
                role: "user".into(),
                parts: part(MessagePart::text("what is the time?")),
                ..Message::default()
            };
            9
        ],
        output: vec![Message {
            role: "assistant".into(),
            parts: part(MessagePart::tool_call(Some("call_1".into()), "shell", "{\"command\":\"date\"}")),
            finish_reason: Some("tool_call".into()),
            ..Message::default()
        }],
        tools: vec![ToolDefinition { kind: "function".into(), name: "shell".into(), ..ToolDefinition::default() }],
        query: Some("time".into()),
        documents: vec![Document { id: Some("1".into()), score: Some(0.5) }],
    }
}

/// An observation of each kind with everything that it can have.
fn everything(mode: ContentMode) -> Vec<Observation> {
    let [address, other] = ["192.0.2.1:443", "198.51.100.7:5000"].map(|text| text.parse().unwrap());
    let facts = std::sync::Arc::new(ConnectionFacts {
        peer: Some(address),
        local: Some(other),
        server_name: Some("api.openai.com".into()),
        alpn: vec!["h2".into()],
        ..ConnectionFacts::default()
    });
    let mut agent =
        pipeline::observation::ProcessInfo::clone(&process(10, "/usr/bin/agent", &["agent", "-p"], Some("agent")));
    agent.args_truncated = true;
    agent.build = Some(Build { gnu: Some("ab".into()), hash: "cd".into() });
    let mut host = Host::clone(&agent.host);
    host.node = Some("node".into());
    agent.host = host.into();
    let text = || Some("text".to_owned());
    let owner = |owner| {
        std::sync::Arc::new(Workload {
            container_id: text(),
            runtime: text(),
            container_name: text(),
            image_name: text(),
            image_tag: text(),
            pod_uid: text(),
            pod_name: text(),
            namespace: text(),
            pod_container: text(),
            owner: Some(owner),
            node: text(),
            labels: [("app.kubernetes.io/name".to_owned(), "text".to_owned())].into(),
            unit: text(),
        })
    };
    agent.workload = Some(owner(Owner::Deployment { name: "d".into(), replica_set: "r".into() }));
    let mut job = agent.clone();
    (job.key.tgid, job.workload) = (12, Some(owner(Owner::CronJob { name: "c".into(), job: "j".into() })));
    let name = || "n".to_owned();
    let owners = [
        Owner::ReplicaSet { name: name() },
        Owner::StatefulSet { name: name() },
        Owner::DaemonSet { name: name() },
        Owner::Job { name: name() },
    ];
    let owned = (30..).zip(owners).map(|(tgid, owned)| {
        let mut process = agent.clone();
        (process.key.tgid, process.workload) = (tgid, Some(owner(owned)));
        std::sync::Arc::new(process)
    });
    let owned: Vec<_> = owned.collect();
    let (agent, job) = (std::sync::Arc::new(agent), std::sync::Arc::new(job));

    let mut kinds: Vec<(std::sync::Arc<pipeline::observation::ProcessInfo>, Kind)> = Vec::new();
    let mut turn_of_test = turn();
    let Kind::ModelCall(call) = turn_of_test.remove(0).kind else { panic!() };
    for (operation, provider) in [
        (Operation::Chat, "openai"),
        (Operation::GenerateContent, "aws.bedrock"),
        (Operation::TextCompletion, "azure.ai.openai"),
        (Operation::Embeddings, "openai"),
        (Operation::Retrieval, "openai"),
        (Operation::FetchResponse, "openai"),
    ] {
        let mut call = call.clone();
        (call.operation, call.provider) = (operation, provider.into());
        call.parameters = Parameters {
            model: text(),
            stream: true,
            max_tokens: Some(1),
            temperature: Some(0.0),
            top_p: Some(1.0),
            top_k: Some(1),
            frequency_penalty: Some(1.0),
            presence_penalty: Some(1.0),
            stop_sequences: vec!["END".into()],
            seed: Some(1),
            choice_count: Some(2),
            output_type: Some("json".into()),
            reasoning_level: text(),
            previous_response_id: text(),
            service_tier: text(),
            encoding_formats: vec!["float".into()],
            dimensions: Some(1),
            prompt_name: text(),
            prompt_version: text(),
            compacted: Some(true),
            data_source_id: text(),
            retrieval_top_k: Some(1),
            stream_cursor: text(),
            guardrail_id: text(),
            knowledge_base_id: text(),
            ..Parameters::default()
        };
        call.reply = Reply {
            status: Some(200),
            id: text(),
            model: text(),
            finish_reasons: vec!["stop".into()],
            response_status: Some("completed".into()),
            service_tier: text(),
            system_fingerprint: text(),
            time_to_first_chunk: Some(Duration::from_millis(1)),
            last_chunk: Some(at(2)),
            chunks: Some(2),
        };
        let one = Some(1);
        call.usage = Usage {
            input: one,
            output: one,
            cache_read: one,
            cache_creation: one,
            reasoning: one,
            modalities: Modalities {
                text_input: one,
                image_input: one,
                audio_input: one,
                text_output: one,
                image_output: one,
                audio_output: one,
                text_cache_read: one,
                image_cache_read: one,
                audio_cache_read: one,
            },
        };
        call.error = Some(CallError { kind: "stream_interrupted".into(), message: text() });
        call.losses = vec![Loss { part: Part::Response, reason: LossReason::Dropped, bytes: 7 }];
        call.resend_count = Some(2);
        call.facts = Some(std::sync::Arc::clone(&facts));
        call.content = Some(Box::new(content(mode)));
        kinds.push((agent.clone(), Kind::ModelCall(call)));
    }
    let tool_content = || {
        Some(Box::new(ToolContent {
            mode,
            arguments: Some(json!({"command": "date"})),
            result: Some(json!({"out": "now"})),
        }))
    };
    let mut mcp = McpCall::new(Role::Client, "tools/call", at(1));
    mcp.id = text();
    mcp.target = Some(McpTarget::Tool("shell".into()));
    mcp.jsonrpc_version = Some("1.0".into());
    mcp.protocol_version = text();
    mcp.session_id = text();
    mcp.client = Implementation { name: text(), version: text() };
    mcp.server = Implementation { name: text(), version: text() };
    mcp.peer = Some(agent.key);
    mcp.response_size = Some(1);
    mcp.error = Some(McpError { kind: "-32603".into(), code: Some(-32603), message: text() });
    mcp.content = tool_content();
    mcp.matched = Some(McpMatch::Name);
    mcp.losses = vec![Loss { part: Part::Request, reason: LossReason::Memory, bytes: 7 }];
    let mut served = mcp.clone();
    served.role = Role::Server;
    served.http = Some(McpHttp {
        protocol: Protocol::Http2,
        server: Some(ServerAddress { address: "localhost".into(), port: 80 }),
        client: Some(other),
        status: Some(500),
    });
    let mut prompt = served.clone();
    (prompt.method, prompt.target) = ("prompts/get".into(), Some(McpTarget::Prompt("p".into())));
    let mut resource = served.clone();
    (resource.method, resource.target) = ("resources/read".into(), Some(McpTarget::Resource("file:///x".into())));
    for call in [mcp.clone(), served, prompt, resource] {
        kinds.push((agent.clone(), Kind::McpCall(Box::new(call))));
    }
    for observation in turn() {
        let kind = match observation.kind {
            Kind::ToolCall(mut call) => {
                call.content = tool_content();
                call.mcp = Some(Box::new(mcp.clone()));
                Kind::ToolCall(call)
            }
            Kind::AgentTurn(mut turn) => {
                turn.content = Some(Box::new(content(mode)));
                turn.finish_reasons = vec!["stop".into()];
                Kind::AgentTurn(turn)
            }
            other => other,
        };
        kinds.push((agent.clone(), kind));
    }
    let phases = [
        ProcessPhase::Found,
        ProcessPhase::Fork,
        ProcessPhase::Exec,
        ProcessPhase::Replaced,
        ProcessPhase::Exit(Exit { code: 0, signal: Some(9) }),
    ];
    kinds.extend(phases.map(|phase| (job.clone(), Kind::Process(Box::new(Process { phase })))));
    kinds.extend(
        owned.into_iter().map(|process| (process, Kind::Process(Box::new(Process { phase: ProcessPhase::Fork })))),
    );
    kinds.push((
        agent.clone(),
        Kind::OpaqueCall(Box::new(OpaqueCall {
            provider: Some("openai".into()),
            server_name: "api.openai.com".into(),
            name_source: NameSource::Sni,
            facts,
            started: at(1),
            ended: at(2),
            sent: 1,
            received: 1,
            first_byte: Some(Duration::from_millis(3)),
        })),
    ));
    for deed in [
        Deed::Read,
        Deed::Write,
        Deed::Create,
        Deed::Delete,
        Deed::Rename,
        Deed::Link,
        Deed::Symlink,
        Deed::Truncate,
        Deed::Chmod,
        Deed::Chown,
        Deed::Mkdir,
        Deed::Rmdir,
        Deed::Setxattr,
        Deed::Removexattr,
    ] {
        let mut file = File::new(deed, "/home/ann/.ssh/id");
        file.other = text();
        (file.error, file.mode, file.flags) = (Some(13), Some(0o600), Some(0o101));
        (file.owner, file.group, file.length, file.read, file.written) = (Some(0), Some(0), Some(1), Some(1), Some(1));
        file.mapped = true;
        (file.created, file.folded, file.duration) = (true, true, Duration::from_secs(1));
        file.sensitive = text();
        kinds.push((agent.clone(), Kind::File(Box::new(file))));
    }
    let target = Target { pid: 1, inner: false, process: None };
    let ids = Ids::default();
    for action in [
        Action::SetUser { old: ids, new: ids },
        Action::SetGroup { old: ids, new: ids },
        Action::Capabilities { old: 0, new: 1 },
        Action::Trace { request: 16, target },
        Action::Memory { write: true, target, bytes: 1 },
        Action::SetFileSystemId { group: false, old: 0, new: 1 },
        Action::SetFileSystemId { group: true, old: 0, new: 1 },
        Action::SetGroups { groups: vec![4], count: 9 },
        Action::Descriptor { target: Target { inner: true, ..target } },
        Action::System { name: text(), request: text(), target: Some(target) },
        Action::IoUring { operation: Some(18) },
        Action::Mount { source: text(), target: text(), kind: text(), flags: 1 },
        Action::Unmount { target: text(), flags: 1 },
        Action::Root { target: text() },
        Action::Namespaces { flags: 0x20000 },
        Action::Module { name: text(), removed: false },
        Action::Bpf { command: 5 },
        Action::Memfd { name: text() },
        Action::MemfdExec { name: text() },
        Action::Bind { address },
        Action::Signal { signal: 9, target },
        Action::SensitiveFile { path: "/etc/shadow".into(), category: "accounts".into() },
    ] {
        let security = Security { action, call: "call", error: Some(1), operations: 2 };
        kinds.push((agent.clone(), Kind::Security(Box::new(security))));
    }
    for phase in [
        ConnectionPhase::Connect,
        ConnectionPhase::Close,
        ConnectionPhase::Listen,
        ConnectionPhase::Accept { count: 2 },
    ] {
        for transport in [Transport::Tcp, Transport::Other(132)] {
            let mut connection = Connection::new(phase, transport, at(1));
            connection.peer = Some(Endpoint::Ip(address));
            connection.local = Some(Endpoint::Ip(other));
            (connection.name, connection.name_source) = (text(), Some(NameSource::Dns));
            (connection.connect, connection.ended) = (Some(Duration::from_millis(1)), Some(at(2)));
            connection.error = Some(Failure::Errno(111));
            (connection.sent, connection.received, connection.backlog) = (Some(1), Some(1), Some(5));
            kinds.push((agent.clone(), Kind::Connection(Box::new(connection))));
        }
    }
    kinds.push((
        agent.clone(),
        Kind::Dns(Box::new(Dns {
            name: "api.openai.com".into(),
            kind: "AAAA".into(),
            code: Some("NXDOMAIN".into()),
            addresses: vec!["::1".into()],
            aliases: vec!["alias".into()],
            truncated: true,
            server: Some(address),
            transport: Transport::Udp,
            attempts: 2,
            started: at(1),
            duration: Some(Duration::from_millis(1)),
        })),
    ));
    let mut all: Vec<Observation> =
        kinds.into_iter().map(|(process, kind)| placed(3, &process, "span", Some("parent"), kind)).collect();
    all.extend(others());
    for observation in &mut all {
        if let Kind::Heartbeat(heartbeat) = &mut observation.kind {
            heartbeat.deltas = vec![("kernel.dropped".into(), 1)];
        }
    }
    let behalf = std::sync::Arc::new(OnBehalf { name: text(), conversation_id: text() });
    all.iter_mut().for_each(|observation| observation.agent = Some(behalf.clone()));
    for (observation, link) in all.iter_mut().zip(Link::ALL.iter().cycle()) {
        observation.link = Some(*link);
    }
    // Signed, everything becomes a record.
    let mut signed = all.clone();
    for observation in &mut signed {
        let envelope = Envelope { json: "{}".into(), sequence: 1, key_id: "key".into() };
        observation.envelope = Some(std::sync::Arc::new(envelope));
    }
    all.extend(signed);
    all
}

/// The lists of attributes in a request, and the names of its events.
fn walk(json: &Json, attributes: &mut Vec<Json>, events: &mut BTreeSet<String>) {
    match json {
        Json::Array(items) => items.iter().for_each(|item| walk(item, attributes, events)),
        Json::Object(members) => {
            for (key, value) in members {
                match (key.as_str(), value) {
                    ("attributes", Json::Array(list)) => attributes.extend(list.iter().cloned()),
                    ("eventName", Json::String(name)) => drop(events.insert(name.clone())),
                    ("events", Json::Array(list)) => {
                        events.extend(list.iter().filter_map(|event| Some(event["name"].as_str()?.to_owned())));
                        walk(value, attributes, events);
                    }
                    _ => walk(value, attributes, events),
                }
            }
        }
        _ => {}
    }
}

#[test]
fn nothing_goes_out_that_no_registry_knows() {
    let registry = registry();
    let (mut emitted, mut problems) = (BTreeSet::new(), BTreeSet::new());
    let mut all_events = BTreeSet::new();
    for profile in [Profile::V2026_08, Profile::Next] {
        for on_request in [false, true] {
            for mode in [ContentMode::SpanAndEvent, ContentMode::NoContent] {
                let limits = limits::Limits {
                    attribute_value_length: Some(if on_request { 64 } else { 9999 }),
                    ..Default::default()
                };
                let compatibility = Compatibility {
                    openinference: on_request,
                    span_events: on_request,
                    gen_ai_system: on_request,
                    ..Compatibility::default()
                };
                let options = options::Options { semconv: profile, limits: &limits, compatibility: &compatibility };
                let (encoder, all) = (options.encoder(), everything(mode));
                let (mut attributes, mut events) = (Vec::new(), BTreeSet::new());
                for request in
                    [Request::Traces(encoder.traces(&all).unwrap().0), Request::Logs(encoder.logs(&all).unwrap().0)]
                {
                    let json: Json = serde_json::from_str(&json::line(&request).unwrap()).unwrap();
                    walk(&json, &mut attributes, &mut events);
                }
                assert_eq!(
                    encoder.items(Signal::Logs, &all) + encoder.items(Signal::Traces, &all),
                    encoder.logs(&all).unwrap().1 + encoder.traces(&all).unwrap().1
                );
                for attribute in &attributes {
                    match registry.check(attribute, profile, on_request) {
                        Ok(name) => drop(emitted.insert(name)),
                        Err(problem) => drop(problems.insert(format!("{profile:?}: {problem}"))),
                    }
                }
                if profile == Profile::Next {
                    let old = semconv::GEN_AI_USAGE_CACHE_CREATION_INPUT_TOKENS;
                    assert!(attributes.iter().all(|attribute| attribute["key"] != old));
                }
                let unknown = events.iter().filter(|name| !registry.events.contains(*name));
                problems.extend(unknown.map(|name| format!("{profile:?}: no such event: {name}")));
                all_events.extend(events);
            }
        }
    }
    assert!(problems.is_empty(), "{problems:#?}");
    // What the table has and nothing above said: it is for metrics, or the test is not whole.
    let metrics = [semconv::GEN_AI_TOKEN_MODALITY, semconv::GEN_AI_TOKEN_TYPE, semconv::OTEL_METRIC_OVERFLOW];
    let idle: Vec<_> =
        semconv::ATTRIBUTES.iter().filter(|name| !emitted.contains(**name) && !metrics.contains(name)).collect();
    assert!(idle.is_empty(), "{idle:?}");
    let idle: Vec<_> = semconv::event::ALL.iter().filter(|name| !all_events.contains(**name)).collect();
    assert!(idle.is_empty(), "{idle:?}");
}

/// The attributes of the details event are exactly those of the span, but that content is structured there.
#[test]
fn details_are_those_of_the_span() {
    let all: Vec<Observation> = everything(ContentMode::SpanAndEvent)
        .into_iter()
        .filter(|observation| match &observation.kind {
            Kind::ModelCall(call) => call.operation.is_inference() && call.content.is_some(),
            _ => false,
        })
        .filter(|observation| observation.envelope.is_none())
        .collect();
    for profile in [Profile::V2026_08, Profile::Next] {
        let options =
            options::Options { semconv: profile, limits: &Default::default(), compatibility: &Default::default() };
        let encoder = options.encoder();
        for observation in &all {
            let span = encoder.span(observation).unwrap();
            let records = encoder.log_records(observation);
            let [details, exception] = records.as_slice() else { panic!("{records:?}") };
            assert_eq!(details.event_name, "gen_ai.client.inference.operation.details");
            assert_eq!((&details.trace_id, &details.span_id), (&span.trace_id, &span.span_id));
            let names = |attributes: &[KeyValue]| attributes.iter().map(|kv| kv.key.clone()).collect::<Vec<_>>();
            assert_eq!(names(&details.attributes), names(&span.attributes));
            for (event, span) in details.attributes.iter().zip(&span.attributes) {
                let structured = matches!(
                    event.value.as_ref().and_then(|value| value.value.as_ref()),
                    Some(any_value::Value::ArrayValue(list)) if list.values.iter().any(|value|
                        matches!(value.value, Some(any_value::Value::KvlistValue(_))))
                );
                assert!(structured || event == span, "{event:?}");
            }
            assert_eq!(exception.event_name, "gen_ai.client.operation.exception");
            assert_eq!(
                (exception.severity_number, names(&exception.attributes).as_slice()),
                (13, &["exception.type".to_owned(), "exception.message".to_owned()][..])
            );
            let error = details.attributes.iter().find(|kv| kv.key == "error.type").unwrap();
            assert_eq!(error.value, exception.attributes[0].value);
            assert_eq!(
                names(&span.attributes).contains(&"gen_ai.usage.image.input_tokens".to_owned()),
                profile == Profile::Next
            );
            let text = serde_json::to_string(&span).unwrap();
            assert_eq!(text.contains("\\\"finish_reason\\\""), profile == Profile::V2026_08, "{text}");
            let reasons = span.attributes.iter().find(|kv| kv.key == "gen_ai.response.finish_reasons").unwrap();
            assert_eq!(format!("{reasons:?}").contains("\"error\""), profile == Profile::Next);
        }
    }
}

#[test]
fn metric_points_have_names_of_the_conventions() {
    let point = Point {
        attributes: vec![(semconv::GEN_AI_TOKEN_TYPE, "input".into())],
        start: at(0),
        time: at(1),
        data: Data::Counter(1),
    };
    let metric = Metric {
        name: "gen_ai.client.token.usage",
        unit: "{token}",
        description: "",
        temporality: Temporality::Delta,
        points: vec![point],
    };
    let observation = Observation::new(
        at(1),
        process(1, "/bin/a", &[], Some("a")),
        Kind::Metrics(Box::new(Metrics { metrics: vec![metric] })),
    );
    let (request, count) = metrics(&[observation]).unwrap();
    assert_eq!(count, 1);
    let json: Json = serde_json::from_str(&json::line(&Request::Metrics(request)).unwrap()).unwrap();
    let (mut attributes, mut events) = (Vec::new(), BTreeSet::new());
    walk(&json, &mut attributes, &mut events);
    for attribute in &attributes {
        registry().check(attribute, Profile::V2026_08, false).unwrap();
    }
}

/// What an operator switches on and off is what changes.
#[test]
fn compatibility_is_what_was_asked_for() {
    let all: Vec<Observation> = everything(ContentMode::SpanAndEvent)
        .into_iter()
        .filter(|observation| observation.envelope.is_none())
        .collect();
    let with = |compatibility: Compatibility| {
        options::Options { semconv: Profile::default(), limits: &Default::default(), compatibility: &compatibility }
            .encoder()
    };
    let spans = |encoder: &Encoder| all.iter().filter_map(|observation| encoder.span(observation)).collect::<Vec<_>>();
    let has = |span: &Span, key: &str| span.attributes.iter().any(|kv| kv.key == key);
    let plain = with(Compatibility::default());
    assert!(spans(&plain).iter().all(|span| span.events.is_empty() && !has(span, semconv::OPENINFERENCE_SPAN_KIND)));
    let asked = with(Compatibility {
        openinference: true,
        span_events: true,
        gen_ai_system: true,
        agent_usage: false,
        inference_events: Some(false),
        exception_events: false,
    });
    let spans = spans(&asked);
    assert!(spans.iter().all(|span| has(span, semconv::OPENINFERENCE_SPAN_KIND)));
    for span in &spans {
        assert_eq!(has(span, semconv::GEN_AI_SYSTEM), has(span, semconv::GEN_AI_PROVIDER_NAME));
        let turn = span.name.starts_with("invoke_agent");
        assert!(!turn || !has(span, semconv::GEN_AI_USAGE_INPUT_TOKENS));
        let event = span.events.first().map(|event| event.name.as_str());
        let details = span.kind == SpanKind::Client as i32 && has(span, semconv::GEN_AI_OUTPUT_MESSAGES);
        let inference = ["chat", "generate_content", "text_completion"].iter().any(|name| span.name.starts_with(name));
        assert_eq!(event.is_some(), details && inference, "{}", span.name);
    }
    let names = |encoder: &Encoder| -> BTreeSet<String> {
        all.iter().flat_map(|observation| encoder.log_records(observation)).map(|record| record.event_name).collect()
    };
    let conventions = |names: &BTreeSet<String>| names.iter().filter(|name| name.starts_with("gen_ai.")).count();
    assert_eq!((conventions(&names(&plain)), conventions(&names(&asked))), (2, 0));
    // Also for calls without content.
    let without: Vec<Observation> = everything(ContentMode::NoContent);
    let always = with(Compatibility { inference_events: Some(true), ..Compatibility::default() });
    assert!(without.iter().flat_map(|observation| always.log_records(observation)).any(|record| {
        record.event_name == semconv::event::INFERENCE_DETAILS
            && record.attributes.iter().all(|kv| kv.key != semconv::GEN_AI_INPUT_MESSAGES)
    }));
}
