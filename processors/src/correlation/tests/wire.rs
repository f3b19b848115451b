//! The three stages together, from exchanges on the wire.

use std::sync::Arc;

use bytes::Bytes;
use pipeline::{
    BuildContext, ConnectionKey, Kind, Mode, Observation, Processor, Timestamp,
    config::Node,
    observation::{
        AgentTurn, Body, Exchange, Exit, Headers, Match, Process, ProcessInfo, ProcessPhase, Request, Response, Role,
        ToolCall, TurnEnd,
    },
};
use serde_json::{Value, json};

use super::world::key;

struct Stages {
    stages: Vec<Box<dyn Processor>>,
    out: Vec<Observation>,
    now: u64,
    index: u32,
}

impl Stages {
    fn new() -> Self {
        let factories = crate::factories();
        let build = |kind: &str| {
            let context = BuildContext {
                mode: Mode::Service,
                record: None,
                id: kind.into(),
                telemetry: Arc::default(),
                shared: Arc::default(),
            };
            let factory = factories.iter().find(|factory| factory.kind == kind).expect("it is registered");
            factory.build(&Node::Null, &context).expect("its defaults are valid")
        };
        let stages = ["identity", "provider", "correlation"].into_iter().map(build).collect();
        Self { stages, out: Vec::new(), now: 1_000, index: 0 }
    }

    fn push(&mut self, observation: Observation) {
        let mut batch = vec![observation];
        for stage in &mut self.stages {
            let mut next = Vec::new();
            batch.into_iter().for_each(|observation| stage.process(observation, &mut next));
            batch = next;
        }
        self.out.extend(batch);
    }

    fn process(&mut self, info: &Arc<ProcessInfo>, phase: ProcessPhase) {
        self.now += 1_000;
        let kind = Kind::Process(Box::new(Process { phase }));
        self.push(Observation::new(Timestamp(self.now), info.clone(), kind));
    }

    fn exchange(&mut self, info: &Arc<ProcessInfo>, host: &str, target: &str, request: &Value, response: &Value) {
        let started = Timestamp(self.now + 1_000);
        let ended = Timestamp(self.now + 2_000);
        self.now += 2_000;
        self.index += 1;
        let body = |value: &Value| {
            let bytes = Bytes::from(value.to_string());
            Body { wire_size: bytes.len() as u64, bytes, ..Body::default() }
        };
        let headers = |more: &[(&str, &str)]| {
            let json = ("content-type", "application/json");
            Headers(more.iter().chain([&json]).map(|(name, value)| ((*name).into(), (*value).into())).collect())
        };
        let exchange = Exchange {
            connection: ConnectionKey { process: info.key, object: 7, generation: 0 },
            index: self.index,
            role: Role::Client,
            tls: true,
            protocol: pipeline::observation::Protocol::Http1,
            facts: None,
            request: Request {
                method: "POST".into(),
                target: target.into(),
                headers: headers(&[("host", host)]),
                body: body(request),
                started,
                ended: started,
            },
            response: Some(Response {
                status: 200,
                headers: headers(&[]),
                body: body(response),
                started: ended,
                ended,
            }),
            losses: Vec::new(),
        };
        self.push(Observation::new(ended, info.clone(), Kind::Exchange(Box::new(exchange))));
    }

    fn turns(&self) -> Vec<&AgentTurn> {
        self.out.iter().filter_map(|o| if let Kind::AgentTurn(turn) = &o.kind { Some(&**turn) } else { None }).collect()
    }

    fn tools(&self) -> Vec<&ToolCall> {
        self.out.iter().filter_map(|o| if let Kind::ToolCall(tool) = &o.kind { Some(&**tool) } else { None }).collect()
    }
}

fn info(pid: u32, parent: u32, started: u64, args: &[&str]) -> Arc<ProcessInfo> {
    Arc::new(ProcessInfo {
        key: key(pid),
        parent: Some(key(parent)),
        started: Timestamp(started),
        exec_count: 1,
        executable: format!("/usr/bin/{}", args.first().copied().unwrap_or_default()),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        ..ProcessInfo::default()
    })
}

#[test]
fn chat_completions_with_a_tool_are_one_turn() {
    let mut stages = Stages::new();
    let agent = info(10, 1, 0, &["python3", "/srv/triage.py"]);
    stages.process(&agent, ProcessPhase::Exec);
    let tools = json!([{"type": "function", "function": {"name": "shell", "parameters": {}}}]);
    let asked = json!({"role": "user", "content": "what is here?"});
    let call = json!({"role": "assistant", "content": null, "tool_calls": [{"id": "call_1", "type": "function",
        "function": {"name": "shell", "arguments": "{\"command\":\"ls -la | wc -l\"}"}}]});
    let request =
        json!({"model": "gpt-5", "messages": [{"role": "system", "content": "be brief"}, asked], "tools": tools});
    let reply = json!({"id": "c1", "model": "gpt-5", "choices": [{"index": 0, "message": call, "finish_reason": "tool_calls"}]});
    stages.exchange(&agent, "api.openai.com", "/v1/chat/completions", &request, &reply);

    let shell = info(11, 10, stages.now + 100, &["sh", "-c", "ls -la | wc -l"]);
    stages.process(&shell, ProcessPhase::Exec);
    stages.process(&shell, ProcessPhase::Exit(Exit { code: 0, signal: None }));

    let result = json!({"role": "tool", "tool_call_id": "call_1", "content": "3"});
    let messages = json!([{"role": "system", "content": "be brief"}, asked, call, result]);
    let request = json!({"model": "gpt-5", "messages": messages, "tools": tools});
    let done = json!({"role": "assistant", "content": "three files"});
    let reply =
        json!({"id": "c2", "model": "gpt-5", "choices": [{"index": 0, "message": done, "finish_reason": "stop"}]});
    stages.exchange(&agent, "api.openai.com", "/v1/chat/completions", &request, &reply);

    let turns = stages.turns();
    let [turn] = turns.as_slice() else { panic!("one turn: {turns:?}") };
    assert_eq!((turn.agent_name.as_str(), turn.model_calls, turn.end), ("triage", 2, TurnEnd::Answered));
    let tools = stages.tools();
    let [tool] = tools.as_slice() else { panic!("one tool call: {tools:?}") };
    assert_eq!((tool.matched, tool.process, tool.result_seen), (Some(Match::Command), Some(key(11)), true));
    assert_eq!(tool.agent_name.as_deref(), Some("triage"));
}

#[test]
fn messages_with_parallel_tools_and_a_second_question_are_two_turns() {
    let mut stages = Stages::new();
    let agent = info(10, 1, 0, &["claude"]);
    stages.process(&agent, ProcessPhase::Exec);
    let tools = json!([{"name": "Bash", "input_schema": {}}]);
    let asked =
        json!({"role": "user", "content": [{"type": "text", "text": "look", "cache_control": {"type": "ephemeral"}}]});
    let call = json!([
        {"type": "text", "text": "I look."},
        {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"command": "id -u"}},
        {"type": "tool_use", "id": "toolu_2", "name": "Bash", "input": {"command": "echo 'a b'"}}
    ]);
    let reply = |id: &str, content: &Value, reason: &str| {
        json!({"id": id, "type": "message", "role": "assistant", "model": "claude-x", "content": content,
            "stop_reason": reason, "usage": {"input_tokens": 1, "output_tokens": 1}})
    };
    let request = |messages: Value| json!({"model": "claude-x", "max_tokens": 9, "messages": messages, "tools": tools});
    let host = "api.anthropic.com";
    stages.exchange(&agent, host, "/v1/messages?beta=true", &request(json!([asked])), &reply("m1", &call, "tool_use"));

    let script = |quoted: &str| format!("source /h/s.sh || true && eval '{quoted}' \\< /dev/null && pwd -P >| /tmp/c");
    let second = info(12, 10, stages.now + 100, &["/bin/bash", "-c", &script(r#"echo '"'"'a b'"'"'"#)]);
    stages.process(&second, ProcessPhase::Exec);
    let first = info(11, 10, stages.now + 100, &["/bin/bash", "-c", &script("id -u")]);
    stages.process(&first, ProcessPhase::Exec);
    stages.process(&first, ProcessPhase::Exit(Exit::default()));
    stages.process(&second, ProcessPhase::Exit(Exit { code: 1, signal: None }));

    // The cache mark has moved.
    let asked = json!({"role": "user", "content": [{"type": "text", "text": "look"}]});
    let results = json!({"role": "user", "content": [
        {"type": "tool_result", "tool_use_id": "toolu_1", "content": "0"},
        {"type": "tool_result", "tool_use_id": "toolu_2", "content": "no", "is_error": true,
            "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": "<system-reminder>be kind</system-reminder>"}
    ]});
    let answer = json!([{"type": "text", "text": "done"}]);
    let mut messages = vec![asked, json!({"role": "assistant", "content": call}), results];
    stages.exchange(
        &agent,
        host,
        "/v1/messages?beta=true",
        &request(json!(messages)),
        &reply("m2", &answer, "end_turn"),
    );
    messages.push(json!({"role": "assistant", "content": answer}));
    messages.push(json!({"role": "user", "content": "thanks"}));
    stages.exchange(
        &agent,
        host,
        "/v1/messages?beta=true",
        &request(json!(messages)),
        &reply("m3", &answer, "end_turn"),
    );

    let turns: Vec<_> =
        stages.turns().iter().map(|turn| (turn.agent_name.clone(), turn.model_calls, turn.tool_calls)).collect();
    assert_eq!(turns, [("claude-code".to_owned(), 2, 2), ("claude-code".to_owned(), 1, 0)]);
    let tools: Vec<_> = stages.tools().iter().map(|tool| (tool.process, tool.result_error)).collect();
    assert_eq!(tools, [(Some(key(11)), false), (Some(key(12)), true)]);
}
