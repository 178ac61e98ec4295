"""The losses as layers/losses/loss.h states them: each sample's mean over its pixels or numbers, [N]."""

import torch
import torch.nn.functional as F


def distributions(targets, classes, smoothing, dtype):
    given = F.one_hot(targets, classes).to(dtype) if targets.dtype == torch.int64 else targets.to(dtype)
    return given * (1 - smoothing) + smoothing / classes


def classes_loss(logits, targets, o, focal):
    t = distributions(targets, logits.shape[-1], o.get("label_smoothing", 0), logits.dtype)
    log_p = torch.log_softmax(logits, -1)
    factor = o.get("alpha", 0.25) * (1 - log_p.exp()) ** o.get("gamma", 2) if focal else 1
    return -(factor * t * log_p).sum(-1)


def binary_loss(x, targets, o, focal):
    given = targets.to(x.dtype).reshape(x.shape)
    s = o.get("label_smoothing", 0)
    t = given * (1 - s) + s / 2
    entropy = -t * F.logsigmoid(x) - (1 - t) * F.logsigmoid(-x)
    if not focal:
        return entropy
    p = torch.sigmoid(x)
    right = t * p + (1 - t) * (1 - p)
    alpha = o.get("alpha", 0.25)
    balance = t * alpha + (1 - t) * (1 - alpha) if o.get("apply_class_balancing") else 1
    return balance * (1 - right) ** o.get("gamma", 2) * entropy


def huber_loss(x, t, delta):
    d = (x - t).abs()
    return torch.where(d <= delta, d * d / 2, delta * (d - delta / 2))


def loss(name, options, before, output, targets):
    """`before` is what the last activation takes."""
    o = options
    taken = output if o.get("from_logits") else before
    if name in ("sparse_categorical_crossentropy", "categorical_crossentropy"):
        each = classes_loss(taken, targets, o, False)
    elif name == "categorical_focal_crossentropy":
        each = classes_loss(taken, targets, o, True)
    elif name in ("binary_crossentropy", "binary_focal_crossentropy"):
        each = binary_loss(taken, targets, o, "focal" in name)
    elif name in ("mse", "mean_squared_error"):
        each = (output - targets) ** 2
    elif name in ("mae", "mean_absolute_error"):
        each = (output - targets).abs()
    else:
        each = huber_loss(output, targets, o.get("delta", 1))
    return each.reshape(len(output), -1).mean(1)
