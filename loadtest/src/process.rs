//! What Linux tells of a process: processor time, memory, descriptors; and what we ask of it: processors to run on, a
//! signal when its parent goes, an end.

use crate::error::{Error, Trying as _};
use rustix::process::{Pid, Signal};
use rustix::thread::CpuSet;
use serde::{Deserialize, Serialize};
use std::fs;

/// One look at a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Usage {
    /// User and system time since its start, seconds, to a hundredth.
    pub(crate) cpu_s: f64,
    /// Anonymous resident memory, bytes: no mapped files, no page cache.
    pub(crate) anonymous_bytes: u64,
}

impl Usage {
    /// Of a process; `None` when it is gone.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let ticks = read_cpu_ticks(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?;
        let anonymous_bytes = read_anonymous(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)?;
        Some(Usage {
            cpu_s: as_float(ticks) / as_float(rustix::param::clock_ticks_per_second()),
            anonymous_bytes,
        })
    }

    /// Of this process.
    pub(crate) fn own() -> Self {
        Usage::of(std::process::id()).unwrap_or_default()
    }
}

/// Open descriptors of a process; with many it takes milliseconds to count them.
pub(crate) fn descriptor_count(pid: u32) -> u64 {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count) as u64
}

/// A count as a number to divide by.
#[expect(clippy::cast_precision_loss, reason = "counts of a run are far below 2^53")]
pub(crate) fn as_float(count: u64) -> f64 {
    count as f64
}

/// Fields 14 and 15 of `/proc/PID/stat`; the name in field 2 may hold spaces and brackets.
fn read_cpu_ticks(stat: &str) -> Option<u64> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    let mut fields = behind_name.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn read_anonymous(status: &str) -> Option<u64> {
    // A process that has ended and was not waited for has no memory lines.
    let Some(line) = status.lines().find_map(|line| line.strip_prefix("RssAnon:")) else { return Some(0) };
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// Called by a part for itself: it runs on these processors only, and ends when whoever started it does.
pub(crate) fn settle(processors: &[usize]) -> Result<(), Error> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(std::io::Error::from)
        .trying(|| "cannot ask to end with the parent".into())?;
    if processors.is_empty() {
        return Ok(());
    }
    let mut set = CpuSet::new();
    for processor in processors {
        if *processor >= CpuSet::MAX_CPU {
            return Err(Error::usage(format!("processor {processor} exceeds {}", CpuSet::MAX_CPU - 1)));
        }
        set.set(*processor);
    }
    rustix::thread::sched_setaffinity(None, &set)
        .map_err(std::io::Error::from)
        .trying(|| format!("cannot run on processors {processors:?}"))
}

/// Ends a process that we started, at once.
pub(crate) fn kill(pid: u32) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // It may have ended by itself.
        let _gone = rustix::process::kill_process(pid, Signal::KILL);
    }
}

/// Processors this process may run on.
pub(crate) fn processors() -> Vec<usize> {
    let set = rustix::thread::sched_getaffinity(None).unwrap_or_default();
    (0..CpuSet::MAX_CPU).filter(|processor| set.is_set(*processor)).collect()
}

/// The processor's name and the kernel's, for the report.
pub(crate) fn machine() -> String {
    let model = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    });
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let model = model.unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    format!("{} processors ({model}), Linux {}", processors().len(), kernel.trim())
}

/// As many open files as this process may have: every connection needs one.
pub(crate) fn raise_file_limit() {
    // What cannot be raised shows itself when a connection cannot be had.
    let _limit = rlimit::increase_nofile_limit(u64::MAX);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_read_behind_any_name() {
        let stat = "77 (a (very) bad) name) S 1 77 77 0 -1 4194560 300 0 0 0 120 34 0 0 20 0 4 0 100 1 2";
        assert_eq!(read_cpu_ticks(stat), Some(154));
        assert_eq!(read_cpu_ticks("77 (cut"), None);
    }

    #[test]
    fn anonymous_memory_is_read_in_bytes() {
        let status = "Name:\tx\nVmRSS:\t  9000 kB\nRssAnon:\t    1234 kB\nRssFile:\t 5 kB\n";
        assert_eq!(read_anonymous(status), Some(1234 * 1024));
        assert_eq!(read_anonymous("Name:\tx\nState:\tZ (zombie)\n"), Some(0));
    }

    #[test]
    fn this_process_has_memory_and_descriptors() {
        let usage = Usage::own();
        assert!(usage.anonymous_bytes > 0, "{usage:?}");
        assert!(descriptor_count(std::process::id()) > 2);
        assert!(Usage::of(u32::MAX).is_none());
        assert!(!processors().is_empty());
    }
}
