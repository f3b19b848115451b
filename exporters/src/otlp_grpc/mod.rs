//! The `otlp_grpc` exporter: OTLP over gRPC (opentelemetry-proto, docs/specification.md, "OTLP/gRPC").

mod config;

use std::time::Duration;

pub use config::Config;
use opentelemetry_proto::tonic::collector::{
    logs::v1::logs_service_client::LogsServiceClient, metrics::v1::metrics_service_client::MetricsServiceClient,
    trace::v1::trace_service_client::TraceServiceClient,
};
use pipeline::{BuildContext, ComponentError, Exporter};
use tonic::{
    Code, Status,
    codec::CompressionEncoding,
    metadata::{AsciiMetadataValue, MetadataKey, MetadataMap},
    transport::{Certificate, Channel, ClientTlsConfig, Identity},
};
use tonic_types::StatusExt;

use crate::{
    Error,
    client::{Compression, Headers, Pem, causes, install_provider, server_text},
    encode::Request,
    queue::{Client, Queued},
};

/// Builds the exporter. Certificates are read and the channel is made at the start.
pub fn build(config: Config, context: &BuildContext) -> Result<Box<dyn Exporter>, ComponentError> {
    let settings = config.settings();
    let id = context.id.clone();
    Ok(Box::new(Queued::new(settings, context, Box::new(move || Grpc::new(&config, &id)))))
}

struct Grpc {
    id: String,
    traces: TraceServiceClient<Channel>,
    logs: LogsServiceClient<Channel>,
    metrics: MetricsServiceClient<Channel>,
    metadata: MetadataMap,
    headers: Headers,
}

impl Grpc {
    fn new(config: &Config, id: &str) -> Result<Self, ComponentError> {
        let wrong = |error: &dyn std::error::Error| ComponentError::new(causes(error));
        let uri = config.uri().map_err(ComponentError::new)?;
        let secure = uri.scheme_str() == Some("https");
        let mut endpoint = Channel::builder(uri)
            .user_agent(concat!("onlooker/", env!("CARGO_PKG_VERSION")))
            .map_err(|error| wrong(&error))?
            .connect_timeout(config.timeout.0);
        if secure {
            install_provider();
            let mut tls = match config.tls.ca()? {
                Some(pem) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)),
                None => ClientTlsConfig::new().with_native_roots(),
            };
            if let Some(Pem { cert, key }) = config.tls.identity()? {
                tls = tls.identity(Identity::from_pem(cert, key));
            }
            if let Some(name) = &config.tls.server_name_override {
                tls = tls.domain_name(name);
            }
            endpoint = endpoint.tls_config(tls).map_err(|error| wrong(&error))?;
        }
        let mut metadata = MetadataMap::new();
        for (name, value) in &config.headers {
            let key = MetadataKey::from_bytes(name.to_ascii_lowercase().as_bytes());
            let (Ok(key), Ok(mut value)) = (key, AsciiMetadataValue::try_from(value.expose())) else {
                return Err(ComponentError::new(format!("headers::{name} cannot be sent")));
            };
            value.set_sensitive(true);
            metadata.insert(key, value);
        }
        let channel = endpoint.connect_lazy();
        let mut traces = TraceServiceClient::new(channel.clone());
        let mut logs = LogsServiceClient::new(channel.clone());
        let mut metrics = MetricsServiceClient::new(channel);
        if config.compression == Compression::Gzip {
            traces = traces.send_compressed(CompressionEncoding::Gzip);
            logs = logs.send_compressed(CompressionEncoding::Gzip);
            metrics = metrics.send_compressed(CompressionEncoding::Gzip);
        }
        traces = traces.accept_compressed(CompressionEncoding::Gzip);
        logs = logs.accept_compressed(CompressionEncoding::Gzip);
        metrics = metrics.accept_compressed(CompressionEncoding::Gzip);
        Ok(Self { id: id.to_owned(), traces, logs, metrics, metadata, headers: config.headers.clone() })
    }

    fn request<T>(&self, message: &T, limit: Duration) -> tonic::Request<T>
    where
        T: Clone,
    {
        let mut request = tonic::Request::new(message.clone());
        *request.metadata_mut() = self.metadata.clone();
        request.set_timeout(limit);
        request
    }

    fn failed(&self, status: &Status) -> Error {
        let after = status.get_details_retry_info().and_then(|info| info.retry_delay);
        let cause = std::error::Error::source(status).map(|cause| format!(": {}", causes(cause))).unwrap_or_default();
        let text = format!("{}{cause}", status.message());
        let message = format!("{:?}: {}", status.code(), server_text(&text, &self.headers));
        if retryable(status.code(), after.is_some()) {
            Error::Retryable { message, after }
        } else {
            Error::Permanent(message)
        }
    }

    fn accepted(&self, partial: Option<(i64, String)>) -> u64 {
        let Some((rejected, message)) = partial.filter(|(rejected, message)| *rejected > 0 || !message.is_empty())
        else {
            return 0;
        };
        let message = server_text(&message, &self.headers);
        tracing::warn!(exporter = %self.id, message, rejected, "Partial success response");
        u64::try_from(rejected).unwrap_or(0)
    }
}

/// The specification's list, "Failures": RESOURCE_EXHAUSTED only if the server says when to come again.
fn retryable(code: Code, retry_info: bool) -> bool {
    match code {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => true,
        Code::ResourceExhausted => retry_info,
        _ => false,
    }
}

impl Client for Grpc {
    type Body = Request;

    fn prepare(&self, request: Request) -> Result<Request, Error> {
        Ok(request)
    }

    async fn send(&self, body: &Request, limit: Duration) -> Result<u64, Error> {
        let partial = match body {
            Request::Traces(message) => {
                let response = self.traces.clone().export(self.request(message, limit)).await;
                let response = response.map_err(|status| self.failed(&status))?.into_inner();
                response.partial_success.map(|partial| (partial.rejected_spans, partial.error_message))
            }
            Request::Logs(message) => {
                let response = self.logs.clone().export(self.request(message, limit)).await;
                let response = response.map_err(|status| self.failed(&status))?.into_inner();
                response.partial_success.map(|partial| (partial.rejected_log_records, partial.error_message))
            }
            Request::Metrics(message) => {
                let response = self.metrics.clone().export(self.request(message, limit)).await;
                let response = response.map_err(|status| self.failed(&status))?.into_inner();
                response.partial_success.map(|partial| (partial.rejected_data_points, partial.error_message))
            }
        };
        Ok(self.accepted(partial))
    }
}
