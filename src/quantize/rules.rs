//! What becomes of each tensor.

use super::Mix;
use super::state::{Part, State};
use crate::gguf::GgmlType;

/// What was asked for: a mix, and exceptions to it.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The mix.
    pub mix: Mix,
    /// All matrices get the mix's usual type.
    pub pure: bool,
    /// The output matrix stays as it is.
    pub leave_output: bool,
    /// The type of the output matrix (of the embedding table, where that is the output, too).
    pub output_type: Option<GgmlType>,
    /// The type of the embedding table.
    pub embedding_type: Option<GgmlType>,
    /// Types of the tensors in whose names a text occurs; the first that does counts.
    pub named: Vec<(String, GgmlType)>,
    /// Tensors that are quantized already may be quantized again.
    pub requantize: bool,
}

impl Rules {
    /// A mix without exceptions.
    pub fn new(mix: Mix) -> Rules {
        Rules {
            mix,
            pure: false,
            leave_output: false,
            output_type: None,
            embedding_type: None,
            named: Vec::new(),
            requantize: false,
        }
    }

    /// Whether a tensor is one of those that get smaller: matrices, but for small ones that matter.
    pub(super) fn takes(&self, name: &str, dims: &[usize]) -> bool {
        /// Parts of names of tensors that stay as they are.
        const KEPT: [&str; 8] = [
            "_norm.weight",
            "position_embd",
            "token_types",
            "pos_embd",
            ".rel_pos",
            ".patch_embd",
            ".patch_merger",
            "sam.n",
        ];
        let matrix = dims.iter().skip(1).any(|&d| d > 1);
        matrix
            && name.ends_with("weight")
            && !KEPT.iter().any(|part| name.contains(part))
            && !(self.leave_output && name == "output.weight")
    }

    /// The type of a tensor that is [taken](Rules::takes), and whether its shape forbade the one that was meant.
    pub(super) fn target(&self, name: &str, dims: &[usize], state: &mut State) -> (GgmlType, bool) {
        let (part, row_len) = (Part::of(name), dims[0]);
        match (part, self.embedding_type, self.output_type) {
            (Part::Embedding, Some(ty), _) | (Part::Output, _, Some(ty)) => return fitting(ty, row_len),
            _ => {}
        }
        let usual = self.mix.usual();
        if matches!(usual, GgmlType::F32 | GgmlType::F16 | GgmlType::BF16) {
            return (usual, false);
        }
        let named = self.named.iter().find(|(part, _)| name.contains(part)).map(|(_, ty)| *ty);
        let ty = match named {
            Some(ty) => ty,
            None if self.pure => usual,
            None => state.choose(self, part, row_len),
        };
        fitting(ty, row_len)
    }

    /// Whether a tensor comes to nothing in this type without an importance matrix.
    pub(super) fn needs_importance(&self, name: &str, ty: GgmlType) -> bool {
        use GgmlType::*;
        if matches!(Part::of(name), Part::Embedding | Part::Output) {
            return crate::quant::needs_importance(ty);
        }
        match ty {
            IQ3_XXS | IQ2_XXS | IQ2_XS | IQ2_S | IQ1_M | IQ1_S => true,
            Q2_K => self.mix == Mix::Q2_K_S,
            _ => false,
        }
    }
}

/// `ty`, or where rows aren't whole blocks of it, what llama.cpp takes instead.
fn fitting(ty: GgmlType, row_len: usize) -> (GgmlType, bool) {
    use GgmlType::*;
    let fits = |ty: GgmlType| row_len.is_multiple_of(ty.block_len());
    if fits(ty) {
        return (ty, false);
    }
    let smaller = match ty {
        IQ1_S | IQ1_M | IQ2_XXS | IQ2_XS | IQ2_S | IQ3_XXS | IQ3_S | IQ4_XS => IQ4_NL,
        Q2_0 | Q2_K | Q3_K | TQ1_0 | TQ2_0 | Q1_0 | NVFP4 => Q4_0,
        Q4_K => Q5_0,
        Q5_K => Q5_1,
        Q6_K => Q8_0,
        other => other,
    };
    (if fits(smaller) { smaller } else { F16 }, true)
}
