//! `onlooker doctor`

use std::{fmt::Write as _, io::Write, process::ExitCode};

use receiver::{probes, targets};

use crate::error::Error;

/// Says for each probe whether it works here, then which TLS libraries of the system would be attached to. The exit code
/// is 1 if something does not work.
pub fn doctor() -> Result<ExitCode, Error> {
    let mut text = String::new();
    let mut broken = false;
    for line in probes::doctor() {
        broken |= line.error.is_some();
        let mark = if line.error.is_some() { "NO " } else { "ok " };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{mark} {:<16} {}", line.name, line.purpose);
        if let Some(error) = &line.error {
            let _ = writeln!(text, "    why:  {error}");
        }
        if let Some(hint) = &line.hint {
            let _ = writeln!(text, "    do:   {hint}");
        }
    }
    let _ = writeln!(text, "\nTLS libraries of this system:");
    let mut any = false;
    let mut seen = std::collections::BTreeSet::new();
    for path in targets::commands::system_libraries() {
        // Links and merged directories name one library several times; libssl3.so is NSS, which this version does not know.
        let path = path.canonicalize().unwrap_or(path);
        if path.file_name().is_some_and(|name| name == "libssl3.so") || !seen.insert(path.clone()) {
            continue;
        }
        any = true;
        let found = std::fs::read(&path).map_err(|error| error.to_string());
        let found = found.and_then(|bytes| targets::openssl::find(&bytes[..]).map_err(|error| error.to_string()));
        let _ = match found {
            Ok(functions) if functions.is_useful() => {
                writeln!(text, "ok  {} ({})", path.display(), functions.names().join(", "))
            }
            Ok(_) => {
                writeln!(text, "NO  {}: exports none of the functions that plaintext passes through", path.display())
            }
            Err(error) => writeln!(text, "NO  {}: {error}", path.display()),
        };
    }
    if !any {
        let _ =
            writeln!(text, "    none found; libraries inside containers and wheels are found when a process maps them");
    }
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(if broken { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
