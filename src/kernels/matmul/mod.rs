//! Matrix products over the mapped blocks.

/// Buffers of the matrix products, kept between calls.
#[derive(Default)]
pub(crate) struct MatmulScratch {}
