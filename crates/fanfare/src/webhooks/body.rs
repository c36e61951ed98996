//! The members of a webhook as flags, and the bodies they make. Values are the server's to judge; here only their shape.

use crate::exit::Failure;
use clap::{Args, ValueEnum};
use fanfare_core::Secret;
use serde_json::{Map, Number, Value, json};
use std::io::BufRead;

/// Longest credential read from standard input, bytes.
const CREDENTIAL_BYTES_MAX: u64 = 64 * 1024;

/// Members that create and update share.
#[derive(Args, Debug, Default)]
pub(super) struct MemberArgs {
    /// Format of the bodies: DEFAULT, Z_API or a plugin's
    #[arg(long, value_name = "NAME")]
    format: Option<String>,
    /// A note for people
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Attributes kept with the webhook, a JSON object
    #[arg(long, value_name = "JSON")]
    custom_attributes: Option<String>,
    #[command(flatten)]
    auth: AuthArgs,
    #[command(flatten)]
    delivery: DeliveryArgs,
}

/// How the receiver knows us. The credential itself never stands on the command line.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Authentication at the receiver")]
struct AuthArgs {
    /// How requests authenticate
    #[arg(long, value_name = "TYPE", ignore_case = true)]
    auth_type: Option<AuthType>,
    /// Header of the type CUSTOM_HEADER
    #[arg(long, value_name = "NAME", requires = "auth_type")]
    auth_header: Option<String>,
    /// Variable of the environment that holds the credential (BASIC: USER:PASSWORD)
    #[arg(long, value_name = "VARIABLE", requires = "auth_type", conflicts_with = "credential_stdin")]
    credential_env: Option<String>,
    /// Read the credential from standard input, one line
    #[arg(long, requires = "auth_type")]
    credential_stdin: bool,
}

/// The documented types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum AuthType {
    #[value(name = "NONE")]
    None,
    #[value(name = "BEARER")]
    Bearer,
    #[value(name = "API_KEY")]
    ApiKey,
    #[value(name = "BASIC")]
    Basic,
    #[value(name = "CUSTOM_HEADER")]
    CustomHeader,
}

/// `delivery.*`.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Delivery")]
struct DeliveryArgs {
    /// Time an attempt may take, 1000 to 30000
    #[arg(long, value_name = "MS")]
    timeout_ms: Option<u32>,
    /// Requests at once, 1 to 256
    #[arg(long, value_name = "N")]
    max_in_flight: Option<u32>,
    /// Attempts per second at most
    #[arg(long, value_name = "X")]
    rate_per_second: Option<f64>,
    /// Attempts that may begin at once under the rate
    #[arg(long, value_name = "N", requires = "rate_per_second")]
    rate_burst: Option<u32>,
    /// NONE, or KEY: one delivery of a key at a time, in order
    #[arg(long, value_name = "WORD")]
    ordering: Option<String>,
    /// Waits before each retry, such as 5,30,120
    #[arg(long, value_name = "SECONDS,...", value_delimiter = ',')]
    retry_schedule: Vec<u32>,
    /// A delivery older than this is given up
    #[arg(long, value_name = "SECONDS")]
    retry_max_age: Option<u32>,
    /// AUTO, HTTP1 or HTTP2
    #[arg(long, value_name = "WORD")]
    protocol: Option<String>,
}

/// Where credentials come from.
pub(super) struct Secrets<'a> {
    /// A variable of the environment.
    pub(super) variable: &'a (dyn Fn(&str) -> Option<String> + Sync),
    /// Standard input.
    pub(super) input: &'a mut (dyn BufRead + Send),
}

fn put(body: &mut Map<String, Value>, name: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        body.insert(name.to_owned(), value.into());
    }
}

impl MemberArgs {
    /// Adds what was given to a body.
    ///
    /// # Errors
    /// Exit 2, naming the flag.
    pub(super) fn add_to(&self, body: &mut Map<String, Value>, secrets: Secrets<'_>) -> Result<(), Failure> {
        put(body, "payloadFormat", self.format.as_deref());
        put(body, "description", self.description.as_deref());
        if let Some(text) = &self.custom_attributes {
            let attributes: Map<String, Value> = serde_json::from_str(text).map_err(|_| {
                Failure::usage("--custom-attributes must be a JSON object, such as '{\"shop\": 7}'")
            })?;
            put(body, "customAttributes", Some(attributes));
        }
        put(body, "auth", self.auth.member(secrets)?);
        let delivery = self.delivery.members()?;
        if !delivery.is_empty() {
            put(body, "delivery", Some(delivery));
        }
        Ok(())
    }
}

impl AuthArgs {
    fn member(&self, secrets: Secrets<'_>) -> Result<Option<Value>, Failure> {
        let Some(auth_type) = self.auth_type else { return Ok(None) };
        if auth_type == AuthType::None {
            return if self.credential_env.is_some() || self.credential_stdin || self.auth_header.is_some() {
                Err(Failure::usage("--auth-type NONE takes no credential and no header"))
            } else {
                Ok(Some(json!({"type": "NONE"})))
            };
        }
        if self.auth_header.is_some() != (auth_type == AuthType::CustomHeader) {
            return Err(Failure::usage("--auth-header is for --auth-type CUSTOM_HEADER, which needs it"));
        }
        let credential = self.credential(secrets)?;
        let credential = credential.expose();
        Ok(Some(match auth_type {
            AuthType::None => json!({"type": "NONE"}),
            AuthType::Bearer => json!({"type": "BEARER", "token": credential}),
            AuthType::ApiKey => json!({"type": "API_KEY", "key": credential}),
            AuthType::Basic => {
                let (username, password) = credential.split_once(':').ok_or_else(|| {
                    Failure::usage("the credential of --auth-type BASIC must be USER:PASSWORD")
                })?;
                json!({"type": "BASIC", "username": username, "password": password})
            }
            AuthType::CustomHeader => {
                json!({"type": "CUSTOM_HEADER", "headerName": self.auth_header, "headerValue": credential})
            }
        }))
    }

    fn credential(&self, secrets: Secrets<'_>) -> Result<Secret, Failure> {
        let text = match &self.credential_env {
            Some(name) => (secrets.variable)(name).ok_or_else(|| {
                Failure::usage(format!("the variable {name} of --credential-env is not set, or is not UTF-8"))
            })?,
            None if self.credential_stdin => {
                let mut line = String::new();
                std::io::Read::take(secrets.input, CREDENTIAL_BYTES_MAX).read_line(&mut line).map_err(
                    |error| {
                        Failure::usage(format!("cannot read the credential from standard input: {error}"))
                    },
                )?;
                line.trim_end_matches(['\r', '\n']).to_owned()
            }
            None => {
                return Err(Failure::usage(
                    "the credential is missing: give --credential-env VARIABLE or --credential-stdin",
                ));
            }
        };
        if text.is_empty() {
            return Err(Failure::usage("the credential is empty"));
        }
        Ok(Secret::new(text))
    }
}

impl DeliveryArgs {
    fn members(&self) -> Result<Map<String, Value>, Failure> {
        let mut delivery = Map::new();
        put(&mut delivery, "timeoutMs", self.timeout_ms);
        put(&mut delivery, "maxInFlight", self.max_in_flight);
        if let Some(per_second) = self.rate_per_second {
            let number = shortest(per_second)
                .ok_or_else(|| Failure::usage("--rate-per-second must be a number, such as 10 or 0.5"))?;
            let mut limit = Map::new();
            put(&mut limit, "perSecond", Some(number));
            put(&mut limit, "burst", self.rate_burst);
            put(&mut delivery, "rateLimit", Some(limit));
        }
        put(&mut delivery, "ordering", self.ordering.as_deref().map(str::to_uppercase));
        let mut retry = Map::new();
        let schedule = (!self.retry_schedule.is_empty()).then(|| self.retry_schedule.clone());
        put(&mut retry, "scheduleSeconds", schedule);
        put(&mut retry, "maxAgeSeconds", self.retry_max_age);
        if !retry.is_empty() {
            put(&mut delivery, "retry", Some(retry));
        }
        put(&mut delivery, "protocol", self.protocol.as_deref().map(str::to_uppercase));
        Ok(delivery)
    }
}

/// 10, not 10.0: as it was given. `None` for what is no number.
fn shortest(number: f64) -> Option<Value> {
    let text = format!("{number}");
    match text.parse::<u64>() {
        Ok(whole) => Some(whole.into()),
        Err(_) => Number::from_f64(number).map(Value::Number),
    }
}
