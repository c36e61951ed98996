//! The binary `fanfare`: command line, configuration, wiring, signals, drain.
//!
//! What it is: the one place where the parts meet. [`cli`] reads the command line; each command is a module of its
//! name.
//!
//! What it is not: it decides nothing about deliveries. Rules live in `fanfare_core::policy`, actors in
//! `fanfare_engine`, bytes on disk in `fanfare_store`.
//!
//! Where to start: [`cli::Command`].
//!
//! Invariants: only [`clock`] looks at a clock; every failure ends in one of the codes of [`exit`]; secrets come from
//! flags, files or the environment, and are printed only where a person asked for a new one.

mod bench;
mod cli;
mod client;
mod clock;
mod config;
mod deliveries;
mod demo;
mod exit;
mod keys;
mod listen;
mod log;
mod manage;
mod master_key;
mod plugin;
mod render;
mod send;
mod serve;
mod signals;
mod signature;
mod verify;
mod webhooks;
mod wiring;

use clap::Parser as _;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // The allocator asks for huge pages. Here they double the memory (25 MB at rest) and cost more time to clear than
    // they save. Where the system knows no such switch, it has none to turn off.
    let _without_huge_pages = rustix::thread::disable_transparent_huge_pages(true);
    match cli::run(cli::Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("fanfare: {failure}");
            failure.exit.into()
        }
    }
}
