//! Sizes, maps and words of source files.

use super::File;

/// Past this a file hides a second idea.
const LINES_MAX: usize = 500;

/// Files that are longer for a reason, with the reason.
const LONG_FILES: &[(&str, &str)] = &[];

/// Words with a better one (style.md section 2), as they appear in lower case, and the better one.
const WORDS: &[(&str, &str)] = &[
    ("circuit breaker", "gate"),
    ("circuitbreaker", "gate"),
    ("dead letter queue", "dead letter"),
    ("dlq", "dead letter"),
    ("endpoint", "webhook"),
    ("subscriber", "webhook"),
];

/// Texts that mark unfinished or unchecked work, written so that this file does not hold them.
const MARKS: &[(&str, &str)] = &[
    (concat!("TO", "DO"), "finish it, or say plainly what is absent"),
    (concat!("FIX", "ME"), "finish it, or say plainly what is absent"),
    (concat!("X", "XX"), "finish it, or say plainly what is absent"),
    (concat!("#[", "ignore"), "no ignored tests: assert today's behaviour with a note"),
    (concat!("#[", "allow("), "#[expect(lint, reason = \"...\")]"),
    (concat!("#![", "allow("), "#![expect(lint, reason = \"...\")]"),
];

/// Paths of one machine.
const MACHINE_PATHS: &[&str] = &[concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];

/// Who names hyper's client, and why others may.
const HYPER_CLIENT: &[(&str, &str)] = &[
    ("crates/egress/", "owns it"),
    ("crates/fanfare/src/client.rs", "command-line tools call our own API, not receivers"),
    ("crates/testkit/", "doubles for tests"),
    ("tests/", "tests drive servers"),
    ("benches/", "measures it"),
    ("loadtest/", "measures it"),
];

pub(super) fn check(files: &[File]) -> Vec<String> {
    let mut found = Vec::new();
    for file in files {
        let is_lock = file.path.ends_with("Cargo.lock");
        if !is_lock {
            found.extend(machine_paths(file));
        }
        if file.path.ends_with(".rs") {
            found.extend(size(file));
            found.extend(map(file));
            found.extend(marks(file));
            found.extend(sleeps(file));
            found.extend(words(file));
            found.extend(hyper_client(file));
        }
    }
    let gone = LONG_FILES.iter().filter(|(path, _)| !files.iter().any(|file| file.path == *path));
    found.extend(gone.map(|(path, _)| format!("{path}: is listed as long and is not there")));
    found
}

/// Each line with its number, at which `finds` says something.
fn by_line<'a>(
    file: &'a File,
    finds: impl Fn(&str) -> Option<String> + 'a,
) -> impl Iterator<Item = String> + 'a {
    (1_usize..)
        .zip(file.text.lines())
        .filter_map(move |(number, line)| Some(format!("{}:{number}: {}", file.path, finds(line)?)))
}

fn size(file: &File) -> Option<String> {
    let lines = file.text.lines().count();
    let is_listed = LONG_FILES.iter().any(|(path, _)| *path == file.path);
    match (lines > LINES_MAX, is_listed) {
        (true, false) => {
            Some(format!("{}: {lines} lines; past {LINES_MAX} look for a second idea", file.path))
        }
        (false, true) => Some(format!("{}: is listed as long and has {lines} lines", file.path)),
        _ => None,
    }
}

/// A crate opens with what it is.
fn map(file: &File) -> Option<String> {
    let is_root = file.path.starts_with("crates/")
        && file.path.matches('/').count() == 3
        && (file.path.ends_with("/src/lib.rs") || file.path.ends_with("/src/main.rs"));
    let has_map = file.text.starts_with("//!")
        && file.text.contains("What it is not")
        && file.text.contains("Where to start");
    (is_root && !has_map)
        .then(|| format!("{}: opens without its map (what it is, what it is not, where to start)", file.path))
}

fn marks(file: &File) -> impl Iterator<Item = String> + '_ {
    by_line(file, |line| {
        MARKS
            .iter()
            .find(|(mark, _)| has_mark(line, mark))
            .map(|(mark, better)| format!("`{mark}`: {better}"))
    })
}

/// A unit test that sleeps is slow and flaky: time is an argument, or paused. Tests in `tests/` start processes, whose
/// state can only be polled; product code may have a thread that waits.
fn sleeps(file: &File) -> impl Iterator<Item = String> + '_ {
    let tests_from = if file.path.ends_with("/tests.rs") || file.path.contains("/src/tests/") {
        Some(0)
    } else {
        file.text.find(concat!("#[cfg(", "test)]\nmod tests"))
    };
    let lines_before = tests_from.map(|at| file.text.get(..at).unwrap_or_default().lines().count());
    let found = by_line(file, |line| {
        line.contains(concat!("thread::", "sleep"))
            .then(|| "a unit test sleeps: wait for what is waited for".to_owned())
    });
    // `by_line` gives lines in order; those of product code are passed over by number.
    found.filter(move |text| {
        let number = text.split(':').nth(1).and_then(|number| number.parse::<usize>().ok());
        lines_before.zip(number).is_some_and(|(before, number)| number > before)
    })
}

/// Marks of letters count as whole words only.
fn has_mark(line: &str, mark: &str) -> bool {
    let is_word = mark.bytes().all(|byte| byte.is_ascii_alphabetic());
    line.match_indices(mark).any(|(at, _)| !is_word || is_whole_word(line, at, mark.len()))
}

fn is_whole_word(line: &str, at: usize, length: usize) -> bool {
    let is_letter = |c: char| c.is_alphanumeric();
    let before = line.get(..at).and_then(|text| text.chars().next_back());
    let after = line.get(at + length..).and_then(|text| text.chars().next());
    !before.is_some_and(is_letter) && !after.is_some_and(is_letter)
}

fn words(file: &File) -> impl Iterator<Item = String> + '_ {
    // This file lists them.
    let is_list = file.path == "crates/xtask/src/tidy/sources.rs";
    by_line(file, move |line| {
        let lower = line.to_lowercase();
        WORDS
            .iter()
            .find(|(word, _)| !is_list && lower.contains(word) && !is_foreign(&lower, word))
            .map(|(word, better)| format!("`{word}`: our word is {better}"))
    })
}

/// `tracing_subscriber` and the like are others' names.
fn is_foreign(lower: &str, word: &str) -> bool {
    ["tracing_subscriber", "tracing-subscriber"]
        .iter()
        .any(|name| name.contains(word) && lower.contains(name))
}

fn machine_paths(file: &File) -> impl Iterator<Item = String> + '_ {
    by_line(file, |line| {
        MACHINE_PATHS
            .iter()
            .find(|path| line.match_indices(**path).any(|(at, _)| is_path_start(line, at)))
            .map(|path| format!("`{path}`: a path of one machine"))
    })
}

/// The same folder inside a longer path, or behind the host of an address, is no path of a machine.
fn is_path_start(line: &str, at: usize) -> bool {
    line.get(..at)
        .and_then(|text| text.chars().next_back())
        .is_none_or(|c| !c.is_alphanumeric() && !"/.-_~".contains(c))
}

fn hyper_client(file: &File) -> impl Iterator<Item = String> + '_ {
    let is_allowed = HYPER_CLIENT.iter().any(|(path, _)| file.path.starts_with(path))
        || file.path.contains("/tests/")
        || file.path.ends_with("/tests.rs");
    by_line(file, move |line| {
        let is_named = [concat!("hyper::", "client"), concat!("hyper_util::", "client")]
            .iter()
            .any(|name| line.contains(name));
        (is_named && !is_allowed).then(|| "names hyper's client, which belongs to egress".to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        check(&[File { path: path.into(), text: text.into() }])
    }

    #[test]
    fn long_files_are_found() {
        assert_eq!(found("crates/a/src/b.rs", &"\n".repeat(LINES_MAX)), [""; 0]);
        assert_eq!(found("crates/a/src/b.rs", &"\n".repeat(LINES_MAX + 1)).len(), 1);
        assert_eq!(found("crates/a/data.json", &"\n".repeat(LINES_MAX + 1)), [""; 0]);
    }

    #[test]
    fn crates_open_with_their_map() {
        assert_eq!(found("crates/a/src/lib.rs", "//! A.\n").len(), 1);
        assert_eq!(
            found("crates/a/src/lib.rs", "//! A.\n//! What it is not: b.\n//! Where to start: c.\n"),
            [""; 0]
        );
        assert_eq!(found("crates/a/src/deep/main.rs", ""), [""; 0]);
    }

    #[test]
    fn marks_and_words_are_found_with_their_line() {
        let mark = concat!("TO", "DO");
        assert_eq!(found("a.rs", &format!("x\n// {mark}: later")).len(), 1);
        assert_eq!(found("a.rs", &format!("let {mark}S = 1;")), [""; 0]);
        assert_eq!(found("a.rs", concat!("#[", "allow(unused)]")).len(), 1);
        let word = concat!("End", "point");
        assert_eq!(found("a.rs", &format!("\nstruct {word};")), ["a.rs:2: `endpoint`: our word is webhook"]);
        let foreign = concat!("use tracing_sub", "scriber::fmt;");
        assert_eq!(found("a.rs", foreign), [""; 0]);
    }

    #[test]
    fn sleeping_unit_tests_are_found_and_waiting_threads_are_not() {
        let sleep = concat!("std::thread::", "sleep(x);\n");
        let tests = concat!("#[cfg(", "test)]\nmod tests {\n");
        assert_eq!(found("crates/a/src/b.rs", &format!("{sleep}{tests}}}\n")), [""; 0]);
        assert_eq!(
            found("crates/a/src/b.rs", &format!("{sleep}{tests}{sleep}}}\n")),
            ["crates/a/src/b.rs:4: a unit test sleeps: wait for what is waited for"]
        );
        assert_eq!(found("crates/a/src/b/tests.rs", sleep).len(), 1);
        assert_eq!(found("tests/recovery/main.rs", sleep), [""; 0]);
    }

    #[test]
    fn paths_of_one_machine_are_found() {
        let path = concat!("/ho", "me/someone/x");
        assert_eq!(found("README.md", &format!("see {path}")).len(), 1);
        assert_eq!(found("README.md", &format!("https://example.com{path}")), [""; 0]);
        assert_eq!(found("Cargo.lock", path), [""; 0]);
    }

    #[test]
    fn hypers_client_belongs_to_egress() {
        let text = concat!("use hyper::", "client::conn;");
        assert_eq!(found("crates/engine/src/a.rs", text).len(), 1);
        assert_eq!(found("crates/egress/src/a.rs", text), [""; 0]);
    }
}
