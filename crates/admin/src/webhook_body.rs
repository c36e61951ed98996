//! What a create and a PATCH of a webhook carry, and every rule their members must keep.
//!
//! Members are judged in the order of the contract's tables; the first that breaks its rule is the answer.

mod credential;
mod delivery;
pub(crate) mod shapes;
#[cfg(test)]
mod tests;

use crate::answer::quoted;
use crate::error::Invalid;
use crate::json::{Member, Members, compact};
use crate::names::Named;
use crate::state::AdminState;
use delivery::DeliveryPatch;
use fanfare_core::event::Subscription;
use fanfare_core::limits::{CUSTOM_ATTRIBUTES_BYTES_MAX, DESCRIPTION_CHARS_MAX, URL_CHARS_MAX};
use fanfare_core::webhook::{Auth, DeliverySettings, FormatName, Webhook, WebhookStatus};
use fanfare_engine::{NewWebhook, SigningChange};

/// Longest overlap of two signing secrets, seconds.
const OVERLAP_SECONDS_MAX: u32 = 7 * 24 * 3600;

/// What the rules look up outside the body.
pub(crate) struct Rules<'a> {
    /// Rules of the URL beyond its shape.
    pub(crate) check_url: &'a dyn Fn(&str) -> Result<(), String>,
    /// Whether plain `http` may be stored.
    pub(crate) allow_http: bool,
    /// Known formats.
    pub(crate) formats: Vec<FormatName>,
    /// Name of the hub's signature header.
    pub(crate) hub_signature_name: &'a str,
}

impl<'a> Rules<'a> {
    /// The rules in force now.
    pub(crate) fn of(admin: &'a AdminState) -> Self {
        Rules {
            check_url: &*admin.check_url,
            allow_http: admin.allow_http,
            formats: admin.engine.formats(),
            hub_signature_name: &admin.hub_signature_name,
        }
    }
}

/// Reads the body of a create.
pub(crate) fn new_webhook(body: &[u8], rules: &Rules<'_>) -> Result<NewWebhook, Invalid> {
    let members = Members::of_body(body)?;
    let url = url(&members.required("url")?, rules)?;
    let events = events(&members.required("events")?)?;
    let description = match members.get("description")? {
        Some(member) => description(&member)?,
        None => None,
    };
    let signing = members.get("signing")?.map_or(Ok(false), |member| member.boolean())?;
    let auth = match members.get("auth")? {
        Some(member) => credential::auth(&member, rules.hub_signature_name)?,
        None => Auth::None,
    };
    let payload_format = match members.get("payloadFormat")? {
        Some(member) => payload_format(&member, rules)?,
        None => FormatName::default(),
    };
    let custom_attributes = match members.get("customAttributes")? {
        Some(member) => custom_attributes(&member)?,
        None => "{}".to_owned(),
    };
    let mut delivery = DeliverySettings::default();
    if let Some(member) = members.get("delivery")? {
        DeliveryPatch::read(&member)?.apply(&mut delivery);
    }
    Ok(NewWebhook { url, events, description, signing, auth, payload_format, custom_attributes, delivery })
}

/// The body of a PATCH: `None` leaves the member as it is.
#[derive(Debug)]
pub(crate) struct WebhookPatch {
    url: Option<String>,
    events: Option<Vec<Subscription>>,
    description: Option<Option<String>>,
    status: Option<WebhookStatus>,
    signing: SigningChange,
    auth: Option<Auth>,
    payload_format: Option<FormatName>,
    custom_attributes: Option<String>,
    delivery: Option<DeliveryPatch>,
}

impl WebhookPatch {
    pub(crate) fn read(body: &[u8], rules: &Rules<'_>) -> Result<Self, Invalid> {
        let members = Members::of_body(body)?;
        Ok(WebhookPatch {
            url: members.get("url")?.map(|member| url(&member, rules)).transpose()?,
            events: members.get("events")?.map(|member| events(&member)).transpose()?,
            description: members.get("description")?.map(|member| description(&member)).transpose()?,
            status: members.get("status")?.map(|member| member.named()).transpose()?,
            signing: signing_change(&members)?,
            auth: members
                .get("auth")?
                .map(|member| credential::auth(&member, rules.hub_signature_name))
                .transpose()?,
            payload_format: members
                .get("payloadFormat")?
                .map(|member| payload_format(&member, rules))
                .transpose()?,
            custom_attributes: match members.get("customAttributes")? {
                Some(member) if member.is_null() => Some("{}".to_owned()),
                Some(member) => Some(custom_attributes(&member)?),
                None => None,
            },
            delivery: match members.get("delivery")? {
                Some(member) if member.is_null() => Some(DeliveryPatch::restore_all()),
                Some(member) => Some(DeliveryPatch::read(&member)?),
                None => None,
            },
        })
    }

    pub(crate) fn signing(&self) -> SigningChange {
        self.signing
    }

    /// Whether it says `ENABLED`, which opens the gate also of a webhook that is enabled already.
    pub(crate) fn opens_gate(&self) -> bool {
        self.status == Some(WebhookStatus::Enabled)
    }

    /// Carries out everything but the change of signing, which the engine does itself.
    pub(crate) fn apply(self, webhook: &mut Webhook) {
        set(&mut webhook.url, self.url);
        set(&mut webhook.events, self.events);
        set(&mut webhook.description, self.description);
        set(&mut webhook.auth, self.auth);
        set(&mut webhook.payload_format, self.payload_format);
        set(&mut webhook.custom_attributes, self.custom_attributes);
        if let Some(status) = self.status {
            webhook.status = status;
            if status == WebhookStatus::Enabled {
                webhook.disabled_reason = None;
            }
        }
        if let Some(delivery) = self.delivery {
            delivery.apply(&mut webhook.delivery);
        }
    }
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

fn url(member: &Member<'_>, rules: &Rules<'_>) -> Result<String, Invalid> {
    let url = member.string()?;
    let chars = url.chars().count();
    if chars > URL_CHARS_MAX {
        return Err(member.refuse(format_args!("of {chars} characters exceeds {URL_CHARS_MAX}")));
    }
    let is_https = url.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"));
    (rules.check_url)(&url).map_err(Invalid)?;
    if !rules.allow_http && !is_https {
        return Err(member.refuse("must begin with https://"));
    }
    Ok(url)
}

fn events(member: &Member<'_>) -> Result<Vec<Subscription>, Invalid> {
    let names = member.strings()?;
    if names.is_empty() {
        return Err(member.refuse("must name at least one event"));
    }
    let mut events = Vec::new();
    for name in names {
        let event = Subscription::parse(&name).ok_or_else(|| {
            let known = Subscription::names().join(", ");
            Invalid(format!("unknown event `{}`: known are {known}", quoted(&name)))
        })?;
        // Folded: the first place counts.
        if !events.contains(&event) {
            events.push(event);
        }
    }
    Ok(events)
}

fn description(member: &Member<'_>) -> Result<Option<String>, Invalid> {
    if member.is_null() {
        return Ok(None);
    }
    let text = member.string()?;
    let chars = text.chars().count();
    if chars > DESCRIPTION_CHARS_MAX {
        return Err(member.refuse(format_args!("of {chars} characters exceeds {DESCRIPTION_CHARS_MAX}")));
    }
    Ok(Some(text))
}

fn payload_format(member: &Member<'_>, rules: &Rules<'_>) -> Result<FormatName, Invalid> {
    let name = member.string()?;
    rules.formats.iter().find(|format| format.as_str() == name).cloned().ok_or_else(|| {
        let known: Vec<&str> = rules.formats.iter().map(FormatName::as_str).collect();
        Invalid(format!("unknown payloadFormat `{}`: known are {}", quoted(&name), known.join(", ")))
    })
}

/// The object's own text, without white space between tokens: numbers and the order of members stay as given.
fn custom_attributes(member: &Member<'_>) -> Result<String, Invalid> {
    member.object()?;
    let text = compact(member.text());
    if text.len() > CUSTOM_ATTRIBUTES_BYTES_MAX {
        return Err(
            member.refuse(format_args!("of {} bytes exceeds {CUSTOM_ATTRIBUTES_BYTES_MAX}", text.len()))
        );
    }
    // What a common reader would refuse when it gets the object back: nesting beyond 128, half surrogates, numbers
    // beyond every float.
    serde_json::from_str::<serde_json::Value>(&text)
        .map_err(|error| member.refuse(format_args!("cannot be read back: {error}")))?;
    Ok(text)
}

fn signing_change(members: &Members<'_>) -> Result<SigningChange, Invalid> {
    let signing = members.get("signing")?.map(|member| member.boolean()).transpose()?;
    let overlap = members.get("secretOverlapSeconds")?;
    match (signing, overlap) {
        (Some(true), None) => Ok(SigningChange::Rotate { overlap_seconds: 0 }),
        (Some(true), Some(member)) => {
            Ok(SigningChange::Rotate { overlap_seconds: member.integer(0..=OVERLAP_SECONDS_MAX)? })
        }
        (_, Some(member)) => Err(member.refuse("needs signing true in the same call")),
        (Some(false), None) => Ok(SigningChange::Off),
        (None, None) => Ok(SigningChange::Keep),
    }
}
