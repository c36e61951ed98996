//! Builds the plugins that ship, and checks that what is checked in is what their sources give.
//!
//! Rust guests need a standard library for WebAssembly. rustup has one (`rustup target add wasm32-unknown-unknown`);
//! Debian's packages have its source, which is then built along. Bytes are the same again only from the same compiler,
//! so a file beside the components says which one it was; with another one, `--check` compares what they render.

use crate::guests;
use crate::steps::{self, binaries, cargo, run};
use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "wasm32-unknown-unknown";
/// Where the components lie that the binary carries.
const SHIPPED: &str = "crates/plugin-host/shipped";
/// Which compiler made them.
const RECORD: &str = "BUILT_WITH";

/// Folder below `plugins/`, package, and file name of each guest written in Rust.
const RUST_GUESTS: &[(&str, &str, &str)] = &[
    ("cloudevents", "fanfare-cloudevents", "cloudevents.wasm"),
    ("whatsapp-cloud", "fanfare-whatsapp-cloud", "whatsapp-cloud.wasm"),
];

/// What builds guests.
struct Toolchain {
    cargo: PathBuf,
    rustc: PathBuf,
    /// Beside those of every build.
    arguments: &'static [&'static str],
    /// Compiles the standard library from source: the compiler lets a stable release do so when told to.
    is_std_from_source: bool,
}

/// `cargo xtask plugins [--check | --others]`.
pub(crate) fn run_all(top: &Path) -> Result<(), String> {
    let arguments: Vec<String> = std::env::args().skip(2).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => build_all(top).and_then(|()| guests::build_all(top)),
        ["--check"] => check(top).and_then(|()| guests::build_all(top)),
        ["--others"] => guests::build_all(top),
        _ => Err("usage: cargo xtask plugins [--check | --others]".into()),
    }
}

/// Builds every component anew into its place.
fn build_all(top: &Path) -> Result<(), String> {
    let toolchain = Toolchain::find(top)?;
    let shipped = top.join(SHIPPED);
    build(top, &toolchain, &shipped)?;
    write(&shipped.join(RECORD), &toolchain.record()?)
}

/// Tests the guests natively, builds them into a scratch folder, and compares.
pub(crate) fn check(top: &Path) -> Result<(), String> {
    let guests = top.join("plugins");
    cargo(&guests, &["fmt", "--all", "--check"], &[])?;
    cargo(&guests, &["clippy", "--locked", "--all-targets", "--", "-D", "warnings"], &[])?;
    cargo(&guests, &["test", "--locked"], &[])?;

    let toolchain = Toolchain::find(top)?;
    let (shipped, scratch) = (top.join(SHIPPED), top.join("plugins/target/components"));
    build(top, &toolchain, &scratch)?;
    let (record, own) = (read(&shipped.join(RECORD))?, toolchain.record()?);
    if String::from_utf8_lossy(&record) == own {
        return compare_bytes(&shipped, &scratch);
    }
    println!(
        "xtask plugins: THE COMPONENTS THAT ARE CHECKED IN WERE BUILT WITH ANOTHER COMPILER; bytes cannot be compared."
    );
    println!("--- theirs\n{}--- this one\n{own}---", String::from_utf8_lossy(&record));
    println!("xtask plugins: comparing what both render of every vector and sample instead");
    for (folder, _, file) in RUST_GUESTS {
        let events = scratch.join(format!("{folder}.ndjson"));
        let count = write_events(top, folder, &events)?;
        let rendered = |at: &Path| render(top, &at.join(file), folder, &events);
        if rendered(&shipped)? != rendered(&scratch)? {
            return Err(format!(
                "{SHIPPED}/{file} renders other bytes than what its source gives: run `cargo xtask plugins`"
            ));
        }
        println!("xtask plugins: {file} renders the same bytes as what its source gives, of {count} events");
    }
    Ok(())
}

/// Every vector's event that has a body or is skipped, and the samples, one a line; returns how many.
fn write_events(top: &Path, folder: &str, to: &Path) -> Result<usize, String> {
    let mut lines = Vec::new();
    let vectors = top.join("plugins").join(folder).join("vectors");
    let entries = std::fs::read_dir(&vectors).map_err(|error| format!("{}: {error}", vectors.display()))?;
    for path in entries.flatten().map(|entry| entry.path()) {
        let text = path.to_string_lossy().into_owned();
        if let Some(name) = text.strip_suffix(".event.json")
            && !Path::new(&format!("{name}.invalid")).exists()
        {
            lines.push(String::from_utf8_lossy(&read(&path)?).trim().to_owned());
        }
    }
    lines.sort();
    let samples = read(&top.join("crates/fanfare/samples/events.ndjson"))?;
    lines.extend(String::from_utf8_lossy(&samples).lines().map(str::to_owned));
    write(to, &(lines.join("\n") + "\n"))?;
    Ok(lines.len())
}

/// What a component renders of events, by the engine's own command.
fn render(top: &Path, component: &Path, folder: &str, events: &Path) -> Result<Vec<u8>, String> {
    let output = Command::new(binaries(top).join("fanfare"))
        .args(["render", "--format", &folder.to_uppercase().replace('-', "_"), "--plugin"])
        .arg(component)
        .arg(events)
        .output()
        .map_err(|error| format!("cannot run fanfare render: {error}"))?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(format!("fanfare render failed: {}", String::from_utf8_lossy(&output.stderr).trim()))
    }
}

fn compare_bytes(shipped: &Path, scratch: &Path) -> Result<(), String> {
    for (_, _, file) in RUST_GUESTS {
        if read(&shipped.join(file))? != read(&scratch.join(file))? {
            return Err(format!(
                "{SHIPPED}/{file} is not what its source gives: run `cargo xtask plugins` and commit the result"
            ));
        }
        println!("xtask plugins: {file} is what its source gives, byte for byte");
    }
    Ok(())
}

fn build(top: &Path, toolchain: &Toolchain, to: &Path) -> Result<(), String> {
    std::fs::create_dir_all(to).map_err(|error| format!("cannot make {}: {error}", to.display()))?;
    let guests = top.join("plugins");
    let target = guests.join("target/guests");
    steps::build(top)?;
    let pack = binaries(top).join("examples/pack").to_string_lossy().into_owned();
    for (folder, package, file) in RUST_GUESTS {
        toolchain.build(&guests, &guests, package, &target)?;
        let core = target.join(TARGET).join("release").join(format!("{}.wasm", package.replace('-', "_")));
        let source = guests.join(folder);
        let paths = [core, source.join("manifest.json"), source.join("vectors"), to.join(file)];
        let texts = paths.map(|path| path.to_string_lossy().into_owned());
        // This crate has no dependency; what needs the host is an example of the host's crate.
        run(top, &pack, &texts.each_ref().map(String::as_str), &[])?;
    }
    Ok(())
}

/// Builds a guest that is a project of its own: its library, named `plugin`, where cargo would have put it. The
/// dependencies are those of `plugins/Cargo.lock`, so that what was built for the guests here is not built again.
pub(crate) fn build_project(top: &Path, project: &Path, package: &str) -> Result<(), String> {
    let toolchain = Toolchain::find(top)?;
    let guests = top.join("plugins");
    let target = guests.join("target/guests");
    let lock = read(&guests.join("Cargo.lock"))?;
    write(&project.join("Cargo.lock"), &String::from_utf8_lossy(&lock))?;
    cargo(project, &["update", "--workspace", "--quiet"], &[])?;
    toolchain.build(&guests, project, package, &target)?;
    let [from, to] = [target, project.join("target")].map(|folder| folder.join(TARGET).join("release"));
    std::fs::create_dir_all(&to).map_err(|error| format!("cannot make {}: {error}", to.display()))?;
    std::fs::copy(from.join("plugin.wasm"), to.join("plugin.wasm"))
        .map(drop)
        .map_err(|error| format!("{}: {error}", from.display()))
}

impl Toolchain {
    /// rustup's target where it is installed, else Debian's set.
    fn find(top: &Path) -> Result<Self, String> {
        let cargo = std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from);
        let usual = Toolchain {
            // Cargo sets CARGO to itself; the compiler beside it is the one of the same toolchain.
            rustc: Some(cargo.with_file_name("rustc")).filter(|path| path.exists()).unwrap_or("rustc".into()),
            cargo,
            arguments: &[],
            is_std_from_source: false,
        };
        let has_target = usual
            .ask(&["--print", "target-libdir", "--target", TARGET])
            .is_ok_and(|path| Path::new(&path).exists());
        if has_target {
            return Ok(usual);
        }
        let debian = Toolchain {
            cargo: "/usr/bin/cargo".into(),
            rustc: "/usr/bin/rustc".into(),
            arguments: &["-Zbuild-std=std,panic_abort"],
            is_std_from_source: true,
        };
        let has_source = debian
            .ask(&["--print", "sysroot"])
            .is_ok_and(|sysroot| Path::new(&sysroot).join("lib/rustlib/src/rust/library/std").exists());
        if has_source && debian.cargo.exists() {
            run(top, "/usr/bin/rustc", &["--version"], &[])?;
            return Ok(debian);
        }
        Err("no standard library for WebAssembly: run `rustup target add wasm32-unknown-unknown`, or on Debian \
             `apt-get install rustc-web cargo-web rust-web-src rust-web-llvm lld-22`"
            .into())
    }

    fn ask(&self, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new(&self.rustc)
            .args(arguments)
            .output()
            .map_err(|error| format!("cannot run {}: {error}", self.rustc.display()))?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
        }
    }

    /// What decides about the bytes beside the sources and the locked dependencies.
    fn record(&self) -> Result<String, String> {
        let std = if self.is_std_from_source { "std: built from source" } else { "std: as rustup has it" };
        Ok(format!("{}\n{std}\n", self.ask(&["-vV"])?))
    }

    /// Builds a package of the workspace `project`. `guests` is what is remapped: flags that differ would build the
    /// standard library once more.
    fn build(&self, guests: &Path, project: &Path, package: &str, target: &Path) -> Result<(), String> {
        let flags: Vec<String> = remaps(guests, &self.ask(&["--print", "sysroot"])?)
            .iter()
            .map(|(from, to)| format!("\"--remap-path-prefix={from}={to}\""))
            .collect();
        // Beside those of plugins/.cargo/config.toml; the environment's RUSTFLAGS would take their place.
        let flags = format!("target.{TARGET}.rustflags=[{}]", flags.join(","));
        let target = target.to_string_lossy();
        let mut arguments =
            vec!["rustc", "--locked", "--release", "--target", TARGET, "--target-dir", &target];
        arguments.extend(["--package", package, "--lib", "--crate-type", "cdylib", "--config", &flags]);
        arguments.extend(self.arguments);
        let program = self.cargo.to_string_lossy();
        println!("$ {program} {}", arguments.join(" "));
        let mut command = Command::new(&self.cargo);
        command.args(&arguments).current_dir(project).env("RUSTC", &self.rustc);
        // Set by the cargo that runs this; they are not meant for another one.
        for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTUP_TOOLCHAIN", "CARGO", "RUSTC_WRAPPER"] {
            command.env_remove(name);
        }
        if self.is_std_from_source {
            command.env("RUSTC_BOOTSTRAP", "1");
        }
        let status = command.status().map_err(|error| format!("cannot run {program}: {error}"))?;
        if status.success() { Ok(()) } else { Err(format!("building {package} failed ({status})")) }
    }
}

/// Folders that differ between machines and whose names would get into the bytes, and what stands for them.
fn remaps(guests: &Path, sysroot: &str) -> Vec<(String, String)> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| {
        let home = std::env::var_os("HOME")?;
        Some(Path::new(&home).join(".cargo"))
    });
    let registries = home.and_then(|home| std::fs::read_dir(home.join("registry/src")).ok());
    let registries = registries.into_iter().flatten().flatten().map(|entry| entry.path());
    let mut remaps: Vec<(String, String)> =
        registries.map(|path| (path.to_string_lossy().into_owned(), "/registry".into())).collect();
    remaps.sort();
    remaps.push((format!("{sysroot}/lib/rustlib/src/rust"), "/rust".into()));
    remaps.push((guests.to_string_lossy().into_owned(), "/plugins".into()));
    remaps
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}
