//! Another master key for a store that is closed: every box is made anew under it in one transaction, so that after a
//! crash the directory opens under the old key or under the new one, and holds no mixture.
//!
//! What it does not do: the pages that held the old boxes are free afterwards, but they keep their bytes until they are
//! used again. Whoever has the old key and the file may still read what was sealed at the time; secrets that matter are
//! to be rotated as well.

use crate::catalog;
use crate::open::{self, CHECK_KEY, CHECK_TEXT, HASH_KEY};
use crate::options::{OpenError, default_map_bytes};
use crate::seal::{SealError, Sealer};
use crate::tables::{Tables, key_no};
use fanfare_core::WebhookNo;
use fanfare_core::webhook::Auth;
use heed::RwTxn;
use std::path::Path;

/// What [`rotate_master_key`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotated {
    /// Webhooks whose secrets were sealed anew. Webhooks without any are not counted.
    pub webhooks_resealed: u64,
    /// Webhooks whose record is damaged: not readable before, and left as it is.
    pub webhooks_damaged: Vec<WebhookNo>,
}

/// Seals every secret of a closed store under `new` instead of `old`. API keys stay valid.
///
/// Blocks until the change is on stable storage. After an error, and after a crash before the end, the directory is as it
/// was.
///
/// # Errors
/// [`OpenError::InUse`] while a store has the directory open, [`OpenError::NoStore`] where there is none,
/// [`OpenError::WrongMasterKey`] when `old` is not its key; the others as for opening.
pub fn rotate_master_key(dir: &Path, old: [u8; 32], new: [u8; 32]) -> Result<Rotated, OpenError> {
    let database = |source| OpenError::Database { dir: dir.to_owned(), source };
    // Before the lock, which would make the directory.
    if !dir.join("data.mdb").exists() {
        return Err(OpenError::NoStore { dir: dir.to_owned() });
    }
    let _lock = open::lock(dir)?;
    let (env, _) = open::open_env(dir, default_map_bytes())?;
    let mut txn = env.write_txn().map_err(database)?;
    let tables = Tables::create(&env, &mut txn).map_err(database)?;
    let sealers = Sealers { old: Sealer::new(old), new: Sealer::new(new) };
    drop(open::check_format(&tables, &mut txn, &sealers.old, dir)?);
    let rotated = sealers.reseal_all(&tables, &mut txn).map_err(database)?;
    txn.commit().map_err(database)?;
    Ok(rotated)
}

struct Sealers {
    old: Sealer,
    new: Sealer,
}

fn cannot_seal(error: SealError) -> heed::Error {
    heed::Error::Io(std::io::Error::other(error))
}

impl Sealers {
    fn reseal_all(&self, tables: &Tables, txn: &mut RwTxn<'_>) -> heed::Result<Rotated> {
        let check = self.new.seal(CHECK_KEY, CHECK_TEXT).map_err(cannot_seal)?;
        tables.meta.put(txn, CHECK_KEY, &check)?;
        let hash_key = tables.meta.get(txn, HASH_KEY)?.ok_or(heed::Error::Mdb(heed::MdbError::NotFound))?;
        let hash_key = self.old.open(HASH_KEY, hash_key).map_err(cannot_seal)?;
        tables.meta.put(txn, HASH_KEY, &self.new.seal(HASH_KEY, &hash_key).map_err(cannot_seal)?)?;

        let mut rotated = Rotated { webhooks_resealed: 0, webhooks_damaged: Vec::new() };
        let mut next = tables.webhooks.first(txn)?.map(|(key, _)| key.to_vec());
        while let Some(key) = next {
            self.reseal_webhook(tables, txn, &key, &mut rotated)?;
            next = tables.webhooks.get_greater_than(txn, &key)?.map(|(key, _)| key.to_vec());
        }
        Ok(rotated)
    }

    fn reseal_webhook(
        &self,
        tables: &Tables,
        txn: &mut RwTxn<'_>,
        key: &[u8],
        rotated: &mut Rotated,
    ) -> heed::Result<()> {
        let no = WebhookNo(key_no(key));
        let row = tables.webhooks.get(txn, key)?.unwrap_or_default();
        let Ok(webhook) = catalog::decode_webhook(&self.old, no, row) else {
            rotated.webhooks_damaged.push(no);
            return Ok(());
        };
        if webhook.signing.is_none() && webhook.auth == Auth::None {
            return Ok(());
        }
        let row = catalog::encode_webhook(&self.new, &webhook).map_err(cannot_seal)?;
        // The old row is the last copy of these secrets.
        assert!(
            catalog::decode_webhook(&self.new, no, &row).is_ok_and(|read| read == webhook),
            "a webhook sealed anew reads as it did"
        );
        tables.webhooks.put(txn, key, &row)?;
        rotated.webhooks_resealed += 1;
        Ok(())
    }
}
