//! The CPU backend: buffers are plain memory, operations are the kernels.

use std::io::{self, Read, Write};
use std::sync::Arc;

use super::compute::{CacheShape, Compute, Input, Job, Place, View};
use super::weights::Precision;
use super::{HeadDims, ModelError};
use crate::gguf::Tensor;
use crate::kernels::{self, AttentionProducts, Cpu, KvCache, MatMul, Matrix, Scratch};

/// Runs the model on this computer's processor.
pub struct CpuCompute {
    cpu: Arc<Cpu>,
    scratch: Scratch,
}

impl CpuCompute {
    /// A backend over `cpu`; several may share it, each with its own scratch memory.
    pub fn new(cpu: Arc<Cpu>) -> CpuCompute {
        CpuCompute { cpu, scratch: Scratch::default() }
    }

    /// The kernels and threads in use.
    pub fn cpu(&self) -> &Arc<Cpu> {
        &self.cpu
    }
}

fn rows<'a>(view: View<'a, Vec<f32>>, len: usize) -> &'a [f32] {
    &view.buf[view.at..view.at + len]
}

impl Compute for CpuCompute {
    type Buf = Vec<f32>;
    type Matrix = Matrix;
    type Cache = KvCache;

    fn matrix(&mut self, tensor: &Tensor) -> Result<Matrix, ModelError> {
        Ok(Matrix::new(tensor.clone())?)
    }

    fn matrix_in_eight_bits(&mut self, tensor: &Tensor) -> Result<Matrix, ModelError> {
        Ok(Matrix::in_eight_bits(tensor.clone())?)
    }

    fn buf(&mut self, len: usize) -> Result<Vec<f32>, ModelError> {
        // `vec!` of zeros asks for zeroed pages, which cost nothing until they are used.
        Ok(vec![0.0; len])
    }

    fn write(&mut self, buf: &mut Vec<f32>, at: usize, data: &[f32]) {
        buf[at..at + data.len()].copy_from_slice(data);
    }

    fn read(&mut self, buf: &Vec<f32>, at: usize, out: &mut [f32]) {
        out.copy_from_slice(&buf[at..at + out.len()]);
    }

    fn embed(&mut self, table: &Matrix, ids: &[u32], out: &mut Vec<f32>, at_row: usize) {
        let width = table.cols();
        self.cpu.gather_rows(table, ids, &mut out[at_row * width..][..ids.len() * width]);
    }

    fn linear(&mut self, tokens: usize, input: Input<'_, Vec<f32>>, jobs: &mut [Job<'_, Self>]) {
        let Some(first) = jobs.first() else { return };
        let len = tokens * first.weight.cols();
        let input = match input {
            Input::Plain(x) => kernels::Input::Plain(rows(x, len)),
            Input::RmsNorm { x, weight, eps } => kernels::Input::RmsNorm { x: rows(x, len), weight, eps },
            Input::SwiGlu { gate, up } => kernels::Input::SwiGlu { gate: rows(gate, len), up: rows(up, len) },
            Input::Gelu(x) => kernels::Input::Gelu(rows(x, len)),
        };
        let job = |j: &mut Job<'_, Self>| -> (usize, usize) { (j.at, tokens * j.weight.rows()) };
        // At most three products share an input (q, k, v), so no allocation is needed for the list.
        match jobs {
            [a] => {
                let (at, n) = job(a);
                self.cpu.linear(tokens, input, &mut [matmul(a, at, n)], &mut self.scratch);
            }
            [a, b] => {
                let ((at_a, n_a), (at_b, n_b)) = (job(a), job(b));
                let mut list = [matmul(a, at_a, n_a), matmul(b, at_b, n_b)];
                self.cpu.linear(tokens, input, &mut list, &mut self.scratch);
            }
            [a, b, c] => {
                let ((at_a, n_a), (at_b, n_b), (at_c, n_c)) = (job(a), job(b), job(c));
                let mut list = [matmul(a, at_a, n_a), matmul(b, at_b, n_b), matmul(c, at_c, n_c)];
                self.cpu.linear(tokens, input, &mut list, &mut self.scratch);
            }
            _ => unreachable!("the model has at most three products of one input"),
        }
    }

    fn rms_norm(&mut self, rows_: usize, x: View<'_, Vec<f32>>, weight: &Vec<f32>, eps: f32, out: &mut Vec<f32>) {
        let len = rows_ * weight.len();
        self.cpu.rms_norm(rows(x, len), weight, eps, &mut out[..len]);
    }

    fn rope(&mut self, tokens: usize, x: &mut Vec<f32>, n_heads: usize, tables: (&Vec<f32>, &Vec<f32>), half: usize) {
        let (cos, sin) = (&tables.0[..tokens * half], &tables.1[..tokens * half]);
        self.cpu.rope(&mut x[..tokens * n_heads * 2 * half], 2 * half, cos, sin);
    }

    fn cache(&mut self, shape: CacheShape) -> Result<KvCache, ModelError> {
        let CacheShape { ty, n_layers, n_kv_heads, head_dim, capacity } = shape;
        Ok(KvCache::new(ty, n_layers, n_kv_heads, head_dim, capacity)?)
    }

    fn cache_store(&mut self, cache: &mut KvCache, place: Place, tokens: usize, k: &Vec<f32>, v: &Vec<f32>) {
        let len = tokens * cache.n_kv_heads() * cache.head_dim();
        self.cpu.kv_store(cache, place.layer, place.start, &k[..len], &v[..len]);
    }

    fn cache_repeat(&mut self, cache: &mut KvCache, held: usize, len: usize) {
        cache.repeat(held, len);
    }

    fn cache_write(&self, cache: &KvCache, len: usize, out: &mut dyn Write) -> io::Result<()> {
        cache.write_tokens(len, out)
    }

    fn cache_read(&mut self, cache: &mut KvCache, len: usize, input: &mut dyn Read) -> io::Result<()> {
        cache.read_tokens(len, input)
    }

    fn attend_cached(
        &mut self,
        dims: HeadDims,
        tokens: usize,
        q: &Vec<f32>,
        (cache, place): (&KvCache, Place),
        out: &mut Vec<f32>,
    ) {
        let len = tokens * dims.n_heads * dims.head_dim;
        let (q, out) = (&q[..len], &mut out[..len]);
        self.cpu.attention_cached(dims, q, cache, place.layer, place.start, out);
    }

    fn attend_segments(
        &mut self,
        dims: HeadDims,
        qkv: [&Vec<f32>; 3],
        cu_seqlens: &[usize],
        precision: Precision,
        out: &mut Vec<f32>,
    ) {
        let products = match precision {
            Precision::Exact => AttentionProducts::Float32,
            Precision::Int8 => AttentionProducts::Bfloat16,
        };
        let len = cu_seqlens.last().copied().unwrap_or(0) * dims.n_heads * dims.head_dim;
        let [q, k, v] = qkv.map(|b| &b[..len]);
        self.cpu.attention_segments(dims, q, k, v, cu_seqlens, products, &mut out[..len]);
    }
}

fn matmul<'a>(job: &'a mut Job<'_, CpuCompute>, at: usize, len: usize) -> MatMul<'a> {
    MatMul {
        weight: job.weight,
        bias: job.bias.map(Vec::as_slice),
        out: &mut job.out[at..at + len],
        accumulate: job.accumulate,
    }
}
