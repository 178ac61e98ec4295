"""Makes tests/golden/differential.json, which tests/launch/train/differential_golden_test.cpp reads: some networks, drawn so that
every layer, optimizer, schedule and loss is there, and what PyTorch in double precision makes of them.

Of each variable's change it keeps four sums with random signs, and how far each may be off: a wrong element shows in
all of them. Images, targets and first weights come from formulas that both sides have (randoms.py)."""

import json
import math
import random

import numpy as np
import torch

from cases import draw_case
from compare import FLOOR, TIMES, Comparison
from networks import draw_network
from randoms import DATA, Random, name_hash
from training import Rounding, train

SUMS = 4
SMALL = 25000  # values in a batch, so that the test is fast

# Losses and targets that no data of the command line has.
TASKS = [
    ("mse", {}, "numbers", "linear"),
    ("mae", {}, "numbers", "linear"),
    ("huber", {"delta": 0.4}, "numbers", "linear"),
    ("binary_crossentropy", {"label_smoothing": 0.1}, "bits", "sigmoid"),
    ("binary_focal_crossentropy", {"apply_class_balancing": True, "alpha": 0.3, "gamma": 1.5}, "bits", "sigmoid"),
    ("binary_crossentropy", {"from_logits": True}, "bits", "linear"),
    ("sparse_categorical_crossentropy", {"from_logits": True}, "class", "linear"),
    ("categorical_focal_crossentropy", {"alpha": 0.5, "gamma": 3.0, "label_smoothing": 0.1}, "class", "softmax"),
    ("sparse_categorical_crossentropy", {}, "pixels", "softmax"),
    ("categorical_crossentropy", {"label_smoothing": 0.2}, "pixels", "softmax"),
]


def draw_task(seed, task):
    loss, options, targets, end = task
    case = draw_case(seed)
    r = random.Random(-1 - seed)
    image, classes = case["data"]["shape"], r.randint(2, 6)
    case["data"] |= {"classes": classes, "targets": targets if targets != "pixels" else "classes"}
    case["model"], output = draw_network(r, image, classes, end, images=targets == "pixels")
    case["data"]["target_shape"] = output if targets in ("numbers", "bits") else output[:-1]
    case["options"] = {k: v for k, v in case["options"].items() if k not in ("label_smoothing", "metrics")}
    case["options"] |= {"loss": loss, "loss_options": options}
    return case


def signs(name, elements):
    return 1 - 2 * (Random(0, DATA, name_hash("sign " + name)).bits(range(SUMS), elements) & np.uint64(1)).astype(float)


def digest(name, truth, rounded, floor):
    """Sums, and what each may be off by."""
    by = signs(name, truth.size)
    sums = by @ truth.reshape(-1)
    yardstick = max(float(np.abs(by @ r.reshape(-1) - sums).max()) for r in rounded)
    allowed = TIMES * yardstick + FLOOR * floor * math.sqrt(truth.size) + 1e-8
    return {"sums": [float(f"{x:.9g}") for x in sums], "allowed": float(f"{allowed:.3g}")}, yardstick / max(
        float(np.abs(sums).max()), 1e-30)


def near_a_kink(comparison):
    """Whether four times the rounding makes much more than four times the difference: then a relu's input, say, is so
    near zero that another processor's rounding may have it on the other side."""
    fine, coarse = ([train(comparison.case, noise=Rounding(200 + n, units)) for n in range(12)] for units in (4, 16))
    comparison.rounded += fine
    largest = lambda runs, name, truth: max(float(np.abs(r.changes[name] - truth).max()) for r in runs)
    return any(largest(coarse, name, truth) > 10 * largest(fine, name, truth) + 1e-7
               for name, truth in comparison.truth.changes.items())


def golden(case):
    """The case with its digests, and the yardstick's largest share of a variable's sums."""
    comparison = Comparison(case)
    if near_a_kink(comparison):
        return None, math.inf
    changes, worst = {}, 0.0
    for name, truth in comparison.truth.changes.items():
        floor = max(float(np.abs(truth).max()), 0.05 * float(np.abs(comparison.truth.weights[name]).max()))
        changes[name], share = digest(name, truth, [r.changes[name] for r in comparison.rounded], floor)
        worst = max(worst, share)
    outputs = comparison.truth.outputs
    expected = {"changes": changes, "losses": [float(f"{x:.9g}") for x in comparison.truth.losses]}
    errors = [abs(a - b) for r in comparison.rounded for a, b in zip(r.losses, comparison.truth.losses)]
    expected["losses_allowed"] = float(f"{TIMES * max(errors) + FLOOR * max(comparison.truth.losses) + 1e-8:.3g}")
    expected["outputs"], share = digest("outputs", outputs, [r.outputs for r in comparison.rounded],
                                        float(np.abs(outputs).max()))
    options = {k: v for k, v in case["options"].items() if k not in ("metrics", "normalise")}
    return {"seed": case["seed"], "model": case["model"], "data": case["data"], "options": options,
            "expected": expected}, max(worst, share)


def words(case):
    """What a case has that others may not have."""
    o = case["options"]
    found = {layer["type"] for layer in case["model"]["layers"]}
    found |= {o["loss"] + str(o.get("loss_options", "")), o["optimizer"], "schedule " + o.get("schedule", "constant")}
    found |= {k for k in o if k in ("accumulate", "use_ema", "lookahead_steps", "clipnorm", "clipvalue",
                                    "global_clipnorm", "nesterov", "centered", "warmup", "label_smoothing")}
    return found


def small(case):
    o, shape = case["options"], case["data"]["shape"]
    values = math.prod(shape) * o["batch"] * o.get("accumulate", 1)
    return values <= SMALL and len(case["model"]["layers"]) <= 14 and o["normalise"] == "none"


def robust(case):
    """The golden of a case that is small, and where rounding decides little; else None."""
    if not small(case):
        return None
    if case["data"]["samples"] % case["options"]["batch"] == 0:
        case["data"]["samples"] += 1  # a short batch
    made, share = golden(case)
    return made if share <= 0.02 else None


def add(made, chosen, seen):
    chosen.append(made)
    seen |= words(made)


def make(path, known):
    """`known`: how many seeds are looked at for what was not there yet."""
    chosen, seen = [], set()
    for n, task in enumerate(TASKS):
        seeds = range(5000 + 100 * n, 5100 + 100 * n)
        add(next(made for seed in seeds if (made := robust(draw_task(seed, task)))), chosen, seen)
    drawn = [draw_case(seed) for seed in range(7000, 7000 + known)]
    for least, case in [(4, case) for case in drawn] + [(1, case) for case in drawn]:  # first those with much new
        if len(words(case) - seen) >= least and len(chosen) < 24 and (made := robust(case)):
            add(made, chosen, seen)
    text = json.dumps({"versions": {"torch": torch.__version__, "numpy": np.__version__}, "cases": chosen},
                      separators=(",", ":"), allow_nan=False)
    path.write_text(text.replace('{"seed"', '\n{"seed"') + "\n")
    print(f"{path}: {len(chosen)} networks, {len(text)} bytes; {len(seen)} kinds: {', '.join(sorted(seen))}")
