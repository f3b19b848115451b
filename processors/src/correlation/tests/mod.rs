//! Scenarios, and a simulation of many interleavings.

mod behalf;
mod mcp;
mod processes;
mod served;
mod simulation;
mod turns;
mod wire;
mod world;
