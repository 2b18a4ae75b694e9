//! Which instructions the processor has: the only file that asks it.
//!
//! A kernel compiled for an instruction set is reached only through a proof token ([`Avx2`], [`Avx512`]), a value that
//! nothing but a successful check can make. `QLENS_KERNELS=scalar|avx2|avx512` forces a set, for tests and comparisons.

use std::fmt;

use super::error::KernelError;

/// A family of kernels. Ordered: later ones are faster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isa {
    /// Plain Rust: runs everywhere, the reference for the others.
    Scalar,
    /// 256-bit: AVX2, FMA, F16C, BMI1 and BMI2.
    Avx2,
    /// 512-bit: AVX-512 F, BW, VL, DQ and VNNI, and all of [`Isa::Avx2`].
    Avx512,
}

impl Isa {
    /// All of them, slowest first.
    pub const ALL: [Isa; 3] = [Isa::Scalar, Isa::Avx2, Isa::Avx512];

    /// The name that `QLENS_KERNELS` takes.
    pub const fn name(self) -> &'static str {
        match self {
            Isa::Scalar => "scalar",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
        }
    }

    /// Those that this machine runs, slowest first; never empty.
    pub fn available() -> impl DoubleEndedIterator<Item = Isa> {
        Isa::ALL.into_iter().filter(|isa| Level::new(*isa).is_some())
    }

    /// The fastest that this machine runs, or the one that `QLENS_KERNELS` names.
    ///
    /// # Errors
    /// If the variable holds an unknown name, or one of a set that doesn't run here.
    pub fn from_environment() -> Result<Isa, KernelError> {
        Self::choose(std::env::var_os("QLENS_KERNELS").map(|v| v.to_string_lossy().into_owned()).as_deref())
    }

    /// As [`Isa::from_environment`], with the variable's value given. An empty value counts as none.
    fn choose(wanted: Option<&str>) -> Result<Isa, KernelError> {
        let Some(name) = wanted.map(str::trim).filter(|name| !name.is_empty()) else {
            return Ok(Isa::available().next_back().unwrap_or(Isa::Scalar));
        };
        let isa = Isa::ALL.into_iter().find(|isa| isa.name().eq_ignore_ascii_case(name));
        let isa = isa.ok_or_else(|| KernelError::UnknownIsa { found: name.to_owned() })?;
        Level::require(isa).map(|_| isa)
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of kernels together with the proof that they may run.
#[derive(Clone, Copy, Debug)]
pub enum Level {
    /// Nothing needed.
    Scalar,
    /// See [`Isa::Avx2`].
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    /// See [`Isa::Avx512`].
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
}

impl Level {
    /// The proof for `isa`, if this machine runs it.
    pub fn new(isa: Isa) -> Option<Level> {
        match isa {
            Isa::Scalar => Some(Level::Scalar),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => Avx2::new().map(Level::Avx2),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => Avx512::new().map(Level::Avx512),
            #[cfg(not(target_arch = "x86_64"))]
            Isa::Avx2 | Isa::Avx512 => None,
        }
    }

    /// As [`Level::new`].
    ///
    /// # Errors
    /// If this machine doesn't run it: says what it does run.
    pub fn require(isa: Isa) -> Result<Level, KernelError> {
        Self::new(isa).ok_or_else(|| KernelError::IsaUnavailable {
            wanted: isa,
            available: Isa::available().map(Isa::name).collect::<Vec<_>>().join(", "),
        })
    }

    /// Which set it is.
    pub fn isa(self) -> Isa {
        match self {
            Level::Scalar => Isa::Scalar,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2(_) => Isa::Avx2,
            #[cfg(target_arch = "x86_64")]
            Level::Avx512(_) => Isa::Avx512,
        }
    }
}

/// Proof that AVX2, FMA, F16C, BMI1 and BMI2 are there.
///
/// Functions reached with it carry `#[target_feature(enable = "avx2,fma,f16c,bmi1,bmi2")]`: keep the lists equal.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy, Debug)]
pub struct Avx2 {
    vnni: bool,
}

#[cfg(target_arch = "x86_64")]
impl Avx2 {
    /// Asks the processor (the answer is cached by the standard library).
    pub fn new() -> Option<Self> {
        let there = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2");
        there.then(|| Self { vnni: is_x86_feature_detected!("avxvnni") })
    }

    /// Whether `avxvnni` (256-bit int8 dot products outside AVX-512) is there as well.
    pub fn has_vnni(self) -> bool {
        self.vnni
    }
}

/// Proof that AVX-512 F, BW, VL, DQ and VNNI are there, and all of [`Avx2`].
///
/// Functions reached with it carry
/// `#[target_feature(enable = "avx2,fma,f16c,bmi1,bmi2,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]`.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy, Debug)]
pub struct Avx512 {
    avx2: Avx2,
    bf16: bool,
}

#[cfg(target_arch = "x86_64")]
impl Avx512 {
    /// Asks the processor (the answer is cached by the standard library).
    pub fn new() -> Option<Self> {
        let avx2 = Avx2::new()?;
        let there = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vnni");
        there.then(|| Self { avx2, bf16: is_x86_feature_detected!("avx512bf16") })
    }

    /// The proof that it includes.
    pub fn avx2(self) -> Avx2 {
        self.avx2
    }

    /// Whether `avx512bf16` (bfloat16 dot products) is there as well.
    pub fn has_bf16(self) -> bool {
        self.bf16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_choose_or_are_refused() {
        assert_eq!(Isa::choose(Some("scalar")).unwrap(), Isa::Scalar);
        assert_eq!(Isa::choose(Some(" Scalar ")).unwrap(), Isa::Scalar);
        let best = Isa::available().next_back().unwrap();
        assert_eq!(Isa::choose(None).unwrap(), best);
        assert_eq!(Isa::choose(Some("")).unwrap(), best);
        let refused = Isa::choose(Some("sse9")).unwrap_err().to_string();
        assert_eq!(refused, "QLENS_KERNELS=sse9: unknown kernels (known: scalar, avx2, avx512)");
        for isa in Isa::ALL {
            match Level::new(isa) {
                Some(level) => assert_eq!(level.isa(), isa),
                None => assert!(Level::require(isa).unwrap_err().to_string().contains("this processor has scalar")),
            }
        }
    }

    /// Prints what runs here; `QLENS_EXPECT_ISA` names a set that must (on the machines where the gate runs).
    #[test]
    fn the_expected_instruction_set_runs_here() {
        let here: Vec<_> = Isa::available().map(Isa::name).collect();
        println!("kernels that run here: {}", here.join(", "));
        if let Ok(expected) = std::env::var("QLENS_EXPECT_ISA") {
            assert!(here.contains(&expected.as_str()), "QLENS_EXPECT_ISA={expected}, but here run only {here:?}");
        }
    }
}
