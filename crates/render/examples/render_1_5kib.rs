//! What does it cost to read and to render one 1.5 KB event? Prints the median of several passes.
//!
//! `cargo run --release -p fanfare-render --example render_1_5kib`

use bytes::Bytes;
use fanfare_core::EventId;
use fanfare_core::delivery::Rendered;
use fanfare_render::{parse_event, render_z_api};
use std::hint::black_box;
use std::time::{Duration, Instant};

const PASSES: usize = 9;
const ROUNDS: u32 = 100_000;

/// A text of a customer of ordinary length, as the hub sends it.
fn envelope() -> Bytes {
    let states = ["Pending", "Sent", "Delivered"].map(|name| {
        format!(
            r#"{{"@class":".StateItem","identifier":"0190F3A2000000007E11AA00BD0000A1","integration_message_ids":["wamid.HBgNNTUzMTk3NzExMDA5ORUCABEYEjA5"],"moment":1790000061543,"state":{{"@class":".{name}","name":"{}"}}}}"#,
            name.to_uppercase()
        )
    });
    let payload = format!(
        r#"{{"message":{{"_id":"0190F3A2000000007E11AA00BB019E19","tenant":"0190F0001122334455667788AABBCCDD","tenant_owner":"dono@loja-exemplo.test","channel_id":"0190F3A27C5B7E118D2A4C6B9E01F3D5","created_by":"CONWAY","created":1790000061543,"metadata":{{"@class":".Metadata","forwarded":false,"from_api":false,"from_me":false,"middleware":"META_WHATSAPP","moment":1790000061541}},"sender":{{"@class":".Sender","identifier":"5531977110099","name":"Marina Prado"}},"recipient":{{"@class":".Recipient","identifier":"5521988110022","name":"Loja Exemplo"}},"contents":[{{"@class":".TextContent","identifier":"0190F3A2000000007E11AA00BD000001","internal_information":{{}},"message":"Bom dia! O pedido 8841 já saiu? Preciso receber até sexta, se possível antes do meio-dia. Obrigada, fico no aguardo da resposta de vocês.","state_items":[{}],"type":"TEXT"}}],"attachments":[],"actions":[],"media_webhook_processed":false}},"messageEventType":"NEW_MESSAGE"}}"#,
        states.join(",")
    );
    Bytes::from(format!(
        r#"{{"id":"0190F3A2000000007E11AA00BB019E19","type":"MESSAGE_RECEIVED","channelId":"0190F3A27C5B7E118D2A4C6B9E01F3D5","payload":{payload}}}"#
    ))
}

/// Nanoseconds per call: the median over the passes, and the fastest and slowest of them.
fn measure(mut work: impl FnMut()) -> (u128, u128, u128) {
    let mut passes: Vec<u128> =
        (0..PASSES).map(|_| time(ROUNDS, &mut work).as_nanos() / u128::from(ROUNDS)).collect();
    passes.sort_unstable();
    let at = |index: usize| passes.get(index).copied().unwrap_or_default();
    (at(PASSES / 2), at(0), at(PASSES - 1))
}

#[expect(clippy::disallowed_methods, reason = "a bench measures with the real clock")]
fn time(rounds: u32, work: &mut impl FnMut()) -> Duration {
    let start = Instant::now();
    for _ in 0..rounds {
        work();
    }
    start.elapsed()
}

fn main() {
    let bytes = envelope();
    let parsed = parse_event(bytes.clone()).expect("the event above is valid");
    let payload_bytes = parsed.payload.len();
    let id = parsed.id.clone().unwrap_or_else(|| EventId::generate(0, 0));
    let event = parsed.into_event(id, None, 0);
    let Rendered::Bodies(bodies) = render_z_api(&event) else { panic!("the event above has a body") };
    let body_bytes: usize = bodies.iter().map(|body| body.bytes.len()).sum();
    println!("envelope {} B, payload {payload_bytes} B, Z_API body {body_bytes} B", bytes.len());

    let report = |name: &str, (median, fastest, slowest): (u128, u128, u128)| {
        println!("{name:<22} {median:>6} ns  ({fastest} to {slowest} over {PASSES} passes)");
    };
    report("parse_event", measure(|| drop(black_box(parse_event(black_box(bytes.clone()))))));
    report("render_z_api", measure(|| drop(black_box(render_z_api(black_box(&event))))));
}
