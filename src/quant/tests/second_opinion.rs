//! Every format here against ggml's own code, bit for bit, on blocks that models have and on those that they don't.

use proptest::prelude::*;

use super::super::{dequantize, encode, ggml, quantize_chunk};
use crate::gguf::GgmlType;

/// Those with code of our own.
const OURS: [GgmlType; 12] = {
    use GgmlType::*;
    [F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K]
};

/// Numbers of a row: a whole number of every block.
const ROW: usize = 512;

/// Where a block has half-precision numbers, every 2 bytes of it may be one: so extreme ones are put anywhere.
fn half() -> impl Strategy<Value = u16> {
    prop_oneof![
        4 => any::<u16>(),
        1 => prop_oneof![
            Just(0x7c00), Just(0xfc00), // infinities
            Just(0x7e00), Just(0xfe01), Just(0x7c01), // NaN, quiet and signalling
            Just(0x0000), Just(0x8000), Just(0x0001), Just(0x83ff), // zeros, denormals
            Just(0x7bff), Just(0xfbff), Just(0x0400), // the largest, the smallest normal one
        ],
    ]
}

fn bytes(len: usize) -> impl Strategy<Value = Vec<u8>> {
    let halves = prop::collection::vec(half(), len.div_ceil(2));
    halves.prop_map(move |h| h.iter().flat_map(|h| h.to_le_bytes()).take(len).collect())
}

/// The bits, all NaN alike: which of two NaN a product keeps is the processor's choice.
fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() }).collect()
}

fn agree(ty: GgmlType, bytes: &[u8]) -> Result<(), TestCaseError> {
    let (mut ours, mut theirs) = ([0.0; ROW], [0.0; ROW]);
    dequantize(ty, bytes, &mut ours).unwrap();
    ggml::dequantize(ty, bytes, &mut theirs).unwrap();
    prop_assert_eq!(bits(&ours), bits(&theirs), "{}", ty);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_blocks_give_the_same_numbers(bytes in bytes(ROW * 4)) {
        for ty in OURS {
            agree(ty, &bytes[..ty.row_bytes(ROW).unwrap()])?;
        }
    }

    #[test]
    fn rows_as_models_have_them_give_the_same_numbers(row in prop::collection::vec(-0.2f32..0.2, ROW)) {
        for ty in OURS {
            let mut bytes = vec![0; ty.row_bytes(ROW).unwrap()];
            quantize_chunk(ty, &row, ROW, None, &mut bytes).unwrap();
            agree(ty, &bytes)?;
        }
    }

    #[test]
    fn eight_bits_are_ggmls(row in prop::collection::vec(prop_oneof![-2f32..2.0, Just(0.0), Just(1e-41), -1e4f32..1e4], 64)) {
        let (mut ours, mut theirs) = ([0; 68], [0; 68]);
        encode(GgmlType::Q8_0, &row, &mut ours).unwrap();
        ggml::quantize_chunk(GgmlType::Q8_0, &row, 64, None, &mut theirs).unwrap();
        prop_assert_eq!(ours, theirs);
    }

    #[test]
    fn floats_are_rounded_as_ggml_rounds_them(row in prop::collection::vec(any::<f32>(), 1..200)) {
        for ty in [GgmlType::F32, GgmlType::F16, GgmlType::BF16] {
            let (mut ours, mut theirs) = (vec![0; row.len() * ty.block_bytes()], vec![0; row.len() * ty.block_bytes()]);
            let (a, b) = (
                quantize_chunk(ty, &row, row.len(), None, &mut ours),
                ggml::quantize_chunk(ty, &row, row.len(), None, &mut theirs),
            );
            prop_assert_eq!(a.is_ok(), b.is_ok(), "{}: {:?} {:?}", ty, a, b);
            if a.is_ok() {
                prop_assert_eq!(ours, theirs);
            }
        }
    }
}

/// Every half-precision scale there is, in the formats that have one at their start.
#[test]
fn every_scale_gives_the_same_numbers() {
    for ty in [GgmlType::Q4_0, GgmlType::Q4_1, GgmlType::Q5_0, GgmlType::Q5_1, GgmlType::Q8_0] {
        for scale in 0..=u16::MAX {
            let mut block: Vec<u8> = (0..ty.block_bytes() as u8).map(|i| i.wrapping_mul(37)).collect();
            block[..2].copy_from_slice(&scale.to_le_bytes());
            let (mut ours, mut theirs) = ([0.0; 32], [0.0; 32]);
            dequantize(ty, &block, &mut ours).unwrap();
            ggml::dequantize(ty, &block, &mut theirs).unwrap();
            assert_eq!(bits(&ours), bits(&theirs), "{ty}, scale {scale:#06x}");
        }
    }
}
