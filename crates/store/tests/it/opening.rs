//! Opening: who is refused, and what is found.

use crate::support::{MASTER_KEY, Site, configuration, event, open, retry, settlement, wait, webhook};
use fanfare_core::delivery::Ending;
use fanfare_core::ports::{CatalogChange, CatalogEntry, Store};
use fanfare_core::webhook::{Account, Auth};
use fanfare_core::{AccountId, Secret, WebhookNo};
use fanfare_store::{LmdbStore, OpenError, StoreOptions};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

#[test]
fn a_second_opener_is_refused_until_the_first_is_gone() {
    let mut site = Site::new(1);
    let refused = open(site.dir.path(), Arc::clone(&site.clock), |_| {}).unwrap_err();
    assert!(matches!(refused, OpenError::InUse { .. }), "{refused}");
    assert!(refused.to_string().contains(site.dir.path().to_str().unwrap()));
    site.reopen();
}

#[test]
fn a_wrong_master_key_is_refused_and_the_right_one_still_opens() {
    let mut site = Site::new(1);
    let secret = Auth::Bearer { token: Secret::new("hunter2-hunter2") };
    let mut with_secret = webhook(1);
    with_secret.auth = secret.clone();
    wait(site.store().change(vec![CatalogChange::PutWebhook(Box::new(with_secret))])).unwrap();
    let clock = Arc::clone(&site.clock);
    site.reopen_after(|dir| {
        let refused = LmdbStore::open(StoreOptions::new(dir, [8; 32], clock)).unwrap_err();
        assert!(matches!(refused, OpenError::WrongMasterKey { .. }), "{refused}");
        let file = std::fs::read(dir.join("data.mdb")).unwrap();
        assert!(!file.windows(15).any(|window| window == b"hunter2-hunter2"), "a secret in the open");
        assert!(!file.windows(32).any(|window| window == MASTER_KEY));
    });
    assert_eq!(site.store().webhook(WebhookNo(1)).unwrap().unwrap().auth, secret);
}

/// Format 1 hashed API keys under a key that came from the master key; what it gave out must stay valid.
#[test]
fn the_hash_of_an_api_key_is_the_same_after_a_restart_and_another_in_another_directory() {
    let mut site = Site::new(1);
    let api_key = Secret::new("an api key");
    let hash = site.store().key_hash(&api_key);
    site.reopen();
    assert_eq!(site.store().key_hash(&api_key), hash);
    assert_ne!(Site::new(1).store().key_hash(&api_key), hash);
}

#[test]
fn the_directory_is_its_owners_alone() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("a").join("b");
    let site = Site::new(1);
    let store = open(&dir, Arc::clone(&site.clock), |_| {}).unwrap();
    for path in [dir.clone(), dir.join("data.mdb"), dir.join("in-use.lock")] {
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}", path.display());
    }
    drop(store);
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let parent = tempfile::NamedTempFile::new().unwrap();
    let site = Site::new(1);
    let refused = open(&parent.path().join("x"), Arc::clone(&site.clock), |_| {}).unwrap_err();
    assert!(matches!(refused, OpenError::Directory { .. }), "{refused}");
}

#[test]
fn a_restart_finds_configuration_backlogs_and_retries() {
    let mut site = Site::new(4);
    let account = Account { id: AccountId::parse("account").unwrap(), role: Account::ENTERPRISE.into() };
    wait(site.store().change(vec![CatalogChange::PutAccount(account.clone())])).unwrap();
    let seqs = site.ingest(vec![
        event("a", &[(1, true), (2, true), (3, true), (4, true)]),
        event("b", &[(2, false), (4, true)]),
    ]);
    site.settle(vec![
        settlement(1, seqs[0], 0, Ending::Delivered),
        settlement(4, seqs[0], 3, retry(70)),
        settlement(4, seqs[1], 1, retry(60)),
    ]);
    site.reopen();
    let mut found = Vec::new();
    site.store()
        .load(&mut |entry| {
            found.push(match entry {
                CatalogEntry::Account(account) => format!("account {}", account.id),
                CatalogEntry::Key(key) => format!("key {}", key.id),
                CatalogEntry::Channel(channel) => format!("channel {}", channel.no.0),
                CatalogEntry::Webhook(route) => format!("webhook {}", route.no.0),
                CatalogEntry::Backlog(no) => format!("backlog {}", no.0),
                CatalogEntry::Retries(no, due_ms) => format!("retries {} {due_ms}", no.0),
            });
        })
        .unwrap();
    let expected = [
        "account account",
        "channel 1",
        "webhook 1",
        "webhook 2",
        "webhook 3",
        "webhook 4",
        "backlog 2",
        "backlog 3",
        "retries 4 60",
    ];
    assert_eq!(found, expected);
}

#[test]
fn changes_are_applied_whole_or_not_at_all() {
    let site = Site::new(1);
    let mut lost = webhook(9);
    lost.channel = fanfare_core::ChannelId::parse("elsewhere").unwrap();
    let changes = vec![
        CatalogChange::PutWebhook(Box::new(webhook(8))),
        CatalogChange::PutWebhook(Box::new(lost)),
        configuration(0).remove(0),
    ];
    let refused = wait(site.store().change(changes)).unwrap_err();
    assert!(refused.to_string().contains("unknown channel elsewhere"), "{refused}");
    assert_eq!(site.store().webhook(WebhookNo(8)).unwrap(), None);
}

#[test]
fn a_new_phone_is_stored_with_its_event() {
    let mut site = Site::new(1);
    let mut connected = event("a", &[]);
    connected.new_phone = Some("5511999".into());
    site.ingest(vec![connected]);
    site.reopen();
    let mut phone = None;
    site.store()
        .load(&mut |entry| {
            if let CatalogEntry::Channel(channel) = entry {
                phone = channel.phone;
            }
        })
        .unwrap();
    assert_eq!(phone.as_deref(), Some("5511999"));
}
