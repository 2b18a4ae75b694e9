"""Turns drawings and questions into training batches: pixels, tokens, M-RoPE positions, and what to learn where."""
import random
import string

import numpy as np

import clips
import questions as Q
from refusals import REFUSAL, unrelated
from scenes import draw_crowd, draw_document, draw_picture, scaled
from world import COLOURS, FACTOR, SHAPES, seen_size

COLOUR_ID = {c: i + 1 for i, c in enumerate(COLOURS)}
SHAPE_ID = {s: i + 1 for i, s in enumerate(SHAPES)}
CHARS = string.ascii_letters + string.digits + "."
CHAR_ID = {c: i + 1 for i, c in enumerate(CHARS)}
CELL_ROWS, CELL_COLUMNS = 2, 4           # a visual token of 28×28 pixels is read in 8 cells
UNKNOWN = -100                           # not to be learned
SLOTS = 4                                # characters that a visual token can hold: each one's slot is its place in its line, modulo this
LINES, CHARS_IN_LINE, THINGS = 8, 15, 5  # how far lines, the characters of a line and things are counted


ROOMY = 80                               # visual tokens of a picture that has room for many small letters, at least
FOLLOW = 0.35                            # of questions that follow upon another in the same conversation
BLIND = 0.1                              # of pictures beside which something is asked without any picture
TURNS = 5                                # questions in a conversation at most


class Sample:
    """One picture or clip with the conversations about it, and others that show nothing. frames: uint8 [groups, 1 or 2, H, W, 3]."""

    def __init__(self, rng, frames, scene, pairs, seconds=0.0, clip=None):
        self.frames, self.scene, self.seconds, self.clip = frames, scene, seconds, clip
        self.talks = []
        for pair in pairs:
            on = self.talks and len(self.talks[-1]) < TURNS and rng.random() < FOLLOW
            if self.talks and (on or isinstance(pair[0], Q.Then)):
                self.talks[-1].append(pair)
            else:
                self.talks.append([pair])
        self.blind = [[(rng.choice([unrelated(rng), rng.choice(Q.DESCRIBE)]), REFUSAL)]] if pairs and rng.random() < BLIND else []


def picture_sample(rng, tw, th, stage):
    """A picture drawn on tw×th times 28 pixels, as the model sees it, and questions about it."""
    width, height = tw * FACTOR, th * FACTOR
    target = seen_size(width, height) if stage.get("enlarged") else (width, height)
    if rng.random() < stage.get("crowds", 0):
        scene, image = scaled(*draw_crowd(rng, width, height), *target)
        return Sample(rng, np.asarray(image)[None, None], scene, [])
    native = (width, height)
    if rng.random() < 0.2:               # a size that has to be resized
        native = (width + rng.randint(-13, 13), height + rng.randint(-13, 13))
    if min(width, height) >= 140 and rng.random() < stage.get("documents", 0):
        scene, image = draw_document(rng, *native)
        weights = {"read": 2, "text_box": 1, "html": 4}
    else:
        words = rng.random()
        n_lines = 0 if words > stage["text"] else min(rng.choice(stage.get("lines", [1, 1, 1, 2, 3])), max(1, height // 24 - 1))
        alone = n_lines and rng.random() < stage.get("alone", 0.7)
        n_things = 0 if alone else rng.randint(0 if n_lines else 1, stage["things"])
        scene, image = draw_picture(rng, *native, n_things, n_lines, bold=stage.get("bold", False))
        weights = stage["questions"]
    scene, image = scaled(scene, image, *target)
    if "html" in weights:
        pairs = [(rng.choice(Q.HTML), Q.html(scene))] if rng.random() < 0.7 else []
        pairs += Q.questions_for(rng, scene, 1, {"read": 1, "text_box": 1})
    else:
        asks = stage["asks"]
        if scene.lines and not scene.things:         # answers say all that is printed: one or two have it all
            asks = min(asks, rng.choice([1, 2]))
        pairs = Q.questions_for(rng, scene, asks, weights)
    return Sample(rng, np.asarray(image)[None, None], scene, pairs)


def clip_sample(rng, tw, th, seconds, asks):
    clip = clips.draw_clip(rng, tw * FACTOR, th * FACTOR, seconds)
    pixels = np.stack([np.asarray(f) for f in clip.sampled()])
    pairs = clips.questions_for(rng, clip.event, clip.others, clip.ground, asks)
    return Sample(rng, pixels.reshape(-1, 2, *pixels.shape[1:]), None, pairs, 2 / clips.FPS, clip)


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


def overlap(box, gh, gw):
    """The pixels of each visual token that a box covers, [gh, gw]."""
    x1, y1, x2, y2 = box
    xs, ys = np.arange(gw) * FACTOR, np.arange(gh) * FACTOR
    return (np.clip(np.minimum(y2, ys + FACTOR) - np.maximum(y1, ys), 0, None)[:, None]
            * np.clip(np.minimum(x2, xs + FACTOR) - np.maximum(x1, xs), 0, None)[None])


def tokens_under(box, groups, gh, gw):
    """The visual tokens that show a box: those that hold a fair part of it. bool [groups · gh · gw]."""
    over = overlap(box[:4], gh, gw)
    on = np.zeros((groups, gh, gw), bool)
    here = (over >= 0.3 * over.max()) & (over > 0)
    if len(box) > 4:
        on[min(box[4], groups - 1)] = here
    else:
        on[:] = here
    return on.ravel()


LENGTHS = (48, 160, 100_000)             # questions of like length attend together


def pack(tokens, samples):
    """Samples of one size → a batch of numpy arrays, laid out as `network.Packed` has it: `opening` [p], `rest` [n - b · p] and
    `positions` [3, n] of all tokens, `learn` bool [n] where the next token is to be foretold, and the buckets of questions."""
    b = len(samples)
    groups, _, height, width, _ = samples[0].frames.shape
    gh, gw = height // FACTOR, width // FACTOR
    seconds, video = samples[0].seconds, samples[0].seconds > 0
    ids, positions, first, following = opening(tokens, groups, gh, gw, seconds, video)
    asked = [_talk(tokens, r, talk, blind) for r, s in enumerate(samples) for blind, talks in ((False, s.talks), (True, s.blind)) for talk in talks]
    masks, places_of = [{} for _ in samples], [_places(s.scene) for s in samples]
    rest, learn, buckets, places, at = [], [], [], [np.tile(positions, (1, b))], b * len(ids)
    for low, high in zip((0,) + LENGTHS, LENGTHS):
        group = [q for q in asked if low < len(q["ids"]) <= high]
        if not group:
            continue
        l = max(len(q["ids"]) for q in group)
        index, real, rows, looked, spelled = np.zeros((len(group), l), np.int64), np.zeros((len(group), l), bool), [], [], []
        for i, q in enumerate(group):
            m = len(q["ids"])
            index[i, :m], real[i, :m] = np.arange(at, at + m), True
            index[i, m:] = at
            at += m
            places.append(np.tile((len(tokens.opening) if q["blind"] else following) + np.arange(m), (3, 1)))
            rest += q["ids"]
            learn += q["learn"]
            known = masks[q["owner"]]
            for place, boxes in q["looks"]:
                if boxes not in known:
                    known[boxes] = np.any([tokens_under(box, groups, gh, gw) for box in boxes], 0)
                rows.append((i, place))
                looked.append(known[boxes])
                spelled.append(places_of[q["owner"]].get(boxes[0], 0))
        buckets.append({"owner": np.array([q["owner"] for q in group]), "blind": np.array([q["blind"] for q in group]), "index": index, "real": np.flatnonzero(real),
                        "rows": np.array(rows, np.int64).reshape(-1, 2), "spelled": np.array(spelled, np.int64), "masks": np.array(looked, bool).reshape(-1, groups * gh * gw)})
    batch = {"opening": np.array(ids), "rest": np.array(rest, np.int64), "positions": np.concatenate(places, 1), "bare": len(tokens.opening),
             "learn": np.array([False] * (b * len(ids)) + learn, bool), "buckets": buckets, "first": first,
             "pixels": np.ascontiguousarray(np.stack([s.frames for s in samples]))}
    batch.update(clip_labels(samples, groups, gh, gw) if video else token_labels(samples, gh, gw))
    return batch


def _places(scene):
    """How far along its line each printed character is, by its box; a clip has no scene and nothing printed."""
    lines = scene.printed() if scene else []
    return {tuple(cell[1:]): min(place, CHARS_IN_LINE) for line in lines for place, cell in enumerate(line.cells, 1)}


def _talk(tokens, owner, talk, blind):
    """Questions with their answers, one after the other: ids, where the next token is to be learned, and what to look at to foretell
    it; `blind` ones have no picture."""
    ids, learn, looks = [], [], []
    for question, answer in talk:
        q = (tokens.again if ids else []) + tokens.recall(question) + tokens.reply
        a, where = tokens.encode_said(answer)
        looks += [(len(ids) + len(q) + i - 1, tuple(map(tuple, boxes))) for i, boxes in enumerate(where) if boxes]
        ids += q + a + [tokens.end]
        learn += [False] * (len(q) - 1) + [True] * (len(a) + 1) + [False]
    return {"owner": owner, "ids": ids, "learn": learn, "looks": looks, "blind": blind}


def token_labels(samples, gh, gw):
    """What each visual token shows: shape, colour, box and place in the order of the thing that covers most of it; the characters in
    its cells, the number of their line, how far along the line each of them is, and the first; and the characters by their slots.

    The vision tower learns these directly beside the answers (through heads that are dropped afterwards): it makes it see early."""
    b, n = len(samples), gh * gw
    shape, colour, rank, line_of, index = (np.zeros((b, gh, gw), np.int64) for _ in range(5))
    box = np.zeros((b, gh, gw, 4), np.float32)
    cells, order = (np.zeros((b, gh * CELL_ROWS, gw * CELL_COLUMNS), np.int64) for _ in range(2))
    slots = np.zeros((b, gh, gw, SLOTS), np.int64)
    ys, xs = np.arange(gh) * FACTOR, np.arange(gw) * FACTOR
    for i, s in enumerate(samples):
        best = np.zeros((gh, gw))
        orderly = len(s.scene.things) <= THINGS and len(s.scene.lines) <= LINES      # a crowd has no order to be learned
        for place, t in enumerate(s.scene.ordered(), 1):
            over = overlap(t.box, gh, gw)
            mine = over > np.maximum(best, 40)
            shape[i][mine], colour[i][mine], best[mine], rank[i][mine] = SHAPE_ID[t.shape], COLOUR_ID[t.colour], over[mine], place if orderly else UNKNOWN
            box[i][mine] = t.box
        drawn = np.zeros((gh, gw), np.int64)         # the line that a token is read as a part of
        for number, line in enumerate(s.scene.printed(), 1):
            for place, (char, x1, y1, x2, y2) in enumerate(line.cells, 1):
                under = tokens_under((x1, y1, x2, y2), 1, gh, gw).reshape(gh, gw)
                fresh = under & (index[i] == 0) & (shape[i] == 0)
                line_of[i][fresh], index[i][fresh] = number if orderly and number <= LINES else UNKNOWN, min(place, CHARS_IN_LINE)
                box[i][fresh] = line.box
                drawn[fresh] = number
                slot = slots[i][..., place % SLOTS]
                here = under & (drawn == number)
                slot[here] = np.where(slot[here] == 0, CHAR_ID.get(char, 0), UNKNOWN)
                step_x, step_y = FACTOR / CELL_COLUMNS, FACTOR / CELL_ROWS
                c1, c2 = max(0, int(np.ceil(x1 / step_x - 0.5))), int(np.ceil(x2 / step_x - 0.5))
                r1, r2 = max(0, int(np.ceil(y1 / step_y - 0.5))), int(np.ceil(y2 / step_y - 0.5))
                cells[i, r1:r2, c1:c2], order[i, r1:r2, c1:c2] = CHAR_ID.get(char, 0), min(place, CHARS_IN_LINE)
    cells, order = (v.reshape(b, gh, CELL_ROWS, gw, CELL_COLUMNS).transpose(0, 1, 3, 2, 4).reshape(b, n, -1) for v in (cells, order))
    return {"shape": shape.reshape(b, n), "colour": colour.reshape(b, n), "rank": rank.reshape(b, n), "line": line_of.reshape(b, n),
            "index": index.reshape(b, n), "box": box.reshape(b, n, 4), "cells": cells, "order": order, "slots": slots.reshape(b, n, SLOTS),
            "corner": np.stack(np.broadcast_arrays(*np.meshgrid(xs, ys)), -1).reshape(1, n, 2).astype(np.float32)}


def clip_labels(samples, groups, gh, gw):
    """What each visual token of a clip shows in its first and in its second frame: shape and colour; and its second."""
    b, n = len(samples), groups * gh * gw
    shape, colour = (np.zeros((2, b, groups, gh, gw), np.int64) for _ in range(2))
    for i, s in enumerate(samples):
        for f, things in enumerate(s.clip.things_seen()):
            best, at = np.zeros((gh, gw)), (f % 2, i, f // 2)
            for t in things:
                over = overlap(t.box, gh, gw)
                mine = over > np.maximum(best, 40)
                shape[at][mine], colour[at][mine], best[mine] = SHAPE_ID[t.shape], COLOUR_ID[t.colour], over[mine]
    flat = {k: v.reshape(b, n) for k, v in (("shape", shape[0]), ("colour", colour[0]), ("shape2", shape[1]), ("colour2", colour[1]))}
    corner = np.stack(np.broadcast_arrays(*np.meshgrid(np.arange(gw) * FACTOR, np.arange(gh) * FACTOR)), -1).reshape(1, 1, gh * gw, 2)
    second = np.repeat(np.arange(groups), gh * gw)[None]
    return flat | {"second": second, "corner": np.tile(corner, (1, groups, 1, 1)).reshape(1, n, 2).astype(np.float32)}


class Stream:
    """An endless, seeded stream of batches for a stage; batch k depends on (seed, k) only. `scale` multiplies their size."""

    def __init__(self, tokens, stage, seed, scale=1):
        self.tokens, self.stage, self.seed, self.scale = tokens, stage, seed, scale

    def batch(self, k):
        rng = random.Random(f"{self.seed}/{k}")
        stage = self.stage
        if rng.random() < stage.get("look", 0):            # a step that only looks: many pictures, no questions
            stage = {**stage, "asks": 0, "text": 0.3, "documents": 0, "budget": 2600, "text_cost": 0, "clips": 0, "most": 80, "crowds": 0.8}
        elif rng.random() < stage.get("print", 0):         # a step that only reads, many lines at once
            stage = {**stage, "text": 1, "alone": 1, "lines": range(1, LINES), "bold": True, "sides": (2, 20, 130), "roomy": 0.3, "documents": 0.2,
                     "clips": 0, "questions": {"read": 6, "describe": 2, "text_box": 0.5}}
        if rng.random() < stage.get("clips", 0):
            tw, th, seconds = self._clip_size(rng)
            cost = seconds * (tw * th + 0) + 60
            b = max(1, int(self.scale * stage["budget"] / cost))
            samples = [clip_sample(rng, tw, th, seconds, 2) for _ in range(b)]
        else:
            tw, th = self._size(rng, stage)
            width, height = seen_size(tw * FACTOR, th * FACTOR) if stage.get("enlarged") else (tw * FACTOR, th * FACTOR)
            seen = width * height // FACTOR ** 2
            b = max(2, int(min(300 * self.scale, self.scale * stage["budget"] / (seen + stage["text_cost"]))))
            samples = [picture_sample(rng, tw, th, stage) for _ in range(b)]
        return pack(self.tokens, samples)

    def _size(self, rng, stage):
        low, high, most = stage["sides"]
        most = min(most, stage.get("most", most))
        least = ROOMY if "roomy" in stage and rng.random() < stage["roomy"] else 0      # nothing is drawn of the stages without it
        while True:
            # sides are drawn on a logarithmic scale: small pictures are cheap, and there are more of them
            a, b = (min(high, int(low * (((high + 0.999) / low) ** rng.random()))) for _ in range(2))
            if least <= a * b <= most and max(a, b) <= 4 * min(a, b):
                return a, b

    def _clip_size(self, rng):
        low, high, most, longest = self.stage["clip_sides"]
        if rng.random() < self.stage.get("full_clips", 0):   # what a program makes of a clip: at least 128 tokens a frame pair
            low, high, most = 8, 16, 150 * longest
        while True:
            tw, th, seconds = rng.randint(low, high), rng.randint(low, high), rng.randint(2, longest)
            if tw * th * seconds <= most and max(tw, th) <= 2 * min(tw, th) and (low < 8 or 128 <= tw * th <= 150):
                return tw, th, seconds
