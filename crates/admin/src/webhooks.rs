//! `/v1/channels/{channelId}/webhooks[/{webhookId}]`.

use crate::answer::{json, no_content, not_stored};
use crate::auth::{ChannelCaller, WebhookCaller};
use crate::body::JsonBody;
use crate::error::ApiError;
use crate::state::{Inner, Shared};
use crate::webhook_body::{Rules, WebhookPatch, new_webhook};
use crate::webhook_view::WebhookView;
use axum::Router;
use axum::extract::{FromRequest, Request, State};
use axum::response::Response;
use axum::routing::get;
use fanfare_core::secret::SigningSecret;
use fanfare_core::webhook::Webhook;
use http::header::LOCATION;
use http::{HeaderValue, StatusCode};

pub(crate) fn routes() -> Router<Shared> {
    Router::new()
        .route("/v1/channels/{channelId}/webhooks", get(list).post(create))
        .route("/v1/channels/{channelId}/webhooks/{webhookId}", get(read).patch(update).delete(remove))
}

async fn create(
    caller: ChannelCaller,
    State(shared): State<Shared>,
    request: Request,
) -> Result<Response, ApiError> {
    let JsonBody(body) = JsonBody::from_request(request, &shared).await?;
    let new = new_webhook(&body, &Rules::of(&shared.admin))?;
    let (webhook, secret) = shared.engine().create_webhook(&caller.principal, &caller.channel, new).await?;
    let mut response = show(&shared, StatusCode::CREATED, &webhook, secret.as_ref())?;
    let place = format!("/v1/channels/{}/webhooks/{}", webhook.channel, webhook.id);
    let place = HeaderValue::try_from(place).expect("ids are letters, digits, _ and -");
    response.headers_mut().insert(LOCATION, place);
    Ok(response)
}

async fn list(caller: ChannelCaller, State(shared): State<Shared>) -> Result<Response, ApiError> {
    // A channel may hold a hundred thousand, each read from the store: not on the thread that serves other calls.
    let work = move || {
        let webhooks = shared.engine().webhooks(&caller.principal, &caller.channel)?;
        let defaults = shared.engine().delivery_defaults();
        let views = webhooks.iter().map(|webhook| WebhookView::new(webhook, defaults, None));
        Ok(json(StatusCode::OK, &views.collect::<Result<Vec<_>, ApiError>>()?))
    };
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(ApiError::internal(format!("listing webhooks: {error}"))))
}

async fn read(caller: WebhookCaller, State(shared): State<Shared>) -> Result<Response, ApiError> {
    show(&shared, StatusCode::OK, &caller.webhook, None)
}

async fn update(
    caller: WebhookCaller,
    State(shared): State<Shared>,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let patch = WebhookPatch::read(&body, &Rules::of(&shared.admin))?;
    let signing = patch.signing();
    let change = Box::new(move |webhook: &mut Webhook| {
        patch.apply(webhook);
        Ok(())
    });
    let (webhook, secret) = shared
        .engine()
        .update_webhook(&caller.principal, &caller.channel, caller.id, signing, change)
        .await?;
    show(&shared, StatusCode::OK, &webhook, secret.as_ref())
}

async fn remove(caller: WebhookCaller, State(shared): State<Shared>) -> Result<Response, ApiError> {
    shared.engine().delete_webhook(&caller.principal, &caller.channel, caller.id).await?;
    Ok(no_content())
}

fn show(
    shared: &Inner,
    status: StatusCode,
    webhook: &Webhook,
    secret: Option<&SigningSecret>,
) -> Result<Response, ApiError> {
    let view = WebhookView::new(webhook, shared.engine().delivery_defaults(), secret)?;
    let response = json(status, &view);
    Ok(if secret.is_some() { not_stored(response) } else { response })
}
