//! Gateways: processes that serve a model's API and make calls to models for those who ask them. Their calls make no
//! turns. One that has the messages of another process's call, during that call, was made for it.

use std::{sync::Arc, time::Duration};

use pipeline::{
    Kind, Observation, ProcessKey, SpanContext, Timestamp,
    observation::{ModelCall, ProcessInfo},
};

use super::{Correlation, config::Instrumented, ids};

/// How long the answer to the one who asked may come after that of the provider.
const LATE: Duration = Duration::from_secs(10);
/// Most calls that wait.
const WAITING: usize = 1_024;

/// A gateway's call that waits for the call which it was made for.
#[derive(Debug)]
pub(super) struct Waiting {
    until: Timestamp,
    observation: Observation,
    call: Box<ModelCall>,
    /// Calls that it may have been made for.
    askers: Vec<SpanContext>,
}

/// True if the calls of this process are made for others.
pub(super) fn is_gateway(info: &ProcessInfo) -> bool {
    info.serves_models && info.agent.as_ref().is_none_or(|agent| !agent.known)
}

impl Correlation {
    /// Takes a gateway's call.
    pub(super) fn gateway_call(&mut self, mut observation: Observation, call: ModelCall, out: &mut Vec<Observation>) {
        match (call.remote_parent, self.config.instrumented) {
            (Some(_), Instrumented::Suppress) => {
                self.tally.merged += 1;
                return;
            }
            (Some(remote), Instrumented::Attach) => {
                observation.context = Some(ids::call(remote, &call));
                observation.kind = Kind::ModelCall(Box::new(call));
                return out.push(observation);
            }
            (None, _) | (Some(_), Instrumented::Duplicate) => {}
        }
        if self.waiting.len() >= WAITING {
            self.tell_gateway(0, out);
        }
        let until = call.ended.plus(LATE);
        self.waiting.push(Waiting { until, observation, call: Box::new(call), askers: Vec::new() });
    }

    /// Notes for which of the waiting calls this one may be the reason.
    pub(super) fn asked(&mut self, process: ProcessKey, call: &ModelCall, context: SpanContext) {
        for waiting in &mut self.waiting {
            let (made, messages) = (&waiting.call, &call.thread.messages);
            let during = call.started <= made.started && made.ended <= call.ended;
            if during
                && waiting.observation.process.key != process
                && !messages.is_empty()
                && made.thread.messages == *messages
            {
                waiting.askers.push(context);
            }
        }
    }

    /// Tells those for which nothing more can come.
    pub(super) fn tell_gateways(&mut self, now: Timestamp, out: &mut Vec<Observation>) {
        while let Some(at) = self.waiting.iter().position(|waiting| waiting.until <= now) {
            self.tell_gateway(at, out);
        }
    }

    fn tell_gateway(&mut self, at: usize, out: &mut Vec<Observation>) {
        let Waiting { mut observation, call, askers, .. } = self.waiting.remove(at);
        let info = Arc::clone(&observation.process);
        observation.context = Some(match askers.as_slice() {
            [asker] => ids::call(*asker, &call),
            _ => {
                let place = self.place_of(&info);
                let context = ids::call(place.context, &call);
                SpanContext { parent_span_id: context.parent_span_id.filter(|_| !place.spanless), ..context }
            }
        });
        observation.kind = Kind::ModelCall(call);
        out.push(observation);
    }
}
