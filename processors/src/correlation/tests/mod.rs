//! Scenarios, and a simulation of many interleavings.

mod behalf;
mod mcp;
mod processes;
mod simulation;
mod turns;
mod wire;
mod world;
