//! Tokenizer and chat template, as the model file has them.
