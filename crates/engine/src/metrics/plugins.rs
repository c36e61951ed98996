//! What plugins do, as they tell it themselves.

use super::{FORMATS_MAX, seconds};
use fanfare_core::ports::formats::{FormatMeters, FormatStanding, RENDER_US_BOUNDS};
use std::fmt::Write as _;

/// What is shown of one label `plugin`: a format's own numbers, or those of many together.
#[derive(Default)]
struct PluginSums {
    meters: FormatMeters,
    generation: u64,
    is_quarantined: bool,
}

impl PluginSums {
    /// Counters are added; of the rest the largest stands for all.
    fn add(&mut self, format: &FormatStanding) {
        let (sum, more) = (&mut self.meters, &format.meters);
        sum.renders += more.renders;
        sum.render_us_counts.iter_mut().zip(more.render_us_counts).for_each(|(sum, more)| *sum += more);
        sum.render_us_sum += more.render_us_sum;
        for (kind, count) in &more.faults {
            match sum.faults.iter_mut().find(|(known, _)| known == kind) {
                Some((_, sum)) => *sum += count,
                None => sum.faults.push((kind, *count)),
            }
        }
        sum.instances += more.instances;
        sum.memory_bytes_max = sum.memory_bytes_max.max(more.memory_bytes_max);
        self.generation = self.generation.max(format.generation);
        self.is_quarantined |= format.is_quarantined;
    }
}

/// One metric with a line for each plugin.
fn by_plugin(
    o: &mut String,
    plugins: &[(&str, PluginSums)],
    (kind, name, help): (&str, &str, &str),
    value: impl Fn(&PluginSums) -> u64,
) {
    let _ = writeln!(o, "# HELP {name} {help}\n# TYPE {name} {kind}");
    for (plugin, sums) in plugins {
        let _ = writeln!(o, "{name}{{plugin=\"{plugin}\"}} {}", value(sums));
    }
}

/// What plugins do. Names beyond [`FORMATS_MAX`] share `other`, which no format can be named, for names are upper-case.
pub(super) fn plugin_text(o: &mut String, formats: &[FormatStanding]) {
    let mut plugins: Vec<(&str, PluginSums)> = Vec::with_capacity(formats.len().min(FORMATS_MAX + 1));
    for (index, format) in formats.iter().enumerate() {
        if index <= FORMATS_MAX {
            let label = if index < FORMATS_MAX { format.name.as_str() } else { "other" };
            plugins.push((label, PluginSums::default()));
        }
        if let Some((_, sums)) = plugins.last_mut() {
            sums.add(format);
        }
    }
    let plugins = &plugins[..];
    let about = (
        "counter",
        "fanfare_plugin_renders_total",
        "Events rendered by a plugin, once per event and format.",
    );
    by_plugin(o, plugins, about, |sums| sums.meters.renders);
    let name = "fanfare_plugin_render_seconds";
    let _ = writeln!(o, "# HELP {name} Time of a rendering inside a plugin.\n# TYPE {name} histogram");
    for (plugin, sums) in plugins {
        let mut running = 0;
        for (bound, count) in RENDER_US_BOUNDS.into_iter().zip(sums.meters.render_us_counts) {
            running += count;
            let _ = writeln!(o, "{name}_bucket{{plugin=\"{plugin}\",le=\"{}\"}} {running}", seconds(bound));
        }
        let count: u64 = sums.meters.render_us_counts.iter().sum();
        let _ = writeln!(o, "{name}_bucket{{plugin=\"{plugin}\",le=\"+Inf\"}} {count}");
        let _ = writeln!(o, "{name}_sum{{plugin=\"{plugin}\"}} {}", seconds(sums.meters.render_us_sum));
        let _ = writeln!(o, "{name}_count{{plugin=\"{plugin}\"}} {count}");
    }
    let name = "fanfare_plugin_faults_total";
    let _ =
        writeln!(o, "# HELP {name} Renderings that failed inside a plugin, by kind.\n# TYPE {name} counter");
    for (plugin, sums) in plugins {
        for (kind, count) in &sums.meters.faults {
            let _ = writeln!(o, "{name}{{plugin=\"{plugin}\",kind=\"{kind}\"}} {count}");
        }
    }
    let about = ("counter", "fanfare_plugin_instances_total", "Instances of a plugin made anew.");
    by_plugin(o, plugins, about, |sums| sums.meters.instances);
    let about = (
        "gauge",
        "fanfare_plugin_memory_bytes_max",
        "The most memory an instance of a plugin had after a call.",
    );
    by_plugin(o, plugins, about, |sums| sums.meters.memory_bytes_max);
    let about = ("gauge", "fanfare_plugin_generation", "Rises with each change of a plugin.");
    by_plugin(o, plugins, about, |sums| sums.generation);
    let about =
        ("gauge", "fanfare_plugin_quarantined", "1: left alone after faults in a row; its deliveries wait.");
    by_plugin(o, plugins, about, |sums| u64::from(sums.is_quarantined));
}

#[cfg(test)]
mod tests {
    use super::*;
    use fanfare_core::ports::formats::FormatSource;
    use fanfare_core::webhook::FormatName;

    fn standing(name: &str, renders: u64) -> FormatStanding {
        let mut render_us_counts = [0; RENDER_US_BOUNDS.len() + 1];
        (render_us_counts[1], render_us_counts[RENDER_US_BOUNDS.len()]) = (renders - 1, 1);
        FormatStanding {
            name: FormatName::parse(name).expect("a name"),
            source: FormatSource::Api,
            version: "1.0.0".to_owned(),
            generation: renders,
            is_quarantined: renders == 7,
            former_version: None,
            meters: FormatMeters {
                renders,
                render_us_counts,
                render_us_sum: 1_500_000,
                faults: vec![("trap", 2), ("deadline", 0)],
                instances: 3,
                memory_bytes_max: renders * 1000,
            },
        }
    }

    #[test]
    fn a_plugin_has_its_own_lines() {
        let mut text = String::new();
        plugin_text(&mut text, &[standing("ALPHA", 5), standing("BETA", 7)]);
        for line in [
            "# TYPE fanfare_plugin_renders_total counter",
            "fanfare_plugin_renders_total{plugin=\"ALPHA\"} 5",
            "# TYPE fanfare_plugin_render_seconds histogram",
            "fanfare_plugin_render_seconds_bucket{plugin=\"ALPHA\",le=\"0.000008\"} 0",
            "fanfare_plugin_render_seconds_bucket{plugin=\"ALPHA\",le=\"0.000016\"} 4",
            "fanfare_plugin_render_seconds_bucket{plugin=\"ALPHA\",le=\"0.262144\"} 4",
            "fanfare_plugin_render_seconds_bucket{plugin=\"ALPHA\",le=\"+Inf\"} 5",
            "fanfare_plugin_render_seconds_sum{plugin=\"ALPHA\"} 1.500000",
            "fanfare_plugin_render_seconds_count{plugin=\"ALPHA\"} 5",
            "fanfare_plugin_faults_total{plugin=\"BETA\",kind=\"trap\"} 2",
            "fanfare_plugin_faults_total{plugin=\"BETA\",kind=\"deadline\"} 0",
            "fanfare_plugin_instances_total{plugin=\"BETA\"} 3",
            "fanfare_plugin_memory_bytes_max{plugin=\"BETA\"} 7000",
            "fanfare_plugin_generation{plugin=\"ALPHA\"} 5",
            "fanfare_plugin_quarantined{plugin=\"ALPHA\"} 0",
            "fanfare_plugin_quarantined{plugin=\"BETA\"} 1",
        ] {
            assert!(text.lines().any(|known| known == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn names_of_plugins_are_bounded_and_the_rest_is_counted_together() {
        let standings: Vec<_> =
            (0..FORMATS_MAX + 10).map(|at| standing(&format!("P{at}"), 1 + at as u64)).collect();
        let mut text = String::new();
        plugin_text(&mut text, &standings);
        let count = |start: &str| text.lines().filter(|line| line.starts_with(start)).count();
        assert_eq!(count("fanfare_plugin_renders_total{"), FORMATS_MAX + 1);
        let renders: u64 = (FORMATS_MAX as u64 + 1..=FORMATS_MAX as u64 + 10).sum();
        for line in [
            &*format!("fanfare_plugin_renders_total{{plugin=\"other\"}} {renders}"),
            "fanfare_plugin_faults_total{plugin=\"other\",kind=\"trap\"} 20",
            "fanfare_plugin_memory_bytes_max{plugin=\"other\"} 74000",
            "fanfare_plugin_generation{plugin=\"other\"} 74",
        ] {
            assert!(text.lines().any(|known| known == line), "{line} is not in\n{text}");
        }
    }
}
