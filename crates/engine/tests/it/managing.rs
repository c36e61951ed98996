//! Changes of configuration and when they are in force.

use crate::bench::{Bench, SECOND, received, run};
use fanfare_core::webhook::{DeliverySettings, Scopes, WebhookStatus};
use fanfare_core::{AccountId, ChannelId, Secret};
use fanfare_engine::{EngineError, Principal, SigningChange};
use fanfare_testkit::transport::Answer;
use std::time::Duration;

#[test]
fn disabled_gets_nothing_new_and_goes_on_with_the_old_when_enabled() {
    run(async {
        let bench = Bench::new(|_| Answer::Status(500, Duration::ZERO)).await;
        let webhook = bench.webhook(DeliverySettings::default()).await;
        bench.push(2).await;
        bench.pass(SECOND).await;
        let set = |status| {
            bench.engine.update_webhook(
                &bench.hub,
                &bench.channel,
                webhook.id,
                SigningChange::Keep,
                Box::new(move |webhook| {
                    webhook.status = status;
                    Ok(())
                }),
            )
        };
        set(WebhookStatus::Disabled).await.expect("disable");
        bench.transport.set(|_| Answer::OK);
        bench.push(5).await;
        bench.pass(600 * SECOND).await;
        assert_eq!(bench.sent().len(), 2, "paused, and what happens meanwhile is lost to it");
        set(WebhookStatus::Enabled).await.expect("enable");
        bench.pass(60 * SECOND).await;
        assert_eq!(bench.sent().len(), 4);
        assert_eq!(bench.store.event_count(), 0);
    });
}

#[test]
fn a_new_url_is_in_force_for_the_next_attempt() {
    run(async {
        let bench = Bench::new(|_| Answer::Status(500, Duration::ZERO)).await;
        let webhook = bench.webhook(DeliverySettings::default()).await;
        bench.push(1).await;
        bench.pass(SECOND).await;
        let (updated, secret) = bench
            .engine
            .update_webhook(
                &bench.hub,
                &bench.channel,
                webhook.id,
                SigningChange::Rotate { overlap_seconds: 60 },
                Box::new(|webhook| {
                    webhook.url = "https://new.test/".into();
                    Ok(())
                }),
            )
            .await
            .expect("update");
        assert!(secret.is_some() && updated.updated_at_ms > webhook.updated_at_ms);
        bench.transport.set(|_| Answer::OK);
        bench.pass(10 * SECOND).await;
        let sent = bench.sent();
        let urls: Vec<&str> = sent.iter().map(|s| s.url.as_str()).collect();
        assert_eq!(urls, ["https://receiver.test/hook", "https://new.test/"]);
        assert!(sent[1].request.hub_signature.is_some());
    });
}

#[test]
fn during_the_overlap_both_secrets_sign_and_after_it_only_the_new() {
    run(async {
        let bench = Bench::new(|_| Answer::OK).await;
        let webhook = bench.webhook_with(|new| new.signing = true).await;
        bench
            .engine
            .update_webhook(
                &bench.hub,
                &bench.channel,
                webhook.id,
                SigningChange::Rotate { overlap_seconds: 20 },
                Box::new(|_| Ok(())),
            )
            .await
            .expect("rotate");
        for _ in 0..2 {
            bench.push(1).await;
            bench.pass(21 * SECOND).await;
        }
        let counts: Vec<usize> = bench
            .sent()
            .iter()
            .map(|s| s.request.standard_signature.clone().expect("signed").split(|b| *b == b' ').count())
            .collect();
        assert_eq!(counts, [2, 1]);
    });
}

#[test]
fn deleting_stops_at_once_and_frees_the_events() {
    run(async {
        let bench = Bench::new(|_| Answer::Status(500, Duration::ZERO)).await;
        let settings = DeliverySettings { max_in_flight: Some(1), ..Default::default() };
        let webhook = bench.webhook(settings).await;
        bench.push(300).await;
        bench.pass(SECOND / 2).await;
        let before = bench.sent().len();
        bench.engine.delete_webhook(&bench.hub, &bench.channel, webhook.id).await.expect("delete");
        bench.pass(3600 * SECOND).await;
        assert_eq!(bench.sent().len(), before);
        assert_eq!(bench.store.event_count(), 0);
        let gone = bench.engine.webhook(&bench.hub, &bench.channel, webhook.id);
        assert_eq!(gone.expect_err("deleted"), EngineError::UnknownWebhook);
    });
}

#[test]
fn an_unchanged_patch_changes_nothing() {
    run(async {
        let bench = Bench::new(|_| Answer::OK).await;
        let webhook = bench.webhook(DeliverySettings::default()).await;
        bench.pass(SECOND).await;
        let (after, _) = bench
            .engine
            .update_webhook(&bench.hub, &bench.channel, webhook.id, SigningChange::Keep, Box::new(|_| Ok(())))
            .await
            .expect("update");
        assert_eq!(after, webhook);
    });
}

#[test]
fn roles_channels_and_keys_are_checked_in_order() {
    run(async {
        let bench = Bench::new(|_| Answer::OK).await;
        let engine = &bench.engine;
        let plain = AccountId::parse("plain").expect("id");
        let account = fanfare_core::webhook::Account { id: plain.clone(), role: "BASIC".into() };
        engine.put_account(account).await.expect("account");
        let scopes = Scopes { manage: true, ..Scopes::default() };
        let (_, key) = engine.create_key(&plain, scopes).await.expect("key");
        let principal = engine.authenticate(&key).expect("known key");
        assert_eq!(principal, Principal { account: Some(plain.clone()), scopes });
        let unknown = ChannelId::parse("nope").expect("id");
        assert_eq!(engine.authorize_channel(&principal, &unknown), Err(EngineError::RoleRequired));
        assert_eq!(engine.authorize_channel(&bench.hub, &unknown), Err(EngineError::UnknownChannel));
        let other = AccountId::parse("other").expect("id");
        let account = fanfare_core::webhook::Account { id: other.clone(), role: "ENTERPRISE".into() };
        engine.put_account(account).await.expect("account");
        let (record, key) = engine.create_key(&other, scopes).await.expect("key");
        let principal = engine.authenticate(&key).expect("known key");
        assert_eq!(engine.authorize_channel(&principal, &bench.channel), Err(EngineError::UnknownChannel));
        let boot = engine.authenticate(&Secret::new("boot")).expect("bootstrap");
        assert_eq!(engine.authorize_channel(&boot, &bench.channel), Ok(()));
        engine.delete_key(&other, &record.id).await.expect("delete");
        assert_eq!(engine.authenticate(&key), None);
        let answer = engine
            .ingest(&principal, vec![fanfare_render::parse_event(received("x").into())])
            .await
            .expect("ingest");
        assert_eq!(answer.rejected, [(0, "unknown channel".to_owned())]);
    });
}
