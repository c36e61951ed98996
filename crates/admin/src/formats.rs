//! `/v1/formats`: which payload formats a webhook may ask for, and changing those that are plugins. Operator routes.

use crate::answer::{json, no_content};
use crate::auth::{Caller, Operate};
use crate::body::{Media, component, media};
use crate::error::ApiError;
use crate::openapi::{Call, Routes, content, schema};
use crate::path::Params;
use crate::state::Shared;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use fanfare_core::ports::formats::{FormatSource, FormatStanding};
use fanfare_core::webhook::FormatName;
use fanfare_engine::EngineError;
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::Object;

/// Ed25519.
const SIGNATURE_BYTES: usize = 64;
const SIGNATURE: &str = "Fanfare-Plugin-Signature";
/// `source` of the formats in the code itself.
const BUILTIN: &str = "builtin";

pub(crate) fn routes() -> Routes {
    let call = |id, summary| Call::new(id, summary).needs::<Operate>();
    let list_call = call("listFormats", "Payload formats a webhook may ask for")
        .answers_all::<FormatView<'_>>(200, "All of them, the built-in ones first.");
    let signature = "Ed25519 over the body by a key of `plugins.signing_keys`, in hexadecimal.";
    let signature_schema = schema::text().pattern(Some(format!("^[0-9A-Fa-f]{{{}}}$", 2 * SIGNATURE_BYTES)));
    let put_call = call("putFormat", "Put a plugin in the place of what is there under its name")
        .about(
            "The body is a WebAssembly component with a manifest, whose name must be the path's. The answer comes when \
             it is admitted and stored: events rendered from then on use it, in all webhooks that name it. What was \
             there before is kept for a rollback.",
        )
        .header(SIGNATURE, signature, signature_schema)
        .takes_one_of([(Media::Wasm.name(), content(schema::binary()))])
        .fails([409, 503])
        .answers::<FormatView<'_>>(200, "It took the place of another.")
        .answers::<FormatView<'_>>(201, "Nothing was there under its name.");
    let delete_call = call("deleteFormat", "Remove a plugin that was put by API")
        .about(
            "What the binary or `plugins.dir` has under the name is used again. Where nothing has it, no webhook may \
             use it: else the answer is 409 with how many do and one of them.",
        )
        .fails([409, 503])
        .answers_nothing(204, "It is gone.");
    let rollback_call = call("rollBackFormat", "Put the version before in the place of the present one")
        .about("The present one is the version before then, so that a second call undoes the first.")
        .fails([409])
        .answers::<FormatView<'_>>(200, "The format as it is now.");
    let lift_call = call("liftFormat", "Try a plugin again that is left alone after faults")
        .answers::<FormatView<'_>>(200, "The format as it is now.");
    let one = "/v1/formats/{name}";
    Routes::of("formats")
        .get("/v1/formats", list, list_call)
        .put(one, put, put_call)
        .delete(one, remove, delete_call)
        .post("/v1/formats/{name}/rollback", roll_back, rollback_call)
        .post("/v1/formats/{name}/lift", lift, lift_call)
}

/// One format.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Format)]
struct FormatView<'a> {
    name: &'a str,
    /// In the code itself, in the binary as a plugin, a file of `plugins.dir`, or put by API.
    #[schema(schema_with = source_schema)]
    source: &'static str,
    /// The plugin's own; of a built-in one that of this build.
    version: &'a str,
    /// Rises with each change of the format, over restarts too.
    generation: u64,
    /// Whether it is left alone after faults in a row, its deliveries waiting.
    quarantined: bool,
    /// What a rollback would put in its place.
    #[schema(required)]
    former_version: Option<&'a str>,
}

fn source_schema() -> Object {
    let plugin = [FormatSource::Shipped, FormatSource::Folder, FormatSource::Api].map(FormatSource::name);
    schema::text().enum_values(Some([BUILTIN].into_iter().chain(plugin))).build()
}

impl<'a> FormatView<'a> {
    /// Part of this build, and never replaced while it runs.
    fn builtin(name: &'a FormatName, build_version: &'a str) -> Self {
        FormatView {
            name: name.as_str(),
            source: BUILTIN,
            version: build_version,
            generation: 1,
            quarantined: false,
            former_version: None,
        }
    }

    fn plugin(standing: &'a FormatStanding) -> Self {
        FormatView {
            name: standing.name.as_str(),
            source: standing.source.name(),
            version: &standing.version,
            generation: standing.generation,
            quarantined: standing.is_quarantined,
            former_version: standing.former_version.as_deref(),
        }
    }
}

async fn list(_: Caller<Operate>, State(shared): State<Shared>) -> Response {
    let builtin: Vec<FormatName> =
        shared.engine().formats().into_iter().filter(FormatName::is_builtin).collect();
    let plugins = shared.engine().format_standings();
    let builtin = builtin.iter().map(|name| FormatView::builtin(name, &shared.admin.version));
    json(StatusCode::OK, &builtin.chain(plugins.iter().map(FormatView::plugin)).collect::<Vec<_>>())
}

async fn put(
    _: Caller<Operate>,
    State(shared): State<Shared>,
    params: Params,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    media(&parts.headers, &[Media::Wasm])?;
    let name = named(&params).ok_or_else(|| {
        ApiError::bad_request("name must be 1 to 64 characters of A-Z 0-9 _, the first a letter")
    })?;
    let signature = signature(&parts.headers)?;
    let component = component(&shared, &parts.headers, body).await?;
    let (standing, is_new) = shared.engine().put_format(name, component, signature).await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok(json(status, &FormatView::plugin(&standing)))
}

async fn remove(
    _: Caller<Operate>,
    State(shared): State<Shared>,
    params: Params,
) -> Result<Response, ApiError> {
    let name = named(&params).ok_or(EngineError::UnknownFormat)?;
    shared.engine().delete_format(name).await?;
    Ok(no_content())
}

async fn roll_back(
    _: Caller<Operate>,
    State(shared): State<Shared>,
    params: Params,
) -> Result<Response, ApiError> {
    let name = named(&params).ok_or(EngineError::UnknownFormat)?;
    let standing = shared.engine().rollback_format(name).await?;
    Ok(json(StatusCode::OK, &FormatView::plugin(&standing)))
}

async fn lift(
    _: Caller<Operate>,
    State(shared): State<Shared>,
    params: Params,
) -> Result<Response, ApiError> {
    let name = named(&params).ok_or(EngineError::UnknownFormat)?;
    let standing = shared.engine().lift_format(&name)?;
    Ok(json(StatusCode::OK, &FormatView::plugin(&standing)))
}

fn named(params: &Params) -> Option<FormatName> {
    FormatName::parse(params.get("name")?)
}

/// The component's signature: one header, or none.
fn signature(headers: &HeaderMap) -> Result<Option<Bytes>, ApiError> {
    let mut values = headers.get_all(SIGNATURE).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(ApiError::bad_request(format!("{SIGNATURE} is given twice")));
    }
    let bytes = bytes_of_hex(value.as_bytes()).filter(|bytes| bytes.len() == SIGNATURE_BYTES);
    bytes.map(|bytes| Some(bytes.into())).ok_or_else(|| {
        ApiError::bad_request(format!("{SIGNATURE} must be {} hexadecimal characters", 2 * SIGNATURE_BYTES))
    })
}

fn bytes_of_hex(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = text.as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?));
    if rest.is_empty() { bytes.collect() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn a_signature_is_64_bytes_as_hexadecimal() {
        let read = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(SIGNATURE, HeaderValue::from_str(value).unwrap());
            }
            signature(&headers)
        };
        assert_eq!(read(&[]).unwrap(), None);
        let good = "00fFA9".repeat(21) + "7c";
        let bytes = read(&[&good]).unwrap().unwrap();
        assert_eq!((bytes.len(), &bytes[..4]), (64, &[0x00, 0xFF, 0xA9, 0x00][..]));
        assert_eq!(bytes[63], 0x7C);
        let rule = (400, "Fanfare-Plugin-Signature must be 128 hexadecimal characters");
        for bad in [
            "",
            "00",
            &good[1..],
            &(good.clone() + "00"),
            &good.replace("7c", "7g"),
            &good.replace("7c", "+c"),
        ] {
            assert_eq!(read(&[bad]).unwrap_err().parts(), rule, "{bad}");
        }
        assert_eq!(
            read(&[&good, &good]).unwrap_err().parts(),
            (400, "Fanfare-Plugin-Signature is given twice")
        );
    }
}
