//! Which tensors a checkpoint of this model has, and what becomes of each: names and shapes as llama.cpp has them.

use super::hyper::{Text, Vision};

/// A tensor of the checkpoint, and the tensors of the GGUF file that it becomes.
#[derive(Debug)]
pub(super) struct Wanted {
    /// Canonical.
    pub name: String,
    /// Outermost dimension first.
    pub shape: Vec<usize>,
    pub outputs: Vec<Output>,
}

/// A tensor of the GGUF file.
#[derive(Debug)]
pub(super) struct Output {
    pub name: String,
    /// The row's length first.
    pub dims: Vec<usize>,
    pub cut: Cut,
}

/// Which part of the checkpoint's tensor it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// All numbers from this one on, as many as the output has.
    From(usize),
    /// Of a patch convolution `[out, 3, 2, h, w]`, what is applied to this frame.
    Frame(usize),
}

/// One that stays as it is.
fn same(name: String, shape: &[usize], to: String) -> Wanted {
    let dims: Vec<usize> = shape.iter().rev().copied().collect();
    Wanted { name, shape: shape.to_vec(), outputs: vec![Output { name: to, dims, cut: Cut::From(0) }] }
}

/// Weight and bias of a linear layer.
fn linear(from: &str, to: &str, shape: [usize; 2]) -> [Wanted; 2] {
    [
        same(format!("{from}.weight"), &shape, format!("{to}.weight")),
        same(format!("{from}.bias"), &shape[..1], format!("{to}.bias")),
    ]
}

/// The language model's tensors; with a `head` of its own or without.
pub(super) fn text(t: &Text, head: bool) -> Vec<Wanted> {
    let [vocab, hidden, ffn] = [t.vocab, t.hidden, t.ffn].map(|n| n as usize);
    let [heads, kv_heads, head_dim] = [t.heads, t.kv_heads, t.head_dim].map(|n| n as usize);
    let mut all = vec![
        same("embed_tokens.weight".into(), &[vocab, hidden], "token_embd.weight".into()),
        same("norm.weight".into(), &[hidden], "output_norm.weight".into()),
    ];
    if head {
        all.push(same("lm_head.weight".into(), &[vocab, hidden], "output.weight".into()));
    }
    for i in 0..t.layers {
        let from = |name: &str| format!("layers.{i}.{name}");
        let to = |name: &str| format!("blk.{i}.{name}");
        let bare =
            |a: &str, b: &str, shape: &[usize]| same(from(&format!("{a}.weight")), shape, to(&format!("{b}.weight")));
        all.push(bare("input_layernorm", "attn_norm", &[hidden]));
        all.push(bare("post_attention_layernorm", "ffn_norm", &[hidden]));
        let kv = kv_heads * head_dim;
        for (name, rows) in [("q", heads * head_dim), ("k", kv), ("v", kv)] {
            let (a, b) = (format!("self_attn.{name}_proj"), format!("attn_{name}"));
            all.extend(linear(&from(&a), &to(&b), [rows, hidden]));
        }
        all.push(bare("self_attn.o_proj", "attn_output", &[hidden, heads * head_dim]));
        all.push(bare("mlp.gate_proj", "ffn_gate", &[ffn, hidden]));
        all.push(bare("mlp.up_proj", "ffn_up", &[ffn, hidden]));
        all.push(bare("mlp.down_proj", "ffn_down", &[hidden, ffn]));
    }
    all
}

/// The vision tower's and merger's tensors.
pub(super) fn vision(v: &Vision, text_hidden: u32) -> Vec<Wanted> {
    let [hidden, ffn, patch, merge] = [v.hidden, v.ffn, v.patch, v.merge].map(|n| n as usize);
    let frame =
        |t: usize, name: &str| Output { name: name.into(), dims: vec![patch, patch, 3, hidden], cut: Cut::Frame(t) };
    let mut all = vec![
        Wanted {
            name: "visual.patch_embed.proj.weight".into(),
            shape: vec![hidden, 3, 2, patch, patch],
            outputs: vec![frame(0, "v.patch_embd.weight"), frame(1, "v.patch_embd.weight.1")],
        },
        same("visual.merger.ln_q.weight".into(), &[hidden], "v.post_ln.weight".into()),
    ];
    for i in 0..v.layers {
        let from = |name: &str| format!("visual.blocks.{i}.{name}");
        let to = |name: &str| format!("v.blk.{i}.{name}");
        all.push(same(from("norm1.weight"), &[hidden], to("ln1.weight")));
        all.push(same(from("norm2.weight"), &[hidden], to("ln2.weight")));
        all.push(qkv(from("attn.qkv.weight"), &[3 * hidden, hidden], |n| to(&format!("attn_{n}.weight"))));
        all.push(qkv(from("attn.qkv.bias"), &[3 * hidden], |n| to(&format!("attn_{n}.bias"))));
        all.extend(linear(&from("attn.proj"), &to("attn_out"), [hidden, hidden]));
        all.extend(linear(&from("mlp.gate_proj"), &to("ffn_gate"), [ffn, hidden]));
        all.extend(linear(&from("mlp.up_proj"), &to("ffn_up"), [ffn, hidden]));
        all.extend(linear(&from("mlp.down_proj"), &to("ffn_down"), [hidden, ffn]));
    }
    let merged = hidden * merge * merge;
    all.extend(linear("visual.merger.mlp.0", "mm.0", [merged, merged]));
    all.extend(linear("visual.merger.mlp.2", "mm.2", [text_hidden as usize, merged]));
    all
}

/// Queries, keys and values in one tensor, a third each.
fn qkv(name: String, shape: &[usize], to: impl Fn(&str) -> String) -> Wanted {
    let third = shape[0] / 3;
    let dims: Vec<usize> = shape[1..].iter().rev().copied().chain([third]).collect();
    let numbers: usize = dims.iter().product();
    let outputs = ["q", "k", "v"].iter().enumerate();
    let outputs = outputs.map(|(i, n)| Output { name: to(n), dims: dims.clone(), cut: Cut::From(i * numbers) });
    Wanted { name, shape: shape.to_vec(), outputs: outputs.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thirds_of_a_weight_and_of_a_bias_follow_each_other() {
        let weight = qkv("w".into(), &[12, 5], |n| n.to_owned());
        let cuts: Vec<_> = weight.outputs.iter().map(|o| (o.name.as_str(), o.dims.clone(), o.cut)).collect();
        assert_eq!(
            cuts,
            [("q", vec![5, 4], Cut::From(0)), ("k", vec![5, 4], Cut::From(20)), ("v", vec![5, 4], Cut::From(40))]
        );
        let bias = qkv("b".into(), &[12], |n| n.to_owned());
        let cuts: Vec<_> = bias.outputs.iter().map(|o| (o.dims.clone(), o.cut)).collect();
        assert_eq!(cuts, [(vec![4], Cut::From(0)), (vec![4], Cut::From(4)), (vec![4], Cut::From(8))]);
    }
}
