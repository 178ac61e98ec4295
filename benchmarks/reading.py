"""What reading costs: training from a folder of JPEGs beside training on the same pixels, packed, which are only copied;
both flipped at random, interleaved runs that must end with the same weights. Prints the median ratio of the steps'
throughput and its range, and what the whole processes took of the cores.

usage: reading.py BUILD_FOLDER IMAGE_FOLDER [ROUNDS [MODEL…]]
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

BUILD, IMAGES = Path(sys.argv[1]), sys.argv[2]
ROUNDS = int(sys.argv[3]) if len(sys.argv) > 3 else 7
MODELS = sys.argv[4:] or ["seed_cnn", "mobilenet_v2", "resnet50"]
CORES = len(os.sched_getaffinity(0))
BATCH, STEPS, WARM_UP = 16, 12, 2


def lockstep(*arguments):
    done = subprocess.run([BUILD / "lockstep", *map(str, arguments), "--log", "error"], check=True,
                          stdout=subprocess.PIPE, text=True)
    return done.stdout


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def train(model, data, folder):
    """Images a second of the steps, seconds that all cores were busy for, and what the program printed."""
    out, before = Path(tempfile.mkdtemp(dir=folder)) / "run", cpu_seconds()
    text = lockstep("train", "--model", model, *data, "--augment", "flip", "--batch", BATCH, "--steps", STEPS,
                    "--ranks", CORES, "--seed", 1, "--out", out, "--quiet")
    cpu = cpu_seconds() - before
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    # The first steps start with batches that are not read yet, and with cold caches.
    steps = [line for line in lines if line.get("kind") == "step"][WARM_UP:]
    return len(steps) / sum(1 / step["images_per_second"] for step in steps), cpu, text


def main():
    print(lockstep("version"))
    with tempfile.TemporaryDirectory() as folder:
        pack = Path(folder) / "images.pack"
        lockstep("pack", f"images:{IMAGES}", pack, "--resize", 224)
        sides = (["--data", f"images:{IMAGES}", "--resize", 224], ["--data", f"packed:{pack}"])
        for model in MODELS:
            rounds = [[train(model, side, folder) for side in sides] for _ in range(ROUNDS)]
            printed = {text for pair in rounds for _, _, text in pair}
            if len(printed) != 1:
                raise SystemExit(f"{model}: the runs differ: {printed}")
            ratios = sorted(jpegs[0] / packed[0] for jpegs, packed in rounds)
            jpegs, packed = ([statistics.median(pair[side][i] for pair in rounds) for i in range(2)] for side in range(2))
            print(f"{model} 224x224x3 batch {BATCH}, {CORES} ranks, JPEGs against packed pixels: ratio "
                  f"{statistics.median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f}, {ROUNDS} rounds), JPEGs "
                  f"{jpegs[0]:.1f} images/s, packed {packed[0]:.1f} images/s; cores busy for {jpegs[1]:.1f} s and "
                  f"{packed[1]:.1f} s", flush=True)


main()
