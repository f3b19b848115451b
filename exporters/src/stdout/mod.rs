//! The `stdout` exporter: a tree for people, or lines for programs, on the terminal.

mod config;
mod text;
mod tree;

use std::{
    io::IsTerminal,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

pub use config::{Color, Config, Form, Output};
use pipeline::{BuildContext, ComponentError, Exporter, Observation, Signal, component::BoxFuture};

use crate::{
    encode::lines::{CloudEvents, OtlpJson},
    writer::{Format, Writer},
};

struct StdoutExporter {
    config: Config,
    context: BuildContext,
    writer: Mutex<Option<Arc<Writer>>>,
}

/// Builds the exporter.
pub fn build(config: Config, context: &BuildContext) -> Result<Box<dyn Exporter>, ComponentError> {
    Ok(Box::new(StdoutExporter { config, context: context.clone(), writer: Mutex::new(None) }))
}

fn format(config: &Config, color: bool) -> Box<dyn Format> {
    match config.format {
        Form::Tree => Box::new(tree::Tree::new(color)),
        Form::Json => Box::new(OtlpJson(config.options().encoder())),
        Form::Cloudevents => Box::new(CloudEvents(config.options().encoder())),
    }
}

/// What the exporter would print of these observations, without colors.
pub fn render(config: &Config, signal: Signal, batch: &[Observation]) -> std::io::Result<String> {
    let (mut format, mut out) = (format(config, false), Vec::new());
    format.write(signal, batch, &mut out)?;
    format.finish(&mut out)?;
    Ok(String::from_utf8_lossy(&out).into_owned())
}

impl Exporter for StdoutExporter {
    fn start(&self) -> Result<(), ComponentError> {
        let (out, terminal): (Box<dyn std::io::Write + Send>, bool) = match self.config.output {
            Output::Stdout => (Box::new(std::io::stdout()), std::io::stdout().is_terminal()),
            Output::Stderr => (Box::new(std::io::stderr()), std::io::stderr().is_terminal()),
        };
        let color = match self.config.color {
            // https://no-color.org
            Color::Auto => terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
            Color::Always => true,
            Color::Never => false,
        };
        let format = format(&self.config, color);
        let writer = Writer::start(&self.context, format, out, Duration::from_millis(100))?;
        *self.writer.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(writer));
        Ok(())
    }

    fn export(&self, signal: Signal, batch: Arc<Vec<Observation>>) {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(writer) = writer {
            writer.send(signal, batch);
        }
    }

    fn shutdown(&self) -> BoxFuture<'_, Result<(), ComponentError>> {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        Box::pin(crate::stop(writer))
    }
}
