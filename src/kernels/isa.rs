//! Which instruction sets this processor has: the only file that asks it.

use super::KernelError;

/// A family of kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isa {
    /// Plain Rust; the reference for the others.
    Scalar,
    /// AVX2 with FMA and F16C.
    Avx2,
    /// AVX-512 F, BW, VL, DQ and VNNI, beside all of AVX2.
    Avx512,
}

/// Holding one proves that the processor has AVX2, FMA and F16C.
#[derive(Clone, Copy, Debug)]
pub struct Avx2(());

/// Holding one proves that the processor has AVX-512 F, BW, VL, DQ and VNNI, and AVX2, FMA and F16C.
#[derive(Clone, Copy, Debug)]
pub struct Avx512(());

impl Avx2 {
    /// The proof, where the processor has what it says.
    pub fn new() -> Option<Avx2> {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c") {
            return Some(Avx2(()));
        }
        None
    }
}

impl Avx512 {
    /// The proof, where the processor has what it says.
    pub fn new() -> Option<Avx512> {
        #[cfg(target_arch = "x86_64")]
        if Avx2::new().is_some()
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vnni")
        {
            return Some(Avx512(()));
        }
        None
    }
}

/// Holding one proves that the processor has the dot products of AVX-512 BF16, beside all of [`Avx512`].
#[derive(Clone, Copy, Debug)]
pub struct Avx512Bf16(());

impl Avx512Bf16 {
    /// The proof, where the processor has what it says.
    pub fn new() -> Option<Avx512Bf16> {
        #[cfg(target_arch = "x86_64")]
        if Avx512::new().is_some() && is_x86_feature_detected!("avx512bf16") {
            return Some(Avx512Bf16(()));
        }
        None
    }

    /// The proof of what it includes.
    pub fn avx512(self) -> Avx512 {
        Avx512(())
    }
}

impl Isa {
    /// All, the plainest first.
    pub const ALL: [Isa; 3] = [Isa::Scalar, Isa::Avx2, Isa::Avx512];

    /// Whether this processor can run it.
    pub fn is_available(self) -> bool {
        match self {
            Isa::Scalar => true,
            Isa::Avx2 => Avx2::new().is_some(),
            Isa::Avx512 => Avx512::new().is_some(),
        }
    }

    /// All that this processor can run, the plainest first.
    pub fn available() -> impl Iterator<Item = Isa> {
        Self::ALL.into_iter().filter(|isa| isa.is_available())
    }

    /// The best that this processor can run, or the one that `QLENS_KERNELS` asks for.
    ///
    /// # Errors
    /// `QLENS_KERNELS` names an unknown set, or one that this processor lacks.
    pub fn choose() -> Result<Isa, KernelError> {
        let best = Self::available().last().unwrap_or(Isa::Scalar);
        match std::env::var("QLENS_KERNELS") {
            Err(_) => Ok(best),
            Ok(name) if name.is_empty() => Ok(best),
            Ok(name) => {
                let asked = Self::ALL.into_iter().find(|isa| isa.name() == name);
                let isa = asked.ok_or(KernelError::UnknownIsa { found: name })?;
                if isa.is_available() { Ok(isa) } else { Err(KernelError::MissingIsa { isa }) }
            }
        }
    }

    /// The name that `QLENS_KERNELS` takes.
    pub fn name(self) -> &'static str {
        match self {
            Isa::Scalar => "scalar",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
        }
    }
}

/// Physical cores that this process may use: hyper-threads share the arithmetic units, so more threads gain nothing.
pub fn physical_cores() -> usize {
    let allowed = std::thread::available_parallelism().map_or(1, usize::from);
    distinct_cores().map_or(allowed, |cores| cores.clamp(1, allowed))
}

/// Distinct (package, core) pairs in Linux's processor table.
fn distinct_cores() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let mut cores = std::collections::HashSet::new();
    let mut package = "";
    for line in text.lines() {
        let Some((key, value)) = line.split_once(':') else { continue };
        match key.trim() {
            "physical id" => package = value.trim(),
            "core id" => {
                cores.insert((package, value.trim()));
            }
            _ => {}
        }
    }
    if cores.is_empty() { None } else { Some(cores.len()) }
}
