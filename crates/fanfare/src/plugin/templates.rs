//! The files that `fanfare plugin new` writes, in the binary. Made by hand; a test holds it against the folders.

use super::new::Lang;

/// Where a file goes in the project, and its text with placeholders.
pub(super) type File = (&'static str, &'static str);

macro_rules! files {
    ($folder:literal: $($file:literal),+ $(,)?) => {
        &[$(($file, include_str!(concat!("../../../../plugins/", $folder, "/", $file)))),+]
    };
}

impl Lang {
    /// What is copied into the project.
    pub(super) const fn files(self) -> &'static [File] {
        match self {
            Lang::C => files!("templates/c":
                ".gitignore",
                "README.md",
                "fanfare_plugin.h",
                "manifest.json",
                "plugin.c",
                "vectors/connected.bodies.json",
                "vectors/connected.event.json",
                "vectors/presence.event.json",
                "vectors/presence.skip",
                "vectors/text.bodies.json",
                "vectors/text.event.json",
            ),
            Lang::Js => files!("templates/js":
                ".gitignore",
                "README.md",
                "fanfare.js",
                "manifest.json",
                "package-lock.json",
                "package.json",
                "plugin.js",
                "vectors/connected.bodies.json",
                "vectors/connected.event.json",
                "vectors/presence.event.json",
                "vectors/presence.skip",
                "vectors/text.bodies.json",
                "vectors/text.event.json",
            ),
            Lang::Python => files!("templates/python":
                ".gitignore",
                "README.md",
                "fanfare.py",
                "manifest.json",
                "plugin.py",
                "vectors/connected.bodies.json",
                "vectors/connected.event.json",
                "vectors/presence.event.json",
                "vectors/presence.skip",
                "vectors/text.bodies.json",
                "vectors/text.event.json",
            ),
            Lang::Rust => files!("templates/rust":
                ".cargo/config.toml",
                ".gitignore",
                "Cargo.toml",
                "README.md",
                "manifest.json",
                "src/lib.rs",
                "vectors/connected.bodies.json",
                "vectors/connected.event.json",
                "vectors/presence.event.json",
                "vectors/presence.skip",
                "vectors/text.bodies.json",
                "vectors/text.event.json",
            ),
        }
    }

    /// The commands that build and test it, one a line.
    pub(super) const fn commands(self) -> &'static str {
        match self {
            Lang::C => include_str!("../../../../plugins/templates/c/COMMANDS"),
            Lang::Js => include_str!("../../../../plugins/templates/js/COMMANDS"),
            Lang::Python => include_str!("../../../../plugins/templates/python/COMMANDS"),
            Lang::Rust => include_str!("../../../../plugins/templates/rust/COMMANDS"),
        }
    }
}

/// The interface: every project has a copy.
pub(super) const WIT: &str = include_str!("../../../../plugins/wit/v1/format.wit");

/// What a Rust project depends on, copied as `sdk/`.
pub(super) const RUST_SDK: &[File] = files!("sdk-rust":
    "Cargo.toml",
    "README.md",
    "src/bindings.rs",
    "src/event.rs",
    "src/hub.rs",
    "src/json.rs",
    "src/lib.rs",
    "src/testing.rs",
    "src/time.rs",
    "wit/format.wit",
);
