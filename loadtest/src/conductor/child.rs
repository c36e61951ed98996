//! A process of the run. It ends when its [`Part`] goes, when it is told to, or when this process ends, however that
//! comes about.

use crate::clock::Watch;
use crate::error::{Error, Trying as _};
use crate::part::{Order, Told};
use crate::process;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// How long a process may take to begin.
const START_LIMIT: Duration = Duration::from_secs(30);
/// Of a part's log, so much is quoted when it fails.
const QUOTED_CHARS: usize = 600;

/// How long a killed process may take to be gone.
const END_LIMIT: Duration = Duration::from_secs(5);

/// A running part.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) pid: u32,
    name: &'static str,
    child: Child,
    /// `None`: its output goes nowhere.
    lines: Option<Lines<BufReader<ChildStdout>>>,
    /// `None`: it reads nothing but its order.
    input: Option<ChildStdin>,
    log: PathBuf,
}

impl Part {
    /// Starts `program` (with `arguments`, which make it read an order) and hands it the order. What it writes to
    /// standard error is kept in `folder`.
    pub(crate) async fn start(
        program: &Path,
        arguments: &[String],
        order: &Order,
        folder: &Path,
    ) -> Result<Self, Error> {
        let name = order.work.name();
        let log = folder.join(format!("{name}.log"));
        let file: File = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .trying(|| format!("cannot open {}", log.display()))?;
        let tells = name != "engine";
        let mut child = Command::new(program)
            .args(arguments)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(if tells { Stdio::piped() } else { Stdio::null() })
            .stderr(file)
            .kill_on_drop(true)
            .spawn()
            .trying(|| format!("cannot start the {name}"))?;
        let pid = child.id().ok_or_else(|| Error::work(format!("the {name} ended at once")))?;
        let mut text = serde_json::to_vec(order).map_err(|error| Error::work(error.to_string()))?;
        text.push(b'\n');
        let mut input = child.stdin.take();
        let lines = child.stdout.take().map(|output| BufReader::new(output).lines());
        if let Some(input) = &mut input {
            input.write_all(&text).await.trying(|| format!("cannot tell the {name} what to do"))?;
        }
        let input = input.filter(|_| name == "generator");
        let part = Part { pid, name, child, lines, input, log };
        Ok(part)
    }

    /// The next line it tells.
    ///
    /// # Errors
    /// When it ends without one; the end of its log is quoted.
    pub(crate) async fn next(&mut self) -> Result<Told, Error> {
        let Some(lines) = &mut self.lines else { return Err(self.ended()) };
        let line = lines.next_line().await.trying(|| format!("cannot read what the {} tells", self.name))?;
        let Some(line) = line else { return Err(self.ended()) };
        serde_json::from_str(&line)
            .map_err(|_| Error::work(format!("the {} told what is not understood", self.name)))
    }

    /// The first line it tells, which must come soon.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub(crate) async fn first(&mut self) -> Result<Told, Error> {
        match tokio::time::timeout(START_LIMIT, self.next()).await {
            Ok(told) => told,
            Err(_) => {
                Err(Error::work(format!("the {} did not start in {} s", self.name, START_LIMIT.as_secs())))
            }
        }
    }

    /// Tells a generator how many events it may push in all. One that has just ended needs no allowance.
    pub(crate) async fn allow(&mut self, events: u64) {
        if let Some(input) = &mut self.input {
            let _ended = input.write_all(format!("{events}\n").as_bytes()).await;
        }
    }

    /// That it has ended, and its last words.
    pub(crate) fn ended(&self) -> Error {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let skipped = text.chars().count().saturating_sub(QUOTED_CHARS);
        let last: String = text.trim_end().chars().skip(skipped).collect();
        Error::work(format!("the {} ended: {last}", self.name))
    }

    /// Whether it has.
    pub(crate) fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    /// Waits for its end.
    pub(crate) async fn wait(mut self) -> Result<(), Error> {
        let status = self.child.wait().await.trying(|| format!("cannot wait for the {}", self.name))?;
        if status.success() { Ok(()) } else { Err(self.ended()) }
    }

    /// `kill -9`, and its state is read, so that nothing of it is left.
    pub(crate) async fn kill(mut self) {
        process::kill(self.pid);
        let _state = self.child.wait().await;
    }
}

impl Drop for Part {
    /// A run that is cut short waits here until its processes are gone, a millisecond or so: its directory is removed
    /// next, and nobody must write there any more.
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        process::kill(self.pid);
        let watch = Watch::start();
        while matches!(self.child.try_wait(), Ok(None)) && watch.elapsed() < END_LIMIT {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
