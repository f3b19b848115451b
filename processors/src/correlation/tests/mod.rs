//! Scenarios, and a simulation of many interleavings.

mod mcp;
mod processes;
mod simulation;
mod turns;
mod wire;
mod world;
