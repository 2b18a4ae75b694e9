//! Bounds that no real file reaches; they keep hostile ones from costing memory or time.

/// Metadata entries.
pub(super) const MAX_KEYS: u64 = 1 << 16;
/// Tensors.
pub(super) const MAX_TENSORS: u64 = 1 << 20;
/// Bytes of a metadata key.
pub(super) const MAX_KEY_BYTES: u64 = 1 << 16;
/// Bytes of a tensor's name (ggml itself allows 64).
pub(super) const MAX_NAME_BYTES: u64 = 1 << 10;
/// Dimensions of a tensor.
pub(super) const MAX_DIMS: u32 = 4;
/// Arrays within arrays.
pub(super) const MAX_NESTING: u32 = 4;
/// `general.alignment`.
pub(super) const MAX_ALIGNMENT: u64 = 1 << 20;
/// Parts of a split model.
pub(super) const MAX_PARTS: u64 = 4096;
