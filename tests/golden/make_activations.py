"""Makes activations.json: activations and their derivatives in PyTorch, in double precision, at numbers of -8 to 8.

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

# Odd sixteenths: exact in 32 bits, and in no kink.
points = [(k * 5 + 1) / 16 for k in range(-25, 26)]
functions = {}
for name, function in FUNCTIONS.items():
    x = torch.tensor(points, dtype=torch.float64, requires_grad=True)
    y = function(x)
    y.sum().backward()
    functions[name] = {"y": [float(f"{v:.9g}") for v in y.tolist()], "dy": [float(f"{v:.9g}") for v in x.grad.tolist()]}

print(json.dumps({
    "made_by": f"tests/golden/make_activations.py, PyTorch {torch.__version__}, Python {platform.python_version()}",
    "x": points,
    "functions": functions,
}))
