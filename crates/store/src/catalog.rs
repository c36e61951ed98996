//! Configuration at rest: record structs of this crate's own, so that core's types can change without the disk's.
//!
//! ```text
//! accounts, keys   key = id                body = JSON
//! channels         key = channel u32       body = JSON
//! channel_names    key = channel id        body = channel u32
//! webhooks         key = webhook u32       body = json_bytes u32, JSON, sealed box (secrets as JSON; empty: none)
//! ```

use crate::record::frame::{self, Damaged, Put};
use crate::seal::{SealError, Sealer};
use crate::tables::no_key;
use fanfare_core::event::{EventKind, Subscription};
use fanfare_core::secret::SigningSecret;
use fanfare_core::webhook::{
    Account, ApiKey, Auth, Channel, DeliverySettings, FormatName, Ordering, Protocol, RateLimit, Scopes,
    Signing, Webhook, WebhookStatus,
};
use fanfare_core::{AccountId, ChannelId, ChannelNo, KeyId, Secret, WebhookId, WebhookNo};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

const VERSION: u8 = 1;

/// Why a webhook's row could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WebhookError {
    #[error(transparent)]
    Damaged(#[from] Damaged),
    #[error(transparent)]
    Seal(#[from] SealError),
}

fn encode_json(key: &[u8], record: &impl Serialize) -> Vec<u8> {
    let mut row = frame::begin(VERSION);
    row.extend_from_slice(&json(record));
    frame::finish(&mut row, key);
    row
}

fn json(record: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(record).expect("records hold nothing that JSON cannot")
}

fn decode_json<T: DeserializeOwned>(key: &[u8], row: &[u8], what: &'static str) -> Result<T, Damaged> {
    let body = frame::open(row, key, VERSION, what)?.rest();
    serde_json::from_slice(body).map_err(|_| Damaged(what))
}

#[derive(Serialize, Deserialize)]
struct AccountRow {
    role: String,
}

pub(crate) fn encode_account(account: &Account) -> Vec<u8> {
    encode_json(account.id.as_str().as_bytes(), &AccountRow { role: account.role.clone() })
}

fn text_key(key: &[u8]) -> &str {
    std::str::from_utf8(key).unwrap_or_default()
}

pub(crate) fn decode_account(key: &[u8], row: &[u8]) -> Result<Account, Damaged> {
    let AccountRow { role } = decode_json(key, row, "account")?;
    Ok(Account { id: AccountId::parse(text_key(key)).map_err(|_| Damaged("account"))?, role })
}

#[derive(Serialize, Deserialize)]
struct KeyRow {
    account: String,
    manage: bool,
    ingest: bool,
    operate: bool,
    hash: [u8; 32],
    created_at_ms: u64,
}

pub(crate) fn encode_key(key: &ApiKey) -> Vec<u8> {
    let row = KeyRow {
        account: key.account.as_str().to_owned(),
        manage: key.scopes.manage,
        ingest: key.scopes.ingest,
        operate: key.scopes.operate,
        hash: key.hash,
        created_at_ms: key.created_at_ms,
    };
    encode_json(key.id.as_str().as_bytes(), &row)
}

pub(crate) fn decode_key(key: &[u8], row: &[u8]) -> Result<ApiKey, Damaged> {
    let damaged = Damaged("key");
    let row: KeyRow = decode_json(key, row, "key")?;
    Ok(ApiKey {
        id: KeyId::parse(text_key(key)).map_err(|_| damaged)?,
        account: AccountId::parse(&row.account).map_err(|_| damaged)?,
        scopes: Scopes { manage: row.manage, ingest: row.ingest, operate: row.operate },
        hash: row.hash,
        created_at_ms: row.created_at_ms,
    })
}

#[derive(Serialize, Deserialize)]
struct ChannelRow {
    id: String,
    account: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    phone: Option<String>,
}

pub(crate) fn encode_channel(channel: &Channel) -> Vec<u8> {
    let row = ChannelRow {
        id: channel.id.as_str().to_owned(),
        account: channel.account.as_str().to_owned(),
        phone: channel.phone.clone(),
    };
    encode_json(&no_key(channel.no.0), &row)
}

pub(crate) fn decode_channel(no: ChannelNo, row: &[u8]) -> Result<Channel, Damaged> {
    let damaged = Damaged("channel");
    let row: ChannelRow = decode_json(&no_key(no.0), row, "channel")?;
    Ok(Channel {
        no,
        id: ChannelId::parse(&row.id).map_err(|_| damaged)?,
        account: AccountId::parse(&row.account).map_err(|_| damaged)?,
        phone: row.phone,
    })
}

pub(crate) fn encode_channel_no(id: &ChannelId, no: ChannelNo) -> Vec<u8> {
    let mut row = frame::begin(VERSION);
    row.put_u32(no.0);
    frame::finish(&mut row, id.as_str().as_bytes());
    row
}

pub(crate) fn decode_channel_no(id: &ChannelId, row: &[u8]) -> Result<ChannelNo, Damaged> {
    let mut body = frame::open(row, id.as_str().as_bytes(), VERSION, "channel name")?;
    let no = ChannelNo(body.u32()?);
    body.end()?;
    Ok(no)
}

#[derive(Serialize, Deserialize)]
enum StatusRow {
    Enabled,
    Disabled,
}

#[derive(Serialize, Deserialize)]
enum OrderingRow {
    None,
    Key,
}

#[derive(Serialize, Deserialize)]
enum ProtocolRow {
    Auto,
    Http1,
    Http2,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct DeliveryRow {
    timeout_ms: Option<u32>,
    max_in_flight: Option<u16>,
    rate_limit: Option<(f64, u32)>,
    ordering: Option<OrderingRow>,
    retry_schedule_seconds: Option<Vec<u32>>,
    retry_max_age_seconds: Option<u32>,
    protocol: Option<ProtocolRow>,
}

#[derive(Serialize, Deserialize)]
struct WebhookRow {
    id: String,
    channel: String,
    url: String,
    #[serde(default)]
    description: Option<String>,
    events: Vec<String>,
    status: StatusRow,
    #[serde(default)]
    disabled_reason: Option<String>,
    #[serde(default)]
    is_given_up: bool,
    #[serde(default)]
    failing_since_ms: Option<u64>,
    payload_format: String,
    custom_attributes: String,
    #[serde(default)]
    delivery: DeliveryRow,
    created_at_ms: u64,
    updated_at_ms: u64,
}

#[derive(Serialize, Deserialize)]
struct SigningRow {
    current: [u8; 32],
    previous: Option<([u8; 32], u64)>,
}

#[derive(Serialize, Deserialize)]
enum AuthRow {
    None,
    Bearer(String),
    ApiKey(String),
    Basic(String, String),
    CustomHeader(String, String),
}

impl Drop for SigningRow {
    fn drop(&mut self) {
        use zeroize::Zeroize;
        self.current.zeroize();
        if let Some((previous, _)) = &mut self.previous {
            previous.zeroize();
        }
    }
}

impl Drop for AuthRow {
    fn drop(&mut self) {
        use zeroize::Zeroize;
        match self {
            AuthRow::None => {}
            AuthRow::Bearer(secret) | AuthRow::ApiKey(secret) | AuthRow::CustomHeader(_, secret) => {
                secret.zeroize()
            }
            AuthRow::Basic(username, password) => {
                username.zeroize();
                password.zeroize();
            }
        }
    }
}

/// Everything of a webhook that is sealed, as one box.
#[derive(Serialize, Deserialize)]
struct SecretsRow {
    signing: Option<SigningRow>,
    auth: AuthRow,
}

/// Where a webhook's box belongs.
fn place(no: WebhookNo) -> Vec<u8> {
    [b"webhooks/".as_slice(), &no_key(no.0), b"/secrets"].concat()
}

fn secrets(webhook: &Webhook) -> SecretsRow {
    let text = |secret: &Secret| secret.expose().to_owned();
    SecretsRow {
        signing: webhook.signing.as_ref().map(|signing| SigningRow {
            current: signing.current.0,
            previous: signing.previous.as_ref().map(|(secret, until_ms)| (secret.0, *until_ms)),
        }),
        auth: match &webhook.auth {
            Auth::None => AuthRow::None,
            Auth::Bearer { token } => AuthRow::Bearer(text(token)),
            Auth::ApiKey { key } => AuthRow::ApiKey(text(key)),
            Auth::Basic { username, password } => AuthRow::Basic(text(username), text(password)),
            Auth::CustomHeader { name, value } => AuthRow::CustomHeader(name.clone(), text(value)),
        },
    }
}

/// Encodes a webhook, its secrets sealed.
pub(crate) fn encode_webhook(sealer: &Sealer, webhook: &Webhook) -> Result<Vec<u8>, SealError> {
    let delivery = &webhook.delivery;
    let record = WebhookRow {
        id: webhook.id.to_string(),
        channel: webhook.channel.as_str().to_owned(),
        url: webhook.url.clone(),
        description: webhook.description.clone(),
        events: webhook.events.iter().map(|event| event.name().to_owned()).collect(),
        status: match webhook.status {
            WebhookStatus::Enabled => StatusRow::Enabled,
            WebhookStatus::Disabled => StatusRow::Disabled,
        },
        disabled_reason: webhook.disabled_reason.clone(),
        is_given_up: webhook.is_given_up,
        failing_since_ms: webhook.failing_since_ms,
        payload_format: webhook.payload_format.as_str().to_owned(),
        custom_attributes: webhook.custom_attributes.clone(),
        delivery: DeliveryRow {
            timeout_ms: delivery.timeout_ms,
            max_in_flight: delivery.max_in_flight,
            rate_limit: delivery.rate_limit.map(|limit| (limit.per_second, limit.burst)),
            ordering: delivery.ordering.map(|ordering| match ordering {
                Ordering::None => OrderingRow::None,
                Ordering::Key => OrderingRow::Key,
            }),
            retry_schedule_seconds: delivery.retry_schedule_seconds.clone(),
            retry_max_age_seconds: delivery.retry_max_age_seconds,
            protocol: delivery.protocol.map(|protocol| match protocol {
                Protocol::Auto => ProtocolRow::Auto,
                Protocol::Http1 => ProtocolRow::Http1,
                Protocol::Http2 => ProtocolRow::Http2,
            }),
        },
        created_at_ms: webhook.created_at_ms,
        updated_at_ms: webhook.updated_at_ms,
    };
    let plain = json(&record);
    let mut row = frame::begin(VERSION);
    row.put_u32(u32::try_from(plain.len()).unwrap_or(u32::MAX));
    row.extend_from_slice(&plain);
    if webhook.signing.is_some() || webhook.auth != Auth::None {
        let secrets = Zeroizing::new(json(&secrets(webhook)));
        row.extend_from_slice(&sealer.seal(&place(webhook.no), &secrets)?);
    }
    frame::finish(&mut row, &no_key(webhook.no.0));
    Ok(row)
}

fn subscription(name: &str) -> Option<Subscription> {
    Subscription::parse(name).or_else(|| EventKind::parse(name).map(Subscription::Kind))
}

/// Reads a webhook and opens its secrets.
pub(crate) fn decode_webhook(sealer: &Sealer, no: WebhookNo, row: &[u8]) -> Result<Webhook, WebhookError> {
    let damaged = Damaged("webhook");
    let mut body = frame::open(row, &no_key(no.0), VERSION, "webhook")?;
    let json_bytes = body.u32()? as usize;
    let record: WebhookRow = serde_json::from_slice(body.bytes(json_bytes)?).map_err(|_| damaged)?;
    let (signing, auth) = match body.rest() {
        [] => (None, Auth::None),
        sealed => {
            let plain = sealer.open(&place(no), sealed)?;
            let secrets: SecretsRow = serde_json::from_slice(&plain).map_err(|_| damaged)?;
            let signing = secrets.signing.as_ref().map(|signing| Signing {
                current: SigningSecret(signing.current),
                previous: signing.previous.map(|(secret, until_ms)| (SigningSecret(secret), until_ms)),
            });
            let secret = |text: &String| Secret::new(text.clone());
            let auth = match &secrets.auth {
                AuthRow::None => Auth::None,
                AuthRow::Bearer(token) => Auth::Bearer { token: secret(token) },
                AuthRow::ApiKey(key) => Auth::ApiKey { key: secret(key) },
                AuthRow::Basic(username, password) => {
                    Auth::Basic { username: secret(username), password: secret(password) }
                }
                AuthRow::CustomHeader(name, value) => {
                    Auth::CustomHeader { name: name.clone(), value: secret(value) }
                }
            };
            (signing, auth)
        }
    };
    let delivery = record.delivery;
    Ok(Webhook {
        no,
        id: WebhookId::parse(&record.id).ok_or(damaged)?,
        channel: ChannelId::parse(&record.channel).map_err(|_| damaged)?,
        url: record.url,
        description: record.description,
        events: record
            .events
            .iter()
            .map(|name| subscription(name).ok_or(damaged))
            .collect::<Result<_, _>>()?,
        status: match record.status {
            StatusRow::Enabled => WebhookStatus::Enabled,
            StatusRow::Disabled => WebhookStatus::Disabled,
        },
        disabled_reason: record.disabled_reason,
        is_given_up: record.is_given_up,
        failing_since_ms: record.failing_since_ms,
        signing,
        auth,
        payload_format: FormatName::parse(&record.payload_format).ok_or(damaged)?,
        custom_attributes: record.custom_attributes,
        delivery: DeliverySettings {
            timeout_ms: delivery.timeout_ms,
            max_in_flight: delivery.max_in_flight,
            rate_limit: delivery.rate_limit.map(|(per_second, burst)| RateLimit { per_second, burst }),
            ordering: delivery.ordering.map(|ordering| match ordering {
                OrderingRow::None => Ordering::None,
                OrderingRow::Key => Ordering::Key,
            }),
            retry_schedule_seconds: delivery.retry_schedule_seconds,
            retry_max_age_seconds: delivery.retry_max_age_seconds,
            protocol: delivery.protocol.map(|protocol| match protocol {
                ProtocolRow::Auto => Protocol::Auto,
                ProtocolRow::Http1 => Protocol::Http1,
                ProtocolRow::Http2 => Protocol::Http2,
            }),
        },
        created_at_ms: record.created_at_ms,
        updated_at_ms: record.updated_at_ms,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn webhook(auth: Auth, signing: Option<Signing>) -> Webhook {
        Webhook {
            no: WebhookNo(7),
            id: WebhookId(0x0190_F3A2_7C5B),
            channel: ChannelId::parse("ch").unwrap(),
            url: "https://example.com/in?token=abc".into(),
            description: Some("d".into()),
            events: vec![Subscription::Kind(EventKind::Block), Subscription::ReceivedStatus],
            status: WebhookStatus::Disabled,
            disabled_reason: Some("gone".into()),
            is_given_up: true,
            failing_since_ms: Some(7),
            signing,
            auth,
            payload_format: FormatName::parse("Z_API").unwrap(),
            custom_attributes: r#"{"a":1}"#.into(),
            delivery: DeliverySettings {
                timeout_ms: Some(1000),
                max_in_flight: Some(3),
                rate_limit: Some(RateLimit { per_second: 0.1, burst: 4 }),
                ordering: Some(Ordering::Key),
                retry_schedule_seconds: Some(vec![1, 2]),
                retry_max_age_seconds: Some(9),
                protocol: Some(Protocol::Http2),
            },
            created_at_ms: 1,
            updated_at_ms: 2,
        }
    }

    #[test]
    fn webhooks_round_trip_with_every_kind_of_credential() {
        let sealer = Sealer::new([9; 32]);
        let secret = || Secret::new("s3cret-text");
        let signing =
            Signing { current: SigningSecret([1; 32]), previous: Some((SigningSecret([2; 32]), 77)) };
        for auth in [
            Auth::None,
            Auth::Bearer { token: secret() },
            Auth::ApiKey { key: secret() },
            Auth::Basic { username: secret(), password: secret() },
            Auth::CustomHeader { name: "X-Key".into(), value: secret() },
        ] {
            for signing in [None, Some(signing.clone())] {
                let webhook = webhook(auth.clone(), signing);
                let row = encode_webhook(&sealer, &webhook).unwrap();
                assert_eq!(decode_webhook(&sealer, WebhookNo(7), &row).unwrap(), webhook);
                assert!(
                    !row.windows(11).any(|window| window == b"s3cret-text"),
                    "a secret stands in the open"
                );
            }
        }
    }

    #[test]
    fn every_damage_of_a_configuration_row_is_noticed() {
        let sealer = Sealer::new([9; 32]);
        let row = encode_webhook(&sealer, &webhook(Auth::Bearer { token: Secret::new("t") }, None)).unwrap();
        frame::check_every_damage(&row, |row| decode_webhook(&sealer, WebhookNo(7), row).is_ok());
        let account = Account { id: AccountId::parse("a").unwrap(), role: Account::ENTERPRISE.into() };
        let row = encode_account(&account);
        assert_eq!(decode_account(b"a", &row), Ok(account));
        frame::check_every_damage(&row, |row| decode_account(b"a", row).is_ok());
        let key = ApiKey {
            id: KeyId::parse("k").unwrap(),
            account: AccountId::parse("a").unwrap(),
            scopes: Scopes { manage: true, ingest: false, operate: true },
            hash: [5; 32],
            created_at_ms: 3,
        };
        let row = encode_key(&key);
        assert_eq!(decode_key(b"k", &row), Ok(key));
        frame::check_every_damage(&row, |row| decode_key(b"k", row).is_ok());
        let id = ChannelId::parse("c").unwrap();
        let channel = Channel {
            no: ChannelNo(3),
            id: id.clone(),
            account: AccountId::parse("a").unwrap(),
            phone: Some("5511".into()),
        };
        let row = encode_channel(&channel);
        assert_eq!(decode_channel(ChannelNo(3), &row), Ok(channel));
        frame::check_every_damage(&row, |row| decode_channel(ChannelNo(3), row).is_ok());
        let row = encode_channel_no(&id, ChannelNo(3));
        assert_eq!(decode_channel_no(&id, &row), Ok(ChannelNo(3)));
        frame::check_every_damage(&row, |row| decode_channel_no(&id, row).is_ok());
    }
}
