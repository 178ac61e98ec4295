"""Training-step throughput on the CPU, side by side: each side is a process that runs steps on request, and the sides
take turns, so that a slow spell of a shared machine hits both. Prints a line a case: the median ratio, its range, both
sides' median images a second, and the ratio of peak memory, of whole processes; and how much of the cores' fp32 peak we
reach, where convolutions count as direct ones. Peers that are not installed are named.

usage: cpu.py BUILD_FOLDER ROUNDS [CASES]     CASES: a pattern such as 'resnet*'
"""

import fnmatch
import importlib.metadata
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

BUILD, ROUNDS = Path(sys.argv[1]), int(sys.argv[2])
PATTERN = sys.argv[3] if len(sys.argv) > 3 else "*"
CORES = len(os.sched_getaffinity(0))
HERE = Path(__file__).parent

# Steps a round: enough for a second or two.
CASES = [("seed_cnn", "224x224x3", 32, 3), ("lenet5", "28x28x1", 64, 400), ("resnet18", "32x32x3", 64, 2),
         ("resnet50", "224x224x3", 16, 1), ("mobilenet_v2", "224x224x3", 16, 1)]
# What has a model of its own there.
KERAS = JAX = ("seed_cnn", "lenet5")


class Side:
    """One or more processes that run `steps` steps when asked; together they do `images` images a step."""

    def __init__(self, name, images, steps, *commands):
        self.name, self.images, self.steps = name, images, steps
        self.processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                           stderr=subprocess.DEVNULL, text=True) for command in commands]
        self.rates = []
        self.measure()  # the first time makes kernels, compiles, warms caches
        self.rates.clear()

    def ask(self, request):
        for process in self.processes:
            process.stdin.write(f"{request}\n")
            process.stdin.flush()
        answers = []
        for process in self.processes:
            line = process.stdout.readline()
            if not line:
                raise SystemExit(f"{self.name} ended without an answer: {process.args}")
            answers.append(float(line))
        return answers

    def measure(self):
        # What the side before still does is not ours (JAX computed for 0.12 s after its answer), nor are cold caches.
        time.sleep(0.3)
        self.ask(1)
        self.rates.append(self.images * self.steps / max(self.ask(self.steps)))

    def memory(self):
        """Peak of all processes together, MiB."""
        return sum(self.ask("memory")) / 2**20

    def share_of_peak(self):
        """Of what `CORES` cores could compute meanwhile: of our side, where each rank has a core."""
        flops, peak = (self.ask(request)[0] for request in ("flops", "peak"))
        rate = flops * CORES * statistics.median(self.rates) / self.images
        return f"{rate / 1e9:.0f} GFLOP/s, {rate / (peak * CORES):.0%} of fp32 peak ({peak * CORES / 1e9:.0f} GFLOP/s)"

    def stop(self):
        for process in self.processes:
            process.stdin.close()
            process.wait()


def lockstep(model, image, batch, ranks, *more):
    return [str(BUILD / "benchmark_step"), "--model", model, "--image", image, "--batch", str(batch), "--ranks",
            str(ranks), "--threads", "1", *more]


def installed(*packages):
    """Versions, or None where one is missing."""
    try:
        return ", ".join(f"{package} {importlib.metadata.version(package)}" for package in packages)
    except importlib.metadata.PackageNotFoundError:
        return None


def peer(script, *arguments):
    return [sys.executable, str(HERE / script), *map(str, arguments)]


def peers(model, image, batch, steps):
    """Every way in which another framework trains this model."""
    sides = [Side(f"PyTorch {mode}", batch, steps, peer("pytorch_peer.py", model, image, batch, CORES, mode))
             for mode in ("eager", "compile")]
    if model in KERAS and installed("tensorflow-cpu"):
        sides += [Side(f"Keras {mode}", batch, steps, peer("keras_peer.py", model, image, batch, CORES, mode))
                  for mode in ("fit", "jit")]
    if model in JAX and installed("jax"):
        sides.append(Side("JAX", batch, steps, peer("jax_peer.py", model, image, batch)))
    return sides


def compare(title, ours, others, peak=False):
    """Interleaves, and prints a line for the fastest side of each framework, and one for our share of the peak."""
    for _ in range(ROUNDS):
        for side in (ours, *others):
            side.measure()
    fastest = {}
    for side in others:
        kind = side.name.split()[0]
        if kind not in fastest or statistics.median(side.rates) > statistics.median(fastest[kind].rates):
            fastest[kind] = side
    for best in fastest.values():
        ratios = sorted(a / b for a, b in zip(ours.rates, best.rates))
        print(f"{title}: ratio {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}, {ROUNDS} rounds), "
              f"{ours.name} {statistics.median(ours.rates):.0f} images/s, "
              f"{best.name} {statistics.median(best.rates):.0f} images/s; memory {ours.memory() / best.memory():.2f} "
              f"({ours.memory():.0f} / {best.memory():.0f} MiB)", flush=True)
    if peak:
        print(f"{title}: {ours.name} {ours.share_of_peak()}", flush=True)
    for side in (ours, *others):
        side.stop()


def main():
    version = subprocess.run([BUILD / "lockstep", "version"], capture_output=True, text=True, check=True).stdout
    print(version, end="")
    print(f"  python         {platform.python_version()}, {CORES} cores")
    for packages in (("torch",), ("tensorflow-cpu", "keras"), ("jax", "jaxlib")):
        print(f"  peer           {installed(*packages) or packages[0] + ' is not installed'}")
    print()
    for model, image, batch, steps in CASES:
        if not fnmatch.fnmatch(model, PATTERN):
            continue
        name = f"{model} {image} batch {batch}, {CORES} cores"
        compare(f"{name}, against others", Side("lockstep", batch, steps, lockstep(model, image, batch, CORES)),
                peers(model, image, batch, steps), peak=True)
        half = lockstep(model, image, batch // 2, 1, "--lanes", "4")
        compare(f"{name}, 2 ranks against two independent runs of {batch // 2}",
                Side("2 ranks", batch, steps, lockstep(model, image, batch, 2)),
                [Side("two runs", batch, steps, half, half)])
        compare(f"{name}, reproducible against fast",
                Side("reproducible", batch, steps, lockstep(model, image, batch, 2)),
                [Side("fast", batch, steps, lockstep(model, image, batch, 2, "--numerics", "fast"))])


main()
