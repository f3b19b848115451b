//! The `file` exporter: OTLP/JSON lines as the Collector's file exporter writes them, or CloudEvents lines.

mod config;

use std::{
    fs::{File, OpenOptions},
    io::BufWriter,
    sync::{Arc, Mutex, PoisonError},
};

pub use config::{Config, LineFormat};
use pipeline::{BuildContext, ComponentError, Exporter, Observation, Signal, component::BoxFuture};

use crate::{
    encode::lines::{CloudEvents, OtlpJson},
    writer::{Format, Writer},
};

struct FileExporter {
    config: Config,
    context: BuildContext,
    writer: Mutex<Option<Arc<Writer>>>,
}

/// Builds the exporter. The file is opened at the start, not here.
pub fn build(config: Config, context: &BuildContext) -> Result<Box<dyn Exporter>, ComponentError> {
    Ok(Box::new(FileExporter { config, context: context.clone(), writer: Mutex::new(None) }))
}

impl FileExporter {
    fn open(&self) -> Result<File, ComponentError> {
        let path = std::path::Path::new(&self.config.path);
        if self.config.create_directory
            && let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty())
        {
            std::fs::create_dir_all(folder)
                .map_err(|error| ComponentError::new(format!("cannot create {}: {error}", folder.display())))?;
        }
        let append = self.config.append;
        OpenOptions::new().create(true).write(true).append(append).truncate(!append).open(path).map_err(|error| {
            let hint = if error.kind() == std::io::ErrorKind::NotFound {
                " (set create_directory: true to make its directory)"
            } else {
                ""
            };
            ComponentError::new(format!("cannot write {}: {error}{hint}", path.display()))
        })
    }
}

impl Exporter for FileExporter {
    fn start(&self) -> Result<(), ComponentError> {
        let format: Box<dyn Format> = match self.config.format {
            LineFormat::Json => Box::new(OtlpJson(self.config.options().encoder())),
            LineFormat::Cloudevents => Box::new(CloudEvents(self.config.options().encoder())),
        };
        let writer =
            Writer::start(&self.context, format, Box::new(BufWriter::new(self.open()?)), self.config.flush_interval.0)?;
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
