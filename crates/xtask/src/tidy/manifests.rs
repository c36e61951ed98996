//! Arrows between crates (style.md section 1), and dependencies that belong to one crate.

use super::File;

/// Crates of ours that each crate may use in its product code. What is not listed here may use nothing.
const ARROWS: &[(&str, &[&str])] = &[
    ("fanfare-core", &[]),
    ("fanfare-signing", &[]),
    ("fanfare-render", &["fanfare-core"]),
    ("fanfare-engine", &["fanfare-core", "fanfare-render", "fanfare-signing"]),
    ("fanfare-store", &["fanfare-core"]),
    ("fanfare-cluster", &["fanfare-core"]),
    ("fanfare-egress", &["fanfare-core"]),
    ("fanfare-plugin-host", &["fanfare-core"]),
    // The face speaks the engine's words: parsed events and the texts of a new secret pass through it.
    ("fanfare-admin", &["fanfare-core", "fanfare-engine", "fanfare-render", "fanfare-signing"]),
    ("fanfare-testkit", &["fanfare-core"]),
    (
        "fanfare",
        &[
            "fanfare-core",
            "fanfare-render",
            "fanfare-signing",
            "fanfare-engine",
            "fanfare-store",
            "fanfare-cluster",
            "fanfare-egress",
            "fanfare-plugin-host",
            "fanfare-admin",
            // `fanfare bench`: no part of the engine, started as processes of its own.
            "fanfare-loadtest",
        ],
    ),
];

/// Dependencies with one owner: only it names them, tests included.
const OWNERS: &[(&str, &[&str])] = &[
    ("actix", &["fanfare-engine"]),
    ("actix-rt", &["fanfare-engine"]),
    ("heed", &["fanfare-store"]),
    ("axum", &["fanfare-admin"]),
    ("hickory-resolver", &["fanfare-egress"]),
    ("wasmtime", &["fanfare-plugin-host"]),
    ("async-nats", &["fanfare-cluster"]),
    ("clap", &["fanfare"]),
    ("toml", &["fanfare", "fanfare-loadtest"]),
    ("mimalloc", &["fanfare"]),
];

/// Crates that stay pure: no runtime, no network, not even by accident.
const PURE: &[&str] = &["fanfare-core", "fanfare-render", "fanfare-signing"];
const IMPURE: &[&str] = &["tokio", "actix", "hyper", "hyper-util", "futures-util", "tracing", "parking_lot"];

/// Members of the workspace that are not product code and may use anything of ours.
const FREE: &[&str] = &["fanfare-tests", "fanfare-benches", "fanfare-loadtest", "xtask"];

/// What a manifest says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Manifest {
    name: String,
    dependencies: Vec<String>,
    dev_dependencies: Vec<String>,
    takes_lints: bool,
}

pub(super) fn check(files: &[File]) -> Vec<String> {
    let manifests = files.iter().filter(|file| file.path != "Cargo.toml" && is_manifest(&file.path));
    manifests.flat_map(|file| check_one(&file.path, &read(&file.text))).collect()
}

/// Fuzz targets and plugins are workspaces of their own, with their own rules.
fn is_manifest(path: &str) -> bool {
    path.ends_with("/Cargo.toml") && !path.contains("/fuzz/") && !path.starts_with("plugins/")
}

fn check_one(path: &str, manifest: &Manifest) -> Vec<String> {
    let name = manifest.name.as_str();
    let mut found = Vec::new();
    let mut wrong = |text: String| found.push(format!("{path}: {text}"));
    let all = || manifest.dependencies.iter().chain(&manifest.dev_dependencies);
    if !manifest.takes_lints {
        wrong("does not take the workspace's lints ([lints] workspace = true)".into());
    }
    for (dependency, owners) in OWNERS {
        if all().any(|used| used == dependency) && !owners.contains(&name) {
            wrong(format!("names {dependency}, which belongs to {}", owners.join(", ")));
        }
    }
    if PURE.contains(&name) {
        for used in manifest.dependencies.iter().filter(|used| IMPURE.contains(&used.as_str())) {
            wrong(format!("is pure and names {used}"));
        }
    }
    if FREE.contains(&name) {
        return found;
    }
    let Some((_, arrows)) = ARROWS.iter().find(|(from, _)| *from == name) else {
        wrong(format!("{name} has no arrows in tidy; add it to the table after its design note"));
        return found;
    };
    for used in manifest.dependencies.iter().filter(|used| is_ours(used)) {
        if !arrows.contains(&used.as_str()) {
            wrong(format!("uses {used}; arrows point down only"));
        }
    }
    found
}

fn is_ours(name: &str) -> bool {
    name == "fanfare" || name.starts_with("fanfare-")
}

/// Reads as much TOML as our manifests have: a section a line, a key a line.
fn read(text: &str) -> Manifest {
    let mut manifest = Manifest::default();
    let mut section = String::new();
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name.to_owned();
            let table = section.rsplit_once("dependencies.").map(|(kind, name)| (kind, name.to_owned()));
            match table {
                Some(("", name)) => manifest.dependencies.push(name),
                Some(("dev-", name)) => manifest.dev_dependencies.push(name),
                _ => {}
            }
            continue;
        }
        let Some((key, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) else { continue };
        let (key, value) = (key.trim(), value.trim());
        let name = key.split('.').next().unwrap_or(key).trim_matches('"').to_owned();
        match section.as_str() {
            "package" if key == "name" => manifest.name = value.trim_matches('"').to_owned(),
            "lints" => manifest.takes_lints |= key == "workspace" && value == "true",
            "dependencies" => manifest.dependencies.push(name),
            "dev-dependencies" => manifest.dev_dependencies.push(name),
            _ => {}
        }
    }
    manifest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(name: &str, dependencies: &str, dev_dependencies: &str) -> File {
        let text = format!(
            "[package]\nname = \"{name}\"\n[lints]\nworkspace = true\n\n[dependencies]\n{dependencies}\n\n[dev-dependencies]\n{dev_dependencies}\n"
        );
        File { path: format!("crates/{name}/Cargo.toml"), text }
    }

    fn found(name: &str, dependencies: &str, dev_dependencies: &str) -> Vec<String> {
        check(&[manifest(name, dependencies, dev_dependencies)])
    }

    #[test]
    fn manifests_are_read_in_each_way_a_dependency_is_written() {
        let text = concat!(
            "[package]\nname = \"x\"\nversion.workspace = true\n[lints]\nworkspace = true\n",
            "[dependencies]\na.workspace = true\nb = \"1\"\nc = { version = \"1\", features = [\"d\"] }\n# e = \"1\"\n",
            "[dependencies.f]\nversion = \"1\"\n[dev-dependencies]\ng = \"1\"\n[features]\nh = []\n",
        );
        let expected = Manifest {
            name: "x".into(),
            dependencies: ["a", "b", "c", "f"].map(str::to_owned).to_vec(),
            dev_dependencies: vec!["g".into()],
            takes_lints: true,
        };
        assert_eq!(read(text), expected);
    }

    #[test]
    fn arrows_that_point_up_are_found() {
        assert_eq!(found("fanfare-render", "fanfare-core.workspace = true", ""), [""; 0]);
        let up = found("fanfare-core", "fanfare-engine.workspace = true", "");
        assert_eq!(up, ["crates/fanfare-core/Cargo.toml: uses fanfare-engine; arrows point down only"]);
        assert_eq!(found("fanfare-egress", "", "fanfare-testkit.workspace = true"), [""; 0]);
        assert_eq!(found("fanfare-new", "", "").len(), 1);
    }

    #[test]
    fn testkit_is_only_ever_a_dev_dependency() {
        assert_eq!(found("fanfare-engine", "fanfare-testkit.workspace = true", "").len(), 1);
    }

    #[test]
    fn dependencies_with_an_owner_are_named_by_it_alone() {
        assert_eq!(found("fanfare-engine", "actix.workspace = true", ""), [""; 0]);
        assert_eq!(
            found("fanfare-admin", "", "actix = \"1\""),
            ["crates/fanfare-admin/Cargo.toml: names actix, which belongs to fanfare-engine"]
        );
    }

    #[test]
    fn pure_crates_have_no_runtime() {
        assert_eq!(
            found("fanfare-signing", "tokio = \"1\"", ""),
            ["crates/fanfare-signing/Cargo.toml: is pure and names tokio"]
        );
    }

    #[test]
    fn lints_are_inherited() {
        let mut file = manifest("fanfare-core", "", "");
        file.text = file.text.replace("workspace = true", "workspace = false");
        assert_eq!(check(&[file]).len(), 1);
    }
}
