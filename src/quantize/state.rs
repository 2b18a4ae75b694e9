//! llama.cpp's rules for mixes: which tensors get better types than most. What is told here are facts about its files;
//! `tests.rs` and `bench/peer` hold them against it.

use super::{Mix, Rules};
use crate::gguf::GgmlType;

/// What a matrix does, as far as mixes care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Output,
    Embedding,
    /// Query, key and value in one.
    Fused,
    Value,
    Key,
    Query,
    AttentionOut,
    Up,
    Gate,
    Down,
    Other,
}

impl Part {
    pub fn of(name: &str) -> Part {
        const INSIDE: [(&str, Part); 8] = [
            ("attn_qkv.weight", Part::Fused),
            ("attn_v.weight", Part::Value),
            ("attn_k.weight", Part::Key),
            ("attn_q.weight", Part::Query),
            ("attn_output.weight", Part::AttentionOut),
            ("ffn_up", Part::Up),
            ("ffn_gate", Part::Gate),
            ("ffn_down", Part::Down),
        ];
        match name {
            "output.weight" => Part::Output,
            "token_embd.weight" => Part::Embedding,
            _ => INSIDE.iter().find(|(part, _)| name.contains(part)).map_or(Part::Other, |(_, part)| *part),
        }
    }

    /// Those that suffer most from few bits.
    pub fn is_value(self) -> bool {
        matches!(self, Part::Value | Part::Fused)
    }
}

/// What the rules ask of a model, and how far through it they are.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    /// Blocks of the language model; 0 for a vision model.
    pub layers: usize,
    /// Query heads per key head.
    pub group: usize,
    /// Tensors of values in the file.
    pub values: usize,
    /// Whether the embedding table is the output matrix, too.
    pub tied: bool,
    /// Whether an importance matrix is there.
    pub importance: bool,
    /// Plain Qwen2 of 80 blocks, whose values are small and matter more.
    pub large: bool,
    /// Tensors seen of each kind.
    pub seen_values: usize,
    pub seen_down: usize,
    pub seen_gate: usize,
    pub seen_up: usize,
}

/// Blocks at both ends, and every third between.
fn more_bits(layer: usize, layers: usize) -> bool {
    layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2
}

impl State {
    /// The type of the next matrix, whose rows are `row_len` long, before its shape is looked at.
    pub fn choose(&mut self, rules: &Rules, part: Part, row_len: usize) -> GgmlType {
        let mix = rules.mix;
        if part == Part::Output || self.tied && part == Part::Embedding {
            return rules.output_type.unwrap_or_else(|| output(mix, row_len));
        }
        if mix == Mix::MXFP4_MOE {
            // Only the experts of mixtures get its four bits; there are none in the models that run here.
            return GgmlType::Q8_0;
        }
        let better = match part {
            Part::Embedding => rules.embedding_type.or(embedding(mix)),
            _ if smallest(mix) => self.smallest(mix, part),
            Part::Value | Part::Fused => {
                let chosen = self.value(mix).unwrap_or(mix.usual());
                let few = matches!(chosen, GgmlType::Q3_K | GgmlType::Q4_K);
                Some(if self.large && few { GgmlType::Q5_K } else { chosen })
            }
            Part::Key | Part::Query => match mix {
                Mix::IQ3_XS => Some(GgmlType::IQ3_XXS),
                Mix::IQ3_XXS => Some(GgmlType::IQ2_S),
                _ => None,
            },
            Part::Down => self.down(mix),
            Part::AttentionOut => match mix {
                Mix::Q2_K => Some(GgmlType::Q3_K),
                Mix::IQ3_XXS => Some(GgmlType::IQ3_S),
                Mix::Q3_K_M | Mix::IQ3_M => Some(GgmlType::Q4_K),
                Mix::Q3_K_L => Some(GgmlType::Q5_K),
                _ => None,
            },
            Part::Gate => middle(mix, &mut self.seen_gate, self.layers),
            Part::Up => middle(mix, &mut self.seen_up, self.layers),
            Part::Output | Part::Other => None,
        };
        better.unwrap_or(mix.usual())
    }

    /// Values of the mixes that aren't the smallest.
    fn value(&mut self, mix: Mix) -> Option<GgmlType> {
        use GgmlType as T;
        let (seen, shared) = (self.seen_values, self.group >= 4);
        self.seen_values += 1;
        match mix {
            Mix::Q2_K => Some(if shared { T::Q4_K } else { T::Q3_K }),
            Mix::Q2_K_S | Mix::IQ3_XS | Mix::IQ3_S if shared => Some(T::Q4_K),
            Mix::IQ3_XXS if shared => Some(T::Q4_K),
            Mix::IQ3_XXS => Some(if self.importance { T::IQ3_XXS } else { T::IQ3_S }),
            Mix::IQ3_M => Some(T::Q4_K),
            Mix::Q3_K_M => Some(if seen < 2 { T::Q5_K } else { T::Q4_K }),
            Mix::Q3_K_L => Some(T::Q5_K),
            Mix::IQ4_NL | Mix::IQ4_XS if shared => Some(T::Q5_K),
            Mix::Q4_K_M | Mix::Q5_K_M if more_bits(seen, self.values) => Some(T::Q6_K),
            Mix::Q4_K_S if seen < 4 => Some(T::Q5_K),
            _ => None,
        }
    }

    /// The last matrix of each block.
    fn down(&mut self, mix: Mix) -> Option<GgmlType> {
        use GgmlType as T;
        let (layer, layers) = (self.seen_down, self.layers);
        self.seen_down += 1;
        let (first_eighth, plain) = (layer < layers / 8, !self.importance);
        match mix {
            Mix::Q2_K => Some(T::Q3_K),
            Mix::Q2_K_S if first_eighth => Some(T::Q4_K),
            Mix::IQ3_XXS if plain => Some(if first_eighth { T::Q4_K } else { T::Q3_K }),
            Mix::Q3_K_M => Some(if layer < layers / 16 { T::Q5_K } else { T::Q4_K }),
            Mix::IQ3_M if first_eighth => Some(T::Q4_K),
            Mix::Q3_K_L => Some(T::Q5_K),
            Mix::Q4_K_M | Mix::Q5_K_M if more_bits(layer, layers) => Some(T::Q6_K),
            Mix::IQ4_NL | Mix::IQ4_XS if first_eighth && plain => Some(T::Q5_K),
            Mix::Q4_K_S if first_eighth => Some(T::Q5_K),
            // Some models' first blocks get worse by an importance matrix in these.
            Mix::Q4_0 if first_eighth && self.importance => Some(T::Q4_1),
            Mix::Q5_0 if first_eighth && self.importance => Some(T::Q5_1),
            _ => None,
        }
    }

    /// All parts of the mixes of one and two bits, but for embedding and output.
    fn smallest(&mut self, mix: Mix, part: Part) -> Option<GgmlType> {
        use GgmlType as T;
        let two = matches!(mix, Mix::IQ2_S | Mix::IQ2_M);
        match part {
            _ if part.is_value() => {
                self.seen_values += 1;
                Some(if self.group >= 4 {
                    T::Q4_K
                } else if two {
                    T::IQ3_S
                } else {
                    T::Q2_K
                })
            }
            Part::Down => {
                self.seen_down += 1;
                let first_eighth = self.seen_down <= self.layers / 8;
                first_eighth.then_some(if two { T::IQ3_S } else { T::Q2_K })
            }
            Part::AttentionOut => match mix {
                Mix::IQ1_S | Mix::IQ1_M => Some(T::IQ2_XXS),
                _ => two.then_some(T::IQ3_S),
            },
            _ => None,
        }
    }
}

/// The mixes of one and two bits that aren't K-quants.
fn smallest(mix: Mix) -> bool {
    matches!(mix, Mix::IQ1_S | Mix::IQ1_M | Mix::IQ2_XXS | Mix::IQ2_XS | Mix::IQ2_S | Mix::IQ2_M)
}

/// The output matrix.
fn output(mix: Mix, row_len: usize) -> GgmlType {
    let usual = mix.usual();
    if mix == Mix::MXFP4_MOE || usual == GgmlType::Q8_0 || !row_len.is_multiple_of(usual.block_len()) {
        GgmlType::Q8_0
    } else if smallest(mix) || mix == Mix::IQ3_XXS {
        GgmlType::Q5_K
    } else {
        GgmlType::Q6_K
    }
}

/// The embedding table, where it isn't the output matrix.
fn embedding(mix: Mix) -> Option<GgmlType> {
    match mix {
        Mix::IQ2_XXS | Mix::IQ2_XS | Mix::IQ1_S | Mix::IQ1_M => Some(GgmlType::Q2_K),
        Mix::IQ2_S | Mix::IQ2_M | Mix::IQ3_XXS => Some(GgmlType::IQ3_S),
        Mix::TQ1_0 | Mix::TQ2_0 | Mix::Q2_0 => Some(GgmlType::Q4_K),
        _ => None,
    }
}

/// The other matrices of the feed-forward part: smaller in the middle of IQ3_XS.
fn middle(mix: Mix, seen: &mut usize, layers: usize) -> Option<GgmlType> {
    let layer = *seen;
    *seen += 1;
    let inside = layer >= layers / 8 && layer < 7 * layers / 8;
    (mix == Mix::IQ3_XS && inside).then_some(GgmlType::IQ3_XXS)
}
