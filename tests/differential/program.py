"""Trains, evaluates, predicts and exports a case with the program `lockstep`.

The program starts from weights that its seed makes, where biases and the like are alike. So that training starts from
others, a checkpoint of a short run of the same options is rewritten: as of no step, with the case's weights."""

import csv
import hashlib
import json
import subprocess
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from cases import initial_weights, samples
from training import Trained


class Refused(Exception):
    """The program says that it cannot do that."""


class Failed(Exception):
    """The program fails otherwise."""


class Program:
    def __init__(self, path, folder):
        self.path, self.folder = path, Path(folder)
        self.folder.mkdir()

    def call(self, *arguments):
        command = [self.path, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        if done.returncode == 2:
            raise Refused(done.stderr.strip() or done.stdout.strip())
        if done.returncode != 0:
            raise Failed(f"exit {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def write_inputs(self, case):
        (self.folder / "model.json").write_text(json.dumps(case["model"], indent=1))
        arrays = {}
        for part in ("train", "test"):
            images, targets = samples(case, part)
            arrays |= {f"x_{part}": images, f"y_{part}": targets.astype(np.int32)}
        np.savez(self.folder / "data.npz", **arrays)

    def options(self, case):
        given = ["--model", self.folder / "model.json", "--data", f"npz:{self.folder / 'data.npz'}"]
        for key, value in {**case["options"], **case["placing"]}.items():
            given += [f"--{key.replace('_', '-')}"] + ([] if value is True else [value])
        return given

    def start(self, case):
        """A checkpoint of no step with the case's weights."""
        self.call("train", *self.options(case), "--quiet", "--out", self.folder / "short", "--checkpoint-every", 1,
                  "--keep", 1000)
        made = self.folder / "short/checkpoints/step-000001"
        folder = self.folder / "start/step-000000"
        folder.mkdir(parents=True)
        manifest = json.loads((made / "manifest.json").read_text())
        manifest |= {"step": 0, "epoch": 0, "step_in_epoch": 0, "fit": {"steps": 0, "epochs": 0},
                     "epoch_sums": {"sums": [], "samples": 0}}
        weights = initial_weights(case)
        known = load_file(made / "weights.safetensors")
        if {k: w.shape for k, w in known.items()} != {k: w.shape for k, w in weights.items()}:
            raise Failed(f"variables {({k: w.shape for k, w in known.items()})}, "
                         f"expected {({k: w.shape for k, w in weights.items()})}")
        slots = {k: s if k == "loss_scale" else np.zeros_like(s)
                 for k, s in load_file(made / "optimizer.safetensors").items()}
        save_file(weights, folder / "weights.safetensors")
        save_file(slots, folder / "optimizer.safetensors")
        (folder / "callbacks.safetensors").write_bytes((made / "callbacks.safetensors").read_bytes())
        for name in manifest["files"]:
            content = (folder / name).read_bytes()
            manifest["files"][name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        text = json.dumps(manifest, indent=2) + "\n"
        (folder / "manifest.json").write_text(text)
        (folder / "manifest.sha256").write_text(f"{hashlib.sha256(text.encode()).hexdigest()}  manifest.json\n")
        return folder

    def train(self, case):
        """The same of it as training.train gives, and metrics of the test images by name."""
        self.write_inputs(case)
        start, out = self.start(case), self.folder / "run"
        self.call("train", *self.options(case), "--quiet", "--resume", start, "--out", out)
        weights = load_file(out / "weights.safetensors")
        before = load_file(start / "weights.safetensors")
        lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        manifest = json.loads((out / "manifest.json").read_text())
        result = Trained(
            changes={k: w.astype(np.float64) - before[k] for k, w in weights.items()},
            weights={k: w.astype(np.float64) for k, w in weights.items()},
            losses=[float(line["loss"]) for line in lines if line["kind"] == "step"],
            test_loss=float(manifest["result"]["loss"]),
            outputs=self.predict(case, out))
        names = case["options"]["metrics"].split(",")
        return result, {name: np.array(manifest["result"][name], dtype=np.float64) for name in names}

    def predict(self, case, out):
        table = self.folder / "predictions.csv"
        o = case["options"]
        same = ["--batch", o["batch"], "--lanes", o["lanes"], "--normalise", o["normalise"]]
        place = {k: v for k, v in case["placing"].items() if k in ("ranks", "strategy", "threads", "numerics")}
        for key, value in place.items():
            same += [f"--{key}", value]
        self.call("predict", "--run", out, "--top", 1000, "--format", "csv", "--output", table, *same)
        count, classes = case["data"]["test"], case["data"]["classes"]
        binary = o["loss"].startswith("binary")
        found = np.full((count, classes), np.nan)
        with open(table) as file:
            for row in csv.DictReader(file):
                found[int(row["image"]), int(row["label"])] = float(row["probability"])
        return found[:, 1:] if binary else found

    def export(self, out=None):
        """The tensors for PyTorch."""
        target = self.folder / "torch.safetensors"
        self.call("export", "--run", out or self.folder / "run", "--format", "torch", "--output", target)
        return load_file(target)
