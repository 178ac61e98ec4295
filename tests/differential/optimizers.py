"""Optimizers, schedules, clipping and averages by the papers and documentation that layers/optimizers/ names, on
tensors of any precision. Options are named as on the command line, with '_'."""

import math

import numpy as np
import torch

DEFAULTS = {
    "sgd": {"lr": 0.01, "momentum": 0, "nesterov": 0, "weight_decay": 0},
    "momentum": {"lr": 0.01, "momentum": 0.9, "nesterov": 0, "weight_decay": 0},
    "adam": {"lr": 1e-3, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7, "weight_decay": 0},
    "adamw": {"lr": 1e-3, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7, "weight_decay": 4e-3},
    "rmsprop": {"lr": 1e-3, "rho": 0.9, "momentum": 0, "epsilon": 1e-7, "centered": 0, "weight_decay": 0},
    "adagrad": {"lr": 1e-3, "initial_accumulator_value": 0.1, "epsilon": 1e-7, "weight_decay": 0},
    "lars": {"lr": 0.01, "momentum": 0.9, "weight_decay": 1e-4, "eeta": 1e-3, "epsilon": 0},
    "lamb": {"lr": 1e-3, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-6, "weight_decay": 0},
}


def single(value):
    """As Lockstep keeps options: in single precision."""
    return float(np.float32(value))


def half_cosine(a, b, done):
    return b + (a - b) * (1 + math.cos(math.pi * done)) / 2


def rate(options, lr, step, steps):
    """The schedule's learning rate of a step, from 0."""
    kind, warmup = options.get("schedule", "constant"), options.get("warmup", 0)
    if step < warmup:
        return lr * (step + 1) / warmup
    now, all_ = step - warmup, max(steps - warmup, 1)
    done, last = now / all_, options.get("final_lr", 0)
    length = options.get("decay_steps", 0) or all_
    if kind == "step":
        return lr * (1 if done < 0.5 else 0.1 if done < 0.75 else 0.01)
    if kind == "linear":
        return lr + (last - lr) * done
    if kind == "cosine":
        return half_cosine(lr, last, done)
    if kind == "polynomial":
        return (lr - last) * (1 - done) ** options.get("power", 1) + last
    if kind == "exponential":
        return lr * options.get("decay_rate", 0.96) ** (now / length)
    if kind == "cosine_restarts":
        while now >= length:
            now, length = now - length, length * options.get("t_mul", 2)
        return half_cosine(lr, last, now / length)
    if kind == "one_cycle":  # torch.optim.lr_scheduler.OneCycleLR, whose phases end at these steps
        first = lr / options.get("div_factor", 25)
        end = first / options.get("final_div_factor", 1e4)
        top = options.get("pct_start", 0.3) * all_ - 1
        if now <= top:
            return half_cosine(first, lr, now / top) if top > 0 else lr
        return half_cosine(lr, end, (now - top) / (all_ - 1 - top)) if all_ - 1 > top else end
    return lr


def clip(gradients, options):
    if limit := options.get("clipvalue"):
        return {k: g.clamp(-single(limit), single(limit)) for k, g in gradients.items()}
    if limit := options.get("clipnorm"):
        return {k: g * min(1, single(limit) / max(float(g.norm()), 1e-300)) for k, g in gradients.items()}
    if limit := options.get("global_clipnorm"):
        norm = math.sqrt(sum(float((g.double() ** 2).sum()) for g in gradients.values()))
        return {k: g * min(1, single(limit) / max(norm, 1e-300)) for k, g in gradients.items()}
    return gradients


class Optimizer:
    def __init__(self, options, fault=""):
        self.kind = options.get("optimizer", "adam")
        self.o = {k: single(options.get(k, v)) for k, v in DEFAULTS[self.kind].items()}
        self.all, self.fault = options, fault
        excludes = options.get("exclude_bias_and_norm")
        self.excludes = self.kind in ("lars", "lamb") if excludes is None else bool(excludes)
        self.state, self.steps, self.slow, self.average = {}, 0, {}, None

    def step(self, weights, gradients, lr):
        """The weights after an update with these mean gradients."""
        gradients = clip(gradients, self.all)
        if self.steps == 0:
            self.slow = dict(weights)
        self.steps += 1
        new = {k: self.one(k, weights[k], g, lr) for k, g in gradients.items()}
        every = self.all.get("lookahead_steps", 0)
        if every and self.steps % every == 0:
            alpha = single(self.all.get("lookahead_alpha", 0.5))
            new = {k: self.slow[k] + alpha * (w - self.slow[k]) for k, w in new.items()}
            self.slow = dict(new)
        if self.all.get("use_ema"):
            m = single(self.all.get("ema_momentum", 0.99)) if self.average else 0
            self.average = {k: w * (1 - m) + (m * self.average[k] if m else 0) for k, w in new.items()}
        return new

    def one(self, name, w, g, lr):
        s = self.state.setdefault(name, {})
        adapts = not (self.excludes and w.dim() == 1)
        decay = self.o["weight_decay"] if adapts else 0
        compute = {"momentum": self.sgd, "adamw": self.adam}.get(self.kind) or getattr(self, self.kind)
        return compute(w, g, lr, s, decay, adapts)

    def sgd(self, w, g, lr, s, decay, _):
        g = g + decay * w
        momentum = self.o["momentum"]
        if momentum:
            s["v"] = momentum * s.get("v", 0) + g
            g = g + momentum * s["v"] if self.o["nesterov"] else s["v"]
        return w - lr * g

    def moments(self, g, s):
        """Adam's, corrected."""
        b1, b2 = self.o["beta_1"], self.o["beta_2"]
        s["m"] = b1 * s.get("m", 0) + (1 - b1) * g
        s["v"] = b2 * s.get("v", 0) + (1 - b2) * g * g
        return s["m"] / (1 - b1**self.steps), s["v"] / (1 - b2**self.steps)

    def adam(self, w, g, lr, s, decay, _):
        if self.kind == "adam":
            g = g + decay * w
        else:
            w = w * (1 - lr * decay)
        m, v = self.moments(g, s)
        if self.fault == "epsilon":
            return w - lr * m / torch.sqrt(v + self.o["epsilon"])
        return w - lr * m / (torch.sqrt(v) + self.o["epsilon"])

    def lamb(self, w, g, lr, s, decay, adapts):
        m, v = self.moments(g, s)
        u = m / (torch.sqrt(v) + self.o["epsilon"]) + decay * w
        ratio = float(w.norm()) / float(u.norm()) if adapts and float(w.norm()) > 0 and float(u.norm()) > 0 else 1
        return w - lr * ratio * u

    def lars(self, w, g, lr, s, decay, adapts):
        ratio, norm, of_g = 1, float(w.norm()), float(g.norm())
        if adapts and norm > 0 and of_g > 0:
            ratio = self.o["eeta"] * norm / (of_g + decay * norm + self.o["epsilon"])
        s["v"] = self.o["momentum"] * s.get("v", 0) + lr * ratio * (g + decay * w)
        return w - s["v"]

    def adagrad(self, w, g, lr, s, decay, _):
        g = g + decay * w
        s["a"] = s.get("a", self.o["initial_accumulator_value"]) + g * g
        return w - lr * g / (torch.sqrt(s["a"]) + self.o["epsilon"])

    def rmsprop(self, w, g, lr, s, decay, _):
        g = g + decay * w
        rho = self.o["rho"]
        s["v"] = rho * s.get("v", 0) + (1 - rho) * g * g
        variance = s["v"]
        if self.o["centered"]:
            s["a"] = rho * s.get("a", 0) + (1 - rho) * g
            variance = torch.clamp(variance - s["a"] ** 2, min=0)
        d = g / (torch.sqrt(variance) + self.o["epsilon"])
        if self.o["momentum"]:
            d = s["b"] = self.o["momentum"] * s.get("b", 0) + d
        return w - lr * d
