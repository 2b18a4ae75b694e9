//! Bad input: each kind has its exit code, and one line that names the file and says what is wrong.

use std::fs;

use crate::util::{Run, model, picture, png, qlens, reference, run, run_with_input, scratch, with_model};

fn describe(bytes: &[u8], name: &str) -> Run {
    let folder = scratch();
    let file = folder.path().join(name);
    fs::write(&file, bytes).expect("written");
    run(with_model(&["describe", &file.display().to_string()]))
}

#[test]
fn a_missing_picture_is_66() {
    run(with_model(&["describe", "no-such-picture.png"])).fails(66, &["no-such-picture.png", "no such file"]);
}

#[test]
fn a_folder_without_pictures_is_66() {
    let folder = scratch();
    let name = folder.path().display().to_string();
    run(with_model(&["describe", &name])).fails(66, &[&name, "nothing to look at"]);
    run(["inspect", &name]).fails(66, &[&name]);
    run(["chat", "-p", "x", "-m", &name]).fails(66, &[&name]);
}

#[test]
fn a_picture_that_is_none_is_65() {
    describe(b"", "empty.png").fails(65, &["empty.png", "empty"]);
    describe(b"Dear diary, today I saw", "diary.jpg").fails(65, &["diary.jpg"]);
    let whole = png(300, 200);
    describe(&whole[..whole.len() / 2], "half.png").fails(65, &["half.png"]);
    run_with_input(with_model(&["describe", "-"]), b"").fails(65, &["standard input", "empty"]);
}

#[test]
fn a_picture_too_long_for_the_model_is_65() {
    describe(&png(20_000, 3), "thread.png").fails(65, &["thread.png", "20000x3"]);
}

#[test]
fn a_picture_that_claims_to_be_huge_is_65() {
    // The header of a 60000×60000 picture on the data of a small one.
    let mut bomb = png(8, 8);
    bomb[16..20].copy_from_slice(&60_000_u32.to_be_bytes());
    bomb[20..24].copy_from_slice(&60_000_u32.to_be_bytes());
    let crc = crc32(&bomb[12..29]);
    bomb[29..33].copy_from_slice(&crc.to_be_bytes());
    describe(&bomb, "bomb.png").fails(65, &["bomb.png", "60000x60000"]);
}

/// CRC-32 as PNG has it, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |c, _| if c & 1 == 1 { (c >> 1) ^ 0xedb8_8320 } else { c >> 1 })
    })
}

#[test]
fn a_missing_model_is_66() {
    run(["describe", &picture(), "-m", "no-such-model.gguf"]).fails(66, &["no-such-model.gguf"]);
    run(["inspect", "no-such-model.gguf"]).fails(66, &["no-such-model.gguf"]);
    let said = qlens().args(["chat", "-p", "x"]).env("QLENS_MODEL", "no-such-model.gguf").output().expect("starts");
    Run::from(said).fails(66, &["no-such-model.gguf"]);
}

#[test]
fn a_truncated_model_is_65_wherever_it_ends() {
    let whole = fs::read(reference("tiny-tied/model-q4_0.gguf")).expect("readable");
    let folder = scratch();
    let file = folder.path().join("cut.gguf");
    let name = file.display().to_string();
    for percent in (0..100).step_by(9) {
        fs::write(&file, &whole[..whole.len() * percent / 100]).expect("written");
        run(["chat", "-p", "x", "-m", &name]).fails(65, &["cut.gguf"]);
    }
}

#[test]
fn a_model_that_is_something_else_is_65() {
    run(["chat", "-p", "x", "-m", &picture()]).fails(65, &["image1.png"]);
    let mmproj = reference("tiny-tied/mmproj-q8_0.gguf").display().to_string();
    run(["chat", "-p", "x", "-m", &mmproj]).fails(65, &["mmproj-q8_0.gguf", "clip"]);
    let vocab = reference("qwen2.5-vocab.gguf").display().to_string();
    run(["chat", "-p", "x", "-m", &vocab]).fails(65, &["qwen2.5-vocab.gguf"]);
}

#[test]
fn a_picture_without_an_mmproj_is_69_and_says_what_is_missing() {
    let folder = scratch();
    let alone = folder.path().join("alone.gguf");
    fs::copy(reference("tiny-tied/model-q8_0.gguf"), &alone).expect("copied");
    let name = alone.display().to_string();
    run(["describe", &picture(), "-m", &name]).fails(69, &["alone.gguf", "mmproj"]);
    // Without a picture it needs none.
    run(["chat", "-p", "Hello", "-m", &name, "--max-tokens", "4"]).answer();
}

#[test]
fn a_pair_that_does_not_fit_names_both_sizes() {
    // The same mmproj, but it says that it makes embeddings of 128 numbers.
    let mut mmproj = fs::read(reference("tiny-tied/mmproj-q8_0.gguf")).expect("readable");
    let key = b"clip.vision.projection_dim";
    let value = mmproj.windows(key.len()).position(|w| w == key).expect("there") + key.len() + 4;
    assert_eq!(mmproj[value..value + 4], 256_u32.to_le_bytes());
    mmproj[value..value + 4].copy_from_slice(&128_u32.to_le_bytes());
    let folder = scratch();
    let file = folder.path().join("mmproj-other.gguf");
    fs::write(&file, mmproj).expect("written");
    let file = file.display().to_string();
    let args = ["describe".to_owned(), picture(), "-m".to_owned(), model()[1].clone(), "--mmproj".to_owned(), file];
    run(args).fails(65, &["mmproj-other.gguf", "model-q8_0.gguf", "128", "256"]);
}

#[test]
fn a_question_longer_than_the_context_says_what_the_pictures_took() {
    let picture = reference("tiny-tied/image0.png").display().to_string();
    let args = with_model(&["describe", &picture, "--ctx", "64"]);
    run(args).fails(1, &["for pictures", "64", "--max-pixels", "--ctx"]);
}

#[test]
fn questions_that_are_not_text_are_65() {
    run_with_input(with_model(&["chat"]), b"\xff\xfe\n").fails(65, &["standard input", "line 1", "UTF-8"]);
}

#[test]
fn a_place_that_can_not_be_written_to_is_74() {
    let args = with_model(&["trace", "-p", "Hello", "-o", "/no/such/folder/out.safetensors"]);
    run(args).fails(74, &["/no/such/folder/out.safetensors"]);
    // It is told before anything is computed, about the file that was named.
    let picture = picture();
    for words in [
        &["imatrix", "-p", "Hello", "-o", "/no/such/folder/out"][..],
        &["locate", "x", &picture, "-o", "/no/such/folder/out"],
        &["locate", "x", &picture, "--annotate", "/no/such/folder/out.png"],
        &["parse", &picture, "-o", "/no/such/folder/out.md"],
        &["parse", &picture, "--json", "-o", "/no/such/folder/out"],
        &["quantize", &picture, "/no/such/folder/out", "q8_0"],
    ] {
        let said = if words[0] == "quantize" { run(words) } else { run(with_model(words)) };
        said.fails(74, &["/no/such/folder/out", "there is no folder /no/such/folder"]);
        assert!(!said.stderr.contains(".part"), "{said:?}");
    }
    let folder = scratch();
    let here = folder.path().display().to_string();
    run(with_model(&["parse", &picture, "--json", "-o", &here])).fails(74, &[&here, "is a folder"]);
}

#[test]
fn an_ending_that_says_something_else_is_refused() {
    let folder = scratch();
    let other = folder.path().join("marked.jpg").display().to_string();
    let picture = picture();
    run(with_model(&["locate", "x", &picture, "--annotate", &other])).fails(2, &["--annotate", &other, ".png"]);
    run(with_model(&["parse", &picture, "--annotate", &other])).fails(2, &[&other, ".png or .html"]);
}

#[test]
fn a_matrix_without_a_kernel_is_65_and_names_the_file() {
    let mut model = fs::read(reference("tiny-tied/model-q8_0.gguf")).expect("readable");
    // The tensor's entry: its name, how many dimensions, those, and the type.
    let name = b"blk.0.attn_q.weight";
    let at = model.windows(name.len()).position(|bytes| bytes == name).expect("it has one") + name.len();
    let ty = at + 4 + 2 * 8;
    assert_eq!(model[ty..ty + 4], 8_u32.to_le_bytes(), "Q8_0");
    // I8 takes less room than Q8_0: all else in the file stays as it is.
    model[ty..ty + 4].copy_from_slice(&24_u32.to_le_bytes());
    let folder = scratch();
    let file = folder.path().join("whole.gguf");
    fs::write(&file, model).expect("written");
    let said = run(["chat", "-p", "x", "-m", &file.display().to_string()]);
    said.fails(65, &["whole.gguf", "blk.0.attn_q.weight", "I8", "no kernel"]);
}
