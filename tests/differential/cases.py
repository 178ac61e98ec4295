"""Draws cases: a network, data, and options of training, all from one seed; and the numbers that they start from."""

import math
import random

import numpy as np

from networks import both, draw_network
from randoms import DATA, Random, name_hash, spread

METRICS = ["accuracy", "precision", "recall", "f1_score", "confusion_matrix"]


def draw_case(seed):
    r = random.Random(seed)
    image = [r.randint(3, 14), r.randint(3, 14), r.choice([1, 1, 2, 3, 3, 4, 5])]
    binary = r.random() < 0.15
    classes = 2 if binary else r.choice([2, 3, 5, 10, 13])
    model, _ = draw_network(r, image, 1 if binary else classes, "sigmoid" if binary else "softmax")
    lanes = r.choice([1, 1, 2, 4, 8])
    batch = lanes * r.randint(2, 5)
    options = {"batch": batch, "lanes": lanes, "seed": r.randrange(1000), "normalise": "none"}
    if r.random() < 0.2:
        options["accumulate"] = r.choice([2, 4])
    whole = batch * options.get("accumulate", 1)
    size = r.randint(max(2, whole // 2), 3 * whole)
    options["steps"] = r.randint(1, 4)
    if r.random() < 0.2:
        options["normalise"] = "/".join(",".join(f"{r.uniform(low, high):.2f}" for _ in range(image[2]))
                                        for low, high in [(-0.5, 0.5), (0.5, 2)])
    draw_loss(r, options, binary, classes)
    draw_optimizer(r, options)
    draw_schedule(r, options)
    case = {"seed": seed, "model": model, "options": options,
            "data": {"samples": size, "test": r.randint(5, 20), "shape": image, "classes": classes}}
    case["placing"] = draw_placing(r, options)
    return case


def number(r, low, high):
    return float(f"{r.uniform(low, high):.3g}")


def draw_loss(r, o, binary, classes):
    if binary:
        o["loss"] = r.choice(["binary_crossentropy", "binary_focal_crossentropy"])
        o["metrics"] = ",".join(r.sample(METRICS, r.randint(1, 4)))
    else:
        o["loss"] = r.choice(["sparse_categorical_crossentropy"] * 2 +
                             ["categorical_crossentropy", "categorical_focal_crossentropy"])
        o["metrics"] = ",".join(r.sample(METRICS + ["mean_iou", f"top_k:{r.randint(1, classes)}"], r.randint(1, 4)))
    if o["loss"] != "sparse_categorical_crossentropy" and r.random() < 0.5:
        o["label_smoothing"] = number(r, 0.05, 0.3)


def draw_optimizer(r, o):
    kind = o["optimizer"] = r.choice(["sgd", "momentum", "adam", "adam", "adamw", "rmsprop", "adagrad", "lars", "lamb"])
    o["lr"] = number(r, *{"sgd": (0.02, 0.3), "momentum": (0.01, 0.1), "lars": (1, 10), "adagrad": (0.01, 0.1)}.get(
        kind, (0.001, 0.01)))
    maybe = lambda p=0.4: r.random() < p
    if kind in ("sgd", "momentum", "rmsprop", "lars") and maybe():
        o["momentum"] = r.choice([0.5, 0.9, 0.95])
    if (kind == "momentum" or kind == "sgd" and "momentum" in o) and maybe():
        o["nesterov"] = True
    if maybe():
        o["weight_decay"] = r.choice([1e-3, 0.01, 0.1])
    if maybe(0.2):
        o["exclude_bias_and_norm"] = r.choice([0, 1])
    if kind in ("adam", "adamw", "lamb") and maybe():
        o["beta_1"], o["beta_2"] = r.choice([0.8, 0.95]), r.choice([0.9, 0.99])
    if kind not in ("sgd", "momentum") and maybe():
        o["epsilon"] = r.choice([1e-3, 1e-5])
    if kind == "rmsprop":
        if maybe():
            o["rho"] = r.choice([0.8, 0.99])
        if maybe():
            o["centered"] = True
            o["epsilon"] = 1e-3  # the difference of two squares is rounded
    if kind == "adagrad" and maybe():
        o["initial_accumulator_value"] = r.choice([0.01, 0.5])
    if kind == "lars" and maybe():
        o["eeta"] = r.choice([0.005, 0.02])
    if maybe():
        name = r.choice(["clipvalue", "clipnorm", "global_clipnorm"])
        o[name] = number(r, 0.001, 0.05) if name == "clipvalue" else number(r, 0.05, 1)
    if maybe(0.2):
        o["lookahead_steps"] = r.choice([1, 2, 3])
        if maybe():
            o["lookahead_alpha"] = 0.8
    if maybe(0.25):
        o["use_ema"] = True
        if maybe(0.7):
            o["ema_momentum"] = r.choice([0.5, 0.9])


def draw_schedule(r, o):
    if r.random() < 0.5:
        return
    kind = o["schedule"] = r.choice(
        ["constant", "step", "linear", "cosine", "polynomial", "exponential", "cosine_restarts", "one_cycle"])
    if r.random() < 0.4:
        o["warmup"] = r.randint(1, 3)
    if kind in ("linear", "cosine", "polynomial", "cosine_restarts") and r.random() < 0.5:
        o["final_lr"] = o["lr"] / 10
    if kind == "polynomial":
        o["power"] = r.choice([0.5, 2])
    if kind == "exponential":
        o["decay_rate"] = r.choice([0.5, 0.9])
    if kind in ("exponential", "cosine_restarts") and r.random() < 0.5:
        o["decay_steps"] = r.randint(1, 3)
    if kind == "cosine_restarts" and r.random() < 0.5:
        o["t_mul"] = r.choice([1, 1.5])
    if kind == "one_cycle" and r.random() < 0.5:
        o["pct_start"], o["div_factor"], o["final_div_factor"] = 0.5, 10, 100


def draw_placing(r, o):
    """How the same is computed: what must not change the results."""
    kind = r.choice(["one", "one", "data", "space_h", "space_w", "filter", "channel", "stage", "shard", "threads",
                     "both", "fast", "recompute"])
    if kind == "one" or kind == "fast" and "accumulate" in o:
        return {"ranks": 1}
    if kind == "recompute":
        return {"ranks": 1, "recompute": "*"}
    if kind == "fast":
        return {"ranks": r.choice([n for n in (1, 2) if o["lanes"] % n == 0]), "numerics": "fast", "threads": 1}
    if kind == "threads":
        return {"ranks": 1, "threads": r.choice([2, 3])}
    if kind in ("data", "shard"):
        ranks = r.choice([n for n in (1, 2, 4) if o["lanes"] % n == 0])
        return {"ranks": ranks, **({"shard_optimizer": True} if kind == "shard" else {})}
    if kind == "both":
        axes = r.sample(["space_h", "space_w", "filter", "channel"], 2)
        return {"strategy": ",".join(f"{axis}=2" for axis in axes), "ranks": 4}
    if kind == "stage":
        return {"strategy": "stage=2", "pipeline": r.choice(["1f1b", "gpipe"])}
    return {"strategy": f"{kind}={r.choice([2, 2, 3])}"}


# Numbers

def samples(case, part):
    """Images [N, H, W, C], single precision, and targets."""
    data, count = case["data"], case["data"]["samples" if part == "train" else "test"]
    images = spread(case["seed"], f"x_{part}", count, math.prod(data["shape"]), 0, 3.4).reshape(count, *data["shape"])
    stream = Random(case["seed"], DATA, name_hash(f"y_{part}"))
    kind = data.get("targets", "class")
    if kind == "class":
        return images, (stream.bits(range(count), 1)[:, 0] % data["classes"]).astype(np.int64)
    shape = data["target_shape"]
    each = math.prod(shape)
    if kind == "numbers":
        return images, stream.uniform(range(count), each).astype(np.float32).reshape(count, *shape)
    labels = stream.bits(range(count), each) % (2 if kind == "bits" else data["classes"])
    return images, labels.reshape(count, *shape).astype(np.int64 if kind == "classes" else np.float32)


def variables(model):
    """Shape, middle and width of each variable's first values, by name."""
    found, shapes = {}, {}
    for i, layer in enumerate(model["layers"]):
        name, kind = layer["name"], layer["type"]
        x = shapes[layer["inputs"][0]] if i else []
        shapes[name] = x
        of = {}
        if kind == "Input":
            shapes[name] = layer["shape"]
        elif kind == "Dense":
            of = {"kernel": [layer["units"], x[0]], "bias": [layer["units"]]}
        elif kind in ("Conv2D", "Conv2DTranspose"):
            k, f, c = both(layer["kernel_size"]), layer["filters"], x[-1]
            of = {"kernel": [f, *k, c // layer.get("groups", 1)] if kind == "Conv2D" else [c, *k, f], "bias": [f]}
        elif kind in ("DepthwiseConv2D", "SeparableConv2D"):
            k, c = both(layer["kernel_size"]), x[-1] * layer.get("depth_multiplier", 1)
            if kind == "DepthwiseConv2D":
                of = {"kernel": [c, *k, 1], "bias": [c]}
            else:
                f = layer["filters"]
                of = {"depthwise_kernel": [c, *k, 1], "pointwise_kernel": [f, 1, 1, c], "bias": [f]}
        elif kind.endswith("Normalization"):
            of = {"gamma": x[-1:], "beta": x[-1:]}
            if kind.startswith("Batch"):
                of.update(moving_mean=x[-1:], moving_variance=x[-1:])
        elif kind == "PReLU":
            shared = len(layer.get("shared_axes", []))
            of = {"alpha": [1] * shared + x[shared:]}
        if not layer.get("use_bias", True):
            of.pop("bias")
        shapes[name] = output_shape(layer, [shapes[n] for n in layer.get("inputs", [])], of) or shapes[name]
        found.update({f"{name}/{part}": shape for part, shape in of.items()})
    return found


def output_shape(layer, inputs, of):
    """Of layers that variables() must follow: found by computing nothing."""
    import torch
    from forward import Step, compute
    if layer["type"] == "Input":
        return None
    with torch.no_grad():
        v = {k: torch.ones(s) for k, s in of.items()}
        return list(compute(layer, 0, [torch.zeros(1, *s) for s in inputs], v, Step(False)).shape[1:])


def initial_weights(case):
    weights = {}
    for name, shape in variables(case["model"]).items():
        part = name.rsplit("/", 1)[1]
        if part.endswith("kernel"):
            fan = math.prod(shape) // shape[0]
            middle, width = 0, math.sqrt(16 / fan)
        else:
            middle, width = {"gamma": (1, 0.6), "moving_variance": (1, 1), "alpha": (0.25, 0.3)}.get(part, (0, 0.6))
        weights[name] = spread(case["seed"], name, 1, math.prod(shape), middle, width).reshape(shape)
    return weights
