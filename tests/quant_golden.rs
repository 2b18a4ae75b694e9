//! Dequantization against the `gguf` package, to the bit. `scripts/make-quant-golden` makes the data.

use qlens::gguf::GgmlType;
use qlens::quant::dequantize;
use safetensors::SafeTensors;

#[test]
fn every_type_is_dequantized_to_the_bit() {
    let bytes = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/quants.safetensors")).unwrap();
    let golden = SafeTensors::deserialize(&bytes).unwrap();
    let mut failures = Vec::new();
    let mut compared = 0;
    for ty in GgmlType::ALL {
        let Ok(blocks) = golden.tensor(&format!("{ty}.blocks")) else { continue };
        let wanted = golden.tensor(&format!("{ty}.numbers")).unwrap();
        let wanted: Vec<f32> = wanted.data().chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
        let mut found = vec![0.0; wanted.len()];
        dequantize(ty, blocks.data(), &mut found).unwrap();
        compared += 1;
        for (i, (f, w)) in found.iter().zip(&wanted).enumerate() {
            // Infinite scales make NaN of either sign; nothing else may differ, not even a zero's sign.
            if f.to_bits() != w.to_bits() && !(f.is_nan() && w.is_nan()) {
                failures.push(format!("{ty} number {i}: {f} instead of {w}"));
                break;
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert_eq!(compared, 10, "types in the golden file");
}
