//! Where a list goes on, as bytes that only the same list understands.
//!
//! ```text
//! cursor = version u8, crc32 u32, phase u8, place        the checksum covers webhook and filter too
//! place  = retries, dead: at u64, seq u64, part u16 | waiting: seq u64, part u16
//!        | ended: hour u32, commit u64, n u16, items u32
//! ```

use crate::record::frame::{self, Put};
use fanfare_core::delivery::DeliveryStatus;
use fanfare_core::ports::StoreError;
use fanfare_core::ports::history::{DeliveryFilter, ListRequest};

const VERSION: u8 = 1;

/// Time, event and part of a row of its own.
pub(super) type Timed = (u64, u64, u16);

/// A row of attempts and how many of its items are still to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EndedPlace {
    pub(super) hour: u32,
    pub(super) commit: u64,
    pub(super) n: u16,
    pub(super) items: u32,
}

/// Where a list goes on: a phase, and the first row of it to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Retries, upwards.
    Retries(Timed),
    /// What waits: events downwards, of the first one bodies from `part` on.
    Waiting { seq: u64, part: u16 },
    /// Dead letters, downwards.
    Dead(Timed),
    /// Ends, downwards.
    Ended(EndedPlace),
}

impl Place {
    pub(super) const RETRIES: Place = Place::Retries((0, 0, 0));
    pub(super) const WAITING: Place = Place::Waiting { seq: u64::MAX, part: 0 };
    pub(super) const DEAD: Place = Place::Dead((u64::MAX, u64::MAX, u16::MAX));
    pub(super) const ENDED: Place =
        Place::Ended(EndedPlace { hour: u32::MAX, commit: u64::MAX, n: u16::MAX, items: u32::MAX });

    /// Where the list begins.
    pub(super) fn first(status: Option<DeliveryStatus>) -> Self {
        match status {
            None | Some(DeliveryStatus::Pending) => Place::RETRIES,
            Some(DeliveryStatus::Dead) => Place::DEAD,
            Some(DeliveryStatus::Delivered | DeliveryStatus::Skipped) => Place::ENDED,
        }
    }

    /// Where the next phase begins, if the list has one.
    pub(super) fn next_phase(self, status: Option<DeliveryStatus>) -> Option<Self> {
        match self {
            Place::Retries(_) => Some(Place::WAITING),
            Place::Waiting { .. } => status.is_none().then_some(Place::DEAD),
            Place::Dead(_) => status.is_none().then_some(Place::ENDED),
            Place::Ended(_) => None,
        }
    }
}

/// What a cursor is bound to.
fn bound_to(webhook: u32, filter: &DeliveryFilter) -> Vec<u8> {
    let mut bound = b"cursor".to_vec();
    bound.put_u32(webhook);
    bound.put_text(filter.status.map_or("", DeliveryStatus::name));
    for time in [filter.from_ms, filter.to_ms] {
        bound.put_u8(u8::from(time.is_some()));
        bound.put_u64(time.unwrap_or_default());
    }
    bound
}

pub(super) fn encode(request: &ListRequest, place: Place) -> Vec<u8> {
    let mut cursor = frame::begin(VERSION);
    let mut put_timed = |phase, (at, seq, part): Timed| {
        cursor.put_u8(phase);
        cursor.put_u64(at);
        cursor.put_u64(seq);
        cursor.put_u16(part);
    };
    match place {
        Place::Retries(timed) => put_timed(0, timed),
        Place::Dead(timed) => put_timed(2, timed),
        Place::Waiting { seq, part } => {
            cursor.put_u8(1);
            cursor.put_u64(seq);
            cursor.put_u16(part);
        }
        Place::Ended(EndedPlace { hour, commit, n, items }) => {
            cursor.put_u8(3);
            cursor.put_u32(hour);
            cursor.put_u64(commit);
            cursor.put_u16(n);
            cursor.put_u32(items);
        }
    }
    frame::finish(&mut cursor, &bound_to(request.webhook.0, &request.filter));
    cursor
}

pub(super) fn decode(request: &ListRequest) -> Result<Place, StoreError> {
    if request.cursor.is_empty() {
        return Ok(Place::first(request.filter.status));
    }
    let bound = bound_to(request.webhook.0, &request.filter);
    let read = || {
        let mut body = frame::open(&request.cursor, &bound, VERSION, "cursor")?;
        let place = match body.u8()? {
            0 => Place::Retries((body.u64()?, body.u64()?, body.u16()?)),
            1 => Place::Waiting { seq: body.u64()?, part: body.u16()? },
            2 => Place::Dead((body.u64()?, body.u64()?, body.u16()?)),
            3 => Place::Ended(EndedPlace {
                hour: body.u32()?,
                commit: body.u64()?,
                n: body.u16()?,
                items: body.u32()?,
            }),
            _ => return Err(body.damaged()),
        };
        body.end()?;
        Ok(place)
    };
    read().map_err(|_| StoreError::Cursor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fanfare_core::WebhookNo;

    fn request(webhook: u32, filter: DeliveryFilter, cursor: Vec<u8>) -> ListRequest {
        ListRequest { webhook: WebhookNo(webhook), filter, cursor, count_max: 1 }
    }

    #[test]
    fn cursors_round_trip_and_only_their_own_list_takes_them() {
        let filter = DeliveryFilter::default();
        let ended = EndedPlace { hour: 1, commit: 2, n: 3, items: 4 };
        for place in
            [Place::Retries((1, 2, 3)), Place::Waiting { seq: 4, part: 5 }, Place::DEAD, Place::Ended(ended)]
        {
            let cursor = encode(&request(1, filter, Vec::new()), place);
            assert_eq!(decode(&request(1, filter, cursor.clone())), Ok(place));
            let others = [
                DeliveryFilter { status: Some(DeliveryStatus::Dead), ..filter },
                DeliveryFilter { from_ms: Some(0), ..filter },
                DeliveryFilter { to_ms: Some(0), ..filter },
            ];
            for other in others {
                assert_eq!(decode(&request(1, other, cursor.clone())), Err(StoreError::Cursor));
            }
            assert_eq!(decode(&request(2, filter, cursor.clone())), Err(StoreError::Cursor));
            let is_good =
                |cursor: &[u8]| !cursor.is_empty() && decode(&request(1, filter, cursor.to_vec())).is_ok();
            frame::check_every_damage(&cursor, is_good);
        }
    }

    #[test]
    fn a_list_has_the_phases_its_status_needs() {
        let phases = |status| {
            let mut place = Place::first(status);
            let mut all = vec![place];
            while let Some(next) = place.next_phase(status) {
                all.push(next);
                place = next;
            }
            all
        };
        assert_eq!(phases(None), [Place::RETRIES, Place::WAITING, Place::DEAD, Place::ENDED]);
        assert_eq!(phases(Some(DeliveryStatus::Pending)), [Place::RETRIES, Place::WAITING]);
        assert_eq!(phases(Some(DeliveryStatus::Dead)), [Place::DEAD]);
        assert_eq!(phases(Some(DeliveryStatus::Skipped)), [Place::ENDED]);
    }
}
