//! The API while the engine is being started: probes are answered at once (alive, not ready), everything else is
//! answered when the engine is there. So a process that recovers a large store is not taken for dead, and whoever
//! waited for the address only need not wait for more.

use crate::error::ApiError;
use crate::health;
use crate::router;
use crate::state::AdminState;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::Request;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use tokio::sync::watch;

/// Says when the engine is there; made by [`starting`].
#[derive(Debug)]
pub struct Starter(watch::Sender<Option<Router>>);

/// The API of an engine that is being started, for [`serve_starting`](crate::serve_starting).
#[derive(Clone, Debug)]
pub struct Starting(watch::Receiver<Option<Router>>);

/// An API whose engine comes later.
#[must_use]
pub fn starting() -> (Starter, Starting) {
    let (starter, starting) = watch::channel(None);
    (Starter(starter), Starting(starting))
}

impl Starter {
    /// The engine is there: calls that waited are answered now.
    pub fn ready(self, state: AdminState) {
        self.0.send_replace(Some(router(state)));
    }
}

impl Starting {
    /// The API of an engine that is there already.
    pub(crate) fn done(state: AdminState) -> Self {
        let (starter, starting) = starting();
        starter.ready(state);
        starting
    }

    /// What a connection opened now talks to. Those opened after the start pay nothing for it.
    pub(crate) fn router(&self) -> Router {
        let ready = self.0.borrow().clone();
        ready.unwrap_or_else(|| Router::new().fallback(answer).with_state(self.clone()))
    }
}

async fn answer(State(Starting(mut ready)): State<Starting>, request: Request<axum::body::Body>) -> Response {
    let is_ready = ready.borrow().is_some();
    match request.uri().path() {
        health::ALIVE if !is_ready => return health::alive().await,
        health::READY if !is_ready => {
            return ApiError::unavailable("starting: the store is being opened", 1).into_response();
        }
        _ => {}
    }
    let router = match ready.wait_for(Option::is_some).await {
        Ok(router) => router.clone(),
        Err(_) => None,
    };
    let Some(router) = router else {
        return ApiError::unavailable("the engine could not be started", 5).into_response();
    };
    match TowerToHyperService::new(router).call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}
