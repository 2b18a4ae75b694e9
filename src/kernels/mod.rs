//! The hot loops, picked by CPU feature at run time.
