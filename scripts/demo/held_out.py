"""Questions about drawings that training never saw: other seeds, other words. Used on the PyTorch model and on the program alike."""
import random
from dataclasses import dataclass

import numpy as np
from PIL import Image

import clips
import questions as Q
from refusals import REFUSAL, unrelated
from scenes import draw_document, draw_picture
from world import FACTOR, seen_size

SEED = "held out"
SIZES = [(2, 2), (3, 3), (2, 8), (8, 2), (4, 4), (3, 6), (6, 6), (9, 5), (5, 16), (12, 3), (10, 10), (14, 9), (20, 5), (20, 20)]
CLIP_SIZES = [(12, 12), (16, 9), (10, 13)]
TASKS = ["describe", "count", "colour", "boxes", "points", "words", "numbers", "document", "refusal", "events"]


@dataclass
class Case:
    task: str
    prompt: str
    frames: list           # PIL images; one for a picture
    truth: object          # what `scoring.py` compares with
    rate: float = 0.0      # frames each second of a clip, 0 for a picture
    seconds: float = 0.0
    sampled: list = None   # of a clip: the frames that a model at 2 frames a second sees

    @property
    def factors(self):
        """How much wider and higher the model sees a picture than it is drawn: what the places in its answers are in."""
        drawn = self.frames[0].size
        return [a / b for a, b in zip(drawn if self.rate else seen_size(*drawn), drawn)]

    @property
    def pixels(self):
        """uint8 [groups, 1 or 2, H, W, 3], as the model gets them."""
        if not self.rate:
            image = self.frames[0]
            size = seen_size(*image.size)
            image = image if image.size == size else image.resize(size, Image.Resampling.BICUBIC)
            return np.asarray(image)[None, None]
        stack = np.stack([np.asarray(f) for f in self.sampled])
        return stack.reshape(-1, 2, *stack.shape[1:])


def _picture(task, rng, tw, th):
    width, height = tw * FACTOR, th * FACTOR
    small = tw * th < 9
    if task == "document":
        scene, image = draw_document(rng, max(width, 140), max(height, 140), held_out=True)
        return Case(task, "QwenVL HTML", [image], {"html": Q.html(scene), "lines": Q.read(scene).split("\n")})
    if task in ("words", "numbers"):
        while True:
            scene, image = draw_picture(rng, width, height, 0, 1, held_out=True)
            if scene.lines and (scene.lines[0].text.replace(".", "").isdigit()) == (task == "numbers"):
                return Case(task, "Read the text in the image.", [image], scene.lines[0].text)
    while True:
        most = {"describe": 3, "boxes": 2 if small else 5, "points": 2 if small else 4}.get(task, 2 if small else 5)
        scene, image = draw_picture(rng, width, height, rng.randint(1, most), 0)
        if scene.things:
            break
    if task == "describe":
        return Case(task, "Describe this image.", [image], {"things": [t.name for t in scene.ordered()], "answer": Q.describe(scene)})
    if task == "boxes":
        return Case(task, "Locate every shape, output its bbox coordinates in JSON format.", [image], [(t.name, t.box) for t in scene.ordered()])
    if task == "points":
        t = rng.choice(scene.things)
        found = Q.matching(scene, t.colour, t.shape)
        what = f"the {t.name}" if len(found) == 1 else f"every {t.name}"
        return Case(task, f"Point to {what}.", [image], [(t.name, t.box) for t in found])
    if task == "count":
        prompt, answer = Q.ask_count(rng, scene)
        return Case(task, prompt, [image], answer)
    if task == "colour":
        prompt, answer = Q.ask_colour(rng, scene)
        return Case(task, prompt, [image], answer)
    return Case("refusal", unrelated(rng), [image], REFUSAL)


def _clip(rng, tw, th):
    seconds = rng.randint(3, 8)
    clip = clips.draw_clip(rng, tw * FACTOR, th * FACTOR, seconds)
    event = clip.event
    return Case("events", event.question() + clips.ENDINGS[0], clip.frames(), {"kind": event.kind, "start": event.start, "end": event.end},
                clip.rate, float(seconds), clip.sampled())


def cases(task, n):
    """n cases of a task, their sizes in turn; the same on every machine."""
    out = []
    for i in range(n):
        rng = random.Random(f"{SEED}/{task}/{i}")
        out.append(_clip(rng, *CLIP_SIZES[i % len(CLIP_SIZES)]) if task == "events" else _picture(task, rng, *SIZES[i % len(SIZES)]))
    return out
