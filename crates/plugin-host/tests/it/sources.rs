//! The binary, the folder and the API under one name; signatures and settings.

use crate::guest::{Guest, Site, name, versioned, wait};
use bytes::Bytes;
use fanfare_core::ports::Formatter as _;
use fanfare_core::ports::formats::{FormatError, FormatSource, Formats as _};
use fanfare_plugin_host::{Manifest, SHIPPED, pack};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::json;

fn leaked(version: &str) -> &'static [u8] {
    Vec::leak(versioned(version))
}

fn drop_in(folder: &std::path::Path, file: &str, bytes: &[u8]) {
    let plugins = folder.join("plugins");
    std::fs::create_dir_all(&plugins).expect("folder");
    std::fs::write(plugins.join(file), bytes).expect("written");
}

#[test]
fn api_over_folder_over_binary_and_each_comes_back() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("plugins");
    let shipped = leaked("1.0.0");
    let site = Site::open_in(folder, |options| options.shipped = vec![shipped]);
    assert_eq!((site.text().as_str(), site.standing("ECHO").source), ("1.0.0", FormatSource::Shipped));
    let text = wait(site.formats.delete(name("ECHO"))).expect_err("in the binary").to_string();
    assert_eq!(text, "ECHO is in the binary and stays: put another version over it instead");
    assert!(matches!(wait(site.formats.rollback(name("ECHO"))), Err(FormatError::Conflict(_))));

    drop_in(site.folder.path(), "echo.wasm", &versioned("2.0.0"));
    let both = |options: &mut fanfare_plugin_host::FormatsOptions| {
        options.shipped = vec![shipped];
        options.folder = Some(path.clone());
    };
    let site = site.again(both);
    let standing = site.standing("ECHO");
    assert_eq!((standing.source, standing.version.as_str()), (FormatSource::Folder, "2.0.0"));
    assert_eq!(standing.generation, 2, "another one than at the last start");
    let text = wait(site.formats.delete(name("ECHO"))).expect_err("a file").to_string();
    assert_eq!(text, "ECHO is a file of plugins.dir: remove the file and restart");

    let standing = site.put("ECHO", &versioned("3.0.0")).expect("admitted");
    assert_eq!((standing.source, standing.generation), (FormatSource::Api, 3));
    assert_eq!(standing.former_version.as_deref(), Some("2.0.0"));
    assert!(site.formats.remains_without_api(&name("ECHO")));
    let site = site.again(both);
    assert_eq!(site.text(), "3.0.0");
    let back = wait(site.formats.rollback(name("ECHO"))).expect("rolled back");
    assert_eq!((back.source, back.version.as_str()), (FormatSource::Api, "2.0.0"));
    wait(site.formats.delete(name("ECHO"))).expect("removed");
    let standing = site.standing("ECHO");
    assert_eq!((standing.source, standing.generation), (FormatSource::Folder, 5));
    assert_eq!((site.text().as_str(), standing.former_version), ("2.0.0", None));

    // Without the folder the binary's is another change, and the same again is none.
    let site = site.again(|options| options.shipped = vec![shipped]);
    assert_eq!((site.text().as_str(), site.standing("ECHO").generation), ("1.0.0", 6));
    let site = site.again(|options| options.shipped = vec![shipped]);
    assert_eq!(site.standing("ECHO").generation, 6);
    // Gone and back is one as well.
    let site = site.again(|_| {});
    let site = site.again(|options| options.shipped = vec![shipped]);
    assert_eq!(site.standing("ECHO").generation, 7);
}

#[test]
fn a_file_that_is_refused_is_left_out_and_nothing_takes_its_place() {
    let folder = tempfile::tempdir().expect("folder");
    drop_in(folder.path(), "a.wasm", b"nothing");
    drop_in(folder.path(), "b.cwasm", &versioned("9.0.0"));
    drop_in(folder.path(), "c.wasm", &versioned("2.0.0"));
    drop_in(folder.path(), "d.wasm", &versioned("4.0.0"));
    let path = folder.path().join("plugins");
    let shipped = leaked("1.0.0");
    let open = |options: &mut fanfare_plugin_host::FormatsOptions| {
        options.folder = Some(path.clone());
        options.shipped = vec![shipped, SHIPPED[0]];
    };
    let site = Site::open_in(folder, open);
    assert_eq!(site.text(), "2.0.0", "the first file of a name");
    let site = site.again(|options| {
        open(options);
        options.signatures.is_required = true;
    });
    assert!(!site.formats.is_ready(&name("ECHO")), "not the binary's version instead");
    assert_eq!(site.standing("ECHO").source, FormatSource::Folder);
    assert!(site.formats.is_ready(&name("CLOUDEVENTS")));
}

#[test]
fn only_what_a_known_key_signed_is_taken_when_that_is_required() {
    let pair = |seed: u8| Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("a key");
    let key: [u8; 32] = pair(1).public_key().as_ref().try_into().expect("32 bytes");
    let component = versioned("1.0.0");
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("plugins");
    let require = |options: &mut fanfare_plugin_host::FormatsOptions| {
        options.signatures.is_required = true;
        options.signatures.keys = vec![key];
        options.folder = Some(path.clone());
    };
    drop_in(folder.path(), "echo.wasm", &component);
    let sign = |seed: u8| pair(seed).sign(&component).as_ref().to_vec();
    drop_in(folder.path(), "echo.wasm.sig", format!("{}\n", hex::encode(sign(1))).as_bytes());
    let site = Site::open_in(folder, require);
    assert_eq!(site.text(), "1.0.0");

    let put = |bytes: &[u8], signature: Option<Vec<u8>>| {
        let signature = signature.map(Bytes::from);
        wait(site.formats.put(name("ECHO"), Bytes::copy_from_slice(bytes), signature)).map(drop)
    };
    let text = |result: Result<(), FormatError>| result.expect_err("refused").to_string();
    assert_eq!(text(put(&component, None)), "it is not signed, and plugins.require_signed is on");
    let other = "its signature is of none of plugins.signing_keys";
    assert_eq!(text(put(&component, Some(sign(2)))), other);
    assert_eq!(text(put(&versioned("2.0.0"), Some(sign(1)))), other, "over exactly these bytes");
    assert_eq!(text(put(&component, Some(vec![0; 3]))), other);
    put(&component, Some(sign(1))).expect("admitted");

    drop_in(site.folder.path(), "echo.wasm.sig", b"not hex");
    let site = site.again(require);
    assert_eq!(site.standing("ECHO").source, FormatSource::Api, "its signature is kept with it");
    assert_eq!(site.text(), "1.0.0");
    wait(site.formats.delete(name("ECHO"))).expect("removed");
    assert!(!site.formats.is_ready(&name("ECHO")), "the file's signature is none");
}

/// Gives its settings as the body.
fn telling(edit: fn(&mut Manifest)) -> Vec<u8> {
    let guest = Guest {
        configure: "(memory.copy (i32.const 1600) (local.get $at) (local.get $size))
          (global.set $set (local.get $size))
          (i32.store8 (i32.const 160) (i32.const 0)) (i32.const 160)",
        fields: "(global $set (mut i32) (i32.const 0))",
        render: "(call $one (i32.const 1600) (global.get $set))",
        edit,
        ..Guest::default()
    };
    pack(&guest.core(), &guest.manifest()).expect("packs")
}

#[test]
fn settings_are_held_against_the_schema_and_reach_the_plugin() {
    let component = telling(|manifest| {
        manifest.settings_schema = Some(json!({
            "type": "object", "properties": {"token": {"type": "string"}}, "additionalProperties": false,
        }));
    });
    let with = |settings: serde_json::Value| {
        Site::open(|options| drop(options.settings.insert(name("ECHO"), settings)))
    };
    let site = with(json!({"token": "t"}));
    site.put("ECHO", &component).expect("admitted");
    assert_eq!(site.text(), r#"{"token":"t"}"#);
    let without = Site::empty();
    without.put("ECHO", &component).expect("admitted");
    assert_eq!(without.text(), "{}");

    let refused = |settings| with(settings).put("ECHO", &component).expect_err("refused").to_string();
    assert_eq!(
        refused(json!({"token": 5_123_123})),
        "plugins.settings.ECHO: settings.token is not of type string"
    );
    assert_eq!(refused(json!({"tokn": "t"})), "plugins.settings.ECHO: settings.tokn is not a setting of it");
    let unknown = telling(|manifest| manifest.settings_schema = Some(json!({"$ref": "https://example.com"})));
    assert!(without.put("ECHO", &unknown).expect_err("refused").to_string().contains("$ref"));
    let options = format!("{:?}", with(json!({"token": "hidden"})).formats);
    assert!(!options.contains("hidden"), "{options}");
}

#[test]
fn what_ships_is_admitted_as_it_is() {
    let site = Site::open(|options| options.shipped = SHIPPED.to_vec());
    let names: Vec<String> = site.formats.names().iter().map(|name| name.as_str().to_owned()).collect();
    assert_eq!(names, ["CLOUDEVENTS", "WHATSAPP_CLOUD"]);
    for shipped in &names {
        assert!(site.formats.is_ready(&name(shipped)), "{shipped}");
    }
}
