//! The known agents, a row each. Names of executables, scripts and packages as observed on real installations.

/// How one agent is recognised.
#[derive(Debug)]
pub struct Row {
    /// `gen_ai.agent.name`.
    pub name: &'static str,
    /// Base names of its executable, and of its script without extension.
    pub names: &'static [&'static str],
    /// Names that only count for scripts of an interpreter: too common for an executable.
    pub scripts: &'static [&'static str],
    /// Package folders, as they stand in the path of a script.
    pub packages: &'static [&'static str],
    /// Modules of `python -m`.
    pub modules: &'static [&'static str],
    /// Names in argv[0] under which its executable acts as a helper and not as the agent.
    pub helpers: &'static [&'static str],
    /// The environment variable in which it tells its children the session.
    pub session: Option<&'static str>,
}

const NONE: Row = Row { name: "", names: &[], scripts: &[], packages: &[], modules: &[], helpers: &[], session: None };

/// All known agents.
pub const AGENTS: &[Row] = &[
    Row {
        name: "claude-code",
        names: &["claude"],
        packages: &["@anthropic-ai/claude-code/"],
        // It runs its built-in ripgrep and find as itself.
        helpers: &["rg", "ugrep", "bfs", "find", "grep"],
        session: Some("CLAUDE_CODE_SESSION_ID"),
        ..NONE
    },
    Row {
        name: "codex",
        names: &["codex"],
        packages: &["@openai/codex/"],
        helpers: &["apply_patch", "applypatch", "codex-linux-sandbox", "codex-execve-wrapper"],
        session: Some("CODEX_THREAD_ID"),
        ..NONE
    },
    Row {
        name: "copilot",
        names: &["copilot"],
        packages: &["@github/copilot/", "@github/copilot-"],
        session: Some("COPILOT_AGENT_SESSION_ID"),
        ..NONE
    },
    Row { name: "gemini-cli", names: &["gemini"], packages: &["@google/gemini-cli/"], ..NONE },
    Row { name: "qwen-code", names: &["qwen"], packages: &["@qwen-code/qwen-code/"], ..NONE },
    Row { name: "opencode", names: &["opencode", ".opencode"], packages: &["node_modules/opencode-ai/"], ..NONE },
    Row { name: "cline", names: &["cline"], packages: &["node_modules/cline/", "@cline/cli/"], ..NONE },
    Row { name: "pi", scripts: &["pi"], packages: &["/pi-coding-agent/"], ..NONE },
    Row { name: "crush", names: &["crush"], packages: &["@charmland/crush/"], ..NONE },
    Row { name: "aider", names: &["aider"], modules: &["aider", "aider.main"], ..NONE },
    Row {
        name: "mini-swe-agent",
        names: &["mini-swe-agent"],
        scripts: &["mini", "mini-extra"],
        modules: &["minisweagent", "minisweagent.run.mini"],
        ..NONE
    },
    Row { name: "llm", scripts: &["llm"], modules: &["llm"], ..NONE },
    Row { name: "openhands", names: &["openhands"], modules: &["openhands", "openhands.core.main"], ..NONE },
    Row { name: "continue", scripts: &["cn"], packages: &["@continuedev/cli/"], ..NONE },
    Row { name: "nanocoder", scripts: &["nanocoder"], packages: &["@nanocollective/nanocoder/"], ..NONE },
    Row { name: "grok-cli", scripts: &["grok"], packages: &["@vibe-kit/grok-cli/"], ..NONE },
    Row { name: "kilocode", names: &["kilo"], packages: &["@kilocode/cli"], ..NONE },
    Row { name: "kimi-cli", names: &["kimi-cli"], scripts: &["kimi"], ..NONE },
    // Its client starts a server of its own, which makes the calls.
    Row { name: "mistral-vibe", names: &["vibe-rs", "vibe-acp", "vibe-app-server"], scripts: &["vibe"], ..NONE },
    Row { name: "cursor-agent", names: &["cursor-agent"], packages: &["/cursor-agent/versions/"], ..NONE },
];

/// The row of an agent's name.
pub fn by_name(name: &str) -> Option<&'static Row> {
    AGENTS.iter().find(|row| row.name == name)
}
