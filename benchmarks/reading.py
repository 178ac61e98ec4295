"""What reading costs: training from a folder of JPEGs, decoded in each epoch or once (--cache), beside training on the
same pixels, packed, which are only copied; all flipped at random, interleaved runs that must end with the same weights.
Prints the median ratio of the second epoch's throughput, and its range.

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
ROUNDS = int(sys.argv[3]) if len(sys.argv) > 3 else 7
MODELS = sys.argv[4:] or ["seed_cnn", "mobilenet_v2", "resnet50"]
CORES = len(os.sched_getaffinity(0))
BATCH = 16


def lockstep(*arguments):
    return subprocess.run([BUILD / "lockstep", *map(str, arguments)], check=True, stdout=subprocess.PIPE,
                          text=True).stdout


def train(model, data, folder):
    """Images a second of the second epoch, and what the program printed."""
    out = Path(tempfile.mkdtemp(dir=folder)) / "run"
    text = lockstep("train", "--model", model, *data, "--augment", "flip", "--batch", BATCH, "--epochs", 2, "--ranks",
                    CORES, "--seed", 1, "--out", out, "--quiet", "--log", "error")
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [line["images_per_second"] for line in lines if line["kind"] == "epoch"][1], text


def main():
    print(lockstep("version"))
    with tempfile.TemporaryDirectory() as folder:
        pack = Path(folder) / "images.pack"
        lockstep("pack", f"images:{IMAGES}", pack, "--resize", 224)
        files = ["--data", f"images:{IMAGES}", "--resize", 224]
        sides = {"packed pixels": ["--data", f"packed:{pack}"], "JPEGs": files, "JPEGs, cached": [*files, "--cache"]}
        for model in MODELS:
            rounds = [{name: train(model, data, folder) for name, data in sides.items()} for _ in range(ROUNDS)]
            printed = {text for one in rounds for _, text in one.values()}
            if len(printed) != 1:
                raise SystemExit(f"{model}: the runs differ: {printed}")
            rates = {name: [one[name][0] for one in rounds] for name in sides}
            packed = rates.pop("packed pixels")
            for name, mine in rates.items():
                ratios = sorted(a / b for a, b in zip(mine, packed))
                print(f"{model} 224x224x3 batch {BATCH}, {CORES} ranks, {name} against packed pixels: ratio "
                      f"{statistics.median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f}, {ROUNDS} rounds), "
                      f"{statistics.median(mine):.1f} against {statistics.median(packed):.1f} images/s", flush=True)


main()
