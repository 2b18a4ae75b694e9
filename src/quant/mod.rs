//! Block formats of quantized tensors, and their exact dequantization.
