//! onlooker's receivers: `ebpf` watches the kernel, `replay` reads a recording. Both turn raw events into
//! observations by the same code.

pub mod assemble;
pub mod ebpf;
pub mod error;
pub mod event;
pub mod probes;
pub mod record;
pub mod replay;
pub mod streams;
pub mod targets;

pub use error::Error;

/// Every receiver of this crate.
pub fn factories() -> Vec<pipeline::Factory<dyn pipeline::Receiver>> {
    vec![ebpf::factory(), replay::factory()]
}
