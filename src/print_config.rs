//! `onlooker print-config`

use std::{io::Write, process::ExitCode};

use pipeline::config::Config;

use crate::{
    cli::{PrintArgs, PrintFormat, PrintMode},
    error::Error,
    registry::registry,
};

/// Prints the merged configuration. A wrong one is printed too, then its problems are the error.
pub fn print_config(args: &PrintArgs) -> Result<ExitCode, Error> {
    let root = args.config.load(None)?;
    let shown = if args.mode == PrintMode::Redacted { root.redacted() } else { root.clone() };
    let text = match args.format {
        PrintFormat::Yaml => serde_yaml::to_string(&shown).map_err(|error| Error::Message(error.to_string()))?,
        PrintFormat::Json => {
            serde_json::to_string_pretty(&shown).map_err(|error| Error::Message(error.to_string()))? + "\n"
        }
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Config::check(&root, &registry())?;
    Ok(ExitCode::SUCCESS)
}
