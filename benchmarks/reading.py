"""What reading costs: training from a folder of JPEGs, augmented, beside training on made-up images of the same size that
cost nothing to read; interleaved runs. Prints the median ratio of the steps' throughput, and its range.

usage: reading.py BUILD_FOLDER IMAGE_FOLDER [ROUNDS [MODEL…]]
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

BUILD, IMAGES = Path(sys.argv[1]), sys.argv[2]
ROUNDS = int(sys.argv[3]) if len(sys.argv) > 3 else 5
MODELS = sys.argv[4:] or ["seed_cnn", "mobilenet_v2", "resnet50"]
CORES = len(os.sched_getaffinity(0))
BATCH, STEPS, WARM_UP = 16, 8, 2
SIDES = {
    "JPEGs": ["--data", f"images:{IMAGES}", "--resize", "224:256", "--augment", "resized_crop:8,flip"],
    "made-up images": ["--data", f"synthetic:224x224x3/2/{BATCH * STEPS}"],
}


def images_per_second(model, arguments):
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        subprocess.run([BUILD / "lockstep", "train", "--model", model, *arguments, "--batch", str(BATCH), "--steps",
                        str(STEPS), "--ranks", str(CORES), "--out", out, "--quiet"], check=True,
                       stdout=subprocess.DEVNULL)
        lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    # The first steps start with batches that are not read yet, and with cold caches.
    steps = [line for line in lines if line.get("kind") == "step"][WARM_UP:]
    return len(steps) / sum(1 / step["images_per_second"] for step in steps)


def main():
    print(subprocess.run([BUILD / "lockstep", "version"], capture_output=True, text=True, check=True).stdout)
    for model in MODELS:
        rates = {side: [] for side in SIDES}
        for _ in range(ROUNDS):
            for side, arguments in SIDES.items():
                rates[side].append(images_per_second(model, arguments))
        ours, free = rates.values()
        ratios = sorted(a / b for a, b in zip(ours, free))
        print(f"{model} 224x224x3 batch {BATCH}, {CORES} ranks, JPEGs against made-up images: ratio "
              f"{statistics.median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f}, {ROUNDS} rounds), JPEGs "
              f"{statistics.median(ours):.1f} images/s, made-up images {statistics.median(free):.1f} images/s", flush=True)


main()
