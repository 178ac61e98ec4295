"""Makes golden.json: ten training steps of two small networks in PyTorch, from weights and data given by formulas.

In double precision: in single precision the weight gradient of a 1x1 convolution with stride 2 and 6 channels is wrong on
some processors (PyTorch 2.15 with AVX2; the oneDNN inside reads memory that it has not written).

usage: make_golden.py > golden.json        (versions used are written into the file)
"""

import json
import math
import platform

import torch
import torch.nn.functional as F

BATCH, STEPS = 16, 10
EPSILON, MOMENTUM = 1e-3, 0.99


class Sequential:
    """Convolution, batch norm and dense layers. Names and shapes are as Lockstep keeps them, in the network's order."""

    variables = [("conv2d/kernel", (4, 3, 3, 1)), ("conv2d/bias", (4,)), ("conv2d_1/kernel", (8, 3, 3, 4)),
                 ("batch_normalization/gamma", (8,)), ("batch_normalization/beta", (8,)),
                 ("dense/kernel", (16, 32)), ("dense/bias", (16,)), ("dense_1/kernel", (10, 16)), ("dense_1/bias", (10,))]

    def __init__(self):
        self.kept = {"batch_normalization/moving_mean": torch.zeros(8, dtype=torch.float64),
                     "batch_normalization/moving_variance": torch.ones(8, dtype=torch.float64)}

    def keep(self, name, value):  # Keras' running statistics
        self.kept[name] = MOMENTUM * self.kept[name] + (1 - MOMENTUM) * value

    def logits(self, p, x):
        y = conv(p, "conv2d", F.pad(x, (1, 1, 1, 1)))
        y = conv(p, "conv2d_1", F.max_pool2d(F.relu(y), 2))
        with torch.no_grad():
            self.keep("batch_normalization/moving_mean", y.mean((0, 2, 3)))
            self.keep("batch_normalization/moving_variance", y.var((0, 2, 3)))
        y = F.batch_norm(y, None, None, p["batch_normalization/gamma"], p["batch_normalization/beta"], True, 0, EPSILON)
        y = F.relu(y).permute(0, 2, 3, 1).flatten(1)
        y = F.relu(F.linear(y, p["dense/kernel"], p["dense/bias"]))
        return F.linear(y, p["dense_1/kernel"], p["dense_1/bias"])


class Branches:
    """A residual with a projection, strides, both pools, a concatenation and groups; no statistics over the batch, so
    that it may be cut into lanes."""

    variables = [("stem/kernel", (6, 3, 3, 1)), ("stem/bias", (6,)), ("a/kernel", (6, 3, 3, 6)), ("a/bias", (6,)),
                 ("projection/kernel", (6, 1, 1, 6)), ("mix/kernel", (8, 1, 1, 6)), ("mix/bias", (8,)),
                 ("out/kernel", (10, 32)), ("out/bias", (10,))]

    def __init__(self):
        self.kept = {}

    def logits(self, p, x):
        x = F.relu(conv(p, "stem", F.pad(x, (1, 1, 1, 1))))
        # Keras pads 8 pixels for a 3x3 window with stride 2 after the image alone.
        y = conv(p, "a", F.pad(x, (0, 1, 0, 1)), stride=2)
        y = F.relu(y + conv(p, "projection", x, stride=2))
        y = torch.cat([F.max_pool2d(y, 2), F.avg_pool2d(y, 2)], 1)
        y = F.relu(conv(p, "mix", y, groups=2))
        return F.linear(y.permute(0, 2, 3, 1).flatten(1), p["out/kernel"], p["out/bias"])


def conv(parameters, layer, x, **options):
    return F.conv2d(x, parameters[layer + "/kernel"].permute(0, 3, 1, 2), parameters.get(layer + "/bias"), **options)


def initial(index, name, shape):
    size = math.prod(shape)
    fan = size // shape[0]
    values = torch.tensor([math.sin(0.7 * i + index) for i in range(size)], dtype=torch.float32)
    if name.endswith("gamma"):
        return 1 + 0.1 * values
    return values * (0.1 if len(shape) == 1 else math.sqrt(2 / fan))


def run(network, make_optimizer, penalty=lambda parameters: 0):
    """`penalty` is added to the loss that is minimised, not to the one that is reported."""
    parameters = {name: initial(i, name, shape).reshape(shape).double().requires_grad_()
                  for i, (name, shape) in enumerate(network.variables)}
    optimizer = make_optimizer(list(parameters.values()))
    losses = []
    for step in range(STEPS):
        flat = [((i * 37 + step * 11) % 101) / 101 for i in range(BATCH * 64)]
        x = torch.tensor(flat, dtype=torch.float32).reshape(BATCH, 1, 8, 8).double()
        labels = torch.tensor([(i * 7 + step) % 10 for i in range(BATCH)])
        loss = F.cross_entropy(network.logits(parameters, x), labels)
        optimizer.zero_grad()
        (loss + penalty(parameters)).backward()
        optimizer.step()
        losses.append(loss.item())
    final = {name: value.detach() for name, value in parameters.items()} | network.kept
    return {"losses": losses, "variables": {name: value.flatten().tolist() for name, value in final.items()}}


def adam(parameters):
    return torch.optim.Adam(parameters, lr=0.01, eps=1e-7)


def momentum(parameters):
    return torch.optim.SGD(parameters, lr=0.05, momentum=0.9, weight_decay=0.001)


if __name__ == "__main__":
    print(json.dumps({
        "made_by": f"tests/golden/make_golden.py, PyTorch {torch.__version__}, Python {platform.python_version()}",
        "adam": run(Sequential(), adam),
        "momentum": run(Sequential(), momentum),
        "branches": run(Branches(), momentum),
    }))
