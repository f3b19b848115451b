//! Arguments of a function that Vertex streams piece by piece.
//!
//! Facts from Vertex AI's reference, "Function calling: streaming arguments": the first piece names the function; each
//! `partialArgs` has a JSON path (RFC 9535, normalised or short) and a value there; a string goes on while
//! `willContinue` is set; the last piece has neither name nor arguments.

use serde_json::{Map, Value as Json};

use super::json::Object;

/// Paths may be this deep.
const DEEPEST: usize = 64;

/// Arguments that are being assembled.
#[derive(Clone, Debug, Default)]
pub struct Arguments {
    whole: Json,
    /// The path of a string that goes on.
    open: Option<String>,
}

impl Arguments {
    /// Takes over what a piece brings. True if it brought something.
    pub fn add(&mut self, called: &Object<'_>) -> bool {
        let mut brought = false;
        for part in called.objects("partialArgs") {
            let Some(path) = part.string("jsonPath") else { continue };
            let goes_on = self.open.as_deref() == Some(path.as_str());
            let Some(place) = steps(&path).and_then(|steps| place(&mut self.whole, &steps)) else { continue };
            brought = true;
            if let Some(text) = part.str("stringValue") {
                match place {
                    Json::String(so_far) if goes_on => so_far.push_str(&text),
                    place => *place = Json::String(text.into_owned()),
                }
            } else if let Some(number) = part.raw("numberValue").or_else(|| part.raw("boolValue")) {
                *place = serde_json::from_str(number).unwrap_or_default();
            }
            self.open = (part.bool("willContinue") == Some(true)).then_some(path);
        }
        brought
    }

    /// As JSON text; nothing if nothing came.
    pub fn text(&self) -> String {
        if self.whole.is_null() { String::new() } else { self.whole.to_string() }
    }
}

enum Step {
    Member(String),
    Element(usize),
}

/// `$.a['b'][0]` as steps.
fn steps(path: &str) -> Option<Vec<Step>> {
    let mut rest = path.strip_prefix('$')?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if steps.len() == DEEPEST {
            return None;
        }
        if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[']).unwrap_or(after.len());
            let (name, tail) = after.split_at_checked(end)?;
            steps.push(Step::Member(name.to_owned()));
            rest = tail;
        } else {
            let after = rest.strip_prefix('[')?;
            let quote = after.chars().next().filter(|c| matches!(c, '\'' | '"'));
            let close = quote.map_or_else(|| "]".to_owned(), |quote| format!("{quote}]"));
            let inner = quote.map_or(after, |_| after.get(1..).unwrap_or_default());
            let (name, tail) = inner.split_once(close.as_str())?;
            steps.push(if quote.is_some() { Step::Member(name.to_owned()) } else { Step::Element(name.parse().ok()?) });
            rest = tail;
        }
    }
    Some(steps)
}

/// The place that the steps lead to, made where it is not there yet. Lists grow by one element at a time.
fn place<'a>(mut at: &'a mut Json, steps: &[Step]) -> Option<&'a mut Json> {
    for step in steps {
        match step {
            Step::Member(name) => {
                if at.is_null() {
                    *at = Json::Object(Map::new());
                }
                at = at.as_object_mut()?.entry(name.clone()).or_insert(Json::Null);
            }
            Step::Element(index) => {
                if at.is_null() {
                    *at = Json::Array(Vec::new());
                }
                let list = at.as_array_mut()?;
                if *index == list.len() {
                    list.push(Json::Null);
                }
                at = list.get_mut(*index)?;
            }
        }
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn add(arguments: &mut Arguments, part: &Json) {
        arguments.add(&Object::parse(&json!({"partialArgs": [part]}).to_string()).unwrap());
    }

    #[test]
    fn pieces_are_put_together() {
        let mut all = Arguments::default();
        for part in [
            json!({"jsonPath": "$.city", "stringValue": "New ", "willContinue": true}),
            json!({"jsonPath": "$.city", "stringValue": "York"}),
            json!({"jsonPath": "$.list[0].n", "numberValue": 5}),
            json!({"jsonPath": "$['list'][1]", "boolValue": true}),
            json!({"jsonPath": "$.list[9]", "boolValue": true}),
            json!({"jsonPath": "$.none", "nullValue": "NULL_VALUE"}),
        ] {
            add(&mut all, &part);
        }
        let whole: Json = serde_json::from_str(&all.text()).unwrap();
        assert_eq!(whole, json!({"city": "New York", "list": [{"n": 5}, true], "none": null}));
    }

    proptest! {
        #[test]
        fn any_path_is_survived(paths in prop::collection::vec("[$.\\[\\]'\"a0-9é]{0,12}", 0..6)) {
            let mut all = Arguments::default();
            for path in paths {
                add(&mut all, &json!({"jsonPath": path, "stringValue": "x", "willContinue": true}));
            }
            let _ = all.text();
        }
    }
}
