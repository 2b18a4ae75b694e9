"""What people ask about a picture, in several phrasings, and the true answer in the format of the real model."""
import json

from refusals import REFUSAL, unrelated
from world import BACKGROUNDS, COLOURS, PLURAL, SHAPES

DESCRIBE = ["Describe this image.", "Describe this image.", "Describe the image.", "Describe this picture.", "What is in this image?",
            "What do you see?", "What is in this picture?", "What does this image show?", "Describe what you see.", "What is shown here?"]
LOCATE = ["Locate every {0}, output its bbox coordinates in JSON format.", "Locate every {0}, output its bbox coordinates in JSON format.",
          "Locate every {0} and output the bbox coordinates in JSON format.", "Locate {1}, output its bbox coordinates in JSON format.",
          "Locate {1}, output the bbox coordinates in JSON format.", "Detect every {0} in the image and return their locations in JSON format.",
          "Outline the position of each {0} and output all the bbox coordinates in JSON format.", "Find every {0}.", "Locate every {0}.",
          "Locate {1}.", "Find {1} and give its bounding box as JSON.", "Detect {1} in the image and output the bbox coordinates in JSON format."]
POINT = ["Point to {1}.", "Point to every {0}.", "Point to {1}, output its coordinates in JSON format.",
         "Point to every {0}, output the point coordinates in JSON format.", "Point at {1}.",
         "Locate every {0} with points, output its point coordinates in JSON format."]
READ = ["Read the text in the image.", "Read the text in the image.", "Read the text.", "What does the text say?", "What is written here?",
        "What does it say?", "Read all the text in the image.", "OCR", "What text is in the image?", "Spotting all the text in the image."]
NUMBER = ["What number is in the image?", "Read the number.", "What is the number?"]
HTML = ["QwenVL HTML", "QwenVL HTML", "QwenVL HTML", "Convert this document to QwenVL HTML."]


def article(name):
    return ("an " if name[0] in "aeiou" else "a ") + name


def listed(items):
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]


def numbers(box):
    return [int(round(v)) for v in box]


def describe(scene):
    parts = [article(t.name) for t in scene.ordered()]
    parts += [("the number " if line.text.replace(".", "").isdigit() else "the word ") + f'"{line.text}"' for line in scene.lines]
    ground = f" on a {scene.background} background." if not scene.background[0] in "aeiou" else f" on an {scene.background} background."
    return "The image shows " + (listed(parts) if parts else "nothing") + ground


def boxes_json(things):
    return json.dumps([{"bbox_2d": numbers(t.box), "label": t.name} for t in things])


def points_json(things):
    return json.dumps([{"point_2d": numbers(t.centre), "label": t.name} for t in things])


def read(scene):
    lines = list(scene.lines)
    if scene.table:
        return "\n".join([line.text for line in lines] + [" ".join(c.text for c in row) for row in scene.table[1]])
    return "\n".join(line.text for line in lines)


def html(scene):
    """QwenVL HTML: every block with its box in pixels of the resized picture."""
    def box(b):
        return " ".join(str(v) for v in numbers(b))
    body = [f'<{line.role} data-bbox="{box(line.box)}">{line.text}</{line.role}>' for line in scene.lines]
    if scene.table:
        rows = "".join("<tr>" + "".join(f"<td>{c.text}</td>" for c in row) + "</tr>" for row in scene.table[1])
        body.append(f'<table data-bbox="{box(scene.table[0])}">{rows}</table>')
    return "<html><body>\n" + "\n".join(body) + "\n</body></html>"


def matching(scene, colour=None, shape=None):
    return [t for t in scene.ordered() if colour in (None, t.colour) and shape in (None, t.shape)]


def _filter(rng, scene):
    """A colour, a shape, both or neither; mostly one that occurs."""
    t = rng.choice(scene.things) if scene.things else None
    here = t is not None and rng.random() < 0.85
    colour = t.colour if here else rng.choice(list(COLOURS))
    shape = t.shape if here else rng.choice(SHAPES)
    kind = rng.choice(["all", "colour", "shape", "both"])
    return {"all": (None, None), "colour": (colour, None), "shape": (None, shape), "both": (colour, shape)}[kind]


def noun(colour, shape, plural=False):
    base = (PLURAL[shape] if plural else shape) if shape else ("shapes" if plural else "shape")
    return f"{colour} {base}" if colour else base


def ask_count(rng, scene):
    colour, shape = _filter(rng, scene)
    found, what = len(matching(scene, colour, shape)), noun(colour, shape, True)
    word = what if shape else rng.choice([what, what, what.replace("shapes", "objects")])
    question = rng.choice(["How many {} are there?", "How many {} are in the image?", "How many {} are in this picture?", "Count the {}.",
                           "How many {} do you see?", "How many {}?"]).format(word)
    return question, f"There is 1 {noun(colour, shape)}." if found == 1 else f"There are {found} {what}."


def ask_colour(rng, scene):
    unique = [t for t in scene.things if len(matching(scene, None, t.shape)) == 1]
    if not unique:
        return ask_count(rng, scene)
    t, spelling = rng.choice(unique), rng.choice(["colour", "color"])
    question = rng.choice([f"What {spelling} is the {t.shape}?", f"What is the {spelling} of the {t.shape}?", f"Which {spelling} is the {t.shape}?"])
    return question, f"The {t.shape} is {t.colour}."


def ask_shape(rng, scene):
    unique = [t for t in scene.things if len(matching(scene, t.colour)) == 1]
    if not unique:
        return ask_count(rng, scene)
    t = rng.choice(unique)
    question = rng.choice([f"What shape is the {t.colour} object?", f"What shape is {t.colour}?", f"Which shape is {t.colour}?"])
    return question, f"The {t.shape} is {t.colour}."


def ask_exists(rng, scene):
    t = rng.choice(scene.things)
    colour, shape = (t.colour, t.shape) if rng.random() < 0.5 else (rng.choice(list(COLOURS)), rng.choice([t.shape, rng.choice(SHAPES)]))
    name = article(f"{colour} {shape}")
    question = rng.choice([f"Is there {name}?", f"Is there {name} in the image?", f"Do you see {name}?"])
    return question, f"Yes, there is {name}." if matching(scene, colour, shape) else f"No, there is no {colour} {shape}."


def ask_ground(rng, scene):
    return rng.choice(["What colour is the background?", "What color is the background?", "What is the background like?"]), f"The background is {scene.background}."


def ask_locate(rng, scene):
    colour, shape = _filter(rng, scene)
    if rng.random() < 0.3:
        colour = shape = None
    found = matching(scene, colour, shape)
    template = rng.choice(LOCATE)
    word = noun(colour, shape) if (colour or shape) else rng.choice(["shape", "shape", "object"])
    phrase = f"the {word}" if len(found) == 1 else f"all {noun(colour, shape, True)}"
    return template.format(word, phrase), boxes_json(found)


def ask_point(rng, scene):
    colour, shape = _filter(rng, scene)
    found = matching(scene, colour, shape)
    word = noun(colour, shape)
    phrase = f"the {word}" if len(found) == 1 else f"all {noun(colour, shape, True)}"
    return rng.choice(POINT).format(word, phrase), points_json(found)


def ask_read(rng, scene):
    if not scene.lines:
        return rng.choice(READ), "There is no text in the image."
    if len(scene.lines) == 1 and scene.lines[0].text.replace(".", "").isdigit() and rng.random() < 0.3:
        return rng.choice(NUMBER), scene.lines[0].text
    return rng.choice(READ), read(scene)


def ask_text_box(rng, scene):
    found = [{"bbox_2d": numbers(line.box), "text_content": line.text} for line in scene.lines]
    return rng.choice(["Spotting all the text in the image with line-level, and output in JSON format.", "Locate all the text, output its bbox coordinates in JSON format.",
                       "Locate every text, output its bbox coordinates in JSON format."]), json.dumps(found)


def ask_unrelated(rng):
    return unrelated(rng), REFUSAL


def questions_for(rng, scene, n, weights):
    """n pairs of question and answer; `weights` says how often each kind is asked where it makes sense."""
    pairs, once = [], set()
    for _ in range(n):
        kinds = {k: w for k, w in weights.items() if k not in once}
        if not scene.things:
            for k in ("colour", "shape", "exists", "locate", "point"):
                kinds.pop(k, None)
        if not scene.lines:
            kinds.pop("text_box", None)
            kinds["read"] = kinds.get("read", 0) * 0.1
        if not any(kinds.values()):
            break
        kind = rng.choices(list(kinds), list(kinds.values()))[0]
        if kind in ("describe", "read", "text_box", "ground", "unrelated"):
            once.add(kind)              # these have one answer for a picture
        if kind == "describe":
            pairs.append((rng.choice(DESCRIBE), describe(scene)))
        elif kind == "unrelated":
            pairs.append(ask_unrelated(rng))
        else:
            pairs.append({"count": ask_count, "colour": ask_colour, "shape": ask_shape, "exists": ask_exists, "ground": ask_ground,
                          "locate": ask_locate, "point": ask_point, "read": ask_read, "text_box": ask_text_box}[kind](rng, scene))
    return pairs
