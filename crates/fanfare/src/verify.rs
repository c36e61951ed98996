//! `fanfare verify`: one request's signatures, checked from the command line.

use crate::clock::SystemClock;
use crate::exit::Failure;
use crate::signature::{self, Check, HUB_SIGNATURE, ReceiverSecret, Signatures};
use clap::Args;
use fanfare_core::ports::Clock as _;
use fanfare_signing::TOLERANCE_S;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::io::{Read, Write};

/// Largest body read, bytes: well above what a delivery can hold.
const BODY_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// Flags of `fanfare verify`.
#[derive(Args, Debug)]
pub(crate) struct VerifyArgs {
    /// Signing secret of the webhook: 64 hex digits or whsec_…; several during a rotation
    #[arg(long, required = true, env = "FANFARE_SECRET", hide_env_values = true)]
    secret: Vec<String>,
    /// A header of the request, 'Name: value'; give all of them, those that matter are picked
    #[arg(long = "header", short = 'H', value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// Value of the hub's signature header (sha256=…)
    #[arg(long, value_name = "VALUE")]
    signature: Option<String>,
    /// Name of the hub's signature header
    #[arg(long, value_name = "NAME", default_value = HUB_SIGNATURE)]
    signature_header: String,
    /// Value of webhook-id
    #[arg(long)]
    id: Option<String>,
    /// Value of webhook-timestamp
    #[arg(long, value_name = "UNIX_SECONDS")]
    timestamp: Option<String>,
    /// Value of webhook-signature (v1,…)
    #[arg(long, value_name = "VALUE")]
    webhook_signature: Option<String>,
    /// How far webhook-timestamp may be from now, both ways
    #[arg(long, value_name = "N", default_value_t = TOLERANCE_S)]
    tolerance_seconds: u64,
    /// Check as if it were this time, for a request kept from the past
    #[arg(long, value_name = "UNIX_SECONDS")]
    now: Option<u64>,
}

/// Runs the command.
///
/// # Errors
/// Exit 1 when a signature does not fit or none is there, 2 when the flags cannot be used.
pub(crate) fn run(args: &VerifyArgs) -> Result<(), Failure> {
    let mut body = Vec::new();
    std::io::stdin()
        .lock()
        .take(BODY_BYTES_MAX + 1)
        .read_to_end(&mut body)
        .map_err(|error| Failure::usage(format!("cannot read the body from standard input: {error}")))?;
    let now_s = args.now.unwrap_or_else(|| SystemClock::new().now().unix_seconds());
    let mut report = Vec::new();
    let result = verify(args, &body, now_s, &mut report);
    std::io::stdout()
        .write_all(&report)
        .map_err(|error| Failure::work(format!("cannot write to standard output: {error}")))?;
    result
}

fn verify(args: &VerifyArgs, body: &[u8], now_s: u64, report: &mut Vec<u8>) -> Result<(), Failure> {
    let body_bytes = u64::try_from(body.len()).unwrap_or(u64::MAX);
    if body_bytes > BODY_BYTES_MAX {
        return Err(Failure::usage(format!("body exceeds {BODY_BYTES_MAX} bytes")));
    }
    let secrets: Vec<_> =
        args.secret.iter().map(|text| ReceiverSecret::parse(text)).collect::<Result<_, _>>()?;
    let headers = headers(&args.headers)?;
    let mut signatures = Signatures::of(&headers, &args.signature_header);
    for (slot, given) in [
        (&mut signatures.hub, &args.signature),
        (&mut signatures.standard, &args.webhook_signature),
        (&mut signatures.id, &args.id),
        (&mut signatures.timestamp, &args.timestamp),
    ] {
        *slot = given.as_deref().or(*slot);
    }
    if signatures.hub.is_none() && signatures.standard.is_none() {
        return Err(Failure::usage(format!(
            "nothing to check: give --header '{}: …' or --header 'webhook-signature: …' (or --signature, --webhook-signature)",
            args.signature_header
        )));
    }
    let checks = signature::check(&secrets, signatures, body, now_s, args.tolerance_seconds);
    let failed = |_| Failure::work("cannot write the report");
    let mut is_good = true;
    for (name, found) in
        [(args.signature_header.as_str(), &checks.hub), (signature::WEBHOOK_SIGNATURE, &checks.standard)]
    {
        is_good &= !matches!(found, Some(Err(_)));
        writeln!(report, "{name}: {}", words(found.as_ref())).map_err(failed)?;
    }
    writeln!(report, "body: {body_bytes} bytes").map_err(failed)?;
    if is_good { Ok(()) } else { Err(Failure::work("not verified")) }
}

fn words(check: Option<&Check>) -> String {
    match check {
        None => "not given, not checked".into(),
        Some(Ok(())) => "verified".into(),
        Some(Err(why)) => format!("NOT VERIFIED: {why}"),
    }
}

fn headers(lines: &[String]) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    for line in lines {
        let bad = || {
            let name: String = line.chars().take_while(|c| *c != ':').take(64).collect();
            Failure::usage(format!("--header must read 'Name: value', not {name:?}"))
        };
        let (name, value) = line.split_once(':').ok_or_else(bad)?;
        let name = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| bad())?;
        headers.append(name, HeaderValue::from_str(value.trim()).map_err(|_| bad())?);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;
    use crate::signature::tests::signed;
    use clap::Parser;
    use fanfare_signing::secret_hex;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: VerifyArgs,
    }

    const KEY: [u8; 32] = [7; 32];
    const NOW_S: u64 = 1_790_000_000;

    fn checked(flags: &[&str], body: &[u8]) -> (Result<(), Failure>, String) {
        let secret = secret_hex(&KEY);
        let line = ["verify", "--secret", &secret].into_iter().chain(flags.iter().copied());
        let args = Line::try_parse_from(line).unwrap_or_else(|error| panic!("{error}")).args;
        let mut report = Vec::new();
        let result = verify(&args, body, NOW_S, &mut report);
        (result, String::from_utf8(report).unwrap())
    }

    /// `--header` flags as someone pastes them: all headers, also those that do not matter.
    fn pasted(body: &[u8]) -> Vec<String> {
        let mut flags = vec!["-H".to_owned(), "Content-Type: application/json".to_owned()];
        for (name, value) in &signed(&KEY, "e-1", NOW_S, body) {
            flags.extend(["--header".to_owned(), format!("{name}: {}", value.to_str().unwrap())]);
        }
        flags
    }

    #[test]
    fn a_request_of_the_engine_verifies_by_its_pasted_headers() {
        let flags = pasted(b"body");
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let (result, report) = checked(&flags, b"body");
        assert_eq!(result, Ok(()));
        assert_eq!(report, "X-Hub-Signature-256: verified\nwebhook-signature: verified\nbody: 4 bytes\n");
        let (result, report) = checked(&flags, b"bodY");
        assert_eq!(result.unwrap_err().exit, Exit::Work);
        assert!(report.contains("webhook-signature: NOT VERIFIED: no signature matches"), "{report}");
    }

    #[test]
    fn single_flags_do_instead_of_headers_and_beat_them() {
        let made = signed(&KEY, "e-1", NOW_S, b"x");
        let value = |name: &str| made.get(name).unwrap().to_str().unwrap();
        let time = NOW_S.to_string();
        let flags = ["--id", "e-1", "--timestamp", &time, "--webhook-signature", value("webhook-signature")];
        let (result, report) = checked(&flags, b"x");
        assert_eq!(result, Ok(()));
        assert!(report.starts_with("X-Hub-Signature-256: not given, not checked\n"), "{report}");
        let pasted = pasted(b"other body");
        let both: Vec<&str> = pasted
            .iter()
            .map(String::as_str)
            .chain(flags)
            .chain(["--signature", value("x-hub-signature-256")])
            .collect();
        assert_eq!(checked(&both, b"x").0, Ok(()));
    }

    #[test]
    fn nothing_to_check_and_malformed_headers_are_errors_of_usage() {
        for flags in [&[][..], &["-H", "X-Other: 1"], &["-H", "no colon"], &["-H", "a b: c"]] {
            let (result, report) = checked(flags, b"x");
            assert_eq!(result.unwrap_err().exit, Exit::Usage, "{flags:?}");
            assert_eq!(report, "");
        }
    }
}
