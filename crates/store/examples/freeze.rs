//! Writes a directory that holds one of everything, for `tests/frozen`: once for each version of the format, before it
//! is released.
//!
//! ```text
//! cargo run -p fanfare-store --example freeze -- crates/store/tests/frozen/vN
//! ```

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a tool of ours: what it cannot do ends it"
)]

#[path = "../tests/frozen/content.rs"]
mod content;

use fanfare_core::delivery::{Ending, Origin, Progress, Settlement};
use fanfare_core::event::{EventKind, key_hash};
use fanfare_core::ports::{CatalogChange, SettleBatch, Store};
use fanfare_core::webhook::Channel;
use fanfare_core::{EventId, Secret, Seq, WebhookNo};
use fanfare_store::LmdbStore;
use heed::{CompactionOption, EnvOpenOptions};
use std::path::{Path, PathBuf};

/// One body of event e`seq` ends so, for a webhook at its place in the event's list.
fn settled(
    seq: u64,
    (webhook, index): (u32, u32),
    (part, part_count): (u16, u16),
    ending: Ending,
) -> Settlement {
    let needs_key = matches!(ending, Ending::Retry { .. } | Ending::Dead { .. });
    Settlement {
        webhook: WebhookNo(webhook),
        seq: Seq(seq),
        event_id: EventId::parse(&format!("e{seq}")).unwrap(),
        kind: EventKind::MessageReceived,
        accepted_ms: content::START_MS,
        key: needs_key.then(|| key_hash("customer")),
        index,
        part,
        part_count,
        origin: Origin::Direct,
        ending,
        at_ms: content::START_MS + 20 + seq,
        attempt: None,
    }
}

/// A retry, a dead letter, bodies of every kind, a skip, successes; e1 and e2 stay owed.
fn settlements() -> Vec<Settlement> {
    let progress = Progress { attempt_number: 2, schedule_step: 1, owed_since_ms: content::START_MS };
    let retry = |due_ms| Ending::Retry { due_ms, progress };
    let dead = Ending::Dead { reason: "exhausted".into(), progress };
    let with =
        |number, status, settled| Settlement { attempt: Some(content::attempt(number, status)), ..settled };
    vec![
        with(1, 500, settled(3, (1, 0), (0, 1), retry(content::START_MS + 500))),
        with(2, 404, settled(4, (1, 0), (0, 1), dead)),
        with(1, 200, settled(4, (2, 1), (0, 1), Ending::Delivered)),
        with(1, 204, settled(5, (1, 0), (0, 3), Ending::Delivered)),
        with(1, 503, settled(5, (1, 0), (1, 3), retry(content::START_MS + 400))),
        settled(6, (2, 0), (0, 1), Ending::Skipped { reason: "no_z_api_counterpart".into() }),
        with(1, 200, settled(7, (3, 0), (0, 1), Ending::Delivered)),
    ]
}

/// Makes everything in an empty directory.
fn write(dir: &Path) {
    let store = LmdbStore::open(content::options(dir)).unwrap();
    let key = content::api_key(store.key_hash(&Secret::new(content::API_KEY)));
    let mut changes: Vec<CatalogChange> =
        content::accounts().into_iter().map(CatalogChange::PutAccount).collect();
    changes.push(CatalogChange::PutKey(key));
    changes.push(CatalogChange::PutChannel(Channel { phone: None, ..content::channel() }));
    changes
        .extend(content::webhooks().into_iter().map(|webhook| CatalogChange::PutWebhook(Box::new(webhook))));
    content::wait(store.change(changes)).unwrap();
    content::wait(store.ingest(content::events())).unwrap();
    store.settle(SettleBatch { settlements: settlements(), dropped_chunks: Vec::new() }).unwrap();
    content::wait(store.close());
}

fn main() {
    let Some(target) = std::env::args_os().nth(1).map(PathBuf::from) else {
        panic!("say where to: freeze DIRECTORY");
    };
    std::fs::create_dir_all(&target).unwrap();
    let file = target.join("data.mdb");
    assert!(!file.exists(), "a frozen directory is never written again");
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    let mut options = EnvOpenOptions::new();
    options.max_dbs(64).map_size(1 << 30);
    #[expect(unsafe_code, reason = "heed leaves to the caller that nobody else changes the mapped file")]
    // SAFETY: the directory is this program's own, and its store is closed.
    let env = unsafe { options.open(dir.path()).unwrap() };
    env.copy_to_path(&file, CompactionOption::Enabled).unwrap();
    println!("{} bytes in {}", std::fs::metadata(&file).unwrap().len(), file.display());
}
