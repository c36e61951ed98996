//! The webhook object of answers: members and their order as in the contract's table.

use crate::answer::hub_time;
use crate::error::ApiError;
use crate::names::Named;
use crate::openapi::schema;
use crate::webhook_body::shapes;
use fanfare_core::event::Subscription;
use fanfare_core::secret::SigningSecret;
use fanfare_core::webhook::{
    Auth, DeliveryPolicy, Ordering, Protocol, RateLimit, RetryPolicy, Webhook, WebhookStatus,
};
use serde::Serialize;
use serde::ser::Serializer;
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// A webhook as callers see it. Credentials have no member here.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Webhook)]
pub(crate) struct WebhookView<'a> {
    #[schema(schema_with = schema::webhook_id)]
    id: String,
    #[schema(schema_with = schema::id)]
    channel_id: &'a str,
    /// The older name of `channelId`.
    #[schema(schema_with = schema::id)]
    instance_id: &'a str,
    url: &'a str,
    #[schema(required)]
    description: Option<&'a str>,
    #[schema(schema_with = schema::names_of::<Subscription>)]
    events: Vec<&'static str>,
    #[schema(schema_with = schema::name_of::<WebhookStatus>)]
    status: &'static str,
    /// Why the engine disabled it; absent when it did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    disabled_reason: Option<&'a str>,
    signing: bool,
    /// 64 hex digits; only in the answer that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    secret: Option<String>,
    /// The same secret for Standard Webhooks libraries.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    standard_secret: Option<String>,
    auth: AuthView,
    #[schema(schema_with = schema::format_name)]
    payload_format: &'a str,
    /// As they were given.
    #[schema(schema_with = schema::any_object)]
    custom_attributes: &'a RawValue,
    delivery: DeliveryView,
    #[schema(schema_with = schema::hub_time)]
    created_at: String,
    #[schema(schema_with = schema::hub_time)]
    updated_at: String,
}

/// What is added to each request; never the credential itself.
#[derive(Serialize, ToSchema)]
#[schema(as = AuthState)]
struct AuthView {
    #[schema(schema_with = shapes::auth_type)]
    r#type: &'static str,
    /// Whether a credential is stored.
    configured: bool,
}

/// Effective values, defaults included.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = EffectiveDelivery)]
struct DeliveryView {
    timeout_ms: u32,
    max_in_flight: u16,
    #[schema(required)]
    rate_limit: Option<RateLimitView>,
    #[schema(schema_with = schema::name_of::<Ordering>)]
    ordering: &'static str,
    retry: RetryView,
    #[schema(schema_with = schema::name_of::<Protocol>)]
    protocol: &'static str,
}

/// In any window of w seconds at most `burst` + `perSecond` × w attempts begin.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RateLimit)]
struct RateLimitView {
    #[serde(serialize_with = "shortest")]
    per_second: f64,
    burst: u32,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Retry)]
struct RetryView {
    schedule_seconds: Vec<u32>,
    max_age_seconds: u32,
}

impl<'a> WebhookView<'a> {
    /// `secret` is shown by the one answer that made it, and never again.
    ///
    /// # Errors
    /// 500 when what is stored of the webhook is not what was put there.
    pub(crate) fn new(
        webhook: &'a Webhook,
        defaults: &DeliveryPolicy,
        secret: Option<&SigningSecret>,
    ) -> Result<Self, ApiError> {
        let custom_attributes = serde_json::from_str(&webhook.custom_attributes).map_err(|_| {
            ApiError::internal(format!("customAttributes of webhook {} are not JSON", webhook.id))
        })?;
        Ok(WebhookView {
            id: webhook.id.to_string(),
            channel_id: webhook.channel.as_str(),
            instance_id: webhook.channel.as_str(),
            url: &webhook.url,
            description: webhook.description.as_deref(),
            events: webhook.events.iter().copied().map(Subscription::name).collect(),
            status: webhook.status.name(),
            disabled_reason: webhook.disabled_reason.as_deref(),
            signing: webhook.signing.is_some(),
            secret: secret.map(|secret| fanfare_signing::secret_hex(&secret.0)),
            standard_secret: secret.map(|secret| fanfare_signing::standard_secret(&secret.0)),
            auth: AuthView { r#type: webhook.auth.type_name(), configured: webhook.auth != Auth::None },
            payload_format: webhook.payload_format.as_str(),
            custom_attributes,
            delivery: webhook.delivery.effective(defaults).into(),
            created_at: hub_time(webhook.created_at_ms),
            updated_at: hub_time(webhook.updated_at_ms),
        })
    }
}

impl From<DeliveryPolicy> for DeliveryView {
    fn from(policy: DeliveryPolicy) -> Self {
        let RetryPolicy { schedule_seconds, max_age_seconds } = policy.retry;
        DeliveryView {
            timeout_ms: policy.timeout_ms,
            max_in_flight: policy.max_in_flight,
            rate_limit: policy
                .rate_limit
                .map(|RateLimit { per_second, burst }| RateLimitView { per_second, burst }),
            ordering: policy.ordering.name(),
            retry: RetryView { schedule_seconds, max_age_seconds },
            protocol: policy.protocol.name(),
        }
    }
}

/// 10, not 10.0: as it was most likely given.
fn shortest<S: Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "`perSecond` lies between 0 and 1,000,000"
    )]
    let whole = *number as u32;
    if f64::from(whole) == *number {
        serializer.serialize_u32(whole)
    } else {
        serializer.serialize_f64(*number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fanfare_core::event::EventKind;
    use fanfare_core::webhook::{DeliverySettings, FormatName, Signing};
    use fanfare_core::{ChannelId, Secret, WebhookId, WebhookNo};

    fn webhook() -> Webhook {
        Webhook {
            no: WebhookNo(1),
            id: WebhookId(0x0190_F3A2_7C5B_7E11_8D2A_4C6B_9E01_F3D5),
            channel: ChannelId::parse("c1").unwrap(),
            url: "https://receiver.test/in?k=v".into(),
            description: None,
            events: vec![Subscription::ReceivedStatus, Subscription::Kind(EventKind::Block)],
            status: WebhookStatus::Enabled,
            disabled_reason: None,
            is_given_up: false,
            failing_since_ms: None,
            signing: Some(Signing { current: SigningSecret([0xAB; 32]), previous: None }),
            auth: Auth::Bearer { token: Secret::new("hunter2") },
            payload_format: FormatName::default(),
            custom_attributes: r#"{"z":1.50,"a":{}}"#.into(),
            delivery: DeliverySettings {
                rate_limit: Some(RateLimit { per_second: 10.0, burst: 10 }),
                ..DeliverySettings::default()
            },
            created_at_ms: 1_773_065_100_000,
            updated_at_ms: 1_773_065_100_001,
        }
    }

    fn shown(webhook: &Webhook, secret: Option<&SigningSecret>) -> String {
        let view = WebhookView::new(webhook, &DeliveryPolicy::default(), secret).unwrap();
        serde_json::to_string(&view).unwrap()
    }

    #[test]
    fn members_stand_in_the_order_of_the_table() {
        insta::assert_snapshot!(shown(&webhook(), None), @r#"{"id":"0190F3A27C5B7E118D2A4C6B9E01F3D5","channelId":"c1","instanceId":"c1","url":"https://receiver.test/in?k=v","description":null,"events":["RECEIVED_STATUS","BLOCK"],"status":"ENABLED","signing":true,"auth":{"type":"BEARER","configured":true},"payloadFormat":"DEFAULT","customAttributes":{"z":1.50,"a":{}},"delivery":{"timeoutMs":15000,"maxInFlight":16,"rateLimit":{"perSecond":10,"burst":10},"ordering":"NONE","retry":{"scheduleSeconds":[5,30,120,600,1800,7200,18000,36000,50400,72000,86400],"maxAgeSeconds":432000},"protocol":"AUTO"},"createdAt":"2026-03-09T14:05:00.000+0000","updatedAt":"2026-03-09T14:05:00.001+0000"}"#);
    }

    #[test]
    fn a_new_secret_is_shown_in_both_forms_and_a_credential_never() {
        let text = shown(&webhook(), Some(&SigningSecret([0; 32])));
        let (hex, base64) = ("0".repeat(64), format!("whsec_{}=", "A".repeat(43)));
        assert!(
            text.contains(&format!(r#""signing":true,"secret":"{hex}","standardSecret":"{base64}","auth""#)),
            "{text}"
        );
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[test]
    fn a_webhook_the_engine_disabled_says_why() {
        let disabled = Webhook {
            status: WebhookStatus::Disabled,
            disabled_reason: Some("gone".into()),
            signing: None,
            auth: Auth::None,
            description: Some("till".into()),
            delivery: DeliverySettings {
                rate_limit: Some(RateLimit { per_second: 0.5, burst: 1 }),
                ..DeliverySettings::default()
            },
            ..webhook()
        };
        let text = shown(&disabled, None);
        for part in [
            r#""description":"till","#,
            r#""status":"DISABLED","disabledReason":"gone","signing":false,"auth":{"type":"NONE","configured":false}"#,
            r#""rateLimit":{"perSecond":0.5,"burst":1}"#,
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }

    #[test]
    fn stored_attributes_that_are_not_json_are_our_fault() {
        let damaged = Webhook { custom_attributes: "{".into(), ..webhook() };
        let error = WebhookView::new(&damaged, &DeliveryPolicy::default(), None).err().unwrap();
        assert_eq!(error.parts(), (500, "internal error"));
    }
}
