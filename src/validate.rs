//! `onlooker validate`

use std::{process::ExitCode, sync::Arc};

use pipeline::{Mode, config::Config, graph::Graph, telemetry::Telemetry};

use crate::{cli::ConfigArgs, error::Error, registry::registry};

/// Types, checks and builds a configuration without starting anything.
pub fn validate(args: &ConfigArgs) -> Result<ExitCode, Error> {
    let registry = registry();
    let config = Config::check(&args.load(None)?, &registry)?;
    Graph::build(&config, &registry, &Mode::Validate, None, &Arc::new(Telemetry::default()))?;
    Ok(ExitCode::SUCCESS)
}
