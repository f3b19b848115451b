//! `signing`: gives each record a signed CloudEvents envelope, chained to the one before, so that a changed, removed,
//! doubled or reordered record shows. [`verify`] checks the result.

pub mod canonical;
mod chain;
mod config;
mod envelope;
mod key;
#[cfg(test)]
mod tests;
pub mod verify;

use std::sync::Arc;

use pipeline::{
    BuildContext, ComponentError, Factory, Kind, Mode, Observation, Processor, Signal, Tally, Timestamp,
    observation::{Finding, Host, ProcessInfo, Severity},
    record::{Envelope, Record, Value},
};

pub use chain::{GENESIS, SEQUENCE_DIGITS};
pub use config::Config;
pub use envelope::TYPE_PREFIX;
pub use key::{ALGORITHM, Key, MIN_LENGTH};

use crate::error::Error;
use chain::{Chain, StateFile};

/// Name of the event that ends a chain. A chain without it may have lost its end.
pub const CLOSED: &str = "onlooker.chain.closed";

/// The factory of this processor.
pub fn factory() -> Factory<dyn Processor> {
    Factory::new(
        "signing",
        "signs each record and chains it to the one before, so that tampering shows",
        &[Signal::Logs],
        |config, context| Ok(Box::new(Signing::new(&config, context)?)),
    )
}

/// The processor.
pub struct Signing {
    key: Key,
    key_id: String,
    /// Tells instances of one run apart.
    instance: String,
    chain: Option<Chain>,
    state: Option<StateFile>,
    /// True if `chain` is further than the state file.
    dirty: bool,
    /// True if a record of this run was signed.
    signed: bool,
    host: Arc<Host>,
    latest: Timestamp,
    /// Records that close the chain.
    made: u64,
}

impl Signing {
    /// Reads the key and the state.
    pub fn new(config: &Config, context: &BuildContext) -> Result<Self, ComponentError> {
        let key = match (&config.key_file, &config.key) {
            (Some(file), _) => {
                warn_if_readable(file);
                Key::read(file)
            }
            (None, Some(key)) => Key::new(key.expose().as_bytes()),
            (None, None) => Err(Error::ShortKey { length: 0 }),
        };
        let key = key.map_err(|error| ComponentError::new(error.to_string()))?;
        let key_id = config.key_id.clone().unwrap_or_else(|| key.id().to_owned());
        let wanted = config.state_file.as_ref().filter(|_| context.mode != Mode::Validate);
        let (state, chain) = match wanted {
            None => (None, None),
            Some(path) => {
                let (state, chain) =
                    StateFile::open(path, &key, &key_id).map_err(|error| ComponentError::new(error.to_string()))?;
                (Some(state), chain)
            }
        };
        // One configured id can have several instances: where pipelines fork before it.
        let instances = context.telemetry.counter("onlooker.signing.instances", &[("processor", &context.id)]);
        let instance = format!("{}#{}", context.id, instances.get());
        instances.add(1);
        Ok(Self {
            key,
            key_id,
            instance,
            chain,
            state,
            dirty: false,
            signed: false,
            host: Arc::default(),
            latest: Timestamp::default(),
            made: 0,
        })
    }

    fn sign(&mut self, observation: &Observation, record: &Record) -> Envelope {
        let source = envelope::source(&observation.process.host);
        let chain = match &mut self.chain {
            // One chain has one source. The host's name may have changed since the state was kept.
            Some(chain) if self.signed || chain.source == source => chain,
            slot => slot.insert(Chain::begin(source, self.key_id.clone(), &self.instance, record.time)),
        };
        if !self.signed {
            self.host = Arc::clone(&observation.process.host);
        }
        (self.signed, self.dirty) = (true, true);
        self.latest = self.latest.max(record.time);
        chain.append(envelope::envelope(observation, record), &self.key)
    }

    fn save(&mut self) {
        if let (true, Some(state), Some(chain)) = (self.dirty, &self.state, &self.chain) {
            match state.save(chain, &self.key) {
                Ok(()) => self.dirty = false,
                Err(error) => {
                    tracing::error!(%error, "Cannot write the chain's state file. After a restart the chain will not go on where it ended.");
                }
            }
        }
    }
}

impl Processor for Signing {
    fn process(&mut self, mut observation: Observation, out: &mut Vec<Observation>) {
        if let Some(record) = pipeline::record::record(&observation) {
            observation.envelope = Some(Arc::new(self.sign(&observation, &record)));
        }
        out.push(observation);
    }

    fn advance(&mut self, _: Timestamp, _: &mut Vec<Observation>) {
        // Called after each batch and before it is handed on: the state is never behind what was given out.
        self.save();
    }

    fn finish(&mut self, now: Timestamp, out: &mut Vec<Observation>) {
        if let (true, Some(chain)) = (self.signed, &self.chain) {
            let records = i64::try_from(chain.sequence).unwrap_or(i64::MAX).saturating_add(1);
            let process = Arc::new(ProcessInfo { host: Arc::clone(&self.host), ..ProcessInfo::default() });
            let finding = Finding {
                name: CLOSED,
                severity: Severity::Info,
                message: "the chain of signed records ends here".into(),
                attributes: vec![
                    ("onlooker.chain.id", Value::from(chain.id.as_str())),
                    ("onlooker.chain.records", Value::from(records)),
                ],
            };
            let closing = Observation::new(now.max(self.latest), process, Kind::Finding(Box::new(finding)));
            self.process(closing, out);
            self.made += 1;
        }
        self.save();
    }

    fn tally(&self) -> Tally {
        Tally { made: self.made, ..Tally::default() }
    }
}

fn warn_if_readable(file: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(file).map_or(0, |metadata| metadata.permissions().mode());
    if mode & 0o004 != 0 {
        tracing::warn!(file = %file.display(), "Everybody on this host can read the signing key, and so can forge records. Do: chmod 600.");
    }
}
