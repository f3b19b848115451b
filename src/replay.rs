//! `onlooker replay FILE`

use std::process::ExitCode;

use pipeline::{
    Mode,
    config::{Level, Node},
};

use crate::{
    cli::ReplayArgs,
    error::Error,
    run,
    service::{Started, runtime},
};

/// Gives the output of a recorded run.
pub fn replay(args: &ReplayArgs) -> Result<ExitCode, Error> {
    let mut root = args.config.load(Some(run::BUILT_IN))?;
    if args.config.files.is_empty() {
        root.set(&["exporters", "stdout", "output"], Node::Str("stdout".into()));
    }
    if let Some(path) = &args.output {
        run::add_output(&mut root, path);
    }
    replay_with(root, args.file.clone())
}

/// Replays a file through the pipelines of a configuration, whatever their receivers.
pub fn replay_with(mut root: Node, file: std::path::PathBuf) -> Result<ExitCode, Error> {
    root.set(
        &["receivers"],
        Node::Map(vec![("replay".into(), Node::Map(vec![("file".into(), Node::Str(file.display().to_string()))]))]),
    );
    let pipelines: Vec<String> = run::pipelines(&root);
    for id in &pipelines {
        root.set(&["service", "pipelines", id, "receivers"], Node::Seq(vec![Node::Str("replay".into())]));
    }
    runtime()?.block_on(async {
        let mut started = Started::start(&root, Mode::Replay { file }, None, Level::Warn).await?;
        started.finished().await;
        started.stop().await?;
        Ok(ExitCode::SUCCESS)
    })
}
