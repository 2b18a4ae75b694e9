//! Files that lie: each is refused, and says why.

use super::super::header::shown;
use super::*;

/// A file's bytes, put together without any check.
struct Raw(Vec<u8>);

impl Raw {
    fn new(tensors: u64, keys: u64) -> Raw {
        Raw(b"GGUF\x03\0\0\0".to_vec()).u64(tensors).u64(keys)
    }

    fn u32(mut self, x: u32) -> Raw {
        self.0.extend(x.to_le_bytes());
        self
    }

    fn u64(mut self, x: u64) -> Raw {
        self.0.extend(x.to_le_bytes());
        self
    }

    fn bytes(mut self, b: &[u8]) -> Raw {
        self.0.extend(b);
        self
    }

    fn string(self, s: &[u8]) -> Raw {
        self.u64(s.len() as u64).bytes(s)
    }

    /// A key with an unsigned 32-bit number.
    fn number(self, key: &str, x: u32) -> Raw {
        self.string(key.as_bytes()).u32(4).u32(x)
    }

    fn tensor(self, name: &[u8], dims: &[u64], ty: u32, offset: u64) -> Raw {
        let head = self.string(name).u32(dims.len() as u32);
        dims.iter().fold(head, |r, &d| r.u64(d)).u32(ty).u64(offset)
    }

    /// Zeros to the next multiple of 32, then `n` more.
    fn data(mut self, n: usize) -> Raw {
        self.0.resize(self.0.len().next_multiple_of(32) + n, 0);
        self
    }

    fn error(self) -> String {
        match Gguf::from_vec("bad.gguf", self.0) {
            Ok(_) => "was accepted".to_owned(),
            Err(e) => e.to_string(),
        }
    }
}

/// Compares all cases and reports every difference at once.
#[track_caller]
fn expect(cases: Vec<(Raw, &str)>) {
    let wrong: Vec<String> = cases
        .into_iter()
        .map(|(raw, wanted)| (raw.error(), format!("bad.gguf: {wanted}")))
        .filter(|(found, wanted)| found != wanted)
        .map(|(found, wanted)| format!("\n  wanted {wanted}\n  found  {found}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.concat());
}

#[test]
fn headers() {
    let start = |version: u32| Raw(b"GGUF".to_vec()).u32(version).u64(0).u64(0);
    expect(vec![
        (
            Raw(Vec::new()),
            "truncated or damaged: the magic number at byte 0 needs 4 bytes, but only 0 are left; download it again",
        ),
        (Raw(b"ggml\x01\0\0\0".to_vec()), "not a GGUF file: it starts with `ggml` instead of `GGUF`"),
        (Raw(b"\x1b[2J".to_vec()), "not a GGUF file: it starts with `\\u{1b}[2J` instead of `GGUF`"),
        (start(1), "GGUF version 1; versions 2 and 3 are supported"),
        (start(4), "GGUF version 4; versions 2 and 3 are supported"),
        (start(3u32.swap_bytes()), "a big-endian GGUF file; only little-endian ones are supported"),
        (
            Raw(b"GGUF\x03\0\0\0\0\0".to_vec()),
            "truncated or damaged: the number of tensors at byte 8 needs 8 bytes, but only 2 are left; download it again",
        ),
    ]);
    assert!(Gguf::from_vec("two", start(2).0).is_ok(), "version 2 and nothing in it");
}

#[test]
fn counts() {
    expect(vec![
        (Raw::new(0, u64::MAX), "damaged: 18446744073709551615 metadata entries (at most 65536)"),
        (Raw::new(u64::MAX, 0), "damaged: 18446744073709551615 tensors, but only 0 bytes are left in the file"),
        (Raw::new(2, 0).data(40), "damaged: 2 tensors, but only 48 bytes are left in the file"),
        (
            Raw::new(0, 2).number("a", 1),
            "truncated or damaged: a metadata key at byte 41 needs 8 bytes, but only 0 are left; download it again",
        ),
    ]);
}

#[test]
fn keys_and_values() {
    let array = |kind: u32, n: u64| Raw::new(0, 1).string(b"k").u32(9).u32(kind).u64(n);
    expect(vec![
        (
            Raw::new(0, 1).u64(u64::MAX),
            "damaged: a metadata key at byte 32 claims 18446744073709551615 bytes (at most 65536)",
        ),
        (Raw::new(0, 1).string(b"k\xff").u32(4).u32(1), "damaged: a metadata key at byte 32 is not UTF-8"),
        (Raw::new(0, 2).number("k", 1).number("k", 2), "damaged: metadata `k` occurs twice"),
        (Raw::new(0, 1).string(b"k").u32(13), "damaged: metadata `k` has type number 13 (0 to 12 are defined)"),
        (
            Raw::new(0, 1).string(b"\x1b[2J\n").u32(13),
            "damaged: metadata `\\u{1b}[2J\\n` has type number 13 (0 to 12 are defined)",
        ),
        (Raw::new(0, 1).string(b"k").u32(7).bytes(&[2]), "damaged: metadata `k` is a truth value of 2 (0 or 1)"),
        (Raw::new(0, 1).string(b"k").u32(8).string(b"\xc3"), "damaged: metadata `k` at byte 45 is not UTF-8"),
        (
            Raw::new(0, 1).string(b"k").u32(8).u64(1 << 60),
            "truncated or damaged: metadata `k` at byte 45 needs 1152921504606846976 bytes, but only 0 are left; download it again",
        ),
        (array(10, u64::MAX), "damaged: metadata `k`, an array of 18446744073709551615 overflows"),
        (
            array(4, 1 << 40),
            "truncated or damaged: metadata `k`, an array of 1099511627776 at byte 49 needs 4398046511104 bytes, but only 0 are left; download it again",
        ),
        (array(8, 1 << 40), "damaged: metadata `k`, an array of 1099511627776, but only 0 bytes are left in the file"),
        (array(8, 1).string(b"\xff"), "damaged: metadata `k`, an array of 1: element 0 is not UTF-8"),
        (array(13, 0), "damaged: metadata `k` has type number 13 (0 to 12 are defined)"),
        (
            array(9, u64::MAX),
            "truncated or damaged: a metadata type at byte 49 needs 4 bytes, but only 0 are left; download it again",
        ),
        ((0..4).fold(array(9, 1), |r, _| r.u32(9).u64(1)), "metadata `k` nests arrays more than 4 deep"),
    ]);
}

#[test]
fn alignments() {
    let aligned = |a: u32| Raw::new(0, 1).number("general.alignment", a);
    expect(vec![
        (aligned(0), "`general.alignment` is 0, not a power of two up to 1048576"),
        (aligned(48), "`general.alignment` is 48, not a power of two up to 1048576"),
        (aligned(1 << 31), "`general.alignment` is 2147483648, not a power of two up to 1048576"),
        (
            Raw::new(0, 1).string(b"general.alignment").u32(8).string(b"32"),
            "metadata `general.alignment` is the text `32`, not an unsigned 64-bit integer",
        ),
    ]);
}

#[test]
fn tensor_entries() {
    let one = |dims: &[u64], ty, offset| Raw::new(1, 0).tensor(b"t", dims, ty, offset).data(256);
    expect(vec![
        (one(&[], 0, 0), "damaged: tensor `t` has 0 dimensions (1 to 4)"),
        (one(&[1; 5], 0, 0), "damaged: tensor `t` has 5 dimensions (1 to 4)"),
        (one(&[4, 0], 0, 0), "damaged: tensor `t`: its dimensions [4, 0] have a zero"),
        (one(&[33], 2, 0), "damaged: tensor `t`: its rows of 33 are no whole number of Q4_0 blocks of 32"),
        (one(&[1 << 32, 1 << 32], 0, 0), "damaged: tensor `t`: its dimensions [4294967296, 4294967296] overflow"),
        (one(&[u64::MAX], 0, 0), "damaged: tensor `t`: its dimensions [18446744073709551615] overflow"),
        (one(&[4], 4, 0), "tensor `t` has type number 4, which is unknown or no longer used"),
        (one(&[4], 4000, 0), "tensor `t` has type number 4000, which is unknown or no longer used"),
        (one(&[4], 0, 16), "damaged: tensor `t` has offset 16, no multiple of 32"),
        (one(&[4], 0, u64::MAX), "damaged: tensor `t` has offset 18446744073709551615"),
        (
            one(&[4], 0, 256),
            "truncated or damaged: tensor `t` ends at byte 336, but the file has 320; download it again",
        ),
        (
            one(&[1024], 0, 0),
            "truncated or damaged: tensor `t` ends at byte 4160, but the file has 320; download it again",
        ),
        (Raw::new(1, 0).u64(1025).data(2000), "damaged: a tensor's name at byte 32 claims 1025 bytes (at most 1024)"),
        (Raw::new(1, 0).tensor(b"\xfft", &[4], 0, 0).data(32), "damaged: a tensor's name at byte 32 is not UTF-8"),
        (
            Raw::new(2, 0).tensor(b"t", &[4], 0, 0).tensor(b"t", &[4], 0, 32).data(64),
            "damaged: tensor `t` occurs twice",
        ),
        (
            Raw::new(2, 0).tensor(b"a", &[16], 0, 0).tensor(b"b", &[4], 0, 32).data(64),
            "damaged: tensors `a` and `b` overlap",
        ),
        (
            Raw::new(2, 0).tensor(b"\x1b[31m", &[16], 0, 32).tensor(b"b", &[24], 0, 0).data(128),
            "damaged: tensors `b` and `\\u{1b}[31m` overlap",
        ),
    ]);
}

#[test]
fn long_names_are_cut_in_messages() {
    let key = "\u{7}".repeat(60_000);
    let message = Raw::new(0, 1).string(key.as_bytes()).u32(99).error();
    assert!(message.len() < 600, "{} bytes", message.len());
    assert_eq!(shown(&"é".repeat(81)), format!("{}…", "é".repeat(80)));
}

#[test]
fn a_view_stays_in_its_tensor() {
    let bytes: Vec<u8> = (0..64).collect();
    let whole = Tensor::from_parts("t", GgmlType::F32, &[2, 8], bytes).unwrap();
    let part = whole.slice_rows(2, 2);
    assert_eq!((part.dims(), part.bytes(), part.row(1)), (&[2, 2][..], &whole.bytes()[16..32], whole.row(3)));
    assert!(std::panic::catch_unwind(|| part.slice_rows(1, 2)).is_err(), "beyond the view, inside of its storage");
}

#[test]
fn paths_that_are_no_files() {
    let folder = tempfile::tempdir().unwrap();
    let error = |path: &Path| Gguf::open(path).unwrap_err().to_string();
    assert!(error(folder.path()).ends_with("is a folder, not a GGUF file"), "{}", error(folder.path()));
    assert!(matches!(Gguf::open(&folder.path().join("none.gguf")), Err(GgufError::Io { .. })));
    let empty = folder.path().join("empty.gguf");
    std::fs::write(&empty, b"").unwrap();
    assert!(error(&empty).ends_with("empty.gguf: the file is empty"), "{}", error(&empty));
    #[cfg(unix)]
    assert!(error(Path::new("/dev/null")).contains("is a pipe or device"), "{}", error(Path::new("/dev/null")));
}
