//! `onlooker doctor`

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use receiver::{
    probes,
    targets::{analysis, discovery::Attached, image},
};

use crate::error::Error;

/// Functions of one name that are told one by one.
const FEW: usize = 4;

/// Says for each probe whether it works here, then what would be seen of the programs that run. Given files, it looks
/// into these instead. The exit code is 1 if something does not work.
pub fn doctor(files: &[PathBuf]) -> Result<ExitCode, Error> {
    let mut text = String::new();
    let fine = if files.is_empty() {
        let fine = probes(&mut text);
        programs(&mut text);
        fine
    } else {
        // Every file is looked at, also after one that is not fine.
        files.iter().filter(|path| !look(&mut text, path)).count() == 0
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn probes(text: &mut String) -> bool {
    let mut fine = true;
    for line in probes::doctor() {
        fine &= line.error.is_none();
        let mark = if line.error.is_some() { "NO " } else { "ok " };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{mark} {:<21} {}", line.name, line.purpose);
        if let Some(error) = &line.error {
            let _ = writeln!(text, "    why:  {error}");
        }
        if let Some(hint) = &line.hint {
            let _ = writeln!(text, "    do:   {hint}");
        }
    }
    fine
}

/// What would be attached to now: the system's libraries, and what the processes have mapped.
fn programs(text: &mut String) {
    let _ = writeln!(text, "\nTLS in libraries of this system and in what runs:");
    let found = receiver::ebpf::survey();
    for (entry, users) in &found {
        let users = match users.len() {
            0 => String::new(),
            1 => ", 1 process".to_owned(),
            more => format!(", {more} processes"),
        };
        match &entry.error {
            None => {
                let _ = writeln!(text, "ok  {}: {}{users}", entry.path, stacks(entry));
            }
            Some(error) => {
                let _ = writeln!(text, "NO  {}: {error}{users}", entry.path);
            }
        }
        for doubt in entry.doubts.iter().filter(|_| entry.error.is_none()) {
            let _ = writeln!(text, "NO  {}: {doubt}", entry.path);
        }
    }
    if found.is_empty() {
        let _ = writeln!(text, "    none; libraries inside containers and wheels are found when a process maps them");
    }
}

fn stacks(entry: &Attached) -> String {
    let stacks: Vec<String> =
        entry.stacks.iter().map(|(stack, method)| format!("{} by {method}", stack.as_str())).collect();
    stacks.join(", ")
}

/// Looks into a file. False if it has a TLS stack that cannot be seen, or cannot be read.
fn look(text: &mut String, path: &Path) -> bool {
    let file = match File::open(path).and_then(|file| file.metadata().map(|stat| (file, stat))) {
        Ok((file, stat)) if stat.is_file() => file,
        Ok(_) => {
            let _ = writeln!(text, "NO  {}: not a file", path.display());
            return false;
        }
        Err(error) => {
            let _ = writeln!(text, "NO  {}: {error}", path.display());
            return false;
        }
    };
    let begun = Instant::now();
    let found = analysis::file(&file);
    let millis = begun.elapsed().as_millis();
    for plan in &found.plans {
        let mut names: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for site in &plan.sites {
            names.entry(&site.name).or_default().push(format!("{:#x}", site.entry));
        }
        let names = names.into_iter().map(|(name, mut places)| {
            let more = places.len().saturating_sub(FEW);
            places.truncate(FEW);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!("{name} at {}{more}", places.join(", "))
        });
        let names: Vec<String> = names.collect();
        let stack = plan.stack.as_str();
        let _ = writeln!(text, "ok  {}: {stack} by {}: {}", path.display(), plan.method, names.join("; "));
    }
    for doubt in &found.doubts {
        let _ = writeln!(text, "NO  {}: {doubt}", path.display());
    }
    if found.plans.is_empty() && found.doubts.is_empty() {
        let length = file.metadata().map(|stat| stat.len()).unwrap_or_default();
        let fault = image::fault(&file, length).unwrap_or_else(|| "no TLS stack that onlooker knows".into());
        let _ = writeln!(text, "--  {}: {fault}", path.display());
    }
    let _ = writeln!(text, "    {millis} ms");
    found.doubts.is_empty()
}
