"""Answers that remember which part of the picture each of their characters is about."""


class Said(str):
    """A string; `where[i]` lists the boxes that character i is about (of a clip: with their frame groups), or is None."""
    where: list


def said(*parts):
    """Joins parts: plain strings, or (string, boxes)."""
    texts = [p if isinstance(p, str) else p[0] for p in parts]
    whole = Said("".join(texts))
    whole.where = [boxes for p, t in zip(parts, texts) for boxes in [None if isinstance(p, str) else p[1]] * len(t)]
    return whole
