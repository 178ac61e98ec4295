"""Training steps on one GPU, side by side with PyTorch and with ourselves in other modes. Each side is a process that
runs steps on request, and the sides take turns. Prints Markdown, a row a comparison: the median ratio, its range, both
sides' median images a second.

usage: bench.py [--seconds N] [--rounds N] [--cases REGEX] [--modes LIST] [--own SHARE] [--kernels FILE]
                [--instead TEXT] BUNDLE
"""

import argparse
import os
import re
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PEER = Path(__file__).with_name("peer.py")
# model, image, classes, batch, precision
CASES = [("resnet50", "224x224x3", 1000, 256, "bf16"), ("resnet50", "224x224x3", 1000, 256, "fp16"),
         ("seed_cnn", "224x224x3", 10, 256, "bf16"), ("lenet5", "28x28x1", 10, 128, "bf16"),
         ("resnet18", "32x32x3", 10, 512, "bf16"), ("resnet50", "224x224x3", 1000, 32, "bf16")]


class Failed(Exception):
    pass


class Side:
    """A process that runs as many steps as it is asked to; it does `images` images a step."""

    running = set()

    def __init__(self, name, images, command):
        self.name, self.images, self.rates, self.steps = name, images, [], 1
        self.stderr = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.stderr,
                                        start_new_session=True)
        Side.running.add(self)

    def ask(self, line, seconds):
        """The number it answers with. Ends the side and throws where there is none in time."""
        try:
            self.process.stdin.write(f"{line}\n".encode())
            self.process.stdin.flush()
            ready, _, _ = select.select([self.process.stdout], [], [], max(seconds, 0))
            answer = self.process.stdout.readline() if ready else b""
            if answer:
                return float(answer)
            why = f"not ready in {seconds:.0f} s" if not ready else self.last_words()
        except (OSError, ValueError) as error:
            why = f"{error}; {self.last_words()}"
        self.stop()
        raise Failed(f"{self.name}: {why}")

    def last_words(self):
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            return "no answer"
        self.stderr.seek(0)
        lines = [line.strip() for line in self.stderr if line.strip()]
        return lines[-1][:200] if lines else f"ended with {self.process.returncode}"

    def prepare(self, seconds, round_seconds=0.6):
        """Warms up, and finds how many steps fill a round."""
        self.ask(3, seconds)
        once = self.ask(3, 60) / 3
        self.steps = max(3, round(round_seconds / once))
        self.measure()
        self.rates.clear()

    def measure(self):
        self.rates.append(self.images * self.steps / self.ask(self.steps, 60))

    def rate(self):
        return statistics.median(self.rates)

    def stop(self):
        if self not in Side.running:
            return
        Side.running.remove(self)
        try:
            os.killpg(self.process.pid, signal.SIGKILL)  # a compiler's workers as well
        except ProcessLookupError:
            pass
        self.process.wait()


class Bench:
    def __init__(self, options):
        self.options, self.end = options, time.monotonic() + options.seconds
        self.copy = self.tree = None  # GB/s of a copy, ms of a tree sum among 8 ranks
        for row in Path(options.kernels).read_text().splitlines() if options.kernels else []:
            cells = [cell.strip() for cell in row.split("|")]
            if cells[1:2] == ["copy of 1 GiB"]:
                self.copy = float(cells[3])
            if cells[1:2] == ["8 ranks"]:
                self.tree = float(cells[2])

    def left(self):
        return self.end - time.monotonic()

    def ours(self, name, case, batch=None, numerics="reproducible", lanes=1, ranks=1):
        model, image, classes, size, precision = case
        batch = batch or size
        arguments = {"model": model, "image": image, "classes": classes, "batch": batch, "precision": precision,
                     "numerics": numerics, "lanes": lanes, "ranks": ranks, "backend": "cuda", "optimizer": "momentum"}
        command = ["bash", "-c", '. "$0/env.sh"; exec "$0/bin/benchmark_step" "$@"', self.options.bundle, "--resident"]
        for key, value in arguments.items():
            command += [f"--{key}", str(value)]
        return Side(name, batch, command)

    def peer(self, case, mode):
        model, image, classes, batch, precision = case
        return Side(f"PyTorch {mode}", batch,
                    [sys.executable, str(PEER), model, image, str(classes), str(batch), precision, mode])

    def fastest_peer(self, case, budget):
        """The fastest of PyTorch's modes, each measured alone, or None; and what is to be said about all."""
        best, notes, end = None, [], time.monotonic() + budget
        # All at once: each imports PyTorch for seconds, and touches the GPU only when it is asked for steps.
        for side in [self.peer(case, mode) for mode in self.options.modes]:
            try:
                if (seconds := end - time.monotonic()) < 5:
                    side.stop()
                    raise Failed(f"{side.name}: skipped, no time")
                side.prepare(seconds)
                for _ in range(3):
                    side.measure()
            except Failed as failure:
                notes.append(str(failure))
                continue
            notes.append(f"{side.name} {side.rate():.0f} images/s alone")
            if best is None or side.rate() > best.rate():
                if best:
                    best.stop()
                best = side
            else:
                side.stop()
        return best, notes

    def compare(self, title, ours, other):
        """Interleaves two sides that are ready and prints their row."""
        for side in (ours, other):
            side.rates.clear()
        for _ in range(self.options.rounds):
            for side in (ours, other):
                side.measure()
        ratios = sorted(a / b for a, b in zip(ours.rates, other.rates))
        print(f"| {title} | {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) | {ours.name} "
              f"{ours.rate():.0f} | {other.name} {other.rate():.0f} |", flush=True)

    def utilisation(self, side):
        """What the card's counters say while the side runs, alone on the card: in words."""
        steps = max(3, round(3 * side.rate() / side.images))
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(side.ask, steps, 60)
            time.sleep(0.5)
            try:
                text = counters(1.5)
            except Exception as error:  # no such package, or counters that this machine does not give
                text = f"the card's counters cannot be read ({type(error).__name__}: {error})"
            running.result()
        return text

    def report_step(self, side):
        """Bytes that our kernels must move, against a copy, and how busy the card is."""
        step = side.images / side.rate()
        try:
            gigabytes = 1e-9 * side.ask("bytes", 30)
            share = f", {gigabytes / step / self.copy:.2f} of a copy's" if self.copy else ""
            text = (f"{gigabytes:.1f} GB a step through our kernels (each input and output once): "
                    f"{gigabytes / step:.0f} GB/s{share}")
            return f"{text}; {self.utilisation(side)}"
        except Failed as failure:
            return str(failure)

    def beside_pytorch(self):
        print("Ratio of images a second, lockstep over the fastest of PyTorch's modes (channels-last, AMP, resident "
              f"synthetic data, SGD with momentum), {self.options.rounds} rounds in turns. Lockstep: reproducible, one "
              "lane on one rank.\n")
        print("| case | ratio | ours, images/s | theirs, images/s |\n|---|---|---|---|", flush=True)
        notes = []
        cases = [case for case in CASES if re.search(self.options.cases, name_of(case))]
        if self.options.instead:
            for case in cases:
                print(f"| {name_of(case)} | {self.options.instead} | | |")
            return
        until = self.end - self.options.own * self.options.seconds
        for index, case in enumerate(cases):
            name, budget = name_of(case), (until - time.monotonic()) / (len(cases) - index)
            if budget < 10:
                notes.append(f"{name}: skipped, no time")
                continue
            try:
                peer, said = self.fastest_peer(case, max(0.6 * budget, budget - 60))
                notes.append(f"{name}: {'; '.join(said)}")
                ours = self.ours("lockstep", case)
                ours.prepare(min(60, budget))
                if peer:
                    self.compare(name, ours, peer)
                    peer.stop()
                else:
                    for _ in range(self.options.rounds):
                        ours.measure()
                    print(f"| {name} | | {ours.name} {ours.rate():.0f} | none |", flush=True)
                notes.append(f"{name}: {self.report_step(ours)}")
            except Failed as failure:
                notes.append(f"{name}: failed: {failure}")
            stop_all()
        print()
        for note in notes:
            print(f"- {note}", flush=True)

    def beside_ourselves(self):
        """What the promise costs, and what small lanes do."""
        case = CASES[0]
        eight, of = 8 * case[3], name_of(case)
        pairs = [
            (f"{of}: 8 lanes of 256, reproducible against fast kernels",
             lambda: self.ours("reproducible", case, batch=eight, lanes=8),
             lambda: self.ours("accumulated", case, batch=eight, lanes=8, numerics="accumulate")),
            (f"{of}: batch 256, 8 lanes of 32 against one of 256",
             lambda: self.ours("8 lanes", case, lanes=8), lambda: self.ours("1 lane", case)),
            (f"{of}: batch 256, 1 lane, reproducible against fast",
             lambda: self.ours("reproducible", case), lambda: self.ours("fast", case, numerics="fast")),
            (f"{of}: batch 256, 8 lanes, 8 ranks on the card against 1",
             lambda: self.ours("8 ranks", case, lanes=8, ranks=8), lambda: self.ours("1 rank", case, lanes=8)),
        ]
        print("\n| case | ratio | images/s | images/s |\n|---|---|---|---|", flush=True)
        if self.options.instead:
            for title, *_ in pairs:
                print(f"| {title} | {self.options.instead} | | |")
            return
        notes = []
        for title, *makers in pairs:
            if self.left() < 20:
                notes.append(f"{title}: skipped, no time")
                continue
            try:
                sides = [make() for make in makers]
                for side in sides:
                    side.prepare(min(60, self.left()))
                self.compare(title, *sides)
                if self.tree and sides[0].name == "8 ranks":
                    step = 1e3 * case[3] / sides[0].rate()
                    notes.append(f"the tree among 8 ranks takes {self.tree:.2f} ms by itself, a step of 8 ranks "
                                 f"{step:.1f} ms: {100 * self.tree / step:.1f} %")
            except Failed as failure:
                notes.append(f"{title}: failed: {failure}")
            stop_all()
        print()
        for note in notes:
            print(f"- {note}", flush=True)


def stop_all():
    for side in list(Side.running):
        side.stop()


def name_of(case):
    model, image, _, batch, precision = case
    return f"{model} {image} batch {batch} {precision}"


def counters(seconds):
    """Shares of time from the hardware's counters, over so many seconds."""
    import pynvml as nvml

    nvml.nvmlInit()
    device = nvml.nvmlDeviceGetHandleByIndex(0)
    if not nvml.nvmlGpmQueryDeviceSupport(device).isSupportedDevice:
        raise RuntimeError("the device has none")
    wanted = {nvml.NVML_GPM_METRIC_GRAPHICS_UTIL: "busy", nvml.NVML_GPM_METRIC_SM_UTIL: "multiprocessors busy",
              nvml.NVML_GPM_METRIC_DRAM_BW_UTIL: "of the memory's rated bandwidth"}
    samples = [nvml.nvmlGpmSampleAlloc(), nvml.nvmlGpmSampleAlloc()]
    nvml.nvmlGpmSampleGet(device, samples[0])
    time.sleep(seconds)
    nvml.nvmlGpmSampleGet(device, samples[1])
    get = nvml.c_nvmlGpmMetricsGet_t()
    get.version, get.numMetrics = nvml.NVML_GPM_METRICS_GET_VERSION, len(wanted)
    get.sample1, get.sample2 = samples
    for i, metric in enumerate(wanted):
        get.metrics[i].metricId = metric
    nvml.nvmlGpmMetricsGet(get)
    text = "the card's counters: " + ", ".join(
        f"{get.metrics[i].value:.1f} % {what}" for i, what in enumerate(wanted.values()))
    for sample in samples:
        nvml.nvmlGpmSampleFree(sample)
    return text


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle")
    parser.add_argument("--seconds", type=float, default=400)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--cases", default="", help="only those whose names match this regular expression")
    parser.add_argument("--modes", type=lambda text: text.split(","),
                        default=["eager", "graphs", "compile-default", "compile"])
    parser.add_argument("--own", type=float, default=0.3, help="share of the time for ourselves alone, 0 to 1")
    parser.add_argument("--kernels", help="output of benchmark_gpu, for the copy's bandwidth")
    parser.add_argument("--instead", help="why nothing can be measured: printed in each row")
    bench = Bench(parser.parse_args())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("out of time"))
    try:
        if bench.options.own < 1:
            bench.beside_pytorch()
        if bench.options.own > 0:
            bench.beside_ourselves()
    finally:
        stop_all()


main()
