//! What all of onlooker's stages share: the [`Observation`], the component traits, ids, configuration
//! loading, the graph that runs the components, and onlooker's own counters.
//!
//! Dependencies point one way: this crate knows no kernel, no provider and no OTLP.

pub mod component;
pub mod config;
pub mod errno;
pub mod error;
pub mod graph;
pub mod ids;
pub mod ledger;
pub mod mask;
pub mod observation;
pub mod providers;
pub mod record;
pub mod semconv;
pub mod sse;
pub mod telemetry;

pub use component::{
    Batch, BuildContext, Exporter, Factory, Mode, Output, Processor, Receiver, Registry, Shared, Signal, Tally,
};
pub use error::{ComponentError, Error};
pub use ids::{ComponentId, ConnectionKey, ProcessKey, SpanContext, SpanId, Timestamp, TraceId};
pub use observation::{Kind, Observation};
