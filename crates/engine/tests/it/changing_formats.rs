//! Formats that operators put, roll back and remove while webhooks use them.

use crate::bench::{Bench, SECOND, received, run};
use bytes::Bytes;
use fanfare_core::event::Subscription;
use fanfare_core::webhook::{Auth, DeliverySettings, FormatName, Webhook};
use fanfare_engine::{EngineError, NewWebhook, SigningChange};
use fanfare_testkit::formats::{MemoryFormats, SharedFormats};
use fanfare_testkit::transport::Answer;
use std::sync::Arc;

fn name(text: &str) -> FormatName {
    FormatName::parse(text).expect("a name")
}

async fn bench(formats: &Arc<MemoryFormats>) -> Bench {
    let shared = SharedFormats(Arc::clone(formats));
    Bench::with(
        |_| Answer::OK,
        |options| (options.formatter, options.formats) = (Arc::new(shared.clone()), Arc::new(shared)),
    )
    .await
}

async fn put(bench: &Bench, component: &str) -> Result<bool, EngineError> {
    let own = component.split(' ').next().unwrap_or_default();
    let put = bench.engine.put_format(name(own), Bytes::from(component.to_owned()), None).await;
    put.map(|(_, is_new)| is_new)
}

async fn webhook(bench: &Bench, format: &str) -> Webhook {
    bench.webhook_with(|new| new.payload_format = name(format)).await
}

fn new_webhook(format: &str) -> NewWebhook {
    NewWebhook {
        url: "https://receiver.test/hook".into(),
        events: vec![Subscription::parse("MESSAGE_RECEIVED").expect("name")],
        description: None,
        signing: false,
        auth: Auth::None,
        payload_format: name(format),
        custom_attributes: "{}".into(),
        delivery: DeliverySettings::default(),
    }
}

async fn change_format(bench: &Bench, webhook: &Webhook, format: &str) -> Result<(), EngineError> {
    let format = name(format);
    let change = Box::new(move |webhook: &mut Webhook| {
        webhook.payload_format = format;
        Ok(())
    });
    let engine = &bench.engine;
    engine.update_webhook(&bench.hub, &bench.channel, webhook.id, SigningChange::Keep, change).await.map(drop)
}

fn sent(bench: &Bench) -> Vec<String> {
    bench.sent().iter().map(|s| String::from_utf8(s.request.body.bytes.to_vec()).expect("text")).collect()
}

#[test]
fn events_are_rendered_by_what_is_there_when_they_come() {
    run(async {
        let bench = bench(&MemoryFormats::new(&[])).await;
        assert_eq!(put(&bench, "A 1").await, Ok(true));
        webhook(&bench, "A").await;
        let push = async |id: &str| {
            bench.push_lines(vec![received("").replacen('{', &format!(r#"{{"id":"{id}","#), 1)]).await;
            bench.pass(SECOND).await;
        };
        push("e1").await;
        assert_eq!(put(&bench, "A 2").await, Ok(false));
        push("e2").await;
        let standing = bench.engine.rollback_format(name("A")).await.expect("there is a former one");
        assert_eq!((standing.version.as_str(), standing.former_version.as_deref()), ("1", Some("2")));
        push("e3").await;
        assert_eq!(sent(&bench), ["A 1 e1", "A 2 e2", "A 1 e3"]);
        let text = bench.engine.metrics_text();
        for line in
            ["fanfare_plugin_renders_total{plugin=\"A\"} 3", "fanfare_plugin_generation{plugin=\"A\"} 3"]
        {
            assert!(text.lines().any(|known| known == line), "{line} is not in\n{text}");
        }
    });
}

#[test]
fn a_format_in_use_stays_unless_another_of_its_name_remains() {
    run(async {
        let bench = bench(&MemoryFormats::new(&["S 1"])).await;
        for component in ["A 1", "S 2"] {
            put(&bench, component).await.expect("it is admitted");
        }
        let (first, second) = (webhook(&bench, "A").await, webhook(&bench, "A").await);
        webhook(&bench, "S").await;
        let refused = |text: String| Err(EngineError::Conflict(text));
        assert_eq!(
            bench.engine.delete_format(name("A")).await,
            refused(format!(
                "2 webhooks use A: give each another format first; one is {} of the channel C1",
                first.id
            ))
        );
        change_format(&bench, &first, "Z_API").await.expect("a format that is there");
        assert_eq!(
            bench.engine.delete_format(name("A")).await,
            refused(format!(
                "1 webhook uses A: give each another format first; one is {} of the channel C1",
                second.id
            ))
        );
        bench.engine.delete_webhook(&bench.hub, &bench.channel, second.id).await.expect("it is there");
        assert_eq!(bench.engine.delete_format(name("A")).await, Ok(()));
        assert_eq!(bench.engine.delete_format(name("A")).await, Err(EngineError::UnknownFormat));
        // The shipped one is used again, and itself stays.
        assert_eq!(bench.engine.delete_format(name("S")).await, Ok(()));
        let names: Vec<String> = bench.engine.formats().iter().map(|name| name.as_str().to_owned()).collect();
        assert_eq!(names, ["DEFAULT", "Z_API", "S"]);
        assert_eq!(bench.engine.format_standings()[0].version, "1");
        assert!(matches!(bench.engine.delete_format(name("S")).await, Err(EngineError::Conflict(_))));
    });
}

/// Removal and use at once, in any order: whichever comes first, no webhook names a format that is gone.
#[test]
fn no_webhook_comes_to_use_a_format_that_is_leaving() {
    run(async {
        let formats = MemoryFormats::new(&[]);
        let bench = bench(&formats).await;
        let plain = webhook(&bench, "DEFAULT").await;
        let (mut removed, mut kept) = (0, 0);
        for round in 0..40_u32 {
            put(&bench, "A 1").await.expect("it is admitted");
            let (engine, hub, channel) = (&bench.engine, &bench.hub, &bench.channel);
            let remove = async {
                for _ in 0..round % 8 {
                    tokio::task::yield_now().await;
                }
                engine.delete_format(name("A")).await
            };
            let create = async {
                for _ in 0..round / 8 {
                    tokio::task::yield_now().await;
                }
                engine.create_webhook(hub, channel, new_webhook("A")).await
            };
            let (gone, made, changed) = tokio::join!(remove, create, change_format(&bench, &plain, "A"));
            let is_there = engine.formats().contains(&name("A"));
            assert_eq!(gone.is_err(), is_there);
            if is_there {
                kept += 1;
            } else {
                removed += 1;
                assert!(made.is_err() && changed.is_err(), "{made:?} {changed:?}");
            }
            for webhook in engine.webhooks(hub, channel).expect("they can be read") {
                assert!(is_there || webhook.payload_format != name("A"));
                if webhook.id != plain.id {
                    engine.delete_webhook(hub, channel, webhook.id).await.expect("it is there");
                }
            }
            change_format(&bench, &plain, "DEFAULT").await.expect("it is built in");
        }
        assert!(removed > 0 && kept > 0, "{removed} removed, {kept} kept");
    });
}

#[test]
fn while_it_leaves_it_is_no_format_to_choose_and_the_refusal_says_so() {
    run(async {
        let formats = MemoryFormats::new(&[]);
        let bench = bench(&formats).await;
        put(&bench, "A 1").await.expect("it is admitted");
        let plain = webhook(&bench, "DEFAULT").await;
        formats.hold(true);
        // Whoever asked for it is gone; it goes on all the same.
        let asked = tokio::time::timeout(SECOND, bench.engine.delete_format(name("A"))).await;
        assert!(asked.is_err(), "it is held");
        let leaving = "payloadFormat A is being removed: known are DEFAULT, Z_API, A";
        assert_eq!(change_format(&bench, &plain, "A").await, Err(EngineError::Invalid(leaving.to_owned())));
        formats.hold(false);
        bench.pass(SECOND).await;
        let unknown = "unknown payloadFormat `A`: known are DEFAULT, Z_API";
        assert_eq!(change_format(&bench, &plain, "A").await, Err(EngineError::Invalid(unknown.to_owned())));
        assert_eq!(put(&bench, "A 2").await, Ok(true), "nothing is leaving any more");
        assert_eq!(change_format(&bench, &plain, "A").await, Ok(()));
    });
}

#[test]
fn what_is_built_in_is_never_changed() {
    run(async {
        let bench = bench(&MemoryFormats::new(&[])).await;
        let text = "Z_API is built in and cannot be changed".to_owned();
        let (invalid, conflict) = (EngineError::Invalid(text.clone()), EngineError::Conflict(text));
        assert_eq!(put(&bench, "Z_API 9").await, Err(invalid));
        assert_eq!(bench.engine.delete_format(name("Z_API")).await, Err(conflict.clone()));
        assert_eq!(bench.engine.rollback_format(name("Z_API")).await, Err(conflict));
        assert_eq!(bench.engine.lift_format(&name("Z_API")), Err(EngineError::UnknownFormat));
    });
}

#[test]
fn a_format_left_alone_is_tried_again_when_it_is_lifted() {
    run(async {
        let formats = MemoryFormats::new(&["S 1"]);
        let bench = bench(&formats).await;
        webhook(&bench, "S").await;
        formats.quarantine("S");
        assert!(bench.engine.metrics_text().contains("fanfare_plugin_quarantined{plugin=\"S\"} 1"));
        bench.push(3).await;
        bench.pass(60 * SECOND).await;
        assert_eq!(bench.sent().len(), 0);
        assert!(!bench.engine.lift_format(&name("S")).expect("it is there").is_quarantined);
        bench.pass(60 * SECOND).await;
        assert_eq!(bench.sent().len(), 3);
    });
}
