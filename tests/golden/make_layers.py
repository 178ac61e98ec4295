"""Makes layers.json: outputs and gradients of single layers in PyTorch, in double precision, from inputs and weights given
by formulas that tests/layers/layers_golden_test.cpp has too.

usage: make_layers.py > layers.json        (versions used are written into the file)
"""

import json
import math
import platform

import torch
import torch.nn.functional as F


def wave(shape, phase):
    values = [math.sin(0.7 * i + phase) for i in range(math.prod(shape))]
    return torch.tensor(values, dtype=torch.float64).reshape(shape).requires_grad_()


def kernel(w):  # ours are [filters, height, width, channels]
    return w.permute(0, 3, 1, 2)


def separable(x, depthwise, pointwise, bias):
    return F.conv2d(F.conv2d(x, kernel(depthwise), padding=1, groups=3), kernel(pointwise), bias)


# What is computed of x [N, C, H, W] and the variables; their shapes as Lockstep keeps them.
CASES = {
    "conv2d": (lambda x, w, b: F.conv2d(F.pad(x, (2, 1, 0, 1)), kernel(w), b, stride=2, dilation=(1, 2), groups=2),
               (2, 6, 7, 4), [(6, 3, 2, 2), (6,)]),
    "depthwise": (lambda x, w, b: F.conv2d(x, kernel(w), b, stride=2, padding=1, groups=3), (2, 5, 6, 3),
                  [(6, 3, 3, 1), (6,)]),
    "depthwise5": (lambda x, w: F.conv2d(x, kernel(w), padding=2, groups=9), (2, 6, 5, 9), [(9, 5, 5, 1)]),
    "separable": (separable, (1, 4, 5, 3), [(3, 3, 3, 1), (4, 1, 1, 3), (4,)]),
    "transpose": (lambda x, w, b: F.conv_transpose2d(x, kernel(w), b, stride=2, padding=1, output_padding=1),
                  (2, 3, 4, 3), [(3, 3, 3, 2), (2,)]),
    "transpose_dilated": (lambda x, w: F.conv_transpose2d(x, kernel(w), dilation=2), (1, 3, 4, 3), [(3, 2, 3, 2)]),
    # As Keras' `same`: twice the size; of the one pixel too much, none before and one after.
    "transpose_same": (lambda x, w, b: F.conv_transpose2d(x, kernel(w), b, stride=2)[:, :, :6, :8], (1, 3, 4, 3),
                       [(3, 3, 3, 2), (2,)]),
    "zero_padding": (lambda x: F.pad(x, (0, 3, 1, 2)), (1, 3, 2, 3), []),
    "nearest": (lambda x: F.interpolate(x, scale_factor=(2, 3)), (2, 3, 2, 3), []),
    "bilinear": (lambda x: F.interpolate(x, scale_factor=(3, 2), mode="bilinear", align_corners=False), (2, 3, 4, 3),
                 []),
    "global_max": (lambda x: F.max_pool2d(x, x.shape[2:]), (2, 3, 4, 3), []),
    "max_pool": (lambda x: F.max_pool2d(x, 3, stride=2, padding=1), (1, 6, 5, 3), []),
    "average_pool": (lambda x: F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False), (1, 6, 5, 3), []),
}


def numbers(tensor):
    return [float(f"{value:.8g}") for value in tensor.flatten().tolist()]


def main():
    result = {"versions": {"torch": torch.__version__, "python": platform.python_version()}}
    for name, (compute, shape, variables) in CASES.items():
        x = wave(shape, 0.3)
        weights = [wave(variable, 1.0 + i) for i, variable in enumerate(variables)]
        y = compute(x.permute(0, 3, 1, 2), *weights).permute(0, 2, 3, 1)
        gradients = torch.autograd.grad(y, [x, *weights], wave(y.shape, 5.0).detach())
        result[name] = {"y": numbers(y), "gradients": [numbers(g) for g in gradients]}
    print(json.dumps(result))


main()
