//! All kernels that this machine can run against products of dequantized weights in float64.

use proptest::prelude::*;

use super::*;

const TYPES: [GgmlType; 13] = [
    GgmlType::F32,
    GgmlType::F16,
    GgmlType::BF16,
    GgmlType::Q4_0,
    GgmlType::Q4_1,
    GgmlType::Q5_0,
    GgmlType::Q5_1,
    GgmlType::Q8_0,
    GgmlType::Q2_K,
    GgmlType::Q3_K,
    GgmlType::Q4_K,
    GgmlType::Q5_K,
    GgmlType::Q6_K,
];

/// The instruction sets to test; fails where one that `QLENS_EXPECT_ISA` names is missing.
fn isas() -> Vec<Isa> {
    let found: Vec<Isa> = Isa::available().collect();
    println!("instruction sets tested: {found:?}");
    if let Ok(name) = std::env::var("QLENS_EXPECT_ISA") {
        assert!(found.iter().any(|i| i.name() == name), "this machine has no {name}");
    }
    found
}

/// A matrix of random codes with plausible scales: where a block has half-precision scales, they are small numbers.
fn random_matrix(ty: GgmlType, rows: usize, cols: usize, rng: &mut fastrand::Rng) -> Matrix {
    let mut bytes = Vec::new();
    for _ in 0..rows * cols / ty.block_len() {
        let mut block: Vec<u8> = (0..ty.block_bytes()).map(|_| rng.u8(..)).collect();
        let small = |rng: &mut fastrand::Rng| half::f16::from_f32((rng.f32() - 0.5) * 0.02).to_le_bytes();
        let scales: &[usize] = match ty {
            GgmlType::F16 | GgmlType::Q4_0 | GgmlType::Q5_0 | GgmlType::Q8_0 => &[0],
            GgmlType::Q4_1 | GgmlType::Q5_1 | GgmlType::Q4_K | GgmlType::Q5_K => &[0, 2],
            GgmlType::Q2_K => &[80, 82],
            GgmlType::Q3_K => &[108],
            GgmlType::Q6_K => &[208],
            GgmlType::F32 => {
                block.copy_from_slice(&(rng.f32() - 0.5).to_le_bytes());
                &[]
            }
            GgmlType::BF16 => {
                block.copy_from_slice(&half::bf16::from_f32(rng.f32() - 0.5).to_le_bytes());
                &[]
            }
            _ => unreachable!(),
        };
        for &at in scales {
            block[at..at + 2].copy_from_slice(&small(rng));
        }
        bytes.extend(block);
    }
    Matrix::new(Tensor::from_parts("w", ty, &[cols, rows], bytes).unwrap()).unwrap()
}

/// A row of weights as the kernel sees them.
fn weights(m: &Matrix, row: usize) -> Vec<f32> {
    if let Some(packed) = m.packed.as_ref().map(|p| p.get().unwrap()) {
        return (0..m.cols).map(|column| packed.get(row, column)).collect();
    }
    let mut w = vec![0.0; m.cols];
    if m.foreign {
        let mut foreign = foreign::Foreign::default();
        let rounded = foreign.bring(Isa::Scalar, m.ty(), m.tensor.row(row), m.cols);
        quant::dequantize(GgmlType::Q8_0, rounded, &mut w).unwrap();
    } else {
        quant::dequantize(m.ty(), m.tensor.row(row), &mut w).unwrap();
    }
    w
}

/// The product in float64, of the input as the kernel sees it: quantized where the weights are.
fn reference(m: &Matrix, x: &[f32]) -> Vec<f64> {
    let mut x64: Vec<f64> = x.iter().map(|&v| v.into()).collect();
    if !m.is_float() {
        let few = x.len() / m.cols <= FEW_TOKENS && m.packed.is_none();
        // Rows are filled up to whole blocks.
        let wide = m.packed.is_some();
        let whole = m.cols.next_multiple_of(if few { quant::QK_FINE } else { quant::QK_WIDE });
        let x: Vec<f32> = x.chunks(m.cols).flat_map(|x| [x, &vec![0.0; whole - m.cols]].concat()).collect();
        if few {
            x64.clear();
            for x in x.as_chunks::<{ quant::QK_FINE }>().0 {
                let mut codes = [0; quant::QK_FINE];
                let d = f64::from(quant::quantize_fine(x, &mut codes));
                x64.extend(codes.map(|q| d * f64::from(q)));
            }
        } else {
            let len = if wide { quant::QK_WIDE } else { quant::QK8 };
            let (mut q, mut d, mut s) = (vec![0; x.len()], vec![0.0; x.len() / len], vec![0; 2 * x.len() / len]);
            if wide {
                quant::quantize_row::<{ quant::QK_WIDE }>(&x, &mut q, &mut d, &mut s);
            } else {
                quant::quantize_row::<{ quant::QK8 }>(&x, &mut q, &mut d, &mut s);
            }
            x64 = q.iter().enumerate().map(|(i, &q)| f64::from(q) * f64::from(d[i / len])).collect();
        }
        x64 = x64.chunks(whole).flat_map(|x| x[..m.cols].to_vec()).collect();
    }
    let mut out = Vec::new();
    for x in x64.chunks(m.cols) {
        for row in 0..m.rows {
            let w = weights(m, row);
            out.push(w.iter().zip(x).map(|(&w, &x)| f64::from(w) * x).sum());
        }
    }
    out
}

/// Runs one product on one instruction set and compares it; sums of n terms may be off by their own rounding.
fn check(isa: Isa, threads: usize, m: &Matrix, x: &[f32]) -> Vec<f32> {
    let tokens = x.len() / m.cols;
    let cpu = Cpu::with_isa(threads, isa).unwrap();
    let mut out = vec![0.5; tokens * m.rows];
    let bias: Vec<f32> = (0..m.rows).map(|i| i as f32 * 0.25).collect();
    let job = MatMul { weight: m, bias: Some(&bias), out: &mut out, accumulate: true };
    cpu.linear(tokens, Input::Plain(x), &mut [job], &mut Scratch::default());
    let wanted = reference(m, x);
    let norm = |v: &[f32]| v.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
    for (i, (&found, &wanted)) in out.iter().zip(&wanted).enumerate() {
        let (token, row) = (i / m.rows, i % m.rows);
        let w = weights(m, row);
        let wanted = wanted + 0.5 + f64::from(bias[row]);
        // Codes are multiplied before their zero point is taken off, so the terms are up to 32 times the weights.
        let bound = 1e-5 * (norm(&w) * norm(&x[token * m.cols..][..m.cols]) + wanted.abs() + 1e-3);
        assert!(
            (f64::from(found) - wanted).abs() <= bound,
            "{isa:?} {:?} {}x{} token {token} of {tokens} row {row}: {found} instead of {wanted}",
            m.ty(),
            m.rows,
            m.cols
        );
    }
    out
}

fn random_input(n: usize, rng: &mut fastrand::Rng) -> Vec<f32> {
    (0..n).map(|_| (rng.f32() - 0.5) * 4.0).collect()
}

#[test]
fn every_kernel_matches_float64() {
    let mut rng = fastrand::Rng::with_seed(1);
    for isa in isas() {
        for ty in TYPES {
            let cols: &[usize] = match ty.block_len() {
                1 => &[1, 2, 31, 340, 588],
                32 => &[32, 160, 544, 800],
                _ => &[256, 1280],
            };
            for &cols in cols {
                for rows in [1, 33, 80] {
                    let m = random_matrix(ty, rows, cols, &mut rng);
                    for tokens in [1, 2, 3, 4, 5, 6, 7, 8, 9, 13] {
                        check(isa, 1, &m, &random_input(tokens * cols, &mut rng));
                    }
                }
            }
        }
    }
}

/// Numbers of tokens around those at which tasks become larger, and rows of tokens' scales longer than a cache line.
#[test]
fn many_tokens_match_float64() {
    let mut rng = fastrand::Rng::with_seed(11);
    for isa in isas() {
        for ty in [GgmlType::Q4_0, GgmlType::Q8_0, GgmlType::Q4_K, GgmlType::Q6_K] {
            let m = random_matrix(ty, 33, 512, &mut rng);
            for tokens in [16, 17, 32, 127, 128, 145] {
                check(isa, 3, &m, &random_input(tokens * 512, &mut rng));
            }
        }
    }
}

#[test]
fn floats_in_eight_bits_match_float64() {
    let mut rng = fastrand::Rng::with_seed(5);
    for isa in isas() {
        for ty in [GgmlType::F32, GgmlType::F16, GgmlType::BF16] {
            for cols in [32, 33, 340, 588, 1100] {
                for rows in [32, 33, 80] {
                    let float = random_matrix(ty, rows, cols, &mut rng);
                    for tokens in [1, 4, 5, 6, 7, 13] {
                        let m = Matrix::in_eight_bits(float.tensor.clone()).unwrap();
                        check(isa, 2, &m, &random_input(tokens * cols, &mut rng));
                        for row in 0..rows {
                            let (exact, kept) = (weights(&float, row), weights(&m, row));
                            for (exact, kept) in exact.chunks(64).zip(kept.chunks(64)) {
                                let half = exact.iter().fold(0.0f32, |m, w| m.max(w.abs())) / 254.0;
                                assert!(exact.iter().zip(kept).all(|(a, b)| (a - b).abs() <= half * 1.00001));
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Quantized weights, and those that are read in other types, are left as they are.
#[test]
fn only_floats_are_brought_to_eight_bits() {
    let m = random_matrix(GgmlType::Q4_0, 4, 32, &mut fastrand::Rng::with_seed(6));
    assert!(Matrix::in_eight_bits(m.tensor.clone()).unwrap().packed.is_none());
    // Filling these up to whole panels would take many times their file's size.
    for (rows, cols) in [(1, 4096), (31, 4096), (4096, 1), (4096, 31)] {
        let m = random_matrix(GgmlType::F16, rows, cols, &mut fastrand::Rng::with_seed(6));
        assert!(Matrix::in_eight_bits(m.tensor).unwrap().packed.is_none(), "{rows} x {cols}");
    }
}

/// Whoever reads several tokens at once gets what reading them one by one gives.
#[test]
fn few_tokens_give_the_same_bytes_one_by_one() {
    let mut rng = fastrand::Rng::with_seed(7);
    for isa in isas() {
        for ty in TYPES {
            let cols = if ty.block_len() == 256 { 768 } else { 544 };
            let m = random_matrix(ty, 35, cols, &mut rng);
            let cpu = Cpu::with_isa(2, isa).unwrap();
            let product = |x: &[f32]| {
                let tokens = x.len() / cols;
                let mut out = vec![0.0; tokens * m.rows];
                let job = MatMul { weight: &m, bias: None, out: &mut out, accumulate: false };
                cpu.linear(tokens, Input::Plain(x), &mut [job], &mut Scratch::default());
                out.into_iter().map(f32::to_bits).collect::<Vec<_>>()
            };
            let x = random_input(FEW_TOKENS * cols, &mut rng);
            let single: Vec<Vec<u32>> = x.chunks(cols).map(product).collect();
            for tokens in 2..=FEW_TOKENS {
                assert_eq!(product(&x[..tokens * cols]), single[..tokens].concat(), "{isa:?} {ty:?} {tokens} tokens");
            }
        }
    }
}

#[test]
fn no_tokens_are_no_work() {
    let m = random_matrix(GgmlType::Q4_0, 4, 32, &mut fastrand::Rng::with_seed(1));
    let cpu = Cpu::with_isa(1, Isa::Scalar).unwrap();
    let job = MatMul { weight: &m, bias: None, out: &mut [], accumulate: false };
    cpu.linear(0, Input::Plain(&[]), &mut [job], &mut Scratch::default());
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let mut rng = fastrand::Rng::with_seed(2);
    for isa in isas() {
        for ty in [GgmlType::Q4_0, GgmlType::Q6_K, GgmlType::F16] {
            let m = random_matrix(ty, 200, 512, &mut rng);
            for tokens in [1, 4, 37] {
                let x = random_input(tokens * 512, &mut rng);
                let one = check(isa, 1, &m, &x);
                assert!(one.iter().zip(check(isa, 5, &m, &x)).all(|(a, b)| a.to_bits() == b.to_bits()));
            }
        }
    }
}

#[test]
fn extreme_blocks_neither_crash_nor_saturate() {
    for isa in isas() {
        for ty in TYPES.into_iter().filter(|t| t.block_len() > 1) {
            for byte in [0u8, 0x7f, 0x80, 0xff] {
                let (rows, cols) = (33, 512);
                let mut bytes = vec![byte; rows * ty.row_bytes(cols).unwrap()];
                // Finite scales, so that sums can be compared; all codes are at an extreme.
                for block in bytes.chunks_exact_mut(ty.block_bytes()) {
                    let one = half::f16::from_f32(0.01).to_le_bytes();
                    let at: &[usize] = match ty {
                        GgmlType::Q2_K => &[80, 82],
                        GgmlType::Q3_K => &[108],
                        GgmlType::Q6_K => &[208],
                        GgmlType::Q4_0 | GgmlType::Q5_0 | GgmlType::Q8_0 => &[0],
                        _ => &[0, 2],
                    };
                    at.iter().for_each(|&at| block[at..at + 2].copy_from_slice(&one));
                }
                let m = Matrix::new(Tensor::from_parts("w", ty, &[cols, rows], bytes).unwrap()).unwrap();
                for value in [1.0, -1.0, 0.0] {
                    check(isa, 1, &m, &vec![value; cols]);
                    check(isa, 1, &m, &vec![value; 9 * cols]);
                }
            }
        }
    }
}

#[test]
fn not_a_number_shows_in_the_result_and_nowhere_else() {
    for isa in isas() {
        let m = random_matrix(GgmlType::Q8_0, 40, 64, &mut fastrand::Rng::with_seed(4));
        for tokens in [6, 12] {
            let mut x = vec![1.0f32; tokens * 64];
            x[64 + 3] = f32::NAN;
            let cpu = Cpu::with_isa(1, isa).unwrap();
            let mut out = vec![0.0; tokens * 40];
            let job = MatMul { weight: &m, bias: None, out: &mut out, accumulate: false };
            cpu.linear(tokens, Input::Plain(&x), &mut [job], &mut Scratch::default());
            for (token, row) in out.chunks(40).enumerate() {
                assert!(row.iter().all(|v| v.is_nan() == (token == 1)), "{isa:?} token {token}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn any_shape_matches_float64(ty in 0..TYPES.len(), blocks in 1usize..6, rows in 1usize..70, tokens in 1usize..20, seed: u64) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let ty = TYPES[ty];
        let cols = if ty.block_len() == 1 { blocks * 37 } else { blocks * ty.block_len() };
        let m = random_matrix(ty, rows, cols, &mut rng);
        let x = random_input(tokens * cols, &mut rng);
        for isa in Isa::available() {
            check(isa, 2, &m, &x);
        }
    }
}

/// Types that ggml brings to 8 bits: the products are those of the rounded weights, which are close to the exact ones.
#[cfg(feature = "ggml")]
#[test]
fn foreign_types_match_float64() {
    let mut rng = fastrand::Rng::with_seed(9);
    let foreign: Vec<GgmlType> = GgmlType::ALL.into_iter().filter(|ty| quant::foreign(*ty)).collect();
    assert_eq!(foreign.len(), 15, "{foreign:?}");
    for ty in foreign {
        let (rows, cols) = (35, if ty.block_len() == 256 { 512 } else { 384 });
        let numbers: Vec<f32> = (0..rows * cols).map(|_| rng.f32() - 0.5).collect();
        let importance = vec![1.0; cols];
        let mut bytes = vec![0; rows * ty.row_bytes(cols).unwrap()];
        quant::quantize_chunk(ty, &numbers, cols, Some(&importance), &mut bytes).unwrap();
        let m = Matrix::new(Tensor::from_parts("w", ty, &[cols, rows], bytes).unwrap()).unwrap();
        assert!(m.is_foreign());
        for isa in isas() {
            for tokens in [1, 2, 4, 5, 7] {
                check(isa, 2, &m, &random_input(tokens * cols, &mut rng));
            }
        }
        let mut exact = vec![0.0; cols];
        for row in 0..rows {
            quant::dequantize(ty, m.tensor.row(row), &mut exact).unwrap();
            for (exact, kept) in exact.chunks(32).zip(weights(&m, row).chunks(32)) {
                let half = exact.iter().fold(0.0f32, |m, w| m.max(w.abs())) / 220.0;
                assert!(exact.iter().zip(kept).all(|(a, b)| (a - b).abs() <= half), "{ty}");
            }
        }
    }
}
