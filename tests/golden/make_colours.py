"""Makes colours.json: pictures, and what torchvision's functional.adjust_* make of them.

usage: make_colours.py > colours.json        (needs torchvision; its version is written into the file)
"""

import json

import torch
import torchvision
from torchvision.transforms import functional

torch.manual_seed(3)


def values(image):  # [C, H, W] to channels last
    return [round(x, 7) for x in image.permute(1, 2, 0).flatten().tolist()]


def contrast_by_channel(image, factor):
    # Of one channel, the mean of the grey image is the channel's.
    return torch.cat([functional.adjust_contrast(channel[None], factor) for channel in image])


height, width = 5, 7
image = torch.rand(3, height, width)
image[:, 0, 0], image[:, 0, 1], image[:, 0, 2] = 0, 1, 0.25  # greys
for at, colour in enumerate(([1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 1, 1], [1, 0, 1], [0.3, 0.3, 0.7])):
    image[:, 1, at] = torch.tensor(colour)
image = (image * 1e4).round() / 1e4  # so that few decimals tell all of it
cases = []
for factor in (-0.5, -0.31, -1 / 6, 0.1, 0.25, 0.5):
    cases.append({"hue": factor * 360, "values": values(functional.adjust_hue(image, factor))})
for factor in (0.0, 0.4, 1.7):
    cases.append({"saturation": factor, "values": values(functional.adjust_saturation(image, factor))})
for factor in (0.3, 1.8):
    cases.append({"contrast": factor, "values": values(contrast_by_channel(image, factor))})
for contrast, saturation, hue in ((0.6, 1.5, 0.2), (1.9, 0.3, -0.4), (1.5, 2.0, 0.05)):
    changed = functional.adjust_saturation(contrast_by_channel(image, contrast), saturation)
    cases.append({"contrast": contrast, "saturation": saturation, "hue": hue * 360,
                  "values": values(functional.adjust_hue(changed, hue))})
print(json.dumps({"torchvision": torchvision.__version__, "height": height, "width": width, "image": values(image),
                  "cases": cases}))
