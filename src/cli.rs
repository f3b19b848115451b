//! The command line.

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};
use pipeline::config::{Node, Sources};

use crate::error::Error;

/// Watches AI agents on this host from the kernel and reports what they asked their models, what they were told to do
/// and what they really did, as OpenTelemetry.
#[derive(Parser)]
#[command(version, arg_required_else_help = true, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

/// Where the configuration comes from.
#[derive(Args, Clone, Default)]
pub struct ConfigArgs {
    /// Configuration file (or `env:NAME`, `yaml:TEXT`). Repeatable: later ones are merged over earlier ones
    #[arg(long = "config", value_name = "FILE")]
    pub files: Vec<String>,
    /// Override one value, as `--set exporters.otlp_grpc.endpoint=host:4317`. Repeatable
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
}

#[derive(Subcommand)]
enum Command {
    /// Watch one command and its children, and nothing else
    ///
    /// The command's input, output, signals and exit code pass through. Under sudo it runs as the calling user.
    /// Without --config, the trace tree goes to stderr when a turn ends.
    Run(RunArgs),
    /// Check a configuration; print nothing if it is right
    Validate(ConfigArgs),
    /// List the components that a configuration can use
    Components,
    /// Print the configuration after merging and substitution
    PrintConfig(PrintArgs),
    /// Say for each probe whether it works here, and if not, why and what to do
    ///
    /// Given files: which TLS stacks are in them, and which of their functions would be attached to.
    Doctor(DoctorArgs),
    /// Show the main job on a built-in agent, without an API key
    Demo(DemoArgs),
    /// Give the output of a recorded run (`run --record`), on any machine, without root
    Replay(ReplayArgs),
    /// Check signed records: what was changed, removed, doubled or reordered
    Verify(VerifyArgs),
}

/// `onlooker doctor`
#[derive(Args, Clone)]
pub struct DoctorArgs {
    /// Programs or libraries to look into, instead of at this machine
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// `onlooker run`
#[derive(Args, Clone)]
pub struct RunArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Write OTLP/JSON lines to this file, one export request per line
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Keep the raw events in this file, for `onlooker replay`. It holds message content; credentials are masked
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// The command to watch and its arguments
    #[arg(trailing_var_arg = true, required = true, value_name = "CMD", allow_hyphen_values = true)]
    pub command: Vec<String>,
}

/// `onlooker print-config`
#[derive(Args)]
pub struct PrintArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Whether secrets are shown
    #[arg(long, value_enum, default_value = "redacted")]
    pub mode: PrintMode,
    /// Form of the output
    #[arg(long, value_enum, default_value = "yaml")]
    pub format: PrintFormat,
}

/// Whether `print-config` shows secrets.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum PrintMode {
    /// Secrets are replaced.
    Redacted,
    /// Everything is shown.
    Unredacted,
}

/// Form of `print-config`'s output.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum PrintFormat {
    /// YAML.
    Yaml,
    /// JSON.
    Json,
}

/// `onlooker demo`
#[derive(Args)]
pub struct DemoArgs {
    /// Show the recorded run even where the kernel could be watched
    #[arg(long)]
    pub recorded: bool,
    /// Keep the raw events of the live run in this file
    #[arg(long, value_name = "FILE", conflicts_with = "recorded")]
    pub record: Option<PathBuf>,
    /// Write OTLP/JSON lines to this file as well
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// `onlooker replay`
#[derive(Args)]
pub struct ReplayArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Write OTLP/JSON lines to this file
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// A file made by `run --record`
    pub file: PathBuf,
}

/// `onlooker verify`
#[derive(Args)]
pub struct VerifyArgs {
    /// Key file, as `PATH` or `KEY_ID=PATH`. Repeatable
    #[arg(long = "key-file", value_name = "[ID=]PATH", required = true)]
    pub keys: Vec<String>,
    /// Fail also when a chain has no closing record (its end may be cut off)
    #[arg(long)]
    pub require_closed: bool,
    /// Accept files that hold only part of a chain (its first record is not the chain's first)
    #[arg(long)]
    pub allow_partial: bool,
    /// Accept lines that are not signed (they prove nothing)
    #[arg(long)]
    pub allow_unsigned: bool,
    /// Files of CloudEvents lines or OTLP/JSON lines, in order
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// Runs the command that was asked for.
pub fn dispatch(cli: Cli) -> Result<ExitCode, Error> {
    match cli.command {
        None => crate::service::service(&cli.config),
        Some(Command::Run(args)) => crate::run::run(&args),
        Some(Command::Validate(config)) => crate::validate::validate(&config),
        Some(Command::Components) => crate::components::components(),
        Some(Command::PrintConfig(args)) => crate::print_config::print_config(&args),
        Some(Command::Doctor(args)) => crate::doctor::doctor(&args.files),
        Some(Command::Demo(args)) => crate::demo::demo(&args),
        Some(Command::Replay(args)) => crate::replay::replay(&args),
        Some(Command::Verify(args)) => crate::verify::verify(&args),
    }
}

/// Reads an environment variable of this process.
pub fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

impl ConfigArgs {
    /// Loads and merges what was named, over `default` if no file was.
    pub fn load(&self, default: Option<&str>) -> Result<Node, Error> {
        let mut sources = Sources::default();
        let mut problems = Vec::new();
        for location in &self.files {
            if let Err(problem) = sources.add(location, &env) {
                problems.push(problem);
            }
        }
        if !problems.is_empty() {
            return Err(problems.into());
        }
        if self.files.is_empty() {
            let Some(default) = default else {
                return Err(Error::Message("at least one --config flag must be provided".into()));
            };
            sources.files.push(("the built-in configuration".into(), default.into()));
        }
        sources.sets.clone_from(&self.sets);
        Ok(sources.load(&env)?)
    }
}
