//! Another master key: all secrets or none are under it, whenever the process dies, and API keys stay valid.

use crate::crash::{StopOnDrop, crashed};
use crate::support::{MASTER_KEY, ManualClock, Site, configuration, edit, event, wait, webhook};
use fanfare_core::ports::{CatalogChange, PageRequest, Store};
use fanfare_core::secret::SigningSecret;
use fanfare_core::webhook::{Auth, Signing, Webhook};
use fanfare_core::{Secret, Seq, WebhookNo};
use fanfare_store::{LmdbStore, OpenError, Rotated, StoreOptions, rotate_master_key};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const NEW_KEY: [u8; 32] = [8; 32];

fn open_under(dir: &Path, key: [u8; 32]) -> Result<Arc<LmdbStore>, OpenError> {
    LmdbStore::open(StoreOptions::new(dir, key, Arc::new(ManualClock::default())))
}

/// Signed with an old secret still valid, and with a credential.
fn with_secrets(no: u32) -> Webhook {
    let signing = Signing {
        current: SigningSecret([no as u8; 32]),
        previous: Some((SigningSecret([!(no as u8); 32]), 1_800_000_000_000)),
    };
    let auth = Auth::Basic { username: Secret::new("user"), password: Secret::new(format!("password {no}")) };
    Webhook { signing: Some(signing), auth, ..webhook(no) }
}

/// A closed store with webhooks `1..=count`, all but the first with secrets.
fn closed_site(count: u32) -> (tempfile::TempDir, [u8; 32]) {
    let site = Site::new(1);
    site.ingest(vec![event("a", &[(1, true)])]);
    let changes = configuration(0).into_iter();
    let webhooks = (2..=count).map(|no| CatalogChange::PutWebhook(Box::new(with_secrets(no))));
    wait(site.store().change(changes.chain(webhooks).collect())).unwrap();
    let hash = site.store().key_hash(&Secret::new("an api key"));
    (site.close(), hash)
}

fn check_all(store: &LmdbStore, count: u32, hash: [u8; 32]) {
    assert_eq!(store.webhook(WebhookNo(1)).unwrap(), Some(webhook(1)));
    for no in 2..=count {
        assert_eq!(store.webhook(WebhookNo(no)).unwrap(), Some(with_secrets(no)));
    }
    assert_eq!(store.key_hash(&Secret::new("an api key")), hash, "api keys stay valid");
}

#[test]
fn everything_reads_under_the_new_key_and_nothing_under_the_old() {
    let (dir, hash) = closed_site(3);
    let rotated = rotate_master_key(dir.path(), MASTER_KEY, NEW_KEY).unwrap();
    assert_eq!(rotated, Rotated { webhooks_resealed: 2, webhooks_damaged: Vec::new() });
    let refused = open_under(dir.path(), MASTER_KEY).unwrap_err();
    assert!(matches!(refused, OpenError::WrongMasterKey { .. }), "{refused}");
    let store = open_under(dir.path(), NEW_KEY).unwrap();
    check_all(&store, 3, hash);
    let request =
        PageRequest { webhook: WebhookNo(1), from: Seq(0), deliveries_max: 9, bytes_max: usize::MAX };
    assert_eq!(wait(store.page(request)).unwrap().owed.len(), 1, "what was owed is owed");
}

#[test]
fn a_wrong_key_an_open_store_and_no_store_are_refused_and_change_nothing() {
    let (dir, hash) = closed_site(3);
    let refused = rotate_master_key(dir.path(), [9; 32], NEW_KEY).unwrap_err();
    assert!(matches!(refused, OpenError::WrongMasterKey { .. }), "{refused}");
    let store = open_under(dir.path(), MASTER_KEY).unwrap();
    let refused = rotate_master_key(dir.path(), MASTER_KEY, NEW_KEY).unwrap_err();
    assert!(matches!(refused, OpenError::InUse { .. }), "{refused}");
    check_all(&store, 3, hash);

    let nothing = dir.path().join("nothing");
    let refused = rotate_master_key(&nothing, MASTER_KEY, NEW_KEY).unwrap_err();
    assert!(matches!(refused, OpenError::NoStore { .. }), "{refused}");
    assert!(!nothing.exists(), "asking makes no directory");
}

/// A record that was lost before must not keep the others under a key that has to go.
#[test]
fn a_damaged_webhook_is_told_and_the_others_are_sealed_anew() {
    let (dir, _) = closed_site(4);
    edit(dir.path(), "webhooks", |rows| *rows[2].1.last_mut().unwrap() ^= 1);
    let rotated = rotate_master_key(dir.path(), MASTER_KEY, NEW_KEY).unwrap();
    assert_eq!(rotated, Rotated { webhooks_resealed: 2, webhooks_damaged: vec![WebhookNo(3)] });
    let store = open_under(dir.path(), NEW_KEY).unwrap();
    assert_eq!(store.webhook(WebhookNo(4)).unwrap(), Some(with_secrets(4)));
    assert!(store.webhook(WebhookNo(3)).is_err());
}

/// Which key a copy is under; all its secrets must be under that one.
fn check_copy(file: &[u8], count: u32, hash: [u8; 32]) -> usize {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("data.mdb"), file).unwrap();
    let (place, store) = match open_under(dir.path(), MASTER_KEY) {
        Ok(store) => (0, store),
        Err(OpenError::WrongMasterKey { .. }) => (1, open_under(dir.path(), NEW_KEY).unwrap()),
        Err(error) => panic!("{error}"),
    };
    check_all(&store, count, hash);
    place
}

/// Copies of the file, taken while it is rotated to and fro, are what a kill at that moment would leave.
#[test]
fn a_crash_at_any_moment_leaves_all_under_one_key() {
    const COUNT: u32 = 60;
    const COPIES_MIN: usize = 20;
    const COPIES_MAX: usize = 10_000;
    let (dir, hash) = closed_site(COUNT);
    let path = dir.path().join("data.mdb");
    let stop = AtomicBool::new(false);
    let found = std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let (mut old, mut new) = (MASTER_KEY, NEW_KEY);
            while !stop.load(Ordering::Relaxed) {
                rotate_master_key(dir.path(), old, new).unwrap();
                std::mem::swap(&mut old, &mut new);
            }
        });
        let _stopped = StopOnDrop(&stop);
        let mut found = [0, 0];
        for n in 0..COPIES_MAX {
            if worker.is_finished() || (n >= COPIES_MIN && found.iter().all(|count| *count > 0)) {
                break;
            }
            found[check_copy(&crashed(&path), COUNT, hash)] += 1;
        }
        found
    });
    assert!(found.iter().all(|count| *count > 0), "copies under each key: {found:?}");
}
