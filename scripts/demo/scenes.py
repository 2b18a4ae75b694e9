"""Pictures: shapes on a background, printed lines, both, and small documents."""
from PIL import Image, ImageDraw

import lettering
from world import (BACKGROUNDS, COLOURS, FACTOR, SHAPES, Line, Scene, Thing, contrast, jitter, paint_background, paint_thing,
                   visible_colours)


def _overlap(a, b, gap=3):
    return a[0] < b[2] + gap and b[0] < a[2] + gap and a[1] < b[3] + gap and b[1] < a[3] + gap


def free_box(rng, width, height, w, h, taken, margin=1, tries=30):
    """A w×h box inside the picture that touches none of `taken`, or None."""
    if w + 2 * margin > width or h + 2 * margin > height:
        return None
    for _ in range(tries):
        x, y = rng.randint(margin, width - w - margin), rng.randint(margin, height - h - margin)
        box = (x, y, x + w, y + h)
        if not any(_overlap(box, t) for t in taken):
            return box
    return None


def _thing_size(rng, width, height, n):
    short = min(width, height)
    largest = min(short - 4, max(26, round((width * height / n) ** 0.5 * 0.75)), 260)
    smallest = max(18, round(short * 0.08))
    return rng.randint(smallest, max(smallest, round(smallest + (largest - smallest) * rng.random())))


def add_things(rng, image, scene, n, behind):
    """Draws up to n shapes that overlap nothing. No two have nearly the same place in the answer's order."""
    taken = [line.box for line in scene.lines]
    colours = visible_colours(behind)
    few = rng.random() < 0.35          # repeated colours and shapes make counting questions worth asking
    palette = rng.sample(colours, min(len(colours), 2)) if few else colours
    kinds = rng.sample(SHAPES, 2) if few else SHAPES
    for _ in range(n):
        size = _thing_size(rng, scene.width, scene.height, n)
        kind = rng.choice(kinds)
        w = h = size
        if kind not in ("circle", "square") and rng.random() < 0.5:
            w = max(16, round(size * rng.uniform(0.85, 1.0)))
        for _ in range(4):
            box = free_box(rng, scene.width, scene.height, w, h, taken)
            if box is None:
                break
            c = (box[0] + box[2]) / 2
            if all(abs(c - t.centre[0]) > 7 for t in scene.things):
                thing = Thing(kind, rng.choice(palette), box)
                paint_thing(image, thing, jitter(rng, COLOURS[thing.colour], 10))
                scene.things.append(thing)
                taken.append(box)
                break


def ink(rng, behind):
    names = [c for c in visible_colours(behind) if all(contrast(COLOURS[c], b) > 140 for b in behind)]
    names = names or visible_colours(behind)
    name = "black" if "black" in names and rng.random() < 0.5 else rng.choice(names)
    return jitter(rng, COLOURS[name], 8)


def add_lines(rng, image, scene, n, behind, held_out=False, text=None, bold=False):
    """Prints up to n lines, one below the other without overlap, each a word or a number; `bold` ones fill more of the room."""
    taken = [t.box for t in scene.things] + [line.box for line in scene.lines]
    for _ in range(n):
        string = text or (lettering.number(rng) if rng.random() < 0.4 else lettering.word(rng, held_out))
        rgb = ink(rng, behind)
        largest = min(56, scene.height // (n + 1), round(scene.width / (0.66 * len(string) + 0.4)))
        if largest < lettering.SMALLEST:
            continue
        if bold and rng.random() < 0.5:
            size = rng.randint(lettering.SMALLEST, largest)
        else:
            size = rng.randint(lettering.SMALLEST, max(lettering.SMALLEST, rng.randint(lettering.SMALLEST, largest)))
        face = lettering.font(rng.randrange(len(lettering.FONT_FILES)), size)
        left, top, right, bottom = lettering.measure(string, face)
        for _ in range(6):
            box = free_box(rng, scene.width, scene.height, right - left, bottom - top, taken, margin=2)
            # lines that share rows would have no clear reading order
            if box is None or not any(box[1] < other.box[3] + 2 and other.box[1] < box[3] + 2 for other in scene.lines):
                break
        else:
            continue
        if box is None:
            continue
        scene.lines.append(lettering.print_line(image, string, box[0], box[1], face, rgb))
        taken.append(box)
    scene.lines.sort(key=lambda line: line.box[1])


def draw_picture(rng, width, height, n_things, n_lines, held_out=False, text=None, bold=False):
    """A picture of the wanted size: (Scene, PIL image)."""
    image, name, behind = paint_background(rng, width, height)
    scene = Scene(width, height, name)
    if n_lines:
        add_lines(rng, image, scene, n_lines, behind, held_out, text, bold)
    add_things(rng, image, scene, n_things, behind)
    return scene, image


def draw_crowd(rng, width, height):
    """A picture full of shapes and short strings, wherever there is room: what eyes learn to see from, not to be asked about."""
    image, name, behind = paint_background(rng, width, height)
    scene = Scene(width, height, name)
    for _ in range(rng.choice([0, 1, 2, 4, 8])):
        size = _thing_size(rng, width, height, 6)
        box = free_box(rng, width, height, size, size, [t.box for t in scene.things])
        if box:
            thing = Thing(rng.choice(SHAPES), rng.choice(visible_colours(behind)), box)
            paint_thing(image, thing, jitter(rng, COLOURS[thing.colour], 10))
            scene.things.append(thing)
    taken, misses = [t.box for t in scene.things], 0
    while misses < 6:
        string = lettering.number(rng) if rng.random() < 0.35 else lettering.word(rng)
        size = round(lettering.SMALLEST * (min(56, height) / lettering.SMALLEST) ** (rng.random() ** 2))
        face = lettering.font(rng.randrange(len(lettering.FONT_FILES)), size)
        left, top, right, bottom = lettering.measure(string, face)
        box = free_box(rng, width, height, right - left, bottom - top, taken, margin=1, tries=8)
        if box is None:
            misses += 1
            continue
        scene.lines.append(lettering.print_line(image, string, box[0], box[1], face, ink(rng, behind)))
        taken.append(box)
    return scene, image


def draw_document(rng, width, height, held_out=False):
    """A page: a heading, one or two short paragraphs, perhaps a table of words and numbers."""
    paper = jitter(rng, (250, 250, 248), 5)
    image = Image.new("RGB", (width, height), paper)
    scene = Scene(width, height, "white")
    family = rng.choice([(1, 0), (3, 2), (7, 6), (9, 8)])
    left = rng.randint(6, max(7, width // 10))
    y = rng.randint(5, max(6, height // 12))
    size = rng.randint(18, max(19, min(30, width // 7)))
    body = rng.randint(14, max(14, min(18, size - 3)))
    dark = jitter(rng, (30, 30, 34), 14)

    def put(string, x, size, face, role):
        nonlocal y
        face = lettering.font(face, size)
        box = face.getbbox(string)
        if x + box[2] - box[0] > width - 4 or y + box[3] - box[1] > height - 4:
            return False
        line = lettering.print_line(image, string, x, y, face, dark, role)
        scene.lines.append(line)
        y = line.box[3]
        return True

    put(lettering.word(rng, held_out), left, size, family[0], "h1")
    for _ in range(rng.randint(0, 2)):
        y += rng.randint(8, 18)
        words = [lettering.word(rng, held_out) if rng.random() < 0.8 else lettering.number(rng) for _ in range(rng.randint(1, 3))]
        put(" ".join(words), left, body, family[1], "p")
    if rng.random() < 0.6:
        _put_table(rng, image, scene, left, y + rng.randint(10, 20), body, family[1], dark, held_out)
    return scene, image


def column_widths(face, rows, room):
    """How wide a table's columns must be for the texts in `rows`, with `room` pixels beside them."""
    return [max(face.getbbox(text)[2] for text in column) + room for column in zip(*rows)]


def rule(image, xs, ys, ink):
    """A table's lines: down at each x, across at each y."""
    draw = ImageDraw.Draw(image)
    for y in ys:
        draw.line((xs[0], y, xs[-1], y), fill=ink)
    for x in xs:
        draw.line((x, ys[0], x, ys[-1]), fill=ink)


def _put_table(rng, image, scene, left, top, size, face, dark, held_out):
    face = lettering.font(face, size)
    rows = [(lettering.word(rng, held_out, 5), lettering.number(rng)) for _ in range(rng.randint(1, 3))]
    widths = column_widths(face, rows, 10)
    step = size + rng.randint(8, 14)
    box = (left, top, left + sum(widths), top + step * len(rows))
    if box[2] > scene.width - 3 or box[3] > scene.height - 3:
        return
    if rng.random() < 0.6:
        rule(image, (box[0], box[0] + widths[0], box[2] - 1), range(top, box[3] + 1, step), dark)
    table = []
    for i, row in enumerate(rows):
        cells = []
        for c, string in enumerate(row):
            x = left + 5 + (widths[0] if c else 0)
            cells.append(lettering.print_line(image, string, x, top + i * step + 5, face, dark, "td"))
        table.append(cells)
    scene.table = (box, table)


def scaled(scene, image, width, height):
    """The scene as the model will see it: picture resized to width×height, boxes moved along."""
    if (scene.width, scene.height) == (width, height):
        return scene, image
    fx, fy = width / scene.width, height / scene.height

    def move(box):
        return (box[0] * fx, box[1] * fy, box[2] * fx, box[3] * fy)

    def move_line(line):
        return Line(line.text, move(line.box), [(c, a * fx, b * fy, d * fx, e * fy) for c, a, b, d, e in line.cells], line.role)

    table = scene.table and (move(scene.table[0]), [[move_line(x) for x in row] for row in scene.table[1]])
    new = Scene(width, height, scene.background, [Thing(t.shape, t.colour, move(t.box)) for t in scene.things],
                [move_line(x) for x in scene.lines], table)
    return new, image.resize((width, height), Image.Resampling.BICUBIC)
