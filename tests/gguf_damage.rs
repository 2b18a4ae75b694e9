//! Damaged GGUF files are refused with a clear line or work; no panic, and no memory beyond a multiple of their size.
//!
//! `QLENS_FUZZ_SECONDS=300 cargo test --test gguf_damage -- --nocapture` goes on damaging files for so long.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

#[path = "../fuzz/gguf_check.rs"]
mod gguf_check;

/// Counts each thread's bytes, and the most that there were.
struct Counting;

thread_local! {
    static NOW: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    NOW.set(NOW.get() + bytes);
    PEAK.set(PEAK.get().max(NOW.get()));
}

// SAFETY: all calls go to the system's allocator unchanged; the counters neither allocate nor unwind.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promise, handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's promise, handed on.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Opens the bytes and reads through them, within bounded memory.
fn check(bytes: &[u8]) -> Result<(), String> {
    let before = NOW.get();
    PEAK.set(before);
    let result = gguf_check::check(bytes);
    let (used, bound) = (PEAK.get() - before, 40 * bytes.len() as isize + (1 << 16));
    assert!(used <= bound, "{used} bytes of memory for a file of {} (bound {bound})", bytes.len());
    result
}

fn folder(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn reference(path: &str) -> Vec<u8> {
    std::fs::read(folder("tests/reference").join(path)).expect("a reference file")
}

#[test]
fn a_model_cut_anywhere_is_refused() {
    for name in ["tiny-tied/model-q4_0.gguf", "tiny-tied/mmproj-q8_0.gguf", "qwen2.5-vocab.gguf"] {
        let whole = reference(name);
        assert_eq!(check(&whole), Ok(()));
        for percent in 0..100 {
            let message = check(&whole[..whole.len() * percent / 100]).expect_err("it is cut");
            assert!(message.contains("damaged"), "{name} cut to {percent} %: {message}");
        }
        for cut in 0..600 {
            assert!(check(&whole[..cut]).is_err(), "{name} cut to {cut} bytes");
        }
    }
}

/// Numbers that break careless arithmetic.
const EVIL: [u64; 12] =
    [0, 1, 31, 33, 0xff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 1 << 32, 1 << 60, i64::MAX as u64, u64::MAX];

/// Damages some bytes before `end`.
fn damage(bytes: &mut [u8], end: usize, random: &mut fastrand::Rng) {
    for _ in 0..random.usize(1..4) {
        let at = random.usize(..end.min(bytes.len()));
        match random.u8(..6) {
            0 | 1 => bytes[at] ^= 1 << random.u8(..8),
            2 => bytes[at] = random.u8(..),
            kind @ (3 | 4) => {
                let width = if kind == 3 { 4 } else { 8 };
                let number = EVIL[random.usize(..EVIL.len())].to_le_bytes();
                let n = width.min(bytes.len() - at);
                bytes[at..at + n].copy_from_slice(&number[..n]);
            }
            _ => {
                let from = random.usize(..end.min(bytes.len()));
                let n = random.usize(..32).min(bytes.len() - at.max(from));
                bytes.copy_within(from..from + n, at);
            }
        }
    }
}

/// The seeds of the fuzz target: small files, each with something else in it.
fn corpus() -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(folder("fuzz/corpus/gguf_header"))
        .expect("the corpus")
        .map(|entry| entry.expect("an entry").path())
        .map(|path| (path.display().to_string(), std::fs::read(&path).expect("a seed")))
        .collect();
    files.sort();
    assert!(files.len() >= 5, "the corpus is there");
    files
}

#[test]
fn the_fuzz_corpus() {
    let opened = corpus().into_iter().filter(|(name, bytes)| {
        let ok = check(bytes).is_ok();
        assert_eq!(ok, !name.contains("refused-"), "{name}");
        ok
    });
    assert!(opened.count() >= 3);
}

#[test]
fn flipped_bytes_in_a_reference_model() {
    let mut random = fastrand::Rng::with_seed(1);
    let whole = reference("tiny-tied/mmproj-q8_0.gguf");
    let (mut refused, rounds) = (0, 300);
    for _ in 0..rounds {
        let mut bytes = whole.clone();
        damage(&mut bytes, 8 << 10, &mut random);
        refused += usize::from(check(&bytes).is_err());
    }
    assert!(refused > rounds / 10, "{refused} of {rounds} refused: the damage reaches what counts");
}

#[test]
fn damaged_small_files() {
    let seconds = std::env::var("QLENS_FUZZ_SECONDS").ok().and_then(|s| s.parse().ok());
    let (start, seeds) = (Instant::now(), corpus());
    let mut random = fastrand::Rng::with_seed(seconds.unwrap_or(2));
    let (mut rounds, mut refused) = (0u64, 0u64);
    while rounds < 20_000 || seconds.is_some_and(|s| start.elapsed() < Duration::from_secs(s)) {
        let mut bytes = seeds[random.usize(..seeds.len())].1.clone();
        let end = bytes.len();
        damage(&mut bytes, end, &mut random);
        if random.u8(..8) == 0 {
            bytes.truncate(random.usize(..end));
        }
        refused += u64::from(check(&bytes).is_err());
        rounds += 1;
    }
    println!("{rounds} damaged files, {refused} refused, {:?}", start.elapsed());
    assert!(refused > rounds / 10 && refused < rounds, "{refused} of {rounds} refused");
}
