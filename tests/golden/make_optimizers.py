"""Makes optimizers.json: ten steps of the network with branches under every optimizer, in double precision. Where PyTorch has
the optimizer it is PyTorch's; LARS, LAMB, Lookahead and the average of weights are written out from their papers.

usage: make_optimizers.py > optimizers.json        (versions used are written into the file)
"""

import json
import platform

import torch
from make_golden import Branches, run


class Wrapped:
    """Calls something before and behind the steps of an optimizer."""

    def __init__(self, optimizer, before=lambda: None, behind=lambda: None):
        self.optimizer, self.before, self.behind = optimizer, before, behind

    def zero_grad(self):
        self.optimizer.zero_grad()

    def step(self):
        with torch.no_grad():
            self.before()
            self.optimizer.step()
            self.behind()


class Lars:
    """You et al., arXiv:1708.03888, algorithm 1; one dimension: neither adapted nor decayed."""

    def __init__(self, parameters, lr, momentum=0.9, decay=1e-4, eeta=0.001):
        self.parameters, self.lr, self.momentum, self.decay, self.eeta = parameters, lr, momentum, decay, eeta
        self.velocity = [torch.zeros_like(p) for p in parameters]

    def zero_grad(self):
        for p in self.parameters:
            p.grad = None

    @torch.no_grad()
    def step(self):
        for p, v in zip(self.parameters, self.velocity):
            rate, g = self.lr, p.grad
            if p.dim() > 1:
                rate *= self.eeta * p.norm() / (g.norm() + self.decay * p.norm())
                g = g + self.decay * p
            v.mul_(self.momentum).add_(rate * g)
            p.sub_(v)


class Lamb(Lars):
    """You et al., ICLR 2020, algorithm 2."""

    def __init__(self, parameters, lr, betas=(0.9, 0.999), decay=0.0, eps=1e-6):
        super().__init__(parameters, lr)
        self.betas, self.decay, self.eps, self.t = betas, decay, eps, 0
        self.m, self.v = ([torch.zeros_like(p) for p in parameters] for _ in range(2))

    @torch.no_grad()
    def step(self):
        self.t += 1
        b1, b2 = self.betas
        for p, m, v in zip(self.parameters, self.m, self.v):
            m.mul_(b1).add_((1 - b1) * p.grad)
            v.mul_(b2).add_((1 - b2) * p.grad**2)
            u = m / (1 - b1**self.t) / ((v / (1 - b2**self.t)).sqrt() + self.eps)
            ratio = 1
            if p.dim() > 1:
                u = u + self.decay * p
                ratio = p.norm() / u.norm()
            p.sub_(self.lr * ratio * u)


def sgd(parameters, **options):
    return torch.optim.SGD(parameters, lr=0.05, momentum=0.9, **options)


def lookahead(parameters):
    slow, done = [p.detach().clone() for p in parameters], [0]

    def behind():
        done[0] += 1
        if done[0] % 3 == 0:
            for p, s in zip(parameters, slow):
                s.add_(0.4 * (p - s))
                p.copy_(s)

    return Wrapped(sgd(parameters), behind=behind)


def averaged(parameters):
    """What is left in the end are the averages; as in Keras the first step's momentum is 0."""
    averages, done = [torch.zeros_like(p) for p in parameters], [0]

    def behind():
        momentum = 0.9 if done[0] else 0
        done[0] += 1
        for p, average in zip(parameters, averages):
            average.mul_(momentum).add_((1 - momentum) * p)
            if done[0] == 10:
                p.copy_(average)

    return Wrapped(sgd(parameters), behind=behind)


def clipped(clip):
    return lambda parameters: Wrapped(sgd(parameters), before=lambda: clip(parameters))


def each_norm(parameters):
    for p in parameters:
        torch.nn.utils.clip_grad_norm_([p], 0.1)


def decayed_but_biases(parameters):
    return torch.optim.AdamW([{"params": [p for p in parameters if p.dim() > 1], "weight_decay": 0.5},
                              {"params": [p for p in parameters if p.dim() == 1], "weight_decay": 0}], lr=0.01, eps=1e-7)


def penalty(parameters):
    return sum(0.001 * parameters[name].abs().sum() + 0.01 * (parameters[name]**2).sum()
               for name in ("mix/kernel", "out/kernel"))


CASES = {
    "nesterov": lambda p: sgd(p, nesterov=True),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, eps=1e-7, weight_decay=0.5),
    "adamw_but_biases": decayed_but_biases,
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.003, alpha=0.9, eps=1e-3, weight_decay=0.01),
    "rmsprop_centered": lambda p: torch.optim.RMSprop(p, lr=0.003, alpha=0.9, eps=1e-3, momentum=0.9, centered=True),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.05, initial_accumulator_value=0.1, eps=1e-7),
    "lars": lambda p: Lars(p, lr=2.0, decay=0.01),
    "lamb": lambda p: Lamb(p, lr=0.01, decay=0.1),
    "lookahead": lookahead,
    "ema": averaged,
    "clipvalue": clipped(lambda p: torch.nn.utils.clip_grad_value_(p, 0.01)),
    "clipnorm": clipped(each_norm),
    "global_clipnorm": clipped(lambda p: torch.nn.utils.clip_grad_norm_(p, 0.3)),
}


def thinned(result):
    """Every fifth value is enough."""
    rounded = {name: [float(f"{value:.9g}") for value in values[::5]] for name, values in result["variables"].items()}
    return {"losses": result["losses"], "variables": rounded}


def schedule(make, lr=0.1, steps=20):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    scheduler, rates = make(optimizer, steps), []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


schedulers = torch.optim.lr_scheduler
cases = {name: thinned(run(Branches(), make)) for name, make in CASES.items()}
cases["penalty"] = thinned(run(Branches(), sgd, penalty))
print(json.dumps({
    "made_by": f"tests/golden/make_optimizers.py, PyTorch {torch.__version__}, Python {platform.python_version()}",
    "cases": cases,
    "schedules": {
        "cosine": schedule(lambda o, n: schedulers.CosineAnnealingLR(o, n, eta_min=0.01)),
        "polynomial": schedule(lambda o, n: schedulers.PolynomialLR(o, n, power=2)),
        "linear": schedule(lambda o, n: schedulers.LinearLR(o, 1.0, 0.1, n)),
        "exponential": schedule(lambda o, n: schedulers.ExponentialLR(o, 0.9)),
        "cosine_restarts": schedule(lambda o, n: schedulers.CosineAnnealingWarmRestarts(o, 3, 2, eta_min=0.001)),
        "one_cycle": schedule(lambda o, n: schedulers.OneCycleLR(o, 0.1, n, cycle_momentum=False)),
    },
}))
