//! Saying that onlooker lives: to systemd (sd_notify(3)), and by a file whose age a probe can check.
//!
//! It is said only while every receiver's own loop turns: a process that is there but sees nothing is not alive.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use pipeline::telemetry::{CounterKey, Telemetry, names};
use sd_notify::NotifyState;

/// How often it is said, if systemd does not ask for more. Receivers turn their loops at least twice a second.
const INTERVAL: Duration = Duration::from_secs(10);

/// Tells systemd something, if it listens.
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd could not be told.");
    }
}

/// Everything is started.
pub fn ready() {
    tell(&[NotifyState::Ready, NotifyState::Status("watching")]);
}

/// The stop has begun.
pub fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("sending what is queued")]);
}

/// Says again and again that onlooker lives; ends never. The file is rewritten each time; an error is logged once.
pub async fn say(counters: Arc<Telemetry>, file: Option<PathBuf>) {
    let asked = sd_notify::watchdog_enabled();
    let interval = asked.map_or(INTERVAL, |limit| (limit / 3).clamp(Duration::from_secs(1), INTERVAL));
    let mut clock = tokio::time::interval(interval);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut last = BTreeMap::new();
    let (mut silent, mut unwritten) = (false, false);
    loop {
        clock.tick().await;
        let now = pulses(&counters);
        let stuck: Vec<&str> = stuck(&last, &now).collect();
        if stuck.is_empty() {
            silent = false;
            if asked.is_some() {
                tell(&[NotifyState::Watchdog]);
            }
            if let Some(path) = &file
                && let Err(error) = tokio::fs::write(path, "ok\n").await
                && !std::mem::replace(&mut unwritten, true)
            {
                tracing::error!(path = %path.display(), %error, "service::liveness_file cannot be written.");
            }
        } else if !std::mem::replace(&mut silent, true) {
            tracing::error!(receivers = ?stuck, "A receiver stands still; not telling that onlooker lives.");
        }
        last = now;
    }
}

fn pulses(counters: &Telemetry) -> BTreeMap<CounterKey, u64> {
    counters.snapshot().into_iter().filter(|((name, _), _)| *name == names::PULSE).collect()
}

/// Receivers whose loop has not turned since.
fn stuck<'a>(last: &'a BTreeMap<CounterKey, u64>, now: &'a BTreeMap<CounterKey, u64>) -> impl Iterator<Item = &'a str> {
    let same = now.iter().filter(|(key, count)| last.get(*key) == Some(count));
    same.flat_map(|((_, labels), _)| labels.iter().map(|(_, value)| value.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_that_stands_still_is_named() {
        let counters = Telemetry::default();
        let (one, two) = (
            counters.counter(names::PULSE, &[("receiver", "a")]),
            counters.counter(names::PULSE, &[("receiver", "b")]),
        );
        let before = pulses(&counters);
        one.add(1);
        let after = pulses(&counters);
        assert_eq!(stuck(&before, &after).collect::<Vec<_>>(), ["b"]);
        two.add(1);
        assert_eq!(stuck(&BTreeMap::new(), &after).count(), 0);
    }
}
