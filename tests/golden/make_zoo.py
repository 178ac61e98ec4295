"""Makes zoo.json: what torchvision's models say of an image, in double precision, with weights given by formulas that
tests/layers/zoo_test.cpp has too. Weights are numbered in the order in which the models compute.

usage: make_zoo.py > zoo.json        (wants torchvision; versions used are written into the file)
"""

import json
import math

import torch
import torchvision
from torch import nn

SIZES = {"resnet50": 96, "mobilenet_v2": 65, "googlenet": 97, "densenet121": 96, "efficientnet_b0": 65}
PARTS = ("weight", "bias", "running_mean", "running_var")  # as Lockstep orders them, too


def wave(shape, phase):
    return torch.sin(0.7 * torch.arange(math.prod(shape), dtype=torch.float64) + phase).reshape(shape)


def fill(layers):
    number = 0
    for layer in layers:
        for part in PARTS:
            values = getattr(layer, part, None)
            if values is None:
                continue
            if values.dim() == 4:  # ours are [filters, height, width, channels]
                filters, channels, height, width = values.shape
                new = wave((filters, height, width, channels), number).permute(0, 3, 1, 2)
            else:
                new = wave(values.shape, number)
            if values.dim() > 1:
                new = new * math.sqrt(2 / (values.numel() / values.shape[0]))
            elif isinstance(layer, nn.BatchNorm2d) and part in ("weight", "running_var"):
                new = 1 + 0.1 * new
            else:
                new = 0.1 * new
            values.data = new.float().double().contiguous()
            number += 1


def output(name, size):
    options = {"aux_logits": False, "init_weights": False, "transform_input": False} if name == "googlenet" else {}
    model = getattr(torchvision.models, name)(num_classes=10, weights=None, **options).eval().double()
    layers = []
    hooks = [layer.register_forward_hook(lambda layer, *_: layers.append(layer)) for layer in model.modules()
             if isinstance(layer, (nn.Conv2d, nn.BatchNorm2d, nn.Linear))]
    image = torch.sin(0.37 * torch.arange(size * size * 3, dtype=torch.float64)).float().double()
    image = image.reshape(1, size, size, 3).permute(0, 3, 1, 2)
    with torch.no_grad():
        model(image)
        for hook in hooks:
            hook.remove()
        fill(layers)
        return [float(f"{value:.8g}") for value in torch.softmax(model(image), 1)[0].tolist()]


def main():
    result = {"versions": {"torch": torch.__version__, "torchvision": torchvision.__version__}}
    for name, size in SIZES.items():
        result[name] = {"size": size, "output": output(name, size)}
    print(json.dumps(result))


main()
