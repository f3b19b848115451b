//! A secret of every kind in every text of every observation: behind `redaction` it is in nothing that an exporter writes.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod fill;

use std::sync::Arc;

use exporters::{
    encode::options::{Compatibility, Options},
    stdout::{self, Form},
};
use fill::Fill;
use pipeline::{
    BuildContext, Mode, Observation, Processor, Signal, Timestamp,
    config::values::Secret,
    mask::{Class, Example, KINDS},
    semconv::Profile,
};
use processors::{redaction, signing};
use prost::Message;

fn context() -> BuildContext {
    BuildContext {
        mode: Mode::default(),
        record: None,
        id: "test".into(),
        telemetry: Arc::default(),
        shared: Arc::default(),
    }
}

fn through(mut processor: impl Processor, input: Vec<Observation>) -> Vec<Observation> {
    let mut out = Vec::new();
    for observation in input {
        processor.process(observation, &mut out);
    }
    processor.finish(Timestamp(2_000), &mut out);
    out
}

fn redacted(input: Vec<Observation>) -> Vec<Observation> {
    let generic = KINDS.iter().filter(|kind| kind.class == Class::Generic);
    let config = redaction::Config {
        enabled: generic.map(|kind| kind.name.to_owned()).collect(),
        ..redaction::Config::default()
    };
    through(redaction::Redaction::new(&config, &context()).unwrap(), input)
}

fn signed(input: Vec<Observation>) -> Vec<Observation> {
    let config =
        signing::Config { key: Some(Secret::new("an invented key of 32 characters")), ..signing::Config::default() };
    through(signing::Signing::new(&config, &context()).unwrap(), input)
}

/// Everything that any exporter writes of these, by name.
fn written(batch: &[Observation]) -> Vec<(String, Vec<u8>)> {
    let everything = Compatibility {
        openinference: true,
        span_events: true,
        gen_ai_system: true,
        agent_usage: true,
        inference_events: Some(true),
        exception_events: true,
    };
    let mut out = Vec::new();
    for semconv in [Profile::default(), Profile::Next] {
        let limits = Default::default();
        let encoder = Options { semconv, limits: &limits, compatibility: &everything }.encoder();
        // What otlp_grpc and otlp_http send.
        if let Some((request, _)) = encoder.traces(batch) {
            out.push(("OTLP traces".into(), request.encode_to_vec()));
        }
        if let Some((request, _)) = encoder.logs(batch) {
            out.push(("OTLP logs".into(), request.encode_to_vec()));
        }
        for form in [Form::Json, Form::Cloudevents, Form::Tree] {
            for signal in [Signal::Traces, Signal::Logs, Signal::Metrics] {
                let config =
                    stdout::Config { format: form, semconv, compatibility: everything.clone(), ..Default::default() };
                let text = stdout::render(&config, signal, batch).unwrap();
                out.push((format!("{form:?} of {signal:?}"), text.into_bytes()));
            }
        }
    }
    if let Some((request, _)) = exporters::encode::metrics(batch) {
        out.push(("OTLP metrics".into(), request.encode_to_vec()));
    }
    out
}

fn contains(bytes: &[u8], word: &str) -> bool {
    bytes.windows(word.len()).any(|window| window == word.as_bytes())
}

#[test]
fn no_secret_of_any_kind_is_in_what_exporters_write() {
    for kind in KINDS {
        let Example { name, text, secret } = kind.example();
        let out = redacted(Fill(&text).observations());
        // In the record itself first: what nobody writes today somebody may write tomorrow.
        for observation in &out {
            let whole = format!("{observation:?}");
            assert!(!whole.contains(&secret), "{name} is left in {whole}");
        }
        for (what, bytes) in written(&out).into_iter().chain(written(&signed(out.clone()))) {
            assert!(!contains(&bytes, &secret), "{name} is in {what}: {}", String::from_utf8_lossy(&bytes));
        }
    }
}

/// Else the test above would prove nothing.
#[test]
fn without_redaction_the_secret_is_in_all_of_it() {
    let Example { text, secret, .. } = KINDS[0].example();
    let all = Fill(&text).observations();
    let written = written(&all);
    for what in ["OTLP traces", "OTLP logs", "OTLP metrics", "Json of Traces", "Cloudevents of Logs", "Tree of Traces"]
    {
        let mut found = written.iter().filter(|(name, _)| name == what).peekable();
        assert!(found.peek().is_some(), "{what}");
        assert!(found.all(|(_, bytes)| contains(bytes, &secret)), "{what}");
    }
}

/// Ids, digests and times of an ordinary run are not what is masked.
#[test]
fn what_is_no_secret_stays() {
    for text in ["toolu_01A09q90qw90lq917835lq9", "3f786850e387550fdab836ed7e6dc881de23001b", "max_tokens=100"] {
        let all = Fill(text).observations();
        let config = redaction::Config::default();
        let out = through(redaction::Redaction::new(&config, &context()).unwrap(), all.clone());
        for (before, after) in all.iter().zip(&out) {
            let mut before = before.clone();
            if let pipeline::Kind::McpCall(call) = &mut before.kind {
                (call.raw_arguments, call.raw_result) = (None, None);
            }
            if let pipeline::Kind::ToolCall(call) = &mut before.kind
                && let Some(call) = &mut call.mcp
            {
                (call.raw_arguments, call.raw_result) = (None, None);
            }
            assert_eq!(format!("{before:?}"), format!("{after:?}"));
        }
    }
}
