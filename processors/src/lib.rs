//! onlooker's processors: one folder each, registered in [`factories`].

pub mod error;
pub mod provider;

use pipeline::{Factory, Processor};

/// Every processor of this crate.
pub fn factories() -> Vec<Factory<dyn Processor>> {
    vec![provider::factory()]
}
