//! One request on one connection, and its answer, read in bounds.
//!
//! Bounds of an answer: its head 64 KiB and 100 lines (HTTP/1.1) or 64 KiB (HTTP/2); its body 64 KiB, of which 1 KiB is
//! kept. All that may be read for one head, interim answers included, is metered at the socket.

mod http1;
mod http2;

pub(crate) use http1::Http1Connection;
pub(crate) use http2::Http2Connection;

use crate::classify::{self, Circumstances};
use bytes::{Bytes, BytesMut};
use fanfare_core::limits::{ANSWER_BODY_BYTES_MAX, ANSWER_HEAD_BYTES_MAX, SNIPPET_BYTES_MAX};
use fanfare_core::outcome::{AttemptReport, FailureClass, Outcome};
use fanfare_core::ports::{Clock, LocalFuture};
use http::{HeaderMap, Response};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

/// Bytes that may come before an answer's head is complete: the head itself, interim answers, and what was read of the
/// body in the same read.
const HEAD_READ_BYTES_MAX: u64 = (ANSWER_HEAD_BYTES_MAX + ANSWER_BODY_BYTES_MAX) as u64;

/// An answer, and whether it was read to its end so that an HTTP/1.1 connection can go on.
struct Answered {
    report: AttemptReport,
    is_whole: bool,
    /// Empty, with the room that the answer's headers had: on HTTP/1.1 hyper fills the request's own map with them.
    spare: HeaderMap,
}

/// Reads an answer whose head has come.
///
/// Expected cost: for a body of up to 1 KiB one allocation and a copy of it, for none nothing.
async fn read_answer(
    response: Response<Incoming>,
    clock: &dyn Clock,
    circumstances: Circumstances,
) -> Answered {
    let (mut head, mut body) = response.into_parts();
    let status = Some(head.status.as_u16());
    let mut snippet = BytesMut::new();
    let mut read_bytes = 0_usize;
    let is_success = head.status.is_success();
    // Longer than what is read, and says so: a success as it stands.
    let mut is_cut = is_success && body.size_hint().lower() > ANSWER_BODY_BYTES_MAX as u64;
    while !is_cut && !body.is_end_stream() {
        match body.frame().await {
            None => break,
            Some(Ok(frame)) => {
                // Trailers say nothing to us; hyper bounds them.
                let Ok(data) = frame.into_data() else { continue };
                let room = SNIPPET_BYTES_MAX - snippet.len();
                snippet.extend_from_slice(data.get(..room.min(data.len())).unwrap_or_default());
                read_bytes += data.len();
                is_cut = read_bytes > ANSWER_BODY_BYTES_MAX;
            }
            Some(Err(error)) => {
                let mut report =
                    classify::of_broken(&error, Circumstances { is_answer_begun: true, ..circumstances });
                report.status = status;
                report.snippet = snippet.freeze();
                return Answered { report, is_whole: false, spare: HeaderMap::new() };
            }
        }
    }
    let (outcome, detail) = if is_success {
        (Outcome::Delivered, None)
    } else {
        // The clock is asked only when it may matter.
        classify::of_answer(head.status, &head.headers, clock.now().unix_seconds())
    };
    head.headers.clear();
    Answered {
        report: AttemptReport { outcome, status, snippet: freeze(snippet), detail },
        is_whole: !is_cut,
        spare: head.headers,
    }
}

/// An empty snippet must not keep a buffer alive.
fn freeze(snippet: BytesMut) -> Bytes {
    if snippet.is_empty() { Bytes::new() } else { snippet.freeze() }
}

/// The answer to a request that was not sent.
fn refused(class: FailureClass, detail: impl Into<String>) -> LocalFuture<AttemptReport> {
    Box::pin(std::future::ready(AttemptReport::failed(class, detail)))
}
