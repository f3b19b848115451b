//! Scenarios, and a simulation of many interleavings.

mod behalf;
mod gateway;
mod heirs;
mod links;
mod mcp;
mod processes;
mod served;
mod simulation;
mod subagents;
mod turns;
mod unasked;
mod wire;
mod world;
