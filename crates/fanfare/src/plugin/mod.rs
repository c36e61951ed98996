//! `fanfare plugin`: what authors of payload formats run on their own machine (`new`, `pack`, `test`, `inspect`, `sign`),
//! and what operators do with the formats of a running server ([`server`]).

mod files;
mod inspect;
mod new;
mod pack;
mod server;
mod sign;
mod templates;
mod test;

use crate::exit::Failure;
use clap::{Args, Subcommand};
use std::io::{self, Write};

/// Flags of `fanfare plugin`.
#[derive(Args, Debug)]
pub(crate) struct PluginArgs {
    #[command(subcommand)]
    command: PluginCommand,
}

#[derive(Subcommand, Debug)]
enum PluginCommand {
    /// Write a starter project and print the commands that build and test it
    #[command(after_help = "\
Examples:
  fanfare plugin new --lang rust my-format
  fanfare plugin new --lang c my-format --dir formats/my-format")]
    New(new::NewArgs),
    /// Make a plugin of a core module (or of a component), its manifest and its vectors
    #[command(after_help = "\
Example:
  fanfare plugin pack core.wasm --manifest manifest.json --vectors vectors -o my-format.wasm

Vectors are files: NAME.event.json, and beside it NAME.bodies.json (an array of bodies), NAME.skip (the reason)
or NAME.invalid. A manifest that a component has already is replaced.")]
    Pack(pack::PackArgs),
    /// Hold a plugin against the server's limits, its vectors and hostile inputs; exit 1 when a check fails
    #[command(after_help = "\
Examples:
  fanfare plugin test my-format.wasm
  fanfare plugin test my-format.wasm --vectors more-vectors --settings '{\"source\":\"shop\"}' --json

Checks: admission, vectors, hostile, determinism, endurance, cost. The number to pin is fuel: it is the same on
every machine.")]
    Test(test::TestArgs),
    /// Show what a plugin says of itself, without running it
    #[command(after_help = "\
Examples:
  fanfare plugin inspect my-format.wasm
  fanfare plugin inspect my-format.wasm --public-key 64HEXDIGITS --json

With --public-key the signature in my-format.wasm.sig is checked: exit 1 when it is not of that key.")]
    Inspect(inspect::InspectArgs),
    /// Sign a plugin: writes FILE.sig and prints the public key for plugins.signing_keys
    #[command(after_help = "\
Examples:
  fanfare plugin sign my-format.wasm --new-key signing.pem
  fanfare plugin sign my-format.wasm --key signing.pem

The key is Ed25519: PKCS#8 in PEM, or the 32 bytes of the seed in hexadecimal.")]
    Sign(sign::SignArgs),
    /// List the payload formats of a server
    #[command(after_help = "\
Example:
  fanfare plugin list

The server is taken from FANFARE_URL and the key (scope operate) from FANFARE_API_KEY, or from flags.")]
    List(server::ListArgs),
    /// Put a plugin into a server, in the place of what is there under its name
    #[command(after_help = "\
Example:
  fanfare plugin put my-format.wasm

Its name is taken from its manifest. A signature in my-format.wasm.sig goes along.")]
    Put(server::PutArgs),
    /// Remove a plugin that was put into a server
    #[command(after_help = "\
Example:
  fanfare plugin delete MY_FORMAT")]
    Delete(server::OneArgs),
    /// Go back to the version of a plugin that was there before
    #[command(after_help = "\
Example:
  fanfare plugin rollback MY_FORMAT")]
    Rollback(server::OneArgs),
    /// Try a plugin again that is left alone after faults
    #[command(after_help = "\
Example:
  fanfare plugin lift MY_FORMAT")]
    Lift(server::OneArgs),
}

/// Runs the command.
///
/// # Errors
/// Exit 1 when a check fails or a signature does not verify, 2 when a file or a flag cannot be used, 3 when the server
/// is away or refuses.
pub(crate) async fn run(args: PluginArgs) -> Result<(), Failure> {
    let mut output = io::stdout();
    run_to(args, &mut output).await
}

async fn run_to(args: PluginArgs, output: &mut (dyn Write + Send)) -> Result<(), Failure> {
    // What is not about a server blocks; nothing else runs on this loop.
    match args.command {
        PluginCommand::New(args) => new::run(&args, output),
        PluginCommand::Pack(args) => pack::run(&args, output),
        PluginCommand::Test(args) => test::run(&args, output),
        PluginCommand::Inspect(args) => inspect::run(&args, output),
        PluginCommand::Sign(args) => sign::run(&args, output),
        PluginCommand::List(args) => server::list(&args, output).await,
        PluginCommand::Put(args) => server::put(&args, output).await,
        PluginCommand::Delete(args) => server::delete(&args, output).await,
        PluginCommand::Rollback(args) => server::roll_back(&args, output).await,
        PluginCommand::Lift(args) => server::lift(&args, output).await,
    }
}
