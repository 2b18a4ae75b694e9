#!/usr/bin/env python3
"""Trains the demo model from scratch on drawings, on two CPU cores; stop it at any time, it goes on from its checkpoint.

    train.py --out FOLDER [--minutes M] [--cool N]
"""
import argparse
import csv
import os
import signal
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from batches import CELL_COLUMNS, CELL_ROWS, CHARS, CHARS_IN_LINE, LINES, THINGS, Stream
from curriculum import COOL, STAGES, TOTAL
from network import Fused, Model, Packed, Size
from optimiser import optimisers
from share import Share
from tokens import Tokens
from world import COLOURS, SHAPES

TAP = 2               # language layer after which visual tokens must know where their thing lies in the whole picture
POINTERS = {2: 1, 4: 2}      # layers, and how many of their heads learn to look at what the next word is about
COLUMNS = ["step", "stage", "minutes", "samples", "loss", "seeing", "placing", "digits", "others", "shapes", "letters", "ranks", "early", "late", "rate"]


class Heads(nn.Module):
    """Linear read-outs that teach the vision tower directly; not a part of the shipped model."""

    def __init__(self, s):
        super().__init__()
        self.shape, self.colour = nn.Linear(s.hidden, len(SHAPES) + 1), nn.Linear(s.hidden, len(COLOURS) + 1)
        self.box, self.cells = nn.Linear(s.hidden, 4), nn.Linear(s.hidden, CELL_ROWS * CELL_COLUMNS * (len(CHARS) + 1))
        self.place, self.digits = nn.Linear(s.hidden, 4), nn.Linear(s.hidden, 4 * 3 * 10)
        self.rank, self.line, self.index = nn.Linear(s.hidden, THINGS + 1), nn.Linear(s.hidden, LINES + 1), nn.Linear(s.hidden, CHARS_IN_LINE + 1)

    def seeing(self, seen, batch):
        """Loss of shape, colour, box relative to the token, and characters; and the share of shapes and characters that are right."""
        right = {}
        scores = self.shape(seen).float()
        loss = F.cross_entropy(scores.flatten(0, 1), batch["shape"].flatten())
        loss = loss + F.cross_entropy(self.colour(seen).float().flatten(0, 1), batch["colour"].flatten())
        on = batch["shape"] > 0
        if on.any():
            ranks = self.rank(seen[on]).float()
            loss = loss + F.cross_entropy(ranks, batch["rank"][on])
            right["ranks"] = (ranks.argmax(-1) == batch["rank"][on]).float().mean()
            right["shapes"] = (scores.argmax(-1) == batch["shape"])[on].float().mean()
            here = (batch["box"] - batch["corner"].repeat(1, 1, 2))[on] / 56
            loss = loss + F.smooth_l1_loss(self.box(seen[on]).float(), here, beta=0.1)
        cells = batch["cells"]
        written = cells.amax((1, 2)) > 0
        on = batch["line"] > 0
        if on.any():
            loss = loss + 0.3 * F.cross_entropy(self.line(seen[on]).float(), batch["line"][on])
        if written.any():
            scores = self.cells(seen[written]).float().view(-1, len(CHARS) + 1)
            target = cells[written].flatten()
            each = F.cross_entropy(scores, target, reduction="none")
            weight = torch.where(target > 0, 1.0, 0.1)
            right["letters"] = (scores.argmax(-1) == target)[target > 0].float().mean()
            loss = loss + (each * weight).sum() / weight.sum() * written.float().mean().sqrt()
        return loss, right

    def placing(self, hidden, batch):
        """Loss of what the language model adds to a visual token: its thing's or line's box in the whole picture, and how far
        along the line its characters are."""
        on, text = (batch["shape"] > 0) | (batch["line"] > 0), batch["line"] > 0
        if not on.any():
            return hidden.sum() * 0
        along = F.cross_entropy(self.index(hidden[text]).float(), batch["index"][text]) if text.any() else 0.0
        box = batch["box"][on]
        whole = box.round().long().clamp(0, 999)
        digits = torch.stack((whole // 100, whole // 10 % 10, whole % 10), -1)      # as they are written in answers
        written = F.cross_entropy(self.digits(hidden[on]).float().view(-1, 10), digits.flatten())
        return F.smooth_l1_loss(self.place(hidden[on]).float(), box / 280, beta=0.05) + 0.1 * written + 0.1 * along


def pointing(scores, masks, first):
    """How little of its attention a head gives to what the next word is about: −log of that share, [r, heads].

    scores [r, heads, n] before the softmax, masks bool [r, visual tokens], which begin at `first`."""
    share = scores.log_softmax(-1)[:, :, first:first + masks.shape[1]]
    return -share.masked_fill(~masks[:, None], -1e30).logsumexp(-1).clamp(max=20)


def tensors(batch):
    if isinstance(batch, dict):
        return {k: tensors(v) for k, v in batch.items()}
    return [tensors(v) for v in batch] if isinstance(batch, list) else torch.from_numpy(batch) if hasattr(batch, "dtype") else batch


class Feed(torch.utils.data.Dataset):
    """Batch k of the curriculum, drawn in a process of its own."""

    def __init__(self, tokens, start):
        self.streams = [Stream(tokens, s, i) for i, s in enumerate(STAGES)]
        self.start = start

    def __len__(self):
        return max(0, TOTAL - self.start)

    def __getitem__(self, i):
        step = self.start + i
        stage = stage_at(step)
        return stage, tensors(self.streams[stage].batch(step))


def stage_at(step):
    for i, s in enumerate(STAGES):
        if step < s["steps"]:
            return i
        step -= s["steps"]
    return len(STAGES) - 1


def rate(step, total, cool):
    """The share of the full learning rate: a short warm-up, a plateau, a linear fall to nothing at the end."""
    return min(1.0, (step + 1) / 100) * max(0.0, min(1.0, (total - step) / cool))


def losses(model, heads, batch, digit_ids):
    if not batch["learn"].any():                       # only looking, no language yet
        seen = model.model.visual(batch["pixels"][:, 0])
        total, right = heads.seeing(seen, batch)
        return total, dict(seeing=total, **right)
    x, seen = model.embed(batch["opening"], batch["rest"], batch["pixels"], batch["first"])
    b, p, first = len(batch["pixels"]), len(batch["opening"]), batch["first"]
    looks = {layer: [] for layer in POINTERS}
    how = Packed(b, p, batch["buckets"], POINTERS, lambda layer, scores, masks: looks[layer].append(pointing(scores, masks, first)))
    hidden, tapped = model.model.language_model(x, batch["positions"][None], how, tap=TAP)
    learn = batch["learn"]
    target = torch.cat((batch["opening"].new_zeros(b * p), batch["rest"])).roll(-1)[learn]
    each = F.cross_entropy(model.logits(hidden[0][learn]).float(), target, reduction="none")
    digit = torch.isin(target, digit_ids)
    answer = each.mean()
    total, extra, right = answer, torch.zeros(()), {}
    placing = torch.zeros(())
    if "shape" in batch:
        extra, right = heads.seeing(seen, batch)
        opened = tapped[0, :b * p].view(b, p, -1)
        placing = heads.placing(opened[:, first:first + seen.shape[1]], batch)
        total = total + 0.3 * extra + 2.0 * placing
    nan = torch.tensor(float("nan"))
    early, late = (torch.cat(v).mean() if v else nan for v in looks.values())
    if early == early:
        total = total + 0.15 * (early + late)
    return total, dict(early=early, late=late, loss=answer, seeing=extra, placing=placing, digits=each[digit].mean() if digit.any() else nan, others=each[~digit].mean(), **right)


def save(path, model, heads, optims, step, samples, minutes):
    data = dict(size=model.size.dict(), model=model.state_dict(), heads=heads.state_dict(), optims=[o.state_dict() for o in optims],
                step=step, samples=samples, minutes=minutes)
    torch.save(data, path.with_suffix(".new"))
    os.replace(path.with_suffix(".new"), path)


def load_model(path):
    data = torch.load(path, weights_only=True)
    size = data["size"]
    model = Model(Size(**{**size, "sections": tuple(size["sections"])}))
    model.load_state_dict(data["model"])
    return model, data


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=1e9, help="stop after this long")
    parser.add_argument("--cool", type=int, help="end within this many steps, the learning rate falling to nothing: a usable model early")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, help="stop at this step")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    share = Share(args.threads)
    torch.manual_seed(1)
    Fused.on()
    tokens = Tokens()
    digit_ids = torch.tensor([tokens.id[d] for d in "0123456789"])
    path = args.out / "checkpoint.pt"
    step = samples = 0
    spent = 0.0
    if path.exists():
        model, data = load_model(path)
        heads = Heads(model.size)
        heads.load_state_dict(data["heads"])
        step, samples, spent = data["step"], data["samples"], data["minutes"]
    else:
        model, data = Model(Size(vocabulary=tokens.size)), None
        heads = Heads(model.size)
    total_steps, cool = (step + args.cool, args.cool) if args.cool else (TOTAL, COOL)
    optims = optimisers(model, heads)
    base = [[g["lr"] for g in o.param_groups] for o in optims]
    if data:
        for o, state in zip(optims, data["optims"]):
            o.load_state_dict(state)
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters, starts at step {step}", flush=True)
    feed = torch.utils.data.DataLoader(Feed(tokens, step), batch_size=None, num_workers=1, prefetch_factor=4)
    log = open(args.out / "curve.csv", "a", newline="")
    writer = csv.writer(log)
    if log.tell() == 0:
        writer.writerow(COLUMNS)
    began = saved = time.time()
    stop = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(True))
    sums, count = {}, 0
    for stage, batch in feed:
        share.look()
        for o, lrs in zip(optims, base):
            for g, lr in zip(o.param_groups, lrs):
                g["lr"] = lr * rate(step, total_steps, cool)
        with torch.autocast("cpu", torch.bfloat16):
            total, parts = losses(model, heads, batch, digit_ids)
        total.backward()
        torch.nn.utils.clip_grad_norm_(list(model.parameters()) + list(heads.parameters()), 1.0)
        for o in optims:
            o.step()
            o.zero_grad(set_to_none=True)
        step, samples, count = step + 1, samples + len(batch["pixels"]), count + 1
        for k, v in parts.items():
            if v == v:
                sums.setdefault(k, []).append(float(v.detach()))
        minutes = spent + (time.time() - began) / 60
        if step % 20 == 0:
            mean = {k: sum(v) / len(v) for k, v in sums.items()}
            row = [step, STAGES[stage]["name"], f"{minutes:.2f}", samples] + [f"{mean.get(k, float('nan')):.4f}" for k in COLUMNS[4:-1]] + [f"{rate(step, total_steps, cool):.3f}"]
            writer.writerow(row)
            log.flush()
            print(*row, torch.get_num_threads(), flush=True)
            sums, count = {}, 0
        if time.time() - saved > 180 or step >= total_steps:
            save(path, model, heads, optims, step, samples, minutes)
            saved = time.time()
        if stop or step == args.steps or (time.time() - began) / 60 > args.minutes or step >= total_steps:
            break
    save(path, model, heads, optims, step, samples, spent + (time.time() - began) / 60)
    print("stopped at step", step)


if __name__ == "__main__":
    main()
