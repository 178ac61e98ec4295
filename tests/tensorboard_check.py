"""Trains, and reads the event files with TensorBoard's own reader: their scalars are those of metrics.jsonl, in single
precision, and every variable has a histogram an epoch.

    python3 tests/tensorboard_check.py build/lockstep

Exits with 77 where Python has no tensorboard (pip install tensorboard).
"""

import json
import pathlib
import struct
import subprocess
import sys
import tempfile

try:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
except ImportError as error:
    print(f"skipped: no TensorBoard ({error})")
    sys.exit(77)


def single(value):
    """The nearest single-precision number."""
    return struct.unpack("f", struct.pack("f", float(value)))[0]


def check(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    accumulator = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0, "histograms": 0})
    accumulator.Reload()

    expected = {}
    for line in lines:
        step = line["step"] if line["kind"] == "step" else line["epoch"]
        for name, value in line.items():
            if name in ("kind", "epoch", "step", "data_share"):
                continue
            epochs = line["kind"] == "epoch" and not name.startswith("val_")
            expected.setdefault("epoch_" + name if epochs else name, []).append((step, single(value)))
    found = {
        tag: [(event.step, event.value) for event in accumulator.Scalars(tag)]
        for tag in accumulator.Tags()["scalars"]
    }
    assert found == expected, f"scalars differ: {found} and {expected}"
    assert {"loss", "accuracy", "lr", "images_per_second", "epoch_loss", "val_loss"} <= set(found), sorted(found)

    weights = (run / "weights.safetensors").read_bytes()
    header = json.loads(weights[8 : 8 + int.from_bytes(weights[:8], "little")])
    variables = {name: entry for name, entry in header.items() if name != "__metadata__"}
    assert set(accumulator.Tags()["histograms"]) == set(variables), accumulator.Tags()["histograms"]
    epochs = sum(line["kind"] == "epoch" for line in lines)
    for name, entry in variables.items():
        events = accumulator.Histograms(name)
        assert [event.step for event in events] == list(range(epochs)), name
        begin, end = (8 + int.from_bytes(weights[:8], "little") + at for at in entry["data_offsets"])
        values = struct.unpack(f"{(end - begin) // 4}f", weights[begin:end])
        last = events[-1].histogram_value
        assert (last.min, last.max, last.num) == (min(values), max(values), len(values)), name
        assert sum(last.bucket) == len(values), name
    return len(found), len(variables), len(lines)


def main():
    with tempfile.TemporaryDirectory() as folder:
        run = pathlib.Path(folder) / "run"
        command = [sys.argv[1], "train", "--model", "lenet5", "--data", "digits", "--resize", "28", "--batch", "64"]
        command += ["--lanes", "2", "--epochs", "2", "--validation-split", "0.2", "--ranks", "2", "--quiet"]
        command += ["--tensorboard", "--backend", "cpu", "--out", str(run)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        scalars, histograms, lines = check(run)
        print(f"{scalars} scalars and {histograms} histograms are those of {lines} lines of metrics and the weights")
        # A number that is not what was trained is found.
        text = (run / "metrics.jsonl").read_text()
        (run / "metrics.jsonl").write_text(text.replace('"loss":', '"loss":1', 1))
        try:
            check(run)
        except AssertionError:
            return
        sys.exit("a changed loss was not found")


main()
