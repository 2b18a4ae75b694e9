//! The safe layer holds what it promises, with every type and with numbers that no model has.

use ggml_sys::{Error, LARGEST, dequantize_row, quantize_chunk, row_size, type_traits, valid};
use proptest::prelude::*;

/// Numbers of all types that GGUF files know.
fn types() -> impl Iterator<Item = u32> {
    (0..64).filter(|&ty| type_traits(ty).is_some())
}

/// Types that rows can be quantized to.
fn targets() -> Vec<u32> {
    types().filter(|&ty| type_traits(ty).is_some_and(|t| t.quantizes)).collect()
}

#[test]
fn sizes_are_those_of_the_format() {
    let size = |ty| type_traits(ty).map(|t| (t.name, t.block_len, t.block_bytes));
    assert_eq!(size(12), Some(("q4_K", 256, 144)));
    assert_eq!(size(20), Some(("iq4_nl", 32, 18)));
    assert_eq!((size(4), size(31), size(1000)), (None, None, None));
    assert_eq!((row_size(12, 512), row_size(12, 100), row_size(0, usize::MAX)), (Some(288), None, None));
    assert_eq!(targets().len(), 28);
}

#[test]
fn what_ggml_would_abort_on_is_refused() {
    let row = [0.5f32; 256];
    let mut out = [0u8; 66];
    assert_eq!(quantize_chunk(16, &row, 256, None, &mut out), Err(Error::NeedsImportance));
    let short = Error::Length { numbers: 256, row_len: 256, bytes: 65 };
    assert_eq!(quantize_chunk(16, &row, 256, Some(&row), &mut out[..65]), Err(short));
    assert!(matches!(quantize_chunk(16, &row, 255, Some(&row), &mut out), Err(Error::Length { .. })));
    assert!(matches!(quantize_chunk(16, &row, 0, Some(&[]), &mut out), Err(Error::Length { .. })));
    assert_eq!(quantize_chunk(9, &row, 256, None, &mut out), Err(Error::Type { ty: 9 }));
    let mut odd = row;
    odd[7] = f32::NAN;
    assert!(matches!(quantize_chunk(16, &odd, 256, Some(&row), &mut out), Err(Error::Number { index: 7, .. })));
    assert!(matches!(quantize_chunk(16, &row, 256, Some(&odd), &mut out), Err(Error::Importance { index: 7, .. })));
    odd[7] = -1.0;
    assert!(matches!(quantize_chunk(16, &row, 256, Some(&odd), &mut out), Err(Error::Importance { index: 7, .. })));
    assert_eq!(quantize_chunk(1, &[1e6; 2], 2, None, &mut [0; 4]), Err(Error::Overflow));
    assert!(matches!(dequantize_row(12, &[0; 143], &mut [0.0; 256]), Err(Error::Length { .. })));
    assert!(matches!(dequantize_row(9, &[0; 36], &mut [0.0; 32]), Err(Error::Type { .. })));
}

/// Weights as they are, and as they never should be.
fn number() -> impl Strategy<Value = f32> {
    prop_oneof![
        8 => -1.0f32..1.0,
        1 => Just(0.0f32),
        1 => prop_oneof![Just(1e-40f32), Just(-1e-42), Just(f32::MIN_POSITIVE), Just(1e-20)],
        1 => -LARGEST..LARGEST,
    ]
}

/// Rows that differ in what is in them: mostly one kind of number, so that whole blocks are extreme.
fn row() -> impl Strategy<Value = Vec<f32>> {
    let plain = prop::collection::vec(-1.0f32..1.0, 512);
    let mixed = prop::collection::vec(number(), 512);
    let scaled = (prop::collection::vec(-1.0f32..1.0, 512), -45i32..9)
        .prop_map(|(row, e)| row.into_iter().map(|x| x * 10f32.powi(e)).collect());
    let constant = number().prop_map(|x| vec![x; 512]);
    prop_oneof![plain, mixed, scaled, constant]
}

fn importance() -> impl Strategy<Value = Vec<f32>> {
    let usual = prop::collection::vec(0.0f32..10.0, 512);
    let sparse = prop::collection::vec(prop_oneof![4 => Just(0.0f32), 1 => 0.0f32..1.0], 512);
    let extreme = prop::collection::vec(prop_oneof![Just(LARGEST), Just(1e-40f32), Just(0.0)], 512);
    prop_oneof![usual, sparse, extreme, Just(vec![0.0; 512])]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// No numbers make ggml abort; where blocks come out, they are valid and give numbers.
    #[test]
    fn any_numbers_are_quantized_or_refused(row in row(), weights in importance(), with in any::<bool>()) {
        for ty in targets() {
            let t = type_traits(ty).unwrap();
            let weights = (with || t.needs_importance).then_some(&weights[..]);
            let mut bytes = vec![0; row_size(ty, 512).unwrap()];
            match quantize_chunk(ty, &row, 512, weights, &mut bytes) {
                Ok(()) => {
                    prop_assert!(valid(ty, &bytes));
                    let mut back = vec![0.0; 512];
                    dequantize_row(ty, &bytes, &mut back).unwrap();
                    // At an odd place it gives the same.
                    let mut moved = vec![0; bytes.len() + 1];
                    quantize_chunk(ty, &row, 512, weights, &mut moved[1..]).unwrap();
                    prop_assert_eq!(&moved[1..], &bytes[..]);
                    let mut again = vec![0.0; 512];
                    dequantize_row(ty, &moved[1..], &mut again).unwrap();
                    let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                    prop_assert_eq!(bits(&again), bits(&back));
                }
                Err(e) => prop_assert_eq!(e, Error::Overflow, "{}", t.name),
            }
        }
    }

    /// Any bytes are blocks.
    #[test]
    fn any_bytes_are_dequantized(bytes in prop::collection::vec(any::<u8>(), 512 * 8)) {
        for ty in types().filter(|&ty| type_traits(ty).unwrap().dequantizes) {
            dequantize_row(ty, &bytes[..row_size(ty, 512).unwrap()], &mut [0.0; 512]).unwrap();
        }
    }
}
