//! `/v1/channels/{channelId}/webhooks[/{webhookId}]`.

use crate::answer::{json, no_content, not_stored};
use crate::auth::{ChannelCaller, WebhookCaller};
use crate::body::JsonBody;
use crate::error::ApiError;
use crate::openapi::{Call, Routes};
use crate::state::{Inner, Shared};
use crate::webhook_body::{Rules, WebhookPatch, new_webhook, shapes};
use crate::webhook_view::WebhookView;
use axum::extract::{FromRequest, Request, State};
use axum::response::Response;
use fanfare_core::secret::SigningSecret;
use fanfare_core::webhook::Webhook;
use http::header::LOCATION;
use http::{HeaderValue, StatusCode};

pub(crate) fn routes() -> Routes {
    let call = |id, summary| Call::new(id, summary).manages_webhooks();
    let all = "/v1/channels/{channelId}/webhooks";
    let one = "/v1/channels/{channelId}/webhooks/{webhookId}";
    let create_call = with_parts(call("createWebhook", "Make a webhook"))
        .takes("NewWebhook", shapes::new_webhook())
        .answers::<WebhookView<'_>>(201, "The webhook; with its secret, shown this once, when signing is on.")
        .answer_header(201, "Location", "Its path.");
    let list_call = call("listWebhooks", "Webhooks of a channel")
        .answers_all::<WebhookView<'_>>(200, "All of them, by `createdAt`, then `id`.");
    let read_call = call("readWebhook", "A webhook").answers::<WebhookView<'_>>(200, "The webhook.");
    let update_call = with_parts(call("updateWebhook", "Change a webhook"))
        .about(
            "Only what is sent changes; `events` and `auth` are replaced whole, `delivery` member by member.",
        )
        .takes("WebhookPatch", shapes::webhook_patch())
        .answers::<WebhookView<'_>>(
            200,
            "The webhook; with a new secret, shown this once, for `signing` true.",
        );
    let remove_call = call("deleteWebhook", "Delete a webhook, and drop what it is owed")
        .answers_nothing(204, "It is known no more.");
    Routes::of("webhooks")
        .get(all, list, list_call)
        .post(all, create, create_call)
        .get(one, read, read_call)
        .patch(one, update, update_call)
        .delete(one, remove, remove_call)
}

fn with_parts(call: Call) -> Call {
    call.part("Auth", shapes::auth()).part("DeliverySettings", shapes::delivery())
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
    let opens_gate = patch.opens_gate();
    let change = Box::new(move |webhook: &mut Webhook| {
        patch.apply(webhook);
        Ok(())
    });
    let (webhook, secret) = shared
        .engine()
        .update_webhook(&caller.principal, &caller.channel, caller.id, signing, change)
        .await?;
    if opens_gate {
        shared.engine().open_gate(&caller.principal, &caller.channel, caller.id).await?;
    }
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
