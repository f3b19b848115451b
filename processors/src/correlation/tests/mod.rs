//! Scenarios, and a simulation of many interleavings.

mod behalf;
mod gateway;
mod heirs;
mod mcp;
mod processes;
mod served;
mod simulation;
mod turns;
mod unasked;
mod wire;
mod world;
