//! onlooker's exporters: OTLP over gRPC and HTTP, files, the terminal.

pub mod client;
pub mod encode;
pub mod error;
pub mod file;
pub mod otlp_grpc;
pub mod otlp_http;
pub mod queue;
pub mod stdout;
mod writer;

pub use error::Error;

use pipeline::{Exporter, Factory, Signal};

const SIGNALS: &[Signal] = &[Signal::Traces, Signal::Logs, Signal::Metrics];

/// Every exporter of this crate.
pub fn factories() -> Vec<Factory<dyn Exporter>> {
    vec![
        Factory::new("otlp_grpc", "sends OTLP over gRPC", SIGNALS, otlp_grpc::build).aliases(&["otlp"]),
        Factory::new("otlp_http", "sends OTLP over HTTP", SIGNALS, otlp_http::build).aliases(&["otlphttp"]),
        Factory::new("file", "writes OTLP/JSON or CloudEvents lines to a file", SIGNALS, file::build),
        Factory::new("stdout", "prints a tree, OTLP/JSON or CloudEvents lines", SIGNALS, stdout::build),
    ]
}

/// Stops a writer without holding up the other exporters.
async fn stop(writer: Option<std::sync::Arc<writer::Writer>>) -> Result<(), pipeline::ComponentError> {
    let Some(writer) = writer else { return Ok(()) };
    let stopped = tokio::task::spawn_blocking(move || writer.stop()).await;
    stopped.unwrap_or_else(|error| Err(pipeline::ComponentError::new(error.to_string())))
}
