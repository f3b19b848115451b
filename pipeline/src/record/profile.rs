//! Attributes under another state of the conventions' names than the default one.

use super::{Attributes, List, Value};
use crate::{
    observation::{Kind, ModelCall, Observation},
    semconv::{self as name, Profile},
};

/// The finish reason of a choice whose end was expected and never came (`next`).
const NEVER_FINISHED: &str = "error";
/// Most choices that are filled up with it: a request may name any number.
const MOST_CHOICES: usize = 128;

/// Turns the attributes of an observation, as [`super::attributes`] and [`super::content`] give them, into those of a
/// profile. All names are in the table of [`crate::semconv`].
pub fn adapt(profile: Profile, observation: &Observation, attributes: &mut Attributes) {
    if profile == Profile::V2026_08 {
        return;
    }
    for (name, value) in attributes.iter_mut() {
        *name = profile.attribute(name);
        if *name == name::GEN_AI_OUTPUT_MESSAGES
            && let Value::Json(serde_json::Value::Array(messages)) = value
        {
            // It went to gen_ai.response.finish_reasons.
            for message in messages.iter_mut().filter_map(serde_json::Value::as_object_mut) {
                message.remove("finish_reason");
            }
        }
    }
    if let Kind::ModelCall(call) = &observation.kind {
        modalities(call, attributes);
        finish_reasons(call, attributes);
    }
}

fn modalities(call: &ModelCall, attributes: &mut Attributes) {
    let split = &call.usage.modalities;
    let mut out = List(Vec::new());
    for (name, count) in [
        (name::GEN_AI_USAGE_TEXT_INPUT_TOKENS, split.text_input),
        (name::GEN_AI_USAGE_TEXT_OUTPUT_TOKENS, split.text_output),
        (name::GEN_AI_USAGE_TEXT_CACHE_READ_INPUT_TOKENS, split.text_cache_read),
        (name::GEN_AI_USAGE_IMAGE_INPUT_TOKENS, split.image_input),
        (name::GEN_AI_USAGE_IMAGE_OUTPUT_TOKENS, split.image_output),
        (name::GEN_AI_USAGE_IMAGE_CACHE_READ_INPUT_TOKENS, split.image_cache_read),
        (name::GEN_AI_USAGE_AUDIO_INPUT_TOKENS, split.audio_input),
        (name::GEN_AI_USAGE_AUDIO_OUTPUT_TOKENS, split.audio_output),
        (name::GEN_AI_USAGE_AUDIO_CACHE_READ_INPUT_TOKENS, split.audio_cache_read),
    ] {
        out.count(name, count);
    }
    if out.0.is_empty() {
        return;
    }
    // Beside the totals that they are parts of.
    let last = attributes.iter().rposition(|(name, _)| name.starts_with("gen_ai.usage."));
    let at = last.map_or(attributes.len(), |last| last + 1);
    attributes.splice(at..at, out.0);
}

/// One reason a choice, in order; what was begun and broken off ended by an error.
fn finish_reasons(call: &ModelCall, attributes: &mut Attributes) {
    // An answer began: 101 is that of a WebSocket.
    let began = call.reply.status.is_some_and(|status| status < 300);
    if !(call.operation.is_inference() && began && call.error.is_some()) {
        return;
    }
    let wanted = usize::try_from(call.parameters.choice_count.unwrap_or(1)).unwrap_or(1).clamp(1, MOST_CHOICES);
    let mut reasons = call.reply.finish_reasons.clone();
    if reasons.len() >= wanted {
        return;
    }
    reasons.resize(wanted, NEVER_FINISHED.to_owned());
    let value = Value::Strings(reasons);
    match attributes.iter_mut().find(|(name, _)| *name == name::GEN_AI_RESPONSE_FINISH_REASONS) {
        Some((_, reasons)) => *reasons = value,
        None => attributes.push((name::GEN_AI_RESPONSE_FINISH_REASONS, value)),
    }
}
