//! Keeping attributes within what a backend takes.
//!
//! Content stays JSON that can be parsed and that the conventions' schemas accept: texts inside of it are shortened, the
//! longest first; then whole messages are left out, the oldest first. All is linear in the size of the content, but for
//! one sort of the lengths of its texts.

use pipeline::{
    config::{Problem, Problems},
    record::{Attributes, Value},
    semconv as name,
};
use serde::Deserialize;
use serde_json::Value as Json;

/// Bytes of an attribute's value unless something else is said.
const DEFAULT_LENGTH: usize = 64 << 10;
/// The smallest limit that is accepted: below it nothing of use would be left.
pub const LEAST: usize = 64;
/// No text is made shorter than this while there are messages that can be left out.
const FLOOR: usize = 96;
/// Members that say what a part is are left alone up to this length.
const SHORT: usize = 128;
/// What shows that a text was cut.
const MARK: char = '…';

/// What a backend is known to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// Grafana Tempo: 2048 bytes a value (`max_attribute_bytes`).
    Tempo,
    /// New Relic: 4095 characters a value.
    NewRelic,
    /// Dash0: 2048 bytes a value, 32 attributes a span, 128 characters a name.
    Dash0,
    /// No limit.
    None,
}

/// Every key of `limits`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// What a backend is known to take.
    pub preset: Option<Preset>,
    /// Longest value of an attribute, in bytes. Default: the preset's, else that of onlooker's own environment, else 64 KiB.
    pub attribute_value_length: Option<usize>,
    /// Most attributes of a span or event. Default: the preset's, else that of onlooker's own environment, else no limit.
    pub attribute_count: Option<usize>,
}

impl Limits {
    /// Checks the numbers.
    pub fn validate(&self, path: &str, problems: &mut Problems) {
        if self.attribute_value_length.is_some_and(|length| length < LEAST) {
            problems.push(
                Problem::new(format!("{path}::limits::attribute_value_length"), format!("must be at least {LEAST}"))
                    .hint("preset: none for no limit"),
            );
        }
        if self.attribute_count.is_some_and(|count| count < 8) {
            problems.push(Problem::new(format!("{path}::limits::attribute_count"), "must be at least 8"));
        }
    }

    /// The limits of spans, or of events. Variables are read of onlooker's own environment (OpenTelemetry specification,
    /// "Attribute Limits" and "Span Limits"); they count characters.
    pub fn bounds(&self, spans: bool) -> Bounds {
        self.bounds_in(spans, &|name| std::env::var(name).ok())
    }

    fn bounds_in(&self, spans: bool, environment: &dyn Fn(&str) -> Option<String>) -> Bounds {
        let said = |name: &str| {
            let own = spans.then(|| environment(&format!("OTEL_SPAN_{name}"))).flatten();
            own.or_else(|| environment(&format!("OTEL_{name}")))?.trim().parse::<usize>().ok()
        };
        let mut bounds = match self.preset {
            Some(Preset::Tempo) => Bounds { value: 2048, ..Bounds::NONE },
            Some(Preset::NewRelic) => Bounds { value: 4095, unit: Unit::Chars, ..Bounds::NONE },
            Some(Preset::Dash0) => Bounds { value: 2048, count: 32, name: 128, ..Bounds::NONE },
            Some(Preset::None) => Bounds::NONE,
            None => {
                let length = said("ATTRIBUTE_VALUE_LENGTH_LIMIT").map(|length| length.max(LEAST));
                let unit = if length.is_some() { Unit::Chars } else { Unit::Bytes };
                let count = said("ATTRIBUTE_COUNT_LIMIT").map_or(usize::MAX, |count| count.max(8));
                Bounds { value: length.unwrap_or(DEFAULT_LENGTH), unit, count, name: usize::MAX }
            }
        };
        if let Some(length) = self.attribute_value_length {
            (bounds.value, bounds.unit) = (length.max(LEAST), Unit::Bytes);
        }
        if let Some(count) = self.attribute_count {
            bounds.count = count;
        }
        bounds
    }
}

/// In what lengths are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// UTF-8 bytes.
    Bytes,
    /// Characters.
    Chars,
}

/// Limits as they are applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Longest value.
    pub value: usize,
    /// In what it is counted.
    pub unit: Unit,
    /// Most attributes.
    pub count: usize,
    /// Longest name of a span.
    pub name: usize,
}

impl Bounds {
    /// No limits.
    pub const NONE: Bounds = Bounds { value: usize::MAX, unit: Unit::Bytes, count: usize::MAX, name: usize::MAX };

    /// Shortens what is too long and leaves out what is too much. Gives how many attributes were left out.
    pub fn apply(&self, attributes: &mut Attributes) -> u32 {
        let mut lost = Lost::default();
        let (mut cut, mut args_cut) = (false, false);
        for (name, value) in attributes.iter_mut() {
            match value {
                Value::Str(text) => {
                    if self.unit.text(text) > self.value {
                        let before = text.len();
                        truncate(text, self.value, self.unit);
                        if is_content(name) {
                            cut = true;
                            lost.bytes += before.saturating_sub(text.len());
                        }
                    }
                }
                Value::Strings(texts) => args_cut |= self.strings(texts) && *name == name::PROCESS_COMMAND_ARGS,
                Value::Json(json) => cut |= self.json(Shape::of(name), json, &mut lost),
                Value::Int(_) | Value::Double(_) | Value::Bool(_) => {}
            }
        }
        if args_cut && !attributes.iter().any(|(name, _)| *name == name::ONLOOKER_PROCESS_ARGS_TRUNCATED) {
            attributes.push((name::ONLOOKER_PROCESS_ARGS_TRUNCATED, true.into()));
        }
        if cut {
            let number = |count: usize| Value::Int(i64::try_from(count).unwrap_or(i64::MAX));
            attributes.push((name::ONLOOKER_CONTENT_TRUNCATED, true.into()));
            attributes.push((name::ONLOOKER_CONTENT_LOST_BYTES, number(lost.bytes)));
            if lost.items > 0 {
                attributes.push((name::ONLOOKER_CONTENT_LOST_MESSAGES, number(lost.items)));
            }
        }
        self.leave_out(attributes)
    }

    /// The name of a span.
    pub fn span_name(&self, mut name: String) -> String {
        if Unit::Chars.text(&name) > self.name {
            truncate(&mut name, self.name, Unit::Chars);
        }
        name
    }

    /// Texts of a list: none longer than the limit, and all of them together not longer as JSON. True if something was cut.
    fn strings(&self, texts: &mut Vec<String>) -> bool {
        // Brackets, and quotes and a comma each.
        let whole: usize = texts.iter().map(|text| self.unit.quoted(text) + 1).sum::<usize>() + 1;
        if whole <= self.value {
            return false;
        }
        let mut json = Json::Array(std::mem::take(texts).into_iter().map(Json::String).collect());
        self.json(Shape::List, &mut json, &mut Lost::default());
        if let Json::Array(items) = json {
            texts.extend(items.into_iter().filter_map(|item| match item {
                Json::String(text) => Some(text),
                _ => None,
            }));
        }
        true
    }

    /// Content. True if something was cut.
    fn json(&self, shape: Shape, json: &mut Json, lost: &mut Lost) -> bool {
        if self.unit.size(json) <= self.value {
            return false;
        }
        let before = Unit::Bytes.size(json);
        lost.items += shape.fit(json, self.value, self.unit);
        lost.bytes += before.saturating_sub(Unit::Bytes.size(json));
        true
    }

    fn leave_out(&self, attributes: &mut Attributes) -> u32 {
        let over = attributes.len().saturating_sub(self.count);
        if over == 0 {
            return 0;
        }
        let mut by_rank: Vec<usize> = (0..attributes.len()).collect();
        by_rank.sort_by_key(|at| attributes.get(*at).map(|(name, _)| (rank(name), *at)));
        let mut kept = vec![false; attributes.len()];
        for at in by_rank.into_iter().take(self.count) {
            if let Some(kept) = kept.get_mut(at) {
                *kept = true;
            }
        }
        let mut kept = kept.into_iter();
        attributes.retain(|_| kept.next().unwrap_or(false));
        u32::try_from(over).unwrap_or(u32::MAX)
    }
}

/// What readers need most goes last when there is room for few.
fn rank(name: &str) -> u8 {
    match name {
        name::GEN_AI_OPERATION_NAME
        | name::GEN_AI_PROVIDER_NAME
        | name::GEN_AI_AGENT_NAME
        | name::GEN_AI_CONVERSATION_ID
        | name::GEN_AI_TOOL_NAME
        | name::ERROR_TYPE
        | name::MCP_METHOD_NAME
        | name::ONLOOKER_CAPTURE_COMPLETE
        | name::ONLOOKER_CONTENT_TRUNCATED => 0,
        name if name.starts_with("gen_ai.request.") && name != name::GEN_AI_REQUEST_MODEL => 3,
        name if name.starts_with("gen_ai.") || name.starts_with("mcp.") || name.starts_with("server.") => 1,
        name if name.starts_with("process.") || name.starts_with("file.") || name.starts_with("openinference.") => 1,
        name if name.starts_with("onlooker.") => 4,
        name if name.starts_with("network.") || name.starts_with("http.") => 5,
        _ => 2,
    }
}

fn is_content(name: &str) -> bool {
    matches!(name, name::GEN_AI_RETRIEVAL_QUERY_TEXT | name::GEN_AI_TOOL_CALL_ARGUMENTS | name::GEN_AI_TOOL_CALL_RESULT)
}

/// What was left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Lost {
    bytes: usize,
    items: usize,
}

impl Unit {
    fn text(self, text: &str) -> usize {
        match self {
            Unit::Bytes => text.len(),
            Unit::Chars => text.chars().count(),
        }
    }

    /// A character within a JSON text, as serde_json writes it (RFC 8259, section 7).
    fn escaped(self, c: char) -> usize {
        match c {
            '"' | '\\' | '\u{8}' | '\u{c}' | '\n' | '\r' | '\t' => 2,
            '\0'..='\u{1f}' => 6,
            _ => match self {
                Unit::Bytes => c.len_utf8(),
                Unit::Chars => 1,
            },
        }
    }

    /// A text within its quotes.
    fn inner(self, text: &str) -> usize {
        text.chars().map(|c| self.escaped(c)).sum()
    }

    fn quoted(self, text: &str) -> usize {
        self.inner(text) + 2
    }

    /// The length of a value as JSON text without spaces.
    fn size(self, json: &Json) -> usize {
        match json {
            Json::Null => 4,
            Json::Bool(truth) => 5 - usize::from(*truth),
            Json::Number(number) => number.to_string().len(),
            Json::String(text) => self.quoted(text),
            Json::Array(items) => items.iter().map(|item| self.size(item) + 1).sum::<usize>().max(1) + 1,
            Json::Object(members) => {
                let members = members.iter().map(|(key, value)| self.quoted(key) + self.size(value) + 2);
                members.sum::<usize>().max(1) + 1
            }
        }
    }
}

/// Cuts a plain text to a length, on a character's boundary.
fn truncate(text: &mut String, length: usize, unit: Unit) {
    let at = match unit {
        Unit::Bytes => text.floor_char_boundary(length),
        Unit::Chars => text.char_indices().nth(length).map_or(text.len(), |(at, _)| at),
    };
    text.truncate(at);
}

/// Cuts a text so that it is not longer than this within its JSON quotes, and marks it if there is room.
fn shorten(text: &mut String, length: usize, unit: Unit) {
    let mark = unit.escaped(MARK);
    // Where it ends with the mark, and the end without.
    let (mut used, mut marked, mut end) = (0, None, text.len());
    for (at, c) in text.char_indices() {
        if used + mark <= length {
            marked = Some(at);
        }
        used += unit.escaped(c);
        if used > length {
            end = at;
            break;
        }
    }
    if used <= length {
        return;
    }
    match marked {
        Some(at) => {
            text.truncate(at);
            text.push(MARK);
        }
        None => text.truncate(end),
    }
}

/// The shapes of content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// Messages, oldest first.
    Messages,
    /// Answers: one message a choice.
    Answers,
    /// Definitions of tools.
    Tools,
    /// Any other list.
    List,
    /// Anything.
    Free,
}

impl Shape {
    fn of(name: &str) -> Shape {
        match name {
            name::GEN_AI_INPUT_MESSAGES => Shape::Messages,
            name::GEN_AI_OUTPUT_MESSAGES => Shape::Answers,
            name::GEN_AI_TOOL_DEFINITIONS => Shape::Tools,
            name::GEN_AI_SYSTEM_INSTRUCTIONS | name::GEN_AI_RETRIEVAL_DOCUMENTS => Shape::List,
            _ => Shape::Free,
        }
    }

    /// Brings a value down to a length; gives how many items were left out.
    fn fit(self, json: &mut Json, limit: usize, unit: Unit) -> usize {
        match (self, &mut *json) {
            (Shape::Free, _) => {
                fit_free(json, limit, unit);
                0
            }
            (Shape::Messages | Shape::Answers | Shape::Tools | Shape::List, Json::Array(items)) => {
                match self {
                    Shape::Messages | Shape::Answers => items.iter_mut().for_each(|message| {
                        let parts = message.get_mut("parts").and_then(Json::as_array_mut);
                        parts.into_iter().flatten().for_each(without_bytes);
                    }),
                    // The convention leaves them out by default, for their size.
                    Shape::Tools => items.iter_mut().for_each(|tool| {
                        tool.as_object_mut().map(|tool| tool.remove("parameters"));
                    }),
                    Shape::List => items.iter_mut().for_each(without_bytes),
                    Shape::Free => {}
                }
                if unit.size(json) <= limit {
                    return 0;
                }
                let Json::Array(items) = json else { return 0 };
                fit_list(items, self == Shape::Messages, limit, unit)
            }
            // No list: nothing that the conventions know.
            _ => {
                fit_free(json, limit, unit);
                0
            }
        }
    }
}

/// Bytes are replaced by their number.
fn without_bytes(part: &mut Json) {
    let Some(part) = part.as_object_mut() else { return };
    if part.get("type").and_then(Json::as_str) != Some("blob") {
        return;
    }
    if let Some(Json::String(content)) = part.get_mut("content") {
        let bytes = content.trim_end_matches('=').len() as u64 * 3 / 4;
        content.clear();
        part.insert("size".into(), bytes.into());
    }
}

/// Whether a text may be cut where it stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Members here say what something is, or carry it.
    Described,
    /// Everything here is carried.
    Carried,
}

/// True if the member of this name says what something is.
fn describes(key: &str) -> bool {
    matches!(key, "type" | "id" | "name" | "role" | "finish_reason" | "modality" | "mime_type" | "file_id" | "parts")
}

/// Walks over the texts of an item that may be cut.
fn texts(json: &mut Json, place: Place, each: &mut dyn FnMut(&mut String)) {
    match json {
        Json::String(text) => each(text),
        Json::Array(items) => items.iter_mut().for_each(|item| texts(item, place, each)),
        Json::Object(members) => {
            for (key, value) in members.iter_mut() {
                let known = place == Place::Described && describes(key);
                match value {
                    // What is short and says what it is stays as it is.
                    Json::String(text) if known && text.len() <= SHORT => {}
                    Json::String(text) => each(text),
                    other => texts(other, if known { Place::Described } else { Place::Carried }, each),
                }
            }
        }
        _ => {}
    }
}

/// What an item takes without its texts, and its texts' lengths.
fn measure(item: &mut Json, place: Place, unit: Unit) -> (usize, Vec<usize>) {
    let mut lengths = Vec::new();
    texts(item, place, &mut |text| lengths.push(unit.inner(text)));
    let whole = unit.size(item);
    (whole - lengths.iter().sum::<usize>(), lengths)
}

/// The longest length for which these fit into `room`, if all longer ones are cut to it.
fn level(mut lengths: Vec<usize>, room: usize) -> usize {
    lengths.sort_unstable();
    let (mut left, mut count) = (room, lengths.len());
    for length in lengths {
        if length > left / count {
            return left / count;
        }
        left -= length;
        count -= 1;
    }
    usize::MAX
}

/// Shortens the items of a list, then leaves items out: the first ones, or the last ones.
fn fit_list(items: &mut Vec<Json>, oldest_first: bool, limit: usize, unit: Unit) -> usize {
    let floor = FLOOR.min(limit / 8);
    let mut measured: Vec<(usize, Vec<usize>)> =
        items.iter_mut().map(|item| measure(item, Place::Described, unit)).collect();
    let least = |(fixed, lengths): &(usize, Vec<usize>)| {
        fixed + lengths.iter().map(|length| (*length).min(floor)).sum::<usize>() + 1
    };
    // A bracket and a comma each, and one bracket more.
    let (mut kept, mut used) = (0, 1);
    let mut ordered: Vec<usize> = measured.iter().map(least).collect();
    if oldest_first {
        ordered.reverse();
    }
    for cost in ordered {
        if used + cost > limit {
            break;
        }
        used += cost;
        kept += 1;
    }
    let lost = items.len() - kept.clamp(1, items.len().max(1)).min(items.len());
    let kept = items.len() - lost;
    if oldest_first {
        items.drain(..lost);
        measured.drain(..lost);
    } else {
        items.truncate(kept);
        measured.truncate(kept);
    }
    let fixed: usize = measured.iter().map(|(fixed, _)| fixed + 1).sum::<usize>() + 1;
    let lengths: Vec<usize> = measured.into_iter().flat_map(|(_, lengths)| lengths).collect();
    let level = level(lengths, limit.saturating_sub(fixed));
    for item in items.iter_mut() {
        texts(item, Place::Described, &mut |text| shorten(text, level, unit));
    }
    // A single item whose structure alone is too much.
    let whole: usize = items.iter().map(|item| unit.size(item) + 1).sum::<usize>() + 1;
    if whole > limit
        && let [item] = items.as_mut_slice()
    {
        let room = limit - 2;
        return if fit_item(item, room, unit) { lost } else { std::mem::take(items).len() + lost };
    }
    lost
}

/// Brings one message, part or definition down to a length by leaving out parts of it. False if nothing would be left.
fn fit_item(item: &mut Json, limit: usize, unit: Unit) -> bool {
    let Json::Object(members) = item else {
        return match pruned(item, limit, unit) {
            Some(less) => {
                *item = less;
                true
            }
            None => false,
        };
    };
    let sizes: Vec<(String, usize)> = members.iter().map(|(key, value)| (key.clone(), unit.size(value))).collect();
    let mut total = sizes.iter().map(|(key, size)| unit.quoted(key) + size + 2).sum::<usize>().max(1) + 1;
    for (key, size) in sizes.into_iter().filter(|(key, _)| key == "parts" || !describes(key)) {
        let Some(value) = members.get_mut(&key) else { continue };
        let value = std::mem::replace(value, Json::Null);
        let room = limit.saturating_sub(total - size);
        let less = match value {
            Json::Array(parts) if key == "parts" => {
                let mut left = Vec::new();
                let mut used = 1;
                for mut part in parts {
                    let size = unit.size(&part) + 1;
                    if used + size > room {
                        if fit_item(&mut part, room.saturating_sub(used + 1), unit) {
                            left.push(part);
                        }
                        break;
                    }
                    used += size;
                    left.push(part);
                }
                Some(Json::Array(left)).filter(|_| room >= 2)
            }
            value if size <= room => Some(value),
            value => pruned(&value, room, unit),
        };
        let Some(less) = less else { return false };
        total = total - size + unit.size(&less);
        members.insert(key, less);
    }
    total <= limit
}

/// Brings any value down to a length: its texts, then its members.
fn fit_free(json: &mut Json, limit: usize, unit: Unit) {
    let (fixed, lengths) = measure(json, Place::Carried, unit);
    let level = level(lengths, limit.saturating_sub(fixed));
    texts(json, Place::Carried, &mut |text| shorten(text, level, unit));
    if unit.size(json) > limit {
        *json = pruned(json, limit, unit).unwrap_or(Json::Null);
    }
}

/// The beginning of a value that has room in this length; `None` if nothing of its kind has.
fn pruned(json: &Json, limit: usize, unit: Unit) -> Option<Json> {
    match json {
        Json::String(text) => {
            let mut text = text.clone();
            shorten(&mut text, limit.checked_sub(2)?, unit);
            Some(Json::String(text))
        }
        Json::Array(items) => {
            let (mut left, mut used) = (Vec::new(), 2);
            (limit >= used).then_some(())?;
            for item in items {
                let room = limit.saturating_sub(used);
                match fitting(item, room, unit) {
                    Some((item, size, whole)) => {
                        left.push(item);
                        used += size + 1;
                        if !whole {
                            break;
                        }
                    }
                    None => break,
                }
            }
            Some(Json::Array(left))
        }
        Json::Object(members) => {
            let (mut left, mut used) = (serde_json::Map::new(), 2);
            (limit >= used).then_some(())?;
            for (key, value) in members {
                let room = limit.saturating_sub(used + unit.quoted(key) + 1);
                match fitting(value, room, unit) {
                    Some((value, size, whole)) => {
                        used += unit.quoted(key) + size + 2;
                        left.insert(key.clone(), value);
                        if !whole {
                            break;
                        }
                    }
                    None => break,
                }
            }
            Some(Json::Object(left))
        }
        other => (unit.size(other) <= limit).then(|| other.clone()),
    }
}

/// A value that has room, its length, and whether it is whole.
fn fitting(json: &Json, room: usize, unit: Unit) -> Option<(Json, usize, bool)> {
    let size = unit.size(json);
    if size <= room {
        return Some((json.clone(), size, true));
    }
    let less = pruned(json, room, unit)?;
    let size = unit.size(&less);
    Some((less, size, false))
}

#[cfg(test)]
#[path = "limits_tests.rs"]
mod tests;
