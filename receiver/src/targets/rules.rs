//! Which processes to watch: the operator's rules, and what is known of agents and providers.

use std::collections::BTreeMap;

use pipeline::{
    observation::ProcessInfo,
    providers::{self, Sign, Table},
};
use serde::{Deserialize, Serialize, de};

/// One condition on a process. In the configuration a map with exactly one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Glob over the executable's path; without a slash, over its base name.
    Exe(String),
    /// Glob over the arguments joined by blanks.
    Args(String),
    /// Cgroup path: itself and everything below.
    Cgroup(String),
    /// Glob over the container id (an id's beginning with `*`).
    Container(String),
    /// Process id, with its children where they are followed.
    Pid(u32),
    /// User name or id.
    User(String),
}

impl Rule {
    /// True if the process fits.
    pub fn matches(&self, process: &ProcessInfo) -> bool {
        match self {
            Rule::Exe(glob) if glob.contains('/') => matches_glob(glob, &process.executable),
            Rule::Exe(glob) => matches_glob(glob, process.executable_name()),
            Rule::Args(glob) => matches_glob(glob, &process.args.join(" ")),
            Rule::Cgroup(path) => process.cgroup.as_deref().is_some_and(|cgroup| {
                let path = path.trim_end_matches('/');
                cgroup.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }),
            Rule::Container(glob) => {
                let id = process.workload.as_ref().and_then(|workload| workload.container_id.as_deref());
                id.is_some_and(|id| matches_glob(glob, id))
            }
            Rule::Pid(pid) => process.key.tgid == *pid,
            Rule::User(user) => process.user.as_deref() == Some(user) || process.uid.to_string() == *user,
        }
    }

    /// What is wrong with it, if anything.
    pub fn problem(&self) -> Option<&'static str> {
        match self {
            Rule::Exe(text) | Rule::Args(text) | Rule::Container(text) | Rule::User(text) if text.is_empty() => {
                Some("must not be empty")
            }
            Rule::Cgroup(path) if !path.starts_with('/') => Some("a cgroup path begins with /"),
            Rule::Pid(0) => Some("0 is no process id"),
            _ => None,
        }
    }
}

/// A scalar of a rule.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Scalar {
    Number(u32),
    Text(String),
}

impl Serialize for Rule {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (key, value) = match self {
            Rule::Exe(text) => ("exe", Scalar::Text(text.clone())),
            Rule::Args(text) => ("args", Scalar::Text(text.clone())),
            Rule::Cgroup(text) => ("cgroup", Scalar::Text(text.clone())),
            Rule::Container(text) => ("container", Scalar::Text(text.clone())),
            Rule::Pid(pid) => ("pid", Scalar::Number(*pid)),
            Rule::User(text) => ("user", Scalar::Text(text.clone())),
        };
        BTreeMap::from([(key, value)]).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Rule {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use de::Error;
        const KEYS: &[&str] = &["exe", "args", "cgroup", "container", "pid", "user"];
        let map = BTreeMap::<String, Scalar>::deserialize(deserializer)?;
        let mut entries = map.into_iter();
        let (Some((key, value)), None) = (entries.next(), entries.next()) else {
            return Err(D::Error::custom("a rule is a map with one key: exe, args, cgroup, container, pid or user"));
        };
        let text = match &value {
            Scalar::Text(text) => text.clone(),
            Scalar::Number(number) => number.to_string(),
        };
        Ok(match key.as_str() {
            "exe" => Rule::Exe(text),
            "args" => Rule::Args(text),
            "cgroup" => Rule::Cgroup(text),
            "container" => Rule::Container(text),
            "pid" => Rule::Pid(text.parse().map_err(|_| D::Error::custom("a pid is a number"))?),
            "user" => Rule::User(text),
            other => return Err(D::Error::unknown_field(other, KEYS)),
        })
    }
}

/// Matches `*` (any characters) and `?` (one character) against the whole text.
pub fn matches_glob(glob: &str, text: &str) -> bool {
    let (glob, text): (Vec<char>, Vec<char>) = (glob.chars().collect(), text.chars().collect());
    let (mut g, mut t) = (0, 0);
    // Where to go on after a failure: (after the latest star, what it has taken so far).
    let mut star: Option<(usize, usize)> = None;
    while let Some(letter) = text.get(t) {
        match glob.get(g) {
            Some('*') => {
                star = Some((g + 1, t));
                g += 1;
            }
            Some(wanted) if *wanted == '?' || wanted == letter => {
                g += 1;
                t += 1;
            }
            _ => match star {
                Some((after, taken)) => {
                    star = Some((after, taken + 1));
                    g = after;
                    t = taken + 1;
                }
                None => return false,
            },
        }
    }
    glob.get(g..).is_some_and(|rest| rest.iter().all(|letter| *letter == '*'))
}

/// Base names of agents' programs and scripts, as observed (CLIENTS.md, section 1).
const AGENTS: &[&str] =
    &["aider", "claude", "cline", "codex", "copilot", "crush", "gemini", "goose", "mini", "opencode", "pi", "qwen"];

/// Interpreters whose first argument that is no option is the program.
const INTERPRETERS: &[&str] = &["node", "bun", "deno", "python", "ruby", "npx", "uvx", "uv"];

/// Interpreters and runtimes in which agents are written, by the names of their programs: a version may follow.
const RUNTIMES: &[&str] =
    &["beam.smp", "bun", "deno", "dotnet", "java", "node", "nodejs", "php", "pypy", "python", "ruby", "uv"];

/// True for the base name of a program that may well turn out to be an agent: a known one, or what runs those that are
/// not.
pub fn is_likely_agent(name: &str) -> bool {
    let version = |rest: &str| rest.chars().all(|letter| letter.is_ascii_digit() || letter == '.' || letter == '-');
    AGENTS.contains(&name) || RUNTIMES.iter().any(|runtime| name.strip_prefix(runtime).is_some_and(version))
}

/// True for a program that is known as an agent by its name or its script's.
pub fn is_known_agent(process: &ProcessInfo) -> bool {
    let base = |path: &str| -> String {
        let name = path.rsplit('/').next().unwrap_or_default();
        let name = [".js", ".mjs", ".cjs", ".py", ".exe"].iter().fold(name, |name, end| name.trim_end_matches(end));
        name.to_owned()
    };
    let known = |name: &str| AGENTS.contains(&name);
    let executable = base(process.executable_name());
    if known(&executable) {
        return true;
    }
    if !INTERPRETERS.iter().any(|interpreter| executable.starts_with(interpreter)) {
        return false;
    }
    let script = process.args.iter().skip(1).find(|arg| !arg.starts_with('-'));
    script.is_some_and(|script| known(&base(script)))
}

/// What a request to this host (with or without a port) and target looks like. To count a prompt's tokens is no call, but
/// only agents do it.
pub fn sign(known: &Table, host: &str, target: &str) -> Sign {
    match known.sign(host, target) {
        _ if providers::path_of(target).ends_with("/v1/messages/count_tokens") => Sign::Call,
        sign => sign,
    }
}

#[cfg(test)]
mod tests {
    use pipeline::providers::Custom;

    use super::*;

    #[test]
    fn globs_match_the_whole_text() {
        for (glob, text, fits) in [
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abcd", false),
            ("?b*", "abc", true),
            ("*a*b", "xaxxb", true),
            ("", "a", false),
        ] {
            assert_eq!(matches_glob(glob, text), fits, "{glob} {text}");
        }
    }

    #[test]
    fn requests_show_who_uses_a_model() {
        let own: Table = vec![Custom { path: Some("/llm/*".into()), ..Custom::default() }].into();
        for (host, target, sign) in [
            ("API.OpenAI.com:443", "/v1/models", Sign::Call),
            ("evilapi.openai.com", "/v1/models", Sign::None),
            ("localhost:8080", "/v1/messages?beta=true", Sign::Call),
            ("localhost:8080", "/v1/messages/count_tokens?beta=true", Sign::Call),
            ("localhost:8080", "/v1beta/models/x:streamGenerateContent?alt=sse", Sign::Call),
            ("localhost:8080", "/generate", Sign::May),
            ("localhost:8080", "/v1/models", Sign::None),
            ("localhost:8080", "/llm/chat", Sign::Call),
            ("", "", Sign::None),
        ] {
            assert_eq!(super::sign(&own, host, target), sign, "{host} {target}");
        }
    }

    #[test]
    fn rules_have_one_key() {
        let rule = |text: &str| serde_json::from_str::<Rule>(text);
        assert_eq!(rule(r#"{"pid": 7}"#).unwrap(), Rule::Pid(7));
        assert_eq!(rule(r#"{"exe": "*/claude"}"#).unwrap(), Rule::Exe("*/claude".into()));
        assert!(rule(r#"{"exe": "a", "pid": 1}"#).is_err());
        assert!(rule(r#"{"name": "a"}"#).unwrap_err().to_string().contains("unknown field `name`"));
    }

    #[test]
    fn agents_are_known_by_program_or_script() {
        let process = |exe: &str, args: &[&str]| ProcessInfo {
            executable: exe.into(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            ..ProcessInfo::default()
        };
        assert!(is_known_agent(&process("/opt/claude", &["claude"])));
        assert!(is_known_agent(&process("/usr/bin/node", &["node", "--x", "/usr/bin/gemini"])));
        assert!(is_known_agent(&process("/usr/bin/python3.11", &["python3", "/venv/bin/aider"])));
        assert!(!is_known_agent(&process("/usr/bin/vi", &["vi", "claude"])));
    }

    #[test]
    fn runtimes_are_likely_agents() {
        for name in ["python3", "python3.11", "node", "node-22", "bun", "claude", "php8.2", "java"] {
            assert!(is_likely_agent(name), "{name}");
        }
        for name in ["sh", "bash", "make", "gcc", "nginx", "node_exporter", "python3-config", "javac", "", "uvx"] {
            assert!(!is_likely_agent(name), "{name}");
        }
    }

    #[test]
    fn rules_fit_processes() {
        let process = ProcessInfo {
            executable: "/usr/bin/node".into(),
            args: vec!["node".into(), "a.js".into()],
            cgroup: Some("/user.slice/x".into()),
            user: Some("ada".into()),
            uid: 1000,
            ..ProcessInfo::default()
        };
        for rule in [
            Rule::Exe("node".into()),
            Rule::Exe("/usr/*/node".into()),
            Rule::Args("*a.js".into()),
            Rule::Cgroup("/user.slice".into()),
            Rule::User("1000".into()),
            Rule::User("ada".into()),
        ] {
            assert!(rule.matches(&process), "{rule:?}");
        }
        assert!(!Rule::Cgroup("/user".into()).matches(&process));
        assert!(!Rule::Exe("nod".into()).matches(&process));
    }
}
