//! The one explicit list of the components of this binary.

use pipeline::Registry;

/// Every receiver, processor and exporter.
pub fn registry() -> Registry {
    Registry {
        receivers: receiver::factories(),
        processors: processors::factories(),
        exporters: exporters::factories(),
    }
}
