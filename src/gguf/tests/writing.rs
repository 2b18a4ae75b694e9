//! What is written is read back; split models.

use std::io::Write;

use super::*;

/// A writer with `n` tensors of 8 numbers named `PREFIX.i`, tensor `i` holding `i`s.
fn small(prefix: &str, n: usize) -> GgufWriter {
    let mut w = GgufWriter::new();
    for i in 0..n {
        w.tensor(&format!("{prefix}.{i}"), GgmlType::F32, &[4, 2]).unwrap();
    }
    w
}

fn fill(i: usize, out: &mut dyn Write) -> std::io::Result<()> {
    out.write_all(&[i as u8; 32])
}

fn in_memory(w: &GgufWriter) -> Gguf {
    let mut bytes = Vec::new();
    w.write_to(&mut bytes, "test", &mut fill).unwrap();
    Gguf::from_vec("test", bytes).unwrap()
}

#[test]
fn values_of_every_type_come_back() {
    let texts = Value::Array(Array::Strings(StringArray::from_texts(&["", "é", "\n"]).unwrap()));
    let Value::Array(inner) = Value::from(&[1u32, 2][..]) else { unreachable!() };
    let values = [
        Value::U8(200),
        Value::I8(-3),
        Value::U16(60_000),
        Value::I16(-30_000),
        Value::U32(u32::MAX),
        Value::I32(i32::MIN),
        Value::F32(-0.5),
        Value::Bool(true),
        Value::from("text é"),
        texts,
        Value::U64(u64::MAX),
        Value::I64(i64::MIN),
        Value::F64(1e300),
        Value::from(&[1.5f32, -2.0][..]),
        Value::from(&[-1i32, 7][..]),
        Value::Array(Array::Arrays(vec![inner.clone(), inner])),
    ];
    let mut w = GgufWriter::new();
    for (i, value) in values.iter().enumerate() {
        w.metadata(&format!("key.{i}"), value.clone()).unwrap();
    }
    let g = in_memory(&w);
    let m = g.metadata();
    assert_eq!(m.iter().map(|(k, _)| k).collect::<Vec<_>>(), (0..16).map(|i| format!("key.{i}")).collect::<Vec<_>>());
    for ((_, read), written) in m.iter().zip(&values) {
        let bytes = |v: &Value| {
            let mut out = Vec::new();
            v.append_to(&mut out);
            out
        };
        assert_eq!(bytes(read), bytes(written));
    }
    assert_eq!((m.u32("key.0").unwrap(), m.f32("key.6").unwrap()), (Some(200), Some(-0.5)));
    assert_eq!(m.strings("key.9").unwrap().unwrap().iter().collect::<Vec<_>>(), ["", "é", "\n"]);
    assert_eq!(m.f32s("key.13").unwrap().unwrap(), [1.5, -2.0]);
    assert_eq!(m.i32s("key.14").unwrap().unwrap(), [-1, 7]);
    let wrong = m.u32s("key.14").unwrap_err().to_string();
    assert_eq!(wrong, "test: metadata `key.14` is an array of 2, not an array of unsigned 32-bit integers");
    assert!(m.u32("key.5").is_err() && m.u32("key.10").is_err() && m.u64("key.11").is_err());
}

#[test]
fn a_reference_model_is_written_as_it_was() {
    let path = reference("tiny-tied/mmproj-q8_0.gguf");
    let g = Gguf::open(&path).unwrap();
    let mut w = GgufWriter::new();
    for (key, value) in g.metadata().iter() {
        w.metadata(key, value.clone()).unwrap();
    }
    for t in g.tensors() {
        w.tensor(t.name(), t.ty(), t.dims()).unwrap();
    }
    let tensors: Vec<&Tensor> = g.tensors().collect();
    let mut out = Vec::new();
    w.write_to(&mut out, "copy", &mut |i, out| out.write_all(tensors[i].bytes())).unwrap();
    assert!(out == std::fs::read(&path).unwrap(), "the same bytes");
}

#[test]
fn tensors_lie_aligned() {
    let mut w = small("t", 2);
    w.metadata("general.alignment", Value::U32(256)).unwrap();
    let g = in_memory(&w);
    assert_eq!(g.tensor("t.1").unwrap().row(1), [1; 16]);
    assert_eq!(g.mapped_bytes() % 256, 0);
}

#[test]
fn what_cannot_be_written_is_refused() {
    let mut w = small("t", 1);
    w.metadata("k", Value::U8(1)).unwrap();
    let mut failed: Vec<String> = Vec::new();
    let mut note = |r: Result<&mut GgufWriter, GgufError>| failed.push(r.unwrap_err().to_string());
    note(w.metadata("k", Value::U8(1)));
    note(w.metadata("general.alignment", Value::U32(24)));
    note(w.tensor("t.0", GgmlType::F32, &[1]));
    note(w.tensor("x", GgmlType::Q4_K, &[128]));
    note(w.tensor("x", GgmlType::F32, &[1; 5]));
    for n in [31usize, 33] {
        let e = w.write_to(&mut Vec::new(), "file", &mut |_, out| out.write_all(&vec![0; n])).unwrap_err();
        failed.push(e.to_string());
    }
    let wanted = [
        "GGUF file: cannot be written: metadata `k` is given twice",
        "GGUF file: cannot be written: `general.alignment` is 24, not an unsigned 32-bit power of two up to 1048576",
        "GGUF file: cannot be written: tensor `t.0`: it is given twice",
        "GGUF file: cannot be written: tensor `x`: its rows of 128 are no whole number of Q4_K blocks of 256",
        "GGUF file: cannot be written: tensor `x`: 5 dimensions (1 to 4)",
        "GGUF file: cannot be written: tensor `t.0`: 31 bytes instead of 32",
        "file: more bytes than the tensor has",
    ];
    assert_eq!(failed, wanted);
}

#[test]
fn a_failed_write_leaves_the_old_file_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.gguf");
    small("t", 2).write_file(&path, &mut fill).unwrap();
    let before = std::fs::read(&path).unwrap();
    let broken = small("t", 3).write_file(&path, &mut |i, out| {
        if i == 2 { Err(std::io::Error::other("the source failed")) } else { fill(i, out) }
    });
    assert!(broken.unwrap_err().to_string().ends_with("m.gguf: the source failed"));
    assert_eq!(std::fs::read(&path).unwrap(), before);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no half file is left");
    assert_eq!(Gguf::open(&path).unwrap().tensors().len(), 2);
}

/// Writes part `number` (from 1) of `count` with two tensors.
fn part(folder: &Path, number: usize, count: usize, numbered: u16) -> std::path::PathBuf {
    let mut w = small(&format!("part{number}"), 2);
    w.metadata("split.no", Value::U16(numbered)).unwrap();
    w.metadata("split.count", Value::U16(count as u16)).unwrap();
    w.metadata("split.tensors.count", Value::I32(2 * count as i32)).unwrap();
    let path = folder.join(format!("m-{number:05}-of-{count:05}.gguf"));
    w.write_file(&path, &mut fill).unwrap();
    path
}

#[test]
fn split_models() {
    let folder = tempfile::tempdir().unwrap();
    let paths: Vec<_> = (1..=3).map(|n| part(folder.path(), n, 3, n as u16 - 1)).collect();
    let g = Gguf::open(&paths[0]).unwrap();
    assert_eq!(g.tensors().len(), 6);
    assert_eq!(g.tensor("part3.1").unwrap().bytes(), [1; 32]);
    assert_eq!(g.mapped_bytes(), paths.iter().map(|p| p.metadata().unwrap().len()).sum::<u64>());

    let error = || Gguf::open(&paths[0]).unwrap_err().to_string();
    let second = Gguf::open(&paths[1]).unwrap_err().to_string();
    assert!(second.contains("part 2 of a split model; give the first: ") && second.ends_with("m-00001-of-00003.gguf"));
    let alone = Gguf::from_vec("alone", std::fs::read(&paths[0]).unwrap()).unwrap_err().to_string();
    assert_eq!(alone, "alone: one of 3 parts of a model, which can be opened only as files in a folder");

    part(folder.path(), 2, 3, 2);
    assert!(error().ends_with("m-00002-of-00003.gguf is no part 2 of 3 of this model"), "{}", error());
    std::fs::copy(&paths[2], &paths[1]).unwrap();
    assert!(error().contains("is no part 2 of 3"), "{}", error());
    std::fs::remove_file(&paths[1]).unwrap();
    assert!(
        error().contains("part 2 of 3 is missing: ") && error().ends_with("must be in the same folder"),
        "{}",
        error()
    );

    let other = folder.path().join("renamed.gguf");
    std::fs::copy(&paths[0], &other).unwrap();
    let renamed = Gguf::open(&other).unwrap_err().to_string();
    assert!(renamed.ends_with("a part of a model in 3 files, but not named `…-00001-of-00003.gguf`"), "{renamed}");
}

#[test]
fn a_split_model_that_lacks_tensors_or_has_them_twice_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let write = |number: u16, prefix: &str, total: u32| {
        let mut w = small(prefix, 1);
        w.metadata("split.no", Value::U16(number)).unwrap();
        w.metadata("split.count", Value::U16(2)).unwrap();
        w.metadata("split.tensors.count", Value::U32(total)).unwrap();
        let path = folder.path().join(format!("m-{:05}-of-00002.gguf", number + 1));
        w.write_file(&path, &mut fill).unwrap();
        path
    };
    let (first, _) = (write(0, "a", 3), write(1, "b", 3));
    let error = || Gguf::open(&first).unwrap_err().to_string();
    assert!(error().ends_with("its parts hold 2 tensors instead of 3"), "{}", error());
    write(1, "a", 2);
    assert!(error().ends_with("tensor `a.0` is in two parts"), "{}", error());
}
