//! Many random interleavings: agents and sub-agents, tools, servers, a gateway, background processes, housekeeping and
//! strangers; agents that execute themselves again, leave their work to a child, or serve a model's API themselves.
//! What really ran what is known, so every link can be judged.

use std::collections::{BTreeMap, BTreeSet};

use pipeline::{
    Kind, SpanId, Timestamp,
    observation::{Link, Match, McpCall, ProcessPhase},
};

use super::world::{Call, World, key, results, user};

/// How many interleavings, unless the environment says another number.
const RUNS: u64 = 1_000;
/// The gateway, and an agent that serves a model's API.
const GATEWAY: u32 = 5;
const SERVES: u32 = 6;

/// Numerical Recipes' linear congruential generator: the same runs everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// How a call's process can be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    /// Its arguments show the command, which no other open call has.
    Shown,
    /// Its arguments do not show it.
    Hidden,
    /// Another open call has the same command.
    Alike,
    /// A server runs it, and its arguments show the command.
    ServedShown,
    /// A server runs something for it.
    Served,
}

/// What a process really runs.
#[derive(Clone)]
struct Runs {
    agent: u32,
    id: &'static str,
    way: Way,
}

/// One thing to do; steps of one lane stay in order.
enum Step {
    Spawn {
        pid: u32,
        parent: u32,
        args: Vec<String>,
        runs: Option<Runs>,
    },
    Exec {
        pid: u32,
        args: Vec<String>,
    },
    Exit(u32),
    /// A request to a server begins.
    Asks {
        id: &'static str,
    },
    /// It is answered.
    Answered {
        id: &'static str,
        agent: u32,
        server: u32,
        tool: &'static str,
        arguments: String,
    },
    /// An agent begins that a tool started: its pid.
    Agent(u32),
}

#[derive(Default)]
struct Truth {
    /// What runs calls.
    runs: BTreeMap<u32, Runs>,
    /// Whose child a process is that is not an agent's own.
    children: BTreeMap<u32, u32>,
    /// Calls that start sub-agents, by the thread that each started.
    tasks: BTreeMap<usize, Task>,
    /// Which thread made a call, by its index.
    calls: BTreeMap<u32, usize>,
    /// Calls of the gateway and those that they were made for.
    forwarded: BTreeMap<u32, u32>,
    /// When requests to servers began.
    begun: BTreeMap<&'static str, u64>,
    /// Agents that tools started.
    nested: BTreeSet<u32>,
}

/// What started a sub-agent.
struct Task {
    agent: u32,
    id: &'static str,
    /// The thread that asked for it.
    by: usize,
    /// True if it can be told from the others of the same answer.
    plain: bool,
}

/// How an agent tells its sub-agents what to do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tells {
    /// As its model said it, and it has other threads too.
    Plainly,
    /// With words of its own around it.
    Wrapped,
}

/// A thread of an agent.
struct Agent {
    pid: u32,
    tells: Tells,
    /// What it was told, if it is a sub-agent.
    told: Vec<String>,
    gateway: bool,
    server: Option<u32>,
    messages: Vec<u64>,
    open: Vec<&'static str>,
    rounds: u64,
    /// Steps of each running tool and of the housekeeping, apart from each other.
    lanes: Vec<Vec<Step>>,
    request: Option<Timestamp>,
    pending: bool,
    /// Sub-agents whose answers it waits for.
    waits: Vec<usize>,
    depth: u32,
}

impl Agent {
    fn new(pid: u32, server: Option<u32>, first: u64, rounds: u64, depth: u32) -> Self {
        let messages = vec![first];
        Self {
            pid,
            tells: Tells::Plainly,
            told: Vec::new(),
            gateway: false,
            server,
            messages,
            open: Vec::new(),
            rounds,
            lanes: Vec::new(),
            request: None,
            pending: false,
            waits: Vec::new(),
            depth,
        }
    }

    /// True if none of its tools has still to start or to be answered.
    fn tools_ran(&self) -> bool {
        let open =
            |step: &Step| matches!(step, Step::Spawn { runs: Some(_), .. } | Step::Asks { .. } | Step::Answered { .. });
        !self.lanes.iter().flatten().any(open)
    }
}

struct Run {
    random: Random,
    world: World,
    truth: Truth,
    next: u32,
    agents: Vec<Agent>,
    commands: Vec<String>,
    strangers: Vec<Vec<Step>>,
}

#[derive(Default)]
struct Outcome {
    wrong: Vec<String>,
    found: BTreeMap<Way, usize>,
    there: BTreeMap<Way, usize>,
    children: usize,
    tasks: (usize, usize),
    forwarded: (usize, usize),
    heirs: usize,
}

fn words(args: &[&str]) -> Vec<String> {
    args.iter().map(|arg| (*arg).to_owned()).collect()
}

impl Run {
    fn pid(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    fn agent(&mut self, pid: u32, parent: u32) {
        let tells = if self.random.one_in(2) { Tells::Plainly } else { Tells::Wrapped };
        let name = if tells == Tells::Plainly && pid != SERVES { "claude-code" } else { "agent" };
        self.world.spawn(pid, parent, &[name]);
        let mut server = None;
        if self.random.one_in(2) && pid != SERVES {
            let own = self.pid();
            self.world.spawn(own, pid, &["python3", "/srv/server.py"]);
            let hello = self.world.mcp_request("x", "{}", None);
            let hello = McpCall { method: "initialize".into(), target: None, peer: Some(key(own)), ..hello };
            self.world.mcp_call(pid, hello);
            server = Some(own);
        }
        let rounds = 1 + self.random.below(4);
        let depth = u32::from(self.truth.nested.contains(&pid));
        let gateway = pid != SERVES && self.random.one_in(3);
        let agent = Agent::new(pid, server, u64::from(pid) * 1_000, rounds, depth);
        self.agents.push(Agent { tells, gateway, ..agent });
    }

    fn run(seed: u64) -> (World, Truth) {
        let random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let mut run = Self {
            random,
            world: World::new(),
            truth: Truth::default(),
            next: 100,
            agents: Vec::new(),
            commands: Vec::new(),
            strangers: Vec::new(),
        };
        run.world.found(1, 0, &["init"]);
        run.world.spawn(GATEWAY, 1, &["gateway"]);
        run.world.infos.get_mut(&GATEWAY).unwrap().serves_models = true;
        for pid in 10..(11 + run.random.below(3) as u32) {
            run.agent(pid, 1);
        }
        if run.random.one_in(6) {
            run.agent(SERVES, 1);
            run.world.infos.get_mut(&SERVES).unwrap().serves_models = true;
        }
        for _ in 0..500 {
            run.turn();
        }
        run.world.finish();
        (run.world, run.truth)
    }

    fn turn(&mut self) {
        let at = self.random.below(self.agents.len() as u64) as usize;
        // A stranger that runs what a tool was just asked to run.
        if self.random.one_in(12) {
            let pid = self.pid();
            let script = self.commands.last().cloned().unwrap_or_default();
            let args = vec!["sh".into(), "-c".into(), script];
            self.strangers.push(vec![Step::Exit(pid), Step::Spawn { pid, parent: 1, args, runs: None }]);
        }
        if self.random.one_in(4) && !self.strangers.is_empty() {
            let lane = self.random.below(self.strangers.len() as u64) as usize;
            let step = self.strangers[lane].pop();
            self.strangers.retain(|steps| !steps.is_empty());
            return self.step(step);
        }
        // Housekeeping at any time, also while a request is under way.
        if self.random.one_in(6) {
            let pid = self.pid();
            let args = match self.random.below(3) {
                0 => words(&["git", "status"]),
                1 => words(&["bash", "-c", "ps aux | grep code"]),
                _ => words(&["bash", "/opt/hook.sh"]),
            };
            let spawn = Step::Spawn { pid, parent: self.agents[at].pid, args, runs: None };
            self.agents[at].lanes.push(vec![Step::Exit(pid), spawn]);
        }
        // It executes itself again.
        if self.random.one_in(60) {
            let name = self.world.infos[&self.agents[at].pid].args[0].clone();
            self.world.exec(self.agents[at].pid, &[&name, "--again"]);
        }
        if self.random.one_in(40) {
            self.leave(at);
        }
        // A thread of its own, that no call of a model started.
        if self.random.one_in(20) && self.agents[at].tells == Tells::Plainly && self.agents[at].pid != SERVES {
            let first = self.random.below(1 << 30);
            self.truth.calls.insert(self.world.calls + 1, usize::MAX - first as usize);
            let _ = self.world.try_call(self.agents[at].pid, user(&[first]).says(&["suggest something"]));
        }
        if !self.random.one_in(3) && !self.agents[at].lanes.is_empty() {
            let lane = self.random.below(self.agents[at].lanes.len() as u64) as usize;
            let step = self.agents[at].lanes[lane].pop();
            self.agents[at].lanes.retain(|steps| !steps.is_empty());
            return self.step(step);
        }
        let agent = &self.agents[at];
        let done = agent.waits.iter().all(|sub| self.agents[*sub].rounds == 0 && self.agents[*sub].request.is_none());
        match agent.request {
            None if agent.rounds > 0 && (!agent.pending || agent.tools_ran()) && done => {
                self.world.now += 1_000;
                self.agents[at].request = Some(Timestamp(self.world.now));
            }
            None => {}
            Some(started) => self.answer(at, started),
        }
    }

    /// Its work goes on in a child.
    fn leave(&mut self, at: usize) {
        let agent = &self.agents[at];
        let others = self.agents.iter().enumerate().filter(|(other, of)| *other != at && of.pid == agent.pid);
        let busy = others.into_iter().any(|(_, of)| of.rounds > 0 || of.request.is_some() || !of.lanes.is_empty());
        if agent.request.is_some() || agent.rounds == 0 || !agent.lanes.is_empty() || agent.pid == SERVES || busy {
            return;
        }
        let (from, to) = (agent.pid, self.pid());
        let name = self.world.infos[&from].args[0].clone();
        self.world.spawn(to, from, &[&name, "--worker"]);
        self.world.exit(from, 0);
        self.truth.nested.insert(to);
        self.agents[at].pid = to;
        self.agents[at].server = None;
    }

    fn answer(&mut self, at: usize, started: Timestamp) {
        let agent = &mut self.agents[at];
        let (tells, gateway) = (agent.tells, agent.gateway);
        let (pid, server, depth) = (agent.pid, agent.server, agent.depth);
        agent.request = None;
        agent.rounds -= 1;
        agent.waits.clear();
        let goes_on = agent.rounds > 0;
        let answered = std::mem::take(&mut agent.open);
        let mut call: Call =
            if answered.is_empty() { user(&agent.messages) } else { results(&agent.messages, &answered) };
        if answered.is_empty() {
            let told: Vec<&str> = agent.told.iter().map(String::as_str).collect();
            call = call.says(&told);
        }
        let mut asked = Vec::new();
        let mut lanes = Vec::new();
        let mut subs: Vec<(&'static str, String, u64)> = Vec::new();
        let count = if goes_on { 1 + self.random.below(3) } else { 0 };
        let mut alike = None;
        for _ in 0..count {
            let number = self.pid();
            let id: &'static str = Box::leak(format!("t{number}").into_boxed_str());
            asked.push(id);
            let command = format!("work {number} --now && echo 'done'");
            if let (Some(server), true) = (server, self.random.one_in(6)) {
                let shown = self.random.one_in(2);
                let tool = if shown { "shell" } else { "test" };
                let arguments =
                    if shown { serde_json::json!({ "command": command }) } else { serde_json::json!({ "n": number }) };
                call = call.asks_tool(
                    id,
                    if shown { "mcp__ops__shell" } else { "mcp__ops__test" },
                    &arguments.to_string(),
                );
                lanes.push(self.served(id, pid, server, tool, &arguments.to_string(), shown.then_some(&command)));
                continue;
            }
            if depth == 0 && self.random.one_in(if subs.is_empty() { 12 } else { 2 }) {
                // Now and then the same as the one before.
                let like = subs.last().cloned().filter(|_| self.random.one_in(4));
                let (_, prompt, first) = like.unwrap_or((id, format!("task {number}"), u64::from(number) * 1_000));
                let arguments = serde_json::json!({ "description": "a task", "prompt": prompt });
                call = call.asks_tool(id, "Task", &arguments.to_string());
                subs.push((id, prompt, first));
                continue;
            }
            // The same command twice.
            let (command, way) = match alike.take() {
                Some(command) => (command, Way::Alike),
                None if self.random.one_in(50) => {
                    alike = Some(command.clone());
                    (command, Way::Alike)
                }
                None => (command, Way::Shown),
            };
            call = call.asks(id, &command);
            self.commands.push(command.clone());
            // Some are done by the agent itself.
            if !self.random.one_in(6) {
                lanes.push(self.tool(id, pid, &command, way, depth));
            }
        }
        if gateway {
            // Once, or once more as the first provider fails.
            let tries = 1 + u32::from(self.random.one_in(4));
            let index = self.world.calls + tries + 1;
            for last in (0..tries).rev() {
                let made = if last > 0 { call.clone().fails("529") } else { call.clone() };
                let begun = Timestamp(self.world.now + 100);
                let _ = self.world.made(GATEWAY, begun, made);
                self.truth.forwarded.insert(self.world.calls, index);
            }
        }
        self.truth.calls.insert(self.world.calls + 1, at);
        let _ = self.world.made(pid, started, call);
        let (one, two) = (self.random.below(1 << 30), self.random.below(1 << 30));
        let agent = &mut self.agents[at];
        agent.messages.extend([one, two]);
        agent.pending = !asked.is_empty();
        agent.open = asked;
        agent.lanes.extend(lanes);
        for (id, prompt, first) in &subs {
            let rounds = 1 + self.random.below(2);
            let alike = subs.iter().filter(|(_, other, _)| other == prompt).count();
            let plain = if tells == Tells::Plainly { alike == 1 } else { subs.len() == 1 };
            let sub = self.agents.len();
            self.truth.tasks.insert(sub, Task { agent: pid, id, by: at, plain });
            self.agents[at].waits.push(sub);
            let told = if tells == Tells::Plainly { prompt.clone() } else { format!("Your task: {prompt}") };
            let agent = Agent::new(pid, server, *first, rounds, 1);
            self.agents.push(Agent { tells, gateway, told: vec!["<reminder/>".into(), told], ..agent });
        }
    }

    /// The steps of a tool, last first.
    fn tool(&mut self, id: &'static str, agent: u32, command: &str, way: Way, depth: u32) -> Vec<Step> {
        let (pid, child, late) = (self.pid(), self.pid(), self.pid());
        let script = match self.random.below(4) {
            0 => command.to_owned(),
            1 => format!("source /h/s.sh && eval '{}' < /dev/null && pwd", command.replace('\'', r"'\''")),
            2 => format!("cd /w && {command}; echo $?"),
            _ => format!("{{ {command}\n}} 2>&1"),
        };
        let hidden = way == Way::Shown && self.random.one_in(40);
        let args = if hidden { words(&["bash", "/tmp/t.sh"]) } else { words(&["/bin/bash", "-c", &script]) };
        let way = if hidden { Way::Hidden } else { way };
        let mut steps = vec![Step::Spawn { pid, parent: agent, args, runs: Some(Runs { agent, id, way }) }];
        if self.random.one_in(2) {
            // Some run in the background and outlive their call, and start more then.
            steps.push(Step::Spawn { pid: child, parent: pid, args: words(&["work", "--now"]), runs: None });
            if self.random.one_in(3) {
                steps.push(Step::Exit(pid));
                steps.push(Step::Spawn { pid: late, parent: child, args: words(&["bash", "-c", "later"]), runs: None });
                steps.push(Step::Exit(late));
                steps.push(Step::Exit(child));
                steps.reverse();
                return steps;
            }
            steps.push(Step::Exit(child));
        }
        if depth == 0 && self.random.one_in(20) {
            // What it runs is seen when it begins.
            steps.push(Step::Spawn { pid: late, parent: pid, args: words(&["agent"]), runs: None });
            steps.push(Step::Agent(late));
        }
        if self.random.one_in(3) {
            steps.push(Step::Exec { pid, args: words(&["echo", "done"]) });
        }
        if !self.random.one_in(5) {
            steps.push(Step::Exit(pid));
        }
        steps.reverse();
        steps
    }

    /// The steps of a call that a server carries out, last first.
    fn served(
        &mut self,
        id: &'static str,
        agent: u32,
        server: u32,
        tool: &'static str,
        arguments: &str,
        shown: Option<&String>,
    ) -> Vec<Step> {
        let (pid, child) = (self.pid(), self.pid());
        let way = if shown.is_some() { Way::ServedShown } else { Way::Served };
        let args = shown.map_or_else(|| words(&["pytest", "-q"]), |command| words(&["sh", "-c", command]));
        let arguments = arguments.to_owned();
        let mut steps = vec![
            Step::Asks { id },
            Step::Spawn { pid, parent: server, args, runs: Some(Runs { agent, id, way }) },
            Step::Spawn { pid: child, parent: pid, args: words(&["python3", "worker.py"]), runs: None },
            Step::Exit(child),
            Step::Exit(pid),
            Step::Answered { id, agent, server, tool, arguments },
        ];
        steps.reverse();
        steps
    }

    fn step(&mut self, step: Option<Step>) {
        match step {
            Some(Step::Spawn { pid, parent, args, runs }) => {
                if let Some(runs) = runs {
                    self.truth.runs.insert(pid, runs);
                } else if parent > 100 && !self.truth.nested.contains(&parent) {
                    self.truth.children.insert(pid, parent);
                }
                if args == ["agent"] {
                    self.truth.nested.insert(pid);
                } else {
                    self.world.spawn(pid, parent, &args.iter().map(String::as_str).collect::<Vec<_>>());
                }
            }
            Some(Step::Agent(pid)) => {
                let parent = self.truth.children.get(&pid).copied().unwrap_or_default();
                self.agent(pid, parent);
            }
            Some(Step::Exec { pid, args }) => {
                self.world.exec(pid, &args.iter().map(String::as_str).collect::<Vec<_>>());
            }
            Some(Step::Exit(pid)) => self.world.exit(pid, 0),
            Some(Step::Asks { id }) => {
                self.world.now += 1_000;
                self.truth.begun.insert(id, self.world.now);
            }
            Some(Step::Answered { id, agent, server, tool, arguments }) => {
                let call = self.world.mcp_request(tool, &arguments, None);
                let started = Timestamp(self.truth.begun.get(id).copied().unwrap_or_default());
                self.world.mcp_call(agent, McpCall { started, peer: Some(key(server)), ..call });
            }
            None => {}
        }
    }
}

fn judge(world: &World, truth: &Truth) -> Outcome {
    let mut outcome = Outcome::default();
    let spans: BTreeMap<SpanId, (u32, &str)> = world
        .out
        .iter()
        .filter_map(|o| match &o.kind {
            Kind::ToolCall(tool) => Some((o.context?.span_id, (o.process.key.tgid, tool.id.as_deref()?))),
            _ => None,
        })
        .collect();
    let execs = |pid: u32| world.contexts(pid, "Exec");
    for (tool, context) in world.tools() {
        let Some(process) = tool.process else { continue };
        let runs = truth.runs.get(&process.tgid);
        let agent = spans.get(&context.span_id).map(|(agent, _)| *agent);
        let good = runs.filter(|runs| tool.id.as_deref() == Some(runs.id) && agent == Some(runs.agent));
        let above = execs(process.tgid).first().and_then(|context| context.parent_span_id);
        // How it was found stands at the link.
        match good.filter(|_| above == Some(context.span_id) && tool.matched.is_some()) {
            Some(runs) => {
                let sole = matches!(runs.way, Way::Hidden | Way::Served);
                assert_eq!(tool.matched == Some(Match::Sole), sole, "{:?}", runs.way);
                *outcome.found.entry(runs.way).or_default() += 1;
            }
            None => outcome.wrong.push(format!("{:?} is tied to {}", tool.id, process.tgid)),
        }
    }
    for runs in truth.runs.values() {
        *outcome.there.entry(runs.way).or_default() += 1;
    }
    // Nothing but what a call runs hangs under it: no housekeeping, stranger or server.
    for o in &world.out {
        let exec = matches!(&o.kind, Kind::Process(process) if process.phase == ProcessPhase::Exec);
        let Some(tool) = o.context.and_then(|context| spans.get(&context.parent_span_id?)).filter(|_| exec) else {
            continue;
        };
        let runs = truth.runs.get(&o.process.key.tgid);
        assert!(o.link.is_some(), "a link says how it was made: {:?}", o.process.args);
        if runs.is_none_or(|runs| (runs.agent, runs.id) != *tool) {
            outcome.wrong.push(format!("{} {:?} hangs under {tool:?}", o.process.key.tgid, o.process.args));
        }
    }
    // Children hang under the program that started them, however late.
    for (pid, parent) in &truth.children {
        let (own, above) = (execs(*pid), execs(*parent));
        let Some(own) = own.first() else { continue };
        let fits =
            above.iter().any(|above| (Some(above.span_id), above.trace_id) == (own.parent_span_id, own.trace_id));
        outcome.children += 1;
        if !fits {
            outcome.wrong.push(format!("{pid} does not hang under {parent}"));
        }
    }
    threads(world, truth, &spans, &mut outcome);
    outcome
}

/// Threads are not mixed up; sub-agents stand under the calls that started them, agents that tools started in their traces,
/// and a gateway's calls under those that they were made for.
fn threads(world: &World, truth: &Truth, spans: &BTreeMap<SpanId, (u32, &str)>, outcome: &mut Outcome) {
    let execs = |pid: u32| world.contexts(pid, "Exec");
    let mut made: BTreeMap<u32, SpanId> = BTreeMap::new();
    let mut of_turn: BTreeMap<SpanId, usize> = BTreeMap::new();
    for o in &world.out {
        let Kind::ModelCall(call) = &o.kind else { continue };
        let Some(context) = o.context else { continue };
        made.insert(call.index, context.span_id);
        let (Some(turn), Some(thread)) = (call.turn, truth.calls.get(&call.index)) else { continue };
        outcome.heirs += usize::from(o.link == Some(Link::Heir));
        let known = *of_turn.entry(turn.span_id).or_insert(*thread);
        if known != *thread {
            outcome.wrong.push(format!("a turn has calls of the threads {known} and {thread}"));
        }
    }
    for o in &world.out {
        let Kind::ModelCall(call) = &o.kind else { continue };
        let Some(asker) = truth.forwarded.get(&call.index) else { continue };
        outcome.forwarded.1 += 1;
        let above = o.context.and_then(|context| context.parent_span_id);
        match o.link {
            Some(Link::Messages) if above == made.get(asker).copied() => outcome.forwarded.0 += 1,
            Some(Link::Program) if above == execs(GATEWAY).first().map(|program| program.span_id) => {}
            link => outcome.wrong.push(format!("a call of the gateway hangs under {above:?} by {link:?}")),
        }
    }
    let turns = world.turns();
    let traces: BTreeSet<_> = turns.iter().map(|(_, turn)| turn.trace_id).collect();
    for o in world.out.iter().filter(|o| matches!(o.kind, Kind::AgentTurn(_))) {
        let Some(context) = o.context else { continue };
        let thread = of_turn.get(&context.span_id);
        let task = thread.and_then(|thread| truth.tasks.get(thread));
        outcome.tasks.1 += usize::from(task.is_some_and(|task| task.plain));
        let above = context.parent_span_id.and_then(|above| spans.get(&above));
        let turn_above = context.parent_span_id.and_then(|above| of_turn.get(&above));
        let fits = match (above, turn_above, task, o.link) {
            (Some(above), _, Some(task), Some(Link::Prompt | Link::Sole)) if (task.agent, task.id) == *above => {
                outcome.tasks.0 += usize::from(task.plain);
                task.plain
            }
            (_, Some(above), Some(task), Some(Link::Prompt)) => !task.plain && task.by == *above,
            (None, None, ..) if truth.nested.contains(&o.process.key.tgid) => {
                let fits = |own: &pipeline::SpanContext| {
                    Some(own.span_id) == context.parent_span_id && own.trace_id == context.trace_id
                };
                // One that goes on with the work stands where the first did.
                let own = truth.nested.iter().flat_map(|pid| execs(*pid)).collect::<Vec<_>>();
                let below = own.iter().any(fits) && o.link == Some(Link::Program);
                // What started it may be nobody's: then it is an agent of its own.
                below || (context.parent_span_id.is_none() && o.link.is_none())
            }
            _ => context.parent_span_id.is_none() && o.link.is_none() && traces.contains(&context.trace_id),
        };
        if !fits {
            outcome.wrong.push(format!("a turn of {} hangs under {above:?} by {:?}", o.process.key.tgid, o.link));
        }
    }
}

#[test]
fn no_interleaving_gives_a_wrong_link() {
    let mut total = Outcome::default();
    let runs = std::env::var("ONLOOKER_SIMULATIONS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(RUNS);
    for seed in 0..runs {
        let (world, truth) = Run::run(seed);
        let outcome = judge(&world, &truth);
        assert!(outcome.wrong.is_empty(), "seed {seed}: {:#?}", outcome.wrong);
        for (sum, one) in [(&mut total.found, &outcome.found), (&mut total.there, &outcome.there)] {
            one.iter().for_each(|(way, count)| *sum.entry(*way).or_default() += count);
        }
        total.children += outcome.children;
        let add = |sum: &mut (usize, usize), one: (usize, usize)| *sum = (sum.0 + one.0, sum.1 + one.1);
        add(&mut total.tasks, outcome.tasks);
        add(&mut total.forwarded, outcome.forwarded);
        total.heirs += outcome.heirs;
    }
    let sum = |counts: &BTreeMap<Way, usize>| counts.values().sum::<usize>();
    let (found, there) = (sum(&total.found), sum(&total.there));
    let report = format!(
        "{runs} interleavings: 0 wrong, {found} of {there} found ({:.1} %), by way {:?} of {:?}, {} children, sub-agents {:?}, \
         calls of a gateway {:?}, turns that went on elsewhere {}",
        100.0 * found as f64 / there as f64,
        total.found,
        total.there,
        total.children,
        total.tasks,
        total.forwarded,
        total.heirs,
    );
    for (found, there) in [total.tasks, total.forwarded] {
        assert!(there > 300 && found * 100 >= there * 95, "{report}");
    }
    assert!(there > 3_000 && total.children > 1_000, "too few to tell: {report}");
    assert!(found * 100 >= there * 95, "{report}");
    // Shown with `cargo test -- --nocapture`.
    let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("{report}\n").as_bytes());
}

#[test]
fn the_same_events_give_the_same_observations() {
    let once = |seed| format!("{:?}", Run::run(seed).0.out);
    assert_eq!(once(7), once(7));
}
