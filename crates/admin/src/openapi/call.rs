//! What the document says of one call.

use super::{KEY, errors, schema};
use crate::answer::JSON;
use crate::auth::{Manage, Scope};
use fanfare_core::event::EventKind;
use http::StatusCode;
use std::collections::{BTreeMap, BTreeSet};
use utoipa::ToSchema;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{ArrayBuilder, Schema};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{
    Content, ContentBuilder, RefOr, Required, Response, ResponseBuilder, ResponsesBuilder,
};

type Schemas = Vec<(String, RefOr<Schema>)>;

/// A call: who may make it, what it takes, how it can be answered. Parameters of the path are found in the path.
pub(crate) struct Call {
    operation: OperationBuilder,
    answers: BTreeMap<u16, Response>,
    errors: BTreeSet<u16>,
    schemas: Schemas,
    body: Option<RequestBodyBuilder>,
    is_body_required: bool,
}

impl Call {
    /// A call without a key. `id` is a name for generated clients, `summary` one line for people.
    pub(crate) fn new(id: &str, summary: &str) -> Self {
        Call {
            operation: OperationBuilder::new()
                .operation_id(Some(id))
                .summary(Some(summary))
                // None, said plainly: a key is not asked for.
                .securities(Some([])),
            answers: BTreeMap::new(),
            errors: BTreeSet::from([500]),
            schemas: Schemas::new(),
            body: None,
            is_body_required: true,
        }
    }

    /// More about it.
    pub(crate) fn about(mut self, text: &str) -> Self {
        self.operation = self.operation.description(Some(text));
        self
    }

    /// It needs a key with the scope `S`.
    pub(crate) fn needs<S: Scope>(mut self) -> Self {
        self.operation = self.operation.securities(Some([SecurityRequirement::new(KEY, [S::NAME])]));
        self.fails([401, 403])
    }

    /// It manages a channel's webhooks: the role, the channel and the webhook are checked, and what it asks the store
    /// may be refused for now.
    pub(crate) fn manages_webhooks(self) -> Self {
        self.needs::<Manage>().fails([404, 422, 503])
    }

    /// Further errors that it can be answered with.
    pub(crate) fn fails<const N: usize>(mut self, statuses: [u16; N]) -> Self {
        self.errors.extend(statuses);
        self
    }

    /// An optional parameter of the query.
    pub(crate) fn query(self, name: &str, text: &str, of: impl Into<RefOr<Schema>>) -> Self {
        self.parameter(name, ParameterIn::Query, text, of).fails([400])
    }

    /// An optional header.
    pub(crate) fn header(self, name: &str, text: &str, of: impl Into<RefOr<Schema>>) -> Self {
        self.parameter(name, ParameterIn::Header, text, of).fails([400])
    }

    fn parameter(mut self, name: &str, place: ParameterIn, text: &str, of: impl Into<RefOr<Schema>>) -> Self {
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(place)
            .required(Required::False)
            .description(Some(text))
            .schema(Some(of));
        self.operation = self.operation.parameter(parameter);
        self
    }

    /// A JSON body, which is a shape of its own among the components.
    pub(crate) fn takes(self, name: &str, of: impl Into<RefOr<Schema>>) -> Self {
        self.part(name, of).takes_one_of([(JSON, content(schema::of(name)))])
    }

    /// The same, and the body may be left out.
    pub(crate) fn may_take(mut self, name: &str, of: impl Into<RefOr<Schema>>) -> Self {
        self = self.takes(name, of);
        self.is_body_required = false;
        self
    }

    /// A body of any of these content types.
    pub(crate) fn takes_one_of<const N: usize>(mut self, contents: [(&str, Content); N]) -> Self {
        let mut body = RequestBodyBuilder::new();
        for (kind, content) in contents {
            body = body.content(kind, content);
        }
        self.body = Some(body);
        self.fails([400, 408, 413, 415])
    }

    /// A shape that others here refer to.
    pub(crate) fn part(mut self, name: &str, of: impl Into<RefOr<Schema>>) -> Self {
        self.schemas.push((name.to_owned(), of.into()));
        self
    }

    /// A JSON answer of the shape `T`.
    pub(crate) fn answers<T: ToSchema>(self, status: u16, text: &str) -> Self {
        let of = schema::of(&T::name());
        self.knows::<T>().answers_with(status, text, JSON, of)
    }

    /// A JSON array of `T`.
    pub(crate) fn answers_all<T: ToSchema>(self, status: u16, text: &str) -> Self {
        let of = ArrayBuilder::new().items(schema::of(&T::name()));
        self.knows::<T>().answers_with(status, text, JSON, of.build())
    }

    fn knows<T: ToSchema>(mut self) -> Self {
        self.schemas.push((T::name().into_owned(), T::schema()));
        T::schemas(&mut self.schemas);
        self
    }

    /// Any answer with a body.
    pub(crate) fn answers_with(
        mut self,
        status: u16,
        text: &str,
        kind: &str,
        of: impl Into<RefOr<Schema>>,
    ) -> Self {
        let response = ResponseBuilder::new().description(text).content(kind, content(of));
        self.answers.insert(status, with_headers(status, response).build());
        self
    }

    /// An answer without a body.
    pub(crate) fn answers_nothing(mut self, status: u16, text: &str) -> Self {
        self.answers.insert(status, ResponseBuilder::new().description(text).build());
        self
    }

    /// A header that the answer of this status, told before, always has.
    pub(crate) fn answer_header(mut self, status: u16, name: &str, text: &str) -> Self {
        let header = HeaderBuilder::new().schema(Some(schema::text())).description(Some(text)).build();
        if let Some(response) = self.answers.get_mut(&status) {
            response.headers.insert(name.to_owned(), RefOr::T(header));
        }
        self
    }

    /// The operation of this path, and the shapes it refers to.
    pub(super) fn into_operation(mut self, tag: &str, path: &str) -> (Operation, Schemas) {
        let names: Vec<&str> =
            path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
        if !names.is_empty() {
            self.errors.insert(404);
        }
        let mut responses = ResponsesBuilder::new();
        for (status, response) in &self.answers {
            responses = responses.response(status.to_string(), response.clone());
        }
        for status in self.errors.iter().filter(|status| !self.answers.contains_key(status)) {
            responses = responses.response(status.to_string(), errors::reference(*status));
        }
        let required = if self.is_body_required { Required::True } else { Required::False };
        let body = self.body.map(|body| body.required(Some(required)).build());
        let mut operation = self.operation.tag(tag).request_body(body).build();
        operation.responses = responses.build();
        let parameters = names.into_iter().map(|name| RefOr::T(path_parameter(name)));
        operation.parameters = Some(parameters.chain(operation.parameters.unwrap_or_default()).collect());
        (operation, self.schemas)
    }
}

/// A body or an answer of one content type.
pub(crate) fn content(of: impl Into<RefOr<Schema>>) -> Content {
    ContentBuilder::new().schema(Some(of)).build()
}

fn with_headers(status: u16, response: ResponseBuilder) -> ResponseBuilder {
    match StatusCode::from_u16(status) {
        Ok(status) => errors::with_headers(status, response),
        Err(_) => response,
    }
}

/// Every parameter of a path that there is.
///
/// # Panics
/// For a name that is not here: the document is built at every start, and so in every test.
fn path_parameter(name: &str) -> Parameter {
    let (text, of): (&str, RefOr<Schema>) = match name {
        "accountId" => ("An account.", schema::id().into()),
        "channelId" => ("A channel.", schema::id().into()),
        "keyId" => ("A key's public id, not the key itself.", schema::id().into()),
        "webhookId" => ("A webhook of the channel.", schema::webhook_id_read().into()),
        "deliveryId" => {
            ("A delivery of the webhook: the `webhook-id` of its requests.", schema::delivery_id().into())
        }
        "name" => ("A plugin format.", schema::format_name().into()),
        "type" => ("The event's kind.", schema::name::<EventKind>().into()),
        _ => unreachable!("the path parameter {name} has no description"),
    };
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some(text))
        .schema(Some(of))
        .build()
}
