//! The name of a file's quantization: `Q4_K_M`, `F16`, ….

use std::collections::HashMap;

use crate::gguf::Gguf;

/// llama.cpp's `LLAMA_FTYPE_…` by number (include/llama.h), and about how many bits a weight takes.
const TYPES: [(u64, &str, f64); 33] = [
    (0, "F32", 32.0),
    (1, "F16", 16.0),
    (2, "Q4_0", 4.55),
    (3, "Q4_1", 5.05),
    (7, "Q8_0", 8.5),
    (8, "Q5_0", 5.55),
    (9, "Q5_1", 6.05),
    (10, "Q2_K", 3.2),
    (11, "Q3_K_S", 3.6),
    (12, "Q3_K_M", 4.0),
    (13, "Q3_K_L", 4.3),
    (14, "Q4_K_S", 4.65),
    (15, "Q4_K_M", 4.9),
    (16, "Q5_K_S", 5.55),
    (17, "Q5_K_M", 5.7),
    (18, "Q6_K", 6.6),
    (19, "IQ2_XXS", 2.4),
    (20, "IQ2_XS", 2.6),
    (21, "Q2_K_S", 3.0),
    (22, "IQ3_XS", 3.5),
    (23, "IQ3_XXS", 3.3),
    (24, "IQ1_S", 2.0),
    (25, "IQ4_NL", 4.6),
    (26, "IQ3_S", 3.7),
    (27, "IQ3_M", 3.8),
    (28, "IQ2_S", 2.8),
    (29, "IQ2_M", 3.0),
    (30, "IQ4_XS", 4.4),
    (31, "IQ1_M", 2.1),
    (32, "BF16", 16.0),
    (36, "TQ1_0", 2.0),
    (37, "TQ2_0", 2.3),
    (38, "MXFP4", 4.4),
];

/// About how many bits a weight takes in files of this type; `None` for unknown types.
pub fn bits_per_weight(label: &str) -> Option<f64> {
    TYPES.iter().find(|(_, name, _)| name.eq_ignore_ascii_case(label)).map(|&(_, _, bits)| bits)
}

/// The type in a file's name, as it is known.
pub(super) fn type_in_name(name: &str) -> Option<&'static str> {
    let words = name.split(['-', '.', '/', ' ', ':']).rev();
    words.filter_map(|w| TYPES.iter().find(|(_, t, _)| t.eq_ignore_ascii_case(w))).map(|&(_, name, _)| name).next()
}

/// The type of a file: by its name, its metadata, or its tensors.
pub(super) fn type_of(name: &str, gguf: &Gguf) -> String {
    let by_number = |n: u64| TYPES.iter().find(|(number, _, _)| *number == n).map(|&(_, name, _)| name);
    let noted = || gguf.metadata().u64("general.file_type").ok().flatten().and_then(by_number);
    type_in_name(name).or_else(noted).map_or_else(|| commonest(gguf), str::to_owned)
}

/// The type with the most bytes.
fn commonest(gguf: &Gguf) -> String {
    let mut bytes: HashMap<String, usize> = HashMap::new();
    for tensor in gguf.tensors() {
        *bytes.entry(tensor.ty().name()).or_default() += tensor.bytes().len();
    }
    bytes.into_iter().max_by(|a, b| (a.1, &b.0).cmp(&(b.1, &a.0))).map_or_else(|| "?".to_owned(), |(name, _)| name)
}
