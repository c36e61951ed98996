//! The request of an attempt: a template per connection, and the few headers that differ.

use bytes::Bytes;
use fanfare_core::ports::{AttemptRequest, Destination};
use http::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, PROXY_AUTHORIZATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE, USER_AGENT,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};
use http_body_util::Full;
use std::cell::RefCell;

const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
const HUB_EVENT: HeaderName = HeaderName::from_static("x-hub-event");
const HUB_ATTEMPT: HeaderName = HeaderName::from_static("x-hub-attempt");
const HUB_SIGNATURE: HeaderName = HeaderName::from_static("x-hub-signature-256");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Headers that are ours or the connection's: neither a webhook's settings nor a plugin may set them.
fn is_reserved(name: &HeaderName) -> bool {
    [
        CONNECTION,
        CONTENT_LENGTH,
        CONTENT_TYPE,
        EXPECT,
        HOST,
        KEEP_ALIVE,
        PROXY_AUTHORIZATION,
        PROXY_CONNECTION,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
        USER_AGENT,
        WEBHOOK_ID,
        WEBHOOK_TIMESTAMP,
        WEBHOOK_SIGNATURE,
        HUB_EVENT,
        HUB_ATTEMPT,
    ]
    .contains(name)
}

/// Constant headers of a destination, parsed once. Held by every prepared receiver, so it is kept small; the template
/// is made when a connection is.
pub(crate) struct ConstantHeaders {
    user_agent: HeaderValue,
    given: Vec<(HeaderName, HeaderValue)>,
    hub_signature: Option<HeaderName>,
}

impl ConstantHeaders {
    /// Errors name the header, never its value.
    pub(crate) fn parse(destination: &Destination, user_agent: &HeaderValue) -> Result<Self, String> {
        let mut given: Vec<(HeaderName, HeaderValue)> = Vec::with_capacity(destination.headers.len());
        for (name, value) in &destination.headers {
            let parsed = parse_name(name)?;
            if is_reserved(&parsed) {
                return Err(format!("header {parsed} is set by the engine"));
            }
            // The later would take the place of the earlier: a credential that of `x-hub-channel`, say.
            if given.iter().any(|(name, _)| *name == parsed) {
                return Err(format!("header {parsed} is given twice"));
            }
            let mut value = HeaderValue::from_str(value.expose())
                .map_err(|_| format!("value of header {parsed} holds characters a header cannot carry"))?;
            // Never in a `Debug` text, never in HPACK's table.
            value.set_sensitive(true);
            given.push((parsed, value));
        }
        let hub_signature = destination.hub_signature_name.as_deref().map(parse_name).transpose()?;
        // One that was given too keeps its place for the signature: settings may have changed since.
        if let Some(name) = hub_signature.as_ref().filter(|name| is_reserved(name)) {
            return Err(format!("signature header cannot be named {name}"));
        }
        Ok(ConstantHeaders { user_agent: user_agent.clone(), given, hub_signature })
    }
}

fn parse_name(name: &str) -> Result<HeaderName, String> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("{name:?} is not a header name"))
}

/// What every request of one connection shares.
///
/// Expected cost of [`Template::request`] with the map of the request before it: one allocation for the content length;
/// one for the timestamp, once per second and connection. Ids, signatures and bodies are taken over as `Bytes`, event
/// names are static, the first attempts' numbers too. No byte of the body is copied.
pub(crate) struct Template {
    uri: Uri,
    version: Version,
    /// Those that are the same in each request, without the signatures' names.
    constant: Vec<(HeaderName, HeaderValue)>,
    /// Of a webhook that signs.
    hub_signature: Option<HeaderName>,
    /// The last second's header value: attempts come many a second.
    timestamp: RefCell<(u64, HeaderValue)>,
}

impl Template {
    /// `host`: the `Host` header of HTTP/1.1; HTTP/2 says it in `uri`.
    pub(crate) fn new(
        constant: &ConstantHeaders,
        uri: Uri,
        version: Version,
        host: Option<HeaderValue>,
    ) -> Self {
        let mut headers = Vec::with_capacity(3 + constant.given.len());
        headers.extend(host.map(|host| (HOST, host)));
        headers.push((USER_AGENT, constant.user_agent.clone()));
        headers.push((CONTENT_TYPE, JSON));
        let is_free = |name: &HeaderName| constant.hub_signature.as_ref() != Some(name);
        headers.extend(constant.given.iter().filter(|(name, _)| is_free(name)).cloned());
        Template {
            uri,
            version,
            constant: headers,
            hub_signature: constant.hub_signature.clone(),
            timestamp: RefCell::new((0, HeaderValue::from(0_u64))),
        }
    }

    /// The request of one attempt. `spare`: an empty map, best with room for its headers. Errors are ours: something we
    /// made cannot be sent.
    pub(crate) fn request(
        &self,
        attempt: AttemptRequest,
        spare: HeaderMap,
    ) -> Result<Request<Full<Bytes>>, String> {
        let mut headers = spare;
        debug_assert!(headers.is_empty(), "headers of an answer must not be sent on");
        headers.reserve(self.constant.len() + 7);
        for (name, value) in &self.constant {
            headers.insert(name, value.clone());
        }
        headers.insert(CONTENT_LENGTH, HeaderValue::from(attempt.body.bytes.len()));
        headers.insert(WEBHOOK_ID, shared_value(attempt.delivery_id, &WEBHOOK_ID)?);
        headers.insert(WEBHOOK_TIMESTAMP, self.timestamp(attempt.timestamp_s));
        headers
            .insert(HUB_EVENT, shared_value(Bytes::from_static(attempt.event_name.as_bytes()), &HUB_EVENT)?);
        headers.insert(HUB_ATTEMPT, number_value(attempt.attempt_number));
        if let Some(value) = attempt.hub_signature {
            let name = self.hub_signature.clone().unwrap_or(HUB_SIGNATURE);
            let value = shared_value(value, &name)?;
            headers.insert(name, value);
        }
        if let Some(value) = attempt.standard_signature {
            headers.insert(WEBHOOK_SIGNATURE, shared_value(value, &WEBHOOK_SIGNATURE)?);
        }
        if let Some(content_type) = &attempt.body.content_type {
            let value = HeaderValue::from_str(content_type)
                .map_err(|_| "content type of the body cannot be sent".to_owned())?;
            headers.insert(CONTENT_TYPE, value);
        }
        for (name, value) in &attempt.body.headers {
            let parsed = parse_name(name)?;
            // A plugin's headers come filtered; what slips through must not break the framing or our own headers.
            if is_reserved(&parsed) || self.has(&parsed) {
                return Err(format!("header {parsed} of the body is set by the engine"));
            }
            let value = HeaderValue::from_str(value)
                .map_err(|_| format!("value of header {parsed} of the body cannot be sent"))?;
            headers.append(parsed, value);
        }
        let mut request = Request::new(Full::new(attempt.body.bytes));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.version_mut() = self.version;
        *request.headers_mut() = headers;
        Ok(request)
    }

    /// Whether a header is the webhook's own.
    fn has(&self, name: &HeaderName) -> bool {
        self.hub_signature.as_ref() == Some(name) || self.constant.iter().any(|(own, _)| own == name)
    }

    fn timestamp(&self, timestamp_s: u64) -> HeaderValue {
        let mut last = self.timestamp.borrow_mut();
        if last.0 != timestamp_s {
            *last = (timestamp_s, HeaderValue::from(timestamp_s));
        }
        last.1.clone()
    }
}

fn shared_value(bytes: Bytes, name: &HeaderName) -> Result<HeaderValue, String> {
    HeaderValue::from_maybe_shared(bytes).map_err(|_| format!("value of header {name} cannot be sent"))
}

fn number_value(number: u32) -> HeaderValue {
    const SMALL: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
    let small = usize::try_from(number).ok().and_then(|index| SMALL.get(index));
    small.map_or_else(|| HeaderValue::from(number), |text| HeaderValue::from_static(text))
}

#[cfg(test)]
mod tests;
