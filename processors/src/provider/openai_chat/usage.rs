//! How tokens are counted in chat completions, by each provider's own rule.

use pipeline::observation::{Modalities, Usage};

use crate::provider::json::Object;

/// The counts of an answer or of a chunk, wherever they stand in it.
pub fn find(body: &Object<'_>) -> Option<Usage> {
    body.object("usage")
        // Groq's streams.
        .or_else(|| body.object("x_groq").and_then(|groq| groq.object("usage")))
        .map(|found| read(&found))
        // llama.cpp tells them always, the usual way only if it is asked to.
        .or_else(|| body.object("timings").map(|found| timings(&found)))
}

/// Tokens by modality, of the objects with details of the input and of the output.
pub fn modalities(input: &Option<Object<'_>>, output: &Option<Object<'_>>) -> Modalities {
    let of = |details: &Option<Object<'_>>, key: &str| details.as_ref().and_then(|details| details.count(key));
    Modalities {
        text_input: of(input, "text_tokens"),
        image_input: of(input, "image_tokens"),
        audio_input: of(input, "audio_tokens"),
        text_output: of(output, "text_tokens"),
        image_output: of(output, "image_tokens"),
        audio_output: of(output, "audio_tokens"),
        ..Modalities::default()
    }
}

/// A `usage` object.
pub fn read(usage: &Object<'_>) -> Usage {
    let input = usage.object("prompt_tokens_details");
    let output = usage.object("completion_tokens_details");
    let of = |details: &Option<Object<'_>>, key: &str| details.as_ref().and_then(|details| details.count(key));
    let prompt = usage.count("prompt_tokens");
    let completion = usage.count("completion_tokens");
    // Perplexity has it beside the others.
    let reasoning = of(&output, "reasoning_tokens").or_else(|| usage.count("reasoning_tokens"));
    Usage {
        input: prompt,
        output: with_reasoning(prompt, completion, reasoning, usage.count("total_tokens")),
        cache_read: of(&input, "cached_tokens")
            // Moonshot's and Together's, DeepSeek's, and LiteLLM's name for the same.
            .or_else(|| usage.count("cached_tokens"))
            .or_else(|| usage.count("prompt_cache_hit_tokens"))
            .or_else(|| usage.count("cache_read_input_tokens")),
        cache_creation: of(&input, "cache_write_tokens").or_else(|| usage.count("cache_creation_input_tokens")),
        reasoning,
        modalities: modalities(&input, &output),
    }
}

/// Tokens that were written, thoughts included. xAI and Perplexity count thoughts apart: the total says so, or that there
/// are more thoughts than tokens.
fn with_reasoning(
    prompt: Option<u64>,
    completion: Option<u64>,
    reasoning: Option<u64>,
    total: Option<u64>,
) -> Option<u64> {
    let (completion, thoughts) = (completion?, reasoning.unwrap_or(0));
    let both = completion.saturating_add(thoughts);
    let apart = thoughts > completion || total.is_some_and(|total| total == prompt.unwrap_or(0).saturating_add(both));
    Some(if apart { both } else { completion })
}

/// llama.cpp's server (tools/server/README.md, "timings"): `prompt_n` leaves out what was in the cache.
fn timings(found: &Object<'_>) -> Usage {
    let cached = found.count("cache_n");
    Usage {
        input: found.count("prompt_n").map(|count| count.saturating_add(cached.unwrap_or(0))),
        output: found.count("predicted_n"),
        cache_read: cached,
        ..Usage::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(body: &str) -> (Option<u64>, Option<u64>, Option<u64>, Option<u64>) {
        let usage = find(&Object::parse(body).unwrap()).unwrap_or_default();
        (usage.input, usage.output, usage.cache_read, usage.reasoning)
    }

    #[test]
    fn each_counts_in_its_own_way() {
        for (who, body, expected) in [
            (
                "OpenAI: thoughts are within",
                r#"{"usage":{"prompt_tokens":20,"completion_tokens":30,"total_tokens":50,
                "prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":10}}}"#,
                (Some(20), Some(30), Some(4), Some(10)),
            ),
            (
                "xAI: thoughts are apart",
                r#"{"usage":{"prompt_tokens":32,"completion_tokens":9,"total_tokens":135,"num_sources_used":3,
                "prompt_tokens_details":{"cached_tokens":6,"text_tokens":32},"completion_tokens_details":{"reasoning_tokens":94}}}"#,
                (Some(32), Some(103), Some(6), Some(94)),
            ),
            (
                "Perplexity",
                r#"{"usage":{"prompt_tokens":33,"completion_tokens":71,"total_tokens":104,"citation_tokens":200,
                "num_search_queries":19,"reasoning_tokens":1581}}"#,
                (Some(33), Some(1652), None, Some(1581)),
            ),
            (
                "DeepSeek",
                r#"{"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15,"prompt_cache_hit_tokens":8,
                "prompt_cache_miss_tokens":2}}"#,
                (Some(10), Some(5), Some(8), None),
            ),
            (
                "Groq's stream",
                r#"{"x_groq":{"id":"r","usage":{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10}}}"#,
                (Some(7), Some(3), None, None),
            ),
            (
                "Moonshot",
                r#"{"usage":{"prompt_tokens":7,"completion_tokens":3,"cached_tokens":6}}"#,
                (Some(7), Some(3), Some(6), None),
            ),
            (
                "llama.cpp",
                r#"{"usage":null,"timings":{"cache_n":236,"prompt_n":1,"predicted_n":35}}"#,
                (Some(237), Some(35), Some(236), None),
            ),
            (
                "vLLM",
                r#"{"usage":{"prompt_tokens":7,"completion_tokens":0,"total_tokens":7,"prompt_tokens_details":null}}"#,
                (Some(7), Some(0), None, None),
            ),
        ] {
            assert_eq!(counts(body), expected, "{who}");
        }
    }
}
