//! How many threads pay off: the physical cores that this process may use.
//!
//! The kernels are bound by the arithmetic units or by memory, both shared by the two threads of a core, so a second
//! thread per core only adds waiting. Three limits are respected, the least counts: the affinity mask, the quota of the
//! control group (both are in [`std::thread::available_parallelism`]) and the number of distinct cores behind the mask.

use std::collections::BTreeSet;
use std::fs;

/// Threads to use when nobody said otherwise: at least 1.
pub(super) fn default_threads() -> usize {
    let logical = available_threads();
    physical_cores().map_or(logical, |cores| cores.clamp(1, logical))
}

/// Threads that can run at the same time here (affinity and quota respected, hyperthreads counted): at least 1.
pub(super) fn available_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Distinct cores among the processors that this process may run on, from Linux's files; `None` elsewhere.
fn physical_cores() -> Option<usize> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    let mut cores = BTreeSet::new();
    for cpu in parse_list(allowed)? {
        let folder = format!("/sys/devices/system/cpu/cpu{cpu}/topology");
        let siblings = fs::read_to_string(format!("{folder}/core_cpus_list"))
            .or_else(|_| fs::read_to_string(format!("{folder}/thread_siblings_list")))
            .ok()?;
        cores.insert(siblings.trim().to_owned());
    }
    (!cores.is_empty()).then_some(cores.len())
}

/// The numbers of a kernel list such as `0-3,8,10-11`; `None` if it isn't one (or is absurdly long).
fn parse_list(text: &str) -> Option<Vec<u32>> {
    const MAX: u32 = 1 << 16;
    let mut numbers = Vec::new();
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if first > last || last >= MAX {
            return None;
        }
        numbers.extend(first..=last);
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_processors_parse() {
        assert_eq!(parse_list("\t0-3,8,10-11\n"), Some(vec![0, 1, 2, 3, 8, 10, 11]));
        assert_eq!(parse_list("5"), Some(vec![5]));
        for bad in ["", "a", "3-1", "1-99999999", "1,,2"] {
            assert_eq!(parse_list(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn some_core_is_there_and_no_more_than_threads() {
        let (cores, threads) = (default_threads(), available_threads());
        assert!(cores >= 1 && cores <= threads, "{cores} cores, {threads} threads");
    }
}
