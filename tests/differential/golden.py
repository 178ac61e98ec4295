"""Makes tests/golden/differential.json, which tests/differential_golden_test.cpp reads: some networks, drawn so that
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


def golden(case):
    """The case with its digests, and the yardstick's largest share of a variable's sums."""
    comparison = Comparison(case)
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


def make(path, known):
    """`known`: how many seeds are looked at for what was not there yet."""
    chosen, seen = [], set()
    tasks = [next(c for s in range(5000 + 100 * i, 5100 + 100 * i) if small(c := draw_task(s, task)))
             for i, task in enumerate(TASKS)]
    drawn = [case for s in range(7000, 7000 + known) if small(case := draw_case(s))]
    for n, case in enumerate(tasks + drawn + drawn):  # first those that have much that is new
        special = n < len(tasks)
        if not special and len(words(case) - seen) < (4 if n < len(tasks) + len(drawn) else 1):
            continue
        if case["data"]["samples"] % case["options"]["batch"] == 0:
            case["data"]["samples"] += 1  # a short batch
        made, share = golden(case)
        if share > 0.02 and not special:
            continue  # rounding alone decides
        chosen.append(made)
        seen |= words(case)
        if len(chosen) == 24:
            break
    text = json.dumps({"versions": {"torch": torch.__version__, "numpy": np.__version__}, "cases": chosen},
                      separators=(",", ":"))
    path.write_text(text.replace('{"seed"', '\n{"seed"') + "\n")
    print(f"{path}: {len(chosen)} networks, {len(text)} bytes; {len(seen)} kinds: {', '.join(sorted(seen))}")
