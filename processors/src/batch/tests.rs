use std::{sync::Arc, time::Duration};

use pipeline::{
    Kind,
    config::{Component, Problems, render, values::GoDuration},
    observation::{Process, ProcessPhase},
};

use super::*;

fn observation(at: u64) -> Observation {
    Observation::new(Timestamp(at), Arc::default(), Kind::Process(Box::new(Process { phase: ProcessPhase::Fork })))
}

fn times(out: &mut Vec<Observation>) -> Vec<u64> {
    out.drain(..).map(|observation| observation.time.nanos()).collect()
}

const MS: u64 = 1_000_000;

#[test]
fn time_hands_on() {
    let (mut batch, mut out) = (Batch::new(Config::default()), Vec::new());
    batch.process(observation(1), &mut out);
    batch.advance(Timestamp(10 * MS), &mut out);
    batch.process(observation(2), &mut out);
    batch.advance(Timestamp(209 * MS), &mut out);
    assert!(out.is_empty());
    batch.advance(Timestamp(210 * MS), &mut out);
    assert_eq!(times(&mut out), [1, 2]);
    // The next one has its own time.
    batch.process(observation(3), &mut out);
    batch.advance(Timestamp(300 * MS), &mut out);
    batch.advance(Timestamp(499 * MS), &mut out);
    assert!(out.is_empty());
    batch.finish(Timestamp(499 * MS), &mut out);
    assert_eq!(times(&mut out), [3]);
}

#[test]
fn size_hands_on() {
    let config = Config { send_batch_size: 3, ..Config::default() };
    let (mut batch, mut out) = (Batch::new(config), Vec::new());
    for at in 0..7 {
        batch.process(observation(at), &mut out);
    }
    assert_eq!(times(&mut out), [0, 1, 2, 3, 4, 5]);
    batch.finish(Timestamp(9), &mut out);
    assert_eq!(times(&mut out), [6]);
}

#[test]
fn no_time_means_at_once() {
    let config = Config { timeout: GoDuration(Duration::ZERO), ..Config::default() };
    let (mut batch, mut out) = (Batch::new(config), Vec::new());
    batch.process(observation(1), &mut out);
    assert_eq!(times(&mut out), [1]);
}

#[test]
fn a_limit_below_the_size_is_refused() {
    let mut problems = Problems::new();
    Config { send_batch_max_size: 10, ..Config::default() }.validate("processors::batch", &mut problems);
    assert!(render(&problems).starts_with("processors::batch::send_batch_max_size: must be greater"));
}

#[test]
fn the_readme_lists_the_keys() {
    for key in ["send_batch_size", "timeout", "send_batch_max_size"] {
        assert!(include_str!("README.md").contains(&format!("| `{key}` |")), "{key}");
    }
}
