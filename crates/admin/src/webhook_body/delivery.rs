//! The `delivery` object: every member optional, `null` restores its default.

use crate::error::Invalid;
use crate::json::{Member, Members};
use fanfare_core::webhook::{DeliverySettings, Ordering, Protocol, RateLimit};
use std::ops::RangeInclusive;

pub(super) const TIMEOUT_MS: RangeInclusive<u32> = 1000..=30_000;
pub(super) const MAX_IN_FLIGHT: RangeInclusive<u32> = 1..=256;
pub(super) const SCHEDULE_STEPS: RangeInclusive<usize> = 1..=20;
pub(super) const SCHEDULE_SECONDS: RangeInclusive<u32> = 1..=604_800;
pub(super) const MAX_AGE_SECONDS: RangeInclusive<u32> = 1..=2_592_000;
pub(super) const PER_SECOND_MAX: f64 = 1_000_000.0;
pub(super) const BURST: RangeInclusive<u32> = 1..=1_000_000;

/// What becomes of one member.
#[derive(Clone, Debug, Default, PartialEq)]
enum Change<T> {
    #[default]
    Keep,
    Restore,
    Set(T),
}

impl<T> Change<T> {
    /// Reads `members[name]`: absent keeps, `null` restores, anything else is read by `read`.
    fn read(
        members: &Members<'_>,
        name: &str,
        read: impl FnOnce(&Member<'_>) -> Result<T, Invalid>,
    ) -> Result<Self, Invalid> {
        match members.get(name)? {
            None => Ok(Change::Keep),
            Some(member) if member.is_null() => Ok(Change::Restore),
            Some(member) => read(&member).map(Change::Set),
        }
    }

    fn apply(self, place: &mut Option<T>) {
        match self {
            Change::Keep => {}
            Change::Restore => *place = None,
            Change::Set(value) => *place = Some(value),
        }
    }
}

/// Changes of the settings, member by member; `rateLimit` and `scheduleSeconds` as wholes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct DeliveryPatch {
    timeout_ms: Change<u32>,
    max_in_flight: Change<u16>,
    rate_limit: Change<RateLimit>,
    ordering: Change<Ordering>,
    schedule_seconds: Change<Vec<u32>>,
    max_age_seconds: Change<u32>,
    protocol: Change<Protocol>,
}

impl DeliveryPatch {
    /// `delivery: null`.
    pub(super) fn restore_all() -> Self {
        DeliveryPatch {
            timeout_ms: Change::Restore,
            max_in_flight: Change::Restore,
            rate_limit: Change::Restore,
            ordering: Change::Restore,
            schedule_seconds: Change::Restore,
            max_age_seconds: Change::Restore,
            protocol: Change::Restore,
        }
    }

    pub(super) fn read(member: &Member<'_>) -> Result<Self, Invalid> {
        let members = member.object()?;
        let timeout_ms = Change::read(&members, "timeoutMs", |m| m.integer(TIMEOUT_MS))?;
        let max_in_flight = Change::read(&members, "maxInFlight", |m| {
            let number = m.integer(MAX_IN_FLIGHT)?;
            Ok(u16::try_from(number).expect("the range ends below 65536"))
        })?;
        let rate_limit = Change::read(&members, "rateLimit", rate_limit)?;
        let ordering = Change::read(&members, "ordering", |m| m.named())?;
        let (schedule_seconds, max_age_seconds) = match members.get("retry")? {
            None => (Change::Keep, Change::Keep),
            Some(retry) if retry.is_null() => (Change::Restore, Change::Restore),
            Some(retry) => {
                let retry = retry.object()?;
                (
                    Change::read(&retry, "scheduleSeconds", |m| {
                        m.integers(SCHEDULE_STEPS, SCHEDULE_SECONDS)
                    })?,
                    Change::read(&retry, "maxAgeSeconds", |m| m.integer(MAX_AGE_SECONDS))?,
                )
            }
        };
        let protocol = Change::read(&members, "protocol", |m| m.named())?;
        Ok(DeliveryPatch {
            timeout_ms,
            max_in_flight,
            rate_limit,
            ordering,
            schedule_seconds,
            max_age_seconds,
            protocol,
        })
    }

    pub(super) fn apply(self, settings: &mut DeliverySettings) {
        self.timeout_ms.apply(&mut settings.timeout_ms);
        self.max_in_flight.apply(&mut settings.max_in_flight);
        self.rate_limit.apply(&mut settings.rate_limit);
        self.ordering.apply(&mut settings.ordering);
        self.schedule_seconds.apply(&mut settings.retry_schedule_seconds);
        self.max_age_seconds.apply(&mut settings.retry_max_age_seconds);
        self.protocol.apply(&mut settings.protocol);
    }
}

fn rate_limit(member: &Member<'_>) -> Result<RateLimit, Invalid> {
    let members = member.object()?;
    let field = members.required("perSecond")?;
    let per_second = field
        .number()
        .filter(|number| *number > 0.0 && *number <= PER_SECOND_MAX)
        .ok_or_else(|| field.refuse("must be a number above 0, at most 1000000"))?;
    let burst = match members.get("burst")? {
        Some(field) if !field.is_null() => field.integer(BURST)?,
        // Whole seconds' worth, so that a limiter without a burst of its own still reaches its rate.
        _ => rounded_up(per_second),
    };
    Ok(RateLimit { per_second, burst })
}

/// The least integer from 1 up that is not below `per_second`, which is at most 1,000,000.
fn rounded_up(per_second: f64) -> u32 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the value lies in 1 to 1,000,000 and has no fraction"
    )]
    let burst = per_second.ceil().clamp(1.0, PER_SECOND_MAX) as u32;
    burst
}
