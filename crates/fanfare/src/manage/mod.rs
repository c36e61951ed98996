//! What the commands that manage a running server share: where it is, one call after another, and how answers are shown.
//! Each of those commands ([`crate::webhooks`], [`crate::deliveries`], [`crate::keys`]) only knows its paths and members.

#[cfg(test)]
pub(crate) mod double;
pub(crate) mod table;
pub(crate) mod times;

use crate::client::{Answer, Call, Server, Session};
use crate::exit::Failure;
use clap::Args;
use fanfare_core::Secret;
use http::Method;
use serde_json::Value;
use std::convert::Infallible;
use std::io::Write;
use std::sync::Arc;

/// Longest part of a path that is sent: the longest delivery id has 104 characters.
const SEGMENT_CHARS_MAX: usize = 128;

/// Flags of every command that talks to a server.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Server")]
pub(crate) struct ServerArgs {
    /// The server
    #[arg(long, value_name = "URL", env = "FANFARE_URL", default_value = "http://127.0.0.1:8080")]
    server: String,
    /// API key; best left to the environment
    #[arg(long, env = "FANFARE_API_KEY", hide_env_values = true, value_parser = secret)]
    key: Option<Secret>,
    /// Print what the API answers, as it is
    #[arg(long)]
    json: bool,
}

fn secret(text: &str) -> Result<Secret, Infallible> {
    Ok(Secret::new(text))
}

/// A server under management, and where its answers are shown.
pub(crate) struct Manager<'a> {
    session: Session,
    is_json: bool,
    output: &'a mut (dyn Write + Send),
}

impl<'a> Manager<'a> {
    /// Connects at the first call.
    ///
    /// # Errors
    /// Exit 2 when the server's URL cannot be used.
    pub(crate) fn new(args: &ServerArgs, output: &'a mut (dyn Write + Send)) -> Result<Self, Failure> {
        let key = args.key.clone().filter(|key| !key.expose().is_empty());
        let server = Server::parse(&args.server, key)?;
        Ok(Manager { session: Session::new(Arc::new(server)), is_json: args.json, output })
    }

    /// Whether answers are shown as they are.
    pub(crate) fn is_json(&self) -> bool {
        self.is_json
    }

    /// Makes a call; `purpose` completes "the server refused to".
    ///
    /// # Errors
    /// Exit 3 when the server is away, breaks off or answers anything but 2xx.
    pub(crate) async fn call(&mut self, call: Call, purpose: &str) -> Result<Answer, Failure> {
        let answer = self.try_call(call).await?;
        if answer.status.is_success() { Ok(answer) } else { Err(answer.refusal(purpose)) }
    }

    /// Makes a call whose answer may have any status.
    ///
    /// # Errors
    /// Exit 3 when the server is away or breaks off.
    pub(crate) async fn try_call(&mut self, call: Call) -> Result<Answer, Failure> {
        self.session.call(call).await
    }

    /// Shows an answer: as it is, or as `text` reads it for people.
    ///
    /// # Errors
    /// Whatever `text` says.
    pub(crate) fn show(
        &mut self,
        answer: &Answer,
        text: impl FnOnce() -> Result<String, Failure>,
    ) -> Result<(), Failure> {
        if !self.is_json {
            self.print(&text()?);
        } else if !answer.body.is_empty() {
            self.print_bytes(&answer.body);
            self.print("\n");
        }
        Ok(())
    }

    /// Prints a text as it is. A reader that closed the output does not want it.
    pub(crate) fn print(&mut self, text: &str) {
        self.print_bytes(text.as_bytes());
    }

    fn print_bytes(&mut self, bytes: &[u8]) {
        let _closed = self.output.write_all(bytes);
    }
}

/// A call without a body.
pub(crate) fn bare(method: Method, path: impl Into<String>) -> Call {
    Call { method, path: path.into(), body: None, plugin_signature: None }
}

/// A call with an object as its body.
pub(crate) fn with_body(
    method: Method,
    path: impl Into<String>,
    body: serde_json::Map<String, Value>,
) -> Call {
    Call::json(method, path, &Value::Object(body))
}

/// An id as a part of a path. Ids hold nothing that would need escaping, so anything else is a slip of the hand, and is
/// told before it becomes another path.
///
/// # Errors
/// Exit 2, naming `what`.
pub(crate) fn segment<'t>(what: &str, text: &'t str) -> Result<&'t str, Failure> {
    let is_id = !text.is_empty()
        && text.len() <= SEGMENT_CHARS_MAX
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    if is_id {
        Ok(text)
    } else {
        Err(Failure::usage(format!("{what} must be 1 to {SEGMENT_CHARS_MAX} of A-Z a-z 0-9 _ -")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    #[test]
    fn what_is_no_id_never_becomes_a_path() {
        assert_eq!(segment("--channel", "0190F3A2-x_y").unwrap(), "0190F3A2-x_y");
        for bad in ["", "a/b", "..", "a?b", "a b", "é", &"a".repeat(129)] {
            let failure = segment("--channel", bad).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage, "{bad}");
            assert_eq!(failure.message, "--channel must be 1 to 128 of A-Z a-z 0-9 _ -");
        }
    }
}
