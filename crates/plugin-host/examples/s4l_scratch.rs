//! scratch
#![allow(clippy::all, unreachable_pub, missing_docs)]
use fanfare_plugin_host::{Manifest, pack};
wasmtime::component::bindgen!({ path: "../../plugins/wit/v1", world: "plugin" });
use wasmtime::component::{Component, Linker};
use wasmtime::*;
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let read = |p: &str| std::fs::read(p).unwrap_or_else(|e| panic!("{p}: {e}"));
    match a[1].as_str() {
        "pack" => {
            let m: Manifest = serde_json::from_slice(&read(&a[2])).unwrap();
            std::fs::write(&a[4], pack(&read(&a[3]), &m).unwrap()).unwrap();
        }
        "run" => {
            // component, settings, events file: prints what comes
            let mut c = Config::new();
            c.wasm_component_model(true).epoch_interruption(true).max_wasm_stack(256 << 10);
            let e = Engine::new(&c).unwrap();
            let t = std::time::Instant::now();
            let comp = Component::from_binary(&e, &read(&a[2])).unwrap();
            eprintln!("compile {:?}", t.elapsed());
            let mem: usize = std::env::var("MEM").map_or(64, |m| m.parse().unwrap());
            let start = || {
                let mut s = Store::new(
                    &e,
                    StoreLimitsBuilder::new()
                        .memory_size(mem << 20)
                        .table_elements(100_000)
                        .instances(100)
                        .memories(20)
                        .tables(40)
                        .trap_on_grow_failure(true)
                        .build(),
                );
                s.limiter(|l| l);
                s.set_epoch_deadline(1 << 40);
                let t = std::time::Instant::now();
                let p = Plugin::instantiate(&mut s, &comp, &Linker::new(&e)).unwrap();
                let r = p.fanfare_format_format().call_configure(&mut s, &a[3]).unwrap();
                (s, p, r, t.elapsed())
            };
            let (mut s, p, r, took) = start();
            eprintln!("start {took:?} {r:?}");
            eprintln!("{:?}", p.fanfare_format_format().call_describe(&mut s).unwrap());
            for line in read(&a[4]).split(|b| *b == b'\n') {
                if line.is_empty() {
                    continue;
                }
                match p.fanfare_format_format().call_render(&mut s, line).unwrap() {
                    Ok(l) => {
                        for b in l {
                            println!(
                                "{} {:?} {:?}",
                                String::from_utf8_lossy(&b.body),
                                b.content_type,
                                b.headers
                            )
                        }
                    }
                    Err(f) => println!("{f:?}"),
                }
            }
            if let Some(n) = a.get(5) {
                let n: usize = n.parse().unwrap();
                let events: Vec<Vec<u8>> = read(&a[4])
                    .split(|b| *b == b'\n')
                    .filter(|l| !l.is_empty())
                    .map(<[u8]>::to_vec)
                    .collect();
                let t = std::time::Instant::now();
                let mut done = 0;
                for i in 0..n {
                    if let Err(e) = p.fanfare_format_format().call_render(&mut s, &events[i % events.len()]) {
                        eprintln!("died at {i}: {}", e.root_cause());
                        break;
                    }
                    done += 1;
                }
                eprintln!("reused {:.2} us over {done}", t.elapsed().as_secs_f64() * 1e6 / done as f64);
                let t = std::time::Instant::now();
                let k = (n / 100).max(5);
                for i in 0..k {
                    let (mut s, p, _, _) = start();
                    let _ = p.fanfare_format_format().call_render(&mut s, &events[i % events.len()]).unwrap();
                }
                eprintln!("fresh {:.2} us", t.elapsed().as_secs_f64() * 1e6 / k as f64);
            }
        }
        _ => panic!(),
    }
}
