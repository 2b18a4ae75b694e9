#!/usr/bin/env python3
"""Asks the PyTorch model about picture files: ask.py MODEL PROMPT FILE..., MODEL a checkpoint or a folder with the GGUF pair."""
import math
import sys

import numpy as np
import torch
from PIL import Image

from evaluate import load
from generate import answers
from tokens import Tokens
from world import FACTOR

LEAST, MOST = 4 * FACTOR ** 2, 1280 * FACTOR ** 2


def smart_resize(width, height):
    """The reference's size for a picture: multiples of 28, within the pixel budget."""
    w, h = (max(FACTOR, round(v / FACTOR) * FACTOR) for v in (width, height))
    if w * h > MOST:
        beta = math.sqrt(width * height / MOST)
        w, h = (max(FACTOR, math.floor(v / beta / FACTOR) * FACTOR) for v in (width, height))
    elif w * h < LEAST:
        beta = math.sqrt(LEAST / (width * height))
        w, h = (math.ceil(v * beta / FACTOR) * FACTOR for v in (width, height))
    return w, h


def main():
    model, tokens = load(sys.argv[1]).eval(), Tokens()
    torch.set_num_threads(2)
    for name in sys.argv[3:]:
        image = Image.open(name).convert("RGB")
        image = image.resize(smart_resize(*image.size), Image.Resampling.BICUBIC)
        print(f"{name}: {answers(model, tokens, np.asarray(image)[None, None, None], [sys.argv[2]])[0]}")


if __name__ == "__main__":
    main()
