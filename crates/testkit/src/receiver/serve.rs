//! Accepting connections and keeping the record.

use super::tls::TlsSetup;
use super::{Counts, Received, ReceiverOptions, Reply, Spoken, http1, http2};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::sync::{oneshot, watch};

type Script = Arc<dyn Fn(&Received) -> Reply + Send + Sync>;

#[derive(Default)]
struct State {
    pushed: VecDeque<Reply>,
    script: Option<Script>,
    requests: Vec<Received>,
    counts: Counts,
}

/// What connections and the test's handle share.
pub(crate) struct Shared {
    pub(crate) options: ReceiverOptions,
    state: Mutex<State>,
    changes: watch::Sender<u64>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("counts", &self.counts()).finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn new(options: ReceiverOptions) -> Self {
        Shared { options, state: Mutex::new(State::default()), changes: watch::Sender::new(0) }
    }

    pub(crate) fn push(&self, reply: Reply) {
        self.state.lock().pushed.push_back(reply);
    }

    pub(crate) fn set_script(&self, script: Script) {
        self.state.lock().script = Some(script);
    }

    pub(crate) fn requests(&self) -> Vec<Received> {
        self.state.lock().requests.clone()
    }

    pub(crate) fn forget_requests(&self) {
        self.state.lock().requests.clear();
    }

    pub(crate) fn counts(&self) -> Counts {
        self.state.lock().counts
    }

    pub(crate) fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.state.lock().counts);
        self.changes.send_modify(|version| *version += 1);
    }

    pub(crate) async fn until(&self, is_met: impl Fn(Counts) -> bool) {
        let mut changes = self.changes.subscribe();
        while !is_met(self.counts()) {
            // The sender lives in `self`: this cannot fail while we are here.
            let _ = changes.changed().await;
        }
    }

    /// The next pushed reply, if it is one that acts before the body is read.
    pub(crate) fn take_early(&self) -> Option<Reply> {
        let mut state = self.state.lock();
        match state.pushed.front() {
            Some(Reply::ResetBeforeAnswer | Reply::AnswerBeforeBody(_)) => state.pushed.pop_front(),
            _ => None,
        }
    }

    /// Records a request and says what to do with it. `has_reply`: it has been decided already.
    pub(crate) fn receive(&self, mut request: Received, has_reply: bool) -> Reply {
        let mut state = self.state.lock();
        request.order = state.counts.requests;
        let pushed = if has_reply { None } else { state.pushed.pop_front() };
        let script = state.script.clone();
        state.requests.push(request.clone());
        drop(state);
        self.count(|counts| counts.requests += 1);
        pushed.unwrap_or_else(|| script.map_or_else(|| Reply::status(200), |script| script(&request)))
    }
}

/// One open connection: counted while it lives.
pub(crate) struct Opened {
    pub(crate) number: usize,
    pub(crate) shared: Arc<Shared>,
}

impl Opened {
    fn new(shared: &Arc<Shared>) -> Self {
        let mut number = 0;
        shared.count(|counts| {
            number = counts.connections_accepted;
            counts.connections_accepted += 1;
            counts.connections_open += 1;
        });
        Opened { number, shared: Arc::clone(shared) }
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.shared.count(|counts| counts.connections_open -= 1);
    }
}

pub(crate) async fn accept_until(
    listener: std::net::TcpListener,
    tls: Option<TlsSetup>,
    shared: Arc<Shared>,
    mut stopped: oneshot::Receiver<()>,
) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("a non-blocking listener");
    let acceptor = tls.map(|tls| tls.acceptor);
    loop {
        let socket = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = &mut stopped => return,
        };
        let Ok((socket, _peer)) = socket else { continue };
        let acceptor = acceptor.clone();
        let opened = Opened::new(&shared);
        tokio::spawn(async move {
            let Some(acceptor) = acceptor else { return serve_plain(socket, opened).await };
            match acceptor.accept(socket).await {
                Ok(stream) if stream.get_ref().1.alpn_protocol() == Some(b"h2") => {
                    http2::serve(stream, opened).await;
                }
                Ok(stream) if opened.shared.options.spoken != Spoken::Http2 => {
                    http1::serve(stream, opened).await;
                }
                Ok(_not_spoken) => {}
                Err(_failed) => opened.shared.count(|counts| counts.handshakes_failed += 1),
            }
        });
    }
}

async fn serve_plain(socket: TcpStream, opened: Opened) {
    let is_h2 = match opened.shared.options.spoken {
        Spoken::Http1 => false,
        Spoken::Http2 => true,
        Spoken::Both => {
            // The preface of HTTP/2 begins with a method no one else uses.
            let mut first = [0_u8; 3];
            matches!(socket.peek(&mut first).await, Ok(3)) && first == *b"PRI"
        }
    };
    if is_h2 {
        http2::serve(socket, opened).await;
    } else {
        http1::serve(socket, opened).await;
    }
}
