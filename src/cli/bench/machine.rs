//! What the figures were measured on.

use serde::Serialize;

/// A description of this machine, as far as the system tells.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// The processor's name.
    pub cpu: Option<String>,
    /// Processors that this program may use.
    pub cpus: usize,
    /// Physical cores among them.
    pub cores: usize,
    /// Memory in bytes.
    pub memory_bytes: Option<u64>,
    /// Operating system and architecture.
    pub system: String,
}

impl Machine {
    /// This one.
    pub fn here() -> Machine {
        Machine {
            cpu: cpu_name(),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            cores: crate::kernels::physical_cores(),
            memory_bytes: memory_bytes(),
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        }
    }

    /// In one line.
    pub fn in_words(&self) -> String {
        let cpu = self.cpu.as_deref().unwrap_or("an unknown processor");
        let memory =
            self.memory_bytes.map_or_else(String::new, |b| format!(", {:.0} GiB", b as f64 / (1u64 << 30) as f64));
        format!("{cpu}, {} cores{memory}, {}", self.cores, self.system)
    }
}

fn cpu_name() -> Option<String> {
    let info = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = info.lines().find(|l| l.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn memory_bytes() -> Option<u64> {
    let info = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = info.lines().find_map(|l| l.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}
