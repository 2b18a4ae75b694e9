"""How an answer is judged: each task gives numbers between 0 and 1, averaged over its cases."""
import json
import re
from collections import Counter

from world import COLOURS, SHAPES


def things_in(text):
    """The shapes that a sentence names, as a bag of "colour shape"."""
    return Counter(re.findall(r"\b(?:%s) (?:%s)\b" % ("|".join(COLOURS), "|".join(SHAPES)), text))


def parsed(text):
    text = re.sub(r"^```(?:json)?|```$", "", text.strip())
    try:
        value = json.loads(text)
    except ValueError:
        return []
    value = value if isinstance(value, list) else [value]
    return [v for v in value if isinstance(v, dict)]


def iou(a, b):
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.0
    both = w * h
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def moved(place, factors):
    """Coordinates x, y, … times the factors of width and height."""
    return [v * factors[k % 2] for k, v in enumerate(place)]


def boxes(answer, truth):
    """Every true box with the best box of the same label that is left; a missing one counts 0, and so does one too many."""
    left = [(v.get("label"), v.get("bbox_2d")) for v in parsed(answer)]
    left = [(n, b) for n, b in left if isinstance(b, list) and len(b) == 4 and all(isinstance(x, (int, float)) for x in b)]
    scores, right = [], 0
    for name, box in truth:
        best = max(left, key=lambda item: iou(item[1], box), default=None)
        scores.append(iou(best[1], box) if best else 0.0)
        if best and scores[-1] > 0.3:
            right += best[0] == name
            left.remove(best)
    scores += [0.0] * len(left)
    n = len(scores)
    return {"iou": sum(scores) / n, "above_half": sum(s > 0.5 for s in scores) / n, "labels": right / len(truth)}


def points(answer, truth):
    left = [v.get("point_2d") for v in parsed(answer)]
    hits = sum(any(isinstance(p, list) and len(p) == 2 and b[0] <= p[0] <= b[2] and b[1] <= p[1] <= b[3] for p in left) for _, b in truth)
    return {"inside": hits / max(len(truth), len(left))}


def seconds(clock):
    m = re.fullmatch(r"(\d+):(\d+(?:\.\d+)?)", str(clock))
    return int(m[1]) * 60 + float(m[2]) if m else float("inf")


def events(answer, truth):
    found = parsed(answer)
    start, end = (seconds(found[0].get(k)) if found else float("inf") for k in ("start_time", "end_time"))
    good = [abs(start - truth["start"]) <= 0.5, abs(end - truth["end"]) <= 0.5]
    return {"start": float(good[0]), "times": sum(good) / 2}


def document(answer, truth, factors=(1, 1)):
    """Share of the page's lines that are in the HTML; and the mean overlap of its blocks, of which the true ones are moved."""
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer))
    lines = sum(re.search(r"(?<!\S)" + re.escape(line) + r"(?!\S)", text) is not None for line in truth["lines"]) / len(truth["lines"])
    pattern = r'<(h1|p|table) data-bbox="(\d+) (\d+) (\d+) (\d+)"'
    want, got = re.findall(pattern, truth["html"]), re.findall(pattern, answer)
    each = [max([iou(moved(map(int, w[1:]), factors), [int(v) for v in g[1:]]) for g in got if g[0] == w[0]], default=0.0) for w in want]
    return {"lines": lines, "iou": sum(each) / len(each)}


def score(case, answer):
    answer = answer.strip()
    if case.task == "describe":
        return {"things": float(things_in(answer) == Counter(case.truth["things"])), "whole": float(answer == case.truth["answer"])}
    if case.task in ("boxes", "points"):
        return globals()[case.task](answer, [(name, moved(box, case.factors)) for name, box in case.truth])
    if case.task == "document":
        return document(answer, case.truth, case.factors)
    if case.task == "events":
        return events(answer, case.truth)
    if case.task == "count":
        return {"right": float(re.findall(r"\d+", answer) == re.findall(r"\d+", case.truth))}
    return {"right": float(answer == case.truth)}


def mean(scores):
    return {k: sum(s[k] for s in scores) / len(scores) for k in scores[0]}
