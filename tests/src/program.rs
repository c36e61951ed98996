//! Any command, run to its end or beside a test.

use crate::{HANG_GUARD, binary};
use std::ffi::OsStr;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};

/// What a command came to.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Exit code; `None`: killed.
    pub code: Option<i32>,
    /// Standard output.
    pub output: String,
    /// Standard error.
    pub error: String,
}

impl Ended {
    /// Checks the exit code and returns the standard output.
    ///
    /// # Panics
    /// When it is another, showing all that was written.
    #[track_caller]
    pub fn expect(&self, code: i32) -> &str {
        assert_eq!(self.code, Some(code), "{}{}", self.output, self.error);
        &self.output
    }
}

/// A command line.
#[derive(Debug)]
pub struct Program {
    command: Command,
    input: Vec<u8>,
    guard: Duration,
}

impl Program {
    /// `fanfare ARGUMENTS`, with an empty environment.
    pub fn fanfare<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Self {
        let mut command = Command::new(binary::path());
        command.args(arguments).env_clear();
        Program::new(command)
    }

    /// Any other.
    #[must_use]
    pub fn new(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        Program { command, input: Vec::new(), guard: HANG_GUARD }
    }

    /// Adds a variable.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// What it reads on standard input; else nothing.
    #[must_use]
    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    /// After how long it counts as hanging, instead of [`HANG_GUARD`].
    #[must_use]
    pub fn guard(mut self, guard: Duration) -> Self {
        self.guard = guard;
        self
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// When it hangs or does not start.
    pub async fn run(mut self) -> Ended {
        let mut child = self.command.spawn().expect("the program runs");
        let mut stdin = child.stdin.take().expect("a pipe");
        let input = self.input;
        // A program that does not read its input closes the pipe: its business.
        let fed = tokio::spawn(async move { stdin.write_all(&input).await });
        let ended = tokio::time::timeout(self.guard, child.wait_with_output())
            .await
            .expect("hung while waiting for a program to end")
            .expect("the state of a child");
        let _unread = fed.await;
        Ended {
            code: ended.status.code(),
            output: String::from_utf8_lossy(&ended.stdout).into_owned(),
            error: String::from_utf8_lossy(&ended.stderr).into_owned(),
        }
    }

    /// Runs it beside the test, which reads its standard output line by line.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn beside(mut self) -> Beside {
        let mut child = self.command.stdin(Stdio::null()).spawn().expect("the program runs");
        let lines = BufReader::new(child.stdout.take().expect("a pipe"));
        Beside { child, lines }
    }
}

/// A running program, killed when it goes.
#[derive(Debug)]
pub struct Beside {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Beside {
    /// The next line of its standard output.
    ///
    /// # Panics
    /// When none comes.
    pub async fn line(&mut self) -> String {
        let mut line = String::new();
        tokio::time::timeout(HANG_GUARD, self.lines.read_line(&mut line))
            .await
            .expect("hung while waiting for a line")
            .expect("a pipe");
        assert!(line.ends_with('\n'), "the output ended after {line:?}");
        line.trim_end().to_owned()
    }

    /// Sends SIGTERM.
    ///
    /// # Panics
    /// When it has ended.
    pub fn terminate(&self) {
        crate::node::signal("TERM", self.child.id().expect("it runs"));
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it hangs.
    pub async fn ended(mut self) -> Ended {
        let ended = async {
            let (mut output, mut error) = (String::new(), String::new());
            let mut stderr = self.child.stderr.take().expect("a pipe");
            let read =
                tokio::join!(self.lines.read_to_string(&mut output), stderr.read_to_string(&mut error));
            assert!(read.0.is_ok() && read.1.is_ok(), "output is UTF-8");
            let code = self.child.wait().await.expect("the state of a child").code();
            Ended { code, output, error }
        };
        tokio::time::timeout(HANG_GUARD, ended).await.expect("hung while waiting for a program to end")
    }
}
