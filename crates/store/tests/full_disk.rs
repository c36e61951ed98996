//! A disk that is really full: a small file system of its own where one may be mounted, a limit on the size of files
//! elsewhere. In a process of its own, because both concern the whole of it.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

// The helpers are shared with `it`, which uses all of them.
#[expect(dead_code, reason = "shared with the other test binary")]
#[path = "it/support.rs"]
mod support;

use bytes::Bytes;
use fanfare_core::delivery::{AttemptRecord, DeliveryStatus, Ending, Settlement};
use fanfare_core::ports::history::DeliveryFilter;
use fanfare_core::ports::{IngestEvent, SettleBatch, Store, StoreError};
use fanfare_core::{Seq, WebhookNo};
use std::ffi::CString;
use std::fs::File;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use support::{ManualClock, Site, configuration, settlement, sized_event, wait};

const DISK_BYTES: u64 = 8 << 20;
const RESERVE_BYTES: u64 = 1 << 20;

/// What bounds the directory.
enum Disk {
    /// A file system of [`DISK_BYTES`].
    Mounted,
    /// A limit on the size of each file of this process.
    Limited { all: libc::rlimit },
}

#[expect(unsafe_code, reason = "the standard library mounts nothing and sets no limits")]
impl Disk {
    /// Mounts a file system on a directory, in a name space that goes with this process.
    fn on(dir: &Path) -> Disk {
        let target = CString::new(dir.as_os_str().as_bytes()).unwrap();
        let data = CString::new(format!("size={DISK_BYTES}")).unwrap();
        let none = std::ptr::null();
        // SAFETY: all pointers are to NUL-terminated strings that live through the calls, or null where the calls
        // take null; only this thread and those it starts are concerned.
        let is_mounted = unsafe {
            libc::unshare(libc::CLONE_NEWNS) == 0
                && libc::mount(none, c"/".as_ptr(), none, libc::MS_REC | libc::MS_PRIVATE, none.cast()) == 0
                && libc::mount(c"tmpfs".as_ptr(), target.as_ptr(), c"tmpfs".as_ptr(), 0, data.as_ptr().cast())
                    == 0
        };
        if is_mounted {
            return Disk::Mounted;
        }
        let mut all = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: `all` is a valid place to fill; a signal is set to be ignored, which runs nothing of ours.
        unsafe {
            assert_eq!(libc::getrlimit(libc::RLIMIT_FSIZE, &raw mut all), 0);
            libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        }
        Disk::Limited { all }
    }

    fn limit_files(limit: &libc::rlimit) {
        // SAFETY: `limit` is a valid limit, only read.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, limit) }, 0);
    }

    /// Leaves no room for the store to grow.
    fn fill(&self, dir: &Path) {
        match self {
            Disk::Mounted => {
                let mut ballast = File::create(dir.join("ballast")).unwrap();
                while ballast.write(&[0; 4096]).is_ok_and(|count| count > 0) {}
            }
            Disk::Limited { all } => {
                let size = std::fs::metadata(dir.join("data.mdb")).unwrap().len();
                Self::limit_files(&libc::rlimit { rlim_cur: size, ..*all });
            }
        }
    }

    /// Makes room again.
    fn free(&self, dir: &Path) {
        match self {
            Disk::Mounted => std::fs::remove_file(dir.join("ballast")).unwrap(),
            Disk::Limited { all } => Self::limit_files(all),
        }
    }
}

fn numbered(n: usize) -> IngestEvent {
    sized_event(&format!("e{n}"), &[(1, true)], 4000)
}

/// Delivered, with an answer that takes room to record.
fn delivered(seq: Seq) -> Settlement {
    let attempt = AttemptRecord {
        attempt_number: 1,
        started_ms: support::START_MS,
        duration_ms: 1,
        status: Some(200),
        failure: None,
        snippet: Bytes::from(vec![b'x'; 1000]),
        detail: None,
    };
    Settlement { attempt: Some(attempt), ..settlement(1, seq, 0, Ending::Delivered) }
}

#[test]
fn a_full_disk_refuses_events_keeps_endings_and_recovers_when_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::on(dir.path());
    let mut site = Site::at(dir, Arc::new(ManualClock::default()), |options| {
        options.disk_reserve_bytes = RESERVE_BYTES;
        options.disk_bytes_max = Some(DISK_BYTES / 2);
    });
    wait(site.store().change(configuration(1))).unwrap();
    let mut seqs = Vec::new();
    let refused = loop {
        match site.try_ingest((0..16).map(numbered).collect()) {
            Ok(receipt) => seqs.extend((1..).skip(seqs.len()).take(receipt.verdicts.len()).map(Seq)),
            Err(error) => break error,
        }
        assert!(seqs.len() < 10_000, "the disk is never full");
    };
    assert!(matches!(refused, StoreError::Full(_)), "{refused}");
    assert!(seqs.len() > 200, "refused after {} events of 4 KB", seqs.len());

    disk.fill(site.dir.path());
    // More than the pages in the file can take: the commit fails on the disk.
    let batch =
        SettleBatch { settlements: seqs.iter().map(|seq| delivered(*seq)).collect(), ..Default::default() };
    site.store().settle(batch).unwrap();
    let refused = wait(site.store().due(WebhookNo(1), 0, 1)).unwrap_err();
    let is_of_the_disk =
        |text: &str| ["os error 28", "os error 5", "os error 27"].iter().any(|e| text.contains(e));
    assert!(matches!(&refused, StoreError::Full(text) if is_of_the_disk(text)), "{refused}");
    assert!(matches!(site.try_ingest(vec![numbered(0)]), Err(StoreError::Full(_))));
    assert_eq!(site.store().health(), Ok(()), "it waits for room");
    assert_eq!(site.backlog(), seqs.len() as u64);

    disk.free(site.dir.path());
    // What waited is committed before anything that comes later. It takes more than the limit that events have.
    wait(site.store().park_all(WebhookNo(1))).unwrap();
    assert_eq!(site.backlog(), 0);
    let filter = DeliveryFilter { status: Some(DeliveryStatus::Delivered), ..Default::default() };
    assert_eq!(site.list(1, filter, 100).len(), seqs.len());
    site.tweak = |options| options.disk_reserve_bytes = 0;
    site.reopen();
    assert_eq!((site.backlog(), site.list(1, filter, 100).len()), (0, seqs.len()));
    assert_eq!(site.ingest(vec![numbered(0)]).len(), 1);
    assert_eq!(site.store().stats().damaged_records, 0);
    site.close();
}
