//! While a question is answered: the base answers, the model reads along, and at each token their opinions are compared.

use std::ops::ControlFlow;

use super::{EvalError, Pair, Scores};
use crate::session::{Event, MediaOptions, Turn};

/// An answer that both models have read.
#[derive(Clone, Debug)]
pub struct Answered {
    /// The base's words.
    pub text: String,
    /// Tokens of the question, pictures and clips included.
    pub prompt_tokens: usize,
    /// Of those, tokens of pictures and clips.
    pub media_tokens: usize,
    /// Tokens that were compared: the answer's, and its end where it came.
    pub tokens: usize,
}

/// Lets the base answer with its likeliest tokens, at most `most` of them, and compares the models at each. `watch` sees
/// what goes on in both, and may stop it.
///
/// # Errors
/// A model can't read the question.
pub fn answer(
    pair: Pair<'_>,
    turn: &Turn,
    media: &MediaOptions,
    most: usize,
    scores: &mut Scores,
    watch: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
) -> Result<Answered, EvalError> {
    let (mut base, mut model) = (pair.base.new_session(), pair.model.new_session());
    let mut wanted_reading = base.read_question(turn, media, most, watch)?;
    let mut found_reading = model.read_question(turn, media, most, watch)?;
    let vocab = pair.base.language().vocab_size();
    let (mut wanted, mut found) = (vec![0.0; vocab], vec![0.0; vocab]);
    let mut said = Vec::new();
    let mut tokens = 0;
    while tokens < most {
        base.logits_next(&wanted_reading, &mut wanted);
        model.logits_next(&found_reading, &mut found);
        let token = super::summed(pair.base, &wanted)?.top as u32;
        scores.both(pair, &found, &wanted, token)?;
        tokens += 1;
        if pair.base.tokenizer().eos_ids().contains(&token) {
            break;
        }
        said.push(token);
        if tokens < most {
            base.read_answer_token(&mut wanted_reading, token, watch)?;
            model.read_answer_token(&mut found_reading, token, watch)?;
        }
    }
    let (prompt_tokens, media_tokens) = (wanted_reading.prompt_tokens, wanted_reading.media_tokens);
    Ok(Answered { text: pair.base.tokenizer().decode(&said), prompt_tokens, media_tokens, tokens })
}
