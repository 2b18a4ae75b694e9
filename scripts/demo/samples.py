#!/usr/bin/env python3
"""Draws the sample pictures and clips of the repository: samples.py FOLDER"""
import random
import subprocess
import sys
from pathlib import Path

import clips
import lettering
from PIL import Image
from scenes import column_widths, rule
from world import COLOURS, Scene, Thing, paint_background, paint_thing


def write_clip(path, frames, rate):
    """Encodes PIL frames with ffmpeg, visually lossless."""
    w, h = frames[0].size
    command = ["ffmpeg", "-loglevel", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{w}x{h}", "-r", str(rate), "-i", "-",
               "-c:v", "libx264", "-crf", "12", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-threads", "1", str(path)]
    subprocess.run(command, input=b"".join(f.tobytes() for f in frames), check=True)


def shapes(size, ground, things):
    """A picture with the named shapes at the given boxes."""
    image = Image.new("RGB", size, ground)
    for name, box in things:
        colour, shape = name.split()
        paint_thing(image, Thing(shape, colour, box), COLOURS[colour])
    return image


def sign(text, size, ground, ink, font):
    image = Image.new("RGB", size, ground)
    face = lettering.font(*font)
    left, top, right, bottom = lettering.measure(text, face)
    lettering.print_line(image, text, (size[0] - right + left) // 2, (size[1] - bottom + top) // 2, face, ink)
    return image


def page(size, title, lines, rows):
    """A page in large serif type: a heading, lines, and a ruled table of words and numbers."""
    paper, dark = (248, 250, 249), (34, 36, 40)
    image = Image.new("RGB", size, paper)
    body, left, y = lettering.font(2, 24), 22, 10
    for text, face in [(title, lettering.font(3, 32)), *((line, body) for line in lines)]:
        y = lettering.print_line(image, text, left, y, face, dark).box[3] + 14
    first, second = column_widths(body, rows, 14)
    columns, step = (left, left + first, left + first + second), 36
    for i, row in enumerate(rows):
        for x, text in zip(columns, row):
            lettering.print_line(image, text, x + 6, y + i * step + 7, body, dark)
    rule(image, columns, range(y, y + step * len(rows) + 1, step), dark)
    return image


def main():
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    white = (252, 252, 252)
    shapes((280, 168), white, [("red circle", (24, 40, 92, 108)), ("blue square", (116, 76, 172, 132)), ("green triangle", (196, 30, 256, 90))]).save(out / "shapes.png")
    shapes((392, 224), (188, 218, 246), [("yellow star", (20, 20, 90, 90)), ("red heart", (110, 120, 170, 180)), ("yellow star", (190, 30, 250, 90)),
                                         ("purple ring", (280, 110, 350, 180))]).save(out / "stars.png")
    sign("OPEN", (224, 112), white, (20, 20, 24), (1, 48)).save(out / "sign.png")
    sign("4285", (168, 84), (238, 226, 202), (44, 86, 214), (8, 40)).save(out / "number.png")
    page((280, 336), "MENU", ["today"], [("soup", "4.50"), ("fish", "12"), ("rice", "3.25")]).save(out / "document.png")
    page((224, 224), "FROG", [], [("WALL", "607"), ("half", "8968")]).save(out / "page.png")
    rng = random.Random("sample clip")
    while True:
        clip = clips.draw_clip(rng, 336, 336, 6)
        if clip.event.kind == "appear" and len(clip.others) == 1 and clip.ground == "white":
            break
    write_clip(out / "clip.mp4", clip.frames(), clip.rate)
    print("drew the samples; the clip:", clip.event)


if __name__ == "__main__":
    main()
