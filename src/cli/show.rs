//! `qlens show`: a model's card, and what of it fits into this machine's memory.

use std::io::{self, Write};

use serde::Serialize;

use super::args::ShowArgs;
use super::exit::CliError;
use super::memory::{human_bytes, total_bytes};
use super::models::{self, Row, kind_name};
use super::screen::{one_line, write_json};
use crate::gguf::Gguf;
use crate::model::TextConfig;
use crate::store::{CatalogEntry, Model, bits_per_weight, catalog_entry};

/// Contexts that needs are told for; the model's own comes last.
const CONTEXTS: [u64; 3] = [4096, 16_384, 32_768];
/// Types that needs are told for, of a model that isn't there.
const TYPES: [&str; 5] = ["Q3_K_M", "Q4_K_M", "Q5_K_M", "Q8_0", "F16"];
/// What is needed besides weights, keys and values: activations of a large picture and of a chunk of the prompt.
const WORKING_BYTES: u64 = 400_000_000;
/// Bytes of a key and of a value, each of half precision.
const KV_BYTES: u64 = 4;

/// How well something goes into the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Fit {
    /// With room for other programs.
    Yes,
    /// If nothing else runs.
    Tight,
    /// Not: weights would be read from the disk again and again.
    No,
    /// The system doesn't say how much memory there is.
    Unknown,
}

impl Fit {
    fn of(needed: u64, total: Option<u64>) -> Fit {
        match total {
            None => Fit::Unknown,
            Some(total) if needed <= total / 5 * 4 => Fit::Yes,
            Some(total) if needed <= total => Fit::Tight,
            Some(_) => Fit::No,
        }
    }

    fn in_words(self) -> &'static str {
        match self {
            Fit::Yes => "fits",
            Fit::Tight => "tight",
            Fit::No => "too large",
            Fit::Unknown => "?",
        }
    }
}

/// The memory that a type with a context needs.
#[derive(Debug, Serialize)]
struct Need {
    r#type: String,
    context: u64,
    bytes: u64,
    fits: Fit,
}

/// What the file says of itself.
#[derive(Debug, Default, Serialize)]
struct Card {
    name: Option<String>,
    author: Option<String>,
    license: Option<String>,
    size_label: Option<String>,
    url: Option<String>,
    layers: u64,
    context: u64,
    kv_bytes_per_token: u64,
}

#[derive(Serialize)]
struct Shown<'a> {
    model: Option<Row<'a>>,
    catalog: Option<&'a str>,
    repo: Option<&'a str>,
    card: Card,
    memory: Memory,
}

#[derive(Serialize)]
struct Memory {
    total_bytes: Option<u64>,
    needs: Vec<Need>,
}

/// Runs the command.
///
/// # Errors
/// There is no such model, or its file can't be read.
pub fn run(args: &ShowArgs) -> Result<(), CliError> {
    let (_, listing) = models::all(args.store.models.as_deref());
    let total = total_bytes();
    let here = listing.find(&args.name);
    let bare = args.name.rsplit_once(':').map_or(args.name.as_str(), |(name, _)| name);
    let known = catalog_entry(bare);
    let (card, needs) = match (here, known) {
        (Some(model), _) => of_model(model, total)?,
        (None, Some(entry)) => of_entry(entry, total),
        (None, None) => return Err(models::unknown(&args.name, &listing)),
    };
    let memory = Memory { total_bytes: total, needs };
    let (catalog, repo) = (known.map(|k| k.name.as_str()), known.map(|k| k.repo.as_str()));
    let mut out = io::BufWriter::new(io::stdout().lock());
    let written = if args.json {
        let shown = Shown { model: here.map(Row::from), catalog, repo, card, memory };
        write_json(&shown, &mut out).and_then(|()| writeln!(out))
    } else {
        as_text(here, known, &card, &memory, &mut out)
    };
    written.and_then(|()| out.flush()).map_err(CliError::Stdout)
}

fn needs(types: &[(String, u64)], contexts: &[u64], kv_per_token: u64, total: Option<u64>) -> Vec<Need> {
    let need = |ty: &String, weights: u64, context: u64| {
        let bytes = weights.saturating_add(kv_per_token.saturating_mul(context)).saturating_add(WORKING_BYTES);
        Need { r#type: ty.clone(), context, bytes, fits: Fit::of(bytes, total) }
    };
    types.iter().flat_map(|(ty, weights)| contexts.iter().map(move |&c| need(ty, *weights, c))).collect()
}

fn contexts(own: u64) -> Vec<u64> {
    CONTEXTS.iter().copied().filter(|&c| c < own).chain([own]).collect()
}

fn of_model(model: &Model, total: Option<u64>) -> Result<(Card, Vec<Need>), CliError> {
    let gguf = Gguf::open(&model.file)?;
    let config = TextConfig::from_gguf(&gguf).map_err(crate::session::LoadError::from)?;
    let text = |key: &str| gguf.metadata().str(key).ok().flatten().map(str::to_owned);
    let (layers, context) = (config.n_layers as u64, config.context_length as u64);
    let kv = layers * (config.n_kv_heads as u64) * (config.head_dim as u64) * KV_BYTES;
    let card = Card {
        name: text("general.name"),
        author: text("general.author").or_else(|| text("general.organization")),
        license: text("general.license"),
        size_label: text("general.size_label"),
        url: text("general.source.url").or_else(|| text("general.base_model.0.repo_url")),
        layers,
        context,
        kv_bytes_per_token: kv,
    };
    Ok((card, needs(&[(model.ty.clone(), model.bytes)], &contexts(context), kv, total)))
}

fn of_entry(entry: &CatalogEntry, total: Option<u64>) -> (Card, Vec<Need>) {
    let kv = entry.layers * entry.kv_width * KV_BYTES;
    let weights = |ty: &str| {
        let bits = bits_per_weight(ty).unwrap_or(16.0);
        (ty.to_owned(), (entry.weights as f64 * bits / 8.0) as u64 + entry.vision_bytes)
    };
    let types: Vec<(String, u64)> = TYPES.iter().map(|ty| weights(ty)).collect();
    let card = Card { layers: entry.layers, context: entry.context, kv_bytes_per_token: kv, ..Card::default() };
    (card, needs(&types, &contexts(entry.context), kv, total))
}

fn as_text(
    here: Option<&Model>,
    known: Option<&CatalogEntry>,
    card: &Card,
    memory: &Memory,
    out: &mut dyn Write,
) -> io::Result<()> {
    match (here, known) {
        (Some(m), _) => {
            writeln!(out, "{}  {}, {}", one_line(&m.name), m.ty, human_bytes(m.bytes))?;
            writeln!(out, "  from      {} ({})", m.holder.name(), kind_name(m.kind))?;
            writeln!(out, "  model     {}", one_line(&m.file.display().to_string()))?;
            if let Some(mmproj) = &m.mmproj {
                writeln!(out, "  mmproj    {}", one_line(&mmproj.display().to_string()))?;
            }
        }
        (None, Some(entry)) => {
            writeln!(out, "{}  {} on the hub; not here yet: qlens pull {}[:TYPE]", entry.name, entry.repo, entry.name)?;
        }
        (None, None) => {}
    }
    let lines = [
        ("name", &card.name),
        ("author", &card.author),
        ("license", &card.license),
        ("size", &card.size_label),
        ("page", &card.url),
    ];
    for (what, value) in lines {
        if let Some(value) = value {
            let short: String = value.chars().take(200).collect();
            writeln!(out, "  {what:9} {}", one_line(&short))?;
        }
    }
    let kv = human_bytes(card.kv_bytes_per_token);
    writeln!(out, "  context   {} tokens, {kv} of memory each", card.context)?;
    match memory.total_bytes {
        Some(total) => writeln!(out, "\nmemory needed, about, of the {} here", human_bytes(total))?,
        None => writeln!(out, "\nmemory needed, about")?,
    }
    for need in &memory.needs {
        let (ty, bytes, fits) = (&need.r#type, human_bytes(need.bytes), need.fits.in_words());
        writeln!(out, "  {ty:8} {:>7} tokens  {bytes:>8}  {fits}", need.context)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_told_by_the_memory_there_is() {
        let gib = 1 << 30;
        assert_eq!(Fit::of(8 * gib, Some(16 * gib)), Fit::Yes);
        assert_eq!(Fit::of(15 * gib, Some(16 * gib)), Fit::Tight);
        assert_eq!(Fit::of(17 * gib, Some(16 * gib)), Fit::No);
        assert_eq!(Fit::of(1, None), Fit::Unknown);
    }

    #[test]
    fn the_released_3b_needs_what_it_is_known_to_need() {
        // Keys and values: 36 blocks of 2 heads of 128, of half precision: 36 KiB a token. The Q4_K_M file has 1.93 GB.
        let (card, needs) = of_entry(catalog_entry("qwen2.5-vl-3b").expect("there"), Some(16 << 30));
        assert_eq!(card.kv_bytes_per_token, 36 * 1024);
        let need = needs.iter().find(|n| n.r#type == "Q4_K_M" && n.context == 32_768).expect("told");
        let files = need.bytes - 32_768 * 36 * 1024 - WORKING_BYTES;
        assert!((3_150_000_000..3_350_000_000).contains(&files), "{files}");
        assert_eq!(need.fits, Fit::Yes);
        assert!(needs.iter().any(|n| n.context == 128_000));
    }
}
