//! How much memory the run has taken.

/// The most memory that was resident at one time, in bytes, mapped weights included; `None` where the system doesn't say.
pub fn peak_resident_bytes() -> Option<u64> {
    // Linux: "VmHWM:     123456 kB".
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The memory that this process may use, in bytes: the machine's, or less in a container; `None` where the system doesn't say.
pub fn total_bytes() -> Option<u64> {
    use sysinfo::{MemoryRefreshKind, RefreshKind, System};
    let memory = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
    let system = System::new_with_specifics(memory).ok()?;
    let limit = system.cgroup_limits().map(|limits| limits.total_memory).filter(|&limit| limit > 0);
    let total = Some(system.total_memory()).filter(|&total| total > 0);
    limit.into_iter().chain(total).min()
}

/// A number of bytes as people say it: `812 kB`, `3.4 GB` (decimal, as file managers show sizes).
pub fn human_bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["bytes", "kB", "MB", "GB"] {
        if value < 999.5 {
            let decimals = usize::from(unit != "bytes" && value < 9.95);
            return format!("{value:.decimals$} {unit}");
        }
        value /= 1000.0;
    }
    format!("{value:.1} TB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_well() {
        let said = [0, 999, 1000, 9_949, 9_951, 812_345, 999_600, 3_400_000_000, 5_000_000_000_000].map(human_bytes);
        assert_eq!(said, ["0 bytes", "999 bytes", "1.0 kB", "9.9 kB", "10 kB", "812 kB", "1.0 MB", "3.4 GB", "5.0 TB"]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn linux_tells_how_much_there_is() {
        assert!(total_bytes().expect("it says") > 1 << 28);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn linux_tells_the_peak() {
        assert!(peak_resident_bytes().expect("VmHWM is there") > 1 << 20);
    }
}
