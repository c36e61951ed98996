//! `fanfare plugin pack`.

use super::files;
use crate::exit::Failure;
use crate::manage::table::counted;
use clap::Args;
use fanfare_plugin_host::{pack, read_manifest};
use std::io::Write;
use std::path::PathBuf;

/// Flags of the command.
#[derive(Args, Debug)]
pub(super) struct PackArgs {
    /// Core module or component
    file: PathBuf,
    /// The manifest, JSON
    #[arg(long, value_name = "FILE")]
    manifest: PathBuf,
    /// Folder of vectors that go into the plugin
    #[arg(long, value_name = "DIR")]
    vectors: Option<PathBuf>,
    /// The plugin to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

pub(super) fn run(args: &PackArgs, output: &mut (dyn Write + Send)) -> Result<(), Failure> {
    let module = files::read_plugin(&args.file)?;
    let manifest = read_manifest(&args.manifest, args.vectors.as_deref())
        .map_err(|error| Failure::usage(error.to_string()))?;
    let packed = pack(&module, &manifest)
        .map_err(|error| Failure::usage(format!("{}: {error}", args.file.display())))?;
    files::write(&args.output, &packed)?;
    let vectors = counted(manifest.vectors.len() as u64, "vector", "vectors");
    let _closed = writeln!(
        output,
        "{}: {} {}, {} bytes, {vectors}",
        args.output.display(),
        manifest.name,
        manifest.version,
        packed.len()
    );
    Ok(())
}
