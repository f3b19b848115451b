//! The graph: components wired by pipelines, and its life.
