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
SMALLEST = 14        # font size in pixels below which no text is drawn

TRAIN_WORDS = """able acid age air apple arm art bag ball bank base bear bell best bird blue boat body bone book born box boy
bread brick bring brown bus cake call camp card care cat chair city clay clock cloud coal coat cold cook corn cup dance dark
day deep desk dish dog door dream dress drum dust ear earth east edge egg eye face farm fast film fire fish flag flat floor
flow fly food foot fork free frog fruit game gate gift girl glass gold good grass great grow hair half hand hat head heart heat
hill home hope horse house ice inch iron jam job joy jump key kick king kite lake lamp land large leaf left leg lemon light
lime line lion list long lost love low lunch mad map mark meal meat milk mind mint mix moon mouse mouth move music nail name
neck nest new nice night nine north nose note ocean oil old one open orange oven owl page pain pan paper park part path pen
pet piano pig pin pipe plan plant play plum pond pool post pot price pull pure queen quick quiet rain read red rice rich ring
river road rock roof room root rope rose round run sad safe sail salt sand save sea seat seed sell send shape sheep ship shoe
shop show sign silk sing size skin sky sleep slow small snow soap sock soft song soup space spoon spring star steel step stone
storm street sugar sun sweet swim table tail tall tea team tent test tiger time top total town toy train tree trip true turn
two van vase view voice wall warm wash water wave wheel white wide wild wind wine wing wolf wood word work worm year yes young
zebra zero zoo exit fix fox jazz quilt wax yoga zone taxi""".split()
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


def word(rng, held_out=False, longest=6):
    """A word to print; in training half of them are random letters, so that nothing can be guessed."""
    if held_out:
        return cased(rng, rng.choice([w for w in HELD_OUT_WORDS if len(w) <= longest]))
    if rng.random() < 0.5:
        return cased(rng, rng.choice([w for w in TRAIN_WORDS if len(w) <= longest]))
    return cased(rng, "".join(rng.choice(string.ascii_lowercase) for _ in range(rng.randint(2, longest))))


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
