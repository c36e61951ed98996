//! Reads on after a refusal, so that the refusal arrives.
//!
//! A server that answers before it has read the body, and then closes the connection with bytes unread, makes the
//! kernel send a reset, which can overtake the answer: the client of a 413 or 401 sees a broken connection. So what a
//! handler left unread is read and thrown away, in bounds, while the answer is on its way.

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::runtime::Handle;

/// What is read at most for the sake of a refusal.
const DISCARDED_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// How long it is read at most.
const DISCARD_TIME_MAX: Duration = Duration::from_secs(5);

/// A request body that, dropped before its end, is read on in the background.
pub(crate) struct LingeringBody<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    inner: Option<B>,
}

impl<B> LingeringBody<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    pub(crate) fn new(inner: B) -> Self {
        LingeringBody { inner: Some(inner) }
    }
}

impl<B> Body for LingeringBody<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let Some(inner) = &mut self.inner else { return Poll::Ready(None) };
        let frame = Pin::new(inner).poll_frame(context);
        // After its end or an error there is nothing to read on.
        if matches!(frame, Poll::Ready(None | Some(Err(_)))) {
            self.inner = None;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl<B> Drop for LingeringBody<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    fn drop(&mut self) {
        let Some(inner) = self.inner.take().filter(|inner| !inner.is_end_stream()) else { return };
        // Outside a runtime the connection is gone as well.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                // Running out of time is the one other way to end.
                let _ = tokio::time::timeout(DISCARD_TIME_MAX, discard(inner)).await;
            });
        }
    }
}

async fn discard<B: Body<Data = Bytes> + Unpin>(mut body: B) {
    let mut discarded = 0;
    while let Some(Ok(frame)) = body.frame().await {
        discarded += frame.data_ref().map_or(0, |data| data.len() as u64);
        if discarded > DISCARDED_BYTES_MAX {
            return;
        }
    }
}
