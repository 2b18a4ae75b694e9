#!/usr/bin/env python3
"""Checks that network.py computes what transformers' Qwen2_5_VLForConditionalGeneration computes, with the same weights; and that a
run that is gone on with learns at the rate that a new one does."""
import random
import tempfile
from argparse import Namespace
from pathlib import Path

import torch
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from batches import clip_sample, pack, picture_sample
from curriculum import STAGES
from network import MEAN, MERGE, PATCH, STD, WINDOW, Model, Packed, Size
from optimiser import optimisers
from tokens import Tokens
from train import Heads, begin, save, tensors


def library_config(s, tokens):
    """The library's configuration of a model of this size."""
    return Qwen2_5_VLConfig(
        text_config=dict(vocab_size=s.vocabulary, hidden_size=s.hidden, num_hidden_layers=s.layers, num_attention_heads=s.heads,
                         num_key_value_heads=s.kv_heads, intermediate_size=s.ffn, rms_norm_eps=s.eps, rope_theta=s.theta,
                         rope_scaling={"type": "mrope", "mrope_section": list(s.sections)}, tie_word_embeddings=True),
        vision_config=dict(depth=s.v_depth, hidden_size=s.v_hidden, num_heads=s.v_heads, intermediate_size=s.v_ffn, hidden_act="silu",
                           out_hidden_size=s.hidden, patch_size=PATCH, spatial_merge_size=MERGE, temporal_patch_size=2,
                           window_size=WINDOW * PATCH * MERGE, fullatt_block_indexes=s.v_full),
        image_token_id=tokens.image, video_token_id=tokens.video, vision_start_token_id=tokens.id["<|vision_start|>"],
        tie_word_embeddings=True, attn_implementation="eager")


def library_model(model, tokens):
    other = Qwen2_5_VLForConditionalGeneration(library_config(model.size, tokens)).eval().float()
    state = dict(model.state_dict())
    state["lm_head.weight"] = state["model.language_model.embed_tokens.weight"]
    missing, unexpected = other.load_state_dict(state, strict=False)
    assert not missing and not unexpected, (missing, unexpected)
    return other


def library_patches(frames):
    """frames uint8 [groups, 1 or 2, H, W, 3] → patch rows and the grid, as the reference preprocessing orders them."""
    x = (frames.float() / 255 - torch.tensor(MEAN)) / torch.tensor(STD)
    x = x.expand(-1, 2, -1, -1, -1) if x.shape[1] == 1 else x
    g, _, h, w, _ = x.shape
    x = x.permute(0, 1, 4, 2, 3).reshape(g, 2, 3, h // 28, 2, 14, w // 28, 2, 14)
    return x.permute(0, 3, 6, 4, 7, 2, 1, 5, 8).reshape(g * h * w // 196, -1), (g, h // 14, w // 14)


def compare(model, other, tokens, samples):
    """Every question of the samples, packed together here and alone there: the largest difference of logits in spreads."""
    batch = tensors(pack(tokens, samples))
    b, p = len(samples), len(batch["opening"])
    worst = 0.0
    with torch.no_grad():
        x, _ = model.embed(batch["opening"], batch["rest"], batch["pixels"], batch["first"])
        ours = model.logits(model.model.language_model(x, batch["positions"][None], Packed(b, p, batch["bare"], batch["buckets"]))[0])[0]
        ids = torch.cat((batch["opening"].repeat(b), batch["rest"]))
        for bucket in batch["buckets"]:
            real = torch.zeros(bucket["index"].numel(), dtype=torch.bool)
            real[bucket["real"]] = True
            for owner, blind, index, here in zip(*(bucket[k] for k in ("owner", "blind", "index")), real.view(bucket["index"].shape)):
                row = torch.cat((torch.arange(batch["bare"] if blind else p) + owner * p, index[here]))
                rows, grid = library_patches(batch["pixels"][owner])
                kind = "video" if samples[owner].seconds else "image"
                media = {"pixel_values" if kind == "image" else "pixel_values_videos": rows, f"{kind}_grid_thw": torch.tensor([grid])}
                media = {} if blind else media
                theirs = other(input_ids=ids[row][None], position_ids=batch["positions"][:, None, row], attention_mask=None, **media).logits[0]
                worst = max(worst, float((theirs - ours[row]).abs().max() / theirs.std()))
    return worst


def rates(optims):
    return [g["lr"] for o in optims for g in o.param_groups]


def check_resumed(model, tokens):
    """Saves a run whose rate has fallen to nothing, goes on with it, and compares the rates with a new run's."""
    heads = Heads(model.size)
    optims = optimisers(model, heads)
    whole = rates(optims)
    for group in (g for o in optims for g in o.param_groups):
        group["lr"] = 0.0
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder) / "checkpoint.pt", model, heads, optims, 7, 70, 0.5)
        *_, resumed, step, samples, minutes = begin(Namespace(out=Path(folder), start=None, heads=None, eyes=True), tokens)
    assert (step, samples, minutes) == (7, 70, 0.5)
    assert rates(resumed) == whole, "a resumed run has other learning rates than a new one"
    print("a resumed run has the rates of a new one")


def main():
    torch.manual_seed(0)
    tokens, rng = Tokens(), random.Random(3)
    model = Model(Size(vocabulary=tokens.size)).eval()
    for p in model.parameters():
        p.data.add_(torch.randn_like(p) * 0.02)
    other = library_model(model, tokens)
    for tw, th in ((2, 2), (3, 5), (6, 4), (9, 5), (4, 13)):
        samples = [picture_sample(rng, tw, th, {**STAGES[1], "asks": 4}) for _ in range(3)]
        worst = compare(model, other, tokens, samples)
        print(f"picture {tw}×{th} tokens: largest difference {worst:.1e} of the spread")
        assert worst < 1e-3
    worst = compare(model, other, tokens, [clip_sample(rng, 4, 5, 3, 1)])
    print(f"clip 4×5 tokens, 3 s: largest difference {worst:.1e} of the spread")
    assert worst < 1e-3
    sample = picture_sample(rng, 3, 4, {**STAGES[1], "asks": 4})
    sample.blind = [[("Hello", "Hi."), ("What?", "Nothing.")]]
    worst = compare(model, other, tokens, [sample])
    print(f"beside it a talk without a picture: largest difference {worst:.1e} of the spread")
    assert worst < 1e-3
    check_resumed(model, tokens)


if __name__ == "__main__":
    main()
