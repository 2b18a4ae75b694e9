//! Pictures and clips in; pixels the model was trained on out.
