//! Signatures as others check them: `openssl` makes the HMACs again, and the PyPI library verifies.

use crate::{CHANNEL, header, receiver, subscribed, text};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fanfare_testkit::receiver::Received;
use fanfare_tests::foreign::{openssl_hmac, run_python};
use fanfare_tests::{Node, events};
use serde_json::{Value, json};

async fn one_request() -> (Node, Value, Received) {
    let target = receiver();
    let (node, made) = subscribed(&target, json!({"signing": true, "events": ["MESSAGE_RECEIVED"]})).await;
    node.api().push(&[events::message(CHANNEL, "e1", &["olá, \u{1f600}"])]).await;
    let request = target.requests_at_least(1).await.remove(0);
    (node, made, request)
}

#[tokio::test]
async fn openssl_makes_the_same_hmacs() {
    let (_node, made, request) = one_request().await;
    let secret = text(&made, "secret");
    let of_text = openssl_hmac(&hex::encode(secret), &request.body).await;
    assert_eq!(
        header(&request, "x-hub-signature-256"),
        format!("sha256={of_text}"),
        "keyed with the 64 characters"
    );
    let prefix = format!("{}.{}.", header(&request, "webhook-id"), header(&request, "webhook-timestamp"));
    let signed = [prefix.as_bytes(), &request.body].concat();
    let of_bytes = hex::decode(openssl_hmac(secret, &signed).await).unwrap();
    assert_eq!(
        header(&request, "webhook-signature"),
        format!("v1,{}", STANDARD.encode(of_bytes)),
        "with the 32 bytes"
    );
}

/// Reads the body on standard input; arguments: secret, then the three headers.
const VERIFY: &str = "
import sys
from standardwebhooks.webhooks import Webhook, WebhookVerificationError
body = sys.stdin.buffer.read()
secret, id, timestamp, signature = sys.argv[1:]
headers = {'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': signature}
try:
    Webhook(secret).verify(body, headers)
    print('verified')
except WebhookVerificationError as error:
    print('refused:', error)
";

#[tokio::test]
async fn the_standard_webhooks_library_verifies_a_delivery_as_it_is() {
    let (_node, made, request) = one_request().await;
    let secret = text(&made, "standardSecret");
    let (id, timestamp) = (header(&request, "webhook-id"), header(&request, "webhook-timestamp"));
    let signature = header(&request, "webhook-signature");
    let good = run_python(VERIFY, &[secret, id, timestamp, signature], &request.body).await;
    assert_eq!(good.expect(0).trim(), "verified");
    // The check can fail: one byte more, and another delivery's id.
    let longer = [&request.body, &b" "[..]].concat();
    let bad = run_python(VERIFY, &[secret, id, timestamp, signature], &longer).await;
    assert!(bad.expect(0).starts_with("refused"), "{bad:?}");
    let bad = run_python(VERIFY, &[secret, "e2-x", timestamp, signature], &request.body).await;
    assert!(bad.expect(0).starts_with("refused"), "{bad:?}");
}
