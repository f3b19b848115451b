//! `provider`: understands calls to models. An [`Exchange`](pipeline::observation::Exchange) becomes a
//! [`ModelCall`](pipeline::observation::ModelCall) or ends here; everything else passes.

mod config;

pub use config::{Config, Custom, CustomApi};

use pipeline::{BuildContext, ComponentError, Factory, Observation, Processor, Signal, observation::Kind};

/// The factory of this processor.
pub fn factory() -> Factory<dyn Processor> {
    Factory::new(
        "provider",
        "recognises calls to models and decodes them",
        &[Signal::Traces, Signal::Logs, Signal::Metrics],
        build,
    )
}

fn build(config: Config, _: &BuildContext) -> Result<Box<dyn Processor>, ComponentError> {
    Ok(Box::new(Provider { config }))
}

struct Provider {
    #[allow(dead_code, reason = "decoders follow")]
    config: Config,
}

impl Processor for Provider {
    fn process(&mut self, observation: Observation, out: &mut Vec<Observation>) {
        match observation.kind {
            Kind::Exchange(_) => {}
            _ => out.push(observation),
        }
    }
}
