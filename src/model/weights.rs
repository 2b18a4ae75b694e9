//! Fetching tensors by name, with their shapes checked.

use super::{Compute, ModelError};
use crate::gguf::{Gguf, Tensor};
use crate::kernels::KernelError;
use crate::quant;

/// A weight matrix with its optional bias.
pub struct Linear<C: Compute> {
    /// `[out, in]`
    pub weight: C::Matrix,
    /// `[out]`
    pub bias: Option<C::Buf>,
}

/// How weights that a file has in floats are computed with. Quantized ones are always taken as they are. Also whether the
/// tower's attention may round what it multiplies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// As they are, in float32.
    Exact,
    /// Rounded to 8 bits with a scale per 64, like the inputs they are multiplied with: several times quicker, about as
    /// close as a Q8_0 file. Attention multiplies in bfloat16 where the processor has instructions for it.
    #[default]
    Int8,
}

/// Fetches one file's tensors for one backend.
pub struct Loader<'a, C: Compute> {
    /// The file.
    pub gguf: &'a Gguf,
    /// The backend.
    pub compute: &'a mut C,
    /// What becomes of float matrices.
    pub precision: Precision,
}

impl<C: Compute> Loader<'_, C> {
    fn file(&self) -> String {
        self.gguf.name().to_string()
    }

    /// The tensor `name`, whose dimensions (fastest first) must be `dims`.
    pub fn tensor(&self, name: &str, dims: &[usize]) -> Result<Tensor, ModelError> {
        let Some(tensor) = self.gguf.tensor(name) else {
            return Err(ModelError::MissingTensor { file: self.file(), tensor: name.to_string() });
        };
        let trimmed = trim_ones(tensor.dims());
        if trimmed != trim_ones(dims) {
            return Err(ModelError::Shape {
                file: self.file(),
                tensor: name.to_string(),
                found: tensor.dims().to_vec(),
                wanted: dims.to_vec(),
            });
        }
        Ok(tensor.clone())
    }

    /// A matrix `[rows, cols]`.
    pub fn matrix(&mut self, name: &str, rows: usize, cols: usize) -> Result<C::Matrix, ModelError> {
        let tensor = self.tensor(name, &[cols, rows])?;
        self.take(&tensor)
    }

    /// A tensor as a matrix, in the precision that is wanted.
    pub fn take(&mut self, tensor: &Tensor) -> Result<C::Matrix, ModelError> {
        let taken = match self.precision {
            Precision::Exact => self.compute.matrix(tensor),
            Precision::Int8 => self.compute.matrix_in_eight_bits(tensor),
        };
        taken.map_err(|e| match e {
            // It is the file's fault, which kernels don't know.
            ModelError::Kernel(source @ KernelError::MatrixType { .. }) => {
                ModelError::NoKernel { file: self.file(), source }
            }
            e => e,
        })
    }

    /// A vector, as f32 whatever its type in the file.
    pub fn vector(&mut self, name: &str, len: usize) -> Result<C::Buf, ModelError> {
        let tensor = self.tensor(name, &[len])?;
        let mut data = vec![0.0; len];
        self.dequantize(&tensor, &mut data)?;
        // It was in a page of up to 2 MB, of which nothing else may be wanted yet.
        tensor.give_back();
        self.upload(&data)
    }

    /// Like [`Loader::vector`], or `None` where there is no such tensor.
    pub fn optional_vector(&mut self, name: &str, len: usize) -> Result<Option<C::Buf>, ModelError> {
        if self.gguf.tensor(name).is_none() {
            return Ok(None);
        }
        self.vector(name, len).map(Some)
    }

    /// `STEM.weight` `[rows, cols]` and, where there is one, `STEM.bias`.
    pub fn linear(&mut self, stem: &str, rows: usize, cols: usize) -> Result<Linear<C>, ModelError> {
        Ok(Linear {
            weight: self.matrix(&format!("{stem}.weight"), rows, cols)?,
            bias: self.optional_vector(&format!("{stem}.bias"), rows)?,
        })
    }

    /// The part `which` of three equal ones that are stored as one, `STEM.weight` `[3 · rows, cols]`.
    pub fn linear_third(
        &mut self,
        stem: &str,
        which: usize,
        rows: usize,
        cols: usize,
    ) -> Result<Linear<C>, ModelError> {
        let fused = self.tensor(&format!("{stem}.weight"), &[cols, 3 * rows])?;
        let weight = self.take(&fused.slice_rows(which * rows, rows))?;
        let name = format!("{stem}.bias");
        let bias = match self.gguf.tensor(&name) {
            None => None,
            Some(_) => {
                let tensor = self.tensor(&name, &[3 * rows])?;
                let mut data = vec![0.0; 3 * rows];
                self.dequantize(&tensor, &mut data)?;
                Some(self.upload(&data[which * rows..][..rows])?)
            }
        };
        Ok(Linear { weight, bias })
    }

    fn dequantize(&self, tensor: &Tensor, out: &mut [f32]) -> Result<(), ModelError> {
        quant::dequantize(tensor.ty(), tensor.bytes(), out).map_err(|_| ModelError::TensorType {
            file: self.file(),
            tensor: tensor.name().to_string(),
            found: tensor.ty(),
            supported: "vectors are stored as F32, F16 or BF16",
        })
    }

    fn upload(&mut self, data: &[f32]) -> Result<C::Buf, ModelError> {
        let mut buf = self.compute.buf(data.len())?;
        self.compute.write(&mut buf, 0, data);
        Ok(buf)
    }
}

/// Trailing dimensions of 1 don't change a tensor; writers differ in keeping them.
fn trim_ones(dims: &[usize]) -> &[usize] {
    let n = dims.iter().rposition(|&d| d != 1).map_or(1, |i| i + 1);
    &dims[..n.min(dims.len())]
}
