//! onlooker's receivers: `ebpf` watches the kernel, `replay` reads a recording. Both turn raw events into
//! observations by the same code.

pub mod assemble;
pub mod error;
pub mod event;
pub mod probes;
pub mod record;
pub mod streams;
pub mod targets;

pub use error::Error;
