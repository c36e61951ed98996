//! `fanfare plugin new`: a starter project out of the binary.

use super::templates::{RUST_SDK, WIT};
use crate::exit::Failure;
use clap::{Args, ValueEnum};
use fanfare_core::webhook::FormatName;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Language of a project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Lang {
    /// 16 µs a render, 100 kB
    Rust,
    /// 3 µs a render, 4 kB
    C,
    /// 400 µs a render, 1.6 MB
    Js,
    /// 84 µs a render, 18 MB
    Python,
}

/// Flags of the command.
#[derive(Args, Debug)]
pub(super) struct NewArgs {
    /// Language
    #[arg(long)]
    lang: Lang,
    /// Name of the format: my-format, for MY_FORMAT
    name: String,
    /// Folder to make [default: the name]
    #[arg(long, value_name = "D")]
    dir: Option<PathBuf>,
}

pub(super) fn run(args: &NewArgs, output: &mut (dyn Write + Send)) -> Result<(), Failure> {
    let names = Names::of(&args.name)?;
    let folder = args.dir.clone().unwrap_or_else(|| PathBuf::from(&names.lower));
    check_folder(&folder)?;
    for (file, text) in args.lang.files() {
        write(&folder, file, &names.fill(text))?;
    }
    write(&folder, "wit/format.wit", WIT)?;
    if args.lang == Lang::Rust {
        for (file, text) in RUST_SDK {
            write(&folder.join("sdk"), file, text)?;
        }
    }
    let mut text = format!("$ cd {}\n", folder.display());
    for line in names.fill(args.lang.commands()).lines().filter(|line| !line.trim().is_empty()) {
        text.push_str(&format!("$ {line}\n"));
    }
    let _closed = output.write_all(text.as_bytes());
    Ok(())
}

/// The two forms of a format's name.
#[derive(Debug, PartialEq, Eq)]
struct Names {
    upper: String,
    lower: String,
}

impl Names {
    fn of(name: &str) -> Result<Self, Failure> {
        let upper = name.to_ascii_uppercase().replace('-', "_");
        let lower = upper.to_ascii_lowercase().replace('_', "-");
        let starts_well = lower.starts_with(|first: char| first.is_ascii_lowercase());
        let format = FormatName::parse(&upper).filter(|_| starts_well);
        let format = format.ok_or_else(|| {
            Failure::usage(format!(
                "{name:?} cannot be a format's name: a letter, then letters, digits, - or _, at most 64"
            ))
        })?;
        if format.is_builtin() {
            return Err(Failure::usage(format!("{upper} is a built-in format: choose another name")));
        }
        Ok(Names { upper, lower })
    }

    fn fill(&self, text: &str) -> String {
        text.replace("__NAME__", &self.upper).replace("__name__", &self.lower)
    }
}

/// Nothing of anybody's is overwritten.
fn check_folder(folder: &Path) -> Result<(), Failure> {
    let shown = folder.display();
    match fs::read_dir(folder) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(Failure::usage(format!("{shown} is not empty: choose another with --dir"))),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Failure::usage(format!("cannot use {shown}: {error}"))),
    }
}

fn write(folder: &Path, file: &str, text: &str) -> Result<(), Failure> {
    let path = folder.join(file);
    let failed = |error: std::io::Error| Failure::usage(format!("cannot write {}: {error}", path.display()));
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    fs::write(&path, text).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const LANGS: [(Lang, &str); 4] =
        [(Lang::Rust, "rust"), (Lang::C, "c"), (Lang::Js, "js"), (Lang::Python, "python")];

    fn files_of(folder: &Path, under: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                files_of(&path, under, found);
            } else {
                found.insert(path.strip_prefix(under).unwrap().to_str().unwrap().to_owned());
            }
        }
    }

    fn listed(files: &[super::super::templates::File]) -> BTreeSet<String> {
        files.iter().map(|(file, _)| (*file).to_owned()).collect()
    }

    #[test]
    fn nothing_of_a_template_is_left_out() {
        let plugins = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins"));
        for (lang, name) in LANGS {
            let folder = plugins.join("templates").join(name);
            let mut found = BTreeSet::new();
            files_of(&folder, &folder, &mut found);
            assert!(found.remove("COMMANDS"), "{name}");
            assert_eq!(listed(lang.files()), found, "{name}");
        }
        let folder = plugins.join("sdk-rust");
        let mut found = BTreeSet::new();
        files_of(&folder, &folder, &mut found);
        assert_eq!(listed(RUST_SDK), found);
    }

    #[test]
    fn a_project_has_its_name_everywhere_and_ends_in_a_test() {
        for (lang, _) in LANGS {
            let folder = tempfile::tempdir().unwrap();
            let dir = folder.path().join("made");
            let args = NewArgs { lang, name: "Shop-2".into(), dir: Some(dir.clone()) };
            let mut output = Vec::new();
            run(&args, &mut output).unwrap();
            let printed = String::from_utf8(output).unwrap();
            assert!(printed.lines().all(|line| line.starts_with("$ ")), "{printed}");
            assert_eq!(printed.lines().last(), Some("$ fanfare plugin test shop-2.wasm"));
            let mut files = BTreeSet::new();
            files_of(&dir, &dir, &mut files);
            assert!(files.contains("wit/format.wit") && files.contains("manifest.json"), "{files:?}");
            assert_eq!(files.contains("sdk/Cargo.toml"), lang == Lang::Rust);
            for file in &files {
                let text = fs::read_to_string(dir.join(file)).unwrap();
                assert!(!text.contains("__NAME__") && !text.contains("__name__"), "{lang:?} {file}");
            }
            let manifest: serde_json::Value =
                serde_json::from_str(&fs::read_to_string(dir.join("manifest.json")).unwrap()).unwrap();
            assert_eq!(manifest["name"], "SHOP_2");

            let again = run(&args, &mut Vec::new()).unwrap_err();
            assert!(again.message.ends_with("is not empty: choose another with --dir"), "{again}");
        }
    }

    #[test]
    fn names_that_no_format_can_have_are_refused() {
        assert_eq!(
            Names::of("my-format").unwrap(),
            Names { upper: "MY_FORMAT".into(), lower: "my-format".into() }
        );
        for bad in ["", "2shop", "-a", "a b", "../a", "é", "z-api", "DEFAULT", &"a".repeat(65)] {
            assert_eq!(Names::of(bad).unwrap_err().exit, crate::exit::Exit::Usage, "{bad}");
        }
    }
}
