"""Makes activations.json: activations and their derivatives in PyTorch, in double precision, at numbers of -8 to 8; and
what PyTorch takes for the derivative in each kink, where there are two to choose from.

usage: make_activations.py > activations.json        (versions used are written into the file)
"""

import json
import platform

import torch
import torch.nn.functional as F

FUNCTIONS = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "silu": F.silu,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "elu": F.elu,
    "elu slope 0.5": lambda x: F.elu(x, alpha=0.5),
    "leaky_relu": lambda x: F.leaky_relu(x, 0.2),
    "relu6": F.relu6,
    "hard_sigmoid": F.hardsigmoid,
    "hard_silu": F.hardswish,
}

# Where they bend, and beside it.
KINKS = {
    "relu": (F.relu, [0]),
    "relu6": (F.relu6, [0, 6]),
    "elu": (F.elu, [0]),
    "elu slope 0.5": (FUNCTIONS["elu slope 0.5"], [0]),
    "leaky_relu": (FUNCTIONS["leaky_relu"], [0]),
    "hard_sigmoid": (F.hardsigmoid, [-3, 3]),
    "hard_silu": (F.hardswish, [-3, 3]),
    # Of a loss' difference to its target.
    "absolute": (torch.abs, [0]),
    "huber delta 0.75": (lambda x: F.huber_loss(x, torch.zeros_like(x), reduction="none", delta=0.75), [-0.75, 0, 0.75]),
}


def derivative(function, points):
    x = torch.tensor(points, dtype=torch.float64, requires_grad=True)
    y = function(x)
    y.sum().backward()
    return {"y": [float(f"{v:.9g}") for v in y.tolist()], "dy": [float(f"{v:.9g}") for v in x.grad.tolist()]}


# Odd sixteenths: exact in 32 bits, and in no kink.
points = [(k * 5 + 1) / 16 for k in range(-25, 26)]
functions = {name: derivative(function, points) for name, function in FUNCTIONS.items()}
kinks = {}
for name, (function, places) in KINKS.items():
    # -0.0 too, which is as equal to 0 as 0 is.
    x = [v for place in places for v in ([-0.0, 0.0] if place == 0 else [place]) + [place - 1 / 64, place + 1 / 64]]
    kinks[name] = {"x": x, **derivative(function, x)}

x = torch.tensor([[-0.5, 0.0, 0.5], [0.0, -0.0, -2.0]], dtype=torch.float64, requires_grad=True)
alpha = torch.tensor([0.25, -0.5, 0.75], dtype=torch.float64, requires_grad=True)
dy = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], dtype=torch.float64)
y = F.prelu(x, alpha)
y.backward(dy)
prelu = {name: value.flatten().tolist() for name, value in
         {"x": x, "alpha": alpha, "dy": dy, "y": y, "dx": x.grad, "dalpha": alpha.grad}.items()}

print(json.dumps({
    "made_by": f"tests/golden/make_activations.py, PyTorch {torch.__version__}, Python {platform.python_version()}",
    "x": points,
    "functions": functions,
    "kinks": kinks,
    "prelu": prelu,
}))
