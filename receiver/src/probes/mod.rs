//! Probes: load, attach, decode. One file a probe family, named as its C file.
