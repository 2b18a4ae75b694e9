#!/usr/bin/env python3
"""Writes the fixed cases of the test suite: fixed_cases.py FOLDER [--n 6]

Held-out drawings as files, and cases.json: the question, the true answer, and what the PyTorch model answers in 32-bit floats
with the shipped weights. The test asks the program the same; it has to answer as PyTorch does, and as truly.
"""
import argparse
import json
from pathlib import Path

import questions as Q
from evaluate import load
from evaluate_program import write
from generate import answers
from held_out import cases
from scoring import moved
from tokens import Tokens

TASKS = ["describe", "count", "colour", "boxes", "words", "numbers", "refusal"]
SMALL = 60_000           # bytes of a picture's file: noise doesn't shrink


def true_answer(case):
    """The answer in the words that training taught."""
    if case.task == "describe":
        return str(case.truth["answer"])
    if case.task == "boxes":
        return str(Q.boxes_json([Q.Thing(*name.split()[::-1], moved(box, case.factors)) for name, box in case.truth]))
    return str(case.truth)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--n", type=int, default=6, help="cases of each task")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    model, tokens, out = load(Path(__file__).parents[2] / "models").eval(), Tokens(), []
    for task in TASKS:
        kept = 0
        for i, case in enumerate(cases(task, 4 * args.n)):
            path = write(case, args.folder, i)
            if kept == args.n or path.stat().st_size > SMALL:
                path.unlink()
                continue
            kept += 1
            reply = answers(model, tokens, case.pixels[None], [case.prompt])[0]
            out.append({"file": path.name, "task": task, "prompt": case.prompt, "truth": true_answer(case), "pytorch": reply})
    (args.folder / "cases.json").write_text(json.dumps(out, indent=1) + "\n")
    print(f"{len(out)} cases; PyTorch right in {sum(c['truth'] == c['pytorch'] for c in out)}")


if __name__ == "__main__":
    main()
