//! Targets: which processes to watch, and where their plaintext is.

pub mod discovery;
pub mod functions;
pub mod image;
pub mod openssl;
pub mod plan;
pub mod procfs;
pub mod rules;
pub mod table;
#[cfg(test)]
pub mod testing;
