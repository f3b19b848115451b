//! Exponential intervals with jitter.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use super::Retry;

/// The intervals between the tries of one request.
pub struct Backoff<'a> {
    retry: &'a Retry,
    interval: Duration,
}

impl<'a> Backoff<'a> {
    /// Before the first retry.
    pub fn new(retry: &'a Retry) -> Self {
        Self { retry, interval: retry.initial_interval.0.min(retry.max_interval.0) }
    }

    /// How long to wait before the next try.
    pub fn next(&mut self) -> Duration {
        // A hasher's random keys are random enough to spread retries.
        let random = (RandomState::new().hash_one(0u8) >> 11) as f64 / (1u64 << 53) as f64;
        self.next_with(random)
    }

    fn next_with(&mut self, random: f64) -> Duration {
        let now = self.interval;
        let next = Duration::try_from_secs_f64(now.as_secs_f64() * self.retry.multiplier);
        self.interval = next.unwrap_or(Duration::MAX).min(self.retry.max_interval.0);
        let factor = 1.0 + self.retry.randomization_factor * (2.0 * random - 1.0);
        Duration::try_from_secs_f64(now.as_secs_f64() * factor).unwrap_or(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_grow_to_their_limit_and_vary_by_the_factor() {
        let retry = Retry::default();
        let seconds = |random: f64| {
            let mut backoff = Backoff::new(&retry);
            (0..7).map(|_| backoff.next_with(random).as_secs_f64()).collect::<Vec<_>>()
        };
        assert_eq!(seconds(0.5), [5.0, 7.5, 11.25, 16.875, 25.3125, 30.0, 30.0]);
        assert_eq!(seconds(0.0)[0], 2.5);
        assert_eq!(seconds(1.0)[6], 45.0);
        let first = Backoff::new(&retry).next().as_secs_f64();
        assert!((2.5..=7.5).contains(&first));
    }
}
