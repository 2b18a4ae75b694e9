#!/usr/bin/env python3
"""Writes the GGUF pair of a checkpoint, named as llama.cpp's converter names real files; and reads such a pair back.

    export.py CHECKPOINT FOLDER [--type q8_0|f16]     writes demo-TYPE.gguf and mmproj-demo-TYPE.gguf
"""
import argparse
import os
from pathlib import Path

import gguf
import numpy as np
import torch

from network import MEAN, PATCH, STD, Model, Size
from tokens import Tokens
from world import FACTOR, LEAST

TEXT = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down"}
VISION = {"norm1": "ln1", "norm2": "ln2", "attn.proj": "attn_out", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
FILE_TYPE = {"f16": 1, "q8_0": 7}
CONTEXT = 32768


def text_name(key):
    """The GGUF name of a language tensor."""
    fixed = {"embed_tokens.weight": "token_embd.weight", "norm.weight": "output_norm.weight"}
    if key in fixed:
        return fixed[key]
    _, layer, rest = key.split(".", 2)
    part, kind = rest.rsplit(".", 1)
    return f"blk.{layer}.{TEXT[part]}.{kind}"


def vision_tensors(state):
    """GGUF name and array of every vision tensor; the fused q, k, v and the two halves of the patch convolution come apart."""
    for key, value in state.items():
        if key == "patch_embed.proj.weight":
            yield "v.patch_embd.weight", value[:, :, 0]
            yield "v.patch_embd.weight.1", value[:, :, 1]
        elif key.startswith("merger.ln_q"):
            yield "v.post_ln.weight", value
        elif key.startswith("merger.mlp"):
            yield key.replace("merger.mlp", "mm"), value
        else:
            _, block, rest = key.split(".", 2)
            part, kind = rest.rsplit(".", 1)
            if part == "attn.qkv":
                for name, piece in zip("qkv", value.chunk(3)):
                    yield f"v.blk.{block}.attn_{name}.{kind}", piece
            else:
                yield f"v.blk.{block}.{VISION[part]}.{kind}", value


def add_tensor(writer, name, value, kind):
    value = value.detach().float().contiguous().numpy()
    if value.ndim == 1:
        writer.add_tensor(name, value)
    elif value.ndim == 4 or kind == "f16" or value.shape[-1] % 32:
        writer.add_tensor(name, value.astype(np.float16))
    else:
        q8 = gguf.GGMLQuantizationType.Q8_0
        writer.add_tensor(name, gguf.quants.quantize(value, q8), raw_dtype=q8)


def finish(writer, path):
    """Writes beside the target and renames, so that no half file is ever seen."""
    writer.write_header_to_file(path=path.with_suffix(".new"))
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    os.replace(path.with_suffix(".new"), path)


def write_text(model, tokens, path, kind):
    s, w = model.size, gguf.GGUFWriter(None, "qwen2vl")
    w.add_name("qlens-demo")
    w.add_file_type(FILE_TYPE[kind])
    w.add_context_length(CONTEXT)
    w.add_embedding_length(s.hidden)
    w.add_block_count(s.layers)
    w.add_feed_forward_length(s.ffn)
    w.add_head_count(s.heads)
    w.add_head_count_kv(s.kv_heads)
    w.add_rope_freq_base(s.theta)
    w.add_layer_norm_rms_eps(s.eps)
    w.add_rope_dimension_sections(list(s.sections) + [0])
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("qwen2")
    w.add_token_list(tokens.tokens)
    w.add_token_types(tokens.types)
    w.add_token_merges(tokens.merges)
    w.add_eos_token_id(tokens.end)
    w.add_bos_token_id(tokens.pad)
    w.add_pad_token_id(tokens.pad)
    w.add_add_bos_token(False)
    w.add_chat_template(tokens.template)
    for key, value in model.model.language_model.state_dict().items():
        add_tensor(w, text_name(key), value, kind)
    finish(w, path)


def write_vision(model, path, kind):
    s, w = model.size, gguf.GGUFWriter(None, "clip")
    w.add_name("qlens-demo-mmproj")
    w.add_type("mmproj")
    w.add_file_type(FILE_TYPE[kind])
    w.add_bool("clip.has_vision_encoder", True)
    w.add_string("clip.projector_type", "qwen2.5vl_merger")
    w.add_bool("clip.use_silu", True)
    for key, value in (("image_size", 560), ("patch_size", PATCH), ("embedding_length", s.v_hidden), ("feed_forward_length", s.v_ffn),
                       ("block_count", s.v_depth), ("projection_dim", s.hidden), ("attention.head_count", s.v_heads), ("n_wa_pattern", s.v_every)):
        w.add_uint32(f"clip.vision.{key}", value)
    w.add_uint32("clip.vision.image_min_pixels", LEAST * FACTOR ** 2)
    w.add_float32("clip.vision.attention.layer_norm_epsilon", s.eps)
    w.add_array("clip.vision.image_mean", list(MEAN))
    w.add_array("clip.vision.image_std", list(STD))
    for name, value in vision_tensors(model.model.visual.state_dict()):
        add_tensor(w, name, value, kind)
    finish(w, path)


def write_pair(model, tokens, folder, kind):
    folder.mkdir(parents=True, exist_ok=True)
    pair = folder / f"demo-{kind}.gguf", folder / f"mmproj-demo-{kind}.gguf"
    write_text(model, tokens, pair[0], kind)
    write_vision(model, pair[1], kind)
    return pair


def read_pair(folder, kind="q8_0"):
    """The pair as a PyTorch model again, its weights dequantized to 32-bit floats."""
    text, vision = (gguf.GGUFReader(folder / f"{n}-{kind}.gguf") for n in ("demo", "mmproj-demo"))
    t = lambda key: text.fields["qwen2vl." + key].contents()
    v = lambda key: vision.fields["clip.vision." + key].contents()
    size = Size(vocabulary=len(text.fields["tokenizer.ggml.tokens"].contents()), hidden=t("embedding_length"), layers=t("block_count"),
                heads=t("attention.head_count"), kv_heads=t("attention.head_count_kv"), ffn=t("feed_forward_length"),
                sections=tuple(t("rope.dimension_sections")[:3]), theta=t("rope.freq_base"), v_hidden=v("embedding_length"),
                v_depth=v("block_count"), v_heads=v("attention.head_count"), v_ffn=v("feed_forward_length"), v_every=v("n_wa_pattern"))
    model = Model(size)
    arrays = {x.name: torch.from_numpy(np.array(gguf.quants.dequantize(x.data, x.tensor_type), dtype=np.float32)) for r in (text, vision) for x in r.tensors}
    language = model.model.language_model
    language.load_state_dict({k: arrays[text_name(k)] for k in language.state_dict()})
    visual = model.model.visual
    state = visual.state_dict()
    for key in state:
        if key == "patch_embed.proj.weight":
            state[key] = torch.stack([arrays["v.patch_embd.weight"], arrays["v.patch_embd.weight.1"]], 2)
        else:
            names = [n for n, _ in vision_tensors({key: state[key]})]
            state[key] = torch.cat([arrays[n] for n in names])
    visual.load_state_dict(state)
    return model


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--type", choices=list(FILE_TYPE), default="q8_0")
    args = parser.parse_args()
    from train import load_model
    model = load_model(args.checkpoint)[0]
    pair = write_pair(model, Tokens(), args.folder, args.type)
    if args.type == "q8_0":
        other = read_pair(args.folder)
        worst = max(float((a - b).abs().max() / a.abs().max()) for a, b in zip(model.state_dict().values(), other.state_dict().values()))
        assert worst < 0.01, worst
        print(f"read back: largest rounding {worst:.4f} of a tensor's range")
    for path in pair:
        print(path, f"{path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
