"""A model's layers as PyTorch's own modules, which take exported weights by load_state_dict; in evaluation."""

import math

import numpy as np
import torch
from torch import nn

from forward import ACTIVATIONS, Step, compute, inputs_of, padded, pair, pixels, planes, sides
from training import prepared, rounded


def convolution(layer, channels, groups):
    size, strides, dilation = (pair(layer.get(k, 1)) for k in ("kernel_size", "strides", "dilation_rate"))
    return nn.Conv2d(channels, layer["filters"], size, strides, 0, dilation, groups, layer.get("use_bias", True))


def separable(layer, channels):
    between = channels * layer.get("depth_multiplier", 1)
    return nn.ModuleDict({
        "depthwise": convolution(dict(layer, filters=between, use_bias=False), channels, channels),
        "pointwise": nn.Conv2d(between, layer["filters"], 1, bias=layer.get("use_bias", True))})


def module_of(layer, x):
    """Of the layers that have weights, for input of this shape [N, …]; else None."""
    kind, c, images, bias = layer["type"], x.shape[-1], x.dim() == 4, layer.get("use_bias", True)
    epsilon = layer.get("epsilon", 1e-3)
    if kind == "Conv2D":
        return convolution(layer, c, layer.get("groups", 1))
    if kind == "DepthwiseConv2D":
        return convolution(dict(layer, filters=c * layer.get("depth_multiplier", 1)), c, c)
    if kind == "SeparableConv2D":
        return separable(layer, c)
    if kind == "Conv2DTranspose":
        size, strides, dilation = (pair(layer.get(k, 1)) for k in ("kernel_size", "strides", "dilation_rate"))
        return nn.ConvTranspose2d(c, layer["filters"], size, strides, bias=bias, dilation=dilation)
    if kind == "Dense":
        return nn.Linear(c, layer["units"], bias)
    if kind == "BatchNormalization":
        return (nn.BatchNorm2d if images else nn.BatchNorm1d)(c, epsilon)
    if kind == "LayerNormalization":
        return nn.LayerNorm(c, epsilon)
    if kind == "GroupNormalization":
        groups = layer.get("groups", 32)
        return nn.GroupNorm(c if groups == -1 else groups, c, epsilon)
    if kind == "PReLU":
        shared = len(layer.get("shared_axes", []))
        shape = [1] * shared + list(x.shape[1 + shared:])
        if math.prod(shape) == c:
            return nn.PReLU(c)
        slopes = nn.Module()  # no module has a slope for each value: a parameter of that shape
        slopes.weight = nn.Parameter(torch.zeros([c, *shape[:-1]]))
        return slopes
    return None


def apply(layer, module, x):
    """x channels-last where it is images, as the result."""
    kind = layer["type"]
    if kind in ("Conv2D", "DepthwiseConv2D", "SeparableConv2D"):
        first = module["depthwise"] if kind == "SeparableConv2D" else module
        around = sides(layer, first.kernel_size, first.stride, first.dilation, x.shape[1:3])
        y = first(padded(planes(x), *around))
        return pixels(module["pointwise"](y) if kind == "SeparableConv2D" else y)
    if kind == "Conv2DTranspose":  # paddings that the module does not have: the rest is as it is trained
        weight, bias = module.weight.permute(0, 2, 3, 1), module.bias
        return compute(layer, 0, [x], {"kernel": weight, "bias": bias}, Step(False))
    if kind in ("BatchNormalization", "GroupNormalization") or isinstance(module, nn.PReLU):
        return pixels(module(planes(x))) if x.dim() == 4 else module(x)
    if kind == "PReLU":
        return torch.where(x > 0, x, module.weight.permute(1, 2, 0) * x)
    return module(x)


class Exported(nn.Module):
    """The model as PyTorch has it: a flattened image lies in PyTorch's order, by planes."""

    def __init__(self, case, dtype):
        super().__init__()
        self.model, self.dtype = rounded(case["model"]), dtype
        with torch.no_grad():
            self.run(torch.zeros(2, *case["data"]["shape"]), make=True)
        self.to(dtype)

    def run(self, x, make=False):
        values, layers = {}, self.model["layers"]
        for i, layer in enumerate(layers):
            name = layer["name"]
            if i == 0:
                values[name] = x
                continue
            inputs = [values[n] for n in inputs_of(layers, i)]
            if make and (module := module_of(layer, inputs[0])) is not None:
                self.add_module(name, module.eval())
            module = getattr(self, name, None)
            if layer["type"] == "Flatten" and inputs[0].dim() == 4:
                y = planes(inputs[0]).reshape(len(x), -1)
            else:
                y = apply(layer, module, inputs[0]) if module else compute(layer, 0, inputs, {}, Step(False))
            if layer["type"] != "Activation" and "activation" in layer:
                y = ACTIVATIONS[layer["activation"]](y)
            values[name] = y
        return values[layers[-1]["name"]]


@torch.no_grad()
def outputs(case, tensors, images):
    """What the modules make of exported weights and images; raises where a module does not take them."""
    module = Exported(case, torch.float64)
    module.load_state_dict({k: torch.from_numpy(w.copy()) for k, w in tensors.items()},
                           strict=not any("running_mean" in k for k in tensors))
    missing = {k for k in module.state_dict() if k not in tensors and not k.endswith("num_batches_tracked")}
    if missing:
        raise KeyError(f"not exported: {sorted(missing)}")
    return module.run(torch.from_numpy(prepared(case, images).astype(np.float64))).numpy()
