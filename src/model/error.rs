//! What can be wrong with a model file, beyond the GGUF format itself.

use crate::gguf::{GgmlType, GgufError};
use crate::kernels::KernelError;

/// A model that cannot be built from its file, or a computation that cannot be carried out.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The file itself is unreadable or lacks a value.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// A kernel refused (sizes, memory).
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The file holds another kind of model.
    #[error("{file}: architecture is `{found}`, not one of {wanted}")]
    Architecture {
        /// The file.
        file: String,
        /// `general.architecture` or the projector's type.
        found: String,
        /// What this program runs.
        wanted: &'static str,
    },
    /// A tensor that the architecture needs is not in the file.
    #[error("{file}: tensor `{tensor}` is missing")]
    MissingTensor {
        /// The file.
        file: String,
        /// The tensor's name.
        tensor: String,
    },
    /// A tensor has another shape than the hyperparameters ask for.
    #[error("{file}: tensor `{tensor}` has shape {found:?}, not {wanted:?}")]
    Shape {
        /// The file.
        file: String,
        /// The tensor's name.
        tensor: String,
        /// Its dimensions, fastest first.
        found: Vec<usize>,
        /// What the hyperparameters ask for.
        wanted: Vec<usize>,
    },
    /// A matrix is stored in a type that has no kernel.
    #[error("{file}: {source}")]
    NoKernel {
        /// The file.
        file: String,
        /// The tensor, its type, and those that have kernels.
        source: KernelError,
    },
    /// A vector is stored in a type that has no kernel.
    #[error("{file}: tensor `{tensor}` has type {found}; {supported}")]
    TensorType {
        /// The file.
        file: String,
        /// The tensor's name.
        tensor: String,
        /// Its type.
        found: GgmlType,
        /// The types that would do.
        supported: &'static str,
    },
    /// A hyperparameter is outside what any such model has.
    #[error("{file}: `{key}` is {found}, which is not {wanted}")]
    Hyperparameter {
        /// The file.
        file: String,
        /// The metadata key, or a relation between several.
        key: String,
        /// The value.
        found: String,
        /// What would be valid.
        wanted: String,
    },
    /// The caller asked to stop.
    #[error("interrupted")]
    Interrupted,
}
