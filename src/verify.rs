//! `onlooker verify`

use std::{io::Write, process::ExitCode};

use processors::signing::verify::{Keys, Options, verify_files};

use crate::{cli::VerifyArgs, error::Error};

/// Checks signed records offline. The exit code is 1 if anything is wrong.
pub fn verify(args: &VerifyArgs) -> Result<ExitCode, Error> {
    let message = |error: processors::error::Error| Error::Message(error.to_string());
    let mut keys = Keys::default();
    for key in &args.keys {
        keys.add_file(key).map_err(message)?;
    }
    let options = Options {
        require_closed: args.require_closed,
        allow_partial: args.allow_partial,
        allow_unsigned: args.allow_unsigned,
        ..Options::default()
    };
    let report = verify_files(&args.files, &keys, &options).map_err(message)?;
    std::io::stdout().write_all(format!("{report}\n").as_bytes())?;
    Ok(if report.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
