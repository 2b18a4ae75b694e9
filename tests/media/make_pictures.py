#!/usr/bin/env python3
"""Makes the pictures in pictures/: one per kind of file and pixel, each with NAME.expected.png, what Pillow makes of it.

usage: make_pictures.py            needs Pillow and numpy; the files committed were made with Pillow 13.0.0

Expected pixels are RGB over white. They follow Pillow except where src/media/colour.rs says that we differ: 16-bit grey
keeps its high byte, and the transparency of grey and palette pictures counts.
"""
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

OUT = Path(__file__).parent / "pictures"
W, H = 29, 18


def scene():
    """A picture with smooth parts, edges and saturated corners."""
    y, x = np.mgrid[0:H, 0:W]
    a = np.stack([x * 8, y * 13, 255 - x * 4 - y * 6], 2).clip(0, 255)
    a[4:9, 5:14] = [250, 20, 30]
    a[10:15, 16:25] = [10, 200, 240]
    a[:3, :3], a[:3, -3:], a[-3:, :3], a[-3:, -3:] = 0, 255, [255, 0, 0], [0, 0, 255]
    return a.astype(np.uint8)


def png16(path, samples, colour_type):
    """Writes a 16-bit PNG, which Pillow can't do for colour: samples [H, W, channels] uint16."""
    h, w = samples.shape[:2]
    rows = samples.astype(">u2").reshape(h, -1)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    header = struct.pack(">IIBBBBB", w, h, 16, colour_type, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b""))


def over_white(picture):
    rgba = picture.convert("RGBA")
    white = Image.new("RGB", rgba.size, (255, 255, 255))
    white.paste(rgba, mask=rgba.split()[3])
    return white


def keep(name, expected=None):
    if expected is None:
        expected = over_white(Image.open(OUT / name))
    expected.save(OUT / f"{name}.expected.png", optimize=True)


def main():
    OUT.mkdir(exist_ok=True)
    rgb = Image.fromarray(scene())
    y, x = np.mgrid[0:H, 0:W]
    alpha = Image.fromarray(((x * 9 + y * 5) % 256).astype(np.uint8))
    rgba, grey, palette = rgb.copy(), rgb.convert("L"), rgb.quantize(32)
    rgba.putalpha(alpha)
    la = grey.copy()
    la.putalpha(alpha)

    plain = {
        "rgb.png": (rgb, {}), "rgba.png": (rgba, {}), "grey.png": (grey, {}), "grey-alpha.png": (la, {}),
        "palette.png": (palette, {}), "palette-transparent.png": (palette, {"transparency": bytes(range(0, 256, 8))}),
        "bilevel.png": (rgb.convert("1"), {}), "palette-4bit.png": (rgb.quantize(9), {"bits": 4}),
        "grey.jpg": (grey, {"quality": 90}), "444.jpg": (rgb, {"quality": 90, "subsampling": 0}),
        "420.jpg": (rgb, {"quality": 75, "subsampling": 2}), "422.jpg": (rgb, {"quality": 75, "subsampling": 1}),
        "progressive.jpg": (rgb, {"quality": 85, "progressive": True}), "cmyk.jpg": (rgb.convert("CMYK"), {"quality": 92}),
        "lossy.webp": (rgb, {"quality": 80}), "lossless.webp": (rgb, {"lossless": True}),
        "alpha.webp": (rgba, {"lossless": True}), "animated.webp": (rgb, {"save_all": True, "append_images": [rgb.transpose(0)]}),
        "palette.gif": (palette, {}), "animated.gif": (palette, {"save_all": True, "append_images": [palette.transpose(0)]}),
        "rgb.bmp": (rgb, {}), "palette.bmp": (palette, {}), "grey.bmp": (grey, {}),
        "rgb.tif": (rgb, {}), "lzw.tif": (rgb, {"compression": "tiff_lzw"}), "deflate.tif": (rgba, {"compression": "tiff_adobe_deflate"}),
        "cmyk.tif": (rgb.convert("CMYK"), {"compression": "tiff_lzw"}), "bilevel.tif": (rgb.convert("1"), {"compression": "group4"}),
        "palette.tif": (palette, {"compression": "tiff_lzw"}),
    }
    for name, (picture, options) in plain.items():
        picture.save(OUT / name, **options)
        keep(name)

    wide = scene().astype(np.uint16) * 257 ^ 0x55  # low bytes that don't repeat the high ones
    png16(OUT / "grey16.png", wide[:, :, 1:2], 0)
    keep("grey16.png", Image.fromarray(np.repeat((wide[:, :, 1:2] >> 8), 3, 2).astype(np.uint8)))
    png16(OUT / "rgb16.png", wide, 2)
    keep("rgb16.png")
    png16(OUT / "rgba16.png", np.dstack([wide, np.asarray(alpha).astype(np.uint16) * 257]), 6)
    keep("rgba16.png")

    thin = Image.fromarray(np.zeros((3, 20000, 3), np.uint8))
    thin.save(OUT / "20000x3.png", optimize=True)
    Image.fromarray(np.uint8([[[200, 100, 50]]])).save(OUT / "1x1.png")


main()
