//! What a file's types are called together.

use crate::gguf::GgmlType;

/// A kind of file, by llama.cpp's names: most tensors have one type, some have better ones.
#[allow(non_camel_case_types, missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mix {
    F32,
    F16,
    BF16,
    Q8_0,
    Q6_K,
    Q5_K_M,
    Q5_K_S,
    Q5_1,
    Q5_0,
    Q4_K_M,
    Q4_K_S,
    Q4_1,
    Q4_0,
    IQ4_NL,
    IQ4_XS,
    MXFP4_MOE,
    NVFP4,
    Q3_K_L,
    Q3_K_M,
    Q3_K_S,
    IQ3_M,
    IQ3_S,
    IQ3_XS,
    IQ3_XXS,
    Q2_K,
    Q2_K_S,
    Q2_0,
    IQ2_M,
    IQ2_S,
    IQ2_XS,
    IQ2_XXS,
    TQ2_0,
    TQ1_0,
    IQ1_M,
    IQ1_S,
    Q1_0,
}

impl Mix {
    /// All of them, large ones first.
    pub const ALL: [Mix; 36] = {
        use Mix::*;
        [
            F32, F16, BF16, Q8_0, Q6_K, Q5_K_M, Q5_K_S, Q5_1, Q5_0, Q4_K_M, Q4_K_S, Q4_1, Q4_0, IQ4_NL, IQ4_XS,
            MXFP4_MOE, NVFP4, Q3_K_L, Q3_K_M, Q3_K_S, IQ3_M, IQ3_S, IQ3_XS, IQ3_XXS, Q2_K, Q2_K_S, Q2_0, IQ2_M, IQ2_S,
            IQ2_XS, IQ2_XXS, TQ2_0, TQ1_0, IQ1_M, IQ1_S, Q1_0,
        ]
    };

    /// Its number in `general.file_type`.
    pub fn number(self) -> u32 {
        use Mix::*;
        match self {
            F32 => 0,
            F16 => 1,
            Q4_0 => 2,
            Q4_1 => 3,
            Q8_0 => 7,
            Q5_0 => 8,
            Q5_1 => 9,
            Q2_K => 10,
            Q3_K_S => 11,
            Q3_K_M => 12,
            Q3_K_L => 13,
            Q4_K_S => 14,
            Q4_K_M => 15,
            Q5_K_S => 16,
            Q5_K_M => 17,
            Q6_K => 18,
            IQ2_XXS => 19,
            IQ2_XS => 20,
            Q2_K_S => 21,
            IQ3_XS => 22,
            IQ3_XXS => 23,
            IQ1_S => 24,
            IQ4_NL => 25,
            IQ3_S => 26,
            IQ3_M => 27,
            IQ2_S => 28,
            IQ2_M => 29,
            IQ4_XS => 30,
            IQ1_M => 31,
            BF16 => 32,
            TQ1_0 => 36,
            TQ2_0 => 37,
            MXFP4_MOE => 38,
            NVFP4 => 39,
            Q1_0 => 40,
            Q2_0 => 41,
        }
    }

    /// The type of most tensors.
    pub fn usual(self) -> GgmlType {
        use GgmlType as T;
        use Mix::*;
        match self {
            F32 => T::F32,
            F16 => T::F16,
            BF16 => T::BF16,
            Q8_0 => T::Q8_0,
            Q6_K => T::Q6_K,
            Q5_K_M | Q5_K_S => T::Q5_K,
            Q5_1 => T::Q5_1,
            Q5_0 => T::Q5_0,
            Q4_K_M | Q4_K_S => T::Q4_K,
            Q4_1 => T::Q4_1,
            Q4_0 => T::Q4_0,
            IQ4_NL => T::IQ4_NL,
            IQ4_XS => T::IQ4_XS,
            MXFP4_MOE => T::MXFP4,
            NVFP4 => T::NVFP4,
            Q3_K_L | Q3_K_M | Q3_K_S => T::Q3_K,
            IQ3_M | IQ3_S | IQ3_XS => T::IQ3_S,
            IQ3_XXS => T::IQ3_XXS,
            Q2_K | Q2_K_S => T::Q2_K,
            Q2_0 => T::Q2_0,
            IQ2_M => T::IQ2_S,
            IQ2_S | IQ2_XS => T::IQ2_XS,
            IQ2_XXS => T::IQ2_XXS,
            TQ2_0 => T::TQ2_0,
            TQ1_0 => T::TQ1_0,
            IQ1_M => T::IQ1_M,
            IQ1_S => T::IQ1_S,
            Q1_0 => T::Q1_0,
        }
    }

    /// Its name.
    pub fn name(self) -> String {
        format!("{self:?}")
    }

    /// The mix of a name, in any case; `Q3_K`, `Q4_K`, `Q5_K` and `MXFP4` are short for the usual one of theirs.
    pub fn from_name(name: &str) -> Option<Mix> {
        let name = name.to_ascii_uppercase();
        match name.as_str() {
            "Q3_K" => Some(Mix::Q3_K_M),
            "Q4_K" => Some(Mix::Q4_K_M),
            "Q5_K" => Some(Mix::Q5_K_M),
            "MXFP4" => Some(Mix::MXFP4_MOE),
            _ => Mix::ALL.into_iter().find(|mix| mix.name() == name),
        }
    }
}
