"""Loads a ResNet that Lockstep has trained into PyTorch's, tests it there, and writes it back.

    build/lockstep train --model resnet18 --data digits --normalise none --epochs 2 --out runs/resnet
    build/lockstep evaluate --model resnet18 --data digits --normalise none --weights runs/resnet/weights.safetensors
    python3 examples/pytorch/load_resnet.py runs/resnet/weights.safetensors --save back.safetensors
    build/lockstep evaluate --model resnet18 --data digits --normalise none --weights back.safetensors

All three tests print the same loss and accuracy. Needs torch, numpy and safetensors.
"""

import argparse
import gzip
import pathlib
import sys

import numpy
import safetensors.torch
import torch
from torch import nn

root = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(root / "benchmarks"))
import pytorch_models  # noqa: E402: the same networks as Lockstep's zoo

BLOCKS = {"resnet18": (2, 2, 2, 2), "resnet50": (3, 4, 6, 3)}


def layer_names(model):
    """Names of Lockstep's convolutions, and of the norms after them, in the order of PyTorch's modules."""
    convolutions = 2 if model == "resnet18" else 3
    yield "stem"
    for stage, blocks in enumerate(BLOCKS[model], 1):
        for block in range(1, blocks + 1):
            name = f"stage{stage}_block{block}"
            yield from (f"{name}_{i}" for i in range(1, convolutions + 1))
            if block == 1 and (stage > 1 or model == "resnet50"):
                yield f"{name}_0"  # the shortcut's projection


def pairs(model, module):
    """Yields (name in Lockstep, tensor in PyTorch, its axes in Lockstep's order)."""
    names = layer_names(model)
    layers = [m for m in module.modules() if isinstance(m, (nn.Conv2d, nn.BatchNorm2d, nn.Linear))]
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            name = next(names)
            yield f"{name}_conv/kernel", layer.weight, (0, 2, 3, 1)  # [filters, height, width, channels]
        elif isinstance(layer, nn.BatchNorm2d):
            tensors = (layer.weight, layer.bias, layer.running_mean, layer.running_var)
            for variable, tensor in zip(("gamma", "beta", "moving_mean", "moving_variance"), tensors):
                yield f"{name}_norm/{variable}", tensor, (0,)
        else:
            yield "dense/kernel", layer.weight, (0, 1)
            yield "dense/bias", layer.bias, (0,)


def inverse(axes):
    return tuple(numpy.argsort(axes))


def load(model, module, path):
    stored = safetensors.torch.load_file(path)
    with torch.no_grad():
        for name, tensor, axes in pairs(model, module):
            tensor.copy_(stored.pop(name).permute(inverse(axes)))
    assert not stored, f"{path} has variables that {model} has not: {sorted(stored)}"


def save(model, module, path):
    tensors = {name: tensor.detach().permute(axes).contiguous() for name, tensor, axes in pairs(model, module)}
    safetensors.torch.save_file(tensors, path)


def digits_test_set():
    """The images that Lockstep tests on, [N, 1, 8, 8] in 0 to 1, and their labels."""
    rows = numpy.loadtxt(gzip.open(root / "launch/data/readers/digits.csv.gz"), delimiter=",", dtype=numpy.float32)[-360:]
    return torch.from_numpy(rows[:, :-1].reshape(-1, 1, 8, 8) / 16), torch.from_numpy(rows[:, -1].astype(int))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights")
    parser.add_argument("--model", default="resnet18", choices=BLOCKS)
    parser.add_argument("--save", help="write the weights back to this file")
    options = parser.parse_args()
    module = getattr(pytorch_models, options.model)(1, 10).eval()
    load(options.model, module, options.weights)
    images, labels = digits_test_set()
    with torch.no_grad():
        logits = module(images)
    print(f"test loss {nn.functional.cross_entropy(logits, labels):.6f}")
    print(f"test accuracy {100 * (logits.argmax(1) == labels).float().mean():.2f} %")
    if options.save:
        save(options.model, module, options.save)


if __name__ == "__main__":
    main()
