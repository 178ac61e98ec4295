"""Makes statistics.json: what PyTorch's batch norms keep of some batches, the last one short, in double precision, from
images given by a formula that tests/launch/plan/moving_statistics_test.cpp has too; and, for negative controls, what other formulas
would have kept.

usage: make_statistics.py > statistics.json        (versions used are written into the file)
"""

import json
import math
import platform

import torch

HEIGHT, WIDTH, CHANNELS, SAMPLES, BATCH, STEPS, LANES = 3, 5, 3, 61, 24, 4, 8
OFFSETS = [0.0, 1000.0, -3.0]  # by channel


def image(index):
    # Samples drift apart, so that lanes, which are consecutive samples, have different means.
    values = [math.sin(0.7 * i + index) + 0.25 * index + OFFSETS[i % CHANNELS]
              for i in range(HEIGHT * WIDTH * CHANNELS)]
    # Rounded as the images are that a network gets.
    return torch.tensor(values, dtype=torch.float32).double().reshape(HEIGHT, WIDTH, CHANNELS)


def batches():
    for step in range(STEPS):
        first = step % -(-SAMPLES // BATCH) * BATCH
        yield torch.stack([image(i) for i in range(first, min(first + BATCH, SAMPLES))])


def as_pytorch(layer, to_layer):
    layer = layer.double().train()
    for batch in batches():
        layer(to_layer(batch))
    return {"mean": layer.running_mean.tolist(), "variance": layer.running_var.tolist()}


def other_variance(momentum, of_batch):
    """Of the images' channels."""
    moving = torch.ones(CHANNELS, dtype=torch.float64)
    for batch in batches():
        moving = momentum * moving + (1 - momentum) * of_batch(batch)
    return moving.tolist()


def mean_of_lanes(batch):
    lanes = [batch[i:i + BATCH // LANES] for i in range(0, len(batch), BATCH // LANES)]
    return sum(len(lane) * lane.var((0, 1, 2), correction=0) for lane in lanes) / len(batch)


print(json.dumps({
    "made_by": f"tests/golden/make_statistics.py, PyTorch {torch.__version__}, Python {platform.python_version()}",
    "images": as_pytorch(torch.nn.BatchNorm2d(CHANNELS, momentum=0.1), lambda x: x.permute(0, 3, 1, 2)),
    "features": as_pytorch(torch.nn.BatchNorm1d(HEIGHT * WIDTH * CHANNELS, momentum=0.4), lambda x: x.flatten(1)),
    "others": {"biased": other_variance(0.9, lambda x: x.var((0, 1, 2), correction=0)),
               "mean of the lanes' biased": other_variance(0.9, mean_of_lanes)},
}))
