//! Codes against values worked out by hand; ggml's own numbers are compared in `tests/`.

use super::*;

#[cfg(feature = "ggml")]
mod second_opinion;

#[test]
fn activations_round_to_even_and_stay_within_127() {
    let mut x = [0.0f32; 32];
    (x[0], x[1], x[2], x[3]) = (-127.0, 0.5, 1.5, 126.4);
    let (mut q, mut d, mut s) = ([0i8; 32], [0.0], [0; 2]);
    quantize_row::<QK8>(&x, &mut q, &mut d, &mut s);
    assert_eq!((&q[..4], d[0], s), (&[-127i8, 0, 2, 126][..], 1.0, [1, 0]));
    quantize_row::<QK8>(&[1e-44; 32], &mut q, &mut d, &mut s);
    assert_eq!((q, s), ([0; 32], [0; 2]));
    x[9] = f32::INFINITY;
    quantize_row::<QK8>(&x, &mut q, &mut d, &mut s);
    assert!(d[0].is_nan() && q == [0; 32]);
}

#[test]
fn lengths_that_do_not_fit_are_refused() {
    let e = dequantize(GgmlType::Q4_0, &[0; 18], &mut [0.0; 31]).unwrap_err();
    assert_eq!(e.to_string(), "18 bytes of Q4_0 are not 31 numbers");
    assert!(matches!(dequantize(GgmlType::I8, &[0; 32], &mut [0.0; 32]), Err(QuantError::Type { .. })));
    if !cfg!(feature = "ggml") {
        let e = dequantize(GgmlType::IQ4_NL, &[0; 18], &mut [0.0; 32]).unwrap_err().to_string();
        assert!(e.contains("IQ4_NL") && e.contains("without the feature `ggml`"), "{e}");
    }
}

#[test]
fn q4_0_by_hand() {
    let mut block = [0u8; 18];
    block[..2].copy_from_slice(&half::f16::from_f32(0.5).to_le_bytes());
    block[2] = 0xf0;
    let mut out = [0.0; 32];
    dequantize(GgmlType::Q4_0, &block, &mut out).unwrap();
    assert_eq!((out[0], out[16], out[1]), (-4.0, 3.5, -4.0));
}

#[test]
fn half_precision_numbers_are_exact() {
    for bits in 0..=u16::MAX {
        let (found, wanted) = (read_f16(&bits.to_le_bytes(), 0), f16::from_bits(bits).to_f32());
        assert!(found.to_bits() == wanted.to_bits() || found.is_nan() && wanted.is_nan(), "{bits:#x}");
    }
}

#[test]
fn floats_are_rounded_or_refused() {
    let mut out = [0u8; 6];
    quantize_chunk(GgmlType::F16, &[1.0, -65504.0, 6e-8], 3, None, &mut out).unwrap();
    assert_eq!(out, [0x00, 0x3c, 0xff, 0xfb, 0x01, 0x00]);
    let e = quantize_chunk(GgmlType::F16, &[1.0, 65520.0, 0.0], 3, None, &mut out).unwrap_err();
    assert_eq!(e.to_string(), "65520 does not fit into F16");
    for ty in [GgmlType::F32, GgmlType::F16, GgmlType::BF16] {
        for x in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut row = [0.5; 100];
            row[99] = x;
            let e = quantize_chunk(ty, &row, 100, None, &mut vec![0; 100 * ty.block_bytes()]).unwrap_err();
            assert!(matches!(e, QuantError::Range { at: 99, .. }), "{e}");
        }
        assert!(matches!(quantize_chunk(ty, &[0.0; 3], 3, None, &mut [0; 5]), Err(QuantError::Length { .. })));
    }
}
