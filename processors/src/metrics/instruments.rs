//! The metrics of the conventions (semantic-conventions-genai fe5608e, "GenAI metrics" and "MCP metrics", and what its main
//! branch renames): names, units, buckets.

/// How values are kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// In buckets with these upper bounds.
    Histogram(&'static [f64]),
    /// Added up.
    Counter,
}

/// A metric.
#[derive(Debug, PartialEq)]
pub struct Instrument {
    /// Its name.
    pub name: &'static str,
    /// Its unit (UCUM).
    pub unit: &'static str,
    /// What it measures.
    pub description: &'static str,
    /// How values are kept.
    pub kind: Kind,
}

const SECONDS: &[f64] = &[0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];
const LONG_SECONDS: &[f64] = &[0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 102.4, 204.8, 409.6];
const MCP_SECONDS: &[f64] = &[0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];
const TOKENS: &[f64] = &[
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1024.0,
    4096.0,
    16384.0,
    65536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];
const CALLS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];

macro_rules! instruments {
    ($($id:ident = $name:literal, $unit:literal, $kind:expr, $description:literal;)*) => {
        $(#[doc = $description] pub static $id: Instrument =
            Instrument { name: $name, unit: $unit, description: $description, kind: $kind };)*
        /// All of them.
        pub static ALL: &[&Instrument] = &[$(&$id),*];
    };
}

instruments! {
    OPERATION_DURATION = "gen_ai.client.operation.duration", "s", Kind::Histogram(SECONDS), "Duration of a call to a model.";
    TIME_TO_FIRST_CHUNK = "gen_ai.client.operation.time_to_first_chunk", "s", Kind::Histogram(SECONDS), "Time from the request to the first chunk with content of a streamed answer.";
    TIME_PER_OUTPUT_CHUNK = "gen_ai.client.operation.time_per_output_chunk", "s", Kind::Histogram(SECONDS), "Time per chunk with content after the first one.";
    TOKEN_USAGE = "gen_ai.client.token.usage", "{token}", Kind::Histogram(TOKENS), "Tokens of a call, as the provider reported them.";
    TOOL_DURATION = "gen_ai.execute_tool.duration", "s", Kind::Histogram(SECONDS), "Duration of a tool call.";
    AGENT_DURATION = "gen_ai.invoke_agent.duration", "s", Kind::Histogram(LONG_SECONDS), "Duration of a turn of an agent.";
    AGENT_INFERENCE_CALLS = "gen_ai.invoke_agent.inference_calls", "{inference_call}", Kind::Histogram(CALLS), "Model calls of a turn.";
    AGENT_TOOL_CALLS = "gen_ai.invoke_agent.tool_calls", "{tool_call}", Kind::Histogram(CALLS), "Tool calls of a turn.";
    MCP_CLIENT_DURATION = "mcp.client.operation.duration", "s", Kind::Histogram(MCP_SECONDS), "Duration of an MCP request as its sender sees it.";
    MCP_SERVER_DURATION = "mcp.server.operation.duration", "s", Kind::Histogram(MCP_SECONDS), "Duration of an MCP request as its receiver sees it.";
    MCP_CLIENT_SESSION_DURATION = "mcp.client.session.duration", "s", Kind::Histogram(MCP_SECONDS), "Duration of an MCP session as its client sees it.";
    MCP_SERVER_SESSION_DURATION = "mcp.server.session.duration", "s", Kind::Histogram(MCP_SECONDS), "Duration of an MCP session as its server sees it.";
    NEXT_DURATION = "gen_ai.client.inference.duration", "s", Kind::Histogram(SECONDS), "Duration of an inference.";
    NEXT_TIME_TO_FIRST_CHUNK = "gen_ai.client.inference.time_to_first_chunk", "s", Kind::Histogram(SECONDS), "Time from the request to the first chunk with content of a streamed answer.";
    NEXT_TIME_PER_OUTPUT_CHUNK = "gen_ai.client.inference.time_per_output_chunk", "s", Kind::Histogram(SECONDS), "Time per chunk with content after the first one.";
    NEXT_INPUT_TOKENS = "gen_ai.client.inference.usage.input_tokens", "{token}", Kind::Counter, "Input tokens, cached ones included.";
    NEXT_OUTPUT_TOKENS = "gen_ai.client.inference.usage.output_tokens", "{token}", Kind::Counter, "Output tokens, reasoning included.";
    NEXT_CACHE_READ_TOKENS = "gen_ai.client.inference.usage.cache_read.input_tokens", "{token}", Kind::Counter, "Input tokens that were read from the provider's cache.";
    NEXT_CACHE_WRITE_TOKENS = "gen_ai.client.inference.usage.cache_write.input_tokens", "{token}", Kind::Counter, "Input tokens that were written to the provider's cache.";
    NEXT_REASONING_TOKENS = "gen_ai.client.inference.usage.reasoning.output_tokens", "{token}", Kind::Counter, "Output tokens spent on reasoning.";
    NEXT_OPERATION_INPUT_TOKENS = "gen_ai.client.inference.operation.input_tokens", "{token}", Kind::Histogram(TOKENS), "Input tokens of an inference.";
    NEXT_OPERATION_OUTPUT_TOKENS = "gen_ai.client.inference.operation.output_tokens", "{token}", Kind::Histogram(TOKENS), "Output tokens of an inference.";
}

/// The metric of this name.
pub fn find(name: &str) -> Option<&'static Instrument> {
    ALL.iter().find(|instrument| instrument.name == name).copied()
}
