//! Brings file, environment and flags together, and names whatever does not fit.

use super::Settings;
use super::keys::{self, Key, Kind};
use crate::exit::Failure;
use serde::Deserialize;
use std::ffi::OsString;
use std::fmt;
use toml::{Table, Value};

/// What begins the name of a setting in the environment.
const PREFIX: &str = "FANFARE_";

/// Names that begin like settings and are not: those that client commands read, and the two that say where settings
/// and the master key are.
const OTHER_NAMES: [&str; 5] =
    ["FANFARE_URL", "FANFARE_API_KEY", "FANFARE_SECRET", "FANFARE_CONFIG", "FANFARE_MASTER_KEY"];

/// Where settings come from. Read by the caller, so that loading has no world of its own.
#[derive(Default)]
pub(crate) struct Sources {
    /// Name and text of the file.
    pub(crate) file: Option<(String, String)>,
    /// The whole environment; what does not begin with `FANFARE_` is passed over.
    pub(crate) environment: Vec<(OsString, OsString)>,
    /// Key and value of each flag given.
    pub(crate) flags: Vec<(String, String)>,
}

/// Who said something, for messages.
enum Origin<'a> {
    File(&'a str),
    Environment(&'a str),
    Flag,
}

impl fmt::Display for Origin<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File(name) => write!(f, "in {name}"),
            Origin::Environment(name) => write!(f, "in the environment ({name})"),
            Origin::Flag => f.write_str("on the command line"),
        }
    }
}

/// The settings in force.
///
/// # Errors
/// [`crate::exit::Exit::Usage`], naming the key and what is expected of it.
pub(crate) fn load(sources: Sources) -> Result<Settings, Failure> {
    let mut merged = Table::new();
    if let Some((name, text)) = &sources.file {
        let table: Table = text.parse().map_err(|error| bad_file(name, text, &error))?;
        check_table(&table, "", name)?;
        merged = table;
    }
    for (name, value) in &sources.environment {
        let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else { continue };
        let name = format!("{PREFIX}{rest}");
        if OTHER_NAMES.contains(&name.as_str()) {
            continue;
        }
        let path = rest.to_lowercase().replace("__", ".");
        let origin = Origin::Environment(&name);
        let key = known(&path, &origin)?;
        let text = value
            .to_str()
            .ok_or_else(|| Failure::usage(format!("the value of {path} {origin} is not UTF-8")))?;
        put(&mut merged, key.path, parse(key, text, &origin)?);
    }
    for (path, text) in &sources.flags {
        let key = known(path, &Origin::Flag)?;
        if key.is_secret {
            return Err(Failure::usage(environment_only(key)));
        }
        put(&mut merged, key.path, parse(key, text, &Origin::Flag)?);
    }
    // Names and types were checked above; what is left are words of an enum and numbers too large for their type.
    let settings = Settings::deserialize(Value::Table(merged))
        .map_err(|error| Failure::usage(format!("settings: {}", error.message())))?;
    settings.check()?;
    Ok(settings)
}

fn known(path: &str, origin: &Origin<'_>) -> Result<&'static Key, Failure> {
    keys::find(path)
        .ok_or_else(|| Failure::usage(format!("unknown setting {path} {origin}; {}", keys::suggestion(path))))
}

fn environment_only(key: &Key) -> String {
    let name = format!("{PREFIX}{}", key.path.to_uppercase().replace('.', "__"));
    format!("{} is a secret and is taken from the environment only: set {name}", key.path)
}

/// The parser's message with its place, without its copy of the line (which may be a secret).
fn bad_file(name: &str, text: &str, error: &toml::de::Error) -> Failure {
    let line = error
        .span()
        .and_then(|span| text.get(..span.start))
        .map_or(1, |before| before.lines().count().max(1));
    Failure::usage(format!("{name} is not TOML near line {line}: {}", error.message()))
}

/// Holds a file's names and types against the table of keys.
fn check_table(table: &Table, prefix: &str, name: &str) -> Result<(), Failure> {
    let origin = Origin::File(name);
    for (word, value) in table {
        let path = format!("{prefix}{word}");
        if keys::is_section(&path) {
            let inner = value.as_table().ok_or_else(|| {
                Failure::usage(format!(
                    "{path} {origin} must be a table ([{path}]), not {}",
                    type_name(value)
                ))
            })?;
            check_table(inner, &format!("{path}."), name)?;
            continue;
        }
        let key = known(&path, &origin)?;
        if key.is_secret {
            return Err(Failure::usage(format!("{} (found {origin})", environment_only(key))));
        }
        if !fits(key.kind, value) {
            return Err(Failure::usage(format!(
                "{path} {origin} must be {}, not {}",
                key.kind,
                type_name(value)
            )));
        }
    }
    Ok(())
}

fn fits(kind: Kind, value: &Value) -> bool {
    let all = |kind| value.as_array().is_some_and(|values| values.iter().all(|value| fits(kind, value)));
    match kind {
        Kind::Text => value.is_str(),
        Kind::Flag => value.is_bool(),
        Kind::Count => value.as_integer().is_some_and(|number| number >= 0),
        Kind::Texts => all(Kind::Text),
        Kind::Counts => all(Kind::Count),
        Kind::Tables => value.as_table().is_some_and(|table| table.values().all(Value::is_table)),
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a text",
        Value::Integer(number) if *number < 0 => "a negative number",
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number with a fraction",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "this list",
        Value::Table(_) => "a table",
    }
}

/// Reads a value given as text: environment and flags. The settings' own types check what a list holds.
fn parse(key: &Key, text: &str, origin: &Origin<'_>) -> Result<Value, Failure> {
    let wrong = || Failure::usage(format!("{} {origin} must be {}", key.path, key.kind));
    // A list may be written as in the file, or plainly with commas.
    if matches!(key.kind, Kind::Texts | Kind::Counts) && text.trim_start().starts_with('[') {
        let mut table: Table = format!("value = {text}").parse().map_err(|_| wrong())?;
        return table.remove("value").ok_or_else(wrong);
    }
    let parts = || text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let count = |part: &str| part.parse().ok().filter(|number| *number >= 0).map(Value::Integer);
    match key.kind {
        Kind::Text => Ok(Value::String(text.to_owned())),
        Kind::Flag => text.parse().map(Value::Boolean).map_err(|_| wrong()),
        Kind::Count => count(text.trim()).ok_or_else(wrong),
        Kind::Texts => Ok(Value::Array(parts().map(|part| Value::String(part.to_owned())).collect())),
        Kind::Tables => {
            serde_json::from_str(text).ok().filter(|value| fits(Kind::Tables, value)).ok_or_else(wrong)
        }
        Kind::Counts => parts().map(count).collect::<Option<_>>().map(Value::Array).ok_or_else(wrong),
    }
}

fn put(table: &mut Table, path: &str, value: Value) {
    match path.split_once('.') {
        None => drop(table.insert(path.to_owned(), value)),
        Some((section, rest)) => {
            let inner = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
            // A section is a table: the file was checked, and nothing else writes here.
            if let Some(inner) = inner.as_table_mut() {
                put(inner, rest, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(file: &str, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Settings, Failure> {
        load(Sources {
            file: Some(("fanfare.toml".into(), file.into())),
            environment: environment.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect(),
            flags: flags.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect(),
        })
    }

    fn message(file: &str, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> String {
        let failure = from(file, environment, flags).expect_err(file);
        assert_eq!(failure.exit, crate::exit::Exit::Usage);
        failure.message
    }

    #[test]
    fn a_flag_beats_the_environment_and_the_environment_beats_the_file() {
        let file = "listen = \"file:1\"\nworkers = 1\n[egress]\nallow_http = true\n";
        let all =
            from(file, &[("FANFARE_LISTEN", "env:2"), ("FANFARE_WORKERS", "2")], &[("listen", "flag:3")])
                .unwrap();
        assert_eq!((all.listen.as_str(), all.workers, all.egress.allow_http), ("flag:3", 2, true));
        assert!(!from(file, &[("FANFARE_EGRESS__ALLOW_HTTP", "false")], &[]).unwrap().egress.allow_http);
    }

    #[test]
    fn unknown_names_are_errors_that_name_them() {
        for (got, expected) in [
            (
                message("listne = \"x\"", &[], &[]),
                "unknown setting listne in fanfare.toml; did you mean listen?",
            ),
            (
                message("[limits]\nconections = 1", &[], &[]),
                "unknown setting limits.conections in fanfare.toml; did you mean limits.connections?",
            ),
            (
                message("", &[("FANFARE_EGRESS__ALOW_HTTP", "true")], &[]),
                "unknown setting egress.alow_http in the environment (FANFARE_EGRESS__ALOW_HTTP); did you mean egress.allow_http?",
            ),
            (
                message("", &[("FANFARE_LOG", "debug")], &[]),
                "unknown setting log in the environment (FANFARE_LOG); known: log.format, log.level",
            ),
            (
                message("", &[], &[("log.colour", "x")]),
                "unknown setting log.colour on the command line; known: log.format, log.level",
            ),
        ] {
            assert_eq!(got, expected);
        }
    }

    #[test]
    fn wrong_types_name_the_key_and_what_is_expected() {
        for (got, expected) in [
            (message("listen = 8080", &[], &[]), "listen in fanfare.toml must be a text, not a whole number"),
            (
                message("workers = -1", &[], &[]),
                "workers in fanfare.toml must be a whole number, not negative, not a negative number",
            ),
            (
                message("egress = 1", &[], &[]),
                "egress in fanfare.toml must be a table ([egress]), not a whole number",
            ),
            (
                message("[egress]\nallow = [\"10.0.0.0/8\", 7]", &[], &[]),
                "egress.allow in fanfare.toml must be a list of texts, not this list",
            ),
            (
                message("", &[("FANFARE_WORKERS", "many")], &[]),
                "workers in the environment (FANFARE_WORKERS) must be a whole number, not negative",
            ),
            (
                message("", &[("FANFARE_EGRESS__ALLOW_HTTP", "yes")], &[]),
                "egress.allow_http in the environment (FANFARE_EGRESS__ALLOW_HTTP) must be true or false",
            ),
        ] {
            assert_eq!(got, expected);
        }
        assert!(message("[log]\nformat = \"xml\"", &[], &[]).contains("expected `text` or `json`"));
    }

    #[test]
    fn lists_are_separated_by_commas_in_the_environment() {
        let settings = from(
            "",
            &[
                ("FANFARE_EGRESS__ALLOW", "10.0.0.0/8, fd00::/8"),
                ("FANFARE_EGRESS__DENY", ""),
                ("FANFARE_RETRY__SCHEDULE_SECONDS", "1,2,3"),
            ],
            &[],
        )
        .unwrap();
        assert_eq!(settings.egress.allow, ["10.0.0.0/8", "fd00::/8"]);
        assert!(settings.egress.deny.is_empty());
        assert_eq!(settings.retry.schedule_seconds, [1, 2, 3]);
    }

    #[test]
    fn secrets_are_taken_from_the_environment_only() {
        let expected =
            "bootstrap_key is a secret and is taken from the environment only: set FANFARE_BOOTSTRAP_KEY";
        let file = message("bootstrap_key = \"hunter2hunter2hunter2\"", &[], &[]);
        assert_eq!(file, format!("{expected} (found in fanfare.toml)"));
        assert_eq!(message("", &[], &[("bootstrap_key", "hunter2hunter2hunter2")]), expected);
    }

    #[test]
    fn names_of_client_commands_are_no_settings() {
        for name in OTHER_NAMES {
            assert!(from("", &[(name, "x")], &[]).is_ok(), "{name}");
        }
    }

    #[test]
    fn a_broken_file_is_told_by_line_without_quoting_it() {
        let text = message("listen = \"a\"\nmaster_key_file = hunter2\n", &[], &[]);
        assert!(text.starts_with("fanfare.toml is not TOML near line 2: "), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
}
