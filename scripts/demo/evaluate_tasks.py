#!/usr/bin/env python3
"""Runs locate, parse and extract on held-out drawings whose files aren't what the model sees: evaluate_tasks.py QLENS [--n 28]

Each drawing becomes a file in several ways (`VIEWS`): as drawn; with sides of which the program resizes each by a factor of its
own; stored turned or mirrored, with the EXIF mark that says so; far below the least number of pixels, and far above the most.
What the program finds is compared with the truth in pixels of the original, upright. `inside` has to be 1: the share of places
that lie in the picture. `extract` asks what a lone shape and its colour are: `valid` has to be 1, too.
"""
import argparse
import json
import math
import re
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

from held_out import cases
from scoring import boxes, document, iou, mean, moved

TURN = Image.Transpose
# What a viewer does by the EXIF mark is undone when the file is written.
STORED = {2: TURN.FLIP_LEFT_RIGHT, 3: TURN.ROTATE_180, 4: TURN.FLIP_TOP_BOTTOM, 5: TURN.TRANSPOSE, 6: TURN.ROTATE_90,
          7: TURN.TRANSVERSE, 8: TURN.ROTATE_270}
ORIENTATION = 0x0112


def uneven(size, i):
    """Sides that are no multiples of 28, one a little longer than the model's and one a little shorter."""
    return [size[0] + 9 + i % 5, size[1] - 9 - i % 5] if i % 2 else [size[0] - 9 - i % 5, size[1] + 9 + i % 5]


def tiny(size, i):
    """Some 2000 pixels; the model sees at least 3136."""
    shrink = math.sqrt(2000 / (size[0] * size[1]))
    return [max(8, round(side * shrink) + i % 2) for side in size]


def huge(size, i):
    """9 to 36 times the pixels that the model may see."""
    return [side * (3 + i % 4) + 5 - 8 * k for k, side in enumerate(size)]


# Name, the file's size, whether it is stored turned.
VIEWS = [("as drawn", None, False), ("uneven", uneven, False), ("turned", uneven, True), ("tiny", tiny, False), ("huge", huge, True)]


def write(image, size, mark, path):
    """The picture in this size; where a mark is given, stored as cameras do."""
    image = image if list(image.size) == list(size) else image.resize(size, Image.Resampling.LANCZOS)
    if not mark:
        image.save(path)
        return
    exif = Image.Exif()
    exif[ORIENTATION] = mark
    image.transpose(STORED[mark]).save(path, exif=exif, quality=97, subsampling=0)


def run(qlens, words, files):
    """A line's object for each file."""
    command = [qlens] + words + ["--jsonl", "--quiet", "--temp", "0", "--max-tokens", "400"] + [str(f) for f in files]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\nexit {done.returncode}: {done.stderr.strip()[-400:]}")
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert [s["file"] for s in said] == [str(f) for f in files], "a line for each file, in their order"
    return said


def inside(places, said):
    """The share of places within the picture; and whether its size is the upright file's."""
    good = [0 <= p[0] <= p[-2] <= said["width"] and 0 <= p[1] <= p[-1] <= said["height"] for p in places]
    return sum(good) / len(good) if good else 1.0


def locate(said, case, factors):
    found = [{"label": f["label"], "bbox_2d": f["bbox"]} for f in said["found"]]
    truth = [(name, moved(box, factors)) for name, box in case.truth]
    return {**boxes(json.dumps(found), truth), "inside": inside([f["bbox_2d"] for f in found], said)}


def parse(said, case, factors):
    tags = {"heading": "h1", "paragraph": "p", "table": "table"}
    found = [(tags.get(b["kind"]), b["bbox"]) for b in said["blocks"] if b["bbox"]]
    words = "\n".join(b["text"] for b in said["blocks"])
    want = [(tag, moved(box, factors)) for tag, box in case.truth["blocks"]]
    each = [max((iou(box, other) for kind, other in found if kind == tag), default=0.0) for tag, box in want]
    lines = document(words.replace("<", " "), case.truth)["lines"]
    return {"lines": lines, "iou": sum(each) / len(each), "inside": inside([box for _, box in found], said)}


def extract(said, case, _):
    data, truth = said["data"], case.truth[0][0].split()
    valid = set(data) == {"colour", "shape"} and all(isinstance(value, str) for value in data.values())
    return {"valid": float(valid), "right": ((data["colour"] == truth[0]) + (data["shape"] == truth[1])) / 2}


def small(case):
    """Whether enough of it is left when it is tiny."""
    return case.frames[0].width * case.frames[0].height <= 13000


def blocks(case):
    """Adds what `parse` needs to a document's truth."""
    found = re.findall(r'<(h1|p|table) data-bbox="([0-9 ]+)"', case.truth["html"])
    case.truth["blocks"] = [(tag, [int(n) for n in box.split()]) for tag, box in found]
    return case


def tasks(n):
    """Each task: its name, the words of the command, its cases, and how an answer is judged."""
    shapes = cases("boxes", 3 * n)
    yield "locate", ["locate", "shape", "--all"], shapes, locate
    yield "parse", ["parse"], [blocks(case) for case in cases("document", n)], parse
    yield "extract", ["extract", "--fields", "shape:text,colour:text"], [c for c in shapes if len(c.truth) == 1], extract


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("qlens")
    parser.add_argument("--n", type=int, default=28, help="cases of each row, at most")
    parser.add_argument("--tasks", nargs="*", default=["locate", "parse", "extract"])
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    table = {}
    print(f"{'command':8} {'file':9} {'cases':>5}  figures")
    with tempfile.TemporaryDirectory() as folder:
        for task, words, todo, judge in tasks(args.n):
            for view, resized, turned in VIEWS if task in args.tasks else []:
                chosen = [c for c in todo if view != "tiny" or small(c)][:args.n]
                files, factors = [], []
                for i, case in enumerate(chosen):
                    drawn = case.frames[0].size
                    size = resized(drawn, i) if resized else drawn
                    files.append(Path(folder) / f"{task}-{view.replace(' ', '-')}-{i}.{'jpg' if turned else 'png'}")
                    write(case.frames[0], size, 2 + i % 7 if turned else None, files[-1])
                    factors.append([size[0] / drawn[0], size[1] / drawn[1]])
                if not chosen:
                    continue
                if view == "huge":
                    # Down to what was drawn: the training's pictures are no larger.
                    budgets = [c.frames[0].width * c.frames[0].height for c in chosen]
                    said = [run(args.qlens, words + ["--max-pixels", str(most)], [f])[0] for most, f in zip(budgets, files)]
                else:
                    said = run(args.qlens, words, files)
                figures = mean([judge(*three) for three in zip(said, chosen, factors)])
                table[f"{task}, {view}"] = figures
                shown = "  ".join(f"{k} {v:.3f}" for k, v in figures.items())
                print(f"{task:8} {view:9} {len(chosen):5}  {shown}", flush=True)
    if args.json:
        args.json.write_text(json.dumps({"cases": args.n, "rows": table}, indent=1) + "\n")
    outside = [row for row, figures in table.items() if min(figures.get("inside", 1), figures.get("valid", 1)) < 1]
    if outside:
        raise SystemExit(f"places outside of the picture, or values that don't fit the schema: {', '.join(outside)}")


if __name__ == "__main__":
    main()
