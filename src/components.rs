//! `onlooker components`

use std::{fmt::Write as _, io::Write, process::ExitCode};

use pipeline::Factory;

use crate::{error::Error, registry::registry};

/// Prints what a configuration can use, as YAML.
pub fn components() -> Result<ExitCode, Error> {
    let registry = registry();
    let mut text = format!("buildinfo:\n  command: onlooker\n  version: {}\n", env!("CARGO_PKG_VERSION"));
    section(&mut text, "receivers", &registry.receivers);
    section(&mut text, "processors", &registry.processors);
    section(&mut text, "exporters", &registry.exporters);
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn section<T: ?Sized>(text: &mut String, name: &str, factories: &[Factory<T>]) {
    let mut sorted: Vec<_> = factories.iter().collect();
    sorted.sort_by_key(|factory| factory.kind);
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{name}:");
    for factory in sorted {
        let signals: Vec<_> = factory.signals.iter().map(|signal| signal.as_str()).collect();
        let _ = writeln!(
            text,
            "  - name: {}\n    description: {:?}\n    signals: [{}]",
            factory.kind,
            factory.description,
            signals.join(", ")
        );
        if !factory.aliases.is_empty() {
            let _ = writeln!(text, "    aliases: [{}]", factory.aliases.join(", "));
        }
    }
}
