//! Targets: which processes to watch and where their plaintext is.
