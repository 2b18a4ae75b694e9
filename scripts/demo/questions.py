"""What people ask about a picture, in several phrasings, and the true answer in the format of the real model."""
from refusals import REFUSAL, unrelated
import json

from said import Printed, said
from world import COLOURS, PLURAL, SHAPES, Thing

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


def numbers(box):
    return [int(round(v)) for v in box]


def spelled(line):
    """A printed line, each character with its place in the picture."""
    places = iter(line.cells)
    return [Printed(" ") if c == " " else (Printed(c), [next(places)[1:]]) for c in line.text]


def each(items, between, last):
    """`items` (lists of parts) joined as a person lists things; what joins them looks at the thing that comes."""
    parts = []
    for i, item in enumerate(items):
        if i:
            parts.append((last if i + 1 == len(items) else between, item[0][1]))
        parts += item
    return parts


def describe(scene):
    items = [[(article(t.name), [t.box])] for t in scene.ordered()]
    for line in scene.lines:
        kind = "the number " if line.text.replace(".", "").isdigit() else "the word "
        items.append([(kind + '"', [line.box])] + spelled(line) + ['"'])
    ground = f" on a {scene.background} background." if not scene.background[0] in "aeiou" else f" on an {scene.background} background."
    return said("The image shows ", *(each(items, ", ", " and ") or ["nothing"]), ground)


def edges(box):
    """Strips along a box's left, top, right and bottom edge: where to look for each of its numbers."""
    x1, y1, x2, y2 = box
    return [(x1, y1, x1 + 1, y2), (x1, y1, x2, y1 + 1), (x2 - 1, y1, x2, y2), (x1, y2 - 1, x2, y2)]


def written(box, between):
    """A box's four numbers, each about its own edge."""
    return [((between if i else "") + str(n), [edge]) for i, (n, edge) in enumerate(zip(numbers(box), edges(box)))]


def entry(key, box, label_key, label):
    """One object of a JSON list about `box`."""
    return [('{"%s": [' % key, [box]), *written(box, ", "), ('], "%s": "' % label_key, [box]), *label, '"}']


def json_list(entries, boxes):
    """A JSON list; the comma before an entry looks at what the entry is about."""
    parts = []
    for i, (e, box) in enumerate(zip(entries, boxes)):
        first, *rest = e
        parts += [((", " if i else "[") + first[0], [box]), *rest]
    return said(*parts, "]") if parts else said("[]")


def boxes_json(things):
    return json_list([entry("bbox_2d", t.box, "label", [(t.name, [t.box])]) for t in things], [t.box for t in things])


def points_json(things):
    return json_list([[('{"point_2d": [%s], "label": "' % ", ".join(map(str, numbers(t.centre))), [t.box]), (t.name, [t.box]), '"}'] for t in things],
                     [t.box for t in things])


def read(scene):
    parts = []
    for line in scene.lines:
        parts += [("\n", [line.box])] * bool(parts) + spelled(line)
    for row in scene.table[1] if scene.table else []:
        parts += [("\n", [row[0].box])] * bool(parts) + spelled(row[0]) + [(" ", [row[1].box])] + spelled(row[1])
    return said(*parts)


def html(scene):
    """QwenVL HTML: every block with its box in pixels of the resized picture."""
    parts = ["<html><body>\n"]
    for line in scene.lines:
        parts += [(f'<{line.role} data-bbox="', [line.box]), *written(line.box, " "), ('">', [line.box]), *spelled(line), f"</{line.role}>\n"]
    if scene.table:
        parts += [('<table data-bbox="', [scene.table[0]]), *written(scene.table[0], " "), '">']
        for row in scene.table[1]:
            parts.append(("<tr>", [row[0].box]))
            for cell in row:
                parts += [("<td>", [cell.box]), *spelled(cell), "</td>"]
            parts.append("</tr>")
        parts.append("</table>\n")
    return said(*parts, "</body></html>")


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
    if not found:
        return question, f"There are 0 {what}."
    where = [t.box for t in matching(scene, colour, shape)]
    return question, said(("There is 1", where), f" {noun(colour, shape)}.") if found == 1 else said((f"There are {found}", where), f" {what}.")


def ask_colour(rng, scene):
    unique = [t for t in scene.things if len(matching(scene, None, t.shape)) == 1]
    if not unique:
        return ask_count(rng, scene)
    t, spelling = rng.choice(unique), rng.choice(["colour", "color"])
    question = rng.choice([f"What {spelling} is the {t.shape}?", f"What is the {spelling} of the {t.shape}?", f"Which {spelling} is the {t.shape}?"])
    return question, said((f"The {t.shape} is {t.colour}.", [t.box]))


def ask_shape(rng, scene):
    unique = [t for t in scene.things if len(matching(scene, t.colour)) == 1]
    if not unique:
        return ask_count(rng, scene)
    t = rng.choice(unique)
    question = rng.choice([f"What shape is the {t.colour} object?", f"What shape is {t.colour}?", f"Which shape is {t.colour}?"])
    return question, said((f"The {t.shape} is {t.colour}.", [t.box]))


def ask_exists(rng, scene):
    t = rng.choice(scene.things)
    colour, shape = (t.colour, t.shape) if rng.random() < 0.5 else (rng.choice(list(COLOURS)), rng.choice([t.shape, rng.choice(SHAPES)]))
    name = article(f"{colour} {shape}")
    question = rng.choice([f"Is there {name}?", f"Is there {name} in the image?", f"Do you see {name}?"])
    found = [t.box for t in matching(scene, colour, shape)]
    return question, said((f"Yes, there is {name}.", found)) if found else f"No, there is no {colour} {shape}."


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
        return rng.choice(NUMBER), said(*spelled(scene.lines[0]))
    return rng.choice(READ), read(scene)


def ask_text_box(rng, scene):
    found = json_list([entry("bbox_2d", line.box, "text_content", spelled(line)) for line in scene.lines], [line.box for line in scene.lines])
    return rng.choice(["Spotting all the text in the image with line-level, and output in JSON format.", "Locate all the text, output its bbox coordinates in JSON format.",
                       "Locate every text, output its bbox coordinates in JSON format."]), found


def ask_form(rng, scene):
    """A form to be filled, as `qlens extract` asks it: fields with their types, the answer an object."""
    fields = {}
    numbers_printed = [line for line in scene.lines if line.text.replace(".", "").isdigit()]
    words_printed = [line for line in scene.lines if line not in numbers_printed]
    if len(numbers_printed) == 1:
        line = numbers_printed[0]
        fields[rng.choice(["number", "total", "amount"])] = ("number", spelled(line), line.box)
    if len(words_printed) == 1:
        line = words_printed[0]
        fields[rng.choice(["word", "text", "title"])] = ("string", ['"', *spelled(line), '"'], line.box)
    if len(scene.things) == 1:
        t = scene.things[0]
        fields["shape"] = ("string", [(f'"{t.shape}"', [t.box])], t.box)
        fields[rng.choice(["colour", "color"])] = ("string", [(f'"{t.colour}"', [t.box])], t.box)
    if scene.things:
        fields[rng.choice(["count", "shapes", "objects"])] = ("integer", [(str(len(scene.things)), [t.box for t in scene.things])], None)
    if not fields:
        return [ask_read(rng, scene)]
    names = rng.sample(list(fields), rng.randint(1, len(fields)))
    schema = {"type": "object", "required": names, "properties": {n: {"type": fields[n][0]} for n in names}, "additionalProperties": False}
    parts = []
    for i, name in enumerate(names):
        about = fields[name][2]
        key = ('{"' if i == 0 else ', "') + name + '": '
        parts += [(key, [about]) if about else key, *fields[name][1]]
    answer = said(*parts, "}")
    pairs = [("Extract the key-value information as JSON that fits this JSON schema:\n" + json.dumps(schema), answer)]
    return pairs + [evidence([(name, *fields[name]) for name in names], json.loads(answer))] * (rng.random() < 0.4)


class Then(str):
    """A question that follows upon the one before it."""


def evidence(fields, values):
    """Where each value of a form stands, as `qlens extract --evidence` asks it."""
    told = [{"label": name, "text_content": str(values[name])} for name, *_ in fields]
    question = ("Locate each of these values in the image, and output its bbox coordinates in JSON format; null where the image doesn't show it.\n"
                + json.dumps(told))
    parts = []
    for i, (entry_, (_, _, _, box)) in enumerate(zip(told, fields)):
        parts.append((", " if i else "[") + json.dumps(entry_)[:-1] + ', "bbox_2d": ')
        parts += [("[", [box]), *written(box, ", "), "]}"] if box else ["null}"]
    return Then(question), said(*parts, "]")


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
            if "count" in kinds:
                kinds["count"] *= 0.2
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
        elif kind == "form":
            pairs += ask_form(rng, scene)
        else:
            pairs.append({"count": ask_count, "colour": ask_colour, "shape": ask_shape, "exists": ask_exists, "ground": ask_ground,
                          "locate": ask_locate, "point": ask_point, "read": ask_read, "text_box": ask_text_box}[kind](rng, scene))
    return pairs
