"""Makes losses.json: values and gradients of losses, and metrics, in PyTorch and in plain Python, from inputs given by
formulas. In double precision.

usage: make_losses.py > losses.json        (versions used are written into the file)
"""

import json
import math
import platform

import torch
import torch.nn.functional as F

SAMPLES, CLASSES = 6, 5


def wave(count, frequency, phase):
    return torch.tensor([math.sin(frequency * i + phase) for i in range(count)], dtype=torch.float32).double()


LOGITS = 3 * wave(SAMPLES * CLASSES, 0.7, 0.3).reshape(SAMPLES, CLASSES)
LABELS = torch.tensor([(i * 7 + 3) % CLASSES for i in range(SAMPLES)])
WEIGHTS = F.softmax(wave(SAMPLES * CLASSES, 1.3, 1.0).reshape(SAMPLES, CLASSES), 1).float().double()
VALUES = 2 * wave(SAMPLES * CLASSES, 0.9, 2.0).reshape(SAMPLES, CLASSES)
BITS = (wave(SAMPLES * CLASSES, 2.1, 0.5).reshape(SAMPLES, CLASSES) > 0).double()


def smooth(targets, amount, classes):
    return targets * (1 - amount) + amount / classes


def categorical(x, t):
    return F.cross_entropy(x, t, reduction="sum")


def categorical_focal(x, t, alpha, gamma):  # Keras' categorical_focal_crossentropy
    p = F.softmax(x, 1)
    return (alpha * (1 - p) ** gamma * -t * F.log_softmax(x, 1)).sum()


def binary(x, t):
    return F.binary_cross_entropy_with_logits(x, t, reduction="none").mean(1).sum()


def binary_focal(x, t, gamma, alpha=None):  # Keras' binary_focal_crossentropy
    p = torch.sigmoid(x)
    right = t * p + (1 - t) * (1 - p)
    weight = 1 if alpha is None else t * alpha + (1 - t) * (1 - alpha)
    return (weight * (1 - right) ** gamma * F.binary_cross_entropy_with_logits(x, t, reduction="none")).mean(1).sum()


def both(loss, x, targets):
    x = x.clone().requires_grad_()
    value = loss(x, targets)
    value.backward()
    return {"sum": value.item(), "gradient": x.grad.flatten().tolist()}


LOSSES = {
    "sparse_categorical_crossentropy": both(lambda x, t: F.cross_entropy(x, t, reduction="sum"), LOGITS, LABELS),
    "categorical_crossentropy": both(categorical, LOGITS, WEIGHTS),
    "categorical_crossentropy smoothed 0.1": both(lambda x, t: categorical(x, smooth(t, 0.1, CLASSES)), LOGITS, WEIGHTS),
    "categorical_focal_crossentropy": both(lambda x, t: categorical_focal(x, t, 0.25, 2), LOGITS, WEIGHTS),
    "categorical_focal_crossentropy gamma 0.5": both(lambda x, t: categorical_focal(x, t, 1, 0.5), LOGITS, WEIGHTS),
    "binary_crossentropy": both(binary, LOGITS, BITS),
    "binary_crossentropy smoothed 0.2": both(lambda x, t: binary(x, smooth(t, 0.2, 2)), LOGITS, BITS),
    "binary_focal_crossentropy": both(lambda x, t: binary_focal(x, t, 2), LOGITS, BITS),
    "binary_focal_crossentropy balanced": both(lambda x, t: binary_focal(x, t, 1.5, 0.3), LOGITS, BITS),
    "mean_squared_error": both(lambda x, t: F.mse_loss(x, t, reduction="none").mean(1).sum(), LOGITS, VALUES),
    "mean_absolute_error": both(lambda x, t: F.l1_loss(x, t, reduction="none").mean(1).sum(), LOGITS, VALUES),
    "huber delta 0.7": both(lambda x, t: F.huber_loss(x, t, reduction="none", delta=0.7).mean(1).sum(), LOGITS, VALUES),
}


def of_classes(predicted, actual, classes):
    matrix = [[0] * classes for _ in range(classes)]
    for a, p in zip(actual, predicted):
        matrix[a][p] += 1
    per_class = []
    for k in range(classes):
        right, guessed, there = matrix[k][k], sum(row[k] for row in matrix), sum(matrix[k])
        if guessed + there == 0:
            continue
        share = lambda part, of: part / of if of else 0.0
        per_class.append([share(right, guessed), share(right, there), share(2 * right, guessed + there),
                          share(right, guessed + there - right)])
    means = [sum(column) / len(per_class) for column in zip(*per_class)]
    return matrix, dict(zip(["precision", "recall", "f1_score", "mean_iou"], means)), per_class


def metrics():
    predicted, actual = LOGITS.argmax(1).tolist(), LABELS.tolist()
    matrix, means, _ = of_classes(predicted, actual, CLASSES)
    top = lambda k: sum(t in row for row, t in zip(LOGITS.topk(k, 1).indices.tolist(), actual)) / SAMPLES
    classes = {"accuracy": top(1), "top_k:3": top(3), "confusion_matrix": sum(matrix, []), **means}
    bits, guesses = BITS.flatten().long().tolist(), (LOGITS > 0).flatten().long().tolist()
    matrix, means, per_class = of_classes(guesses, bits, 2)
    binary_ = {"accuracy": sum(a == b for a, b in zip(bits, guesses)) / len(bits), "confusion_matrix": sum(matrix, []),
               "precision": per_class[1][0], "recall": per_class[1][1], "f1_score": per_class[1][2],
               "mean_iou": means["mean_iou"]}
    return {"sparse_categorical_crossentropy": classes, "binary_crossentropy": binary_,
            "huber": {"mse": F.mse_loss(LOGITS, VALUES).item(), "mae": F.l1_loss(LOGITS, VALUES).item()}}


print(json.dumps({
    "made_by": f"tests/golden/make_losses.py, PyTorch {torch.__version__}, Python {platform.python_version()}",
    "losses": LOSSES,
    "metrics": metrics(),
}))
