//! Every kind of picture file against Pillow, and what becomes of files that are damaged or lie.
//!
//! The pictures and what Pillow makes of them come from `tests/media/make_pictures.py`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use qlens::media::{
    Limits, MediaError, MediaErrorKind, MediaProblem, PatchConfig, Picture, PixelBudget, Rgb8, Source, load_picture,
    picture_patches,
};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/media/pictures")
}

/// The committed pictures, without those that say what is expected.
fn pictures() -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(folder()).expect("the committed pictures").map(|e| e.expect("an entry").path());
    let mut files: Vec<PathBuf> = entries.filter(|p| !p.to_string_lossy().ends_with(".expected.png")).collect();
    files.sort();
    assert!(files.len() > 30, "pictures are missing: only {} there", files.len());
    let name = |p: &Path| p.file_name().expect("a name").to_string_lossy().into_owned();
    files.iter().map(|p| (name(p), std::fs::read(p).expect("readable"))).collect()
}

fn load(name: &str, bytes: &[u8]) -> Result<Picture, MediaError> {
    load_picture(&Source::Bytes { name: name.to_owned(), bytes: Arc::from(bytes) }, &Limits::default())
}

fn read(name: &str) -> Vec<u8> {
    std::fs::read(folder().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// The largest and the mean difference between two pictures of one size.
fn difference(a: &Rgb8, b: &Rgb8) -> (u8, f64) {
    assert_eq!((a.width, a.height), (b.width, b.height));
    let each = || a.data.iter().zip(&b.data).map(|(a, b)| a.abs_diff(*b));
    (each().max().unwrap_or(0), each().map(f64::from).sum::<f64>() / a.data.len() as f64)
}

#[test]
fn every_kind_matches_pillow() {
    let mut failures = Vec::new();
    for (name, bytes) in pictures() {
        let expected = folder().join(format!("{name}.expected.png"));
        if !expected.exists() {
            continue;
        }
        let expected = load_picture(&Source::Path(expected), &Limits::default()).expect("an RGB PNG").image;
        match load(&name, &bytes) {
            Ok(picture) => {
                // All are exact but JPEG, whose decoder interpolates chroma with another rounding than libjpeg's.
                let bound = if name.ends_with(".jpg") { (2, 0.5) } else { (0, 0.0) };
                let (max, mean) = difference(&picture.image, &expected);
                if max > bound.0 || mean > bound.1 {
                    failures.push(format!("{name}: differs by up to {max}, {mean:.3} in the mean"));
                }
            }
            Err(error) => failures.push(error.to_string()),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn content_counts_and_not_the_name() {
    let picture = load("photo.tiff", &read("444.jpg")).expect("a JPEG");
    assert_eq!(picture.info.format.name(), "JPEG");
    assert_eq!(picture.info.name, "photo.tiff");
    // SHA-256 of the file, as sha256sum prints it.
    let hex: String =
        load("x", &read("1x1.png")).expect("a PNG").info.sha256.iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(hex, "0bea5cdae38ba4b264f48d58f9d9d9db745ee66d021db66f280b8d50a8ed3fc2");
}

#[test]
fn smallest_and_thinnest() {
    let budget = PixelBudget { min_pixels: 3136, max_pixels: 12_845_056 };
    let dot = load("1x1.png", &read("1x1.png")).expect("a PNG").image;
    let patches = picture_patches(&dot, budget, &PatchConfig::default()).expect("fits");
    assert_eq!((patches.grid_thw, patches.resized), ([1, 4, 4], (56, 56)));

    let thin = load("20000x3.png", &read("20000x3.png")).expect("a PNG").image;
    let error = picture_patches(&thin, budget, &PatchConfig::default()).expect_err("too thin").at("20000x3.png");
    assert_eq!(error.kind(), MediaErrorKind::BadContent);
    assert!(error.to_string().starts_with("20000x3.png: 20000x3 pixels: one side is more than 200 times"), "{error}");
}

/// A JPEG with an EXIF block that holds nothing but an orientation.
fn with_orientation(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let mut exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
    let mut file = jpeg[..2].to_vec();
    file.extend([0xff, 0xe1]);
    file.extend((exif.len() as u16 + 2).to_be_bytes());
    file.extend(&exif);
    file.extend(&jpeg[2..]);
    file
}

#[test]
fn photos_are_turned_upright() {
    let jpeg = read("444.jpg");
    let stored = load("stored", &jpeg).expect("a JPEG").image;
    let pixel = |picture: &Rgb8, x: usize, y: usize| picture.row(y)[x * 3..x * 3 + 3].to_vec();
    let (right, bottom) = (stored.width - 1, stored.height - 1);
    // Where the stored picture's top left and top right corners come to stand, by the EXIF standard's definition.
    let corners: [[(bool, bool); 2]; 8] = [
        [(false, false), (true, false)],
        [(true, false), (false, false)],
        [(true, true), (false, true)],
        [(false, true), (true, true)],
        [(false, false), (false, true)],
        [(true, false), (true, true)],
        [(true, true), (true, false)],
        [(false, true), (false, false)],
    ];
    for (orientation, [top_left, top_right]) in (1..).zip(corners) {
        let picture = load("turned", &with_orientation(&jpeg, orientation)).expect("a JPEG");
        assert_eq!(picture.info.orientation, orientation);
        let turned = picture.image;
        let size = if orientation > 4 { (stored.height, stored.width) } else { (stored.width, stored.height) };
        assert_eq!((turned.width, turned.height), size, "orientation {orientation}");
        assert_eq!((picture.info.width, picture.info.height), size);
        let at = |(x, y): (bool, bool)| {
            pixel(&turned, if x { turned.width - 1 } else { 0 }, if y { turned.height - 1 } else { 0 })
        };
        assert_eq!(at(top_left), pixel(&stored, 0, 0), "orientation {orientation}: top left");
        assert_eq!(at(top_right), pixel(&stored, right, 0), "orientation {orientation}: top right");
    }
    assert_ne!(pixel(&stored, 0, 0), pixel(&stored, 0, bottom), "corners tell nothing when they're equal");
    // Values that aren't defined, and damaged EXIF blocks, mean "as stored".
    for orientation in [0, 9, 255] {
        let picture = load("odd", &with_orientation(&jpeg, orientation)).expect("a JPEG");
        assert_eq!((picture.info.orientation, picture.image), (1, stored.clone()));
    }
}

/// Headers that claim 60000x60000 pixels, or as many as their format can.
fn bombs() -> Vec<(&'static str, Vec<u8>)> {
    let mut png = read("rgb.png");
    png[16..24].copy_from_slice(&[60_000u32.to_be_bytes(), 60_000u32.to_be_bytes()].concat());
    let crc = crc32(&png[12..29]);
    png[29..33].copy_from_slice(&crc.to_be_bytes());

    let mut jpeg = read("444.jpg");
    let sof = jpeg.windows(2).position(|w| w == [0xff, 0xc0]).expect("a frame header");
    jpeg[sof + 5..sof + 9].copy_from_slice(&[60_000u16.to_be_bytes(), 60_000u16.to_be_bytes()].concat());

    let mut bmp = read("rgb.bmp");
    bmp[18..26].copy_from_slice(&[60_000u32.to_le_bytes(), 60_000u32.to_le_bytes()].concat());

    let mut gif = read("palette.gif");
    gif[6..10].copy_from_slice(&[60_000u16.to_le_bytes(), 60_000u16.to_le_bytes()].concat());

    let mut tiff = read("rgb.tif");
    let directory = u32::from_le_bytes(tiff[4..8].try_into().expect("four bytes")) as usize;
    for entry in tiff[directory + 2..].chunks_exact_mut(12) {
        // Width, height and rows per strip.
        if [256u16, 257, 278].iter().any(|tag| entry[..2] == tag.to_le_bytes()) {
            entry[2..4].copy_from_slice(&4u16.to_le_bytes());
            entry[8..12].copy_from_slice(&60_000u32.to_le_bytes());
        }
    }
    vec![("png", png), ("jpeg", jpeg), ("bmp", bmp), ("gif", gif), ("tiff", tiff)]
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, &b| {
        (0..8).fold(crc ^ u32::from(b), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

#[test]
fn bombs_are_refused_by_their_header() {
    for (name, bytes) in bombs() {
        let started = std::time::Instant::now();
        let error = load(name, &bytes).expect_err(name);
        let line = error.to_string();
        assert!(matches!(error.problem(), MediaProblem::TooManyPixels { .. }), "{line}");
        assert!(line.contains("60000x60000 pixels are more than the 178956970 that are accepted"), "{line}");
        // Nothing of that size has been filled, or this would take seconds.
        assert!(started.elapsed().as_millis() < 500, "{name} took {:?}", started.elapsed());
    }
    let limits = Limits { max_pixels: 521, ..Limits::default() };
    let source = Source::Path(folder().join("rgb.png"));
    assert!(load_picture(&source, &limits).is_err(), "29x18 is 522 pixels");
    assert!(load_picture(&source, &Limits { max_pixels: 522, ..limits }).is_ok());
}

/// Cut anywhere, a file is refused in one line that names it, or (where only a trailer is missing) gives its picture.
#[test]
fn truncated_files_are_refused() {
    let mut failures = Vec::new();
    for (name, bytes) in pictures() {
        let whole = load(&name, &bytes).expect(&name).image;
        for cut in (0..bytes.len()).step_by((bytes.len() / 150).max(1)) {
            match load(&name, &bytes[..cut]) {
                Ok(picture) if picture.image == whole => {}
                Ok(_) => failures.push(format!("{name} cut to {cut} of {} bytes gives another picture", bytes.len())),
                Err(error) => {
                    let line = error.to_string();
                    if error.kind() != MediaErrorKind::BadContent || line.contains('\n') || !line.starts_with(&name) {
                        failures.push(format!("{name} cut to {cut}: {line:?}"));
                    }
                }
            }
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

/// JPEG and PNG, the files of everyday life, say that they are truncated.
#[test]
fn truncation_is_called_by_its_name() {
    for name in ["420.jpg", "progressive.jpg", "rgb.png", "rgba16.png"] {
        let bytes = read(name);
        let error = load(name, &bytes[..bytes.len() * 2 / 3]).expect_err(name);
        assert!(error.to_string().contains("the file is truncated"), "{error}");
    }
}

/// Flipped bytes: a picture or one line, never a panic. (The decoders are others' code; this watches over them.)
#[test]
fn flipped_bytes_never_panic() {
    let mut seed = 0x2545_f491_4f6c_dd1du64;
    let mut random = |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below.max(1) as u64) as usize
    };
    // A low limit: flipped dimensions may be valid, and filling hundreds of megapixels takes time.
    let limits = Limits { max_pixels: 1 << 20, ..Limits::default() };
    for (name, bytes) in pictures() {
        for _ in 0..150 {
            let mut damaged = bytes.clone();
            for _ in 0..1 + random(4) {
                // Half of the flips in the header, where they hurt most.
                let at = if random(2) == 0 { random(bytes.len().min(120)) } else { random(bytes.len()) };
                damaged[at] = random(256) as u8;
            }
            let source = Source::Bytes { name: name.clone(), bytes: Arc::from(damaged) };
            if let Err(error) = load_picture(&source, &limits) {
                assert!(!error.to_string().contains('\n'), "{error}");
            }
        }
    }
}
