//! `events`: one row per event that is owed to someone, whatever its fan-out.
//!
//! ```text
//! row    = version u8, header_crc u32, envelope_crc u32, header_bytes u32,
//!          channel_no u32, kind u8, flags u8, accepted u64, [occurred u64], payload_start u32, payload_end u32,
//!          envelope_bytes u32, id text, channel text, [key text], [phone text], owed_count u32, owed_count × u32,
//!          envelope
//! flags  = 1 occurred, 2 key, 4 phone
//! owed   = webhook number, top bit set when it was parked at ingest
//! ```
//!
//! Two checksums: the header's (with the row's key) lets a settlement trust the owed list without reading the
//! envelope, and still tells who was owed when only the envelope is damaged. `envelope_bytes` guards against a cut.

use super::frame::{self, Damaged, HEAD_BYTES, Put, Reader};
use bytes::Bytes;
use fanfare_core::event::{Event, EventKind};
use fanfare_core::{ChannelId, ChannelNo, EventId, Seq};
use smallvec::SmallVec;

const VERSION: u8 = 1;
const WHAT: &str = "event";
const HAS_OCCURRED: u8 = 1;
const HAS_KEY: u8 = 2;
const HAS_PHONE: u8 = 4;
/// Bytes up to and with `header_bytes`.
const FIXED_BYTES: usize = HEAD_BYTES + 8;

/// Set on an owed entry that was parked at ingest.
pub(crate) const PARKED_BIT: u32 = 1 << 31;

/// Who is owed one event, [`PARKED_BIT`] included; inline for small fan-outs.
pub(crate) type OwedList = SmallVec<[u32; 4]>;

/// Encodes everything before the envelope, but for the header's checksum, which needs the event's place:
/// [`seal_header`].
pub(crate) fn encode_header(event: &Event, channel_no: ChannelNo, owed: &[u32]) -> Vec<u8> {
    let mut row = frame::begin(VERSION);
    row.reserve(160 + owed.len() * 4);
    row.put_u32(crc32fast::hash(&event.envelope));
    row.put_u32(0);
    row.put_u32(channel_no.0);
    row.put_u8(event.kind as u8);
    let flag = |set: bool, bit: u8| if set { bit } else { 0 };
    row.put_u8(
        flag(event.occurred_at_ms.is_some(), HAS_OCCURRED)
            | flag(event.key.is_some(), HAS_KEY)
            | flag(event.channel_phone.is_some(), HAS_PHONE),
    );
    row.put_u64(event.accepted_at_ms);
    if let Some(occurred) = event.occurred_at_ms {
        row.put_u64(occurred);
    }
    row.put_u32(u32::try_from(event.payload.start).unwrap_or(u32::MAX));
    row.put_u32(u32::try_from(event.payload.end).unwrap_or(u32::MAX));
    row.put_u32(u32::try_from(event.envelope.len()).unwrap_or(u32::MAX));
    row.put_text(event.id.as_str());
    row.put_text(event.channel.as_str());
    if let Some(key) = &event.key {
        row.put_text(key);
    }
    if let Some(phone) = &event.channel_phone {
        row.put_text(phone);
    }
    row.put_u32(u32::try_from(owed.len()).unwrap_or(u32::MAX));
    for entry in owed {
        row.put_u32(*entry);
    }
    let header_bytes = u32::try_from(row.len()).unwrap_or(u32::MAX);
    if let Some(place) = row.get_mut(HEAD_BYTES + 4..FIXED_BYTES) {
        place.copy_from_slice(&header_bytes.to_le_bytes());
    }
    row
}

/// Puts the header's checksum in place.
pub(crate) fn seal_header(header: &mut [u8], key: &[u8; 8]) {
    frame::finish(header, key);
}

/// An event row with a good header; the envelope is checked on its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EventView<'r> {
    pub(crate) kind: EventKind,
    pub(crate) accepted_at_ms: u64,
    occurred_at_ms: Option<u64>,
    payload_start: u32,
    payload_end: u32,
    id: &'r str,
    channel: &'r str,
    key: Option<&'r str>,
    phone: Option<&'r str>,
    owed: &'r [u8],
    envelope: &'r [u8],
    envelope_bytes: u32,
    envelope_crc: u32,
}

fn header_bytes(row: &[u8]) -> Result<usize, Damaged> {
    let size = row.get(HEAD_BYTES + 4..FIXED_BYTES).ok_or(Damaged(WHAT))?;
    Ok(u32::from_le_bytes(size.try_into().map_err(|_| Damaged(WHAT))?) as usize)
}

impl<'r> EventView<'r> {
    /// Reads and checks the header.
    pub(crate) fn parse(key: &[u8; 8], row: &'r [u8]) -> Result<Self, Damaged> {
        let header_bytes = header_bytes(row)?;
        Self::read(frame::open_first(row, header_bytes, key, VERSION, WHAT)?, row, header_bytes)
    }

    /// Reads the owed list of a row whose header does not fit its checksum, as far as it makes sense: nearly always the
    /// damage stands elsewhere. `None`: not even its lengths fit. Only good for telling who may have been owed.
    pub(crate) fn guess_owed(row: &'r [u8]) -> Option<OwedList> {
        let header_bytes = header_bytes(row).ok()?;
        let view =
            Self::read(frame::open_unchecked(row, header_bytes, WHAT).ok()?, row, header_bytes).ok()?;
        (view.envelope.len() == view.envelope_bytes as usize).then(|| view.owed().collect())
    }

    fn read(mut body: Reader<'r>, row: &'r [u8], header_bytes: usize) -> Result<Self, Damaged> {
        let damaged = Damaged(WHAT);
        let envelope_crc = body.u32()?;
        body.u32()?;
        let _channel_no = body.u32()?;
        let kind = EventKind::from_number(body.u8()?).ok_or(damaged)?;
        let flags = body.u8()?;
        let accepted_at_ms = body.u64()?;
        let occurred_at_ms = (flags & HAS_OCCURRED != 0).then(|| body.u64()).transpose()?;
        let (payload_start, payload_end, envelope_bytes) = (body.u32()?, body.u32()?, body.u32()?);
        let (id, channel) = (body.text()?, body.text()?);
        let optional = |body: &mut Reader<'r>, bit: u8| (flags & bit != 0).then(|| body.text()).transpose();
        let key = optional(&mut body, HAS_KEY)?;
        let phone = optional(&mut body, HAS_PHONE)?;
        let owed_count = body.u32()? as usize;
        let owed = body.bytes(owed_count.checked_mul(4).ok_or(damaged)?)?;
        body.end()?;
        let envelope = row.get(header_bytes..).ok_or(damaged)?;
        Ok(EventView {
            kind,
            accepted_at_ms,
            occurred_at_ms,
            payload_start,
            payload_end,
            id,
            channel,
            key,
            phone,
            owed,
            envelope,
            envelope_bytes,
            envelope_crc,
        })
    }

    /// Who is owed, with [`PARKED_BIT`]s.
    pub(crate) fn owed(&self) -> impl ExactSizeIterator<Item = u32> + 'r {
        self.owed.chunks_exact(4).map(|entry| {
            let mut bytes = [0; 4];
            bytes.copy_from_slice(entry);
            u32::from_le_bytes(bytes)
        })
    }

    /// The webhook at place `index` of the owed list.
    pub(crate) fn owed_at(&self, index: u32) -> Option<u32> {
        self.owed().nth(index as usize).map(|entry| entry & !PARKED_BIT)
    }

    /// The event's id.
    pub(crate) fn id(&self) -> Option<EventId> {
        EventId::parse(self.id).ok()
    }

    /// Whether this is the event's id.
    pub(crate) fn has_id(&self, id: &EventId) -> bool {
        self.id == id.as_str()
    }

    /// The ordering key the producer gave.
    pub(crate) fn key(&self) -> Option<&'r str> {
        self.key
    }

    /// Bytes of the envelope.
    pub(crate) fn envelope_bytes(&self) -> usize {
        self.envelope.len()
    }

    /// Whether the envelope is as it was written, so that it can be delivered.
    pub(crate) fn is_whole(&self) -> bool {
        self.envelope.len() == self.envelope_bytes as usize
            && crc32fast::hash(self.envelope) == self.envelope_crc
    }

    /// The whole event, its envelope checked and copied.
    pub(crate) fn to_event(self, seq: Seq) -> Result<Event, Damaged> {
        let damaged = Damaged(WHAT);
        if !self.is_whole() {
            return Err(damaged);
        }
        let payload = self.payload_start as usize..self.payload_end as usize;
        self.envelope.get(payload.clone()).ok_or(damaged)?;
        Ok(Event {
            seq,
            id: self.id().ok_or(damaged)?,
            kind: self.kind,
            channel: ChannelId::parse(self.channel).map_err(|_| damaged)?,
            channel_phone: self.phone.map(Into::into),
            key: self.key.map(Into::into),
            occurred_at_ms: self.occurred_at_ms,
            accepted_at_ms: self.accepted_at_ms,
            envelope: Bytes::copy_from_slice(self.envelope),
            payload,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(key: Option<&str>, phone: Option<&str>, occurred: Option<u64>) -> Event {
        let envelope = Bytes::from_static(br#"{"type":"MESSAGE_RECEIVED","payload":{"a":1}}"#);
        Event {
            seq: Seq(9),
            id: EventId::parse("E-1").unwrap(),
            kind: EventKind::Connected,
            channel: ChannelId::parse("channel_1").unwrap(),
            channel_phone: phone.map(Into::into),
            key: key.map(Into::into),
            occurred_at_ms: occurred,
            accepted_at_ms: 1_700_000_000_123,
            payload: 37..44,
            envelope,
        }
    }

    fn row(event: &Event, owed: &[u32]) -> Vec<u8> {
        let mut row = encode_header(event, ChannelNo(4), owed);
        seal_header(&mut row, &9_u64.to_be_bytes());
        row.extend_from_slice(&event.envelope);
        row
    }

    #[test]
    fn events_round_trip() {
        for (key, phone, occurred) in
            [(None, None, None), (Some("k"), Some("5511"), Some(5)), (None, Some("1"), None)]
        {
            let event = event(key, phone, occurred);
            let owed = [3, 4 | PARKED_BIT, 5];
            let row = row(&event, &owed);
            let view = EventView::parse(&9_u64.to_be_bytes(), &row).unwrap();
            assert_eq!(view.owed().collect::<Vec<_>>(), owed);
            assert_eq!(view.owed_at(1), Some(4));
            let back = view.to_event(Seq(9)).unwrap();
            assert_eq!(format!("{back:?}"), format!("{event:?}"));
            assert_eq!(&back.payload()[..], br#"{"a":1}"#);
        }
    }

    #[test]
    fn every_damage_is_noticed() {
        let row = row(&event(Some("k"), Some("5511"), Some(5)), &[1, 2]);
        let key = 9_u64.to_be_bytes();
        frame::check_every_damage(&row, |row| {
            EventView::parse(&key, row).and_then(|view| view.to_event(Seq(9))).is_ok()
        });
    }

    #[test]
    fn who_was_owed_can_be_guessed_from_most_damaged_headers() {
        let good = row(&event(Some("k"), Some("5511"), Some(5)), &[1, 2 | PARKED_BIT]);
        let header = good.len() - event(None, None, None).envelope.len();
        let guesses = (0..header).map(|at| {
            let mut row = good.clone();
            row[at] ^= 1;
            EventView::guess_owed(&row)
        });
        let right = guesses.filter(|guess| guess.as_deref() == Some([1, 2 | PARKED_BIT].as_slice())).count();
        // All but the flips in lengths, flags and the list itself.
        assert!(right * 10 >= header * 6, "{right} of {header}");
        assert_eq!(EventView::guess_owed(&good[..good.len() - 1]), None);
        assert_eq!(EventView::guess_owed(b""), None);
    }

    #[test]
    fn a_damaged_envelope_leaves_the_owed_list_readable() {
        let mut row = row(&event(None, None, None), &[1, 2]);
        let last = row.len() - 1;
        row[last] ^= 1;
        let view = EventView::parse(&9_u64.to_be_bytes(), &row).unwrap();
        assert_eq!(view.owed().len(), 2);
        assert_eq!(view.id(), Some(EventId::parse("E-1").unwrap()));
        assert!(view.to_event(Seq(9)).is_err());
    }
}
