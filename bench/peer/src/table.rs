//! The figures as people read them.

use crate::compare::{Results, Row, median};

/// A whole page of Markdown.
pub fn page(results: &Results) -> String {
    let text = |v: &serde_json::Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
    let (m, r) = (&results.machine, &results.roofline);
    let giga = |v: &serde_json::Value| v.as_f64().unwrap_or(0.0) / 1e9;
    let mut page = format!(
        "# qlens and llama.cpp on the same files\n\n{}\n\n- Machine: {}, {} cores, {:.0} GiB, {}; {} threads\n- \
         Measured limits: {:.1} GB/s memory, {:.2} int8 TOPS, {:.2} f32 TFLOPS\n- {}\n- {}\n\n",
        results.note,
        text(&m["cpu"]),
        m["cores"],
        m["memory_bytes"].as_f64().unwrap_or(0.0) / (1u64 << 30) as f64,
        text(&m["system"]),
        results.threads,
        giga(&r["memory_bytes_per_s"]),
        giga(&r["int8_ops_per_s"]) / 1e3,
        giga(&r["f32_ops_per_s"]) / 1e3,
        results.qlens,
        results.peer,
    );
    page.push_str(
        "| model | phase | qlens | llama.cpp | llama.cpp / qlens | of the limit | memory: qlens, llama.cpp |\n",
    );
    page.push_str("|---|---|---|---|---|---|---|\n");
    results.rows.iter().for_each(|row| page.push_str(&format!("{}\n", line(row))));
    page.push_str("\nMedians of runs in turns; in brackets the quickest and the slowest.\n");
    page
}

/// A row of the table.
pub fn line(row: &Row) -> String {
    let own = median(&row.qlens_s);
    let peer = row.best_peer();
    let ratio = match (own, peer) {
        (Some(own), Some((_, peer))) if own > 0.0 => format!("{:.2}", peer / own),
        _ => "–".into(),
    };
    let share = match (own, row.limit_s) {
        (Some(own), Some(limit)) if own > 0.0 => format!("{:.0} %", 100.0 * limit / own),
        _ => "–".into(),
    };
    let peer_runs = row.peer_s.iter().find(|(name, _)| peer.is_some_and(|(best, _)| best == name));
    let several = row.peer_s.len() > 1;
    let which = match peer {
        Some((name, _)) if several => format!(" with {}", name.trim_start_matches("mmproj-").trim_end_matches(".gguf")),
        _ => String::new(),
    };
    let memory = row.memory.map(|m| m.map_or("–".into(), |b| format!("{:.2} GB", b as f64 / 1e9)));
    format!(
        "| {} | {} | {} | {}{which} | {ratio} | {share} | {} |",
        row.model.trim_end_matches(".gguf"),
        phase(row),
        cell(row, &row.qlens_s),
        peer_runs.map_or_else(|| "–".into(), |(_, s)| cell(row, s)),
        memory.join(", ")
    )
}

fn phase(row: &Row) -> String {
    match row.phase.as_str() {
        "vision" => format!("vision {0}×{0}", row.at),
        "prefill" => format!("prefill {}", row.at),
        "decode" => format!("decode after {}", row.at),
        "repeat" => format!("an answer that repeats {} tokens", row.at),
        "first_token" => format!("picture {0}×{0} to first token", row.at),
        _ => "load".into(),
    }
}

/// Seconds or, where tokens are read or made, tokens per second, with the spread.
fn cell(row: &Row, seconds: &[f64]) -> String {
    let Some(middle) = median(seconds) else { return "–".into() };
    let (min, max) = seconds.iter().fold((f64::MAX, 0f64), |(a, b), &s| (a.min(s), b.max(s)));
    if matches!(row.phase.as_str(), "prefill" | "decode" | "repeat") {
        let rate = |s: f64| row.tokens as f64 / s;
        return format!("{:.1} t/s ({:.1}–{:.1})", rate(middle), rate(max), rate(min));
    }
    let digits = if middle < 1.0 { 3 } else { 2 };
    format!("{middle:.digits$} s ({min:.digits$}–{max:.digits$})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_takes_the_better_peer_and_says_which() {
        let row = Row {
            model: "m.gguf".into(),
            phase: "vision".into(),
            at: 224,
            tokens: 64,
            qlens_s: vec![2.0, 1.0, 3.0],
            peer_s: vec![("mmproj-f16.gguf".into(), vec![9.0]), ("mmproj-q8_0.gguf".into(), vec![8.0])],
            limit_s: Some(1.0),
            memory: [Some(1_000_000_000), None],
        };
        let wanted =
            "| m | vision 224×224 | 2.00 s (1.00–3.00) | 8.00 s (8.00–8.00) with q8_0 | 4.00 | 50 % | 1.00 GB, – |";
        assert_eq!(line(&row), wanted);
    }
}
