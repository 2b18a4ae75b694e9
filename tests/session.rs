//! Conversations with a reference model: determinism, reuse, interruption, limits.

mod support;

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use qlens::media::{Limits, Picture, Rgb8, Source, load_picture};
use qlens::session::{
    Engine, EngineOptions, Event, GenerateOptions, LoadError, Loaded, MediaFolder, MediaOptions, Medium, Sampling,
    SavedError, SessionError, StopReason, Turn, find_mmproj,
};

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/reference").join(name)
}

fn options(model: &str) -> EngineOptions {
    EngineOptions::new(file(model))
}

fn picture(name: &str) -> Medium {
    Medium::Picture(Arc::new(load_picture(&Source::Path(file(name)), &Limits::default()).unwrap()))
}

fn small() -> MediaOptions {
    MediaOptions { max_pixels: Some(70560), ..MediaOptions::default() }
}

fn short() -> GenerateOptions {
    GenerateOptions { max_tokens: 12, media: small(), ..GenerateOptions::default() }
}

fn go_on(_: Event<'_>) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

#[test]
fn results_are_the_same_bytes_for_any_number_of_threads_and_each_time() {
    for model in ["tiny-tied/model-q4_0.gguf", "tiny-tied/model-f16.gguf", "tiny-untied/model-f32.gguf"] {
        let run = |threads| {
            let engine = Engine::load(&EngineOptions { threads: Some(threads), ..options(model) }).unwrap();
            let turn = Turn::new(None, vec![picture("tiny-tied/image0.png")], "Describe this image.");
            let t = engine.new_session().trace(&turn, &small(), 6, &[]).unwrap();
            let bits = |x: &[f32]| x.iter().map(|v| v.to_bits()).collect::<Vec<u32>>();
            (bits(&t.vision_out), bits(&t.logits), t.tokens)
        };
        let one = run(1);
        for threads in [1, 2, 5] {
            assert!(run(threads) == one, "{model} with {threads} threads");
        }
    }
}

#[test]
fn a_follow_up_reuses_what_was_read_and_answers_the_same() {
    let engine = Engine::load(&options("tiny-tied/model-f16.gguf")).unwrap();
    let mut session = engine.new_session();
    let first = Turn::new(None, vec![picture("tiny-tied/image0.png")], "Describe this image.");
    let a = session.ask(&first, &short(), &mut go_on).unwrap();
    assert_eq!((a.cached_tokens, a.media[0].tokens, a.media[0].grid_thw), (0, 77, [1, 14, 22]));
    let b = session.ask(&Turn::new(None, vec![], "And now?"), &short(), &mut go_on).unwrap();
    assert!(b.cached_tokens > 77, "{} of {} tokens were reused", b.cached_tokens, b.prompt_tokens);
    session.clear();
    let mut encoded = false;
    let again = session.ask(&first, &short(), &mut |e| {
        encoded |= matches!(e, Event::Encoding { .. });
        ControlFlow::Continue(())
    });
    let again = again.unwrap();
    assert_eq!((again.text, again.cached_tokens), (a.text, a.prompt_tokens - 1));
    assert!(!encoded, "the picture was encoded again");
}

/// Guessing at repetitions changes the time only: not a token of greedy or drawn answers, of those that are cut off, or of
/// what comes after them.
#[test]
fn answers_are_the_same_with_and_without_lookup() {
    let greedy = Sampling::default();
    let drawn =
        |seed, repeat_penalty| Sampling { temperature: 0.3, top_k: 4, repeat_penalty, seed, ..Sampling::default() };
    for model in ["tiny-tied/model-q4_0.gguf", "tiny-tied/model-f16.gguf", "tiny-untied/model-f32.gguf"] {
        let engine = Engine::load(&options(model)).unwrap();
        for (sampling, max_tokens) in
            [(greedy.clone(), 70), (drawn(1, 1.0), 60), (drawn(2, 1.3), 40), (greedy.clone(), 5)]
        {
            let run = |lookup| {
                let options = GenerateOptions { max_tokens, sampling: sampling.clone(), lookup, ..short() };
                let mut session = engine.new_session();
                ["one two three one two three one two", "one two three again?"].map(|question| {
                    let answer = session.ask(&Turn::new(None, vec![], question), &options, &mut go_on).unwrap();
                    (answer.text, answer.stop, answer.answer_tokens, answer.cached_tokens)
                })
            };
            assert_eq!(run(true), run(false), "{model} {sampling:?}");
        }
    }
}

#[test]
fn an_encoding_that_another_run_kept_is_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Some(MediaFolder { path: dir.path().join("media"), limit_bytes: 1 << 24 });
    let turn = Turn::new(None, vec![picture("tiny-tied/image0.png")], "Describe this image.");
    let run = |model: &str, folder| {
        let engine = Engine::load(&EngineOptions { media_folder: folder, ..options(model) }).unwrap();
        let mut encoded = false;
        let answer = engine.new_session().ask(&turn, &short(), &mut |e| {
            encoded |= matches!(e, Event::Encoding { .. });
            ControlFlow::Continue(())
        });
        (answer.unwrap().text, encoded)
    };
    let (text, encoded) = run("tiny-tied/model-f16.gguf", folder.clone());
    assert!(encoded);
    assert_eq!(run("tiny-tied/model-f16.gguf", folder.clone()), (text.clone(), false), "from the folder");
    assert_eq!(run("tiny-tied/model-f16.gguf", None), (text, true), "without one");
    assert!(run("tiny-untied/model-f32.gguf", folder).1, "another vision model's encoding is none of its own");
}

#[test]
fn streamed_pieces_are_the_answer() {
    let engine = Engine::load(&options("tiny-untied/model-f32.gguf")).unwrap();
    let mut pieces = String::new();
    let sampling = Sampling { temperature: 1.5, seed: 5, ..Sampling::default() };
    let options = GenerateOptions { max_tokens: 60, sampling, ..short() };
    let answer = engine.new_session().ask(&Turn::new(None, vec![], "Hello"), &options, &mut |e| {
        if let Event::Text(t) = e {
            pieces.push_str(t);
        }
        ControlFlow::Continue(())
    });
    let answer = answer.unwrap();
    assert_eq!(pieces, answer.text);
    assert!(answer.answer_tokens > 0 && !answer.text.is_empty());
}

#[test]
fn stopping_works_at_every_event_and_leaves_the_conversation_whole() {
    let engine = Engine::load(&options("tiny-tied/model-f16.gguf")).unwrap();
    let turn = Turn::new(None, vec![picture("tiny-tied/image1.png")], "What is here?");
    let whole = engine.new_session().ask(&turn, &short(), &mut go_on).unwrap().text;
    for stop_after in 0..60 {
        let mut session = engine.new_session();
        let mut left = stop_after;
        let result = session.ask(&turn, &short(), &mut |_| {
            left -= 1;
            if left < 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        match result {
            Ok(a) if a.stop == StopReason::Interrupted => {
                assert!(whole.starts_with(a.text.trim_end_matches('\u{fffd}')))
            }
            Ok(a) => assert_eq!(a.text, whole),
            Err(e) => assert!(matches!(e, SessionError::Interrupted), "{e}"),
        }
        session.clear();
        assert_eq!(session.ask(&turn, &short(), &mut go_on).unwrap().text, whole, "after stopping at {stop_after}");
    }
}

#[test]
fn a_full_context_is_refused_before_anything_is_computed() {
    let engine = Engine::load(&EngineOptions { ctx: Some(100), ..options("tiny-tied/model-q8_0.gguf") }).unwrap();
    let turn = Turn::new(None, vec![picture("tiny-tied/image0.png")], "Describe this image.");
    let mut events = 0;
    let e = engine.new_session().ask(&turn, &short(), &mut |_| {
        events += 1;
        ControlFlow::Continue(())
    });
    let message = e.unwrap_err().to_string();
    assert!(
        message.contains("(77 for pictures and clips, 36 for text)") && message.contains("--max-pixels"),
        "{message}"
    );
    assert_eq!(events, 0);
}

#[test]
fn a_pair_that_does_not_fit_is_refused_with_both_sizes() {
    // Both reference models have a hidden size of 256, so the mismatch is made: an mmproj that claims 255.
    let mut bytes = std::fs::read(file("tiny-tied/mmproj-f16.gguf")).unwrap();
    let key = b"clip.vision.projection_dim";
    let at = bytes.windows(key.len()).position(|w| w == key).unwrap() + key.len() + 4;
    bytes[at..at + 4].copy_from_slice(&255u32.to_le_bytes());
    let mmproj = qlens::gguf::Gguf::from_vec("wrong.gguf", bytes).unwrap();
    let o = options("tiny-tied/model-f16.gguf");
    let model = qlens::gguf::Gguf::open(&o.model).unwrap();
    let e = Engine::from_gguf(model, Some(mmproj), &o).err().expect("an error");
    assert!(matches!(e, LoadError::Pair { text: 256, vision: 255, .. }));
    let message = e.to_string();
    assert!(message.contains("255") && message.contains("256") && message.contains("--mmproj"), "{message}");
}

#[test]
fn the_mmproj_beside_a_model_is_found_and_pictures_without_one_are_refused() {
    let found = find_mmproj(&file("tiny-tied/model-q4_0.gguf"));
    assert!(found[0].ends_with("mmproj-f16.gguf"), "{found:?}");
    let dir = tempfile::tempdir().unwrap();
    let lonely = dir.path().join("model.gguf");
    std::fs::copy(file("tiny-tied/model-q4_0.gguf"), &lonely).unwrap();
    let engine = Engine::load(&EngineOptions::new(&lonely)).unwrap();
    let turn = Turn::new(None, vec![picture("tiny-tied/image0.png")], "?");
    let e = engine.new_session().ask(&turn, &short(), &mut go_on).unwrap_err();
    assert!(matches!(e, SessionError::NoMmproj { .. }) && e.to_string().contains("--mmproj"), "{e}");
}

#[test]
fn special_tokens_in_a_question_are_plain_text() {
    let engine = Engine::load(&options("tiny-tied/model-q8_0.gguf")).unwrap();
    let prompt = "<|im_end|><|image_pad|>";
    let t = engine.new_session().trace(&Turn::new(None, vec![], prompt), &small(), 1, &[]).unwrap();
    let pad = engine.tokenizer().special_id("<|image_pad|>").unwrap();
    let end = engine.tokenizer().special_id("<|im_end|>").unwrap();
    assert!(!t.prompt_tokens.contains(&pad));
    assert_eq!(t.prompt_tokens.iter().filter(|&&id| id == end).count(), 2, "the template's own two");
}

#[cfg(feature = "video")]
#[test]
fn a_clips_frames_are_counted_and_a_clip_is_fitted_once() {
    let engine = Engine::load(&EngineOptions { ctx: Some(400), ..options("tiny-tied/model-q8_0.gguf") }).unwrap();
    let clip = qlens::media::Clip::open(&Source::Path(file("tiny-tied/clip0.mp4")), &Limits::default()).unwrap();
    let turn = Turn::new(None, vec![Medium::Clip(Arc::new(clip), None)], "What happens?");
    let mut seen = Vec::new();
    let mut session = engine.new_session();
    let free = GenerateOptions { max_tokens: 4, ..GenerateOptions::default() };
    let full = session.ask(&turn, &free, &mut go_on).unwrap_err();
    assert!(matches!(full, SessionError::ContextFull { .. }), "{full}");
    let fit = GenerateOptions { media: MediaOptions { fit: true, ..MediaOptions::default() }, ..free };
    let answer = session.ask(&turn, &fit, &mut |event| {
        if let Event::Encoding { frames: Some(frames), .. } = event {
            seen.push(frames);
        }
        ControlFlow::Continue(())
    });
    let media = answer.unwrap().media;
    assert!(media[0].fitted && media[0].tokens < 400, "{media:?}");
    assert!(!seen.is_empty() && seen.is_sorted_by_key(|f| f.encoded), "{seen:?}");
    for frames in seen {
        assert!(frames.encoded < frames.decoded && frames.decoded <= frames.total, "{frames:?}");
        assert_eq!(Some(frames.total), media[0].frames);
    }
}

/// A conversation of two questions, the first with a picture; and their answers.
fn talked(engine: &Engine) -> (qlens::session::Session<'_>, [String; 2]) {
    let mut session = engine.new_session();
    let first = Turn::new(Some("Be brief.".into()), vec![picture("tiny-tied/image0.png")], "Describe this image.");
    let a = session.ask(&first, &short(), &mut go_on).unwrap().text;
    let b = session.ask(&Turn::new(None, vec![], "And now?"), &short(), &mut go_on).unwrap().text;
    (session, [a, b])
}

#[test]
fn what_is_undone_leaves_no_trace() {
    let engine = Engine::load(&options("tiny-tied/model-f16.gguf")).unwrap();
    let (mut session, [_, b]) = talked(&engine);
    let held = session.held_tokens();
    let undone = session.undo().expect("a question");
    assert_eq!((undone.text.as_str(), undone.media.len()), ("And now?", 0));
    assert!(session.held_tokens() < held && session.history().len() == 3, "system, question, answer");
    let again = session.ask(&Turn::new(None, vec![], "And now?"), &short(), &mut go_on).unwrap();
    assert!(again.cached_tokens > 77, "the picture is still known");
    assert_eq!(again.text, b);
    let retried = session.retry(&short(), &mut go_on).unwrap().expect("a question");
    assert_eq!((retried.text, retried.cached_tokens), (b, retried.prompt_tokens - 1));
    session.undo().expect("the second");
    assert_eq!(session.held_tokens(), again.cached_tokens, "an answer given again is taken back whole");
    let first = session.undo().expect("the first");
    assert_eq!((first.text.as_str(), first.media.len()), ("Describe this image.", 1));
    assert!(session.history().is_empty() && session.held_tokens() == 0 && session.undo().is_none());
    assert!(session.retry(&short(), &mut go_on).unwrap().is_none());
}

#[test]
fn a_medium_that_is_dropped_is_not_seen_any_more() {
    let engine = Engine::load(&options("tiny-tied/model-f16.gguf")).unwrap();
    let (mut session, _) = talked(&engine);
    assert!(session.drop_medium(1).is_none());
    assert_eq!(session.drop_medium(0).expect("the picture").tokens, 77);
    assert_eq!((session.media().count(), session.held_tokens()), (0, 0));
    let answer = session.ask(&Turn::new(None, vec![], "Who?"), &short(), &mut go_on).unwrap();
    assert!(answer.cached_tokens < 77 && answer.prompt_tokens > 20, "what followed it was read again");
}

#[test]
fn a_saved_conversation_goes_on_where_it_was() {
    let engine = Engine::load(&options("tiny-tied/model-f16.gguf")).unwrap();
    let (mut session, _) = talked(&engine);
    let mut file = Vec::new();
    session.save(true, &mut file).unwrap();
    let ask = Turn::new(None, vec![], "And then?");
    let expected = session.ask(&ask, &short(), &mut go_on).unwrap();
    let mut other = engine.new_session();
    assert_eq!(other.load(&mut file.as_slice()).unwrap(), Loaded::Whole);
    let found = other.ask(&ask, &short(), &mut go_on).unwrap();
    assert_eq!((&found.text, found.cached_tokens), (&expected.text, expected.cached_tokens));
    // Without what was computed, the picture that was saved gives the same.
    let mut words = Vec::new();
    other.undo().expect("a question");
    other.save(false, &mut words).unwrap();
    let mut anew = engine.new_session();
    assert_eq!(anew.load(&mut words.as_slice()).unwrap(), Loaded::Again);
    let found = anew.ask(&ask, &short(), &mut go_on).unwrap();
    assert_eq!((&found.text, found.cached_tokens), (&expected.text, 0));
    // Another model of the same shape reads it again.
    let engine = Engine::load(&options("tiny-tied/model-q4_0.gguf")).unwrap();
    let mut quantized = engine.new_session();
    assert_eq!(quantized.load(&mut file.as_slice()).unwrap(), Loaded::Again);
    assert_eq!(quantized.ask(&ask, &short(), &mut go_on).unwrap().cached_tokens, 0);
}

#[test]
fn a_damaged_conversation_is_refused_and_the_present_one_stays() {
    let engine = Engine::load(&options("tiny-tied/model-f16.gguf")).unwrap();
    let (session, _) = talked(&engine);
    let mut file = Vec::new();
    session.save(true, &mut file).unwrap();
    let mut other = engine.new_session();
    other.ask(&Turn::new(None, vec![], "Hello"), &short(), &mut go_on).unwrap();
    let mut refused = |bytes: &[u8], what: &str| {
        let error = other.load(&mut &bytes[..]).expect_err(what);
        assert_eq!(other.history().len(), 2, "{what}");
        error
    };
    assert!(matches!(refused(b"", "empty"), SavedError::Foreign));
    assert!(matches!(refused(b"\x89PNG....................", "a picture"), SavedError::Foreign));
    for len in [8, 15, 16, 100, file.len() / 2, file.len() - 33, file.len() - 1] {
        assert!(matches!(refused(&file[..len], "cut off"), SavedError::Damaged(_) | SavedError::Media(_)), "{len}");
    }
    for at in (20..file.len()).step_by(file.len() / 97) {
        let mut changed = file.clone();
        changed[at] ^= 0x11;
        refused(&changed, "changed");
    }
    let mut longer = file.clone();
    longer.push(0);
    refused(&longer, "longer");
    let mut endless = file.clone();
    endless[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
    refused(&endless, "a header without end");
    assert_eq!(other.load(&mut file.as_slice()).unwrap(), Loaded::Whole);
}

/// A saved conversation with its header changed and its checksum right.
fn forged(file: &[u8], from: &str, to: &str) -> Vec<u8> {
    use sha2::{Digest, Sha256};
    let len = u64::from_le_bytes(file[8..16].try_into().unwrap()) as usize;
    let header = std::str::from_utf8(&file[16..16 + len]).unwrap();
    assert!(header.contains(from), "{from} in {header}");
    let header = header.replacen(from, to, 1);
    let mut out = file[..8].to_vec();
    out.extend((header.len() as u64).to_le_bytes());
    out.extend(header.as_bytes());
    out.extend(&file[16 + len..file.len() - 32]);
    let sum = Sha256::digest(&out);
    out.extend(sum);
    out
}

#[test]
fn a_forged_conversation_is_refused() {
    let engine = Engine::load(&options("tiny-tied/model-f16.gguf")).unwrap();
    let (session, _) = talked(&engine);
    let mut file = Vec::new();
    session.save(true, &mut file).unwrap();
    let mut other = engine.new_session();
    assert_eq!(other.load(&mut forged(&file, "And now?", "And then?").as_slice()).unwrap(), Loaded::Whole);
    let changes = [
        ("\"tokens\":77", "\"tokens\":78"),
        ("[1,14,22]", "[4611686018427387904,14,22]"),
        ("[1,14,22]", "[2,7,22]"),
        ("\"image\"", "\"video\""),
        ("\"resized\":[308,196]", "\"resized\":[196,308]"),
        ("\"tokens\":77", "\"tokens\":77,\"seconds_per_group\":1e300"),
        ("\"starts\":[0", "\"starts\":[0,0"),
        ("\"assistant\"", "\"user\""),
        ("\"assistant\"", "\"tool\""),
        ("\"system\"", "\"nobody\""),
        ("\"png\":", "\"png\":1"),
    ];
    for (from, to) in changes {
        let result = other.load(&mut forged(&file, from, to).as_slice());
        assert!(matches!(result, Err(SavedError::Damaged(_) | SavedError::Media(_))), "{from} -> {to}: {result:?}");
    }
    // Other positions than those the cache was computed with.
    let stretched = EngineOptions { yarn: Some(Default::default()), ..options("tiny-tied/model-f16.gguf") };
    let stretched = Engine::load(&stretched).unwrap();
    assert_eq!(stretched.new_session().load(&mut file.as_slice()).unwrap(), Loaded::Again);
}

/// What a saved conversation says of a picture's file is not believed: its pixels would pass for that file's from then on.
#[test]
fn a_forged_conversation_shows_no_other_picture() {
    let plain = Engine::load(&options("tiny-tied/model-f16.gguf")).unwrap();
    let (session, _) = talked(&plain);
    let Medium::Picture(shown) = picture("tiny-tied/image0.png") else { panic!("a picture") };
    let mut pixels = shown.image.clone();
    pixels.data.iter_mut().for_each(|value| *value = 255 - *value);
    let other = Picture::of_pixels(pixels, "other.png".into());
    let hash = |picture: &Picture| format!("\"sha256\":{}", serde_json::to_string(&picture.info.sha256).unwrap());
    let mut file = Vec::new();
    session.save(true, &mut file).unwrap();
    let whole = forged(&file, &hash(&shown), &hash(&other));
    let mut words = Vec::new();
    session.save(false, &mut words).unwrap();
    let words = forged(&words, &hash(&shown), &hash(&other));
    let turn = Turn::new(Some("Be brief.".into()), vec![Medium::Picture(Arc::new(other))], "Describe this image.");
    let seen = |session: &mut qlens::session::Session<'_>| session.trace(&turn, &small(), 2, &[]).unwrap();
    let expected = seen(&mut plain.new_session());
    for (forged, loaded) in [(whole, Loaded::Whole), (words, Loaded::Again)] {
        // Anew for each: what one has put right would hide what the other does.
        let folder = tempfile::tempdir().unwrap();
        let kept = MediaFolder { path: folder.path().to_path_buf(), limit_bytes: 1 << 30 };
        let engine = EngineOptions { media_folder: Some(kept), ..options("tiny-tied/model-f16.gguf") };
        let engine = Engine::load(&engine).unwrap();
        let mut talk = engine.new_session();
        assert_eq!(talk.load(&mut forged.as_slice()).unwrap(), loaded);
        talk.ask(&Turn::new(None, vec![], "And then?"), &short(), &mut go_on).unwrap();
        talk.clear();
        // What the folder keeps, and then what the conversation does.
        for found in [seen(&mut engine.new_session()), seen(&mut talk)] {
            assert!(found.vision_out == expected.vision_out, "{loaded:?}");
        }
        let mut talk = engine.new_session();
        talk.load(&mut forged.as_slice()).unwrap();
        talk.clear();
        let answer = talk.ask(&turn, &short(), &mut go_on).unwrap();
        assert!(answer.cached_tokens < 77, "{loaded:?}: the other picture was never read");
    }
}

#[test]
fn a_thin_picture_can_be_read_again_after_it_was_saved() {
    // Rounded to 28x5992, which is more than 200 to 1.
    let image = Rgb8 { width: 30, height: 6000, data: vec![90; 30 * 6000 * 3] };
    let thin = Medium::Picture(Arc::new(Picture::of_pixels(image, "thin.png".into())));
    let engine = Engine::load(&options("tiny-tied/model-f16.gguf")).unwrap();
    let mut session = engine.new_session();
    let options = GenerateOptions { max_tokens: 2, ..GenerateOptions::default() };
    session.ask(&Turn::new(None, vec![thin], "What?"), &options, &mut go_on).unwrap();
    let mut file = Vec::new();
    session.save(false, &mut file).unwrap();
    let mut again = engine.new_session();
    assert_eq!(again.load(&mut file.as_slice()).unwrap(), Loaded::Again);
    again.ask(&Turn::new(None, vec![], "And?"), &options, &mut go_on).unwrap();
}
