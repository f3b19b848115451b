//! Processes: who they are, and what happened to them.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    ids::{ProcessKey, Timestamp},
    observation::workload::Workload,
};

/// The machine that was observed. Part of a recording, so that a replay elsewhere tells the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// `host.name`.
    pub name: String,
    /// `host.id`: /etc/machine-id, where there is one.
    pub id: Option<String>,
    /// Random id of this boot (/proc/sys/kernel/random/boot_id).
    pub boot_id: String,
    /// `host.arch` in the convention's words (amd64, arm64).
    pub arch: String,
    /// Kernel release.
    pub kernel: String,
    /// `k8s.node.name`, from the downward API in onlooker's own environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
}

/// What is known of a process since its latest exec. Shared by all its observations.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProcessInfo {
    /// Which process.
    pub key: ProcessKey,
    /// Its parent when it was first seen, if that is known.
    pub parent: Option<ProcessKey>,
    /// When the process was created.
    pub started: Timestamp,
    /// When it executed its present program; equal to `started` if it was running before onlooker.
    pub executed: Timestamp,
    /// How many programs it has executed so far, as far as seen (0: forked only, or was running before).
    pub exec_count: u32,
    /// Path of the executable (`/proc/<pid>/exe`, or the file name given to exec).
    pub executable: String,
    /// Which build of it; absent if it was gone before it could be read.
    pub build: Option<Build>,
    /// Arguments with argv[0]. Masked by the receiver as soon as they are decoded: no secret in them.
    pub args: Vec<String>,
    /// True if the arguments were longer than what the kernel side copies (4 KiB).
    pub args_truncated: bool,
    /// Working directory at exec.
    pub cwd: Option<String>,
    /// Effective user id.
    pub uid: u32,
    /// Effective group id.
    pub gid: u32,
    /// Name of `uid`, where the host knows one.
    pub user: Option<String>,
    /// Path of its cgroup (v2, else the systemd hierarchy of v1).
    pub cgroup: Option<String>,
    /// Where it runs: container, pod, unit.
    pub workload: Option<Arc<Workload>>,
    /// The few environment variables that identify agents (`ProcessInfo::MARKERS`). Nothing else is read or kept.
    pub markers: BTreeMap<String, String>,
    /// True once it was seen to serve a model's API: a gateway or a model server, whose own calls are made for others.
    pub serves_models: bool,
    /// The agent that this process is; set by `identity`.
    pub agent: Option<Agent>,
    /// `service.name`; set by `identity`.
    pub service_name: Option<String>,
    /// The machine.
    pub host: Arc<Host>,
}

impl ProcessInfo {
    /// Environment variables that name an agent, its session, or the call that started a process, as observed on
    /// real agents. Only these are ever read.
    pub const MARKERS: &'static [&'static str] = &[
        "AI_AGENT",
        "AGENT",
        "CLAUDECODE",
        "CLAUDE_CODE_SESSION_ID",
        "CLAUDE_CODE_ENTRYPOINT",
        "CODEX_THREAD_ID",
        "CODEX_TOOL_CALL_ID",
        "COPILOT_AGENT_SESSION_ID",
        "GEMINI_CLI",
        "OPENCODE",
        "OPENCODE_PID",
        "PI_CODING_AGENT",
        "QWEN_CODE",
        "OTEL_SERVICE_NAME",
    ];

    /// Base name of the executable: `process.executable.name`.
    pub fn executable_name(&self) -> &str {
        let name = self.executable.rsplit('/').next().unwrap_or_default();
        if name.is_empty() { "unknown" } else { name.trim_end_matches(" (deleted)") }
    }
}

/// The ids of an executable's build.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// `process.executable.build_id.gnu`, where the linker wrote one (NT_GNU_BUILD_ID), in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gnu: Option<String>,
    /// `process.executable.build_id.htlhash`, in hexadecimal digits.
    pub hash: String,
}

/// An agent that was recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// `gen_ai.agent.name`.
    pub name: String,
    /// Its version, where a marker tells it.
    pub version: Option<String>,
    /// True if it is one of the known agents; false if the name is a script's or an executable's.
    pub known: bool,
}

/// Something happened to a process. The process itself is the observation's `process`.
#[derive(Clone, Debug, PartialEq)]
pub struct Process {
    /// What happened.
    pub phase: ProcessPhase,
}

/// What happened to a process.
#[derive(Clone, Debug, PartialEq)]
pub enum ProcessPhase {
    /// It was running before onlooker started to look, or came into the watch later.
    Found,
    /// It was forked and has not executed anything yet; its program is its parent's.
    Fork,
    /// It executed a program; the observation's `process` describes the new one.
    Exec,
    /// It went on as another program: the one that this observation's `process` describes is over, without an exit
    /// code, at the observation's time. Made by `correlation`, just before the `Exec` of the next program.
    Replaced,
    /// It ended: once per process.
    Exit(Exit),
}

/// How a process ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exit {
    /// Exit code (0 to 255); 0 if it was killed by a signal.
    pub code: i32,
    /// The signal that killed it.
    pub signal: Option<i32>,
}
