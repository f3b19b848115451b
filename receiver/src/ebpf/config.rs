//! The keys of the `ebpf` receiver.

use pipeline::{
    config::{
        Component, Problem, Problems,
        values::{ByteSize, GoDuration},
    },
    providers::Table,
};
use serde::Deserialize;
use std::time::Duration;

use super::{files::Files, kubelet::config::Kubernetes};
use crate::{
    record::{Scope, Settings},
    targets::rules::Rule,
};

/// What is kept for longer would be more than its bounds allow.
const LONGEST_LOOKBACK: Duration = Duration::from_secs(300);

/// Configuration of `ebpf`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `auto`: known agents and whoever calls a known provider or a model's path. `rules`: only what `include` names.
    /// `onlooker run` watches its command's tree and nothing else, whatever this says.
    pub agents: Agents,
    /// Processes to watch, by rules of one key each: `exe`, `args`, `container` (globs), `cgroup` (a path and what is
    /// below it), `pid`, `user`. Any one suffices.
    pub include: Vec<Rule>,
    /// Processes never to watch, with their children. Goes before `include`.
    pub exclude: Vec<Rule>,
    /// Whether the children of a watched process are watched.
    pub follow_children: bool,
    /// How much of what a process did before it was recognised is told. 0 = nothing.
    pub lookback: GoDuration,
    /// Of whom that is kept.
    pub candidates: Candidates,
    /// What to capture.
    pub capture: Capture,
    /// Bytes of a message body that are kept, per direction; beyond it head and tail. 0 = all.
    pub max_body_size: ByteSize,
    /// Bytes of all buffered streams together.
    pub memory_limit: ByteSize,
    /// Sizes of the kernel's buffers.
    pub rings: Rings,
    /// What is asked of Kubernetes beyond what cgroups and files tell. `null`: nothing.
    pub kubernetes: Option<Kubernetes>,
}

/// How agents are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Agents {
    /// By what they call and who they are.
    #[default]
    Auto,
    /// By rules only.
    Rules,
}

/// Of programs that are likely to become agents, what they did lately is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Candidates {
    /// While they are as young as `lookback`.
    #[default]
    Starting,
    /// As long as they run.
    Running,
}

/// What to capture.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Capture {
    /// Plaintext of TLS connections.
    pub tls: bool,
    /// Process starts and ends.
    pub process: bool,
    /// HTTP without TLS, on sockets of watched processes.
    pub http: bool,
    /// MCP over the pipes and local sockets of watched processes.
    pub mcp: bool,
    /// Connections of watched processes: made, accepted and waited for; with the names that the beginnings of TLS tell.
    pub network: bool,
    /// Look-ups of names by watched processes.
    pub dns: bool,
    /// Files that watched processes change, and sensitive ones that they read: a switch, or `reads` and
    /// `sensitive_paths`.
    pub files: Files,
    /// Changes of rights by watched processes, and what reaches into other processes or into the kernel.
    pub security: bool,
}

/// Sizes of the kernel's buffers: powers of two from 64 KiB to 1 GiB. What one has no room for is lost, and counted.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rings {
    /// For plaintext and DNS messages.
    pub payload: ByteSize,
    /// For process events.
    pub lifecycle: ByteSize,
    /// For connections and sockets.
    pub network: ByteSize,
    /// For what is done to files.
    pub files: ByteSize,
    /// For changes of rights and the like.
    pub security: ByteSize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            agents: Agents::Auto,
            include: Vec::new(),
            exclude: Vec::new(),
            follow_children: true,
            lookback: GoDuration(Duration::from_secs(30)),
            candidates: Candidates::Starting,
            capture: Capture::default(),
            max_body_size: ByteSize(16 << 20),
            memory_limit: ByteSize(256 << 20),
            rings: Rings::default(),
            kubernetes: None,
        }
    }
}

impl Config {
    /// For how long a process that is likely to become an agent is treated as watched; for ever is `Duration::MAX`. Where
    /// rules decide, there is nothing to become.
    pub fn candidates_for(&self) -> Duration {
        match (self.agents, self.candidates) {
            (Agents::Rules, _) => Duration::ZERO,
            (Agents::Auto, Candidates::Running) if !self.lookback.0.is_zero() => Duration::MAX,
            (Agents::Auto, _) => self.lookback.0,
        }
    }
}

impl Default for Capture {
    fn default() -> Self {
        Self {
            tls: true,
            process: true,
            http: true,
            mcp: true,
            network: true,
            dns: true,
            files: Files::default(),
            security: true,
        }
    }
}

impl Default for Rings {
    fn default() -> Self {
        Self {
            payload: ByteSize(64 << 20),
            lifecycle: ByteSize(4 << 20),
            network: ByteSize(4 << 20),
            files: ByteSize(8 << 20),
            security: ByteSize(256 << 10),
        }
    }
}

impl Config {
    /// What observations depend on.
    pub fn settings(&self, tree: bool) -> Settings {
        Settings {
            scope: match (tree, self.agents) {
                (true, _) => Scope::Tree,
                (false, Agents::Auto) => Scope::Auto,
                (false, Agents::Rules) => Scope::Rules,
            },
            include: self.include.clone(),
            exclude: self.exclude.clone(),
            follow_children: self.follow_children,
            process: self.capture.process,
            network: self.capture.network,
            dns: self.capture.dns,
            files: self.capture.files.settings(),
            security: self.capture.security,
            lookback: u64::try_from(self.lookback.0.as_nanos()).unwrap_or(u64::MAX),
            max_body_size: self.max_body_size.0,
            memory_limit: self.memory_limit.0,
            // Those are other components'.
            providers: Table::default(),
        }
    }
}

impl Component for Config {
    fn validate(&self, path: &str, problems: &mut Problems) {
        for (list, rules) in [("include", &self.include), ("exclude", &self.exclude)] {
            for (at, rule) in rules.iter().enumerate() {
                if let Some(problem) = rule.problem() {
                    problems.push(Problem::new(format!("{path}::{list}::{at}"), problem));
                }
            }
        }
        if self.agents == Agents::Rules && self.include.is_empty() {
            problems.push(
                Problem::new(format!("{path}::include"), "is empty, and with agents: rules nothing would be watched")
                    .hint("add a rule, as {exe: claude}, or use agents: auto"),
            );
        }
        let Capture { tls, process, http, mcp, network, dns, ref files, security } = self.capture;
        if !(tls || process || http || mcp || network || dns || files.0.is_some() || security) {
            problems.push(Problem::new(format!("{path}::capture"), "nothing is left to capture"));
        }
        let Rings { payload, lifecycle, network, files, security } = &self.rings;
        for (name, size) in [
            ("payload", payload),
            ("lifecycle", lifecycle),
            ("network", network),
            ("files", files),
            ("security", security),
        ] {
            let place = || format!("{path}::rings::{name}");
            if !(64 << 10..=1 << 30).contains(&size.0) {
                problems.push(Problem::new(place(), "is out of range").hint("between 64KiB and 1GiB"));
            } else if !size.0.is_power_of_two() {
                let above = ByteSize(size.0.next_power_of_two());
                let below = ByteSize(above.0 / 2);
                problems.push(
                    Problem::new(place(), "is no power of two, and the kernel takes no other sizes").hint(format!(
                        "use {} or {}",
                        bytes(below),
                        bytes(above)
                    )),
                );
            }
        }
        if self.lookback.0 > LONGEST_LOOKBACK {
            problems.push(Problem::new(format!("{path}::lookback"), "is out of range").hint("at most 5m"));
        }
        if let Some(kubernetes) = &self.kubernetes {
            kubernetes.validate(&format!("{path}::kubernetes"), problems);
        }
        if self.memory_limit.0 < 1 << 20 {
            problems.push(Problem::new(format!("{path}::memory_limit"), "must be at least 1MiB"));
        }
    }
}

/// A power of two as it is written in a configuration.
fn bytes(ByteSize(size): ByteSize) -> String {
    match size {
        size if size < 1 << 20 => format!("{}KiB", size >> 10),
        size if size < 1 << 30 => format!("{}MiB", size >> 20),
        size => format!("{}GiB", size >> 30),
    }
}

#[cfg(test)]
mod tests {
    use pipeline::config::{Node, decode, render};

    use super::*;

    fn check(yaml: serde_json::Value) -> (Option<Config>, String) {
        let mut problems = Problems::new();
        let config = decode(&node(yaml), "receivers::ebpf", &mut problems);
        (config, render(&problems))
    }

    fn node(value: serde_json::Value) -> Node {
        match value {
            serde_json::Value::Null => Node::Null,
            serde_json::Value::Bool(value) => Node::Bool(value),
            serde_json::Value::Number(value) => Node::Int(value.as_i64().unwrap().into()),
            serde_json::Value::String(value) => Node::Str(value),
            serde_json::Value::Array(items) => Node::Seq(items.into_iter().map(node).collect()),
            serde_json::Value::Object(map) => {
                Node::Map(map.into_iter().map(|(key, value)| (key, node(value))).collect())
            }
        }
    }

    #[test]
    fn the_design_page_is_accepted() {
        let (config, problems) = check(serde_json::json!({
            "agents": "auto", "include": [{"exe": "*/claude"}, {"pid": 7}], "exclude": [{"user": "root"}],
            "capture": {"tls": true, "http": true, "mcp": true, "process": true, "network": true, "dns": false, "files": true},
            "max_body_size": "16MiB", "memory_limit": "256MiB", "rings": {"payload": "64MiB", "lifecycle": "4MiB"},
        }));
        assert_eq!(problems, "");
        let config = config.unwrap();
        assert_eq!(config.include, [Rule::Exe("*/claude".into()), Rule::Pid(7)]);
        assert_eq!(config.capture.files, Files::default());
        assert_eq!(config.settings(true).scope, Scope::Tree);
    }

    #[test]
    fn wrong_values_are_named_with_their_place() {
        let (_, problems) = check(serde_json::json!({"include": [{"exe": "a", "pid": 1}], "ringz": {}}));
        assert!(problems.contains("receivers::ebpf::include"), "{problems}");
        assert!(problems.contains("ringz"), "{problems}");
        let (_, problems) = check(serde_json::json!({"agents": "rules", "rings": {"payload": 1}}));
        assert!(problems.contains("agents: rules"), "{problems}");
        assert!(problems.contains("receivers::ebpf::rings::payload"), "{problems}");
        let rings = serde_json::json!({"network": "64KiB", "files": "3MiB", "security": "1GiB", "lifecycle": "600MiB"});
        let (_, problems) = check(serde_json::json!({"rings": rings}));
        assert!(problems.contains("rings::files") && problems.contains("use 2MiB or 4MiB"), "{problems}");
        assert!(problems.contains("rings::lifecycle") && problems.contains("use 512MiB or 1GiB"), "{problems}");
        assert!(!problems.contains("rings::network") && !problems.contains("rings::security"), "{problems}");
    }

    #[test]
    fn the_readme_has_a_row_for_each_key() {
        let error = serde_json::from_str::<Config>(r#"{"?": 1}"#).unwrap_err().to_string();
        let keys: Vec<&str> = error.split('`').skip(3).step_by(2).collect();
        let readme = include_str!("README.md");
        let rows = readme.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
        assert_eq!(rows.collect::<Vec<_>>(), keys);
    }
}
