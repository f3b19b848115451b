//! `onlooker`: watches AI agents from the kernel and reports what they did in OpenTelemetry.

mod alive;
mod cli;
mod components;
mod demo;
mod doctor;
mod error;
mod print_config;
mod registry;
mod replay;
mod run;
mod service;
mod telemetry;
mod validate;
mod verify;

use std::{io::Write, process::ExitCode};

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match cli::dispatch(cli) {
        Ok(code) => code,
        Err(error) => {
            // The one place where an error reaches the terminal; a closed stderr leaves only the exit code.
            let _ = writeln!(std::io::stderr(), "Error: {error}");
            ExitCode::FAILURE
        }
    }
}
