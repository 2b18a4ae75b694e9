#!/usr/bin/env python3
"""Runs the program on held-out drawings and prints what it gets right: evaluate_program.py QLENS [--n 42] [--json FILE]

Each case is drawn to a PNG (or an MP4), and `qlens describe FILE -p PROMPT` answers it. The second figure of each cell is the
PyTorch model's in 32-bit floats on the same cases, from the file that training wrote. The row `find` asks about the clips of
`events` through `qlens find`, and scores the times that it prints.
"""
import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path

from clips import ENDINGS
from held_out import TASKS, cases
from samples import write_clip
from scoring import mean, score

ACCURACY = Path(__file__).parents[2] / "models" / "demo-accuracy.json"


def write(case, folder, i):
    """The case's picture or clip as a file."""
    if case.rate:
        path = folder / f"{case.task}-{i}.mp4"
        write_clip(path, case.frames, case.rate)
    else:
        path = folder / f"{case.task}-{i}.png"
        case.frames[0].save(path)
    return path


def ask(args, task, path, case):
    words = ["find", case.prompt.removesuffix(ENDINGS[0]), str(path)] if task == "find" else ["describe", str(path), "-p", case.prompt]
    command = [args.qlens] + words + ["--json", "--quiet", "--temp", "0", "--max-tokens", "400"] + args.option
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\nexit {done.returncode}: {done.stderr.strip()[-400:]}")
    said = json.loads(done.stdout)
    # What `find` understood, in the form in which the model answers.
    return json.dumps(said["events"]) if task == "find" else said["answer"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("qlens")
    parser.add_argument("--n", type=int, default=42, help="cases of each task")
    parser.add_argument("--tasks", nargs="*", default=TASKS + ["find"])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--show", type=int, default=0, help="print this many wrong answers of each task")
    parser.add_argument("--option", action="append", default=[], help="passed on to the program, e.g. --option=--threads --option=2")
    args = parser.parse_args()
    known = json.loads(ACCURACY.read_text())["tasks"] if ACCURACY.exists() else {}
    table = {}
    print(f"{'task':10} {'measure':12} {'program':>8} {'PyTorch F32':>12}")
    with tempfile.TemporaryDirectory() as folder:
        for task in args.tasks:
            began, scores, shown = time.time(), [], 0
            clips = task in ("events", "find")
            todo = cases("events" if clips else task, max(6, args.n // 2) if clips else args.n)
            for i, case in enumerate(todo):
                reply = ask(args, task, write(case, Path(folder), i), case)
                scores.append(score(case, reply))
                if min(scores[-1].values()) < 0.7 and shown < args.show:
                    shown += 1
                    print(f"    {case.prompt!r}\n      got  {reply!r}\n      want {case.truth!r}")
            table[task] = mean(scores)
            for k, v in table[task].items():
                other = known.get("events" if clips else task, {}).get(k)
                print(f"{task:10} {k:12} {v:8.3f} {'-' if other is None else format(other, '.3f'):>12}", flush=True)
            print(f"{'':10} {len(todo)} cases, {(time.time() - began) / len(todo):.2f} s each")
    if args.json:
        args.json.write_text(json.dumps({"cases_per_task": args.n, "tasks": table}, indent=1) + "\n")


if __name__ == "__main__":
    main()
