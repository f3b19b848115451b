//! Loading: files and `--set` values are parsed, expanded and merged into one [`Node`].

use super::{Node, Problem, Problems};

/// Looks an environment variable up. A function, so that tests need not change the environment.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Where configuration comes from, in order: later ones override earlier ones.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// (name for messages, YAML text).
    pub files: Vec<(String, String)>,
    /// `--set` values, as `exporters.otlp_grpc.timeout=2s`.
    pub sets: Vec<String>,
}

impl Sources {
    /// Reads a `--config` value: a path, `file:PATH`, `env:NAME` or `yaml:TEXT`.
    pub fn add(&mut self, location: &str, env: Env<'_>) -> Result<(), Problem> {
        let text = match location.split_once(':') {
            Some(("yaml", text)) => text.to_owned(),
            Some(("env", name)) => env(name).ok_or_else(|| {
                Problem::new("", format!("--config {location}: environment variable {name} is not set"))
            })?,
            Some(("file", path)) => read(path)?,
            _ => read(location)?,
        };
        self.files.push((location.to_owned(), text));
        Ok(())
    }

    /// Parses, expands and merges everything. The result is not typed yet.
    pub fn load(&self, env: Env<'_>) -> Result<Node, Problems> {
        let mut problems = Problems::new();
        let mut root = Node::Map(Vec::new());
        for (name, text) in &self.files {
            match parse(text) {
                Ok(Node::Null) => problems.push(Problem::new("", format!("{name}: empty configuration file"))),
                Ok(node @ Node::Map(_)) => merge(&mut root, expand(node, "", env, &mut problems)),
                Ok(other) => problems.push(Problem::new(
                    "",
                    format!("{name}: expected a map of receivers, exporters and service, found {}", other.describe()),
                )),
                Err(message) => problems.push(Problem::new("", format!("{name}: {message}"))),
            }
        }
        for set in &self.sets {
            let Some((path, text)) = set.split_once('=') else {
                problems.push(
                    Problem::new("", format!("--set {set}: missing equal sign"))
                        .hint("as --set exporters.file.path=out.jsonl"),
                );
                continue;
            };
            let mut node = match parse(text) {
                Ok(node) => expand(node, &path.replace('.', "::"), env, &mut problems),
                Err(message) => {
                    problems.push(Problem::new("", format!("--set {path}: {message}")));
                    continue;
                }
            };
            for key in path.replace("::", ".").split('.').rev() {
                node = Node::Map(vec![(key.to_owned(), node)]);
            }
            merge(&mut root, node);
        }
        if problems.is_empty() { Ok(root) } else { Err(problems) }
    }
}

fn read(path: &str) -> Result<String, Problem> {
    std::fs::read_to_string(path).map_err(|error| Problem::new("", format!("cannot read {path}: {error}")))
}

fn parse(text: &str) -> Result<Node, String> {
    let mut value: serde_yaml::Value = serde_yaml::from_str(text).map_err(|error| error.to_string())?;
    value.apply_merge().map_err(|error| error.to_string())?;
    Node::from_yaml(value)
}

/// Maps are merged key by key, everything else is replaced (confmap's rule).
fn merge(into: &mut Node, from: Node) {
    match (into, from) {
        (Node::Map(entries), Node::Map(new)) => {
            for (key, value) in new {
                match entries.iter_mut().find(|(name, _)| *name == key) {
                    Some((_, slot)) => merge(slot, value),
                    None => entries.push((key, value)),
                }
            }
        }
        (into, from) => *into = from,
    }
}

/// How deep `${env:${env:X}}` may nest.
const DEPTH: usize = 16;

fn expand(node: Node, path: &str, env: Env<'_>, problems: &mut Problems) -> Node {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}::{key}") };
    match node {
        Node::Map(entries) => Node::Map(
            entries
                .into_iter()
                .map(|(key, value)| {
                    let value = expand(value, &below(&key), env, problems);
                    (key, value)
                })
                .collect(),
        ),
        Node::Seq(items) => Node::Seq(
            items
                .into_iter()
                .enumerate()
                .map(|(at, item)| expand(item, &below(&at.to_string()), env, problems))
                .collect(),
        ),
        Node::Str(text) if text.contains('$') => match substitute(&text, env, DEPTH) {
            Ok((text, true)) => {
                let value = parse(&text).unwrap_or_else(|_| Node::Str(text.clone()));
                Node::Expanded { value: Box::new(value), text }
            }
            Ok((text, false)) => Node::Str(text),
            Err(problem) => {
                problems.push(Problem { path: path.to_owned(), ..problem });
                Node::Null
            }
        },
        other => other,
    }
}

/// Replaces `${…}` and `$$`. The flag tells whether the whole text was one `${…}`.
fn substitute(text: &str, env: Env<'_>, depth: usize) -> Result<(String, bool), Problem> {
    if depth == 0 {
        return Err(Problem::new("", "substitutions nest too deep"));
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut whole = false;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let tail = &rest[at + 1..];
        if let Some(tail) = tail.strip_prefix('$') {
            out.push('$');
            rest = tail;
        } else if let Some(tail) = tail.strip_prefix('{') {
            let end = closing(tail).ok_or_else(|| {
                Problem::new("", format!("`${{` without `}}` in {text:?}")).hint("write `$$` for a plain dollar sign")
            })?;
            whole = at == 0 && rest.len() == text.len() && end + 1 == tail.len();
            let (inner, _) = substitute(&tail[..end], env, depth - 1)?;
            out.push_str(&resolve(&inner, env)?);
            rest = &tail[end + 1..];
        } else {
            out.push('$');
            rest = tail;
        }
    }
    out.push_str(rest);
    Ok((out, whole))
}

/// The `}` that closes a `${` whose inside begins the text.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0;
    let bytes = text.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'{' if at > 0 && bytes[at - 1] == b'$' => depth += 1,
            b'}' if depth == 0 => return Some(at),
            b'}' => depth -= 1,
            _ => {}
        }
    }
    None
}

fn resolve(reference: &str, env: Env<'_>) -> Result<String, Problem> {
    let (scheme, rest) = match reference.split_once(':') {
        Some((scheme @ ("env" | "file" | "yaml"), rest)) => (scheme, rest),
        _ => ("env", reference),
    };
    match scheme {
        "yaml" => Ok(rest.to_owned()),
        "file" => std::fs::read_to_string(rest)
            .map(|text| text.trim_end_matches(['\n', '\r']).to_owned())
            .map_err(|error| Problem::new("", format!("cannot read {rest}: {error}"))),
        _ => {
            let (name, default) = match rest.split_once(":-") {
                Some((name, default)) => (name, Some(default)),
                None => (rest, None),
            };
            let mut chars = name.chars();
            let valid = chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
                && chars.all(|c| c.is_ascii_alphanumeric() || c == '_');
            if !valid {
                return Err(Problem::new("", format!("invalid environment variable name {name:?}"))
                    .hint("use ${env:NAME} or ${env:NAME:-default}; write `$$` for a plain dollar sign"));
            }
            env(name).or_else(|| default.map(Into::into)).ok_or_else(|| {
                Problem::new("", format!("environment variable {name} is not set"))
                    .hint(format!("set it, or give a default: ${{env:{name}:-default}}"))
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "PORT" => Some("4317".into()),
            "ZIP" => Some("0123".into()),
            "EMPTY" => Some(String::new()),
            "NAME" => Some("PORT".into()),
            "EVIL" => Some("x\nreceivers: {}".into()),
            _ => None,
        }
    }

    fn load(files: &[&str], sets: &[&str]) -> Result<Node, Problems> {
        Sources {
            files: files.iter().enumerate().map(|(at, text)| (format!("{at}.yaml"), (*text).into())).collect(),
            sets: sets.iter().map(|set| (*set).into()).collect(),
        }
        .load(&env)
    }

    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Sample {
        port: u16,
        zip: String,
        mixed: String,
        nested: String,
        cost: String,
        empty: Option<String>,
        list: Vec<String>,
    }
    impl super::super::Component for Sample {}

    fn sample(text: &str) -> (Option<Sample>, Problems) {
        let mut problems = Problems::new();
        let node = load(&[text], &[]).unwrap();
        (super::super::decode(&node, "x", &mut problems), problems)
    }

    #[test]
    fn substitution_keeps_types_and_texts() {
        let (config, problems) = sample(
            "port: ${env:PORT}\nzip: ${ZIP}\nmixed: a-${env:PORT}-${env:NO:-b}\nnested: ${env:${env:NAME}}\ncost: $$5 and $${x}\nempty: ${env:EMPTY}",
        );
        assert_eq!(problems, []);
        let config = config.unwrap();
        assert_eq!((config.port, config.zip.as_str(), config.mixed.as_str()), (4317, "0123", "a-4317-b"));
        assert_eq!((config.nested.as_str(), config.cost.as_str()), ("4317", "$5 and ${x}"));
    }

    #[test]
    fn a_value_cannot_inject_keys() {
        assert_eq!(
            load(&["a: pre ${env:EVIL}"], &[]).unwrap().get("a"),
            Some(&Node::Str("pre x\nreceivers: {}".into()))
        );
    }

    #[test]
    fn missing_variables_are_named_with_their_path_all_at_once() {
        let problems = load(&["a: {b: '${env:NO}', c: ['${NOPE}']}\nd: '${env:1x}'\ne: '${env:X'"], &[]).unwrap_err();
        let paths: Vec<_> = problems.iter().map(|problem| problem.path.as_str()).collect();
        assert_eq!(paths, ["a::b", "a::c::0", "d", "e"]);
        assert!(problems[0].message.contains("NO is not set"));
    }

    #[test]
    fn files_and_sets_merge_from_left_to_right() {
        let node = load(&["a: {b: 1, c: [1, 2]}", "a: {c: [3], d: x}"], &["a.b=2s", "e::f=true"]).unwrap();
        let a = node.get("a").unwrap();
        assert_eq!(a.get("b"), Some(&Node::Str("2s".into())));
        assert_eq!(a.get("c"), Some(&Node::Seq(vec![Node::Int(3)])));
        assert_eq!(node.get("e").unwrap().get("f"), Some(&Node::Bool(true)));
    }

    #[test]
    fn duplicate_keys_and_missing_equal_signs_are_errors() {
        assert!(load(&["a: 1\na: 2"], &[]).unwrap_err()[0].message.contains("duplicate"));
        assert!(load(&["a: {b: 1, b: 2}"], &[]).unwrap_err()[0].message.contains("duplicate"));
        assert!(load(&["a: 1"], &["novalue"]).unwrap_err()[0].message.contains("missing equal sign"));
        assert!(load(&[""], &[]).unwrap_err()[0].message.contains("empty configuration"));
    }

    #[test]
    fn every_wrong_key_and_type_is_reported_with_a_hint() {
        let (config, problems) = sample("prt: 1\nport: many\nlist: {a: 1}\nzip: x");
        assert!(config.is_none());
        let mut paths: Vec<_> = problems.iter().map(|problem| problem.path.as_str()).collect();
        paths.sort_unstable();
        assert_eq!(paths, ["x::list", "x::port", "x::prt"]);
        let slip = problems.iter().find(|problem| problem.path == "x::prt").unwrap();
        assert_eq!(slip.hint.as_deref(), Some("did you mean \"port\"?"));
    }
}
