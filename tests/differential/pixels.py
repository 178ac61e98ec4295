"""Files of every kind through the program, as training packs them and as predict reads them, and through Pillow.

usage: pixels.py LOCKSTEP [N [SEED [DIR]]]

A pack's records are the pixels that training gets. What predict gets is seen by a network that hands on its input: a
dense layer whose kernel is the identity. Each must be within the bounds below of Pillow's Image.resize of the whole,
upright picture; what both get must be the same."""

import json
import struct
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent.parent / "golden"))
from draw_images import decoded, draw, middle, reduction  # noqa: E402

# Of one image: the mean and the worst error in levels of 255, by what a JPEG's sides are divided as it is decoded.
# Without that, only the order of a turned image's passes differs. Reduced JPEGs keep the lower frequencies of each
# block, which is another filter than the triangle: sharp edges differ most.
BOUNDS = {1: (0.5, 1), 2: (3, 50), 4: (6, 50), 8: (9, 50)}
FORMS = [("9", 9, 9, 0), ("6x11", 6, 11, 0), ("8:10", 8, 8, 10), ("4x4", 4, 4, 0), ("10:11", 10, 10, 11)]


def packed_pixels(path):
    """The records of a pack's images, in their order."""
    data = path.read_bytes()
    records, text_bytes = struct.unpack_from("<QQ", data, 8)
    text = json.loads(data[64 + 40 * records:64 + 40 * records + text_bytes])
    shape = text["height"], text["width"], text["channels"]
    images = []
    for record in range(records):
        offset, size = struct.unpack_from("<QQ", data, 64 + 40 * record)
        images.append(numpy.frombuffer(data, numpy.uint8, size, offset).reshape(shape))
    return images


def identity(path):
    """Makes the kernel of a run's one dense layer the identity, its bias 0."""
    data = path.read_bytes()
    length = struct.unpack_from("<Q", data)[0]
    header = json.loads(data[8:8 + length])
    body = bytearray(data[8 + length:])
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        shape = entry["shape"]
        values = numpy.eye(shape[0]) if len(shape) == 2 else numpy.zeros(shape)
        body[begin:end] = values.astype("<f4").tobytes()
    path.write_bytes(data[:8 + length] + bytes(body))


class Program:
    def __init__(self, path):
        self.path = path

    def __call__(self, *arguments):
        done = subprocess.run([self.path, *map(str, arguments)], capture_output=True, text=True, timeout=600)
        if done.returncode != 0:
            raise SystemExit(f"lockstep {' '.join(map(str, arguments))}\nexit {done.returncode}: {done.stderr}")
        return done.stdout


def predicted(program, folder, files, form, channels):
    """What predict reads of the files, by a run that was trained on them."""
    text, height, width, _ = form
    count = height * width * channels
    model = {"name": "identity", "layers": [{"type": "Input", "shape": [height, width, channels]}, {"type": "Flatten"},
                                            {"type": "Dense", "units": count, "activation": "softmax"}]}
    (folder / "model.json").write_text(json.dumps(model))
    program("train", "--quiet", "--ranks", 1, "--model", folder / "model.json", "--data", f"images:{folder / 'in'}",
            "--resize", text, "--channels", channels, "--normalise", "none", "--batch", 8, "--steps", 1, "--out",
            folder / "run")
    identity(folder / "run/weights.safetensors")
    manifest = json.loads((folder / "run/manifest.json").read_text())
    manifest["network"]["layers"][-1].pop("activation")  # the loss wants a softmax, and probabilities would not be pixels
    (folder / "run/manifest.json").write_text(json.dumps(manifest))
    rows = json.loads(program("predict", "--run", folder / "run", "--top", count, "--format", "json", *files))
    images = []
    for row in rows:
        values = numpy.zeros(count, numpy.float32)
        for index, value in enumerate(row["outputs"]):
            values[index] = value
        images.append(values.reshape(height, width, channels))
    return images


def drawn(random, count):
    """Files: bytes, what they are, and their samples where Pillow cuts these."""
    for _ in range(count):
        width, height = (int(random.integers(1, 120)) for _ in range(2))
        yield draw(random, width, height, int(random.integers(9)))


def of_folder(random, folder, count):
    files = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    for index in random.permutation(len(files))[:count]:
        yield files[index].read_bytes(), "file", None


def main():
    program, count, seed = Program(sys.argv[1]), int((sys.argv[2:] or [300])[0]), int((sys.argv[3:] or [1])[0])
    folder = sys.argv[4] if len(sys.argv) > 4 else None
    forms = [("64", 64, 64, 0), ("56:64", 56, 56, 64), ("160", 160, 160, 0)] if folder else FORMS
    random = numpy.random.default_rng(seed)
    worst, failures, group = defaultdict(lambda: [0, 0.0, 0.0]), 0, 30
    for first in range(0, count, group):
        form, channels = forms[first // group % len(forms)], 1 if first // group % 3 == 2 else 3
        size = min(group, count - first)
        files = list(of_folder(random, folder, size) if folder else drawn(random, size))
        with tempfile.TemporaryDirectory() as made:
            place = Path(made)
            paths = []
            for index, (data, what, _) in enumerate(files):
                kind = "jpg" if data[:2] == b"\xff\xd8" else "png"
                path = place / "in" / f"class{index % 2}" / f"{index:03}.{kind}"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
                paths.append(path)
            order = sorted(range(len(paths)), key=lambda index: str(paths[index]))
            program("pack", f"images:{place / 'in'}", place / "pack", "--resize", form[0], "--channels", channels)
            packed = dict(zip(order, packed_pixels(place / "pack")))
            if not folder:
                read = predicted(program, place, paths, form, channels)
                for index, image in enumerate(read):
                    if not numpy.array_equal(image, packed[index].astype(numpy.float32) / numpy.float32(255)):
                        failures += 1
                        print(f"seed {seed}, file {first + index}, {files[index][1]}: predict reads other pixels than training")
        text, height, width, shorter = form
        for index, (data, what, wide) in enumerate(files):
            image = decoded(data, wide, channels)
            box = middle(image.size, height, width, shorter)
            expected = numpy.asarray(image.resize((width, height), Image.BILINEAR, box)).reshape(height, width, channels)
            error = abs(expected.astype(int) - packed[index].astype(int))
            by = reduction(box, height, width) if data[:2] == b"\xff\xd8" else 1
            kind = " ".join(what.split()[:2]) + f", reduced by {by}"
            known = worst[kind]
            known[0] += 1
            known[1], known[2] = max(known[1], error.mean()), max(known[2], error.max())
            if not (error.mean() <= BOUNDS[by][0] and error.max() <= BOUNDS[by][1]):
                failures += 1
                print(f"seed {seed}, file {first + index}, {what}, {image.size} with --resize {text}, reduced by {by}: mean "
                      f"error {error.mean():.2f}, worst {error.max()} levels, expected {BOUNDS[by]}")
    print(f"{'kind':32} files  mean error  worst (levels of 255, of the worst image)")
    for kind, (number, mean, most) in sorted(worst.items()):
        print(f"{kind:32} {number:5}  {mean:10.3f}  {most:5.0f}")
    print(f"{count} files, seed {seed}: {failures} failures")
    return 1 if failures else 0


sys.exit(main())
