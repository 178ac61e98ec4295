"""Makes golden.json: ten training steps of a small network in PyTorch, from weights and data given by formulas.

usage: make_golden.py > golden.json        (versions used are written into the file)
"""

import json
import math
import platform

import torch
import torch.nn.functional as F

BATCH, STEPS = 16, 10
# Name and shape as Lockstep keeps them, in the network's order.
VARIABLES = [("conv2d/kernel", (4, 3, 3, 1)), ("conv2d/bias", (4,)), ("conv2d_1/kernel", (8, 3, 3, 4)),
             ("batch_normalization/gamma", (8,)), ("batch_normalization/beta", (8,)),
             ("dense/kernel", (16, 32)), ("dense/bias", (16,)), ("dense_1/kernel", (10, 16)), ("dense_1/bias", (10,))]
EPSILON, MOMENTUM = 1e-3, 0.99


def initial(index, shape):
    size = math.prod(shape)
    fan = size // shape[0]
    values = torch.tensor([math.sin(0.7 * i + index) for i in range(size)], dtype=torch.float32)
    if VARIABLES[index][0].endswith("gamma"):
        return 1 + 0.1 * values
    return values * (0.1 if len(shape) == 1 else math.sqrt(2 / fan))


def run(make_optimizer):
    parameters = {name: initial(i, shape).reshape(shape).requires_grad_() for i, (name, shape) in enumerate(VARIABLES)}
    optimizer = make_optimizer(list(parameters.values()))
    mean, variance = torch.zeros(8), torch.ones(8)
    losses = []
    for step in range(STEPS):
        flat = [((i * 37 + step * 11) % 101) / 101 for i in range(BATCH * 64)]
        x = torch.tensor(flat, dtype=torch.float32).reshape(BATCH, 1, 8, 8)
        labels = torch.tensor([(i * 7 + step) % 10 for i in range(BATCH)])
        p = parameters
        y = F.conv2d(x, p["conv2d/kernel"].permute(0, 3, 1, 2), p["conv2d/bias"], padding=1)
        y = F.max_pool2d(F.relu(y), 2)
        y = F.conv2d(y, p["conv2d_1/kernel"].permute(0, 3, 1, 2))
        with torch.no_grad():  # Keras' running statistics: the biased variance
            mean = MOMENTUM * mean + (1 - MOMENTUM) * y.mean((0, 2, 3))
            variance = MOMENTUM * variance + (1 - MOMENTUM) * y.var((0, 2, 3), unbiased=False)
        y = F.batch_norm(y, None, None, p["batch_normalization/gamma"], p["batch_normalization/beta"], True, 0, EPSILON)
        y = F.relu(y).permute(0, 2, 3, 1).flatten(1)
        y = F.relu(F.linear(y, p["dense/kernel"], p["dense/bias"]))
        loss = F.cross_entropy(F.linear(y, p["dense_1/kernel"], p["dense_1/bias"]), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    final = {name: value.detach() for name, value in parameters.items()}
    final["batch_normalization/moving_mean"], final["batch_normalization/moving_variance"] = mean, variance
    return {"losses": losses, "variables": {name: value.flatten().tolist() for name, value in final.items()}}


print(json.dumps({
    "made_by": f"tests/golden/make_golden.py, PyTorch {torch.__version__}, Python {platform.python_version()}",
    "adam": run(lambda p: torch.optim.Adam(p, lr=0.01, eps=1e-7)),
    "momentum": run(lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=0.001)),
}))
