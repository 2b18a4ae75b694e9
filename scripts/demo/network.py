"""Qwen2.5-VL, written for training: the library's weights and names, without its loops over windows.

A batch holds pictures (or clips) of one size, so the vision tower runs on [batch × frames, patches] at once, its windows
grouped by size. Text is an opening for each picture (system, picture), and several questions that don't see each other.
`check_network.py` compares it with transformers' Qwen2_5_VLForConditionalGeneration.
"""
import math
from dataclasses import asdict, dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import nn

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
PATCH, MERGE, WINDOW = 14, 2, 4          # the window counts merged tokens: 112 pixels


@dataclass
class Size:
    vocabulary: int = 1088
    hidden: int = 256
    layers: int = 8
    heads: int = 4
    kv_heads: int = 2
    ffn: int = 512
    sections: tuple = (4, 10, 18)
    theta: float = 500.0                  # the slowest third hardly turns over a question: words find things by what they are;
                                          # the quicker part of the columns' share still tells neighbours apart
    v_hidden: int = 192
    v_depth: int = 8
    v_heads: int = 3
    v_ffn: int = 384
    v_every: int = 2                      # every second block attends over the whole picture
    eps: float = 1e-6

    @property
    def v_full(self):
        return [i for i in range(self.v_depth) if (i + 1) % self.v_every == 0]

    def dict(self):
        return asdict(self)


def normed(x, weight, eps):
    f = x.float()
    if x.is_cuda:
        return F.rms_norm(f, weight.shape, weight, eps).to(x.dtype)
    return (f * torch.rsqrt(f.pow(2).mean(-1, keepdim=True) + eps) * weight).to(x.dtype)


def rotated(x, cos, sin):
    half = x.shape[-1] // 2
    a, b = x[..., :half], x[..., half:]
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


def gated(gate, up):
    return F.silu(gate) * up


class Fused:
    """The functions between matrix products; `on()` compiles them, which saves a tenth of a training step."""
    norm, rotate, gate = staticmethod(normed), staticmethod(rotated), staticmethod(gated)

    @classmethod
    def on(cls):
        cls.norm, cls.rotate, cls.gate = (staticmethod(torch.compile(f, dynamic=True)) for f in (normed, rotated, gated))


class Norm(nn.Module):
    def __init__(self, n, eps):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(n)), eps

    def forward(self, x):
        return Fused.norm(x, self.weight, self.eps)


class Gated(nn.Module):
    """SwiGLU."""

    def __init__(self, n, inner, bias):
        super().__init__()
        self.gate_proj, self.up_proj = nn.Linear(n, inner, bias), nn.Linear(n, inner, bias)
        self.down_proj = nn.Linear(inner, n, bias)

    def forward(self, x):
        return self.down_proj(Fused.gate(self.gate_proj(x), self.up_proj(x)))


@lru_cache(maxsize=256)
def windows(gh, gw):
    """Merged tokens in window order: (order, back, groups), groups = runs of equally large windows as (count, length)."""
    found = {}
    for top in range(0, gh, WINDOW):
        for left in range(0, gw, WINDOW):
            h, w = min(WINDOW, gh - top), min(WINDOW, gw - left)
            found.setdefault((h, w), []).append([(top + y) * gw + left + x for y in range(h) for x in range(w)])
    order = [i for runs in found.values() for run in runs for i in run]
    back = [0] * len(order)
    for place, token in enumerate(order):
        back[token] = place
    return torch.tensor(order), torch.tensor(back), [(len(runs), h * w * 4) for (h, w), runs in found.items()]


@lru_cache(maxsize=256)
def vision_angles(gh, gw, head):
    """cos, sin [patches, head / 2] in window order: the first half turns with the row, the second with the column."""
    order = windows(gh, gw)[0]
    ty, tx = order // gw, order % gw
    y = (ty[:, None] * 2 + torch.tensor([0, 0, 1, 1])).flatten()
    x = (tx[:, None] * 2 + torch.tensor([0, 1, 0, 1])).flatten()
    freq = 1.0 / (10000.0 ** (torch.arange(0, head // 2, 2, dtype=torch.float32) / (head // 2)))
    angle = torch.cat((y[:, None] * freq, x[:, None] * freq), -1)
    return angle.cos(), angle.sin()


def mixed(x):
    """Whether matrix products on x's device are to be made in 16 bits."""
    return torch.is_autocast_enabled(x.device.type)


def weighted(q, k, v, mask=None):
    """Attention of q [b, heads, l, d] over k, v [b, heads, n, d]; on a CPU written out: the library's own is three times slower backwards."""
    if q.is_cuda:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    scores = (q * (1 / math.sqrt(q.shape[-1]))) @ k.transpose(-1, -2)
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return scores.softmax(-1) @ v


class VisionAttention(nn.Module):
    def __init__(self, n, heads):
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(n, 3 * n), nn.Linear(n, n)

    def forward(self, x, cos, sin, groups):
        b, n, d = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, self.heads, -1).unbind(2)
        q, k = Fused.rotate(q, cos, sin), Fused.rotate(k, cos, sin)
        parts, at = [], 0
        for count, length in groups:
            piece = [t[:, at:at + count * length].reshape(b * count, length, self.heads, -1).transpose(1, 2) for t in (q, k, v)]
            parts.append(weighted(*piece).transpose(1, 2).reshape(b, count * length, d))
            at += count * length
        return self.proj(parts[0] if len(parts) == 1 else torch.cat(parts, 1))


class VisionBlock(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.norm1, self.norm2 = Norm(s.v_hidden, s.eps), Norm(s.v_hidden, s.eps)
        self.attn = VisionAttention(s.v_hidden, s.v_heads)
        self.mlp = Gated(s.v_hidden, s.v_ffn, True)

    def forward(self, x, cos, sin, groups):
        x = x + self.attn(self.norm1(x), cos, sin, groups)
        return x + self.mlp(self.norm2(x))


class Merger(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.ln_q = Norm(s.v_hidden, s.eps)
        wide = s.v_hidden * 4
        self.mlp = nn.Sequential(nn.Linear(wide, wide), nn.GELU(), nn.Linear(wide, s.hidden))

    def forward(self, x):
        x = self.ln_q(x)
        return self.mlp(x.reshape(x.shape[0], x.shape[1] // 4, -1))


class PatchEmbed(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.proj = nn.Conv3d(3, n, (2, PATCH, PATCH), (2, PATCH, PATCH), bias=False)

    def forward(self, patches):
        """patches [b, n, frames, 3 · 14 · 14]; one frame stands for itself twice."""
        w = self.proj.weight
        if patches.shape[2] == 1:
            return F.linear(patches[:, :, 0], w.sum(2).flatten(1))
        return F.linear(patches.flatten(2), w.transpose(1, 2).flatten(1))


class Vision(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.size = s
        self.patch_embed = PatchEmbed(s.v_hidden)
        self.blocks = nn.ModuleList(VisionBlock(s) for _ in range(s.v_depth))
        self.merger = Merger(s)

    def forward(self, pixels):
        """uint8 [b, frames, H, W, 3] → [b, merged tokens, hidden]."""
        b, f, h, w, _ = pixels.shape
        gh, gw = h // 28, w // 28
        order, back, groups = windows(gh, gw)
        x = pixels.view(b, f, gh, 2, PATCH, gw, 2, PATCH, 3).permute(0, 2, 5, 3, 6, 1, 8, 4, 7)
        x = x.reshape(b, gh * gw, 4, f, 3, PATCH * PATCH)[:, order].reshape(b, gh * gw * 4, f, 3, PATCH * PATCH)
        scale = torch.tensor([1 / (255 * v) for v in STD]).view(3, 1)
        shift = torch.tensor([m / v for m, v in zip(MEAN, STD)]).view(3, 1)
        if mixed(x):
            x = (x.to(torch.bfloat16) * scale.bfloat16() - shift.bfloat16()).flatten(3)
        else:
            x = (x.float() * scale - shift).flatten(3)
        x = self.patch_embed(x)
        cos, sin = (t.to(x.dtype)[:, None] for t in vision_angles(gh, gw, self.size.v_hidden // self.size.v_heads))
        whole = [(1, gh * gw * 4)]
        for i, block in enumerate(self.blocks):
            x = block(x, cos, sin, whole if i in self.size.v_full else groups)
        return self.merger(x).index_select(1, back)


def scores(q, k):
    """q [b, l, heads, d], k [b, n, heads, d] → what their softmax is taken of, [b, heads, l, n] in 32 bits."""
    return torch.matmul(q.transpose(1, 2), k.permute(0, 2, 3, 1)).float() / math.sqrt(q.shape[-1])


def attend(q, k, v, mask):
    """Attention of q [b, l, heads, d] over k, v [b, n, kv heads, d]; mask bool, broadcast to [b, heads, l, n]."""
    q, k, v = (t.transpose(1, 2) for t in (q, k, v))
    k, v = (t.repeat_interleave(q.shape[1] // t.shape[1], 1) for t in (k, v))
    return weighted(q, k, v, mask).transpose(1, 2)


class Whole:
    """Attention of rows [b, n] under a mask, with or without a cache: how answers are written."""

    def __init__(self, mask, cache=None):
        self.mask, self.cache = mask, cache

    def __call__(self, layer, q, k, v):
        if self.cache is not None:
            k, v = self.cache.put(layer, k, v)
        return attend(q, k, v, self.mask)


class Packed:
    """Attention of training batches: all tokens in one row, first `b` openings of `p` tokens (system, picture), then the questions
    with their answers, unpadded, in buckets of like length. A question sees its own opening and itself.

    A bucket: `owner` [m] the openings, `blind` bool [m] those that see no picture, only the first `bare` tokens of their opening,
    `index` [m, l] where its tokens are in the row, `real` those of the m · l that are no padding, and what is looked at: `rows` [r, 2] (question, token),
    `masks` bool [r, visual tokens]. `point` maps a layer to its number of watched heads; their scores before the softmax at `rows`,
    [r, heads, p + l], go to `take`."""

    def __init__(self, b, p, bare, buckets, point=None, take=None):
        self.b, self.p, self.buckets, self.point, self.take, self.layer = b, p, buckets, point or {}, take, 0
        for bucket in buckets:
            l = bucket["index"].shape[1]
            shown = ~bucket["blind"][:, None] | (torch.arange(p) < bare)
            words = torch.ones(l, l, dtype=torch.bool).tril()
            bucket["mask"] = torch.cat((shown[:, None].expand(-1, l, -1), words.expand(len(shown), -1, -1)), 2)[:, None]

    def __call__(self, layer, q, k, v):
        n, shape = self.b * self.p, q.shape
        q, k, v = q[0], k[0], v[0]
        opening = [t[:n].view(self.b, self.p, *t.shape[1:]) for t in (q, k, v)]
        out = [attend(*opening, torch.ones(self.p, self.p, dtype=torch.bool).tril()).reshape(n, *shape[2:])]
        watched = self.point.get(self.layer)
        self.layer += 1
        for bucket in self.buckets:
            index, mask = bucket["index"], bucket["mask"]
            own = [t.index_select(0, index.flatten()).view(*index.shape, *t.shape[1:]) for t in (q, k, v)]
            keys, values = (torch.cat((o.index_select(0, bucket["owner"]), t), 1) for o, t in zip(opening[1:], own[1:]))
            out.append(attend(own[0], keys, values, mask).flatten(0, 1).index_select(0, bucket["real"]))
            rows = bucket["rows"]
            if watched and len(rows):
                some = scores(own[0][:, :, :watched], keys[:, :, :1].expand(-1, -1, watched, -1)).masked_fill(~mask, -1e30)
                self.take(self.layer - 1, some.transpose(1, 2)[rows[:, 0], rows[:, 1]], bucket["masks"])
        return torch.cat(out)[None]


class Attention(nn.Module):
    def __init__(self, s):
        super().__init__()
        d = s.hidden // s.heads
        self.heads, self.kv, self.d = s.heads, s.kv_heads, d
        self.q_proj, self.k_proj = nn.Linear(s.hidden, s.heads * d), nn.Linear(s.hidden, s.kv_heads * d)
        self.v_proj, self.o_proj = nn.Linear(s.hidden, s.kv_heads * d), nn.Linear(s.heads * d, s.hidden, bias=False)

    def forward(self, x, cos, sin, how):
        b, n, _ = x.shape
        q = Fused.rotate(self.q_proj(x).view(b, n, self.heads, self.d), cos, sin)
        k = Fused.rotate(self.k_proj(x).view(b, n, self.kv, self.d), cos, sin)
        v = self.v_proj(x).view(b, n, self.kv, self.d)
        return self.o_proj(how(self, q, k, v).reshape(b, n, -1))


class Layer(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.input_layernorm, self.post_attention_layernorm = Norm(s.hidden, s.eps), Norm(s.hidden, s.eps)
        self.self_attn = Attention(s)
        self.mlp = Gated(s.hidden, s.ffn, False)

    def forward(self, x, cos, sin, how):
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, how)
        return x + self.mlp(self.post_attention_layernorm(x))


class Language(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.size = s
        self.embed_tokens = nn.Embedding(s.vocabulary, s.hidden)
        self.layers = nn.ModuleList(Layer(s) for _ in range(s.layers))
        self.norm = Norm(s.hidden, s.eps)
        half = s.hidden // s.heads // 2
        self.register_buffer("freq", 1.0 / (s.theta ** (torch.arange(half).float() / half)), persistent=False)
        axis = sum(([a] * n for a, n in enumerate(s.sections)), [])
        self.register_buffer("axis", torch.tensor(axis), persistent=False)

    def angles(self, positions):
        """positions [b, 3, n] → cos, sin [b, n, 1, head / 2]."""
        angle = positions[:, self.axis].transpose(1, 2).float() * self.freq
        return angle.cos()[:, :, None], angle.sin()[:, :, None]

    def forward(self, x, positions, how, layers=None):
        """x [b, n, hidden], positions [b, 3, n]; `how` attends (`Whole`, `Packed`). → the last hidden states, and those after each
        layer; with `layers`, only of the first few."""
        cos, sin = self.angles(positions)
        if mixed(x):
            x, cos, sin = x.bfloat16(), cos.bfloat16(), sin.bfloat16()
        states = []
        for layer in self.layers[:layers]:
            x = layer(x, cos, sin, how)
            states.append(x)
        return self.norm(x), states


class Body(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.visual, self.language_model = Vision(s), Language(s)


class Model(nn.Module):
    """The whole model; its state dict is that of Qwen2_5_VLForConditionalGeneration with tied embeddings."""

    def __init__(self, size):
        super().__init__()
        self.size = size
        self.model = Body(size)
        self.apply(_init)
        for block in self.model.visual.blocks:
            _shrink(block.attn.proj, block.mlp.down_proj, size.v_depth)
        for layer in self.model.language_model.layers:
            _shrink(layer.self_attn.o_proj, layer.mlp.down_proj, size.layers)

    def logits(self, hidden):
        return F.linear(hidden, self.model.language_model.embed_tokens.weight.to(hidden.dtype))

    def embed(self, opening, rest, pixels, first_media):
        """Token embeddings of all openings, the vision tokens in place, and of the rest, in one row [1, n, hidden]; and the vision
        tokens [b, m, hidden].

        opening [p] is the same for all pictures; pixels uint8 [b, groups, frames, H, W, 3]; rest [n - b · p]."""
        table = self.model.language_model.embed_tokens.weight
        b, g = pixels.shape[:2]
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.model.visual.merger.ln_q.weight.requires_grad):
            seen = self.model.visual(pixels.flatten(0, 1))
        seen = seen.reshape(b, g * seen.shape[1], -1)
        x = F.embedding(opening, table).to(seen.dtype)[None].expand(b, -1, -1)
        x = torch.cat((x[:, :first_media], seen, x[:, first_media + seen.shape[1]:]), 1)
        return torch.cat((x.flatten(0, 1), F.embedding(rest, table).to(seen.dtype)))[None], seen


def _init(module):
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=1 / math.sqrt(module.in_features))
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=0.05)
    elif isinstance(module, nn.Conv3d):
        nn.init.normal_(module.weight, std=1 / math.sqrt(1176))


def _shrink(a, b, depth):
    for m in (a, b):
        m.weight.data.mul_(1 / math.sqrt(2 * depth))
