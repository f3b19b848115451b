//! Many random interleavings: agents, tools, housekeeping and strangers. What really ran what is known, so every
//! link can be judged.

use std::collections::BTreeMap;

use pipeline::{Kind, Timestamp, observation::ProcessPhase};

use super::world::{Call, World, results, user};

/// Numerical Recipes' linear congruential generator: the same runs everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// One thing to do; steps of one actor stay in order.
enum Step {
    Spawn { pid: u32, parent: u32, args: Vec<String>, runs: Option<Runs> },
    Exec { pid: u32, args: Vec<String> },
    Exit(u32),
}

/// What a process really runs.
#[derive(Clone)]
struct Runs {
    agent: u32,
    command: String,
    /// True if its arguments do not tell.
    hidden: bool,
}

type Truth = BTreeMap<u32, Runs>;

struct Agent {
    pid: u32,
    messages: Vec<u64>,
    open: Vec<&'static str>,
    rounds: u64,
    /// Steps of each running tool and of the housekeeping, apart from each other.
    lanes: Vec<Vec<Step>>,
    request: Option<Timestamp>,
    pending: bool,
}

const IDS: &[&str] = &["t0", "t1", "t2", "t3", "t4", "t5", "t6", "t7", "t8", "t9", "t10", "t11", "t12", "t13", "t14"];

struct Outcome {
    wrong: usize,
    right: usize,
    hidden: usize,
    expected: usize,
}

fn run(seed: u64) -> Outcome {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut world = World::new();
    world.found(1, 0, &["init"]);
    let mut next_pid = 100;
    let mut truth = Truth::new();
    let mut agents: Vec<Agent> = Vec::new();
    for pid in 10..(11 + random.below(3) as u32) {
        world.spawn(pid, 1, &["agent"]);
        let messages = vec![u64::from(pid) * 1_000];
        let rounds = 1 + random.below(3);
        agents.push(Agent {
            pid,
            messages,
            open: Vec::new(),
            rounds,
            lanes: Vec::new(),
            request: None,
            pending: false,
        });
    }
    let mut commands: Vec<String> = Vec::new();
    let mut strangers: Vec<Vec<Step>> = Vec::new();
    for _ in 0..400 {
        let at = random.below(agents.len() as u64) as usize;
        // A stranger that runs what a tool was just asked to run.
        if random.below(12) == 0 {
            next_pid += 1;
            let script = commands.last().cloned().unwrap_or_default();
            let args = vec!["sh".into(), "-c".into(), script];
            strangers.push(vec![Step::Exit(next_pid), Step::Spawn { pid: next_pid, parent: 1, args, runs: None }]);
        }
        if random.below(4) == 0 && !strangers.is_empty() {
            let lane = random.below(strangers.len() as u64) as usize;
            step(&mut world, &mut strangers, lane, &mut truth);
            continue;
        }
        let agent = &mut agents[at];
        // Housekeeping at any time, also while a request is under way.
        if random.below(6) == 0 {
            next_pid += 1;
            let args: Vec<String> = match random.below(3) {
                0 => vec!["git".into(), "status".into()],
                1 => vec!["bash".into(), "-c".into(), "ps aux | grep code".into()],
                _ => vec!["bash".into(), "/opt/hook.sh".into()],
            };
            let spawn = Step::Spawn { pid: next_pid, parent: agent.pid, args, runs: None };
            agent.lanes.push(vec![Step::Exit(next_pid), spawn]);
        }
        if random.below(3) != 0 && !agent.lanes.is_empty() {
            let lane = random.below(agent.lanes.len() as u64) as usize;
            step(&mut world, &mut agent.lanes, lane, &mut truth);
            continue;
        }
        match agent.request {
            None if agent.rounds > 0 && (!agent.pending || tools_ran(agent)) => {
                world.now += 1_000;
                agent.request = Some(Timestamp(world.now));
            }
            None => {}
            Some(started) => {
                agent.request = None;
                agent.rounds -= 1;
                let answered: Vec<_> = std::mem::take(&mut agent.open);
                let first = answered.is_empty();
                let mut call: Call = if first { user(&agent.messages) } else { results(&agent.messages, &answered) };
                let mut asked = Vec::new();
                if agent.rounds > 0 {
                    for _ in 0..=random.below(3) {
                        let id = IDS[(next_pid as usize + asked.len()) % IDS.len()];
                        if asked.iter().any(|(other, _)| *other == id) {
                            continue;
                        }
                        next_pid += 1;
                        asked.push((id, format!("work {next_pid} --now && echo 'done'")));
                    }
                }
                for (id, command) in &asked {
                    call = call.asks(id, command);
                }
                world.call_since(agent.pid, started, call);
                agent.messages.extend([random.below(u64::MAX >> 34), random.below(u64::MAX >> 34)]);
                agent.pending = !asked.is_empty();
                agent.open = asked.iter().map(|(id, _)| *id).collect();
                for (_, command) in asked {
                    commands.push(command.clone());
                    // Some are done by the agent itself.
                    if random.below(6) != 0 {
                        agent.lanes.push(tool(&mut random, &mut next_pid, agent.pid, &command));
                    }
                }
            }
        }
    }
    world.finish();
    judge(&world, &truth)
}

/// True if no tool of this agent has still to start.
fn tools_ran(agent: &Agent) -> bool {
    !agent.lanes.iter().flatten().any(|step| matches!(step, Step::Spawn { runs: Some(_), .. }))
}

/// The steps of a tool, last first.
fn tool(random: &mut Random, next_pid: &mut u32, agent: u32, command: &str) -> Vec<Step> {
    *next_pid += 2;
    let (pid, child) = (*next_pid - 1, *next_pid);
    let script = match random.below(4) {
        0 => command.to_owned(),
        1 => format!("source /h/s.sh && eval '{}' < /dev/null && pwd", command.replace('\'', r"'\''")),
        2 => format!("cd /w && {command}; echo $?"),
        _ => format!("{{ {command}\n}} 2>&1"),
    };
    let hidden = random.below(8) == 0;
    let args =
        if hidden { vec!["bash".into(), "/tmp/t.sh".into()] } else { vec!["/bin/bash".into(), "-c".into(), script] };
    let runs = Some(Runs { agent, command: command.to_owned(), hidden });
    let mut steps = vec![Step::Spawn { pid, parent: agent, args, runs }];
    if random.below(2) == 0 {
        let args = vec!["work".to_owned(), "--now".to_owned()];
        steps.push(Step::Spawn { pid: child, parent: pid, args, runs: None });
        steps.push(Step::Exit(child));
    }
    if random.below(3) == 0 {
        steps.push(Step::Exec { pid, args: vec!["echo".into(), "done".into()] });
    }
    if random.below(5) != 0 {
        steps.push(Step::Exit(pid));
    }
    steps.reverse();
    steps
}

fn step(world: &mut World, lanes: &mut Vec<Vec<Step>>, lane: usize, truth: &mut Truth) {
    let Some(steps) = lanes.get_mut(lane) else { return };
    match steps.pop() {
        Some(Step::Spawn { pid, parent, args, runs }) => {
            truth.extend(runs.map(|runs| (pid, runs)));
            world.spawn(pid, parent, &args.iter().map(String::as_str).collect::<Vec<_>>());
        }
        Some(Step::Exec { pid, args }) => world.exec(pid, &args.iter().map(String::as_str).collect::<Vec<_>>()),
        Some(Step::Exit(pid)) => world.exit(pid, 0),
        None => {}
    }
    if steps.is_empty() {
        lanes.remove(lane);
    }
}

fn judge(world: &World, truth: &Truth) -> Outcome {
    let mut outcome = Outcome { wrong: 0, right: 0, hidden: 0, expected: 0 };
    let mut agents = BTreeMap::new();
    for o in &world.out {
        if let (Kind::ToolCall(_), Some(context)) = (&o.kind, o.context) {
            agents.insert(context.span_id, o.process.key.tgid);
        }
    }
    for (tool, context) in world.tools() {
        let Some(process) = tool.process else { continue };
        let asked: serde_json::Value = serde_json::from_str(&tool.arguments).unwrap_or_default();
        let arguments = |runs: &Runs| asked["command"] == runs.command;
        let runs = truth.get(&process.tgid);
        let above = world.contexts(process.tgid, "Exec").first().and_then(|context| context.parent_span_id);
        let good = runs.is_some_and(|runs| arguments(runs) && agents.get(&context.span_id) == Some(&runs.agent));
        match runs {
            Some(runs) if good && above == Some(context.span_id) && runs.hidden => outcome.hidden += 1,
            Some(_) if good && above == Some(context.span_id) => outcome.right += 1,
            _ => outcome.wrong += 1,
        }
    }
    outcome.expected = truth.values().filter(|runs| !runs.hidden).count();
    // Housekeeping and strangers hang under no tool.
    for o in &world.out {
        let above = o.context.and_then(|context| context.parent_span_id);
        let exec = matches!(&o.kind, Kind::Process(p) if p.phase == ProcessPhase::Exec);
        let stray = exec && !truth.contains_key(&o.process.key.tgid);
        if stray && above.is_some_and(|above| agents.contains_key(&above)) {
            outcome.wrong += 1;
        }
    }
    outcome
}

#[test]
fn no_interleaving_gives_a_wrong_link() {
    let mut total = Outcome { wrong: 0, right: 0, hidden: 0, expected: 0 };
    for seed in 0..1_500 {
        let outcome = run(seed);
        assert_eq!(outcome.wrong, 0, "seed {seed}");
        total.right += outcome.right;
        total.hidden += outcome.hidden;
        total.expected += outcome.expected;
    }
    assert!(total.expected > 3_000, "{} calls are too few to tell", total.expected);
    assert!(total.hidden > 50, "{} sole children are too few to tell", total.hidden);
    assert!(total.right * 100 >= total.expected * 95, "{} of {} found", total.right, total.expected);
}

#[test]
fn the_same_events_give_the_same_observations() {
    let once = |seed| {
        let mut world = World::new();
        world.found(10, 1, &["agent"]);
        world.call(10, user(&[seed]).asks("a", "ls -la"));
        world.spawn(11, 10, &["sh", "-c", "ls -la"]);
        world.call(10, results(&[seed, 2, 3], &["a"]));
        world.finish();
        format!("{:?}", world.out)
    };
    assert_eq!(once(1), once(1));
}
