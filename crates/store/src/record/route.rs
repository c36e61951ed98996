//! `routes`: a webhook as routing needs it, apart from the rest so that a million of them load quickly.
//!
//! ```text
//! key    = webhook u32
//! body   = id u128, channel_no u32, kinds u8, flags u8 (1: enabled, 2: ordered by key)
//! ```

use super::frame::{self, Damaged, Put};
use fanfare_core::event::KindSet;
use fanfare_core::ports::WebhookRoute;
use fanfare_core::{ChannelNo, WebhookId, WebhookNo};

const VERSION: u8 = 1;
const WHAT: &str = "route";

pub(crate) fn encode(route: &WebhookRoute) -> Vec<u8> {
    let mut row = frame::begin(VERSION);
    row.extend_from_slice(&route.id.0.to_le_bytes());
    row.put_u32(route.channel_no.0);
    row.put_u8(route.kinds.0);
    row.put_u8(u8::from(route.is_enabled) | (u8::from(route.is_ordered) << 1));
    frame::finish(&mut row, &route.no.0.to_be_bytes());
    row
}

pub(crate) fn decode(no: WebhookNo, row: &[u8]) -> Result<WebhookRoute, Damaged> {
    let mut body = frame::open(row, &no.0.to_be_bytes(), VERSION, WHAT)?;
    let route = WebhookRoute {
        no,
        id: WebhookId(body.u128()?),
        channel_no: ChannelNo(body.u32()?),
        kinds: KindSet(body.u8()?),
        is_enabled: false,
        is_ordered: false,
    };
    let flags = body.u8()?;
    body.end()?;
    Ok(WebhookRoute { is_enabled: flags & 1 != 0, is_ordered: flags & 2 != 0, ..route })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_round_trip_and_every_damage_is_noticed() {
        let route = WebhookRoute {
            no: WebhookNo(8),
            id: WebhookId(0xAB),
            channel_no: ChannelNo(3),
            kinds: KindSet(5),
            is_enabled: false,
            is_ordered: true,
        };
        let row = encode(&route);
        assert_eq!(format!("{:?}", decode(WebhookNo(8), &row).unwrap()), format!("{route:?}"));
        frame::check_every_damage(&row, |row| decode(WebhookNo(8), row).is_ok());
    }
}
