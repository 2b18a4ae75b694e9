//! Reads a clip as a question about it would, without a model: `bench_clip CLIP`. Prints, as `key value` lines, seconds
//! to look through it and to decode and resize what is sampled, the frames, and the most memory that was resident.
//! `scripts/bench-hour` compares that with the ffmpeg program.

use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;
use std::time::Instant;

use qlens::media::sampling::SampleOptions;
use qlens::media::{Clip, DecodeAhead, Limits, MediaError, PatchConfig, Source};

fn main() {
    let path = std::env::args_os().nth(1).map(PathBuf::from).expect("usage: bench_clip CLIP");
    if let Err(error) = bench(path) {
        eprintln!("error: {error}");
        std::process::exit(1);
    }
}

fn bench(path: PathBuf) -> Result<(), MediaError> {
    let start = Instant::now();
    let clip = Clip::open(&Source::Path(path), &Limits::default())?;
    let plan = clip.plan(None, &SampleOptions::default(), &PatchConfig::default())?;
    let opened = start.elapsed().as_secs_f64();
    let (decoded, mut values) = (AtomicUsize::new(0), 0.0);
    // As many groups ahead as a session would have: a batch of 2048 patches.
    let groups = (2048 / plan.patches_per_group()).max(1);
    let warning = clip.for_each_group(&plan, DecodeAhead { groups, decoded: &decoded }, |group| {
        values += f64::from(group.pixel_values[group.pixel_values.len() / 2]);
        Ok::<_, MediaError>(())
    })?;
    let total = start.elapsed().as_secs_f64();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("").trim().trim_end_matches(" kB");
    println!(
        "open_s {opened:.3}\ntotal_s {total:.3}\nframes {}\nfirst {}\nlast {}",
        plan.n_frames(),
        plan.indices[0],
        plan.indices[plan.n_frames() - 1]
    );
    println!(
        "clip_frames {}\nwidth {}\nheight {}\npeak_kb {peak}",
        clip.info().n_frames,
        plan.resized.0,
        plan.resized.1
    );
    println!("warning {}", warning.map_or("none".to_owned(), |w| w.to_string()));
    eprintln!("(checksum {values:.3})");
    Ok(())
}
