//! The processes of a run. Each is the same binary, told by its first argument what it is; it reads its order as one
//! line of JSON from standard input (so that no key stands in a process list) and tells what it has to tell as lines
//! of JSON on standard output.

use crate::error::{Error, Trying as _};
use crate::floors::{self, FloorFigures, FloorOptions};
use crate::generator::{self, Allowance, GeneratorOptions, Progress, Pushed};
use crate::process;
use crate::receiver::{self, Ready, ReceiverOptions};
use serde::{Deserialize, Serialize};
use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// An order longer than this is none.
const ORDER_BYTES_MAX: usize = 1 << 20;

/// What a part is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    /// Processors to run on; empty: any.
    pub(crate) processors: Vec<usize>,
    pub(crate) work: WorkOrder,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum WorkOrder {
    Receiver(ReceiverOptions),
    Generator(GeneratorOptions),
    Floor(FloorOptions),
    /// Becomes the engine: `program` with these arguments and an empty environment.
    Engine {
        program: std::path::PathBuf,
        arguments: Vec<String>,
    },
}

impl WorkOrder {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            WorkOrder::Receiver(_) => "receiver",
            WorkOrder::Generator(_) => "generator",
            WorkOrder::Floor(_) => "floor",
            WorkOrder::Engine { .. } => "engine",
        }
    }
}

/// What a part tells.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Told {
    Ready(Ready),
    Progress(Progress),
    Pushed(Pushed),
    Floor(FloorFigures),
}

/// Prints a line. Whoever no longer reads it ends this process soon.
fn tell(told: &Told) {
    if let Ok(text) = serde_json::to_string(told) {
        let _closed = writeln!(std::io::stdout().lock(), "{text}");
    }
}

/// Reads no further than the line's end: what comes behind is for the program that this process becomes.
fn read_order() -> Result<Order, Error> {
    let mut line = Vec::new();
    let mut input = std::io::stdin().lock();
    let mut byte = [0];
    while line.len() < ORDER_BYTES_MAX {
        let count = input.read(&mut byte).trying(|| "cannot read the order".into())?;
        if count == 0 || byte == *b"\n" {
            break;
        }
        line.extend_from_slice(&byte);
    }
    // The parser's error may quote the order, and with it the key.
    serde_json::from_slice(&line)
        .map_err(|_| Error::usage("this command is only for `fanfare bench`, which tells it what to do"))
}

/// Takes in how many events may be pushed in all, a number a line, as long as the conductor tells.
fn read_allowances(allowance: Allowance) -> Result<(), Error> {
    let read = move || {
        for line in std::io::stdin().lines() {
            let Ok(line) = line else { return };
            if let Ok(events) = line.trim().parse() {
                allowance.set(events);
            }
        }
    };
    std::thread::Builder::new()
        .name("allowances".into())
        .spawn(read)
        .map(drop)
        .trying(|| "cannot start a thread".into())
}

/// Does the work of one part; called by the hidden command that `bench` starts.
///
/// # Errors
/// When the order cannot be read or carried out.
pub fn run_part() -> Result<(), Error> {
    let order = read_order()?;
    process::settle(&order.processors)?;
    process::raise_file_limit();
    match order.work {
        WorkOrder::Receiver(options) => receiver::run(&options, |ready| tell(&Told::Ready(ready.clone()))),
        WorkOrder::Generator(options) => {
            let allowance = Allowance::unlimited();
            if options.waits_for_allowance {
                allowance.set(0);
                read_allowances(allowance.clone())?;
            }
            let pushed = generator::run(options, allowance, |progress| tell(&Told::Progress(progress)))?;
            tell(&Told::Pushed(pushed));
            Ok(())
        }
        WorkOrder::Floor(options) => {
            tell(&Told::Floor(floors::run(options)?));
            Ok(())
        }
        WorkOrder::Engine { program, arguments } => {
            // The affinity and the signal at the parent's end outlive this.
            let failed = Command::new(&program).args(arguments).env_clear().exec();
            Err(failed).trying(|| "cannot become the engine".into())
        }
    }
}
