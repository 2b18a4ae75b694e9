//! What must hold for any bytes that are opened as a GGUF file. Shared by the fuzz target and the tests.

use qlens::gguf::{Array, Gguf, Value};

/// Opens the bytes and reads all that they claim to hold. Returns the message of a file that is refused.
///
/// # Panics
/// Something that must hold doesn't.
pub fn check(bytes: &[u8]) -> Result<(), String> {
    let gguf = match Gguf::from_vec("file.gguf", bytes.to_vec()) {
        Ok(gguf) => gguf,
        Err(e) => {
            let message = e.to_string();
            assert!(message.starts_with("file.gguf: ") && message.len() < 2000, "{message}");
            assert!(!message.chars().any(char::is_control), "one clean line: {message:?}");
            return Err(message);
        }
    };
    for (key, value) in gguf.metadata().iter() {
        let m = gguf.metadata();
        let read =
            [m.u32(key).is_ok(), m.u64(key).is_ok(), m.f32(key).is_ok(), m.bool(key).is_ok(), m.str(key).is_ok()];
        let lists = [m.strings(key).is_ok(), m.u32s(key).is_ok(), m.i32s(key).is_ok(), m.f32s(key).is_ok()];
        match value {
            Value::Array(a) => {
                assert!(!read.contains(&true));
                read_array(a);
            }
            _ => assert!(!lists.contains(&true)),
        }
    }
    let mut total = 0;
    for t in gguf.tensors() {
        assert_eq!(t.bytes().len(), t.row_bytes() * t.n_rows());
        assert_eq!(t.row(t.n_rows() - 1).len(), t.row_bytes());
        assert_eq!(gguf.tensor(t.name()).map(|t| t.bytes().as_ptr()), Some(t.bytes().as_ptr()));
        total += t.bytes().len();
    }
    assert!(total <= bytes.len(), "tensors don't overlap");
    Ok(())
}

fn read_array(array: &Array) {
    match array {
        Array::Scalars(s) => assert_eq!(s.iter().count(), s.len()),
        Array::Strings(s) => assert!(s.iter().map(str::len).sum::<usize>() < usize::MAX),
        Array::Arrays(inner) => inner.iter().for_each(read_array),
    }
}
