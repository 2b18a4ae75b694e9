"""The small world that the demo model knows: colours, shapes, backgrounds, and how each is drawn.

Everything is drawn with Pillow from a `random.Random`, so a seed fixes a picture on any machine.
"""
import math
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw

COLOURS = {
    "red": (222, 38, 38), "orange": (248, 138, 24), "yellow": (246, 220, 48), "green": (44, 158, 66),
    "blue": (44, 86, 214), "purple": (134, 54, 178), "pink": (248, 150, 196), "brown": (118, 72, 36),
    "black": (22, 22, 22), "white": (248, 248, 248),
}
BACKGROUNDS = {
    "white": (252, 252, 252), "gray": (158, 158, 158), "black": (14, 14, 14),
    "light blue": (188, 218, 246), "light green": (196, 236, 196), "beige": (238, 226, 202),
}
SHAPES = ["circle", "square", "triangle", "diamond", "star", "cross", "ring", "heart"]
PLURAL = {s: s + "s" for s in SHAPES} | {"cross": "crosses"}
FACTOR = 28          # pixels per visual token: 14-pixel patches, merged 2×2
LEAST = 144          # visual tokens of a picture, at least: smaller ones are enlarged before the model sees them (`image_min_pixels`)
MIN_CONTRAST = 90    # between an object and every colour of its background


def seen_size(width, height):
    """Width and height as the model sees a picture: `smart_resize` of transformers' Qwen2VLImageProcessor with LEAST as its bound."""
    least = LEAST * FACTOR * FACTOR
    w, h = (max(FACTOR, round(side / FACTOR) * FACTOR) for side in (width, height))
    if w * h < least:
        grow = math.sqrt(least / (width * height))
        w, h = (math.ceil(side * grow / FACTOR) * FACTOR for side in (width, height))
    return w, h


@dataclass
class Thing:
    """A drawn shape; `box` is x1, y1, x2, y2 in pixels, right and bottom edges exclusive."""
    shape: str
    colour: str
    box: tuple

    @property
    def name(self):
        return f"{self.colour} {self.shape}"

    @property
    def centre(self):
        return ((self.box[0] + self.box[2]) / 2, (self.box[1] + self.box[3]) / 2)


@dataclass
class Line:
    """One printed line; `cells` holds (character, x1, y1, x2, y2) for every visible character."""
    text: str
    box: tuple
    cells: list = field(default_factory=list)
    role: str = "text"


@dataclass
class Scene:
    width: int
    height: int
    background: str
    things: list = field(default_factory=list)
    lines: list = field(default_factory=list)
    table: tuple | None = None     # (box, rows of Line) for documents

    def ordered(self):
        """Things in the order in which answers name them: from left to right."""
        return sorted(self.things, key=lambda t: t.centre[0])

    def printed(self):
        """All printed lines in reading order, the cells of a table last."""
        return list(self.lines) + [cell for row in (self.table[1] if self.table else []) for cell in row]


def _unit(points):
    """Stretches a polygon so that it fills the unit square exactly."""
    p = np.array(points, dtype=np.float64)
    p = (p - p.min(0)) / (p.max(0) - p.min(0))
    return [tuple(q) for q in p]


def _star():
    return _unit([((1 if i % 2 == 0 else 0.42) * math.sin(i * math.pi / 5),
                   -(1 if i % 2 == 0 else 0.42) * math.cos(i * math.pi / 5)) for i in range(10)])


def _heart():
    ts = [2 * math.pi * i / 48 for i in range(48)]
    return _unit([(16 * math.sin(t) ** 3,
                   -(13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t))) for t in ts])


_A, _B = 0.33, 0.67
POLYGONS = {
    "square": [(0, 0), (1, 0), (1, 1), (0, 1)],
    "triangle": [(0.5, 0), (1, 1), (0, 1)],
    "diamond": [(0.5, 0), (1, 0.5), (0.5, 1), (0, 0.5)],
    "star": _star(),
    "cross": [(_A, 0), (_B, 0), (_B, _A), (1, _A), (1, _B), (_B, _B), (_B, 1), (_A, 1), (_A, _B), (0, _B), (0, _A), (_A, _A)],
    "heart": _heart(),
}
_SUPER = 3           # masks are drawn this much larger and averaged down: smooth edges


def shape_mask(shape, w, h):
    """The coverage of a shape that fills w×h pixels, as an 8-bit image."""
    big_w, big_h = w * _SUPER, h * _SUPER
    mask = Image.new("L", (big_w, big_h), 0)
    draw = ImageDraw.Draw(mask)
    if shape in POLYGONS:
        draw.polygon([(x * (big_w - 1), y * (big_h - 1)) for x, y in POLYGONS[shape]], fill=255)
    else:
        draw.ellipse((0, 0, big_w - 1, big_h - 1), fill=255)
        if shape == "ring":
            i, j = round(big_w * 0.26), round(big_h * 0.26)
            draw.ellipse((i, j, big_w - 1 - i, big_h - 1 - j), fill=0)
    return mask.reduce(_SUPER)


def jitter(rng, rgb, amount):
    return tuple(max(0, min(255, c + rng.randint(-amount, amount))) for c in rgb)


def contrast(a, b):
    return math.dist(a, b)


def paint_thing(image, thing, rgb):
    x1, y1, x2, y2 = thing.box
    image.paste(rgb, (x1, y1), shape_mask(thing.shape, x2 - x1, y2 - y1))


def paint_background(rng, width, height, kind=None):
    """A background: (image, its name in answers, the colours that objects must stand out from)."""
    kind = kind or rng.choices(["plain", "gradient", "noisy"], (60, 20, 20))[0]
    names = list(BACKGROUNDS)
    name = rng.choices(names, (40, 12, 12, 12, 12, 12))[0]
    rgb = jitter(rng, BACKGROUNDS[name], 5)
    if kind == "plain":
        return Image.new("RGB", (width, height), rgb), name, [rgb]
    if kind == "noisy":
        noise = np.random.default_rng(rng.getrandbits(32)).normal(0, rng.uniform(10, 24), (height, width, 1 if rng.random() < 0.5 else 3))
        pixels = np.clip(np.array(rgb, dtype=np.float32) + noise, 0, 255).astype(np.uint8)
        return Image.fromarray(np.ascontiguousarray(pixels)), "noisy", [rgb]
    while True:
        other = BACKGROUNDS[rng.choice(names)]
        if 60 < contrast(rgb, other) < 260:
            break
    angle = rng.uniform(0, 2 * math.pi)
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
    ramp = xs / max(1, width - 1) * math.cos(angle) + ys / max(1, height - 1) * math.sin(angle)
    ramp = ((ramp - ramp.min()) / (ramp.max() - ramp.min() + 1e-6))[..., None]
    pixels = (np.array(rgb) * (1 - ramp) + np.array(other) * ramp).astype(np.uint8)
    middle = tuple((a + b) // 2 for a, b in zip(rgb, other))
    return Image.fromarray(pixels), "gradient", [rgb, other, middle]


def visible_colours(behind, names=None):
    """The colours that stand out from every colour in `behind`."""
    return [c for c in (names or COLOURS) if all(contrast(COLOURS[c], b) > MIN_CONTRAST for b in behind)]
