//! Targets: which processes to watch, and where their plaintext is.

pub mod analysis;
pub mod awslc;
pub mod boringssl;
pub mod builds;
pub mod cache;
pub mod cgroup;
pub mod cheap;
pub mod commands;
pub mod containers;
pub mod discovery;
pub mod errors;
pub mod functions;
pub mod gnutls;
pub mod go;
pub mod image;
pub mod names;
pub mod openssl;
pub mod openssl_internal;
pub mod plan;
pub mod pods;
pub mod procfs;
pub mod proof;
pub mod relocations;
pub mod rules;
pub mod rustls;
pub mod symbols;
pub mod table;
#[cfg(test)]
pub mod testing;
pub mod users;
pub mod vtables;
pub mod xrefs;
