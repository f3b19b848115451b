//! The session of an agent, as its environment tells it.

use pipeline::observation::ProcessInfo;

use super::Correlation;
use crate::identity::agents;

impl Correlation {
    /// Children are told the session of the agent above them.
    pub(super) fn learn_session(&mut self, info: &ProcessInfo) {
        if info.markers.is_empty() {
            return;
        }
        for above in self.ancestors(info.key) {
            let Some(proc) = self.processes.get(&above) else { continue };
            let Some(agent) = proc.info.agent.as_ref().filter(|agent| agent.known) else { continue };
            let variable = agents::by_name(&agent.name).and_then(|row| row.session);
            let told = variable.and_then(|variable| info.markers.get(variable));
            let own = variable.and_then(|variable| proc.info.markers.get(variable));
            // What the agent itself inherited is not its own.
            if let Some(told) = told.filter(|told| !told.is_empty() && Some(*told) != own)
                && let Some(proc) = self.processes.get_mut(&above)
            {
                proc.session = Some(told.clone());
            }
            return;
        }
    }

    /// The session in an agent's own environment, unless an agent of the same kind above it put it there.
    pub(super) fn own_session(&self, info: &ProcessInfo) -> Option<String> {
        let agent = info.agent.as_ref().filter(|agent| agent.known)?;
        let value = info.markers.get(agents::by_name(&agent.name)?.session?).filter(|value| !value.is_empty())?;
        let inherited = self.ancestors(info.key).iter().any(|above| {
            let above = self.processes.get(above).and_then(|proc| proc.info.agent.as_ref());
            above.is_some_and(|above| above.known && above.name == agent.name)
        });
        (!inherited).then(|| value.clone())
    }
}
