//! Keys and values of all layers.

use std::io::{self, Read, Write};

use half::f16;

use super::split::Parts;
use super::{Cpu, KernelError};

/// Element type of a [`KvCache`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KvType {
    /// Half precision: half the memory, and what attention reads is half as much.
    F16,
    /// Single precision, as the original computes.
    F32,
}

/// The numbers, in either type.
#[derive(Debug)]
pub(crate) enum KvData {
    F16(Vec<u16>),
    F32(Vec<f32>),
}

/// Keys and values of all layers, `[layer][key or value][kv head][token][head_dim]`: what one head reads is contiguous.
#[derive(Debug)]
pub struct KvCache {
    pub(crate) data: KvData,
    n_layers: usize,
    n_kv_heads: usize,
    head_dim: usize,
    capacity: usize,
}

/// Which half of a layer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Half {
    Keys = 0,
    Values = 1,
}

impl KvCache {
    /// An empty cache. Its memory is zeroed lazily: what isn't used costs nothing.
    ///
    /// # Errors
    /// The size overflows or its memory can't be had.
    pub fn new(
        ty: KvType,
        n_layers: usize,
        n_kv_heads: usize,
        head_dim: usize,
        capacity: usize,
    ) -> Result<KvCache, KernelError> {
        let sizes = [2, n_layers, n_kv_heads, head_dim, capacity];
        let elements = sizes.iter().try_fold(1usize, |a, &b| a.checked_mul(b));
        let width = if ty == KvType::F16 { 2 } else { 4 };
        let bytes = elements.and_then(|e| e.checked_mul(width)).filter(|&b| b <= isize::MAX as usize);
        let (Some(elements), Some(bytes)) = (elements, bytes) else {
            return Err(KernelError::Memory { capacity, bytes: "more than 2^63".into() });
        };
        let no_memory = || KernelError::Memory { capacity, bytes: bytes.to_string() };
        let data = match ty {
            KvType::F16 => KvData::F16(zeros(elements).ok_or_else(no_memory)?),
            KvType::F32 => KvData::F32(zeros(elements).ok_or_else(no_memory)?),
        };
        Ok(KvCache { data, n_layers, n_kv_heads, head_dim, capacity })
    }

    /// Tokens that fit.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Key heads per layer.
    pub fn n_kv_heads(&self) -> usize {
        self.n_kv_heads
    }

    /// Width of a head.
    pub fn head_dim(&self) -> usize {
        self.head_dim
    }

    /// Layers.
    pub fn n_layers(&self) -> usize {
        self.n_layers
    }

    /// Element type.
    pub fn ty(&self) -> KvType {
        match self.data {
            KvData::F16(_) => KvType::F16,
            KvData::F32(_) => KvType::F32,
        }
    }

    /// Copies what the first `held` tokens left over all tokens up to `len`, again and again: a long context for
    /// measurements without computing it.
    ///
    /// # Panics
    /// `held` is 0, or `len` is more than the capacity.
    pub fn repeat(&mut self, held: usize, len: usize) {
        assert!(held > 0 && len <= self.capacity, "{held} tokens made {len} of {}", self.capacity);
        let (row, region) = (self.head_dim, self.capacity * self.head_dim);
        match &mut self.data {
            KvData::F16(data) => data.chunks_exact_mut(region).for_each(|head| repeat(head, held * row, len * row)),
            KvData::F32(data) => data.chunks_exact_mut(region).for_each(|head| repeat(head, held * row, len * row)),
        }
    }

    /// Writes keys and values of the first `len` tokens, head by head, in the machine's byte order.
    ///
    /// # Errors
    /// Whatever writing to `out` gives.
    ///
    /// # Panics
    /// `len` is more than the capacity.
    pub fn write_tokens(&self, len: usize, out: &mut dyn Write) -> io::Result<()> {
        assert!(len <= self.capacity, "{len} tokens of {}", self.capacity);
        let (held, region) = (len * self.head_dim, self.capacity * self.head_dim);
        match &self.data {
            KvData::F16(data) => {
                data.chunks_exact(region).try_for_each(|head| out.write_all(bytemuck::cast_slice(&head[..held])))
            }
            KvData::F32(data) => {
                data.chunks_exact(region).try_for_each(|head| out.write_all(bytemuck::cast_slice(&head[..held])))
            }
        }
    }

    /// Takes the first `len` tokens from what [`KvCache::write_tokens`] of a cache of the same shape and type wrote.
    ///
    /// # Errors
    /// Whatever reading gives; the tokens' contents are then unspecified.
    ///
    /// # Panics
    /// `len` is more than the capacity.
    pub fn read_tokens(&mut self, len: usize, input: &mut dyn Read) -> io::Result<()> {
        assert!(len <= self.capacity, "{len} tokens of {}", self.capacity);
        let (held, region) = (len * self.head_dim, self.capacity * self.head_dim);
        match &mut self.data {
            KvData::F16(data) => data
                .chunks_exact_mut(region)
                .try_for_each(|head| input.read_exact(bytemuck::cast_slice_mut(&mut head[..held]))),
            KvData::F32(data) => data
                .chunks_exact_mut(region)
                .try_for_each(|head| input.read_exact(bytemuck::cast_slice_mut(&mut head[..held]))),
        }
    }

    /// Where one head's keys or values start, in elements.
    pub(crate) fn head_start(&self, layer: usize, half: Half, head: usize) -> usize {
        assert!(layer < self.n_layers && head < self.n_kv_heads);
        ((layer * 2 + half as usize) * self.n_kv_heads + head) * self.capacity * self.head_dim
    }
}

/// Copies the first `held` elements over those up to `len`, again and again.
fn repeat<T: Copy>(data: &mut [T], held: usize, len: usize) {
    for at in (held..len).step_by(held) {
        data.copy_within(..held.min(len - at), at);
    }
}

/// Zeroed memory that the system hands out page by page, or `None` where it refuses.
fn zeros<T: bytemuck::Zeroable>(n: usize) -> Option<Vec<T>> {
    bytemuck::allocation::try_zeroed_vec(n).ok()
}

impl Cpu {
    /// Stores keys and values, `[tokens, n_kv_heads, head_dim]`, of the tokens from `start` on.
    ///
    /// # Panics
    /// The layer, the tokens or the lengths don't fit the cache.
    pub fn kv_store(&self, cache: &mut KvCache, layer: usize, start: usize, k: &[f32], v: &[f32]) {
        let (heads, dim) = (cache.n_kv_heads, cache.head_dim);
        let tokens = k.len() / (heads * dim);
        assert!(k.len() == v.len() && k.len() == tokens * heads * dim, "keys {} values {}", k.len(), v.len());
        assert!(layer < cache.n_layers && start + tokens <= cache.capacity, "room in the cache");
        let (layer_start, span) = (cache.head_start(layer, Half::Keys, 0), cache.capacity * dim);
        // Task 2h is head h's keys, 2h + 1 its values.
        let source = |task: usize, token: usize| {
            let from = if task.is_multiple_of(2) { k } else { v };
            &from[(token * heads + task / 2) * dim..][..dim]
        };
        let range = |task: usize| {
            let at = layer_start + (task % 2 * heads + task / 2) * span + start * dim;
            at..at + tokens * dim
        };
        match &mut cache.data {
            KvData::F16(data) => {
                let parts = Parts::new(data);
                self.pool().run(2 * heads, &|task| {
                    // SAFETY: each task is another head's keys or values, and these lie apart.
                    let out = unsafe { parts.part(range(task)) };
                    for (token, out) in out.chunks_exact_mut(dim).enumerate() {
                        for (o, &x) in out.iter_mut().zip(source(task, token)) {
                            *o = f16::from_f32(x).to_bits();
                        }
                    }
                });
            }
            KvData::F32(data) => {
                let parts = Parts::new(data);
                self.pool().run(2 * heads, &|task| {
                    // SAFETY: each task is another head's keys or values, and these lie apart.
                    let out = unsafe { parts.part(range(task)) };
                    for (token, out) in out.chunks_exact_mut(dim).enumerate() {
                        out.copy_from_slice(source(task, token));
                    }
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_cache_holds_the_first_tokens_again() {
        let cpu = Cpu::with_isa(1, crate::kernels::Isa::Scalar).expect("plain kernels");
        for ty in [KvType::F16, KvType::F32] {
            let mut cache = KvCache::new(ty, 2, 2, 4, 9).expect("room");
            let numbers: Vec<f32> = (0..3 * 2 * 4).map(|i| i as f32).collect();
            for layer in 0..2 {
                cpu.kv_store(&mut cache, layer, 0, &numbers, &numbers);
            }
            cache.repeat(3, 8);
            let at = |i: usize| match &cache.data {
                KvData::F16(d) => f16::from_bits(d[i]).to_f32(),
                KvData::F32(d) => d[i],
            };
            for (layer, half, head) in [(0, Half::Keys, 0), (0, Half::Values, 1), (1, Half::Keys, 1)] {
                let start = cache.head_start(layer, half, head);
                let first = |token: usize| at(start + token * 4);
                let wanted: Vec<f32> = (0..8).map(|t| ((t % 3) * 8 + head * 4) as f32).collect();
                assert_eq!((0..8).map(first).collect::<Vec<_>>(), wanted);
                assert_eq!(first(8), 0.0, "beyond what was asked for");
            }
        }
    }

    #[test]
    fn tokens_that_are_written_are_read_into_a_cache_of_another_capacity() {
        let cpu = Cpu::with_isa(1, crate::kernels::Isa::Scalar).expect("plain kernels");
        for (ty, width) in [(KvType::F16, 2), (KvType::F32, 4)] {
            let mut from = KvCache::new(ty, 2, 2, 4, 9).expect("room");
            let k: Vec<f32> = (0..5 * 2 * 4).map(|i| i as f32).collect();
            let v: Vec<f32> = k.iter().map(|x| -x).collect();
            (0..2).for_each(|layer| cpu.kv_store(&mut from, layer, 0, &k, &v));
            let mut bytes = Vec::new();
            from.write_tokens(3, &mut bytes).expect("written");
            assert_eq!(bytes.len(), 2 * 2 * 2 * 3 * 4 * width);
            let mut to = KvCache::new(ty, 2, 2, 4, 3).expect("room");
            to.read_tokens(3, &mut bytes.as_slice()).expect("read");
            let mut again = Vec::new();
            to.write_tokens(3, &mut again).expect("written");
            assert!(bytes == again && bytes.iter().any(|&b| b != 0));
            // The second layer's second head's values of token 2, where this cache has them.
            let at = to.head_start(1, Half::Values, 1) + 2 * 4;
            let found: Vec<f32> = match &to.data {
                KvData::F16(d) => d[at..at + 4].iter().map(|&x| f16::from_bits(x).to_f32()).collect(),
                KvData::F32(d) => d[at..at + 4].to_vec(),
            };
            assert_eq!(found, [-20.0, -21.0, -22.0, -23.0]);
            assert!(to.read_tokens(3, &mut &bytes[1..]).is_err(), "cut off");
        }
    }
}
