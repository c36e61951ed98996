//! Reads request bodies in bounds: bytes, pauses, and (for ingest) the bytes held by all calls together.

use crate::answer::{JSON, quoted};
use crate::error::ApiError;
use crate::state::Shared;
use axum::body::Body;
use axum::extract::{FromRequest, Request};
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What a body may be, by its headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Media {
    /// `application/json`, or not said.
    Json,
    /// `application/x-ndjson`.
    Ndjson,
    /// `application/wasm`.
    Wasm,
}

/// The media type of a body, its parameters ignored.
///
/// # Errors
/// 415 for a type that is not among `taken`, and for any content encoding but `identity`.
pub(crate) fn media(headers: &HeaderMap, taken: &[Media]) -> Result<Media, ApiError> {
    for value in headers.get_all(CONTENT_ENCODING) {
        if !value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity") {
            let name = quoted(&String::from_utf8_lossy(value.as_bytes()));
            return Err(ApiError::unsupported(format!(
                "content encoding `{name}` is not taken; send the body as it is"
            )));
        }
    }
    let given = headers.get(CONTENT_TYPE);
    let text = given.map_or(JSON.into(), |value| String::from_utf8_lossy(value.as_bytes()));
    let essence = text.split(';').next().unwrap_or_default().trim();
    taken.iter().copied().find(|media| media.name().eq_ignore_ascii_case(essence)).ok_or_else(|| {
        let names: Vec<_> = taken.iter().map(|media| media.name()).collect();
        let names = names.join(" or ");
        ApiError::unsupported(match given {
            Some(_) => format!("content type `{}` is not taken; send {names}", quoted(essence)),
            None => format!("the content type must be said; send {names}"),
        })
    })
}

impl Media {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Media::Json => JSON,
            Media::Ndjson => "application/x-ndjson",
            Media::Wasm => "application/wasm",
        }
    }
}

/// The JSON body of a management call, not parsed yet. As a handler's last argument it is read after the checks of
/// the arguments before it.
pub(crate) struct JsonBody(pub(crate) Bytes);

impl FromRequest<Shared> for JsonBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, shared: &Shared) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        media(&parts.headers, &[Media::Json])?;
        let limits = &shared.admin.limits;
        let mut reader = Reader::new(limits.management_body_bytes_max, limits.body_idle_timeout);
        reader.read(&parts.headers, body).await.map(JsonBody)
    }
}

/// An ingest body and its share of the budget, which is given back when this is dropped.
pub(crate) struct IngestBody {
    pub(crate) bytes: Bytes,
    _held: Option<OwnedSemaphorePermit>,
}

impl IngestBody {
    pub(crate) async fn read(
        shared: &Shared,
        headers: &HeaderMap,
        body: Body,
        bytes_max: usize,
    ) -> Result<Self, ApiError> {
        let mut reader = Reader::new(bytes_max, shared.admin.limits.body_idle_timeout);
        reader.budget = Some(shared.ingest_budget.clone());
        let bytes = reader.read(headers, body).await?;
        Ok(IngestBody { bytes, _held: reader.held })
    }
}

/// Reads a plugin. While anything holds its bytes, it counts among those held at once.
pub(crate) async fn component(shared: &Shared, headers: &HeaderMap, body: Body) -> Result<Bytes, ApiError> {
    let limits = &shared.admin.limits;
    let mut reader = Reader::new(limits.component_bytes_max, limits.body_idle_timeout);
    // A length that cannot be taken is told first: no waiting changes it.
    reader.refuse_declared(declared_length(headers))?;
    let permit = shared.component_budget.clone().try_acquire_owned().map_err(|_| {
        let most = limits.components_max;
        ApiError::unavailable(format!("{most} plugins are being taken right now; try again"), 1)
    })?;
    let bytes = reader.read(headers, body).await?;
    Ok(Bytes::from_owner(HeldComponent { bytes, _permit: permit }))
}

struct HeldComponent {
    bytes: Bytes,
    _permit: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for HeldComponent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Room made for a body before its bytes arrive, whatever length it declares: a declaration costs its maker nothing.
const FIRST_ROOM_BYTES: usize = 256 * 1024;

struct Reader {
    bytes_max: usize,
    idle_timeout: Duration,
    budget: Option<Arc<Semaphore>>,
    held: Option<OwnedSemaphorePermit>,
}

impl Reader {
    fn new(bytes_max: usize, idle_timeout: Duration) -> Self {
        Reader { bytes_max, idle_timeout, budget: None, held: None }
    }

    fn refuse_declared(&self, length: Option<u64>) -> Result<(), ApiError> {
        match length {
            Some(length) if length > self.bytes_max as u64 => {
                Err(ApiError::too_large(length, true, self.bytes_max))
            }
            _ => Ok(()),
        }
    }

    /// One copy of the bytes, none when they come in one piece.
    async fn read(&mut self, headers: &HeaderMap, mut body: Body) -> Result<Bytes, ApiError> {
        let declared = declared_length(headers);
        self.refuse_declared(declared)?;
        // Refused before the producer has sent it all for nothing.
        if let (Some(length), Some(budget)) = (declared, &self.budget)
            && length > budget.available_permits() as u64
        {
            return Err(over_budget());
        }
        let mut first = Bytes::new();
        let mut whole = BytesMut::new();
        loop {
            let frame = match tokio::time::timeout(self.idle_timeout, body.frame()).await {
                Err(_) => {
                    return Err(ApiError::new(
                        StatusCode::REQUEST_TIMEOUT,
                        format!("the body paused for more than {} s", self.idle_timeout.as_secs()),
                    ));
                }
                Ok(None) => break,
                // Nobody is left to read this, as a rule; it says which of the two sides gave up.
                Ok(Some(Err(_))) => return Err(ApiError::bad_request("the body broke off before its end")),
                Ok(Some(Ok(frame))) => frame,
            };
            let Ok(data) = frame.into_data() else { continue };
            let length = first.len() + whole.len() + data.len();
            if length > self.bytes_max {
                return Err(ApiError::too_large(length as u64, false, self.bytes_max));
            }
            self.hold(data.len())?;
            if whole.is_empty() && first.is_empty() {
                first = data;
                continue;
            }
            if whole.is_empty() {
                let expected = usize::try_from(declared.unwrap_or_default()).unwrap_or_default();
                whole.reserve(length.max(expected.min(FIRST_ROOM_BYTES)));
                whole.extend_from_slice(&std::mem::take(&mut first));
            }
            whole.extend_from_slice(&data);
        }
        Ok(if whole.is_empty() { first } else { whole.freeze() })
    }

    /// Counts bytes as they arrive, not as they are declared: slow senders hold only what they have sent.
    fn hold(&mut self, bytes: usize) -> Result<(), ApiError> {
        let (Some(budget), false) = (&self.budget, bytes == 0) else { return Ok(()) };
        let count = u32::try_from(bytes).expect("a piece within the body's limit is below 4 GiB");
        let permit = budget.clone().try_acquire_many_owned(count).map_err(|_| over_budget())?;
        match &mut self.held {
            Some(held) => held.merge(permit),
            None => self.held = Some(permit),
        }
        Ok(())
    }
}

fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn over_budget() -> ApiError {
    ApiError::unavailable("too many bytes of events are being taken right now; try again", 1)
}

#[cfg(test)]
mod tests;
