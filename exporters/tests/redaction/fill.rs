//! Observations of every kind with the same text in every field that is a text.
//!
//! Every literal names every field, so that a new one breaks the compilation here: put the text into it, and see that
//! `redaction` masks it.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use pipeline::{
    ConnectionKey, Kind, Observation, ProcessKey, SpanContext, Timestamp,
    ids::{SpanId, TraceId},
    observation::{
        Action, Agent, AgentTurn, Api, Body, Build, CallError, Connection, ConnectionFacts, ConnectionPhase, Content,
        ContentMode, Deed, Dns, Document, Endpoint, Evidence, Exchange, File, Finding, Headers, Heartbeat, Host,
        Implementation, McpCall, McpError, McpHttp, McpTarget, Message, MessagePart, ModelCall, NameSource, OnBehalf,
        OpaqueCall, Operation, Owner, Parameters, Process, ProcessInfo, ProcessPhase, Protocol, Reply, Request,
        RequestedTool, Response, Role, Security, ServerAddress, Severity, Target, Thread, ToolCall, ToolContent,
        ToolDefinition, ToolResult, Transport, TurnEnd, Usage, Workload,
        metrics::{Data, Metric, Metrics, Point, Temporality},
    },
    record::Value,
};
use serde_json::json;

const TIME: Timestamp = Timestamp(1_000);
const KEY: ProcessKey = ProcessKey { tgid: 7, start: 8 };

fn address() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 443))
}

/// Puts one text everywhere.
pub struct Fill<'a>(pub &'a str);

impl Fill<'_> {
    fn text(&self) -> String {
        format!("see {} there", self.0)
    }
    fn some(&self) -> Option<String> {
        Some(self.text())
    }
    fn list(&self) -> Vec<String> {
        vec![self.text()]
    }
    fn json(&self) -> serde_json::Value {
        let inner = json!({"note": self.text()}).to_string();
        json!({"note": self.text(), "list": [self.text()], self.0: {"inner": inner, "n": 1}})
    }

    fn process(&self) -> ProcessInfo {
        ProcessInfo {
            key: KEY,
            parent: None,
            started: TIME,
            executed: TIME,
            exec_count: 1,
            executable: format!("/opt/{}", self.text()),
            build: Some(Build { gnu: self.some(), hash: self.text() }),
            args: vec!["tool".into(), self.text(), "--verbose".into()],
            args_truncated: true,
            cwd: self.some(),
            serves_models: false,
            uid: 1,
            gid: 1,
            user: self.some(),
            cgroup: self.some(),
            workload: Some(Arc::new(Workload {
                container_id: self.some(),
                runtime: self.some(),
                container_name: self.some(),
                image_name: self.some(),
                image_tag: self.some(),
                pod_uid: self.some(),
                pod_name: self.some(),
                namespace: self.some(),
                pod_container: self.some(),
                owner: Some(Owner::Deployment { name: self.text(), replica_set: self.text() }),
                node: self.some(),
                labels: BTreeMap::from([("team".into(), self.text())]),
                unit: self.some(),
            })),
            markers: BTreeMap::from([("AI_AGENT".into(), self.text())]),
            agent: Some(Agent { name: self.text(), version: self.some(), known: true }),
            service_name: self.some(),
            host: Arc::new(Host {
                name: self.text(),
                id: self.some(),
                boot_id: self.text(),
                arch: self.text(),
                kernel: self.text(),
                node: self.some(),
            }),
        }
    }

    fn facts(&self) -> Arc<ConnectionFacts> {
        Arc::new(ConnectionFacts {
            peer: Some(address()),
            local: Some(address()),
            server_name: self.some(),
            alpn: self.list(),
            resolved_name: self.some(),
        })
    }

    fn parts(&self) -> Vec<MessagePart> {
        let all = vec![
            MessagePart::Text { content: self.text() },
            MessagePart::Reasoning { content: self.text() },
            MessagePart::ToolCall { id: self.some(), name: self.text(), arguments: Some(self.json()) },
            MessagePart::ToolCallResponse { id: self.some(), response: self.json() },
            MessagePart::ServerToolCall { id: self.some(), name: self.text(), server_tool_call: self.json() },
            MessagePart::ServerToolCallResponse { id: self.some(), server_tool_call_response: self.json() },
            MessagePart::Blob { mime_type: self.some(), modality: self.text(), content: self.text() },
            MessagePart::File { mime_type: self.some(), modality: self.text(), file_id: self.text() },
            MessagePart::Uri { mime_type: self.some(), modality: self.text(), uri: self.text() },
            MessagePart::Compaction { id: self.some(), content: self.some() },
            MessagePart::Other(self.json()),
        ];
        // A new one belongs above, too.
        for part in &all {
            match part {
                MessagePart::Text { .. }
                | MessagePart::Reasoning { .. }
                | MessagePart::ToolCall { .. }
                | MessagePart::ToolCallResponse { .. }
                | MessagePart::ServerToolCall { .. }
                | MessagePart::ServerToolCallResponse { .. }
                | MessagePart::Blob { .. }
                | MessagePart::File { .. }
                | MessagePart::Uri { .. }
                | MessagePart::Compaction { .. }
                | MessagePart::Other(_) => {}
            }
        }
        all
    }

    fn content(&self) -> Option<Box<Content>> {
        let message =
            || Message { role: self.text(), parts: self.parts(), name: self.some(), finish_reason: self.some() };
        Some(Box::new(Content {
            mode: ContentMode::SpanAndEvent,
            system_instructions: self.parts(),
            input: vec![message()],
            output: vec![message()],
            tools: vec![ToolDefinition {
                kind: self.text(),
                name: self.text(),
                description: self.some(),
                parameters: Some(self.json()),
            }],
            query: self.some(),
            documents: vec![Document { id: self.some(), score: Some(0.5) }],
        }))
    }

    fn tool_content(&self) -> Option<Box<ToolContent>> {
        Some(Box::new(ToolContent {
            mode: ContentMode::SpanAndEvent,
            arguments: Some(self.json()),
            result: Some(self.json()),
        }))
    }

    fn exchange(&self) -> Exchange {
        let headers = || Headers(vec![("x-note".into(), self.text())]);
        // Bodies are bytes that no exporter has.
        let body = || Body { bytes: Default::default(), wire_size: 0, omitted: 0, marks: vec![] };
        Exchange {
            connection: ConnectionKey::default(),
            index: 0,
            role: Role::Client,
            tls: true,
            protocol: Protocol::Http1,
            facts: Some(self.facts()),
            request: Request {
                method: self.text(),
                target: self.text(),
                headers: headers(),
                body: body(),
                started: TIME,
                ended: TIME,
            },
            response: Some(Response { status: 200, headers: headers(), body: body(), started: TIME, ended: TIME }),
            losses: vec![],
        }
    }

    fn model_call(&self, provider: String) -> ModelCall {
        ModelCall {
            operation: Operation::Chat,
            provider,
            api: Api::ChatCompletions,
            server: ServerAddress { address: self.text(), port: 443 },
            parameters: Parameters {
                model: self.some(),
                stream: true,
                cumulative: false,
                max_tokens: Some(1),
                temperature: Some(1.0),
                top_p: Some(1.0),
                top_k: Some(1),
                frequency_penalty: Some(1.0),
                presence_penalty: Some(1.0),
                stop_sequences: self.list(),
                seed: Some(1),
                choice_count: Some(2),
                output_type: self.some(),
                reasoning_level: self.some(),
                previous_response_id: self.some(),
                service_tier: self.some(),
                encoding_formats: self.list(),
                dimensions: Some(1),
                prompt_name: self.some(),
                prompt_version: self.some(),
                compacted: Some(true),
                data_source_id: self.some(),
                retrieval_top_k: Some(1),
                stream_cursor: self.some(),
                guardrail_id: self.some(),
                knowledge_base_id: self.some(),
            },
            reply: Reply {
                status: Some(200),
                id: self.some(),
                model: self.some(),
                finish_reasons: self.list(),
                response_status: self.some(),
                service_tier: self.some(),
                system_fingerprint: self.some(),
                time_to_first_chunk: Some(Duration::ZERO),
                last_chunk: Some(TIME),
                chunks: Some(1),
            },
            usage: Usage::default(),
            error: Some(CallError { kind: self.text(), message: self.some() }),
            conversation_id: self.some(),
            thread: Thread {
                messages: vec![1],
                system: None,
                from_user: true,
                has_tools: true,
                asked: vec![1],
                tool_results: vec![ToolResult { id: self.text(), is_error: false, response: Some(self.json()) }],
            },
            tool_calls: vec![RequestedTool { id: self.some(), name: self.text(), arguments: self.json().to_string() }],
            started: TIME,
            ended: TIME,
            remote_parent: None,
            resend_count: Some(1),
            connection: ConnectionKey::default(),
            facts: Some(self.facts()),
            index: 0,
            losses: vec![],
            content: self.content(),
            turn: None,
        }
    }

    fn mcp_call(&self, target: McpTarget) -> McpCall {
        let side = || Implementation { name: self.some(), version: self.some() };
        McpCall {
            role: Role::Client,
            method: self.text(),
            id: self.some(),
            target: Some(target),
            jsonrpc_version: self.some(),
            protocol_version: self.some(),
            session_id: self.some(),
            http: Some(McpHttp {
                protocol: Protocol::Http1,
                server: Some(ServerAddress { address: self.text(), port: 443 }),
                client: Some(address()),
                status: Some(200),
            }),
            client: side(),
            server: side(),
            peer: None,
            caller: None,
            ordinal: 0,
            started: TIME,
            ended: TIME,
            arguments: None,
            raw_arguments: self.some(),
            raw_result: self.some(),
            content: self.tool_content(),
            request_size: 1,
            response_size: Some(1),
            error: Some(McpError { kind: self.text(), code: Some(1), message: self.some() }),
            remote_parent: None,
            program: Some(KEY),
            matched: None,
            losses: vec![],
        }
    }

    fn tool_call(&self) -> ToolCall {
        ToolCall {
            id: self.some(),
            name: self.text(),
            arguments: self.json().to_string(),
            started: TIME,
            ended: TIME,
            evidence: Evidence::Wire,
            matched: None,
            process: None,
            exit: None,
            result_error: true,
            result_seen: true,
            agent_name: self.some(),
            conversation_id: self.some(),
            content: self.tool_content(),
            mcp: Some(Box::new(self.mcp_call(McpTarget::Tool(self.text())))),
        }
    }

    fn turn(&self) -> AgentTurn {
        AgentTurn {
            number: 0,
            agent_name: self.text(),
            agent_version: self.some(),
            conversation_id: self.some(),
            provider: self.some(),
            started: TIME,
            ended: TIME,
            model_calls: 1,
            tool_calls: 1,
            end: TurnEnd::Answered,
            error: self.some(),
            content: self.content(),
            model: self.some(),
            finish_reasons: self.list(),
            usage: Usage::default(),
        }
    }

    fn opaque_call(&self) -> OpaqueCall {
        OpaqueCall {
            provider: self.some(),
            server_name: self.text(),
            name_source: NameSource::Sni,
            facts: self.facts(),
            started: TIME,
            ended: TIME,
            sent: 1,
            received: 1,
            first_byte: None,
        }
    }

    fn file(&self) -> File {
        File {
            deed: Deed::Rename,
            path: format!("/srv/{}", self.text()),
            resolved: true,
            other: self.some(),
            error: None,
            mode: None,
            flags: None,
            created: false,
            owner: None,
            group: None,
            length: None,
            read: None,
            written: None,
            mapped: false,
            operations: 1,
            duration: Duration::ZERO,
            sensitive: self.some(),
            folded: false,
        }
    }

    /// Actions with texts, and one of those that have none.
    fn actions(&self) -> Vec<Action> {
        let all = vec![
            Action::Mount { source: self.some(), target: self.some(), kind: self.some(), flags: 0 },
            Action::Unmount { target: self.some(), flags: 0 },
            Action::Root { target: self.some() },
            Action::Module { name: self.some(), removed: false },
            Action::Memfd { name: self.some() },
            Action::MemfdExec { name: self.some() },
            Action::SensitiveFile { path: self.text(), category: self.text() },
            Action::Signal { signal: 9, target: Target { pid: 1, inner: false, process: None } },
            Action::System { name: self.some(), request: self.some(), target: None },
        ];
        for action in &all {
            match action {
                Action::Mount { source: _, target: _, kind: _, flags: _ }
                | Action::Unmount { target: _, flags: _ }
                | Action::Root { target: _ }
                | Action::Module { name: _, removed: _ }
                | Action::Memfd { name: _ }
                | Action::MemfdExec { name: _ }
                | Action::System { name: _, request: _, target: _ }
                | Action::SensitiveFile { path: _, category: _ } => {}
                // Numbers only.
                Action::SetUser { old: _, new: _ }
                | Action::SetGroup { old: _, new: _ }
                | Action::SetFileSystemId { group: _, old: _, new: _ }
                | Action::SetGroups { groups: _, count: _ }
                | Action::Descriptor { target: _ }
                | Action::IoUring { operation: _ }
                | Action::Capabilities { old: _, new: _ }
                | Action::Trace { request: _, target: _ }
                | Action::Memory { write: _, target: _, bytes: _ }
                | Action::Namespaces { flags: _ }
                | Action::Bpf { command: _ }
                | Action::Bind { address: _ }
                | Action::Signal { signal: _, target: _ } => {}
            }
        }
        all
    }

    fn connection(&self) -> Connection {
        Connection {
            phase: ConnectionPhase::Connect,
            transport: Transport::Unix,
            served: false,
            local: Some(Endpoint::Unix(self.text())),
            peer: Some(Endpoint::Unix(self.text())),
            name: self.some(),
            name_source: Some(NameSource::Dns),
            started: TIME,
            connect: None,
            error: None,
            ended: None,
            sent: None,
            received: None,
            backlog: None,
        }
    }

    fn dns(&self) -> Dns {
        Dns {
            name: self.text(),
            kind: self.text(),
            code: self.some(),
            addresses: self.list(),
            aliases: self.list(),
            truncated: false,
            server: None,
            transport: Transport::Udp,
            attempts: 1,
            started: TIME,
            duration: None,
        }
    }

    /// Every shape of a value.
    fn attributes(&self) -> Vec<(&'static str, Value)> {
        let all = vec![
            ("onlooker.finding.text", Value::Str(self.text())),
            ("onlooker.finding.list", Value::Strings(self.list())),
            ("onlooker.finding.json", Value::Json(self.json())),
            ("onlooker.finding.int", Value::Int(1)),
        ];
        for (_, value) in &all {
            match value {
                Value::Str(_) | Value::Strings(_) | Value::Json(_) => {}
                Value::Int(_) | Value::Double(_) | Value::Bool(_) => {}
            }
        }
        all
    }

    fn finding(&self) -> Finding {
        Finding {
            name: "onlooker.finding.x",
            severity: Severity::Warn,
            message: self.text(),
            attributes: self.attributes(),
        }
    }

    fn heartbeat(&self) -> Heartbeat {
        Heartbeat {
            sequence: 0,
            last: false,
            probes: vec![(self.text(), self.some())],
            counts: vec![(self.text(), 1)],
            deltas: vec![(self.text(), 1)],
        }
    }

    fn metrics(&self) -> Metrics {
        let point = Point {
            attributes: vec![("gen_ai.request.model", Value::Str(self.text()))],
            start: TIME,
            time: TIME,
            data: Data::Counter(1),
        };
        let metric = Metric {
            name: "gen_ai.client.token.usage",
            unit: "{token}",
            description: "Tokens.",
            temporality: Temporality::Cumulative,
            points: vec![point],
        };
        Metrics { metrics: vec![metric] }
    }

    /// One of each kind, and of each variant that has a text of its own.
    pub fn observations(&self) -> Vec<Observation> {
        let mut kinds = vec![
            Kind::Exchange(self.exchange().into()),
            // Some attributes go out for some providers only.
            Kind::ModelCall(self.model_call(self.text()).into()),
            Kind::ModelCall(self.model_call("openai".into()).into()),
            Kind::ModelCall(self.model_call("aws.bedrock".into()).into()),
            Kind::ToolCall(self.tool_call().into()),
            Kind::AgentTurn(self.turn().into()),
            Kind::McpCall(self.mcp_call(McpTarget::Tool(self.text())).into()),
            Kind::McpCall(self.mcp_call(McpTarget::Prompt(self.text())).into()),
            Kind::McpCall(self.mcp_call(McpTarget::Resource(self.text())).into()),
            Kind::OpaqueCall(self.opaque_call().into()),
            Kind::Process(Process { phase: ProcessPhase::Exec }.into()),
            Kind::File(self.file().into()),
            Kind::Connection(self.connection().into()),
            Kind::Dns(self.dns().into()),
            Kind::Finding(self.finding().into()),
            Kind::Heartbeat(self.heartbeat().into()),
            Kind::Metrics(self.metrics().into()),
        ];
        kinds.extend(
            self.actions()
                .into_iter()
                .map(|action| Kind::Security(Security { action, call: "call", error: None, operations: 1 }.into())),
        );
        for kind in &kinds {
            match kind {
                Kind::Exchange(_)
                | Kind::ModelCall(_)
                | Kind::ToolCall(_)
                | Kind::AgentTurn(_)
                | Kind::McpCall(_)
                | Kind::OpaqueCall(_)
                | Kind::Process(_)
                | Kind::File(_)
                | Kind::Security(_)
                | Kind::Connection(_)
                | Kind::Dns(_)
                | Kind::Finding(_)
                | Kind::Heartbeat(_)
                | Kind::Metrics(_) => {}
            }
        }
        let process = Arc::new(self.process());
        let job = {
            let mut job = self.process();
            job.key.tgid = 9;
            if let Some(workload) = &job.workload {
                let owner = Some(Owner::CronJob { name: self.text(), job: self.text() });
                job.workload = Some(Arc::new(Workload { owner, ..Workload::clone(workload) }));
            }
            Arc::new(job)
        };
        let behalf = Arc::new(OnBehalf { name: self.some(), conversation_id: self.some() });
        let number = |number: usize| u8::try_from(number + 1).unwrap_or(u8::MAX);
        let observe = |(at, kind): (usize, Kind)| Observation {
            time: TIME,
            process: if at % 2 == 0 { Arc::clone(&process) } else { Arc::clone(&job) },
            context: Some(SpanContext {
                trace_id: TraceId([1; 16]),
                span_id: SpanId([number(at); 8]),
                parent_span_id: None,
            }),
            link: None,
            kind,
            agent: Some(Arc::clone(&behalf)),
            envelope: None,
        };
        kinds.into_iter().enumerate().map(observe).collect()
    }
}
