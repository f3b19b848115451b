//! Builds observations for tests and looks at what comes out.

use std::{collections::BTreeMap, sync::Arc};

use pipeline::{
    ConnectionKey, Kind, Observation, ProcessKey, Processor, SpanContext, SpanId, Tally, Timestamp,
    observation::{
        Agent, AgentTurn, Api, CallError, Connection, ConnectionPhase, Deed, Exit, File, McpCall, McpTarget, ModelCall,
        Operation, Parameters, Process, ProcessInfo, ProcessPhase, Reply, RequestedTool, Role, ServerAddress, Thread,
        ToolCall, ToolResult, Transport, Usage,
    },
};

use crate::correlation::{Correlation, config::Config};

/// A small host: processes by pid, and a correlation that sees them.
pub struct World {
    pub correlation: Correlation,
    pub out: Vec<Observation>,
    pub infos: BTreeMap<u32, ProcessInfo>,
    pub now: u64,
    /// Model calls so far: each has the next number as its index.
    pub calls: u32,
    given: u64,
    /// How often each pid was used before.
    reused: BTreeMap<u32, u64>,
}

pub fn key(pid: u32) -> ProcessKey {
    ProcessKey { tgid: pid, start: u64::from(pid) * 1000 }
}

impl World {
    pub fn new() -> Self {
        Self::with(Config::default())
    }

    pub fn with(config: Config) -> Self {
        Self {
            correlation: Correlation::new(config),
            out: Vec::new(),
            infos: BTreeMap::new(),
            now: 1_000_000,
            calls: 0,
            given: 0,
            reused: BTreeMap::new(),
        }
    }

    fn tick(&mut self) -> Timestamp {
        self.now += 1_000;
        Timestamp(self.now)
    }

    fn give(&mut self, observation: Observation) {
        self.given += 1;
        self.correlation.process(observation, &mut self.out);
        self.balance();
    }

    /// All that came and was made went on, is held, or became part of something else.
    fn balance(&self) {
        let Tally { made, merged, held } = self.correlation.tally();
        assert_eq!(self.given + made, self.out.len() as u64 + merged + held);
    }

    fn emit(&mut self, pid: u32, phase: ProcessPhase) {
        let time = self.tick();
        let info = Arc::new(self.infos.get(&pid).cloned().unwrap_or_default());
        let kind = Kind::Process(Box::new(Process { phase }));
        self.give(Observation::new(time, info, kind));
    }

    /// A process that was running before.
    pub fn found(&mut self, pid: u32, parent: u32, args: &[&str]) {
        self.insert(pid, parent, 0, args);
        self.emit(pid, ProcessPhase::Found);
    }

    fn insert(&mut self, pid: u32, parent: u32, count: u32, args: &[&str]) {
        let name = args.first().map(|arg| arg.rsplit('/').next().unwrap_or_default()).unwrap_or_default();
        let info = ProcessInfo {
            key: self.key(pid),
            parent: Some(self.key(parent)),
            started: Timestamp(self.now + 500),
            exec_count: count,
            executable: format!("/bin/{name}"),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            agent: Some(Agent { name: name.to_owned(), version: None, known: name == "claude-code" }),
            ..ProcessInfo::default()
        };
        self.infos.insert(pid, info);
    }

    pub fn fork(&mut self, pid: u32, parent: u32) {
        let args: Vec<String> = self.infos.get(&parent).map(|info| info.args.clone()).unwrap_or_default();
        self.insert(pid, parent, 0, &args.iter().map(String::as_str).collect::<Vec<_>>());
        self.emit(pid, ProcessPhase::Fork);
    }

    pub fn exec(&mut self, pid: u32, args: &[&str]) {
        self.exec_with(pid, args, &[]);
    }

    pub fn exec_with(&mut self, pid: u32, args: &[&str], markers: &[(&str, &str)]) {
        if let Some(info) = self.infos.get_mut(&pid) {
            let name = args.first().map(|arg| arg.rsplit('/').next().unwrap_or_default()).unwrap_or_default();
            info.exec_count += 1;
            info.args = args.iter().map(|arg| (*arg).to_owned()).collect();
            info.executable = format!("/bin/{name}");
            info.agent = Some(Agent { name: name.to_owned(), version: None, known: name == "claude-code" });
            info.markers = markers.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        }
        self.emit(pid, ProcessPhase::Exec);
    }

    fn key(&self, pid: u32) -> ProcessKey {
        let key = key(pid);
        ProcessKey { start: key.start + self.reused.get(&pid).copied().unwrap_or_default(), ..key }
    }

    /// Forks and executes, with a pid that another process had.
    pub fn reuse(&mut self, pid: u32, parent: u32, args: &[&str]) {
        *self.reused.entry(pid).or_default() += 1;
        self.spawn(pid, parent, args);
    }

    /// Forks and executes.
    pub fn spawn(&mut self, pid: u32, parent: u32, args: &[&str]) {
        self.fork(pid, parent);
        self.exec(pid, args);
    }

    pub fn exit(&mut self, pid: u32, code: i32) {
        self.emit(pid, ProcessPhase::Exit(Exit { code, signal: None }));
    }

    /// A call that takes 2 µs, begun now.
    pub fn call(&mut self, pid: u32, call: Call) -> SpanContext {
        let started = self.tick();
        self.call_since(pid, started, call)
    }

    /// A call that began earlier and ends now.
    pub fn call_since(&mut self, pid: u32, started: Timestamp, call: Call) -> SpanContext {
        self.made(pid, started, call).expect("a model call has a context")
    }

    /// A call that may not be told.
    pub fn try_call(&mut self, pid: u32, call: Call) -> Option<SpanContext> {
        let started = self.tick();
        self.made(pid, started, call)
    }

    pub fn made(&mut self, pid: u32, started: Timestamp, call: Call) -> Option<SpanContext> {
        self.tick();
        let ended = self.tick();
        self.calls += 1;
        let info = Arc::new(self.infos.get(&pid).cloned().unwrap_or_default());
        let model = ModelCall {
            operation: call.operation,
            provider: "openai".into(),
            api: Api::ChatCompletions,
            server: ServerAddress::default(),
            parameters: Parameters { previous_response_id: call.previous.map(str::to_owned), ..Parameters::default() },
            reply: Reply {
                status: Some(200),
                id: call.reply.map(str::to_owned),
                last_chunk: call.last_chunk,
                ..Reply::default()
            },
            usage: Usage::default(),
            error: call.error.map(|kind| CallError { kind: kind.into(), message: None }),
            conversation_id: call.conversation.map(str::to_owned),
            thread: Thread {
                messages: call.messages,
                system: None,
                from_user: call.user,
                asked: call.asked,
                has_tools: call.has_tools,
                tool_results: call
                    .results
                    .iter()
                    .map(|id| ToolResult { id: (*id).to_owned(), is_error: call.refused, response: None })
                    .collect(),
            },
            tool_calls: call
                .tools
                .iter()
                .map(|(id, name, arguments)| RequestedTool {
                    id: Some((*id).to_owned()),
                    name: (*name).to_owned(),
                    arguments: arguments.clone(),
                })
                .collect(),
            started,
            ended,
            remote_parent: call.remote,
            resend_count: call.resend,
            facts: None,
            connection: ConnectionKey { process: key(pid), object: 1, generation: 0 },
            index: self.calls,
            losses: Vec::new(),
            content: None,
            turn: None,
        };
        let before = self.out.len();
        self.give(Observation::new(ended, info, Kind::ModelCall(Box::new(model))));
        let made = self.out[before..].iter().find(|o| matches!(o.kind, Kind::ModelCall(_)));
        made.and_then(|o| o.context)
    }

    /// A request for a tool of a server, answered after a while. Gives the place of its span, if it has one.
    pub fn mcp(&mut self, pid: u32, tool: &str, arguments: &str, remote: Option<SpanContext>) -> Option<SpanContext> {
        let call = self.mcp_request(tool, arguments, remote);
        self.mcp_call(pid, call)
    }

    pub fn mcp_request(&mut self, tool: &str, arguments: &str, remote: Option<SpanContext>) -> McpCall {
        let (started, ended) = (self.tick(), self.tick());
        McpCall {
            id: Some(self.now.to_string()),
            target: Some(McpTarget::Tool(tool.into())),
            ended,
            arguments: McpCall::digest(arguments),
            remote_parent: remote,
            ..McpCall::new(Role::Client, "tools/call", started)
        }
    }

    /// Gives the place of the request's own span, if it has one.
    pub fn mcp_call(&mut self, pid: u32, call: McpCall) -> Option<SpanContext> {
        let info = Arc::new(self.infos.get(&pid).cloned().unwrap_or_default());
        let before = self.out.len();
        let observation = Observation::new(call.ended, info, Kind::McpCall(Box::new(call)));
        self.give(observation);
        self.out.get(before..)?.iter().find(|made| matches!(made.kind, Kind::McpCall(_)))?.context
    }

    fn told(&mut self, pid: u32, kind: Kind) -> SpanContext {
        let time = self.tick();
        let info = Arc::new(self.infos.get(&pid).cloned().unwrap_or_default());
        self.give(Observation::new(time, info, kind));
        self.out.last().and_then(|o| o.context).expect("a deed has a context")
    }

    /// Something done to a file. Gives where it stands.
    pub fn file(&mut self, pid: u32, deed: Deed, path: &str) -> SpanContext {
        self.told(pid, Kind::File(Box::new(File::new(deed, path))))
    }

    /// A connection. Gives where it stands.
    pub fn connection(&mut self, pid: u32) -> SpanContext {
        self.told(
            pid,
            Kind::Connection(Box::new(Connection::new(ConnectionPhase::Listen, Transport::Tcp, Timestamp(self.now)))),
        )
    }

    pub fn finish(&mut self) {
        let now = self.tick();
        self.correlation.finish(now, &mut self.out);
        self.balance();
        assert_eq!(self.correlation.tally().held, 0);
    }

    pub fn turns(&self) -> Vec<(&AgentTurn, SpanContext)> {
        let turn = |o: &'_ Observation| o.context;
        self.out
            .iter()
            .filter_map(|o| match &o.kind {
                Kind::AgentTurn(made) => Some((&**made, turn(o)?)),
                _ => None,
            })
            .collect()
    }

    pub fn tools(&self) -> Vec<(&ToolCall, SpanContext)> {
        self.out
            .iter()
            .filter_map(|o| match &o.kind {
                Kind::ToolCall(made) => Some((&**made, o.context?)),
                _ => None,
            })
            .collect()
    }

    pub fn tool(&self, id: &str) -> (&ToolCall, SpanContext) {
        self.tools().into_iter().find(|(tool, _)| tool.id.as_deref() == Some(id)).expect("the tool call was emitted")
    }

    pub fn findings(&self) -> usize {
        self.out.iter().filter(|o| matches!(o.kind, Kind::Finding(_))).count()
    }

    /// The contexts of a process's observations of one phase.
    pub fn contexts(&self, pid: u32, wanted: &str) -> Vec<SpanContext> {
        self.out
            .iter()
            .filter(|o| o.process.key == key(pid))
            .filter_map(|o| match &o.kind {
                Kind::Process(process) if format!("{:?}", process.phase).starts_with(wanted) => o.context,
                _ => None,
            })
            .collect()
    }

    /// The span above the (latest) program of a process.
    pub fn above(&self, pid: u32) -> Option<SpanId> {
        self.contexts(pid, "Exec").last().and_then(|context| context.parent_span_id)
    }
}

/// A model call to make.
#[derive(Clone)]
pub struct Call {
    messages: Vec<u64>,
    user: bool,
    results: Vec<&'static str>,
    tools: Vec<(&'static str, &'static str, String)>,
    error: Option<&'static str>,
    reply: Option<&'static str>,
    previous: Option<&'static str>,
    conversation: Option<&'static str>,
    remote: Option<SpanContext>,
    resend: Option<u64>,
    has_tools: bool,
    last_chunk: Option<Timestamp>,
    refused: bool,
    asked: Vec<u64>,
    operation: Operation,
}

/// The user's request, with these messages.
pub fn user(messages: &[u64]) -> Call {
    Call {
        messages: messages.to_vec(),
        user: true,
        results: Vec::new(),
        tools: Vec::new(),
        error: None,
        reply: None,
        previous: None,
        conversation: None,
        remote: None,
        resend: None,
        has_tools: true,
        last_chunk: None,
        refused: false,
        asked: Vec::new(),
        operation: Operation::Chat,
    }
}

/// The agent's request with results of tools.
pub fn results(messages: &[u64], results: &[&'static str]) -> Call {
    Call { user: false, results: results.to_vec(), ..user(messages) }
}

impl Call {
    pub fn asks(mut self, id: &'static str, command: &str) -> Self {
        self.tools.push((id, "bash", serde_json::json!({ "command": command }).to_string()));
        self
    }
    pub fn asks_tool(mut self, id: &'static str, name: &'static str, arguments: &str) -> Self {
        self.tools.push((id, name, arguments.to_owned()));
        self
    }
    pub fn last_chunk(mut self, time: u64) -> Self {
        self.last_chunk = Some(Timestamp(time));
        self
    }
    /// The user's texts.
    pub fn says(mut self, texts: &[&str]) -> Self {
        self.asked = texts.iter().map(|text| Thread::digest(text)).collect();
        self
    }
    pub fn refused(mut self) -> Self {
        self.refused = true;
        self
    }
    pub fn steered(mut self) -> Self {
        self.user = true;
        self
    }
    pub fn fails(mut self, kind: &'static str) -> Self {
        self.error = Some(kind);
        self
    }
    pub fn reply(mut self, id: &'static str) -> Self {
        self.reply = Some(id);
        self
    }
    pub fn previous(mut self, id: &'static str) -> Self {
        self.previous = Some(id);
        self
    }
    pub fn conversation(mut self, id: &'static str) -> Self {
        self.conversation = Some(id);
        self
    }
    pub fn remote(mut self, context: SpanContext) -> Self {
        self.remote = Some(context);
        self
    }
    pub fn resend(mut self, count: u64) -> Self {
        self.resend = Some(count);
        self
    }
    pub fn one_shot(mut self) -> Self {
        self.has_tools = false;
        self
    }
    pub fn embeds(mut self) -> Self {
        self.operation = Operation::Embeddings;
        self.one_shot()
    }
}
