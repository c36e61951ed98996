//! `GET /v1/formats`: which payload formats a webhook may ask for. An operator route.

use crate::answer::json;
use crate::auth::{Caller, Operate};
use crate::openapi::{Call, Routes};
use crate::state::Shared;
use axum::extract::State;
use axum::response::Response;
use fanfare_core::webhook::FormatName;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

pub(crate) fn routes() -> Routes {
    let call = Call::new("listFormats", "Payload formats a webhook may ask for").needs::<Operate>();
    Routes::of("formats").get("/v1/formats", list, call.answers_all::<FormatView<'_>>(200, "All of them."))
}

/// One format. A plugin's version and generation are `null` where the engine knows only its name.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = Format)]
struct FormatView<'a> {
    name: &'a str,
    /// `builtin` or `plugin`.
    source: &'static str,
    #[schema(required)]
    version: Option<&'a str>,
    /// Counts what was loaded under this name.
    #[schema(required)]
    generation: Option<u64>,
}

impl<'a> FormatView<'a> {
    fn new(format: &'a FormatName, build_version: &'a str) -> Self {
        let name = format.as_str();
        if matches!(name, FormatName::DEFAULT | FormatName::Z_API) {
            // Part of this build, and never replaced while it runs.
            FormatView { name, source: "builtin", version: Some(build_version), generation: Some(1) }
        } else {
            FormatView { name, source: "plugin", version: None, generation: None }
        }
    }
}

async fn list(_: Caller<Operate>, State(shared): State<Shared>) -> Response {
    let formats = shared.engine().formats();
    let views = formats.iter().map(|format| FormatView::new(format, &shared.admin.version));
    json(StatusCode::OK, &views.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_formats_carry_the_version_of_the_build() {
        let (z_api, plugin) =
            (FormatName::parse("Z_API").unwrap(), FormatName::parse("CLOUDEVENTS").unwrap());
        assert_eq!(
            FormatView::new(&z_api, "1.2.3"),
            FormatView { name: "Z_API", source: "builtin", version: Some("1.2.3"), generation: Some(1) }
        );
        assert_eq!(
            FormatView::new(&plugin, "1.2.3"),
            FormatView { name: "CLOUDEVENTS", source: "plugin", version: None, generation: None }
        );
    }
}
