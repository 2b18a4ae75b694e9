#!/usr/bin/env python3
"""Held-out accuracy of the PyTorch model in 32-bit floats: evaluate.py MODEL [--n 42] [--json FILE], MODEL a checkpoint or a GGUF folder."""
import argparse
import json
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch

from generate import answers
from held_out import TASKS, cases
from scoring import mean, score
from tokens import Tokens


def load(path):
    if Path(path).is_dir():
        from export import read_pair
        return read_pair(Path(path))
    from train import load_model
    return load_model(path)[0]


def evaluate(model, tokens, task, n, show=0):
    groups = defaultdict(list)
    for i, case in enumerate(cases(task, n)):
        groups[case.pixels.shape].append((i, case))
    scores = []
    for shape, items in groups.items():
        most = 400 if task == "document" else 256
        replies = answers(model, tokens, np.stack([c.pixels for _, c in items]), [c.prompt for _, c in items], 1.0 if items[0][1].rate else 0.0, most)
        for (i, case), reply in zip(items, replies):
            got = score(case, reply)
            scores.append(got)
            if show and min(got.values()) < 0.7 and len([s for s in scores if min(s.values()) < 0.7]) <= show:
                print(f"    {shape[3]}x{shape[2]} {case.prompt!r}\n      got  {reply!r}\n      want {case.truth!r}")
    return mean(scores)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--n", type=int, default=42)
    parser.add_argument("--tasks", nargs="*", default=TASKS)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--show", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(2)
    model, tokens = load(args.model).eval(), Tokens()
    table = {}
    for task in args.tasks:
        began = time.time()
        table[task] = evaluate(model, tokens, task, args.n if task != "events" else max(6, args.n // 2), args.show)
        print(f"{task:10}", "  ".join(f"{k} {v:.3f}" for k, v in table[task].items()), f"  ({time.time() - began:.0f} s)", flush=True)
    if args.json:
        args.json.write_text(json.dumps({"cases_per_task": args.n, "tasks": table}, indent=1) + "\n")


if __name__ == "__main__":
    main()
