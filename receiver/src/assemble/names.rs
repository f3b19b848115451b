//! Which names processes looked up, by the addresses that they got.

use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
};

use pipeline::ProcessKey;

use crate::streams::dns;

/// Addresses that are remembered; beyond it the oldest are forgotten.
const MOST: usize = 8_192;

/// Names by process and address.
#[derive(Debug, Default)]
pub struct Names {
    known: BTreeMap<(ProcessKey, IpAddr), String>,
    order: VecDeque<(ProcessKey, IpAddr)>,
}

impl Names {
    /// A process received a DNS message.
    pub fn message(&mut self, process: ProcessKey, message: &[u8]) {
        let Some(answer) = dns::read(message) else { return };
        for address in answer.addresses {
            let key = (process, address.to_canonical());
            if self.known.insert(key, answer.name.clone()).is_some() {
                continue;
            }
            self.order.push_back(key);
            if self.order.len() > MOST
                && let Some(oldest) = self.order.pop_front()
            {
                self.known.remove(&oldest);
            }
        }
    }

    /// The name that the first of these processes that asked for it got this address for: a process, then those above it.
    pub fn find(&self, processes: &[ProcessKey], address: IpAddr) -> Option<&str> {
        let address = address.to_canonical();
        processes.iter().find_map(|process| self.known.get(&(*process, address))).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::streams::dns::tests::answer;

    #[test]
    fn the_nearest_process_that_asked_counts() {
        let (child, parent, other) = (process(3), process(2), process(1));
        let mut names = Names::default();
        let address = IpAddr::from([10, 0, 0, 1]);
        names.message(parent, &answer("a.example", [10, 0, 0, 1]));
        names.message(other, &answer("b.example", [10, 0, 0, 1]));
        names.message(parent, b"no answer");
        assert_eq!(names.find(&[child, parent], address), Some("a.example"));
        assert_eq!(names.find(&[child], address), None);
        assert_eq!(names.find(&[other], "::ffff:10.0.0.1".parse().unwrap()), Some("b.example"));
        names.message(child, &answer("c.example", [10, 0, 0, 1]));
        assert_eq!(names.find(&[child, parent], address), Some("c.example"));
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let mut names = Names::default();
        for at in 0..(MOST + 10) as u32 {
            names.message(process(1), &answer("a", at.to_be_bytes()));
        }
        assert_eq!((names.known.len(), names.order.len()), (MOST, MOST));
    }

    fn process(tgid: u32) -> ProcessKey {
        ProcessKey { tgid, start: 0 }
    }
}
