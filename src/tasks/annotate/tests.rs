use std::path::{Path, PathBuf};

use super::*;
use crate::media::{Limits, Source, load_picture, write_png};

fn boxed(left: f64, top: f64, right: f64, bottom: f64, label: &str, group: usize) -> Mark {
    Mark { place: Place::Box(Rect { left, top, right, bottom }), label: label.into(), group }
}

fn point(x: f64, y: f64, label: &str, group: usize) -> Mark {
    Mark { place: Place::Point(Point { x, y }), label: label.into(), group }
}

/// A photo's stand-in: soft, light and dark.
fn ground(width: usize, height: usize) -> Rgb8 {
    let level = |x: usize, y: usize| {
        let (x, y) = (x as f64 / width as f64, y as f64 / height as f64);
        [x, y, 1.0 - x * y].map(|share| (255.0 * (0.15 + 0.7 * share)) as u8)
    };
    let data = (0..height).flat_map(|y| (0..width).flat_map(move |x| level(x, y))).collect();
    Rgb8 { width, height, data }
}

/// How different two pictures of one size look: the largest mean difference of a colour in any 8x8 block, 0 to 255. A
/// shifted letter shows, a level of rounding doesn't.
fn difference(a: &Rgb8, b: &Rgb8) -> f64 {
    assert_eq!((a.width, a.height), (b.width, b.height), "sizes");
    let mut worst: f64 = 0.0;
    for y0 in (0..a.height).step_by(8) {
        for x0 in (0..a.width).step_by(8) {
            let (a, b) = (a.cut([x0, y0, 8, 8]), b.cut([x0, y0, 8, 8]));
            for colour in 0..3 {
                let mean = |p: &Rgb8| {
                    let levels = p.data.iter().skip(colour).step_by(3);
                    levels.map(|&x| f64::from(x)).sum::<f64>() / (p.width * p.height) as f64
                };
                worst = worst.max((mean(&a) - mean(&b)).abs());
            }
        }
    }
    worst
}

/// Compares with the picture that is stored under this name. Run with QLENS_WRITE_PICTURES=1, it stores it.
fn looks_as_stored(name: &str, picture: &Rgb8) {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/annotated").join(name);
    if std::env::var_os("QLENS_WRITE_PICTURES").is_some() {
        let mut bytes = Vec::new();
        write_png(picture, &mut bytes).expect("encoded");
        std::fs::write(&path, bytes).expect("written");
    }
    let stored = load_picture(&Source::Path(path), &Limits::default()).expect("stored").image;
    let worst = difference(picture, &stored);
    assert!(
        worst < 2.0,
        "{name} looks different ({worst:.1}): see it with\n  \
         QLENS_WRITE_PICTURES=1 cargo test --lib tasks::annotate\nand keep it if it is as it should be"
    );
}

#[test]
fn boxes_points_and_labels_look_as_they_did() {
    let marks = [
        boxed(60.0, 60.0, 250.0, 200.0, "red circle", 0),
        boxed(240.0, 90.0, 420.0, 330.0, "Grüße, Łódź", 1),
        boxed(0.0, 0.0, 640.0, 480.0, "all of it", 2),
        boxed(450.3, 20.7, 620.9, 140.0, "yellow", 3),
        boxed(430.0, 200.0, 610.0, 300.0, "dashed", 8),
        boxed(500.0, 400.0, 508.0, 406.0, "tiny 日本", 5),
        point(100.0, 400.0, "point", 4),
        point(330.0, 420.5, "", 6),
    ];
    looks_as_stored("marks.png", &annotate(&ground(640, 480), &marks));
}

#[test]
fn lines_and_letters_grow_with_the_picture() {
    let marks = [boxed(300.0, 300.0, 1400.0, 900.0, "large", 0), point(1700.0, 600.0, "point", 1)];
    let large = annotate(&ground(2000, 1200), &marks);
    // Stored at a quarter of its size: that is how it is looked at.
    looks_as_stored("large.png", &crate::media::resize_bicubic(&large, 500, 300));
}

#[test]
fn labels_that_would_cover_each_other_make_room() {
    let marks: Vec<Mark> =
        (0..4).map(|i| boxed(100.0 + f64::from(i), 100.0, 300.0, 200.0, "the same place", i as usize)).collect();
    let mut canvas = Canvas::new(&ground(640, 480));
    for (i, mark) in marks.iter().enumerate() {
        canvas.label(mark, &marks[..i], &marks[i + 1..]);
    }
    for (i, a) in canvas.taken.iter().enumerate() {
        assert!(canvas.taken[..i].iter().all(|b| common(*a, *b) == 0), "{:?}", canvas.taken);
    }
}

#[test]
fn nothing_is_drawn_outside_and_nothing_fails() {
    let extreme = [
        boxed(-1e9, -1e9, 1e9, 1e9, "x", 0),
        boxed(0.0, 0.0, 0.5, 0.5, &"long ".repeat(1000), 1),
        boxed(f64::NAN, 0.0, 1.0, 1.0, "\u{1b}[2J\u{202e}", usize::MAX),
        point(f64::INFINITY, f64::NAN, "x", 9),
        point(-5.0, 1e6, "x", 9),
    ];
    for (width, height) in [(1, 1), (3, 200), (200, 3), (64, 64)] {
        let drawn = annotate(&Rgb8::filled(width, height, [9; 3]), &extreme);
        assert_eq!((drawn.width, drawn.height, drawn.data.len()), (width, height, width * height * 3));
    }
    assert_eq!(shown("\u{1b}[2J a\n b\u{202e}"), "?[2J a b?");
    assert_eq!(shown(&"x".repeat(100)).chars().count(), MAX_LETTERS);
}

#[test]
fn colours_are_told_apart_by_everyone_who_sees() {
    // Machado et al. 2009, full protanopia, deuteranopia and tritanopia, on linear RGB.
    const SEEN: [[[f64; 3]; 3]; 3] = [
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    ];
    let linear = |colour: [u8; 3]| colour.map(|x| (f64::from(x) / 255.0).powf(2.2));
    for seen in SEEN {
        let as_seen = |colour: [u8; 3]| {
            let c = linear(colour);
            seen.map(|row| (row[0] * c[0] + row[1] * c[1] + row[2] * c[2]).clamp(0.0, 1.0).powf(1.0 / 2.2) * 255.0)
        };
        for (i, a) in COLOURS.iter().enumerate() {
            for b in &COLOURS[..i] {
                let (a, b) = (as_seen(*a), as_seen(*b));
                let far = (0..3).map(|c| (a[c] - b[c]).powi(2)).sum::<f64>().sqrt();
                assert!(far > 25.0, "{a:?} {b:?}: {far}");
            }
        }
    }
}
