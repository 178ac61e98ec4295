"""Trains a case in PyTorch: in double precision, which is the truth, and with rounding as in single precision, which is
the yardstick."""

from dataclasses import dataclass, field

import numpy as np
import torch

from cases import initial_weights, samples
from forward import Step, forward
from losses import loss
from optimizers import Optimizer, rate, single
from randoms import permutation


@dataclass
class Trained:
    changes: dict = field(default_factory=dict)  # by variable: after the last step less before the first
    weights: dict = field(default_factory=dict)
    losses: list = field(default_factory=list)  # of each step
    outputs: np.ndarray = None  # of the test images
    test_loss: float = 0.0


class Rounding:
    """Multiplies by 1 ± so many units in the last place of single precision."""

    def __init__(self, seed, units):
        self.generator, self.size = torch.Generator().manual_seed(seed), units * 2.0**-24

    def __call__(self, x):
        return (torch.rand(x.shape, generator=self.generator, dtype=torch.float64) * 2 - 1) * self.size


def penalty(model, weights):
    total = 0
    for layer in model["layers"]:
        for key, factors in layer.items():
            if not key.endswith("_regularizer") or not factors:
                continue
            part = key.removesuffix("_regularizer")
            kernels = {"depthwise": ["depthwise_kernel", "kernel"], "pointwise": ["pointwise_kernel"]}
            for name in kernels.get(part, [part]):
                w = weights.get(f"{layer['name']}/{name}")
                if w is not None:
                    total = total + single(factors.get("l1", 0)) * w.abs().sum()
                    total = total + single(factors.get("l2", 0)) * (w * w).sum()
    return total


def rounded(model):
    """Options of layers as Lockstep keeps them: in single precision."""
    def one(value):
        return single(value) if isinstance(value, float) else value
    return dict(model, layers=[{k: one(v) for k, v in layer.items()} for layer in model["layers"]])


def loss_of(options):
    """Its name, and its options in single precision."""
    given = {k: options[k] for k in ("label_smoothing",) if k in options} | options.get("loss_options", {})
    return options["loss"], {k: v if isinstance(v, bool) else single(v) for k, v in given.items()}


def batches(case):
    """Of each step: the samples, and how many of them are in each lane."""
    o, size = case["options"], case["data"]["samples"]
    batch, lanes = o["batch"] * o.get("accumulate", 1), o["lanes"] * o.get("accumulate", 1)
    if case["placing"].get("numerics") == "fast":  # a lane is what a rank has
        lanes = case["placing"]["ranks"]
    per_epoch, width = -(-size // batch), batch // lanes
    for step in range(o["steps"]):
        epoch, first = step // per_epoch, step % per_epoch * batch
        chosen = permutation(size, o.get("seed", 0), epoch)[first:first + batch]
        yield chosen, [max(0, min(width, len(chosen) - i * width)) for i in range(lanes)]


def prepared(case, images):
    """Divided as --normalise says: single precision, as the program's inputs are."""
    by = case["options"].get("normalise", "none")
    if by == "none":
        return images
    mean, std = (np.array([float(x) for x in part.split(",")], np.float32) for part in by.split("/"))
    return (images - mean) / std


def train(case, dtype=torch.float64, noise=None, fault=""):
    """noise: a Rounding; fault: a formula to break on purpose: "epsilon" of Adam, or the gradient of a "pool"."""
    o, model = case["options"], rounded(case["model"])
    name, loss_options = loss_of(o)
    images, targets = (torch.from_numpy(part) for part in samples(case, "train"))
    images = torch.from_numpy(prepared(case, images.numpy())).to(dtype)
    targets = targets if targets.dtype == torch.int64 else targets.to(dtype)
    start = {k: torch.from_numpy(w).to(dtype) for k, w in initial_weights(case).items()}
    weights, optimizer, result = dict(start), Optimizer(o, fault), Trained()
    kept = ("moving_mean", "moving_variance")

    for number, (chosen, lanes) in enumerate(batches(case)):
        step = Step(True, lanes, o.get("seed", 0), number, noise, fault)
        leaves = {k: w.clone().requires_grad_() for k, w in weights.items() if not k.endswith(kept)}
        before, output = forward(model, {**weights, **leaves}, images[chosen], step)
        value = loss(name, loss_options, before, output, targets[chosen]).mean()
        (value + penalty(model, leaves)).backward()
        lr = rate(o, single(o["lr"]) if "lr" in o else optimizer.o["lr"], number, o["steps"])
        gradients = {k: w.grad if w.grad is not None else torch.zeros_like(w) for k, w in leaves.items()}
        if noise:
            gradients = {k: g * (1 + noise(g)) for k, g in gradients.items()}
        new = optimizer.step({k: weights[k] for k in leaves}, gradients, lr)
        if noise:  # in single precision a weight is rounded after each step
            new = {k: w + (w.abs() + (w - weights[k]).abs()) * noise(w) for k, w in new.items()}
        for layer in model["layers"]:
            if layer["type"] == "BatchNormalization":
                m = layer.get("momentum", single(0.99))
                for part, batch in zip(kept, step.statistics[layer["name"]]):
                    key = f"{layer['name']}/{part}"
                    new[key] = m * weights[key] + (1 - m) * batch
        weights = {k: w.detach() for k, w in new.items()}
        result.losses.append(value.item())

    if optimizer.average:
        weights.update({k: w.detach() for k, w in optimizer.average.items()})
    result.weights = {k: w.double().numpy() for k, w in weights.items()}
    result.changes = {k: (w.double() - start[k].double()).numpy() for k, w in weights.items()}
    test(case, model, weights, dtype, noise, result)
    return result


@torch.no_grad()
def test(case, model, weights, dtype, noise, result):
    images, targets = (torch.from_numpy(part) for part in samples(case, "test"))
    images = torch.from_numpy(prepared(case, images.numpy())).to(dtype)
    targets = targets if targets.dtype == torch.int64 else targets.to(dtype)
    before, output = forward(model, weights, images, Step(False, noise=noise))
    name, loss_options = loss_of(case["options"])
    result.outputs = output.double().numpy()
    result.test_loss = loss(name, loss_options, before, output, targets).mean().item()
