//! `GET /v1/openapi.json`: the API as an OpenAPI 3.1 document, made from the code that answers.
//!
//! A route and its description come in one call ([`Routes`]), so that neither is there without the other. Shapes of
//! answers are derived from the structs that are serialised; shapes of bodies stand beside the code that reads them and
//! take their limits and names from where that code takes them.

mod call;
mod errors;
pub(crate) mod schema;

pub(crate) use call::{Call, content};

use crate::answer::JSON;
use crate::state::Shared;
use axum::Router;
use axum::extract::State;
use axum::handler::Handler;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, on};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use std::collections::BTreeMap;
use utoipa::openapi::path::HttpMethod;
use utoipa::openapi::schema::Schema;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, LicenseBuilder, OpenApiBuilder, Paths, RefOr};

/// Name of the one security scheme.
const KEY: &str = "key";

const ABOUT: &str = "Takes the events of a messaging hub and delivers each, signed, to every webhook that asked for it. \
Errors are `{\"error\": status, \"message\": text}`. Checks come in this order: 401, 403, 422, 404, 400. A scope listed \
with a route's security is the one its key must hold; with `operate` a key reaches the channels of every account, \
else only its own account's. Paths that are not here are answered 404, methods that are not here 405 with `Allow`.";

pub(crate) fn routes() -> Routes {
    let call = Call::new("readDocument", "This document");
    let call = call.answers_with(200, "OpenAPI 3.1.", JSON, schema::any_object());
    Routes::of("probes").get("/v1/openapi.json", document, call)
}

async fn document(State(shared): State<Shared>) -> Response {
    ([(CONTENT_TYPE, JSON)], shared.document.clone()).into_response()
}

/// Routes with what the document says of them.
pub(crate) struct Routes {
    /// What they are grouped under in the document.
    tag: &'static str,
    router: Router<Shared>,
    paths: Paths,
    schemas: BTreeMap<String, RefOr<Schema>>,
}

macro_rules! methods {
    ($($name:ident $filter:ident $method:ident,)*) => {$(
        #[doc = concat!("Adds a `", stringify!($filter), "` of `path`.")]
        pub(crate) fn $name<H: Handler<T, Shared>, T: 'static>(self, path: &str, handler: H, call: Call) -> Self {
            self.route(MethodFilter::$filter, HttpMethod::$method, path, handler, call)
        }
    )*};
}

impl Routes {
    methods! {
        get GET Get,
        put PUT Put,
        post POST Post,
        patch PATCH Patch,
        delete DELETE Delete,
    }

    pub(crate) fn of(tag: &'static str) -> Self {
        Routes { tag, router: Router::new(), paths: Paths::new(), schemas: BTreeMap::new() }
    }

    fn route<H: Handler<T, Shared>, T: 'static>(
        mut self,
        filter: MethodFilter,
        method: HttpMethod,
        path: &str,
        handler: H,
        call: Call,
    ) -> Self {
        let (operation, schemas) = call.into_operation(self.tag, path);
        self.paths.add_path_operation(path, vec![method], operation);
        self.schemas.extend(schemas);
        self.router = self.router.route(path, on(filter, handler));
        self
    }

    /// Adds others, which keep their tag.
    pub(crate) fn merge(mut self, other: Routes) -> Self {
        self.paths.merge(other.paths);
        self.schemas.extend(other.schemas);
        self.router = self.router.merge(other.router);
        self
    }

    /// The routes, and the document as it is sent.
    pub(crate) fn finish(self, version: &str) -> (Router<Shared>, Bytes) {
        let license = LicenseBuilder::new().name("Apache-2.0 OR MIT").identifier(Some("Apache-2.0 OR MIT"));
        let info = InfoBuilder::new()
            .title("fanfare")
            .version(version)
            .description(Some(ABOUT))
            .license(Some(license.build()));
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(
            "A key of `POST /v1/accounts/{accountId}/keys`, or the operator's own from the settings.",
        ));
        let mut components =
            ComponentsBuilder::new().security_scheme(KEY, SecurityScheme::Http(scheme.build()));
        for (name, schema) in self.schemas {
            components = components.schema(name, schema);
        }
        components = errors::describe(components);
        let document = OpenApiBuilder::new()
            .info(info.build())
            .paths(self.paths)
            .components(Some(components.build()))
            .build();
        // Strings, numbers and maps of them: it has no way to fail.
        let text = document.to_json().expect("a document serialises");
        (self.router, text.into())
    }
}
