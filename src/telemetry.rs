//! What onlooker says about itself: its log on stderr, and its own metrics and traces by OTLP.

use std::{sync::Arc, time::Duration};

use opentelemetry::{
    KeyValue,
    metrics::{AsyncInstrument, MeterProvider as _},
    trace::TracerProvider as _,
};
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::{Resource, metrics::SdkMeterProvider, trace::SdkTracerProvider};
use pipeline::{
    config::{Encoding, Level, SelfOtlp, SelfTelemetry as Config},
    telemetry::{Telemetry, names},
};
use tracing_subscriber::{EnvFilter, Layer, layer::SubscriberExt, util::SubscriberInitExt};

use crate::error::Error;

/// Counters, beside the chain of what was seen, that are exported as metrics of the same name.
const COUNTERS: [&str; 3] = [names::KERNEL_DROPPED, names::KUBELET_REQUESTS, names::REDACTED];

/// Started telemetry; stopped last.
pub struct SelfTelemetry {
    metrics: Option<SdkMeterProvider>,
    traces: Option<SdkTracerProvider>,
}

impl SelfTelemetry {
    /// Starts logging, and metrics and traces if the configuration asks for them. `default` is the level of the log
    /// where the configuration names none; the environment variable `ONLOOKER_LOG` overrides both.
    pub fn start(config: &Config, default: Level, counters: &Arc<Telemetry>) -> Result<Self, Error> {
        let resource = Resource::builder_empty()
            .with_attribute(KeyValue::new("service.name", "onlooker"))
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .with_attributes(config.resource.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone())))
            .build();
        let failed =
            |what: &str, error: &dyn std::fmt::Display| Error::Message(format!("service::telemetry::{what}: {error}"));

        let mut metrics = None;
        if config.metrics.level.as_deref() != Some("none") {
            let mut builder = SdkMeterProvider::builder().with_resource(resource.clone());
            let mut any = false;
            for reader in config.metrics.readers.iter().filter_map(|reader| reader.periodic.as_ref()) {
                let Some(otlp) = &reader.exporter.otlp else { continue };
                check(otlp).map_err(|message| failed("metrics::readers", &message))?;
                let exporter =
                    opentelemetry_otlp::MetricExporter::builder().with_tonic().with_endpoint(&otlp.endpoint).build();
                let exporter = exporter.map_err(|error| failed("metrics::readers", &error))?;
                let reader = opentelemetry_sdk::metrics::PeriodicReader::builder(exporter)
                    .with_interval(Duration::from_millis(reader.interval));
                builder = builder.with_reader(reader.build());
                any = true;
            }
            if any {
                let provider = builder.build();
                let meter = provider.meter("onlooker");
                for name in names::CHAIN.into_iter().chain(COUNTERS) {
                    let counters = Arc::clone(counters);
                    let observe = move |observer: &dyn AsyncInstrument<u64>| {
                        for ((_, labels), value) in
                            counters.snapshot().into_iter().filter(|((other, _), _)| *other == name)
                        {
                            let labels: Vec<_> =
                                labels.into_iter().map(|(key, value)| KeyValue::new(key, value)).collect();
                            observer.observe(value, &labels);
                        }
                    };
                    // The SDK keeps the instruments alive with their provider.
                    if names::GAUGES.contains(&name) {
                        let _ = meter.u64_observable_gauge(name).with_callback(observe).build();
                    } else {
                        let _ = meter.u64_observable_counter(name).with_callback(observe).build();
                    }
                }
                metrics = Some(provider);
            }
        }

        let mut traces = None;
        let targets: Vec<_> = config
            .traces
            .processors
            .iter()
            .filter_map(|processor| processor.batch.as_ref()?.exporter.otlp.as_ref())
            .collect();
        if !targets.is_empty() {
            let mut builder = SdkTracerProvider::builder().with_resource(resource);
            for otlp in targets {
                check(otlp).map_err(|message| failed("traces::processors", &message))?;
                let exporter =
                    opentelemetry_otlp::SpanExporter::builder().with_tonic().with_endpoint(&otlp.endpoint).build();
                builder = builder.with_batch_exporter(exporter.map_err(|error| failed("traces::processors", &error))?);
            }
            traces = Some(builder.build());
        }

        let level = match std::env::var("ONLOOKER_LOG").as_deref() {
            Ok(level @ ("debug" | "info" | "warn" | "error")) => level.to_owned(),
            Ok(other) => {
                return Err(Error::Message(format!("ONLOOKER_LOG={other}: expected debug, info, warn or error")));
            }
            Err(_) => match config.logs.level.unwrap_or(default) {
                Level::Debug => "debug",
                Level::Info => "info",
                Level::Warn => "warn",
                Level::Error => "error",
            }
            .to_owned(),
        };
        // Libraries stay at warnings whatever the level: their debug lines can hold headers.
        let filter =
            format!("warn,onlooker={level},pipeline={level},receiver={level},processors={level},exporters={level}");
        let filter = EnvFilter::try_new(&filter).map_err(|error| Error::Message(error.to_string()))?;
        let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
        let log = match config.logs.encoding {
            Encoding::Console => {
                log.with_target(false).with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).boxed()
            }
            Encoding::Json => log.json().boxed(),
        };
        // Its own spans only: a library's could hold headers.
        let own = EnvFilter::try_new("off,onlooker=info,pipeline=info,receiver=info,processors=info,exporters=info");
        let own = own.map_err(|error| Error::Message(error.to_string()))?;
        let spans = traces
            .as_ref()
            .map(|provider| tracing_opentelemetry::layer().with_tracer(provider.tracer("onlooker")).with_filter(own));
        // A second start in one process (the demo's fallback) keeps the first subscriber.
        let _ = tracing_subscriber::registry().with(spans).with(log.with_filter(filter)).try_init();
        Ok(Self { metrics, traces })
    }

    /// Sends what is left.
    pub fn stop(self) {
        // Nobody is left to tell about a failure.
        if let Some(metrics) = self.metrics {
            let _ = metrics.shutdown();
        }
        if let Some(traces) = self.traces {
            let _ = traces.shutdown();
        }
    }
}

fn check(otlp: &SelfOtlp) -> Result<(), String> {
    match otlp.protocol.as_deref() {
        None | Some("grpc") => {}
        Some(other) => return Err(format!("protocol {other:?} is not available (use grpc)")),
    }
    if otlp.endpoint.is_empty() { Err("endpoint is required, as http://localhost:4317".into()) } else { Ok(()) }
}
