//! `fanfare serve` as a process.

use crate::api::Api;
use crate::secrets::Secrets;
use crate::{binary, compiled};
use std::fs::{File, OpenOptions};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// The operator's key of every node that is not `--dev`.
pub const BOOTSTRAP_KEY: &str = "bootstrap-key-b3d9c2f4a81e";

/// How to start.
#[derive(Clone, Debug, Default)]
pub struct NodeOptions {
    /// `--dev`: loopback and plain http allowed, one account, channels made on first use.
    pub is_dev: bool,
    /// Further flags.
    pub flags: Vec<String>,
    /// Further variables.
    pub environment: Vec<(String, String)>,
}

impl NodeOptions {
    /// `--dev`.
    #[must_use]
    pub fn dev() -> Self {
        NodeOptions { is_dev: true, ..NodeOptions::default() }
    }

    /// Adds a setting as a flag.
    #[must_use]
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.flags.extend(["--set".to_owned(), format!("{key}={value}")]);
        self
    }

    /// Adds a variable.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// A running engine in a temporary directory. When it goes, the process is killed and all it wrote is searched for
/// secrets.
#[derive(Debug)]
pub struct Node {
    folder: TempDir,
    options: NodeOptions,
    child: Child,
    api: Api,
    secrets: Secrets,
}

impl Node {
    /// Starts one for development, with the key of its account.
    pub async fn dev() -> Self {
        Node::start(NodeOptions::dev()).await
    }

    /// Starts one; [`api`](Self::api) has the key of the `--dev` account, else the operator's.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn start(options: NodeOptions) -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let secrets = Secrets::new();
        let child = spawn(folder.path(), &options);
        let api = Api::new(SocketAddr::from(([127, 0, 0, 1], 0)), secrets.clone());
        let mut node = Node { folder, options, child, api, secrets };
        node.come_up().await;
        node
    }

    async fn come_up(&mut self) {
        let (data, log) = (self.data_dir(), self.folder.path().join("err"));
        let child = &mut self.child;
        let address = crate::until("the engine to listen", || {
            let ended = child.try_wait().expect("the state of a child");
            if let Some(status) = ended {
                panic!("the engine ended ({status}): {}", std::fs::read_to_string(&log).unwrap_or_default());
            }
            let address = std::fs::read_to_string(data.join("listen")).ok();
            std::future::ready(address)
        })
        .await;
        let address = address.trim().parse().expect("DATA_DIR/listen holds an address");
        let api = Api::new(address, self.secrets.clone()).with_key(BOOTSTRAP_KEY);
        self.api = api;
        if self.options.is_dev {
            let data = self.data_dir();
            let key = crate::until("the dev key", || {
                std::future::ready(std::fs::read_to_string(data.join("dev-key")).ok())
            })
            .await;
            self.api = self.api.with_key(key.trim());
        }
        let api = &self.api;
        crate::until("readiness", || async { (api.get("/readyz").await.status == 200).then_some(()) }).await;
        compiled::keep(&self.data_dir());
    }

    /// With this node's key.
    #[must_use]
    pub fn api(&self) -> &Api {
        &self.api
    }

    /// The process.
    ///
    /// # Panics
    /// When it has ended.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id().expect("the engine runs")
    }

    /// Its data directory.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Secrets to look for when it goes.
    #[must_use]
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        signal("TERM", self.pid());
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it goes on.
    pub async fn ended(&mut self) -> ExitStatus {
        tokio::time::timeout(crate::HANG_GUARD, self.child.wait())
            .await
            .expect("hung while waiting for the engine to end")
            .expect("the state of a child")
    }

    /// SIGKILL, and waits until it is gone.
    pub async fn kill(&mut self) {
        self.child.start_kill().expect("a child can be killed");
        self.ended().await;
    }

    /// Starts again on the same data, after its end.
    pub async fn start_again(&mut self) {
        self.start_again_with(self.options.clone()).await;
    }

    /// The same with other options.
    pub async fn start_again_with(&mut self, options: NodeOptions) {
        assert!(self.child.id().is_none(), "it runs still");
        // After a kill the file of the last run is there still.
        let _gone = std::fs::remove_file(self.data_dir().join("listen"));
        self.child = spawn(self.folder.path(), &options);
        self.options = options;
        self.come_up().await;
    }

    /// SIGTERM, a clean end, and a new start.
    ///
    /// # Panics
    /// When the exit code is not 0.
    pub async fn restart(&mut self) {
        self.terminate();
        let status = self.ended().await;
        assert_eq!(status.code(), Some(0), "{}", self.log());
        self.start_again().await;
    }

    /// Everything written to standard error so far: the log.
    #[must_use]
    pub fn log(&self) -> String {
        read(&self.folder.path().join("err"))
    }

    /// Everything written to standard output so far.
    #[must_use]
    pub fn output(&self) -> String {
        read(&self.folder.path().join("out"))
    }

    /// Secrets found in what it wrote so far. `--dev` shows its own key on standard output, on purpose.
    #[must_use]
    pub fn leaks(&self) -> Vec<String> {
        let mut found = self.secrets.found_in(&self.log());
        let shown = if self.options.is_dev { self.api.key() } else { "" };
        found.extend(self.secrets.found_in(&self.output()).into_iter().filter(|secret| secret != shown));
        found
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Tokio waits for it in the background; fails only when it has ended.
        let _ended = self.child.start_kill();
        if std::thread::panicking() {
            eprintln!("log of the engine:\n{}", self.log());
        } else {
            let leaks = self.leaks();
            assert!(leaks.is_empty(), "the engine wrote {leaks:?} into\n{}\n{}", self.log(), self.output());
        }
    }
}

fn read(path: &Path) -> String {
    std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// The command line of a node whose files lie in `folder`.
#[must_use]
pub fn command(folder: &Path, options: &NodeOptions) -> Command {
    let mut command = Command::new(binary::path());
    command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(folder.join("data"));
    if options.is_dev {
        command.arg("--dev");
    }
    command
        .args(&options.flags)
        .env_clear()
        .env("FANFARE_BOOTSTRAP_KEY", BOOTSTRAP_KEY)
        .env("FANFARE_LOG__LEVEL", "debug")
        .envs(options.environment.iter().cloned())
        .current_dir(folder)
        .kill_on_drop(true);
    command
}

fn spawn(folder: &Path, options: &NodeOptions) -> Child {
    compiled::give(&folder.join("data"));
    command(folder, options)
        .stdin(Stdio::null())
        .stdout(append(&folder.join("out")))
        .stderr(append(&folder.join("err")))
        .spawn()
        .expect("the binary runs")
}

fn append(path: &Path) -> File {
    OpenOptions::new().create(true).append(true).open(path).expect("a file to write output to")
}

/// Sends a signal to a process that this test started.
///
/// # Panics
/// When there is no such process.
pub fn signal(name: &str, pid: u32) {
    let sent = std::process::Command::new("sh")
        .args(["-c", "kill -s \"$0\" \"$1\"", name, &pid.to_string()])
        .status()
        .expect("a shell");
    assert!(sent.success(), "cannot send SIG{name}");
}
