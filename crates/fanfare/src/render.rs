//! `fanfare render`: events to bodies, offline, in a built-in format or with a plugin.

use crate::exit::Failure;
use crate::send::lines::{LINE_BYTES_MAX, Line, read_line};
use bytes::Bytes;
use clap::Args;
use fanfare_core::EventId;
use fanfare_core::delivery::Rendered;
use fanfare_core::webhook::FormatName;
use fanfare_plugin_host::{OfflinePlugin, SHIPPED, inspect_component};
use fanfare_render::{parse_event, render_builtin};
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Flags of `fanfare render`.
#[derive(Args, Debug)]
pub(crate) struct RenderArgs {
    /// Payload format: DEFAULT, Z_API, a plugin in the binary, or one from --plugin or --plugins-dir
    #[arg(long, value_name = "NAME")]
    format: String,
    /// File with one JSON event per line; - for standard input
    file: PathBuf,
    /// The channel's own phone, which some Z_API bodies carry
    #[arg(long, value_name = "DIGITS")]
    channel_phone: Option<String>,
    /// The plugin of that format
    #[arg(long, value_name = "FILE", conflicts_with = "plugins_dir")]
    plugin: Option<PathBuf>,
    /// Folder of plugins (*.wasm), as plugins.dir; what it has goes before what is in the binary
    #[arg(long, value_name = "DIR")]
    plugins_dir: Option<PathBuf>,
    /// The plugin's settings, as plugins.settings.NAME would give them
    #[arg(long, value_name = "JSON", default_value = "{}")]
    settings: String,
    /// Say on standard error why an event has no body
    #[arg(long)]
    explain: bool,
}

/// Runs the command: one output line per event, a JSON array of its bodies.
///
/// # Errors
/// Exit 1 when an event could not be rendered (the others are), 2 when file or flags cannot be used.
pub(crate) fn run(args: &RenderArgs) -> Result<(), Failure> {
    let mut output = BufWriter::new(io::stdout().lock());
    let mut notes = io::stderr().lock();
    if args.file == Path::new("-") {
        return render(args, &mut io::stdin().lock(), &mut output, &mut notes);
    }
    let file = File::open(&args.file)
        .map_err(|error| Failure::usage(format!("cannot read {}: {error}", args.file.display())))?;
    render(args, &mut BufReader::with_capacity(256 * 1024, file), &mut output, &mut notes)
}

fn render(
    args: &RenderArgs,
    input: &mut dyn BufRead,
    output: &mut dyn Write,
    notes: &mut dyn Write,
) -> Result<(), Failure> {
    let mut format = Format::find(args)?;
    let phone = match &args.channel_phone {
        Some(phone) if phone.is_empty() || !phone.bytes().all(|byte| byte.is_ascii_digit()) => {
            return Err(Failure::usage("--channel-phone must be digits only, such as 5521988110022"));
        }
        phone => phone.as_deref(),
    };
    let cannot_write = |error: io::Error| Failure::work(format!("cannot write the bodies: {error}"));
    let mut line = Vec::new();
    let mut line_number = 0_u64;
    let mut failed = 0_u64;
    loop {
        line_number += 1;
        let found = read_line(input, &mut line)
            .map_err(|error| Failure::usage(format!("cannot read {}: {error}", args.file.display())))?;
        let result = match found {
            Line::End => break,
            Line::Blank => continue,
            Line::TooLong => Err(format!("line exceeds {LINE_BYTES_MAX} bytes")),
            Line::Event => render_line(&mut format, Bytes::copy_from_slice(&line), phone, line_number),
        };
        let (bodies, note) = match result {
            Ok((bodies, note)) => (bodies, note.filter(|_| args.explain)),
            Err(why) => {
                failed += 1;
                (Vec::new(), Some(why))
            }
        };
        if let Some(note) = note {
            // A reader that closed standard error does not want the notes.
            let _closed = writeln!(notes, "line {line_number}: {note}");
        }
        write_array(output, &bodies).map_err(cannot_write)?;
    }
    output.flush().map_err(cannot_write)?;
    match failed {
        0 => Ok(()),
        failed => Err(Failure::work(format!("{failed} lines could not be rendered"))),
    }
}

/// The bodies of one event, with a note when there are none.
fn render_line(
    format: &mut Format,
    envelope: Bytes,
    phone: Option<&str>,
    line_number: u64,
) -> Result<(Vec<Bytes>, Option<String>), String> {
    let parsed = parse_event(envelope).map_err(|error| error.to_string())?;
    let id = match parsed.id.clone() {
        Some(id) => id,
        None => EventId::parse(&format!("line-{line_number}")).map_err(|error| error.to_string())?,
    };
    let accepted_at_ms = parsed.occurred_at_ms.unwrap_or_default();
    let event = parsed.into_event(id, phone.map(Box::from), accepted_at_ms);
    let (rendered, is_json) = match format {
        Format::Builtin(name) => (render_builtin(name, &event), true),
        Format::Plugin(plugin) => (Some(plugin.render(&event)), false),
    };
    match rendered {
        Some(Rendered::Bodies(bodies)) => {
            let bodies =
                bodies.into_iter().map(|body| if is_json { body.bytes } else { as_json(body.bytes) });
            Ok((bodies.collect(), None))
        }
        Some(Rendered::Skipped { reason }) => Ok((Vec::new(), Some(format!("skipped: {reason}")))),
        Some(Rendered::Invalid { message }) => Err(format!("invalid event: {message}")),
        Some(Rendered::Fault { message } | Rendered::Later { message }) => Err(message),
        None => Err("the format is not built in".to_owned()),
    }
}

/// A plugin's body may be of any kind: what is not JSON stands in the array as a string.
fn as_json(body: Bytes) -> Bytes {
    if serde_json::from_slice::<serde::de::IgnoredAny>(&body).is_ok() {
        return body;
    }
    serde_json::Value::from(String::from_utf8_lossy(&body)).to_string().into()
}

/// What renders.
enum Format {
    Builtin(FormatName),
    Plugin(Box<OfflinePlugin>),
}

impl Format {
    /// What stands under the name, as in a server: built in, else in the folder, else in the binary.
    fn find(args: &RenderArgs) -> Result<Self, Failure> {
        let name = &args.format;
        let builtin = FormatName::parse(name).filter(FormatName::is_builtin);
        if let Some(builtin) = builtin {
            return match (&args.plugin, &args.plugins_dir) {
                (None, _) => Ok(Format::Builtin(builtin)),
                (Some(_), _) => Err(Failure::usage(format!("{name} is built in and takes no --plugin"))),
            };
        }
        let load = |bytes: &[u8], from: &str| {
            let plugin = OfflinePlugin::load(bytes, &args.settings)
                .map_err(|error| Failure::usage(format!("{from}: {error}")))?;
            Ok(Format::Plugin(Box::new(plugin)))
        };
        let read = |file: &Path| {
            std::fs::read(file)
                .map_err(|error| Failure::usage(format!("cannot read {}: {error}", file.display())))
        };
        if let Some(file) = &args.plugin {
            let (bytes, from) = (read(file)?, file.display().to_string());
            let own = name_of(&bytes).map_err(|why| Failure::usage(format!("{from}: {why}")))?;
            if own != *name {
                return Err(Failure::usage(format!("{from} is {own}, not {name}")));
            }
            return load(&bytes, &from);
        }
        let mut known = vec![FormatName::DEFAULT.to_owned(), FormatName::Z_API.to_owned()];
        for file in plugin_files(args.plugins_dir.as_deref())? {
            let bytes = read(&file)?;
            // One that is no plugin is left out, as in a server.
            let Ok(own) = name_of(&bytes) else { continue };
            if own == *name {
                return load(&bytes, &file.display().to_string());
            }
            known.push(own);
        }
        for bytes in SHIPPED {
            let Ok(own) = name_of(bytes) else { continue };
            if own == *name {
                return load(bytes, "the plugin in the binary");
            }
            known.push(own);
        }
        Err(Failure::usage(format!("no format is named {name}; known: {}", known.join(", "))))
    }
}

fn name_of(component: &[u8]) -> Result<String, String> {
    let manifest = inspect_component(component).and_then(|found| found.manifest);
    manifest.map(|manifest| manifest.name).map_err(|error| error.to_string())
}

/// In the order of their names, as a server loads them.
fn plugin_files(folder: Option<&Path>) -> Result<Vec<PathBuf>, Failure> {
    let Some(folder) = folder else { return Ok(Vec::new()) };
    let failed = |error: io::Error| Failure::usage(format!("cannot read {}: {error}", folder.display()));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        files.push(entry.map_err(failed)?.path());
    }
    files.retain(|file| file.extension().is_some_and(|extension| extension == "wasm"));
    files.sort();
    Ok(files)
}

/// One line whatever the bodies hold: a line break between JSON tokens is white space, and within a JSON text it
/// cannot stand unescaped, so a blank means the same.
fn write_array(output: &mut dyn Write, bodies: &[Bytes]) -> io::Result<()> {
    output.write_all(b"[")?;
    for (index, body) in bodies.iter().enumerate() {
        if index > 0 {
            output.write_all(b",")?;
        }
        for (piece_index, piece) in body.split(|byte| matches!(byte, b'\n' | b'\r')).enumerate() {
            if piece_index > 0 {
                output.write_all(b" ")?;
            }
            output.write_all(piece)?;
        }
    }
    output.write_all(b"]\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: RenderArgs,
    }

    fn rendered(flags: &[&str], input: &str) -> (Result<(), Failure>, String, String) {
        let line = ["render", "-"].into_iter().chain(flags.iter().copied());
        let args = Line::try_parse_from(line).unwrap_or_else(|error| panic!("{error}")).args;
        let (mut output, mut notes) = (Vec::new(), Vec::new());
        let result = render(&args, &mut input.as_bytes(), &mut output, &mut notes);
        (result, String::from_utf8(output).unwrap(), String::from_utf8(notes).unwrap())
    }

    #[test]
    fn default_bodies_are_the_payloads_one_line_each() {
        let input = concat!(
            r#"{"id":"a","type":"BLOCK","channelId":"C","payload":{"n": 1.0,"n":2}}"#,
            "\n\n",
            r#"{"type":"BLOCK","channelId":"C","payload":{}}"#,
        );
        let (result, output, notes) = rendered(&["--format", "DEFAULT"], input);
        assert_eq!(result, Ok(()));
        assert_eq!(output, "[{\"n\": 1.0,\"n\":2}]\n[{}]\n");
        assert_eq!(notes, "");
    }

    #[test]
    fn a_bad_line_is_told_by_number_and_the_others_are_rendered() {
        let input =
            "{\"type\":\"BLOCK\"}\n{\"type\":\"BLOCK\",\"channelId\":\"C\",\"payload\":{}}\nnonsense\n";
        let (result, output, notes) = rendered(&["--format", "DEFAULT"], input);
        assert_eq!(result, Err(Failure::work("2 lines could not be rendered")));
        assert_eq!(output, "[]\n[{}]\n[]\n");
        let lines: Vec<&str> = notes.lines().map(|line| line.split(": ").next().unwrap()).collect();
        assert_eq!(lines, ["line 1", "line 3"]);
    }

    #[test]
    fn skipped_events_print_an_empty_array_and_explain_themselves_on_demand() {
        // A status that is still pending: Z-API has no callback for it.
        let payload = concat!(
            r#"{"messageEventType":"MESSAGE_STATUS","message":{"_id":"1","channel_id":"C","created":1,"#,
            r#""metadata":{"from_me":true,"moment":1},"sender":{"identifier":"S"},"#,
            r#""recipient":{"identifier":"5531900000000"},"attachments":[],"#,
            r#""contents":[{"@class":".TextContent","type":"TEXT","message":"x","state_items":[]}]}}"#,
        );
        let input = format!(r#"{{"type":"MESSAGE_STATUS","channelId":"C","payload":{payload}}}"#);
        let (result, output, notes) = rendered(&["--format", "Z_API"], &input);
        assert_eq!((result, output.as_str(), notes.as_str()), (Ok(()), "[]\n", ""));
        let (_, _, notes) = rendered(&["--format", "Z_API", "--explain"], &input);
        assert_eq!(notes, "line 1: skipped: no_z_api_counterpart\n");
    }

    #[test]
    fn unknown_formats_and_phones_that_are_none_are_errors_of_usage() {
        for flags in [&["--format", "z_api"][..], &["--format", "Z_API", "--channel-phone", "+55"]] {
            let (result, output, _) = rendered(flags, "");
            assert_eq!(result.unwrap_err().exit, crate::exit::Exit::Usage, "{flags:?}");
            assert_eq!(output, "");
        }
    }

    #[test]
    fn a_plugin_in_the_binary_renders_and_one_that_is_not_known_is_told() {
        let input = r#"{"id":"a","type":"BLOCK","channelId":"C","payload":{"event":{"blocked":true}}}"#;
        let (result, output, notes) = rendered(&["--format", "CLOUDEVENTS"], input);
        assert_eq!((result, notes.as_str()), (Ok(()), ""));
        let bodies: serde_json::Value = serde_json::from_str(&output).unwrap();
        assert_eq!(bodies[0]["specversion"], "1.0", "{output}");
        let (result, ..) = rendered(&["--format", "NOWHERE"], input);
        let text = result.unwrap_err().message;
        assert!(text.starts_with("no format is named NOWHERE; known: DEFAULT, Z_API, CLOUDEVENTS"), "{text}");
        let (result, ..) = rendered(&["--format", "Z_API", "--plugin", "x.wasm"], input);
        assert_eq!(result.unwrap_err().message, "Z_API is built in and takes no --plugin");
    }

    #[test]
    fn a_body_that_is_not_json_is_a_string_in_the_array() {
        assert_eq!(as_json("{\"a\": 1}".into()), "{\"a\": 1}");
        assert_eq!(as_json("a=\"1\"\n".into()), r#""a=\"1\"\n""#);
    }

    #[test]
    fn a_body_written_over_lines_stays_one_line() {
        let mut output = Vec::new();
        write_array(&mut output, &["{\r\n}".into(), "1".into()]).unwrap();
        assert_eq!(output, b"[{  },1]\n");
    }
}
