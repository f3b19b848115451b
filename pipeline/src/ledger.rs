//! The balance of onlooker's counters: what a stage was given is what it passed on, dropped for a told reason, or still
//! has. Anything else would be a loss that nobody told.

use std::collections::BTreeMap;

use crate::telemetry::{CounterKey, names};

/// One stage's account, in its own unit: events of the kernel, observations, or items of an exporter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// What it was given, and what it made itself.
    pub given: u64,
    /// What it passed on, or made part of something else.
    pub passed: u64,
    /// What it dropped, for reasons that are counted.
    pub dropped: u64,
    /// What it still has.
    pub pending: u64,
}

impl Account {
    /// What no counter explains: 0, but for the moments in which a count is on its way from one counter to the next.
    /// Positive: lost; negative: told twice.
    pub fn unexplained(&self) -> i128 {
        i128::from(self.given) - i128::from(self.passed) - i128::from(self.dropped) - i128::from(self.pending)
    }
}

/// The accounts by stage, as `receiver ebpf`, `processor correlation`, `exporter otlp traces`.
pub fn accounts(counters: &[(CounterKey, u64)]) -> BTreeMap<String, Account> {
    let mut accounts: BTreeMap<String, Account> = BTreeMap::new();
    for ((name, labels), count) in counters {
        let label = |wanted: &str| labels.iter().find(|(key, _)| *key == wanted).map(|(_, value)| value.as_str());
        let (kind, id) = match (label("receiver"), label("processor"), label("exporter")) {
            (Some(id), ..) => ("receiver", id),
            (_, Some(id), _) => ("processor", id),
            (.., Some(id)) => ("exporter", id),
            _ => continue,
        };
        let place = label("signal").map_or_else(|| format!("{kind} {id}"), |signal| format!("{kind} {id} {signal}"));
        let field: fn(&mut Account) -> &mut u64 = match *name {
            names::READ | names::INCOMING | names::MADE | names::OFFERED => |account| &mut account.given,
            names::ASSEMBLED | names::OUTGOING | names::MERGED | names::EXPORTED => |account| &mut account.passed,
            // What the kernel could not hand over was never read.
            names::KERNEL_DROPPED if label("reason") == Some(names::QUEUE_FULL) => |account| &mut account.dropped,
            names::FAILURES | names::EXPORT_DROPPED => |account| &mut account.dropped,
            names::HELD | names::PENDING => |account| &mut account.pending,
            _ => continue,
        };
        *field(accounts.entry(place).or_default()) += count;
    }
    accounts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Telemetry;

    #[test]
    fn what_nobody_explains_is_found() {
        let telemetry = Telemetry::default();
        let count = |name, labels: &[(&'static str, &str)], n| telemetry.counter(name, labels).add(n);
        let ebpf = [("receiver", "ebpf")];
        count(names::READ, &ebpf, 100);
        count(names::ASSEMBLED, &ebpf, 97);
        count(names::KERNEL_DROPPED, &[ebpf[0], ("reason", names::QUEUE_FULL)], 3);
        count(names::KERNEL_DROPPED, &[ebpf[0], ("reason", "payload_ring_full")], 50);
        let turns = [("processor", "correlation")];
        count(names::INCOMING, &turns, 97);
        count(names::MADE, &turns, 3);
        count(names::OUTGOING, &turns, 90);
        count(names::MERGED, &turns, 4);
        count(names::HELD, &turns, 6);
        let otlp = [("exporter", "otlp"), ("signal", "traces")];
        count(names::OFFERED, &otlp, 90);
        count(names::EXPORTED, &otlp, 80);
        count(names::EXPORT_DROPPED, &[otlp[0], otlp[1], ("reason", "permanent")], 7);
        count(names::PENDING, &otlp, 2);
        let accounts = accounts(&telemetry.snapshot());
        let unexplained: Vec<_> =
            accounts.iter().map(|(place, account)| (place.as_str(), account.unexplained())).collect();
        assert_eq!(unexplained, [("exporter otlp traces", 1), ("processor correlation", 0), ("receiver ebpf", 0)]);
    }
}
