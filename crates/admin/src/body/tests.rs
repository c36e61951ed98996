use super::*;
use futures_body::Pieces;
use http::HeaderValue;

/// A body made of given pieces, then a pause without end if asked.
mod futures_body {
    use bytes::Bytes;
    use http_body::Frame;
    use std::collections::VecDeque;
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    pub(super) struct Pieces {
        pub(super) pieces: VecDeque<Bytes>,
        pub(super) never_ends: bool,
    }

    impl http_body::Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            match self.pieces.pop_front() {
                Some(piece) => Poll::Ready(Some(Ok(Frame::data(piece)))),
                None if self.never_ends => Poll::Pending,
                None => Poll::Ready(None),
            }
        }
    }
}

fn body(pieces: &[&'static str], never_ends: bool) -> Body {
    Body::new(Pieces {
        pieces: pieces.iter().map(|piece| Bytes::from_static(piece.as_bytes())).collect(),
        never_ends,
    })
}

fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
    list.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
}

fn reader(bytes_max: usize) -> Reader {
    Reader::new(bytes_max, Duration::from_secs(20))
}

#[test]
fn media_types_are_told_apart() {
    let both = [Media::Json, Media::Ndjson];
    for (content_type, media_type) in [
        (None, Some(Media::Json)),
        (Some("application/json"), Some(Media::Json)),
        (Some("Application/JSON; charset=utf-8"), Some(Media::Json)),
        (Some("application/x-ndjson;charset=utf-8"), Some(Media::Ndjson)),
        (Some("application/jsonx"), None),
        (Some("text/plain"), None),
        (Some(""), None),
    ] {
        let headers = content_type.map(|value| headers(&[("content-type", value)])).unwrap_or_default();
        assert_eq!(media(&headers, &both).ok(), media_type, "{content_type:?}");
    }
    let error = media(&headers(&[("content-type", "application/x-ndjson")]), &[Media::Json]).unwrap_err();
    assert_eq!(
        error.parts(),
        (415, "content type `application/x-ndjson` is not taken; send application/json")
    );
    let error = media(&HeaderMap::new(), &[Media::Wasm]).unwrap_err();
    assert_eq!(error.parts(), (415, "the content type must be said; send application/wasm"));
}

#[test]
fn encoded_bodies_are_refused() {
    let error = media(&headers(&[("content-encoding", "gzip")]), &[Media::Json]).unwrap_err();
    assert_eq!(error.parts(), (415, "content encoding `gzip` is not taken; send the body as it is"));
    assert!(media(&headers(&[("content-encoding", "Identity")]), &[Media::Json]).is_ok());
}

#[tokio::test]
async fn pieces_become_one_body() {
    for pieces in [&[][..], &["abc"], &["a", "", "bc", "d"]] {
        let bytes = reader(4).read(&HeaderMap::new(), body(pieces, false)).await.unwrap();
        assert_eq!(bytes, pieces.concat());
    }
}

#[tokio::test]
async fn a_declared_length_over_the_limit_is_refused_unread() {
    let error = reader(4).read(&headers(&[("content-length", "5")]), body(&[], true)).await.unwrap_err();
    assert_eq!(error.parts(), (413, "body of 5 bytes exceeds 4"));
}

#[tokio::test]
async fn an_undeclared_length_is_counted() {
    let error = reader(4).read(&HeaderMap::new(), body(&["abc", "def"], true)).await.unwrap_err();
    assert_eq!(error.parts(), (413, "body of at least 6 bytes exceeds 4"));
}

#[tokio::test(start_paused = true)]
async fn a_body_may_not_pause_for_long() {
    let error = reader(4).read(&HeaderMap::new(), body(&["abc"], true)).await.unwrap_err();
    assert_eq!(error.parts(), (408, "the body paused for more than 20 s"));
}

#[tokio::test]
async fn bytes_count_against_the_budget_until_they_are_let_go() {
    let budget = Arc::new(Semaphore::new(6));
    let take = async |pieces: &[&'static str], length: Option<&'static str>| {
        let mut reader = reader(100);
        reader.budget = Some(budget.clone());
        let headers = length.map(|length| headers(&[("content-length", length)])).unwrap_or_default();
        reader.read(&headers, body(pieces, false)).await.map(|bytes| (bytes, reader.held))
    };
    let held = take(&["ab", "cd"], None).await.unwrap();
    assert_eq!(budget.available_permits(), 2);

    let message = "too many bytes of events are being taken right now; try again";
    assert_eq!(take(&["ab", "c"], None).await.unwrap_err().parts(), (503, message));
    assert_eq!(take(&[], Some("3")).await.unwrap_err().parts(), (503, message));
    assert_eq!(budget.available_permits(), 2);

    drop(held);
    assert_eq!(budget.available_permits(), 6);
    assert!(take(&["ab", "c"], None).await.is_ok());
}
