"""Makes norms.json: layer and group normalisation and PReLU with all gradients in PyTorch, in double precision.

Tensors are made by formulas, which tests/layers/operators/op_group_norm_test.cpp repeats; channels are last.

usage: make_norms.py > norms.json        (versions used are written into the file)
"""

import json
import math
import platform

import torch
import torch.nn.functional as F

N, H, W, C, GROUPS, EPSILON = 2, 3, 2, 6, 3, 1e-3


def wave(shape, phase):
    size = math.prod(shape)
    return torch.tensor([math.sin(0.7 * i + phase) for i in range(size)], dtype=torch.float32).double().reshape(shape)


def run(function):
    x = wave((N, H, W, C), 1).requires_grad_()
    gamma, beta = (1 + 0.5 * wave((C,), 2)).requires_grad_(), wave((C,), 3).requires_grad_()
    y = function(x, gamma, beta)
    y.backward(wave((N, H, W, C), 4))
    return {name: [float(f"{v:.9g}") for v in value.flatten().tolist()]
            for name, value in {"y": y, "dx": x.grad, "dgamma": gamma.grad, "dbeta": beta.grad}.items()
            if value is not None}


def first(function):
    return lambda x, gamma, beta: function(x.permute(0, 3, 1, 2), gamma, beta).permute(0, 2, 3, 1)


print(json.dumps({
    "made_by": f"tests/golden/make_norms.py, PyTorch {torch.__version__}, Python {platform.python_version()}",
    "layer": run(lambda x, gamma, beta: F.layer_norm(x, (C,), gamma, beta, EPSILON)),
    "group": run(first(lambda x, gamma, beta: F.group_norm(x, GROUPS, gamma, beta, EPSILON))),
    "prelu": run(first(lambda x, gamma, beta: F.prelu(x, gamma))),
}))
