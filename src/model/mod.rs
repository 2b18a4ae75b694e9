//! Qwen2.5-VL: hyperparameters, vision tower, merger and language model.
