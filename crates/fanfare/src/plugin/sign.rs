//! `fanfare plugin sign`: a detached signature beside the plugin.

use super::files;
use crate::exit::Failure;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use fanfare_plugin_host::{SigningKey, inspect_component};
use rand::TryRng as _;
use std::io::Write;
use std::path::PathBuf;

/// What stands before the seed in PKCS#8 (RFC 8410); its fifth byte is the version, and its second the length.
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
const PEM_BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const PEM_END: &str = "-----END PRIVATE KEY-----";

/// Flags of the command.
#[derive(Args, Debug)]
pub(super) struct SignArgs {
    /// The plugin
    file: PathBuf,
    #[command(flatten)]
    key: KeyArgs,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct KeyArgs {
    /// Sign with this key
    #[arg(long, value_name = "KEYFILE")]
    key: Option<PathBuf>,
    /// Make a key, keep it in this file, sign with it
    #[arg(long, value_name = "KEYFILE")]
    new_key: Option<PathBuf>,
}

pub(super) fn run(args: &SignArgs, output: &mut (dyn Write + Send)) -> Result<(), Failure> {
    let bytes = files::read_plugin(&args.file)?;
    let shown = args.file.display();
    let found = inspect_component(&bytes).map_err(|error| Failure::usage(format!("{shown}: {error}")))?;
    found.manifest.map_err(|error| Failure::usage(format!("{shown}: {error}")))?;
    let key = match (&args.key.key, &args.key.new_key) {
        (Some(file), _) => {
            let seed = seed(&files::read_key(file)?).ok_or_else(|| {
                Failure::usage(format!(
                    "{} is not an Ed25519 private key: PKCS#8 in PEM, or 64 hex digits",
                    file.display()
                ))
            })?;
            signing_key(&seed)?
        }
        (None, Some(file)) => {
            let mut seed = [0; 32];
            rand::rngs::SysRng
                .try_fill_bytes(&mut seed)
                .map_err(|error| Failure::work(format!("no randomness for a key: {error}")))?;
            files::write_secret(file, &pem(&seed))?;
            let _closed = writeln!(output, "key         {}", file.display());
            signing_key(&seed)?
        }
        (None, None) => return Err(Failure::usage("give --key or --new-key")),
    };
    let signature_file = files::signature_file(&args.file);
    let signature = hex::encode(key.sign(&bytes));
    files::write(&signature_file, format!("{signature}\n").as_bytes())?;
    let public = hex::encode(key.public());
    let _closed = writeln!(output, "signature   {}\npublic key  {public}", signature_file.display());
    Ok(())
}

fn signing_key(seed: &[u8; 32]) -> Result<SigningKey, Failure> {
    SigningKey::from_seed(seed).ok_or_else(|| Failure::usage("the key cannot be used"))
}

fn pem(seed: &[u8; 32]) -> String {
    let text = STANDARD.encode([&PKCS8_PREFIX[..], seed].concat());
    format!("{PEM_BEGIN}\n{text}\n{PEM_END}\n")
}

/// The seed of a key file: the same place in both versions of PKCS#8.
fn seed(file: &[u8]) -> Option<[u8; 32]> {
    let text = std::str::from_utf8(file).ok()?.trim();
    let mut seed = [0; 32];
    if hex::decode_to_slice(text, &mut seed).is_ok() {
        return Some(seed);
    }
    let base64 = text.strip_prefix(PEM_BEGIN)?.strip_suffix(PEM_END)?;
    let base64: String = base64.split_ascii_whitespace().collect();
    let der = STANDARD.decode(base64).ok()?;
    let (head, rest) = der.split_at_checked(PKCS8_PREFIX.len())?;
    // Its length and version may be others: the second version has the public key behind the seed.
    let is_key = head.first() == PKCS8_PREFIX.first()
        && head.get(2..4) == PKCS8_PREFIX.get(2..4)
        && head.get(4).is_some_and(|version| *version <= 1)
        && head.get(5..) == PKCS8_PREFIX.get(5..);
    rest.get(..32).filter(|_| is_key)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_in_every_form_it_has() {
        let key = [7; 32];
        assert_eq!(seed(pem(&key).as_bytes()), Some(key));
        assert_eq!(seed(format!("{}\n", "07".repeat(32)).as_bytes()), Some(key));
        // RFC 8410, section 10.3: the example, and the same with its public key.
        let standard = hex::decode("d4ee72dbf913584ad5b6d8f1f769f8ad3afe7c28cbf1d4fbe097a88f44755842");
        let standard = standard.unwrap();
        let one = "-----BEGIN PRIVATE KEY-----\n\
            MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
            -----END PRIVATE KEY-----\n";
        assert_eq!(seed(one.as_bytes()).unwrap().to_vec(), standard);
        for bad in
            ["", "07", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", &"zz".repeat(32)]
        {
            assert_eq!(seed(bad.as_bytes()), None, "{bad}");
        }
    }
}
