"""Compares what the program has made of a case with PyTorch's double precision, by the yardstick of what rounding to
single precision does to PyTorch's."""

import math

import numpy as np
import torch
from sklearn import metrics as sk

import modules
from cases import samples
from training import Rounding, train

TIMES = 8  # of the yardstick
FLOOR = 4e-6  # of the largest value of its kind


class Comparison:
    """The truth of a case and its yardsticks."""

    def __init__(self, case, fault=""):
        self.case = case
        self.truth = train(case, fault=fault)
        self.rounded = [train(case, torch.float32, fault=fault)]
        self.rounded += [train(case, noise=Rounding(n, 4), fault=fault) for n in range(3)]

    def look_closer(self):
        """A relu's input near zero may cross it: more yardsticks, and coarser ones, show what that does."""
        self.rounded += [train(self.case, noise=Rounding(100 + n, 4 if n < 12 else 16)) for n in range(24)]

    def quantities(self, found):
        """Everything compared: (kind, name, ours, truth, by yardsticks)."""
        for name, truth in self.truth.changes.items():
            yield "change", name, found.changes[name], truth, [r.changes[name] for r in self.rounded]
        all_ = lambda attribute: [np.array(getattr(r, attribute)) for r in self.rounded]
        yield "loss", "of each step", np.array(found.losses), np.array(self.truth.losses), all_("losses")
        yield "test loss", "", np.array(found.test_loss), np.array(self.truth.test_loss), all_("test_loss")
        yield "probability", "", found.outputs, self.truth.outputs, all_("outputs")

    def differences(self, found):
        """(kind, name, error over what is allowed, error over the largest value), worst first."""
        rows = []
        for kind, name, ours, truth, rounded in self.quantities(found):
            if ours.shape != truth.shape:
                rows.append((kind, f"{name} {ours.shape} for {truth.shape}", math.inf, math.inf))
                continue
            largest = float(np.abs(truth).max(initial=0))
            if kind == "change":  # weights are stored in single precision
                largest = max(largest, 0.05 * float(np.abs(self.truth.weights[name]).max(initial=0)))
            yardstick = max(float(np.abs(r - truth).max(initial=0)) for r in rounded)
            error = float(np.abs(ours - truth).max(initial=0))
            allowed = TIMES * yardstick + FLOOR * largest + 1e-9
            rows.append((kind, name, nan_is_infinite(error / allowed), nan_is_infinite(error / max(largest, 1e-30))))
        return sorted(rows, key=lambda row: -row[2])


def nan_is_infinite(x):
    return math.inf if math.isnan(x) else x


def sklearn_metric(name, case, probabilities):
    """A metric of the test images by scikit-learn."""
    targets = samples(case, "test")[1]
    kind, _, k = name.partition(":")
    binary = probabilities.shape[1] == 1
    predicted = (probabilities[:, 0] > 0.5).astype(int) if binary else probabilities.argmax(1)
    labels = range(max(probabilities.shape[1], 2))
    average = {"average": "binary" if binary else "macro", "zero_division": 0}
    if kind == "accuracy":
        return sk.accuracy_score(targets, predicted)
    if kind == "confusion_matrix":
        return sk.confusion_matrix(targets, predicted, labels=labels).reshape(-1)
    if kind == "top_k":
        if int(k) >= probabilities.shape[1]:
            return 1.0
        if probabilities.shape[1] == 2:
            return sk.accuracy_score(targets, predicted)
        return sk.top_k_accuracy_score(targets, probabilities, k=int(k), labels=labels)
    functions = {"precision": sk.precision_score, "recall": sk.recall_score, "f1_score": sk.f1_score,
                 "mean_iou": sk.jaccard_score}
    return functions[kind](targets, predicted, **average)


def metric_differences(case, metrics, found):
    """Rows as Comparison.differences has: of the program's own probabilities, so that these are exact."""
    rows = []
    for name, ours in metrics.items():
        theirs = np.array(sklearn_metric(name, case, found.outputs))
        error = float(np.abs(ours - theirs).max()) if ours.shape == theirs.shape else math.inf
        rows.append(("metric", name, nan_is_infinite(error / 1e-6), error))
    return rows


def export_difference(case, tensors, found):
    ours = modules.outputs(case, tensors, samples(case, "test")[0])
    error = float(np.abs(ours - found.outputs).max())
    return ("export", "probabilities of the modules", nan_is_infinite(error / 2e-5), error)
