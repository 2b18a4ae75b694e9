"""Clips: shapes that appear, vanish, move or change colour at a certain time."""
from dataclasses import dataclass

from questions import article
from said import said
from scenes import free_box
from world import COLOURS, SHAPES, Thing, jitter, paint_background, paint_thing, visible_colours

FPS = 2.0            # frames that the model sees each second
KINDS = ["appear", "vanish", "change", "move"]


@dataclass
class Event:
    """What happens to one thing, from `start` to `end` seconds."""
    kind: str
    thing: Thing
    start: float
    end: float
    new_colour: str = ""

    def what(self):
        t = self.thing
        return {"appear": f"a {t.name} appears".replace("a orange", "an orange"), "vanish": f"the {t.name} vanishes", "move": f"the {t.name} moves",
                "change": f"the {t.name} turns {self.new_colour}"}[self.kind]

    def question(self):
        t = self.thing
        return {"appear": f"When does the {t.name} appear?", "vanish": f"When does the {t.name} vanish?", "move": f"When does the {t.name} move?",
                "change": f"When does the {t.name} change colour?"}[self.kind]


def clock(seconds):
    return f"{int(seconds // 60):02d}:{seconds % 60:05.2f}"


def at(event, seconds):
    """Where in the clip an event shows at a time: its thing's box, and the second (which is also the frame group)."""
    return [(*event.thing.box, int(seconds))]


def event_json(event):
    return said('[{"start_time": "', (clock(event.start), at(event, event.start)), '", "end_time": "', (clock(event.end), at(event, event.end)),
                '", "description": "', (event.what(), at(event, event.end if event.kind == "vanish" else event.start)), '"}]')


ENDINGS = [" Output start_time/end_time as JSON (mm:ss.ff).", " Output start_time and end_time as JSON (mm:ss.ff).", " Output the start_time and end_time in JSON format.",
           "", " Provide start_time and end_time in mm:ss.ff format as JSON."]
DESCRIBE = ["Describe this video.", "Describe this clip.", "What happens in this video?", "What happens in this clip?", "Describe the video."]


class Clip:
    """A clip that can be drawn at any time: a still picture, and one thing to which something happens."""

    def __init__(self, still, event, others, ground, seconds, rate, colours, target):
        self.still, self.event, self.others, self.ground = still, event, others, ground
        self.seconds, self.rate, self.colours, self.target = seconds, rate, colours, target

    def star(self, time):
        """The thing to which something happens, as it is at a time; None where it isn't there."""
        e, t, box = self.event, self.event.thing, self.event.thing.box
        if (e.kind == "appear" and time < e.start) or (e.kind == "vanish" and time >= e.end):
            return None
        if e.kind == "move":
            part = max(0.0, min(1.0, (time - e.start) / (e.end - e.start)))
            dx, dy = round((self.target[0] - box[0]) * part), round((self.target[1] - box[1]) * part)
            box = (box[0] + dx, box[1] + dy, box[2] + dx, box[3] + dy)
        return Thing(t.shape, e.new_colour if e.kind == "change" and time >= e.start else t.colour, box)

    def frame(self, time):
        image, star = self.still.copy(), self.star(time)
        if star:
            paint_thing(image, star, self.colours[1] if star.colour != self.event.thing.colour else self.colours[0])
        return image

    def frames(self):
        """Every frame, at the clip's own rate."""
        return [self.frame(i / self.rate) for i in range(round(self.seconds * self.rate))]

    def times(self):
        """The times of the frames that are seen at 2 each second, chosen evenly from the first to the last."""
        total, wanted = round(self.seconds * self.rate), max(4, int(self.seconds * FPS)) // 2 * 2
        return [round(i * (total - 1) / (wanted - 1)) / self.rate for i in range(wanted)]

    def sampled(self):
        return [self.frame(time) for time in self.times()]

    def things_seen(self):
        """The things in each frame that is seen."""
        return [self.others + [t for t in (self.star(time),) if t] for time in self.times()]


def draw_clip(rng, width, height, seconds):
    """A clip of whole seconds. What happens begins and ends on half seconds.

    A thing that appears or turns stays so until the end; a thing that vanishes was there from the beginning."""
    half_seconds = seconds * 2
    still, ground, behind = paint_background(rng, width, height, rng.choices(["plain", "gradient"], (80, 20))[0])
    names, short = visible_colours(behind), min(width, height)

    def thing(taken, avoid=()):
        for _ in range(20):
            size = rng.randint(max(18, short // 6), max(20, short // 3))
            box = free_box(rng, width, height, size, size, taken)
            if box:
                new = Thing(rng.choice(SHAPES), rng.choice(names), box)
                if new.name not in avoid:
                    return new
        return None

    star = thing([]) or Thing("circle", names[0], (2, 2, 22, 22))
    kind, target = rng.choice(KINDS), None
    if kind == "move":
        target = free_box(rng, width, height, star.box[2] - star.box[0], star.box[3] - star.box[1], [star.box], tries=60)
        kind = kind if target else "change"
    others = []
    for _ in range(rng.randint(0, 2)):
        other = thing([star.box] + ([_hull(star.box, target)] if target else []) + [o.box for o in others], [star.name] + [o.name for o in others])
        if other:
            others.append(other)
            paint_thing(still, other, jitter(rng, COLOURS[other.colour], 8))
    begin = rng.randint(1, half_seconds - 2)
    end = min(half_seconds - 1, begin + rng.randint(1, max(1, half_seconds - begin - 1)))
    start, stop = {"vanish": (0.0, begin / 2), "move": (begin / 2, end / 2)}.get(kind, (begin / 2, float(seconds)))
    new_colour = rng.choice([c for c in names if c != star.colour])
    colours = (jitter(rng, COLOURS[star.colour], 8), jitter(rng, COLOURS[new_colour], 8))
    return Clip(still, Event(kind, star, start, stop, new_colour), others, ground, seconds, rng.choice([8, 10, 12, 15, 24, 25, 30]), colours, target)


def _hull(a, b):
    return (min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3]))


def describe(event, others, ground):
    when = event.end if event.kind == "vanish" else event.start
    return said("The video shows that", (f" {event.what()} at {clock(when)}.", at(event, when)), *[(f" There is {article(o.name)}.", [(*o.box, 0)]) for o in others])


def questions_for(rng, event, others, ground, n):
    pairs = []
    for _ in range(n):
        if rng.random() < 0.75:
            pairs.append((event.question() + rng.choice(ENDINGS), event_json(event)))
        else:
            pairs.append((rng.choice(DESCRIBE), describe(event, others, ground)))
    return pairs


def sample_texts(rng):
    star, other = (Thing(rng.choice(SHAPES), rng.choice(list(COLOURS)), (0, 0, 1, 1)) for _ in range(2))
    event = Event(rng.choice(KINDS), star, 1.0, 2.5, rng.choice(list(COLOURS)))
    return questions_for(rng, event, [other], "white", 3)
