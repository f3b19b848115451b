//! onlooker's processors, a folder each. Registered by name in [`factories`], the one list.

use pipeline::{Factory, Processor};

pub mod batch;
pub mod correlation;
pub mod error;
pub mod identity;
pub mod metrics;
pub mod provider;
pub mod redaction;
pub mod signing;

/// Every processor of this crate.
pub fn factories() -> Vec<Factory<dyn Processor>> {
    vec![
        identity::factory(),
        provider::factory(),
        correlation::factory(),
        redaction::factory(),
        signing::factory(),
        metrics::factory(),
        batch::factory(),
    ]
}
