"""Turns drawings and questions into training batches: pixels, tokens, M-RoPE positions, and what to learn where."""
import random
import string

import numpy as np

import clips
import questions as Q
from scenes import draw_document, draw_picture, scaled
from world import COLOURS, FACTOR, SHAPES

COLOUR_ID = {c: i + 1 for i, c in enumerate(COLOURS)}
SHAPE_ID = {s: i + 1 for i, s in enumerate(SHAPES)}
CHARS = string.ascii_letters + string.digits + "."
CHAR_ID = {c: i + 1 for i, c in enumerate(CHARS)}
CELL_ROWS, CELL_COLUMNS = 2, 4           # a visual token of 28×28 pixels is read in 8 cells


class Sample:
    """One picture or clip with its questions. frames: uint8 [groups, 1 or 2, H, W, 3]."""

    def __init__(self, frames, scene, pairs, seconds=0.0):
        self.frames, self.scene, self.pairs, self.seconds = frames, scene, pairs, seconds


def picture_sample(rng, tw, th, stage):
    """A picture of tw×th visual tokens and questions about it."""
    width, height = tw * FACTOR, th * FACTOR
    native = (width, height)
    if rng.random() < 0.2:               # a size that has to be resized
        native = (width + rng.randint(-13, 13), height + rng.randint(-13, 13))
    if min(width, height) >= 140 and rng.random() < stage.get("documents", 0):
        scene, image = draw_document(rng, *native)
        weights = {"read": 2, "text_box": 1, "html": 4}
    else:
        words = rng.random()
        n_lines = 0 if words > stage["text"] else rng.choice([1, 1, 1, 2, 3])
        alone = n_lines and rng.random() < 0.7
        n_things = 0 if alone else rng.randint(0 if n_lines else 1, stage["things"])
        scene, image = draw_picture(rng, *native, n_things, n_lines)
        weights = stage["questions"]
    scene, image = scaled(scene, image, width, height)
    if "html" in weights:
        pairs = [(rng.choice(Q.HTML), Q.html(scene))] if rng.random() < 0.7 else []
        pairs += Q.questions_for(rng, scene, 1, {"read": 1, "text_box": 1})
    else:
        pairs = Q.questions_for(rng, scene, stage["asks"], weights)
    return Sample(np.asarray(image)[None, None], scene, pairs)


def clip_sample(rng, tw, th, seconds, asks):
    clip = clips.draw_clip(rng, tw * FACTOR, th * FACTOR, seconds)
    pixels = np.stack([np.asarray(f) for f in clip.sampled()])
    pairs = clips.questions_for(rng, clip.event, clip.others, clip.ground, asks)
    return Sample(pixels.reshape(-1, 2, *pixels.shape[1:]), None, pairs, 2 / clips.FPS)


def media_positions(start, groups, gh, gw, seconds):
    """M-RoPE positions [3, groups · gh · gw] of a medium that starts at `start`."""
    t, h, w = np.meshgrid(np.arange(groups), np.arange(gh), np.arange(gw), indexing="ij")
    t = np.trunc(t * seconds * 2).astype(np.int64)
    return start + np.stack([t.ravel(), h.ravel(), w.ravel()])


def opening(tokens, groups, gh, gw, seconds, video):
    """Ids and positions [3, n] up to the picture's end, the media's place, and the next position."""
    before = tokens.opening + [tokens.id["<|vision_start|>"]]
    media = [tokens.video if video else tokens.image] * (groups * gh * gw)
    ids = before + media + [tokens.id["<|vision_end|>"]]
    text = np.tile(np.arange(len(before)), (3, 1))
    seen = media_positions(len(before), groups, gh, gw, seconds)
    after = seen.max() + 1
    return ids, np.concatenate([text, seen, np.full((3, 1), after)], 1), len(before), after + 1


def pack(tokens, samples, longest=None):
    """Samples of one size → a batch of numpy arrays."""
    groups, _, height, width, _ = samples[0].frames.shape
    gh, gw = height // FACTOR, width // FACTOR
    seconds, video = samples[0].seconds, samples[0].seconds > 0
    ids, positions, first, following = opening(tokens, groups, gh, gw, seconds, video)
    rows = []
    for s in samples:
        row_ids, row_pos, seg, learn = list(ids), [positions], [0] * len(ids), [0] * len(ids)
        for k, (question, answer) in enumerate(s.pairs, 1):
            q, a = tokens.recall(question) + tokens.reply, tokens.encode(answer) + [tokens.end]
            row_ids += q + a
            row_pos.append(np.tile(following + np.arange(len(q) + len(a)), (3, 1)))
            seg += [k] * (len(q) + len(a))
            learn += [0] * (len(q) - 1) + [1] * len(a) + [0]     # at token i the model learns token i + 1
        rows.append((row_ids, np.concatenate(row_pos, 1), seg, learn))
    n = max(len(r[0]) for r in rows)
    n += -n % 16
    b = len(rows)
    batch = {"tokens": np.full((b, n), tokens.pad, np.int64), "positions": np.zeros((b, 3, n), np.int64),
             "segments": np.full((b, n), -1, np.int64), "learn": np.zeros((b, n), bool)}
    for i, (row_ids, row_pos, seg, learn) in enumerate(rows):
        m = len(row_ids)
        batch["tokens"][i, :m], batch["positions"][i, :, :m] = row_ids, row_pos
        batch["segments"][i, :m], batch["learn"][i, :m] = seg, learn
    batch["pixels"] = np.ascontiguousarray(np.stack([s.frames for s in samples]))
    batch["first"] = first
    if not video:
        batch.update(token_labels(samples, gh, gw))
    return batch


def token_labels(samples, gh, gw):
    """What each visual token shows: shape, colour, box of the thing that covers most of it, and the characters in its cells.

    The vision tower learns these directly beside the answers (through heads that are dropped afterwards): it makes it see early."""
    b, n = len(samples), gh * gw
    shape, colour = np.zeros((b, gh, gw), np.int64), np.zeros((b, gh, gw), np.int64)
    box = np.zeros((b, gh, gw, 4), np.float32)
    cells = np.zeros((b, gh * CELL_ROWS, gw * CELL_COLUMNS), np.int64)
    ys, xs = np.arange(gh) * FACTOR, np.arange(gw) * FACTOR
    for i, s in enumerate(samples):
        best = np.zeros((gh, gw))
        for t in s.scene.things:
            x1, y1, x2, y2 = t.box
            over = (np.clip(np.minimum(y2, ys + FACTOR) - np.maximum(y1, ys), 0, None)[:, None]
                    * np.clip(np.minimum(x2, xs + FACTOR) - np.maximum(x1, xs), 0, None)[None])
            mine = over > np.maximum(best, 40)
            shape[i][mine], colour[i][mine], best[mine] = SHAPE_ID[t.shape], COLOUR_ID[t.colour], over[mine]
            box[i][mine] = t.box
        lines = list(s.scene.lines) + [c for row in (s.scene.table[1] if s.scene.table else []) for c in row]
        for line in lines:
            for char, x1, y1, x2, y2 in line.cells:
                step_x, step_y = FACTOR / CELL_COLUMNS, FACTOR / CELL_ROWS
                c1, c2 = max(0, int(np.ceil(x1 / step_x - 0.5))), int(np.ceil(x2 / step_x - 0.5))
                r1, r2 = max(0, int(np.ceil(y1 / step_y - 0.5))), int(np.ceil(y2 / step_y - 0.5))
                cells[i, r1:r2, c1:c2] = CHAR_ID.get(char, 0)
    cells = cells.reshape(b, gh, CELL_ROWS, gw, CELL_COLUMNS).transpose(0, 1, 3, 2, 4).reshape(b, n, -1)
    return {"shape": shape.reshape(b, n), "colour": colour.reshape(b, n), "box": box.reshape(b, n, 4), "cells": cells,
            "corner": np.stack(np.broadcast_arrays(*np.meshgrid(xs, ys)), -1).reshape(1, n, 2).astype(np.float32)}


class Stream:
    """An endless, seeded stream of batches for a stage; batch k depends on (seed, k) only."""

    def __init__(self, tokens, stage, seed):
        self.tokens, self.stage, self.seed = tokens, stage, seed

    def batch(self, k):
        rng = random.Random(f"{self.seed}/{k}")
        stage = self.stage
        if rng.random() < stage.get("look", 0):            # a step that only looks: many pictures, no questions
            stage = {**stage, "asks": 0, "text": 0.6, "documents": 0, "budget": 2600, "text_cost": 0, "clips": 0, "most": 100}
        if rng.random() < stage.get("clips", 0):
            tw, th, seconds = self._clip_size(rng)
            cost = seconds * (tw * th + 0) + 60
            b = max(1, int(stage["budget"] / cost))
            samples = [clip_sample(rng, tw, th, seconds, 2) for _ in range(b)]
        else:
            tw, th = self._size(rng, stage.get("most", 10000))
            b = max(2, min(300, int(stage["budget"] / (tw * th + stage["text_cost"]))))
            samples = [picture_sample(rng, tw, th, stage) for _ in range(b)]
        return pack(self.tokens, samples)

    def _size(self, rng, most_now):
        low, high, most = self.stage["sides"]
        most = min(most, most_now)
        while True:
            # sides are drawn on a logarithmic scale: small pictures are cheap, and there are more of them
            a, b = (min(high, int(low * (((high + 0.999) / low) ** rng.random()))) for _ in range(2))
            if a * b <= most and max(a, b) <= 4 * min(a, b):
                return a, b

    def _clip_size(self, rng):
        low, high, most, longest = self.stage["clip_sides"]
        if rng.random() < self.stage.get("full_clips", 0):   # what a program makes of a clip: at least 128 tokens a frame pair
            low, high, most = 8, 16, 150 * longest
        while True:
            tw, th, seconds = rng.randint(low, high), rng.randint(low, high), rng.randint(2, longest)
            if tw * th * seconds <= most and max(tw, th) <= 2 * min(tw, th) and (low < 8 or 128 <= tw * th <= 150):
                return tw, th, seconds
