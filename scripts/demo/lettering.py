"""Printed words and numbers: fonts, strings, and where each character ends up."""
import os
import string
from functools import lru_cache

from PIL import ImageDraw, ImageFont

from world import Line

FONT_FILES = [
    "dejavu/DejaVuSans.ttf", "dejavu/DejaVuSans-Bold.ttf", "dejavu/DejaVuSerif.ttf", "dejavu/DejaVuSerif-Bold.ttf",
    "dejavu/DejaVuSansMono.ttf", "dejavu/DejaVuSansMono-Bold.ttf",
    "liberation/LiberationSans-Regular.ttf", "liberation/LiberationSans-Bold.ttf",
    "liberation/LiberationSerif-Regular.ttf", "liberation/LiberationSerif-Bold.ttf", "liberation/LiberationMono-Bold.ttf",
]
FONT_ROOT = os.environ.get("DEMO_FONTS", "/usr/share/fonts/truetype")
DICTIONARY = os.environ.get("DEMO_WORDS", "/usr/share/dict/american-english-small")
LONGEST = 6          # letters of a word
SMALLEST = 14        # font size in pixels below which no text is drawn

HELD_OUT_WORDS = """bee candle castle circus cherry copper daisy eagle ember fabric finger forest fudge garden goose hammer
harbor honey igloo island jacket jelly kettle koala ladder lizard magnet mango melon nickel noodle novel onion otter paddle
pearl pepper pilot pocket puzzle quartz rabbit radio rocket saddle sailor salad shadow silver spider tulip turtle velvet violin
walnut wagon winter wizard yogurt zipper invoice""".split()
HELD_OUT_WORDS = [w for w in HELD_OUT_WORDS if len(w) <= 6]


@lru_cache(maxsize=512)
def font(index, size):
    return ImageFont.truetype(os.path.join(FONT_ROOT, FONT_FILES[index]), size)


def cased(rng, word):
    return rng.choices([word.upper(), word.capitalize(), word], (50, 20, 30))[0]


@lru_cache(maxsize=1)
def dictionary():
    """English words to train on, by length; none of the held-out ones."""
    with open(DICTIONARY) as file:
        words = {line.strip() for line in file}
    fit = sorted(w for w in words - set(HELD_OUT_WORDS) if w.isascii() and w.isalpha() and w.islower())
    return {n: [w for w in fit if len(w) == n] for n in range(2, LONGEST + 1)}


def word(rng, held_out=False, longest=LONGEST):
    """A word to print; in training long ones are more frequent, for they are harder, and a third are random letters, so that not all
    can be guessed."""
    if held_out:
        return cased(rng, rng.choice([w for w in HELD_OUT_WORDS if len(w) <= longest]))
    length = rng.choices(range(2, longest + 1), range(1, longest))[0]
    if rng.random() < 2 / 3:
        return cased(rng, rng.choice(dictionary()[length]))
    return cased(rng, "".join(rng.choice(string.ascii_lowercase) for _ in range(length)))


def number(rng):
    digits = rng.randint(1, 5)
    text = str(rng.randint(10 ** (digits - 1), 10 ** digits - 1))
    return text[:-2] + "." + text[-2:] if digits >= 3 and rng.random() < 0.2 else text


def measure(text, face):
    """The box of the text's ink, relative to the point it is drawn at."""
    return face.getbbox(text)


def print_line(image, text, x, y, face, rgb, role="text"):
    """Prints `text` so that its ink starts at (x, y), and says where each character lies."""
    left, top, right, bottom = face.getbbox(text)
    ImageDraw.Draw(image).text((x - left, y - top), text, font=face, fill=rgb)
    cells = []
    for i, char in enumerate(text):
        if char != " ":
            start = x - left + face.getlength(text[:i])
            cells.append((char, start, y, start + face.getlength(char), y + bottom - top))
    return Line(text, (x, y, x + right - left, y + bottom - top), cells, role)
