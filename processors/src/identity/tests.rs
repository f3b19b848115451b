use super::*;
use pipeline::observation::{Exit, Process};

fn info(executable: &str, args: &[&str]) -> ProcessInfo {
    ProcessInfo {
        key: ProcessKey { tgid: 10, start: 1 },
        exec_count: 1,
        executable: executable.into(),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        ..ProcessInfo::default()
    }
}

fn named(executable: &str, args: &[&str]) -> (String, bool) {
    let agent = name(&info(executable, args));
    (agent.name, agent.known)
}

#[test]
fn known_agents_are_recognised_by_executable_script_and_module() {
    let node = "/usr/bin/node";
    let python = "/opt/venv/bin/python3.12";
    for (executable, args, expected) in [
        (node, vec!["node", "/usr/lib/node_modules/@anthropic-ai/claude-code/cli.js", "-p", "hi"], "claude-code"),
        (node, vec!["node", "--no-warnings", "/usr/local/bin/claude"], "claude-code"),
        ("/home/u/.local/share/claude/versions/2.1.197", vec!["claude"], "claude-code"),
        ("/usr/lib/node_modules/@anthropic-ai/claude-code/bin/claude.exe", vec!["claude"], "claude-code"),
        (
            node,
            vec!["node", "--max-old-space-size=4096", "/x/node_modules/@google/gemini-cli/dist/index.js"],
            "gemini-cli",
        ),
        (node, vec!["node", "/usr/bin/gemini", "-p", "x"], "gemini-cli"),
        (node, vec!["node", "/x/node_modules/@qwen-code/qwen-code/dist/cli.js"], "qwen-code"),
        (node, vec!["node", "/usr/local/bin/pi"], "pi"),
        (node, vec!["node", "/x/@openai/codex/bin/codex.js"], "codex"),
        ("/x/@openai/codex/vendor/x86_64/codex/codex", vec!["codex", "exec", "hi"], "codex"),
        ("/usr/local/bin/opencode", vec!["opencode", "run"], "opencode"),
        ("/x/node_modules/opencode-ai/bin/opencode.exe", vec!["opencode", "run"], "opencode"),
        ("/usr/local/bin/cline", vec!["cline"], "cline"),
        (node, vec!["node", "/x/node_modules/.bin/cn", "-p", "x"], "continue"),
        (node, vec!["node", "/x/node_modules/.bin/grok", "-p", "x"], "grok-cli"),
        ("/x/site-packages/vibe/_bin/vibe-rs", vec!["vibe-rs", "-p", "x"], "mistral-vibe"),
        (python, vec!["python", "/opt/venv/bin/vibe-app-server"], "mistral-vibe"),
        (python, vec!["/opt/venv/bin/python", "/opt/venv/bin/kimi", "--print"], "kimi-cli"),
        ("/usr/local/bin/copilot", vec!["copilot", "-p", "x"], "copilot"),
        (python, vec!["python", "-m", "aider", "--model", "x"], "aider"),
        (python, vec!["/opt/venv/bin/python3.12", "/opt/venv/bin/aider"], "aider"),
        (python, vec!["python", "/opt/venv/bin/mini", "-t", "x"], "mini-swe-agent"),
        (python, vec!["python", "-X", "utf8", "/opt/venv/bin/llm", "hi"], "llm"),
    ] {
        assert_eq!(named(executable, &args), (expected.to_owned(), true), "{executable} {args:?}");
    }
}

#[test]
fn others_are_named_after_script_module_or_executable() {
    for (executable, args, expected) in [
        ("/usr/bin/python3.11", vec!["python3", "/srv/triage.py", "--x"], "triage"),
        ("/usr/bin/python3.11", vec!["python3", "-u", "-W", "ignore", "agent.v2.py"], "agent.v2"),
        ("/usr/bin/python3.11", vec!["python3", "-c", "import openai"], "python3.11"),
        ("/usr/bin/python3.11", vec!["python3", "-uc", "import openai"], "python3.11"),
        ("/usr/bin/python3.11", vec!["python3", "-"], "python3.11"),
        ("/usr/bin/python3.11", vec!["python3"], "python3.11"),
        ("/usr/bin/python3.11", vec!["python3", "-m", "my.tool"], "my.tool"),
        ("/usr/bin/python3.11", vec!["python3", "/srv/bot/__main__.py"], "bot"),
        ("/usr/bin/node", vec!["node", "-r", "dotenv/config", "server.mjs"], "server"),
        ("/usr/bin/node", vec!["node", "-e", "1"], "node"),
        ("/usr/bin/node", vec!["node", "/x/node_modules/@acme/helper/dist/index.js"], "helper"),
        ("/usr/bin/bun", vec!["bun", "run", "app.ts"], "app"),
        ("/usr/bin/deno", vec!["deno", "run", "-A", "main.ts"], "main"),
        ("/bin/bash", vec!["bash", "-lc", "ls"], "bash"),
        ("/bin/bash", vec!["bash", "-o", "pipefail", "build.sh"], "build"),
        ("/bin/busybox", vec!["sh", "run.sh"], "run"),
        ("/usr/bin/curl", vec!["curl", "https://x"], "curl"),
        ("/usr/bin/curl (deleted)", vec!["curl"], "curl"),
        ("", vec![], "unknown"),
    ] {
        assert_eq!(named(executable, &args), (expected.to_owned(), false), "{executable} {args:?}");
    }
}

#[test]
fn helpers_and_marked_children_are_no_agents() {
    assert_eq!(named("/home/u/.local/share/claude/versions/2.1.197", &["rg", "--files"]), ("rg".into(), false));
    let vendored = "/x/@anthropic-ai/claude-code/vendor/ripgrep/x64-linux/rg";
    assert_eq!(named(vendored, &["rg"]), ("rg".into(), false));
    let mut bash = info("/bin/bash", &["bash", "-c", "ls"]);
    bash.markers.insert("CLAUDECODE".into(), "1".into());
    bash.markers.insert("AI_AGENT".into(), "claude-code_2-1-197_agent".into());
    assert!(!name(&bash).known);
}

fn seen(info: &Arc<ProcessInfo>, phase: ProcessPhase, time: u64) -> Observation {
    Observation::new(Timestamp(time), info.clone(), Kind::Process(Box::new(Process { phase })))
}

#[test]
fn observations_of_a_process_share_one_arc_until_it_is_gone() {
    let mut identity = Identity::default();
    let mut out = Vec::new();
    let source = Arc::new(info("/usr/bin/python3", &["python3", "/srv/triage.py"]));
    identity.process(seen(&source, ProcessPhase::Exec, 1), &mut out);
    identity.process(seen(&Arc::new(ProcessInfo::clone(&source)), ProcessPhase::Exit(Exit::default()), 2), &mut out);
    assert!(Arc::ptr_eq(&out[0].process, &out[1].process));
    assert_eq!(out[0].process.service_name.as_deref(), Some("triage"));
    identity.advance(Timestamp(2).plus(GRACE), &mut out);
    assert!(identity.entries.is_empty() && identity.order.is_empty() && identity.ended.is_empty());
}

#[test]
fn a_new_program_of_the_same_process_is_named_anew() {
    let mut identity = Identity::default();
    let mut out = Vec::new();
    identity.process(seen(&Arc::new(info("/bin/sh", &["sh", "-c", "exec ls"])), ProcessPhase::Exec, 1), &mut out);
    let mut second = info("/bin/ls", &["ls"]);
    second.exec_count = 2;
    second.markers.insert("OTEL_SERVICE_NAME".into(), "lister".into());
    identity.process(seen(&Arc::new(second), ProcessPhase::Exec, 2), &mut out);
    let names: Vec<_> = out.iter().filter_map(|o| o.process.agent.as_ref()).map(|agent| agent.name.clone()).collect();
    assert_eq!(names, ["sh", "ls"]);
    assert_eq!(out[1].process.service_name.as_deref(), Some("lister"));
}

#[test]
fn a_child_tells_the_version_of_the_agent_above_it() {
    let mut identity = Identity::default();
    let mut out = Vec::new();
    let agent = Arc::new(info("/usr/bin/claude", &["claude"]));
    identity.process(seen(&agent, ProcessPhase::Exec, 1), &mut out);
    let mut child = info("/bin/bash", &["bash", "-c", "ls"]);
    child.key = ProcessKey { tgid: 11, start: 2 };
    child.parent = Some(agent.key);
    child.markers.insert("AI_AGENT".into(), "claude-code_2-1-197_agent".into());
    identity.process(seen(&Arc::new(child), ProcessPhase::Exec, 2), &mut out);
    identity.process(seen(&agent, ProcessPhase::Exit(Exit::default()), 3), &mut out);
    let version = out[2].process.agent.as_ref().and_then(|agent| agent.version.clone());
    assert_eq!(version.as_deref(), Some("2.1.197"));
}

#[test]
fn memory_is_bounded() {
    let mut identity = Identity::default();
    let mut out = Vec::new();
    for tgid in 0..(CAPACITY as u32 + 100) {
        let mut one = info("/bin/ls", &["ls"]);
        one.key.tgid = tgid;
        identity.process(seen(&Arc::new(one), ProcessPhase::Fork, 1), &mut out);
    }
    assert_eq!(identity.entries.len(), CAPACITY);
    assert_eq!(identity.order.len(), CAPACITY);
    assert_eq!(identity.evicted.get(), 100);
}
