//! From a [`Node`] to a component's configuration, strictly, with every problem at once.

use serde::de::DeserializeOwned;

use super::{Node, Problem, Problems};

/// The configuration of a component. Types use `#[serde(default, deny_unknown_fields)]`.
pub trait Component: DeserializeOwned + Default + 'static {
    /// Checks what types cannot say; adds each problem with its path (`path::key`).
    fn validate(&self, path: &str, problems: &mut Problems) {
        let _ = (path, problems);
    }
}

/// Decodes and validates. Goes on after a wrong value or an unknown key, so that one run shows all of them.
/// `None` if anything could not be decoded.
pub fn decode<C: Component>(node: &Node, path: &str, problems: &mut Problems) -> Option<C> {
    let before = problems.len();
    decode_rest(node, path, problems).filter(|_| problems.len() == before)
}

/// Like [`decode`], but gives what could be decoded without the wrong parts, so that more can be checked.
pub(super) fn decode_rest<C: Component>(node: &Node, path: &str, problems: &mut Problems) -> Option<C> {
    let mut node = node.clone();
    // Each round takes away one wrong value; the bound is for types that fail without naming a place.
    for _ in 0..256 {
        match serde_path_to_error::deserialize::<_, C>(&node) {
            Ok(config) => {
                config.validate(path, problems);
                return Some(config);
            }
            Err(error) => {
                let steps: Vec<String> = error
                    .path()
                    .iter()
                    .filter_map(|segment| match segment {
                        serde_path_to_error::Segment::Seq { index } => Some(index.to_string()),
                        serde_path_to_error::Segment::Map { key } => Some(key.clone()),
                        serde_path_to_error::Segment::Enum { .. } | serde_path_to_error::Segment::Unknown => None,
                    })
                    .collect();
                let place =
                    std::iter::once(path).chain(steps.iter().map(String::as_str)).collect::<Vec<_>>().join("::");
                problems.push(explain(place, &error.inner().0));
                if steps.is_empty() || !remove(&mut node, &steps) {
                    return None;
                }
            }
        }
    }
    None
}

fn explain(place: String, message: &str) -> Problem {
    if let Some(rest) = message.strip_prefix("unknown field `")
        && let Some((key, rest)) = rest.split_once('`')
    {
        let known: Vec<&str> = rest.split('`').skip(1).step_by(2).collect();
        let problem = Problem::new(place, format!("unknown key {key:?}"));
        return match nearest(key, &known) {
            Some(near) => problem.hint(format!("did you mean {near:?}?")),
            None if known.is_empty() => problem.hint("it takes no keys"),
            None => problem.hint(format!("known keys: {}", known.join(", "))),
        };
    }
    Problem::new(place, message.to_owned())
}

/// The candidate that a typing slip most likely meant.
pub(super) fn nearest<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let scored = candidates.iter().map(|candidate| (strsim::jaro_winkler(word, candidate), *candidate));
    scored.filter(|(score, _)| *score > 0.84).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, candidate)| candidate)
}

fn remove(node: &mut Node, steps: &[String]) -> bool {
    let Some((step, rest)) = steps.split_first() else { return false };
    match node {
        Node::Map(entries) => {
            let Some(at) = entries.iter().position(|(key, _)| key == step) else { return false };
            if rest.is_empty() || !remove(&mut entries[at].1, rest) {
                entries.remove(at);
            }
            true
        }
        Node::Seq(items) => {
            let Ok(at) = step.parse::<usize>() else { return false };
            if at >= items.len() {
                return false;
            }
            if rest.is_empty() || !remove(&mut items[at], rest) {
                items.remove(at);
            }
            true
        }
        Node::Expanded { value, .. } => remove(value, steps),
        _ => false,
    }
}
