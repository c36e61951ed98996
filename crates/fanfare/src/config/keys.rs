//! Every setting's name and type: what a file, the environment or a flag may say.

use std::fmt;

/// What a setting holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Any text.
    Text,
    /// `true` or `false`.
    Flag,
    /// A whole number, not negative.
    Count,
    /// A list of texts; in the environment separated by commas.
    Texts,
    /// A list of whole numbers; in the environment separated by commas.
    Counts,
    /// A table of tables, whose names are not known here; in the environment as a JSON object.
    Tables,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Text => "a text",
            Kind::Flag => "true or false",
            Kind::Count => "a whole number, not negative",
            Kind::Texts => "a list of texts",
            Kind::Counts => "a list of whole numbers, not negative",
            Kind::Tables => "a table of tables (in the environment a JSON object of objects)",
        })
    }
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    /// Levels separated by `.`.
    pub(crate) path: &'static str,
    /// What it holds.
    pub(crate) kind: Kind,
    /// Whether only the environment may say it, so that it is never written to a file.
    pub(crate) is_secret: bool,
}

const fn key(path: &'static str, kind: Kind) -> Key {
    Key { path, kind, is_secret: false }
}

/// All settings, in the order of `fanfare.example.toml`.
pub(crate) const KEYS: &[Key] = &[
    key("listen", Kind::Text),
    key("data_dir", Kind::Text),
    key("workers", Kind::Count),
    Key { path: "bootstrap_key", kind: Kind::Text, is_secret: true },
    key("master_key_file", Kind::Text),
    key("log.format", Kind::Text),
    key("log.level", Kind::Text),
    key("egress.allow_http", Kind::Flag),
    key("egress.allow", Kind::Texts),
    key("egress.deny", Kind::Texts),
    key("egress.ca_file", Kind::Text),
    key("egress.connections_max", Kind::Count),
    key("signing.header", Kind::Text),
    key("limits.backlog_deliveries", Kind::Count),
    key("limits.disk_bytes", Kind::Count),
    key("limits.connections", Kind::Count),
    key("limits.ingest_bytes", Kind::Count),
    key("limits.ingest_per_second", Kind::Count),
    key("limits.window_bytes", Kind::Count),
    key("limits.idempotency_ids", Kind::Count),
    key("limits.idempotency_seconds", Kind::Count),
    key("retry.schedule_seconds", Kind::Counts),
    key("retry.max_age_seconds", Kind::Count),
    key("gate.failures", Kind::Count),
    key("gate.shut_ms_first", Kind::Count),
    key("gate.shut_ms_max", Kind::Count),
    key("gate.disable_after_seconds", Kind::Count),
    key("attempts.successes", Kind::Text),
    key("retention.bodies_seconds", Kind::Count),
    key("retention.bodies_bytes", Kind::Count),
    key("retention.attempts_seconds", Kind::Count),
    key("retention.attempts_bytes", Kind::Count),
    key("retention.dead_letters_seconds", Kind::Count),
    key("retention.dead_letters_bytes", Kind::Count),
    key("plugins.dir", Kind::Text),
    key("plugins.require_signed", Kind::Flag),
    key("plugins.signing_keys", Kind::Texts),
    key("plugins.threads", Kind::Count),
    key("plugins.fresh", Kind::Texts),
    key("plugins.settings", Kind::Tables),
];

/// The setting of this name.
pub(crate) fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// Whether settings stand below this name.
pub(crate) fn is_section(path: &str) -> bool {
    KEYS.iter().any(|key| key.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
}

/// What to write instead of an unknown name: the nearest one, or all that stand beside it.
pub(crate) fn suggestion(unknown: &str) -> String {
    let nearest = KEYS
        .iter()
        .map(|key| (distance(key.path, unknown), key.path))
        .min()
        .filter(|(steps, path)| *steps <= path.len().max(unknown.len()) / 4 + 1);
    if let Some((_, path)) = nearest {
        return format!("did you mean {path}?");
    }
    let section = unknown.split('.').next().unwrap_or_default();
    let beside: Vec<&str> = KEYS
        .iter()
        .map(|key| key.path)
        .filter(|path| !is_section(section) || path.split('.').next() == Some(section))
        .collect();
    format!("known: {}", beside.join(", "))
}

/// Edits (insert, remove, replace one character) from one name to the other.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (line, left) in from.chars().enumerate() {
        let mut corner = line;
        let mut best = line + 1;
        let mut next = vec![best];
        for (right, above) in to.iter().zip(row.iter().skip(1)) {
            let replaced = corner + usize::from(left != *right);
            corner = *above;
            best = replaced.min(*above + 1).min(best + 1);
            next.push(best);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits() {
        for (from, to, steps) in
            [("", "", 0), ("", "ab", 2), ("kitten", "sitting", 3), ("listen", "listne", 2)]
        {
            assert_eq!(distance(from, to), steps, "{from} {to}");
            assert_eq!(distance(to, from), steps, "{to} {from}");
        }
    }

    #[test]
    fn suggestions_name_the_nearest_key_or_its_neighbours() {
        assert_eq!(suggestion("limits.conections"), "did you mean limits.connections?");
        assert_eq!(suggestion("egress.allow-http"), "did you mean egress.allow_http?");
        assert_eq!(suggestion("log.something_else"), "known: log.format, log.level");
        assert!(suggestion("zzzzzzzzzzzz").starts_with("known: listen, data_dir"));
    }

    #[test]
    fn sections_are_not_keys() {
        for key in KEYS {
            assert!(!is_section(key.path), "{}", key.path);
        }
        assert!(is_section("egress"));
        assert!(!is_section("egr"));
    }
}
