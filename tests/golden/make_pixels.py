"""Makes pixels.json: files of every kind, and what --resize makes of them by Pillow, which decodes JPEGs whole.

usage: make_pixels.py > pixels.json        (needs pillow and numpy; versions used are written into the file)
"""

import base64
import json

import numpy
import PIL
from PIL import Image, features

from draw_images import decoded, draw, draw_jpeg, middle, reduction


def text(data):
    return base64.b64encode(data).decode()


def case(data, what, wide, resize, channels):
    height, width, shorter = resize
    image = decoded(data, wide, channels)
    box = middle(image.size, height, width, shorter)
    pixels = image.resize((width, height), Image.BILINEAR, box)
    reduced = reduction(box, height, width) if what.startswith("jpeg") else 1
    return {"what": what, "file": text(data), "channels": channels, "height": height, "width": width, "shorter": shorter,
            "reduced": reduced, "pixels": text(pixels.tobytes())}


random = numpy.random.default_rng(18)
cases = []
for number in range(45):
    width, height = (int(random.integers(1, 62)) for _ in range(2))
    resize = [(13, 13, 0), (9, 14, 0), (11, 11, 16), (40, 31, 0), (7, 7, 9)][number % 5]
    cases.append(case(*draw(random, width, height, number % 9), resize, 1 if number % 4 == 0 else 3))
# Sides that reduction does not divide, turned each way.
for orientation in range(1, 9):
    for (width, height), resize in (((81, 81), (10, 10, 0)), ((67, 53), (12, 12, 13)), ((50, 77), (15, 20, 0))):
        data, what = draw_jpeg(random, width, height, orientation)
        cases.append(case(data, what, None, resize, 3))
print(json.dumps({"pillow": PIL.__version__, "libjpeg_turbo": features.version("libjpeg_turbo"), "cases": cases}, indent=0))
