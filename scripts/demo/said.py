"""Answers that remember which part of the picture each of their characters is about."""


class Said(str):
    """A string; `where[i]` lists the boxes that character i is about (of a clip: with their frame groups), or is None; `apart[i]`
    says that it is read from the picture, and a token of its own."""
    where: list
    apart: list


class Printed(str):
    """A printed character as a part of an answer."""


def said(*parts):
    """Joins parts: plain strings, or (string, boxes); parts of other answers keep what they are about."""
    texts = [p if isinstance(p, str) else p[0] for p in parts]
    whole = Said("".join(texts))
    whole.where, whole.apart = [], []
    for p, t in zip(parts, texts):
        whole.where += p.where if isinstance(p, Said) else [None if isinstance(p, str) else p[1]] * len(t)
        whole.apart += p.apart if isinstance(p, Said) else [isinstance(t, Printed)] * len(t)
    return whole
