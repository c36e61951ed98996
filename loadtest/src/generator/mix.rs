//! The events of a run: the hub's sample events, each with an id, a channel and a time of its own, padded to a size.

use crate::error::Error;
use crate::stamp;
use bytes::Bytes;
use fanfare_core::EventId;
use fanfare_core::delivery::Rendered;
use fanfare_core::webhook::FormatName;
use fanfare_render::{parse_event, render_builtin};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::fmt::Write as _;

/// The events of `fanfare demo`: every kind, as the hub sends them.
const SAMPLES: &str = include_str!("../../../crates/fanfare/samples/events.ndjson");
/// Name of the member that brings a payload to its size; formats pass over what they do not know.
const PADDING: &str = "loadtest_padding";
/// Largest payload made; the server takes events of up to 1 MiB.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 1_000_000;

/// A size of payloads and how many of a hundred have it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Size {
    /// Bytes of the payload, which is the body in DEFAULT.
    pub(crate) bytes: usize,
    /// Weight among the sizes.
    #[serde(default = "one")]
    pub(crate) share: f64,
}

fn one() -> f64 {
    1.0
}

/// What events are made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct MixOptions {
    /// Kinds of events; empty: every kind.
    pub(crate) kinds: Vec<String>,
    /// Sizes of payloads; empty: as the samples are. Samples larger than a size are left out of it.
    pub(crate) sizes: Vec<Size>,
    /// Ordering keys; 0: what the engine finds in the message.
    pub(crate) keys: u32,
}

#[derive(Deserialize)]
struct Sample<'a> {
    #[serde(rename = "type")]
    kind: String,
    #[serde(borrow)]
    payload: &'a RawValue,
}

/// One sample at one size.
#[derive(Clone, Debug)]
struct Variant {
    kind: String,
    payload: String,
    /// Of all events, this share has a lower place in the list; in 2^-32.
    from: u32,
}

/// Makes events; the same number always gives the same kind, size, channel and key.
#[derive(Clone, Debug)]
pub(crate) struct Mix {
    variants: Vec<Variant>,
    keys: u32,
    channel_prefix: String,
    channels: u64,
}

/// Spreads numbers evenly over all 64 bits (SplitMix64).
fn spread(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// A payload with a member more, so that it has exactly so many bytes; `None` when it cannot.
fn padded(payload: &str, bytes: usize) -> Option<String> {
    let frame = format!(",\"{PADDING}\":\"\"");
    let missing = bytes.checked_sub(payload.len())?;
    if missing == 0 {
        return Some(payload.to_owned());
    }
    let filling = missing.checked_sub(frame.len())?;
    let inside = payload.strip_suffix('}')?;
    // Not one letter over and over: what compresses or hashes well would not be like a message.
    let text =
        (0..filling).map(|index| char::from(b'a' + (spread(index as u64) % 26) as u8)).collect::<String>();
    Some(format!("{inside},\"{PADDING}\":\"{text}\"}}"))
}

impl Mix {
    /// # Errors
    /// When a kind is unknown, a size cannot be made, or nothing is left.
    pub(crate) fn new(options: &MixOptions, channel_prefix: &str, channels: u64) -> Result<Self, Error> {
        let mut samples = Vec::new();
        for line in SAMPLES.lines().filter(|line| !line.trim().is_empty()) {
            let sample: Sample<'_> = serde_json::from_str(line)
                .map_err(|error| Error::work(format!("a sample event cannot be read: {error}")))?;
            samples.push((sample.kind, sample.payload.get()));
        }
        for kind in &options.kinds {
            if !samples.iter().any(|(known, _)| known == kind) {
                return Err(Error::usage(format!("there is no sample of an event of kind {kind}")));
            }
        }
        samples.retain(|(kind, _)| options.kinds.is_empty() || options.kinds.contains(kind));
        let mut weighted: Vec<(f64, Variant)> = Vec::new();
        let variant = |kind: &str, payload: String| Variant { kind: kind.to_owned(), payload, from: 0 };
        for size in &options.sizes {
            if size.bytes > PAYLOAD_BYTES_MAX {
                return Err(Error::usage(format!(
                    "a payload of {} bytes exceeds {PAYLOAD_BYTES_MAX}",
                    size.bytes
                )));
            }
            if !(size.share > 0.0 && size.share.is_finite()) {
                return Err(Error::usage(format!("a share must be above 0, not {}", size.share)));
            }
            let fitting: Vec<Variant> = samples
                .iter()
                .filter_map(|(kind, payload)| Some(variant(kind, padded(payload, size.bytes)?)))
                .collect();
            if fitting.is_empty() {
                return Err(Error::usage(format!("no sample of these kinds fits into {} bytes", size.bytes)));
            }
            let each = size.share / fitting.len() as f64;
            weighted.extend(fitting.into_iter().map(|fitting| (each, fitting)));
        }
        if options.sizes.is_empty() {
            weighted
                .extend(samples.iter().map(|(kind, payload)| (1.0, variant(kind, (*payload).to_owned()))));
        }
        let total: f64 = weighted.iter().map(|(weight, _)| weight).sum();
        let mut sum = 0.0;
        let variants = weighted.into_iter().map(|(weight, mut variant)| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "0 to 2^32, saturating"
            )]
            let from = (sum / total * 4_294_967_296.0) as u32;
            variant.from = from;
            sum += weight;
            variant
        });
        Ok(Mix {
            variants: variants.collect(),
            keys: options.keys,
            channel_prefix: channel_prefix.to_owned(),
            channels: channels.max(1),
        })
    }

    /// How many different events there are, but for id, channel and time.
    pub(crate) fn variant_count(&self) -> usize {
        self.variants.len()
    }

    fn pick(&self, number: u64) -> usize {
        let place = (spread(number) >> 32) as u32;
        self.variants.partition_point(|variant| variant.from <= place).saturating_sub(1)
    }

    /// Appends one event as a line of NDJSON; which variant it is. `id` is a buffer.
    pub(crate) fn append(
        &self,
        out: &mut Vec<u8>,
        id: &mut String,
        run: u16,
        number: u64,
        sent_us: u64,
    ) -> usize {
        let index = self.pick(number);
        let Some(variant) = self.variants.get(index) else { return index };
        stamp::write(id, run, sent_us, number);
        let parts = [
            "{\"id\":\"",
            id.as_str(),
            "\",\"type\":\"",
            variant.kind.as_str(),
            "\",\"channelId\":\"",
            self.channel_prefix.as_str(),
        ];
        parts.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
        id.clear();
        let _infallible = write!(id, "{}\",", number % self.channels);
        if self.keys > 0 {
            let key = (spread(number) & u64::from(u32::MAX)) % u64::from(self.keys);
            let _infallible = write!(id, "\"key\":\"K{key}\",");
        }
        let _infallible = write!(id, "\"occurredAt\":{},\"payload\":", sent_us / 1000);
        out.extend_from_slice(id.as_bytes());
        out.extend_from_slice(variant.payload.as_bytes());
        out.extend_from_slice(b"}\n");
        index
    }

    /// A payload of the mix, for whoever sends one without an engine.
    pub(crate) fn payload(&self) -> &str {
        self.variants.first().map_or("{}", |variant| &variant.payload)
    }

    /// Bodies of an event on average, in a format; `None` when only the engine knows the format.
    ///
    /// # Errors
    /// As [`Self::bodies`].
    pub(crate) fn bodies_mean(&self, format: &str) -> Result<Option<f64>, Error> {
        let Some(bodies) = self.bodies(format)? else { return Ok(None) };
        let ends =
            self.variants.iter().skip(1).map(|variant| f64::from(variant.from)).chain([4_294_967_296.0]);
        let each = self.variants.iter().zip(ends).zip(bodies);
        let weighted = each.map(|((variant, end), bodies)| (end - f64::from(variant.from)) * bodies as f64);
        Ok(Some(weighted.sum::<f64>() / 4_294_967_296.0))
    }

    /// How many bodies each variant has in a format; `None` when only the engine knows the format.
    ///
    /// # Errors
    /// When a variant is no event that can be rendered.
    pub(crate) fn bodies(&self, format: &str) -> Result<Option<Vec<u64>>, Error> {
        let Some(format) = FormatName::parse(format) else {
            return Err(Error::usage(format!("{format} is no name of a format")));
        };
        if !matches!(format.as_str(), FormatName::DEFAULT | FormatName::Z_API) {
            return Ok(None);
        }
        self.variants.iter().map(|variant| bodies(&format, variant)).collect::<Result<Vec<_>, _>>().map(Some)
    }
}

fn bodies(format: &FormatName, variant: &Variant) -> Result<u64, Error> {
    let broken =
        |why: &str| Error::work(format!("a sample of kind {} cannot be rendered: {why}", variant.kind));
    let event = format!(
        "{{\"id\":\"x\",\"type\":\"{}\",\"channelId\":\"c\",\"payload\":{}}}",
        variant.kind, variant.payload
    );
    let parsed = parse_event(Bytes::from(event)).map_err(|error| broken(&error.to_string()))?;
    let id = EventId::parse("x").map_err(|_| broken("its id"))?;
    match render_builtin(format, &parsed.into_event(id, None, 0)) {
        Some(Rendered::Bodies(bodies)) => Ok(bodies.len() as u64),
        Some(Rendered::Skipped { .. }) => Ok(0),
        _ => Err(broken("not a body and no reason to skip it")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn events(options: &MixOptions, count: u64) -> Vec<serde_json::Value> {
        let mix = Mix::new(options, "c-", 7).unwrap();
        let (mut out, mut id) = (Vec::new(), String::new());
        for number in 0..count {
            assert!(mix.append(&mut out, &mut id, 1, number, 1_790_000_000_123_456) < mix.variant_count());
        }
        let text = String::from_utf8(out).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn distinct(events: &[serde_json::Value], member: &str) -> BTreeSet<String> {
        events.iter().map(|event| event[member].to_string()).collect()
    }

    #[test]
    fn events_of_every_kind_are_sound_and_differ() {
        let events = events(&MixOptions::default(), 2000);
        assert_eq!(distinct(&events, "type").len(), 8);
        assert_eq!(distinct(&events, "id").len(), 2000);
        assert_eq!(distinct(&events, "channelId").len(), 7);
        assert_eq!(distinct(&events, "occurredAt"), BTreeSet::from(["1790000000123".to_owned()]));
        for event in &events {
            let parsed = parse_event(Bytes::from(event.to_string())).unwrap();
            assert!(parsed.id.is_some() && parsed.key.is_none(), "{event}");
        }
    }

    #[test]
    fn payloads_have_their_sizes_in_their_shares() {
        let sizes = vec![Size { bytes: 1210, share: 3.0 }, Size { bytes: 5000, share: 1.0 }];
        let events = events(&MixOptions { sizes, ..MixOptions::default() }, 4000);
        let large = events.iter().filter(|event| event["payload"].to_string().len() == 5000).count();
        let small = events.iter().filter(|event| event["payload"].to_string().len() == 1210).count();
        assert_eq!(large + small, 4000);
        assert!((900..1100).contains(&large), "{large} of 4000 are large, a quarter was wanted");
    }

    #[test]
    fn keys_and_kinds_are_as_asked() {
        let options = MixOptions { kinds: vec!["BLOCK".into()], keys: 20, ..MixOptions::default() };
        let events = events(&options, 1000);
        assert_eq!(distinct(&events, "type"), BTreeSet::from(["\"BLOCK\"".to_owned()]));
        assert_eq!(distinct(&events, "key").len(), 20);
    }

    #[test]
    fn the_bodies_owed_are_known_for_built_in_formats() {
        let mix = Mix::new(&MixOptions::default(), "c", 1).unwrap();
        assert_eq!(mix.bodies("DEFAULT").unwrap(), Some(vec![1; mix.variant_count()]));
        let bodies = mix.bodies("Z_API").unwrap().unwrap();
        assert!(bodies.contains(&1) && bodies.iter().any(|count| *count > 1), "{bodies:?}");
        assert_eq!(mix.bodies("CLOUDEVENTS").unwrap(), None);
        assert!(mix.bodies("no name").is_err());
        let mean = bodies.iter().sum::<u64>() as f64 / bodies.len() as f64;
        assert!((mix.bodies_mean("Z_API").unwrap().unwrap() - mean).abs() < 0.001);
        assert_eq!(mix.bodies_mean("DEFAULT").unwrap(), Some(1.0));
    }

    #[test]
    fn what_cannot_be_made_is_named() {
        let size = |bytes, share| MixOptions { sizes: vec![Size { bytes, share }], ..MixOptions::default() };
        for (options, text) in [
            (MixOptions { kinds: vec!["PARTY".into()], ..MixOptions::default() }, "kind PARTY"),
            (size(50, 1.0), "fits into 50 bytes"),
            (size(2_000_000, 1.0), "exceeds 1000000"),
            (size(1210, 0.0), "above 0"),
        ] {
            let error = Mix::new(&options, "c", 1).unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        }
    }
}
