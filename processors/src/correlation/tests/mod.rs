//! Scenarios, and a simulation of many interleavings.

mod processes;
mod simulation;
mod turns;
mod wire;
mod world;
