//! `onlooker demo`
use std::process::ExitCode;
use crate::{cli::DemoArgs, error::Error};
/// Shows the main job.
pub fn demo(_: &DemoArgs) -> Result<ExitCode, Error> {
    Err(Error::Message("the demo is being built".into()))
}
