//! The line of an observation in the tree. Text from observed processes is foreign: control characters are escaped, so
//! that no process can write to the operator's terminal through us.

use std::time::Duration;

use pipeline::{
    Kind, Observation,
    observation::{
        Evidence, Exit, Link, Match, McpCall, McpTarget, Message, MessagePart, ModelCall, OpaqueCall, ProcessInfo,
        ProcessPhase, Role, ToolCall, TurnEnd,
    },
    record,
};

use crate::encode;

/// Arguments are shortened to this many characters.
const ARGS: usize = 100;

/// A line: its head (what it is), what follows, and whether it failed.
pub struct Line {
    /// What it is, as `chat gpt-4o`.
    pub head: String,
    /// Details.
    pub rest: String,
    /// Failures stand out.
    pub failed: bool,
    /// What was said, a line each.
    pub notes: Vec<String>,
}

/// The line of an observation with a span.
pub fn line(observation: &Observation) -> Option<Line> {
    let name = encode::span_name(observation)?;
    let (start, end) = encode::span_times(observation);
    let time = duration(Duration::from_nanos(end - start));
    let (head, rest) = match &observation.kind {
        Kind::ModelCall(call) => (name, format!("{time}  {}", model_call(call, observation.link))),
        Kind::ToolCall(call) => (name, format!("{time}  {}", tool_call(call))),
        Kind::McpCall(call) => (name, format!("{time}  {}", mcp_call(call))),
        Kind::AgentTurn(turn) => {
            let mut rest =
                format!("{time}  {}, {}", plural(turn.model_calls, "model call"), plural(turn.tool_calls, "tool call"));
            match observation.link {
                Some(Link::Prompt) => rest.push_str("  matched by prompt"),
                Some(Link::Sole) => rest.push_str("  the only open call"),
                _ => {}
            }
            if turn.end != TurnEnd::Answered {
                rest.push_str(&format!("  ended: {}", turn.end.as_str()));
            }
            (name, rest)
        }
        Kind::Process(process) => {
            let ended = match process.phase {
                ProcessPhase::Exit(exit) => self::exit(exit),
                _ => "went on as another program".into(),
            };
            (command(&observation.process), format!("[{}]  {ended}  {time}", observation.process.key.tgid))
        }
        _ => return None,
    };
    Some(Line {
        head: escape(&head),
        rest: escape(&rest),
        failed: encode::failure(observation).is_some(),
        notes: notes(observation),
    })
}

/// What was said, where content is captured for spans: each on one line and shortened.
fn notes(observation: &Observation) -> Vec<String> {
    let (mut asked, mut answered) = (Vec::new(), Vec::new());
    match &observation.kind {
        Kind::AgentTurn(turn) => {
            let content = turn.content.as_ref().filter(|content| content.mode.on_spans());
            asked.extend(content.map(|content| said(content.input.last())));
        }
        Kind::ModelCall(call) => {
            let content = call.content.as_ref().filter(|content| content.mode.on_spans());
            // In a turn, the turn shows it, or the tool whose result it is.
            if let (Some(content), None) = (content, call.turn) {
                asked.push(content.query.clone().unwrap_or_else(|| said(content.input.last())));
            }
            answered.extend(content.iter().flat_map(|content| &content.output).map(|message| said(Some(message))));
        }
        Kind::ToolCall(call) => {
            let content = call.content.as_ref().or_else(|| call.mcp.as_ref()?.content.as_ref());
            if let Some(content) = content.filter(|content| content.mode.on_spans()) {
                asked.extend(content.arguments.as_ref().map(plain));
                answered.extend(content.result.as_ref().map(plain));
            }
        }
        Kind::McpCall(call) => {
            if let Some(content) = call.content.as_ref().filter(|content| content.mode.on_spans()) {
                asked.extend(content.arguments.as_ref().map(plain));
                answered.extend(content.result.as_ref().map(plain));
            }
        }
        _ => {}
    }
    let marked = |mark, texts: Vec<String>| {
        texts.into_iter().filter_map(move |text| Some(format!("{mark} {}", shortened(&text)?)))
    };
    marked(ASKED, asked).chain(marked(ANSWERED, answered)).collect()
}

const ASKED: &str = "»";
const ANSWERED: &str = "«";
/// Characters of a note.
const NOTE: usize = 160;

/// A message in words.
fn said(message: Option<&Message>) -> String {
    let part = |part: &MessagePart| match part {
        MessagePart::Text { content } => content.clone(),
        MessagePart::Reasoning { content } => format!("(thinks: {content})"),
        MessagePart::ToolCall { name, arguments, .. } => {
            format!("{name}({})", arguments.as_ref().map(plain).unwrap_or_default())
        }
        MessagePart::ToolCallResponse { response, .. } => plain(response),
        MessagePart::ServerToolCall { name, .. } => format!("{name}(…)"),
        MessagePart::Blob { modality, .. } | MessagePart::File { modality, .. } => format!("[{modality}]"),
        MessagePart::Uri { uri, .. } => format!("[{uri}]"),
        MessagePart::Compaction { .. } => "[compaction]".into(),
        MessagePart::ServerToolCallResponse { .. } | MessagePart::Other(_) => "[…]".into(),
    };
    message.map(|message| message.parts.iter().map(part).collect::<Vec<_>>().join(" ")).unwrap_or_default()
}

fn plain(json: &serde_json::Value) -> String {
    json.as_str().map_or_else(|| json.to_string(), Into::into)
}

/// One line, not too long; nothing of nothing.
fn shortened(text: &str) -> Option<String> {
    // More than what is shown is not even looked at.
    let mut words = String::new();
    for word in text.split_whitespace() {
        if !words.is_empty() {
            words.push(' ');
        }
        words.extend(word.chars().take(NOTE + 1));
        if words.len() > NOTE * 4 {
            break;
        }
    }
    let mut short: String = words.chars().take(NOTE).collect();
    if short.len() < words.len() {
        short.push('…');
    }
    (!short.is_empty()).then(|| escape(&short))
}

fn model_call(call: &ModelCall, link: Option<Link>) -> String {
    let mut parts = Vec::new();
    let with = |count: u64, more: Option<u64>, word: &str| match more.filter(|more| *more > 0) {
        Some(more) => format!("{count} ({more} {word})"),
        None => count.to_string(),
    };
    let mut tokens = Vec::new();
    if let Some(input) = call.usage.input {
        tokens.push(format!("in {}", with(input, call.usage.cache_read, "cached")));
    }
    if let Some(output) = call.usage.output {
        tokens.push(format!("out {}", with(output, call.usage.reasoning, "reasoning")));
    }
    if !tokens.is_empty() {
        parts.push(tokens.join(" "));
    }
    if !call.reply.finish_reasons.is_empty() {
        parts.push(call.reply.finish_reasons.join(", "));
    }
    if let Some(model) = call.reply.model.as_ref().filter(|model| Some(*model) != call.parameters.model.as_ref()) {
        parts.push(format!("by {model}"));
    }
    if let Some(first) = call.reply.time_to_first_chunk {
        parts.push(format!("first chunk {}", duration(first)));
    }
    match link {
        // One of a gateway, below the one that it was made for.
        Some(Link::Messages) if call.turn.is_none() => parts.push("matched by messages".into()),
        Some(Link::Heir) => parts.push("by another process of the agent".into()),
        _ => {}
    }
    if let Some(error) = &call.error {
        parts.push(format!(
            "ERROR {}{}",
            error.kind,
            error.message.as_ref().map(|message| format!(": {message}")).unwrap_or_default()
        ));
    }
    if let Some(loss) = call.losses.first() {
        parts.push(format!("INCOMPLETE: {} {}", loss.part.as_str(), loss.reason.as_str()));
    }
    parts.join("  ")
}

fn mcp_call(call: &McpCall) -> String {
    let mut parts = Vec::new();
    if let Some(McpTarget::Resource(uri)) = &call.target {
        parts.push(uri.clone());
    }
    if let Some(server) = &call.server.name {
        parts.push(format!("server {server}"));
    }
    if let Some(program) = call.program {
        parts.push(format!("process {}  the only open request", program.tgid));
    }
    if call.role == Role::Server && call.id.is_some() {
        parts.push("answered here".into());
    }
    if let Some(error) = &call.error {
        let message = error.message.as_ref().map(|message| format!(": {message}")).unwrap_or_default();
        parts.push(format!("ERROR {}{message}", error.kind));
    }
    if let Some(loss) = call.losses.first() {
        parts.push(format!("INCOMPLETE: {} {}", loss.part.as_str(), loss.reason.as_str()));
    }
    parts.join("  ")
}

/// A connection that could not be read, on one line.
pub fn opaque_call(call: &OpaqueCall) -> String {
    let provider = call.provider.as_ref().map(|provider| format!(" ({provider})")).unwrap_or_default();
    let first = call.first_byte.map(|first| format!(", first byte {}", duration(first))).unwrap_or_default();
    escape(&format!(
        "{}{provider}: sent {} B, received {} B{first}, {}",
        call.server_name,
        call.sent,
        call.received,
        duration(call.ended.since(call.started))
    ))
}

fn tool_call(call: &ToolCall) -> String {
    let mut parts = Vec::new();
    match (call.evidence, call.process) {
        (Evidence::Process, Some(process)) => parts.push(format!("process {}", process.tgid)),
        (Evidence::Mcp, _) => {
            let server = call.mcp.as_ref().and_then(|call| call.server.name.clone());
            parts.push(server.map_or_else(|| "by MCP".to_owned(), |server| format!("by MCP, server {server}")));
        }
        _ => parts.push("no process seen".into()),
    }
    parts.extend(call.exit.map(exit));
    parts.extend(call.matched.map(|matched| {
        match matched {
            Match::CallId => "matched by call id",
            Match::Command => "matched by command",
            Match::Sole => "the only open call",
        }
        .to_owned()
    }));
    if call.result_error {
        parts.push("result: error".into());
    }
    parts.join("  ")
}

fn exit(exit: Exit) -> String {
    match exit.signal {
        Some(signal) => format!("killed by {}", record::signal_name(signal)),
        None => format!("exit {}", exit.code),
    }
}

/// The command line, quoted where a shell would need it.
fn command(process: &ProcessInfo) -> String {
    let quote = |arg: &String| {
        let plain = !arg.is_empty() && arg.chars().all(|c| c.is_alphanumeric() || "-_./=:,@%+".contains(c));
        if plain { arg.clone() } else { format!("'{}'", arg.replace('\'', "'\\''")) }
    };
    let text = if process.args.is_empty() {
        process.executable_name().to_owned()
    } else {
        process.args.iter().map(quote).collect::<Vec<_>>().join(" ")
    };
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.chars().count() <= ARGS && !process.args_truncated {
        return text;
    }
    text.chars().take(ARGS - 1).chain(['…']).collect()
}

fn plural(count: u32, word: &str) -> String {
    format!("{count} {word}{}", if count == 1 { "" } else { "s" })
}

fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    match seconds {
        s if s < 0.001 => format!("{:.0}µs", s * 1e6),
        s if s < 1.0 => format!("{:.0}ms", s * 1e3),
        s if s < 100.0 => format!("{s:.2}s"),
        s => format!("{:.0}m{:02.0}s", (s / 60.0).floor(), s % 60.0),
    }
}

/// Escapes control characters, and those that change the direction of text (Unicode Bidi_Control).
pub fn escape(text: &str) -> String {
    let foreign = |c: char| {
        c.is_control()
            || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars()
        .flat_map(|c| {
            if foreign(c) { c.escape_default().collect::<String>() } else { c.to_string() }.chars().collect::<Vec<_>>()
        })
        .collect()
}
