//! The shapes of the released models, and which tensor has which type in which kind of file.

use crate::gguf::GgmlType;

/// A pair of models to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spec {
    /// The shape.
    pub size: Size,
    /// The text model's types.
    pub text: TextTypes,
    /// The vision model's type.
    pub vision: VisionTypes,
}

/// Which shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// A few megabytes, for tests.
    Tiny,
    /// Qwen2.5-VL 3B.
    B3,
    /// Qwen2.5-VL 7B.
    B7,
}

/// How the text model's matrices are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextTypes {
    /// All Q4_0, the output matrix Q6_K.
    Q4_0,
    /// Q4_K, with Q6_K where llama.cpp's mix has it.
    Q4KM,
    /// All Q8_0.
    Q8_0,
    /// All F16.
    F16,
}

/// How the vision model's matrices are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VisionTypes {
    /// All F16.
    F16,
    /// Q8_0 where the row length allows it, else F16.
    Q8_0,
}

impl Spec {
    /// Reads `SIZE[:TYPE[:MMPROJ]]`, such as `3b`, `7b:q4_k_m`, `3b:q8_0:q8_0`.
    ///
    /// # Errors
    /// What may stand there.
    pub fn parse(typed: &str) -> Result<Spec, String> {
        let mut parts = typed.split(':').map(str::to_ascii_lowercase);
        let mut part = || parts.next().unwrap_or_default();
        let size = match part().as_str() {
            "tiny" => Size::Tiny,
            "3b" => Size::B3,
            "7b" => Size::B7,
            other => return Err(format!("size `{other}`: 3b, 7b, or tiny (for tests)")),
        };
        let text = match part().as_str() {
            "" | "q4_0" => TextTypes::Q4_0,
            "q4_k_m" => TextTypes::Q4KM,
            "q8_0" => TextTypes::Q8_0,
            "f16" => TextTypes::F16,
            other => return Err(format!("type `{other}`: q4_0, q4_k_m, q8_0 or f16")),
        };
        let vision = match part().as_str() {
            "" | "f16" => VisionTypes::F16,
            "q8_0" => VisionTypes::Q8_0,
            other => return Err(format!("mmproj type `{other}`: f16 or q8_0")),
        };
        if parts.next().is_some() {
            return Err("SIZE[:TYPE[:MMPROJ]] has three parts at most".into());
        }
        Ok(Spec { size, text, vision })
    }

    /// The text model's file.
    pub fn text_file(&self) -> String {
        format!("{}-{}.gguf", self.size.name(), self.text.name())
    }

    /// The vision model's file.
    pub fn vision_file(&self) -> String {
        let ty = if self.vision == VisionTypes::F16 { "f16" } else { "q8_0" };
        format!("mmproj-{}-{ty}.gguf", self.size.name())
    }
}

impl Size {
    /// As it stands in file names.
    pub fn name(self) -> &'static str {
        match self {
            Size::Tiny => "synthetic-tiny",
            Size::B3 => "synthetic-3b",
            Size::B7 => "synthetic-7b",
        }
    }

    /// The sizes.
    pub fn shape(self) -> Shape {
        let released = VisionShape { hidden: 1280, layers: 32, heads: 16, ffn: 3420 };
        match self {
            Size::Tiny => Shape {
                hidden: 256,
                layers: 4,
                heads: 4,
                kv_heads: 2,
                ffn: 512,
                tied: true,
                vocab: 2048,
                sections: [8, 12, 12],
                vision: VisionShape { hidden: 64, layers: 8, heads: 2, ffn: 100 },
            },
            Size::B3 => Shape {
                hidden: 2048,
                layers: 36,
                heads: 16,
                kv_heads: 2,
                ffn: 11008,
                tied: true,
                vocab: 151_936,
                sections: [16, 24, 24],
                vision: released,
            },
            Size::B7 => Shape {
                hidden: 3584,
                layers: 28,
                heads: 28,
                kv_heads: 4,
                ffn: 18944,
                tied: false,
                vocab: 152_064,
                sections: [16, 24, 24],
                vision: released,
            },
        }
    }
}

/// A language model's sizes, and its vision tower's.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub hidden: usize,
    pub layers: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub ffn: usize,
    /// Whether the output matrix is the embedding table.
    pub tied: bool,
    pub vocab: usize,
    /// M-RoPE sections; they add up to half of a head.
    pub sections: [u32; 3],
    pub vision: VisionShape,
}

/// A vision tower's sizes. Patches are 14 pixels wide, windows 112, each eighth block sees all.
#[derive(Clone, Copy, Debug)]
pub struct VisionShape {
    pub hidden: usize,
    pub layers: usize,
    pub heads: usize,
    pub ffn: usize,
}

impl TextTypes {
    /// As it stands in file names.
    pub fn name(self) -> &'static str {
        match self {
            TextTypes::Q4_0 => "q4_0",
            TextTypes::Q4KM => "q4_k_m",
            TextTypes::Q8_0 => "q8_0",
            TextTypes::F16 => "f16",
        }
    }

    /// llama.cpp's number for the mix, `general.file_type`.
    pub fn file_type(self) -> u32 {
        match self {
            TextTypes::F16 => 1,
            TextTypes::Q4_0 => 2,
            TextTypes::Q8_0 => 7,
            TextTypes::Q4KM => 15,
        }
    }

    /// Most matrices' type.
    pub fn usual(self) -> GgmlType {
        match self {
            TextTypes::Q4_0 => GgmlType::Q4_0,
            TextTypes::Q4KM => GgmlType::Q4_K,
            TextTypes::Q8_0 => GgmlType::Q8_0,
            TextTypes::F16 => GgmlType::F16,
        }
    }

    /// The type of the matrix that makes the logits: the embedding table, too, where that is tied.
    pub fn output(self) -> GgmlType {
        match self {
            TextTypes::Q4_0 | TextTypes::Q4KM => GgmlType::Q6_K,
            other => other.usual(),
        }
    }

    /// The type of `attn_v` and `ffn_down` in block `i` of `n`: the `_M` mix gives the first and last eighths, and each
    /// third block between them, more bits.
    pub fn sensitive(self, i: usize, n: usize) -> GgmlType {
        let more = i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2;
        if self == TextTypes::Q4KM && more { GgmlType::Q6_K } else { self.usual() }
    }
}

impl VisionTypes {
    /// The type of a matrix with rows of `cols`.
    pub fn of(self, cols: usize) -> GgmlType {
        if self == VisionTypes::Q8_0 && cols.is_multiple_of(32) { GgmlType::Q8_0 } else { GgmlType::F16 }
    }

    /// llama.cpp's number for the mix, `general.file_type`.
    pub fn file_type(self) -> u32 {
        if self == VisionTypes::F16 { 1 } else { 7 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_is_read() {
        let spec = |typed| Spec::parse(typed).expect(typed);
        assert_eq!(spec("3b"), Spec { size: Size::B3, text: TextTypes::Q4_0, vision: VisionTypes::F16 });
        assert_eq!(spec("7B:Q4_K_M"), Spec { size: Size::B7, text: TextTypes::Q4KM, vision: VisionTypes::F16 });
        assert_eq!(spec("3b:q8_0:q8_0").vision_file(), "mmproj-synthetic-3b-q8_0.gguf");
        for wrong in ["", "4b", "3b:q3", "3b:q4_0:q4_0", "3b:q4_0:f16:f16"] {
            assert!(Spec::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_mix_has_the_usual_share_of_larger_types() {
        let larger = (0..36).filter(|&i| TextTypes::Q4KM.sensitive(i, 36) == GgmlType::Q6_K).count();
        assert_eq!(larger, 18);
        assert!((0..36).all(|i| TextTypes::Q4_0.sensitive(i, 36) == GgmlType::Q4_0));
    }
}
