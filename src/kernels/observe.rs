//! Looking at what matrices are multiplied with, for statistics over a model's inputs.

/// Sees the inputs of products.
pub trait Observer: Send + Sync {
    /// `inputs`, `[tokens, cols]`, are about to be multiplied with the tensor of this name.
    fn product(&self, tensor: &str, inputs: &[f32], cols: usize);
}
