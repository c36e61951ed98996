//! Renders events from standard input, one a line, natively, or measures how long that takes:
//! `cargo run --release --example render < events.ndjson`, `... --example render -- --time 200000 < events.ndjson`.

use fanfare_cloudevents::CloudEvents;
use fanfare_plugin::{Event, Format};
use std::hint::black_box;
use std::io::Write as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let format = CloudEvents::configure("{}")?;
    let events = std::io::read_to_string(std::io::stdin())?;
    let render = |line: &str| {
        let event = Event::parse(line.as_bytes())?;
        format.render(&event)
    };
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, count] = arguments.as_slice()
        && flag == "--time"
    {
        let count: u32 = count.parse()?;
        for line in events.lines() {
            // Of a hundred runs, so that what else the machine does shows.
            let mut runs_us = Vec::new();
            for _ in 0..100 {
                let start = std::time::Instant::now();
                for _ in 0..count / 100 {
                    black_box(render(black_box(line)).map_err(|failure| format!("{failure:?}"))?);
                }
                runs_us.push(start.elapsed().as_secs_f64() * 1e6 / f64::from(count / 100));
            }
            runs_us.sort_by(f64::total_cmp);
            let [best, median] = [5, 50].map(|at| runs_us.get(at).copied().unwrap_or_default());
            println!("{} bytes: 5 of 100 runs within {best:.2} us, 50 within {median:.2} us", line.len());
        }
        return Ok(());
    }
    let mut out = std::io::stdout().lock();
    for line in events.lines() {
        for body in render(line).map_err(|failure| format!("{failure:?}"))?.0 {
            out.write_all(&body.bytes)?;
            out.write_all(b"\n")?;
        }
    }
    Ok(())
}
