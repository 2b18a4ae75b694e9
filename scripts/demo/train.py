#!/usr/bin/env python3
"""Trains the demo model from scratch on drawings, on two CPU cores; stop it at any time, it goes on from its checkpoint.

    train.py --out FOLDER [--minutes M] [--cool N]
    train.py --out FOLDER --start GGUF_FOLDER --within MINUTES [--heads FILE]     goes on with a trained pair: everything at once
    … --device cuda --scale N --workers N                                        on a GPU, with steps N times as large
"""
import argparse
import csv
import os
import signal
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from batches import CELL_COLUMNS, CELL_ROWS, CHARS, CHARS_IN_LINE, LINES, SLOTS, THINGS, UNKNOWN, Stream
from curriculum import COOL, MORE, STAGES
from network import Fused, Model, Packed, Size
from optimiser import optimisers
from share import Share
from tokens import Tokens
from world import COLOURS, FACTOR, SHAPES

AT = 2                # language layers after which visual tokens must know where they are in the picture,
PLACED = 3            # where their thing or line lies,
SPELLED = 4           # and which characters they hold, by their places in the line; and an answer, which place it has come to
SIDE = 24             # visual tokens along a picture's side, at most
POINTERS = {2: 1, 4: 2}      # layers, and how many of their heads learn to look at what the next word is about
SPELT = 3.0                  # how much more than others printed characters of answers count
DECIDED = 4.0                # and what stands behind " is" or " are", which a whole answer hangs on: "There are 3 red circles."
LONGEST = 16          # seconds of a clip, at most
COLUMNS = ["step", "stage", "minutes", "samples", "loss", "seeing", "placing", "digits", "others", "shapes", "letters", "ranks", "frames", "at", "early",
           "late", "slots", "asked", "read", "rate"]


class Heads(nn.Module):
    """Linear read-outs that teach the vision tower and the language model's first layers directly; not a part of the shipped model."""

    def __init__(self, s):
        super().__init__()
        self.shape, self.colour = nn.Linear(s.hidden, len(SHAPES) + 1), nn.Linear(s.hidden, len(COLOURS) + 1)
        self.edges = nn.Linear(s.hidden, 4 * (FACTOR + 2))
        self.box, self.cells = nn.Linear(s.hidden, 4), nn.Linear(s.hidden, CELL_ROWS * CELL_COLUMNS * (len(CHARS) + 1))
        self.place, self.digits = nn.Linear(s.hidden, 4), nn.Linear(s.hidden, 4 * 3 * 10)
        self.row, self.column, self.second = nn.Linear(s.hidden, SIDE), nn.Linear(s.hidden, SIDE), nn.Linear(s.hidden, LONGEST)
        self.shape2, self.colour2 = nn.Linear(s.hidden, len(SHAPES) + 1), nn.Linear(s.hidden, len(COLOURS) + 1)
        self.rank, self.line, self.index = nn.Linear(s.hidden, THINGS + 1), nn.Linear(s.hidden, LINES + 1), nn.Linear(s.hidden, CHARS_IN_LINE + 1)
        self.order = nn.Linear(s.hidden, CELL_ROWS * CELL_COLUMNS * (CHARS_IN_LINE + 1))
        self.slots, self.asked = nn.Linear(s.hidden, SLOTS * (len(CHARS) + 1)), nn.Linear(s.hidden, CHARS_IN_LINE + 1)

    def seeing(self, seen, batch):
        """Loss of shape, colour, box relative to the token, and characters; and the share of shapes and characters that are right."""
        right = {}
        scores = self.shape(seen).float()
        loss = F.cross_entropy(scores.flatten(0, 1), batch["shape"].flatten())
        loss = loss + F.cross_entropy(self.colour(seen).float().flatten(0, 1), batch["colour"].flatten())
        on = batch["shape"] > 0
        if on.any():
            ranks, known = self.rank(seen[on]).float(), batch["rank"][on]
            if (known > 0).any():
                loss = loss + F.cross_entropy(ranks, known)
                right["ranks"] = (ranks.argmax(-1) == known)[known > 0].float().mean()
            right["shapes"] = (scores.argmax(-1) == batch["shape"])[on].float().mean()
        on = on | (batch["index"] > 0)
        if on.any():
            here = (batch["box"] - batch["corner"].repeat(1, 1, 2))[on]
            loss = loss + 0.3 * F.smooth_l1_loss(self.box(seen[on]).float(), here / 16, beta=0.1) + self.edge_loss(seen[on], here)
        cells = batch["cells"]
        written = cells.amax((1, 2)) > 0
        on = batch["line"] > 0
        if on.any():                         # UNKNOWN is below 0
            loss = loss + 0.3 * F.cross_entropy(self.line(seen[on]).float(), batch["line"][on])
        if written.any():
            scores = self.cells(seen[written]).float().view(-1, len(CHARS) + 1)
            target = cells[written].flatten()
            each = F.cross_entropy(scores, target, reduction="none")
            weight = torch.where(target > 0, 1.0, 0.1)
            right["letters"] = (scores.argmax(-1) == target)[target > 0].float().mean()
            loss = loss + (each * weight).sum() / weight.sum() * written.float().mean().sqrt()
        return loss, right

    def watching(self, seen, batch):
        """Loss of what each token of a clip shows in its two frames; and the share of shapes in the second that are right."""
        loss = 0.0
        for name in ("shape", "colour", "shape2", "colour2"):
            loss = loss + F.cross_entropy(getattr(self, name)(seen).float().flatten(0, 1), batch[name].flatten())
        on = batch["shape2"] > 0
        found = self.shape2(seen[on]).argmax(-1) == batch["shape2"][on]
        return loss, {"frames": found.float().mean()}

    def edge_loss(self, seen, here):
        """Loss of where in a token the edges of its thing or line are: 0 elsewhere, else 1 + pixels, a pixel beside being half right.

        here [n, 4]: the box relative to the token's corner."""
        scores = self.edges(seen).float().view(-1, 4, FACTOR + 2).log_softmax(-1)
        inside = edge_in_token(here)
        near = -(torch.arange(FACTOR + 1) - here[..., None]).square() / 2
        target = F.pad(near.softmax(-1) * inside[..., None], (1, 0)) + F.pad((~inside).float()[..., None], (0, FACTOR + 1))
        return -(target * scores).sum(-1).mean()

    def placing(self, states, batch, first):
        """Loss of what the language model adds to a visual token: its own place in the picture (of a clip: its second), its thing's
        or line's box, and how far along the line its characters are; and the share of own places that are right.

        states: hidden states of the openings after each layer, [b, p, hidden]."""
        rows, columns = ((batch["corner"][0, :, k] / 28).long() for k in (1, 0))
        here = states[AT - 1][:, first:first + len(rows)]
        rows, columns = (own.masked_fill(own >= SIDE, UNKNOWN) for own in (rows, columns))
        known = [(self.row, rows), (self.column, columns)] + ([(self.second, batch["second"][0])] if "second" in batch else [])
        own = [(head(here).float(), where.expand(len(here), -1)) for head, where in known]
        at = sum(F.cross_entropy(scores.flatten(0, 1), where.flatten()) for scores, where in own)
        right = sum((scores.argmax(-1) == where).float().mean() for scores, where in own) / len(own)
        if "box" not in batch:
            return 0.1 * at, {"at": right}
        return 0.1 * at + self.boxes(states[PLACED - 1][:, first:first + len(rows)], batch), {"at": right}

    def holding(self, hidden, batch):
        """Loss of which character is in each slot of the visual tokens that show print; and the share of characters that are right."""
        on = batch["index"] > 0
        target = batch["slots"][on].flatten()
        if not (target > 0).any():
            return hidden.sum() * 0, {}
        scores = self.slots(hidden[on]).float().view(-1, len(CHARS) + 1)
        right = (scores.argmax(-1) == target)[target > 0].float().mean()
        return F.cross_entropy(scores, target), {"slots": right}

    def asking(self, hidden, at, target):
        """Loss of how far along its line the next character of an answer is (`target`), where it is a printed one: `at` those places
        of hidden [n, hidden] of all tokens. And the share that is right."""
        if not len(at):
            return hidden.sum() * 0, {}
        scores = self.asked(hidden[at]).float()
        return F.cross_entropy(scores, target), {"asked": (scores.argmax(-1) == target).float().mean()}

    def spelling(self, hidden, order):
        """Loss of how far along its line the character in each cell is, of the cells that hold one."""
        written = order.amax(-1) > 0
        scores = self.order(hidden[written]).float().view(-1, CHARS_IN_LINE + 1)
        target = order[written].flatten()
        return F.cross_entropy(scores[target > 0], target[target > 0]) if written.any() else 0.0

    def boxes(self, hidden, batch):
        text = batch["index"] > 0
        on = (batch["shape"] > 0) | text
        if not on.any():
            return hidden.sum() * 0
        along = F.cross_entropy(self.index(hidden[text]).float(), batch["index"][text]) + self.spelling(hidden, batch["order"]) if text.any() else 0.0
        box = batch["box"][on]
        whole = box.round().long().clamp(0, 999)
        digits = torch.stack((whole // 100, whole // 10 % 10, whole % 10), -1)      # as they are written in answers
        inside = edge_in_token((batch["box"] - batch["corner"].repeat(1, 1, 2))[on])
        digit_scores = self.digits(hidden[on]).float().view(-1, 4, 3, 10)
        written = 0.0
        if inside.any():                     # the last digit is the hardest
            each = F.cross_entropy(digit_scores[inside].flatten(0, 1), digits[inside].flatten(), reduction="none").view(-1, 3)
            written = (each * torch.tensor([0.4, 0.6, 1.2])).mean()
        return 0.2 * F.smooth_l1_loss(self.place(hidden[on]).float(), box / 16, beta=0.1) + 0.6 * written + 0.1 * along


def edge_in_token(here):
    """Which of a box's edges lie in the token; a right or bottom edge is where the last pixel is. here [..., 4] → bool."""
    last = torch.tensor([0.0, 0.0, 1.0, 1.0])
    return (here - last >= -0.5) & (here - last < FACTOR - 0.5)


def printed(buckets):
    """Where in the row an answer's next character is a printed one, and how far along its line that is: two of [characters]."""
    at = torch.cat([bucket["index"][bucket["rows"][:, 0], bucket["rows"][:, 1]] for bucket in buckets])
    place = torch.cat([bucket["spelled"] for bucket in buckets])
    return at[place > 0], place[place > 0]


def pointing(scores, masks, first):
    """How little of its attention a head gives to what the next word is about: −log of that share, [r, heads].

    scores [r, heads, n] before the softmax, masks bool [r, visual tokens], which begin at `first`."""
    share = scores.log_softmax(-1)[:, :, first:first + masks.shape[1]]
    return -share.masked_fill(~masks[:, None], -1e30).logsumexp(-1).clamp(max=20)


def each_array(batch, of, change):
    """A nested batch with `change` made to each of its parts of type `of`."""
    if isinstance(batch, dict):
        return {k: each_array(v, of, change) for k, v in batch.items()}
    return [each_array(v, of, change) for v in batch] if isinstance(batch, list) else change(batch) if isinstance(batch, of) else batch


def tensors(batch):
    return each_array(batch, np.ndarray, torch.from_numpy)


class Feed(torch.utils.data.Dataset):
    """Batch k of the curriculum, drawn in a process of its own."""

    def __init__(self, tokens, start, stages, scale):
        self.stages, self.start = stages, start
        self.streams = [Stream(tokens, s, s.get("seed", i), scale) for i, s in enumerate(stages)]

    def __len__(self):
        return max(0, sum(s["steps"] for s in self.stages) - self.start)

    def __getitem__(self, i):
        step = self.start + i
        torch.set_num_threads(1)
        stage = stage_at(self.stages, step)
        return self.stages[stage]["name"], tensors(self.streams[stage].batch(step))


def stage_at(stages, step):
    for i, s in enumerate(stages):
        if step < s["steps"]:
            return i
        step -= s["steps"]
    return len(stages) - 1


def rate(step, total, cool):
    """The share of the full learning rate: a plateau, a linear fall to nothing at the end (total and cool in steps or minutes)."""
    return max(0.0, min(1.0, (total - step) / cool))


def grown(model, size):
    """The same function by a model with more blocks: those behind the present ones add nothing as yet."""
    new = Model(size)
    old = model.state_dict()
    for module, depth in ((new.model.visual.blocks, model.size.v_depth), (new.model.language_model.layers, model.size.layers)):
        for block in module[depth:]:
            for last in (block.mlp.down_proj, block.attn.proj if hasattr(block, "attn") else block.self_attn.o_proj):
                for p in last.parameters():
                    nn.init.zeros_(p)
    new.load_state_dict(new.state_dict() | old)
    return new


def losses(model, heads, batch, digit_ids, verb_ids, helps=1.0):
    x, seen = model.embed(batch["opening"], batch["rest"], batch["pixels"], batch["first"])
    b, p, first = len(batch["pixels"]), len(batch["opening"]), batch["first"]
    looks = {layer: [] for layer in POINTERS}
    how = Packed(b, p, batch["bare"], batch["buckets"], POINTERS, lambda layer, scores, masks: looks[layer].append(pointing(scores, masks, first)))
    learn = batch["learn"]
    asked = bool(learn.any())                          # or only looking
    hidden, states = model.model.language_model(x, batch["positions"][None], how, layers=None if asked else SPELLED)
    seeing, placing, holding, known = beside(heads, seen, [s[0, :b * p].view(b, p, -1) for s in states], batch)
    if not asked:
        return helps * (seeing + placing + 0.2 * holding), known
    target = torch.cat((batch["opening"].new_zeros(b * p), batch["rest"])).roll(-1)
    at, place = printed(batch["buckets"])
    asking, right = heads.asking(states[SPELLED - 1][0], at, place)
    answer, parts = answering(model, hidden[0], target, learn, at, digit_ids, verb_ids)
    total = answer + 0.2 * seeing + helps * (2.0 * placing + 0.3 * holding + 0.1 * asking)
    early, late = (torch.cat(v).mean() if v else torch.tensor(float("nan")) for v in looks.values())
    if all(looks.values()):
        total = total + helps * 0.15 * (early + late)
    return total, known | right | parts | dict(early=early, late=late)


def beside(heads, seen, states, batch):
    """Losses of what visual tokens are to tell beside the answers: as the vision tower made them (`seen`), and what the language model
    added (`states` of the openings after each layer, [b, p, hidden]): places, and characters. And the shares that are right."""
    first, none = batch["first"], torch.zeros(())
    if "shape" not in batch:
        return none, none, none, {}
    clip = "second" in batch
    seeing, known = (none, {}) if not seen.requires_grad else heads.watching(seen, batch) if clip else heads.seeing(seen, batch)
    placing, right = heads.placing(states, batch, first)
    holding, held = (none, {}) if clip else heads.holding(states[SPELLED - 1][:, first:first + seen.shape[1]], batch)
    return seeing, placing, holding, dict(seeing=seeing, placing=placing, **known, **right, **held)


def answering(model, hidden, target, learn, at, digit_ids, verb_ids):
    """Loss of the answers' next tokens `target` [n] where they are to be learned, printed characters (`at`) and the two tokens behind a
    verb (a number follows a space of its own) counting more; and parts of it.

    hidden [n, hidden]: the last hidden states."""
    each = F.cross_entropy(model.logits(hidden[learn]).float(), target[learn], reduction="none")
    verb = torch.isin(target, verb_ids)
    weight = torch.where(verb.roll(1) | verb.roll(2), DECIDED, 1.0)
    weight[at] = SPELT
    weight = weight[learn]
    digit = torch.isin(target[learn], digit_ids)
    loss = (each * weight).sum() / weight.sum()
    parts = {"loss": loss, "others": each[~digit].mean()}
    if digit.any():
        parts["digits"] = each[digit].mean()
    if len(at):
        parts["read"] = (model.logits(hidden[at].detach()).argmax(-1) == target[at]).float().mean()
    return loss, parts


def save(path, model, heads, optims, step, samples, minutes):
    data = dict(size=model.size.dict(), model=model.state_dict(), heads=heads.state_dict(), optims=[o.state_dict() for o in optims],
                step=step, samples=samples, minutes=minutes)
    torch.save(data, path.with_suffix(".new"))
    os.replace(path.with_suffix(".new"), path)


def load_model(path):
    data = torch.load(path, weights_only=True, map_location=torch.get_default_device())
    size = data["size"]
    model = Model(Size(**{**size, "sections": tuple(size["sections"])}))
    model.load_state_dict(data["model"])
    return model, data


def begin(args, tokens):
    """Model, heads, optimisers, and step, samples and minutes so far."""
    path = args.out / "checkpoint.pt"
    if path.exists():
        model, data = load_model(path)
    elif args.start:
        from export import read_pair
        with torch.device("cpu"):
            model, data = grown(read_pair(args.start), Size(vocabulary=tokens.size)), None
        model = model.to(torch.get_default_device())
    else:
        model, data = Model(Size(vocabulary=tokens.size)), None
    model.model.visual.requires_grad_(args.eyes)
    heads = Heads(model.size)
    if data:
        heads.load_state_dict(data["heads"])
    elif args.heads:
        known = torch.load(args.heads, weights_only=True, map_location=torch.get_default_device())
        heads.load_state_dict(known.get("heads", known), strict=False)
    optims = optimisers(model, heads)
    for o, state in zip(optims, data.get("optims", []) if data else []):
        rates = [g["lr"] for g in o.param_groups]
        o.load_state_dict(state)
        for g, lr in zip(o.param_groups, rates):       # those saved are what the schedule had made of them
            g["lr"] = lr
    return model, heads, optims, *((data[k] for k in ("step", "samples", "minutes")) if data else (0, 0, 0.0))


class Curve:
    """Means over some steps, written as lines of a table."""

    def __init__(self, path):
        self.file = open(path, "a", newline="")
        self.writer = csv.writer(self.file)
        self.sums = {}
        if self.file.tell() == 0:
            self.writer.writerow(COLUMNS)

    def add(self, parts):
        for k, v in parts.items():
            self.sums.setdefault(k, []).append(v.detach().float())

    def line(self, step, stage, minutes, samples, share):
        mean = {k: float(torch.stack(v).nanmean()) for k, v in self.sums.items()}
        row = [step, stage, f"{minutes:.2f}", samples] + [f"{mean.get(k, float('nan')):.4f}" for k in COLUMNS[4:-1]] + [f"{share:.3f}"]
        self.writer.writerow(row)
        self.file.flush()
        print(*row, flush=True)
        self.sums = {}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=1e9, help="stop after this long")
    parser.add_argument("--cool", type=int, help="end within this many steps, the learning rate falling to nothing: a usable model early")
    parser.add_argument("--start", type=Path, help="a folder with a GGUF pair to go on from where there is no checkpoint")
    parser.add_argument("--heads", type=Path, help="with --start: the checkpoint that its read-outs are in")
    parser.add_argument("--within", type=float, default=60, help="with --start: the minutes to go on for, in the later half ever slower")
    parser.add_argument("--rate", type=float, default=1.0, help="so many times the learning rate: less for steps of a CPU after those of a GPU")
    parser.add_argument("--eyes", action=argparse.BooleanOptionalAction, default=True, help="train the vision tower, too")
    parser.add_argument("--helps", type=float, default=1.0, help="so many times the weight of all that is learned beside the answers")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--scale", type=float, default=1.0, help="so many times as much in a step")
    parser.add_argument("--workers", type=int, default=1, help="processes that draw")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--plain", action="store_true", help="compile nothing")
    parser.add_argument("--steps", type=int, help="stop at this step")
    return parser.parse_args()


def train(args, model, heads, optims, feed, spent, step, samples):
    """Goes through the feed until the schedule ends or something stops it; saves every three minutes and at the end."""
    schedule = [MORE] if args.start else STAGES
    total, cool = (args.within, args.within / 2) if args.start else (step + args.cool, args.cool) if args.cool else (sum(s["steps"] for s in schedule), COOL)
    base = [[g["lr"] for g in o.param_groups] for o in optims]
    digit_ids, verb_ids = (torch.tensor([Tokens().id[t] for t in these]) for these in ("0123456789", ("Ġis", "Ġare")))
    everything = list(model.parameters()) + list(heads.parameters())
    curve, share = Curve(args.out / "curve.csv"), Share(args.threads)
    first, began = step, time.time()
    saved, stop = began, []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(True))
    for stage, batch in feed:
        if args.device == "cpu":
            share.look()
        minutes = spent + (time.time() - began) / 60
        now = rate(minutes if args.start else step, total, cool) * min(1.0, (step - first + 1) / 40) * args.rate
        for o, lrs in zip(optims, base):
            for g, lr in zip(o.param_groups, lrs):
                g["lr"] = lr * now
        with torch.autocast(args.device, torch.bfloat16):
            loss, parts = losses(model, heads, each_array(batch, torch.Tensor, lambda t: t.to(args.device, non_blocking=True)), digit_ids, verb_ids, args.helps)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(everything, 1.0)
        for o in optims:
            o.step()
            o.zero_grad(set_to_none=True)
        step, samples = step + 1, samples + len(batch["pixels"])
        curve.add(parts)
        if step % 20 == 0:
            curve.line(step, stage, minutes, samples, now)
        done = stop or step == args.steps or (time.time() - began) / 60 > args.minutes or (minutes if args.start else step) >= total
        if done or time.time() - saved > 180:
            save(args.out / "checkpoint.pt", model, heads, optims, step, samples, spent + (time.time() - began) / 60)
            saved = time.time()
        if done:
            break
    print("stopped at step", step)


def main():
    args = arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    tokens = Tokens()
    path = args.out / "checkpoint.pt"
    step = torch.load(path, weights_only=True, map_location="cpu")["step"] if path.exists() else 0
    # the processes that draw begin before this one takes hold of a GPU
    stages = [MORE if args.eyes else {**MORE, "look": 0}] if args.start else STAGES
    dataset = Feed(tokens, step, stages, args.scale)
    feed = iter(torch.utils.data.DataLoader(dataset, batch_size=None, num_workers=args.workers, prefetch_factor=4))
    torch.set_default_device(args.device)
    if args.device == "cuda":
        torch.backends.cuda.enable_cudnn_sdp(False)            # it plans anew for every size
        torch.empty(int(torch.cuda.mem_get_info()[0] * 0.7), dtype=torch.uint8)       # asked for once, not piece by piece
    torch.manual_seed(1)
    torch._dynamo.config.recompile_limit = 64         # pictures and questions come in many sizes
    if not args.plain:
        Fused.on()
    model, heads, optims, step, samples, spent = begin(args, tokens)
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters, starts at step {step}", flush=True)
    train(args, model, heads, optims, feed, spent, step, samples)


if __name__ == "__main__":
    main()
