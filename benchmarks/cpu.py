"""Training-step throughput on the CPU, side by side: each side is a process that runs steps on request, and the sides
take turns, so that a slow spell of a shared machine hits both. Prints a line a case: the median ratio, its range, and
both sides' median images a second.

usage: cpu.py BUILD_FOLDER ROUNDS
"""

import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

import torch

BUILD, ROUNDS = Path(sys.argv[1]), int(sys.argv[2])
PEER = Path(__file__).with_name("pytorch_peer.py")
CORES = len(os.sched_getaffinity(0))


class Side:
    """One or more processes that run `steps` steps when asked; together they do `images` images a step."""

    def __init__(self, name, images, steps, *commands):
        self.name, self.images, self.steps = name, images, steps
        self.processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                           stderr=subprocess.DEVNULL, text=True) for command in commands]
        self.rates = []
        self.measure()  # the first time makes kernels, compiles, warms caches
        self.rates.clear()

    def measure(self):
        for process in self.processes:
            process.stdin.write(f"{self.steps}\n")
            process.stdin.flush()
        seconds = []
        for process in self.processes:
            line = process.stdout.readline()
            if not line:
                raise SystemExit(f"{self.name} ended without an answer: {process.args}")
            seconds.append(float(line))
        self.rates.append(self.images * self.steps / max(seconds))

    def stop(self):
        for process in self.processes:
            process.stdin.close()
            process.wait()


def lockstep(model, image, batch, ranks, *more):
    return [str(BUILD / "benchmark_step"), "--model", model, "--image", image, "--batch", str(batch), "--ranks",
            str(ranks), "--threads", "1", *more]


def pytorch(model, image, batch, mode):
    return [sys.executable, str(PEER), model, image, str(batch), str(CORES), mode]


def compare(title, ours, others):
    """Interleaves; the other side is the fastest of `others`."""
    for _ in range(ROUNDS):
        for side in (ours, *others):
            side.measure()
    best = max(others, key=lambda side: statistics.median(side.rates))
    ratios = sorted(a / b for a, b in zip(ours.rates, best.rates))
    print(f"{title}: ratio {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}, {ROUNDS} rounds), "
          f"{ours.name} {statistics.median(ours.rates):.0f} images/s, "
          f"{best.name} {statistics.median(best.rates):.0f} images/s", flush=True)
    for side in (ours, *others):
        side.stop()


def main():
    version = subprocess.run([BUILD / "lockstep", "version"], capture_output=True, text=True, check=True).stdout
    print(version, end="")
    print(f"  pytorch        {torch.__version__}, python {platform.python_version()}, {CORES} cores\n")
    cases = [("seed_cnn", "224x224x3", 32, 2), ("lenet5", "28x28x1", 64, 400)]
    for model, image, batch, steps in cases:
        ours = Side("lockstep", batch, steps, lockstep(model, image, batch, CORES))
        peers = [Side(f"PyTorch {mode}", batch, steps, pytorch(model, image, batch, mode))
                 for mode in ("eager", "compile")]
        compare(f"{model} {image} batch {batch}, {CORES} cores, against PyTorch", ours, peers)
    for model, image, batch, steps in cases:
        half = lockstep(model, image, batch // 2, 1, "--lanes", "4")
        compare(f"{model} {image}, 2 ranks of batch {batch} against two independent runs of {batch // 2}",
                Side("2 ranks", batch, steps, lockstep(model, image, batch, 2)),
                [Side("two runs", batch, steps, half, half)])
        compare(f"{model} {image} batch {batch}, reproducible against fast, 2 ranks",
                Side("reproducible", batch, steps, lockstep(model, image, batch, 2)),
                [Side("fast", batch, steps, lockstep(model, image, batch, 2, "--numerics", "fast"))])


main()
