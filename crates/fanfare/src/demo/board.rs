//! What the demo is owed, and what has come of it.

use crate::listen::printable;
use crate::listen::receiver::Seen;
use crate::signature::Verdict;
use bytes::Bytes;
use fanfare_core::delivery::{Rendered, delivery_id};
use fanfare_core::ports::Formatter;
use fanfare_core::webhook::FormatName;
use fanfare_core::{EventId, WebhookId};
use fanfare_render::{ParsedEvent, render_builtin};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Characters of a body shown.
const SHOWN_CHARS: usize = 100;
/// Problems kept to be told; the rest is counted.
const PROBLEMS_KEPT: usize = 10;

/// One webhook of the demo, as its receiver knows it.
#[derive(Clone, Debug)]
pub(crate) struct DemoWebhook {
    /// Its id.
    pub(crate) id: WebhookId,
    /// Its format.
    pub(crate) format: FormatName,
    /// `Authorization` it must send, when it has one.
    pub(crate) authorization: Option<String>,
}

/// One delivery to come.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Expected {
    body: Bytes,
    webhook: usize,
}

/// Deliveries owed, by their ids; what arrives is held against them.
pub(crate) struct Board {
    formatter: Arc<dyn Formatter>,
    webhooks: Mutex<Vec<DemoWebhook>>,
    expected: Mutex<HashMap<String, Expected>>,
    arrived: AtomicU64,
    wrong: AtomicU64,
    problems: Mutex<Vec<String>>,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Board {
    /// With the formats that are not built in.
    pub(crate) fn new(formatter: Arc<dyn Formatter>) -> Self {
        Board {
            formatter,
            webhooks: Mutex::default(),
            expected: Mutex::default(),
            arrived: AtomicU64::new(0),
            wrong: AtomicU64::new(0),
            problems: Mutex::default(),
        }
    }

    /// Tells of a webhook; events expected from now on are expected there too.
    pub(crate) fn add_webhook(&self, webhook: DemoWebhook) {
        locked(&self.webhooks).push(webhook);
    }

    /// Expects every body of an event at every webhook; how many that are. `Err`: the event is not sound.
    pub(crate) async fn expect(
        &self,
        id: &EventId,
        event: &ParsedEvent,
        phone: Option<&str>,
    ) -> Result<u64, String> {
        let owed = self.owed(id, event, phone).await?;
        let count = u64::try_from(owed.len()).unwrap_or(u64::MAX);
        locked(&self.expected).extend(owed);
        Ok(count)
    }

    /// How many bodies an event has over all webhooks.
    pub(crate) async fn count(
        &self,
        id: &EventId,
        event: &ParsedEvent,
        phone: Option<&str>,
    ) -> Result<u64, String> {
        self.owed(id, event, phone).await.map(|owed| u64::try_from(owed.len()).unwrap_or(u64::MAX))
    }

    async fn owed(
        &self,
        id: &EventId,
        event: &ParsedEvent,
        phone: Option<&str>,
    ) -> Result<Vec<(String, Expected)>, String> {
        let event = Arc::new(event.clone().into_event(id.clone(), phone.map(Box::from), 0));
        let mut owed = Vec::new();
        let webhooks = locked(&self.webhooks).clone();
        for (index, webhook) in webhooks.into_iter().enumerate() {
            let rendered = match render_builtin(&webhook.format, &event) {
                Some(rendered) => rendered,
                None => self.formatter.render(&webhook.format, Arc::clone(&event)).await,
            };
            let bodies = match rendered {
                Rendered::Bodies(bodies) => bodies,
                Rendered::Skipped { .. } => continue,
                other => return Err(format!("the sample {} renders to {other:?}", event.kind.name())),
            };
            for (part, body) in (0_u16..).zip(bodies) {
                let expected = Expected { body: body.bytes, webhook: index };
                owed.push((delivery_id(id, webhook.id, part), expected));
            }
        }
        Ok(owed)
    }

    /// Holds an arrival against what is owed; a line to show when it is right.
    pub(crate) fn arrive(&self, seen: &Seen<'_>) -> Option<String> {
        let id = seen.text("webhook-id");
        let problem = match self.check(id, seen) {
            Ok(format) => {
                self.arrived.fetch_add(1, Ordering::AcqRel);
                let whole = printable(seen.body);
                let mut body: String = whole.chars().take(SHOWN_CHARS).collect();
                if body.len() < whole.len() {
                    body.push('…');
                }
                let event = seen.text("x-hub-event");
                return Some(format!("{event:16} {format:11} {:5} bytes  verified  {body}", seen.body_bytes));
            }
            Err(problem) => problem,
        };
        self.wrong.fetch_add(1, Ordering::AcqRel);
        let mut problems = locked(&self.problems);
        if problems.len() < PROBLEMS_KEPT {
            problems.push(format!("{id}: {problem}"));
        }
        None
    }

    fn check(&self, id: &str, seen: &Seen<'_>) -> Result<String, String> {
        if *seen.verdict != Verdict::Verified {
            return Err(format!("not verified: {:?}", seen.verdict));
        }
        let Some(expected) = locked(&self.expected).remove(id) else {
            return Err("came twice, or was never owed".into());
        };
        if expected.body != seen.body {
            return Err("the body differs from its offline rendering".into());
        }
        let webhooks = locked(&self.webhooks);
        let Some(webhook) = webhooks.get(expected.webhook) else { return Err("unknown webhook".into()) };
        let sent = seen.headers.get("authorization").and_then(|value| value.to_str().ok());
        if sent != webhook.authorization.as_deref() {
            return Err("the credential is not the webhook's".into());
        }
        Ok(webhook.format.as_str().to_owned())
    }

    /// Deliveries that arrived as they should.
    pub(crate) fn arrived(&self) -> u64 {
        self.arrived.load(Ordering::Acquire)
    }

    /// Deliveries still owed.
    pub(crate) fn missing(&self) -> usize {
        locked(&self.expected).len()
    }

    /// What is wrong, when something is: the first problems and what is missing.
    pub(crate) fn verdict(&self) -> Result<(), String> {
        let mut lines = locked(&self.problems).clone();
        let wrong = self.wrong.load(Ordering::Acquire);
        let missing = self.missing();
        if wrong == 0 && missing == 0 {
            return Ok(());
        }
        lines.extend(locked(&self.expected).keys().take(PROBLEMS_KEPT).map(|id| format!("{id}: missing")));
        Err(format!("{missing} deliveries are missing and {wrong} were wrong\n  {}", lines.join("\n  ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fanfare_core::ports::NoFormats;
    use fanfare_render::parse_event;
    use http::{HeaderMap, StatusCode};

    const EVENT: &str = r#"{"id":"e","type":"BLOCK","channelId":"C","payload":{"a":1}}"#;

    async fn board() -> Board {
        let board = Board::new(Arc::new(NoFormats));
        board.add_webhook(DemoWebhook {
            id: WebhookId(1),
            format: FormatName::default(),
            authorization: Some("Bearer t".into()),
        });
        let event = parse_event(Bytes::from(EVENT)).unwrap();
        assert_eq!(board.expect(&EventId::parse("e").unwrap(), &event, None).await, Ok(1));
        board
    }

    fn arrive(board: &Board, authorization: &str, body: &[u8], verdict: &Verdict) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(
            "webhook-id",
            delivery_id(&EventId::parse("e").unwrap(), WebhookId(1), 0).parse().unwrap(),
        );
        headers.insert("authorization", authorization.parse().unwrap());
        headers.insert("x-hub-event", "BLOCK".parse().unwrap());
        board.arrive(&Seen {
            number: 1,
            unix_ms: 0,
            headers: &headers,
            body,
            body_bytes: body.len(),
            verdict,
            status: StatusCode::OK,
        })
    }

    #[tokio::test]
    async fn what_is_owed_arrives_once() {
        let board = board().await;
        assert!(board.verdict().unwrap_err().contains("1 deliveries are missing"), "nothing came yet");
        let line = arrive(&board, "Bearer t", br#"{"a":1}"#, &Verdict::Verified).unwrap();
        assert_eq!(line, r#"BLOCK            DEFAULT         7 bytes  verified  {"a":1}"#);
        assert_eq!((board.arrived(), board.missing(), board.verdict()), (1, 0, Ok(())));
        assert_eq!(arrive(&board, "Bearer t", br#"{"a":1}"#, &Verdict::Verified), None);
        assert!(board.verdict().unwrap_err().contains("came twice"));
    }

    #[tokio::test]
    async fn a_wrong_signature_body_or_credential_is_a_problem() {
        for (authorization, body, verdict, problem) in [
            ("Bearer t", &br#"{"a":1}"#[..], Verdict::Unsigned, "not verified"),
            ("Bearer t", br#"{"a":2}"#, Verdict::Verified, "differs"),
            ("Bearer x", br#"{"a":1}"#, Verdict::Verified, "credential"),
        ] {
            let board = board().await;
            assert_eq!(arrive(&board, authorization, body, &verdict), None);
            let told = board.verdict().unwrap_err();
            assert!(told.contains(problem), "{told}");
        }
    }
}
