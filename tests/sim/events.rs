//! Events that a world's hub pushes.

use bytes::Bytes;
use fanfare_core::event::EventKind;
use fanfare_render::event::ParsedEvent;
use rand::RngExt;
use rand::rngs::SmallRng;

/// Customers, each an ordering key when the hub gives none.
const CUSTOMERS: u32 = 4;
/// Keys the hub gives.
const KEYS: u32 = 3;

/// The next event of a channel, of any kind, with several bodies in Z_API now and then.
pub(crate) fn event(rng: &mut SmallRng, channel: &str, id: Option<&str>) -> ParsedEvent {
    let kind = match rng.random_range(0..10) {
        0 => EventKind::Block,
        1 => EventKind::PresenceChat,
        2 => EventKind::MessageStatus,
        3 => EventKind::Connected,
        _ => EventKind::MessageReceived,
    };
    let payload = match kind {
        EventKind::MessageReceived | EventKind::MessageStatus => message(rng, channel),
        EventKind::Connected => event_object(
            kind,
            channel,
            &format!(r#""phone":"55219{}""#, rng.random_range(10_000_000..99_999_999)),
        ),
        _ => {
            let customer = rng.random_range(0..CUSTOMERS);
            event_object(kind, channel, &format!(r#""identifier":"551190000000{customer}","blocked":true"#))
        }
    };
    let id = id.map(|id| format!(r#""id":"{id}","#)).unwrap_or_default();
    let key = if rng.random_ratio(1, 2) {
        format!(r#""key":"k{}","#, rng.random_range(0..KEYS))
    } else {
        String::new()
    };
    let text =
        format!(r#"{{{id}{key}"type":"{}","channelId":"{channel}","payload":{payload}}}"#, kind.name());
    fanfare_render::parse_event(Bytes::from(text)).expect("the world's own events are good")
}

fn event_object(kind: EventKind, channel: &str, members: &str) -> String {
    format!(
        r#"{{"messageEventType":"{}","event":{{"channel_id":"{channel}","moment":1790000666001,{members}}}}}"#,
        kind.name()
    )
}

fn message(rng: &mut SmallRng, channel: &str) -> String {
    let customer = rng.random_range(0..CUSTOMERS);
    let count = if rng.random_ratio(1, 4) { rng.random_range(2..=4) } else { 1 };
    let filler = if rng.random_ratio(1, 20) { 3000 } else { rng.random_range(5..60) };
    let items: Vec<String> = (0..count)
        .map(|index| {
            format!(
                r#"{{"@class":".TextContent","type":"TEXT","message":"{} {index} {}"}}"#,
                rng.random::<u32>(),
                "x".repeat(filler)
            )
        })
        .collect();
    format!(
        r#"{{"message":{{"_id":"M1","channel_id":"{channel}","created":1790000000000,"metadata":{{"forwarded":false,"from_api":false,"from_me":false,"moment":1790000000000}},"sender":{{"identifier":"551190000000{customer}","name":"Ana"}},"recipient":{{"identifier":"5521988110022"}},"contents":[{}],"attachments":[]}}}}"#,
        items.join(",")
    )
}
