//! The engine as a process.

use std::fs::{File, OpenOptions};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Little, so that most of a backlog is read back from disk.
const WINDOW_BYTES: &str = "2097152";

pub(crate) struct Node {
    child: Child,
    folder: PathBuf,
    pub(crate) address: SocketAddr,
    pub(crate) key: String,
}

impl Node {
    /// Starts on a free port and waits until it is ready.
    pub(crate) fn start(folder: &Path) -> Node {
        let told = folder.join("data/listen");
        // A killed process leaves it behind.
        let _ = std::fs::remove_file(&told);
        let log = OpenOptions::new().create(true).append(true).open(folder.join("log")).expect("log");
        let child = Command::new(fanfare_tests::binary::path())
            .args(["serve", "--dev", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(folder.join("data"))
            .args(["--set", &format!("limits.window_bytes={WINDOW_BYTES}")])
            // A receiver that comes back is found out soon.
            .args(["--set", "gate.shut_ms_max=1000"])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the binary starts");
        let mut node =
            Node { child, folder: folder.into(), address: ([127, 0, 0, 1], 0).into(), key: String::new() };
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let address = std::fs::read_to_string(&told).unwrap_or_default();
            let key = std::fs::read_to_string(folder.join("data/dev-key")).unwrap_or_default();
            let address = address.trim().trim_start_matches("http://");
            if let (Ok(address), false) = (address.parse(), key.trim().is_empty()) {
                (node.address, node.key) = (address, key.trim().to_owned());
                return node;
            }
            assert!(Instant::now() < deadline, "not ready in a minute\n{}", node.log_end());
            let ended = node.child.try_wait().expect("a child can be asked");
            assert!(ended.is_none(), "ended while starting: {ended:?}\n{}", node.log_end());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// SIGKILL: no handler runs.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("a running child can be killed");
        self.child.wait().expect("a killed child ends");
    }

    /// SIGTERM, and its exit code.
    pub(crate) fn terminate(mut self) -> Option<i32> {
        let status = Command::new("kill").arg(self.child.id().to_string()).status().expect("kill runs");
        assert!(status.success());
        self.child.wait().expect("it ends").code()
    }

    /// The last lines it wrote.
    pub(crate) fn log_end(&self) -> String {
        let text = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // Kept open nowhere else; a failing test shows its end.
        drop(File::open(self.folder.join("log")));
    }
}
