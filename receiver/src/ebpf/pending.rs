//! Facts that wait for their exec to be next in order.

use std::collections::HashMap;

use pipeline::ProcessKey;

use crate::record::Facts;

/// Facts by process, with the time of the exec and the time when they had been read (ns since boot).
#[derive(Debug, Default)]
pub struct Pending(HashMap<ProcessKey, Vec<(u64, u64, Facts)>>);

impl Pending {
    /// A process executed a program at this time. What was read of it later than that, for an earlier exec, is of this
    /// program and not of that one.
    pub fn exec(&mut self, process: ProcessKey, time: u64) {
        if let Some(facts) = self.0.get_mut(&process) {
            facts.retain(|(exec, read, _)| *exec >= time || *read < time);
        }
    }

    /// What was read of a process for its exec at this time.
    pub fn add(&mut self, time: u64, read: u64, facts: Facts) {
        self.0.entry(facts.process).or_default().push((time, read, facts));
    }

    /// The facts of an exec. Those of earlier ones are of no use any more.
    pub fn take(&mut self, process: ProcessKey, time: u64) -> Option<Facts> {
        let waiting = self.0.get_mut(&process)?;
        let at = waiting.iter().position(|(exec, ..)| *exec == time);
        let found = at.map(|at| waiting.swap_remove(at).2);
        waiting.retain(|(exec, ..)| *exec > time);
        if waiting.is_empty() {
            self.0.remove(&process);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROCESS: ProcessKey = ProcessKey { tgid: 7, start: 1 };

    fn facts(executable: &str) -> Facts {
        Facts { process: PROCESS, executable: Some(executable.into()), ..Facts::default() }
    }

    #[test]
    fn facts_of_the_next_program_are_not_those_of_the_one_before() {
        let mut pending = Pending::default();
        // `env` is executed at 10 and executes `node` at 20: who looks at 30 sees node twice.
        pending.exec(PROCESS, 10);
        pending.add(10, 30, facts("node"));
        pending.exec(PROCESS, 20);
        pending.add(20, 31, facts("node"));
        assert_eq!(pending.take(PROCESS, 10), None);
        assert_eq!(pending.take(PROCESS, 20), Some(facts("node")));
        assert!(pending.0.is_empty());

        pending.add(40, 45, facts("env"));
        pending.exec(PROCESS, 50);
        pending.add(50, 55, facts("node"));
        pending.exec(ProcessKey { tgid: 8, start: 1 }, 44);
        assert_eq!(pending.take(PROCESS, 40), Some(facts("env")));
        assert_eq!(pending.take(PROCESS, 40), None);
        assert_eq!(pending.take(PROCESS, 50), Some(facts("node")));
        assert!(pending.0.is_empty());
    }
}
