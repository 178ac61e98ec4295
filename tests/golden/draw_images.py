"""JPEG and PNG files drawn by a random number generator, and what Pillow makes of them.

For make_pixels.py beside this file and for ../differential/pixels; needs pillow and numpy.
"""

import io
import struct
import zlib

import numpy
from PIL import Image


def picture(random, width, height, channels):
    """Like a photograph: waves of a few pixels and more, some edges, little noise; alike in no direction."""
    y, x = numpy.mgrid[0:height, 0:width].astype(float)
    layers = []
    for _ in range(channels):
        layer = numpy.full((height, width), random.uniform(60, 190))
        for _ in range(4):
            length, angle = random.uniform(9, 90), random.uniform(0, 2 * numpy.pi)
            wave = numpy.sin(2 * numpy.pi * (x * numpy.cos(angle) + y * numpy.sin(angle)) / length + random.uniform(0, 6))
            layer += random.uniform(5, 30) * wave
        edge = x * random.uniform(-1, 1) + y * random.uniform(-1, 1)
        layer += random.uniform(-40, 40) * (edge > numpy.median(edge))
        layers.append(layer + random.normal(0, 1.5, layer.shape))
    return numpy.stack(layers, -1).round().clip(0, 255).astype(numpy.uint8)


def exif(random, orientation):
    """TIFF's header and one directory, with the orientation in it as a SHORT or a LONG, in either order of bytes."""
    order = random.choice(["<", ">"])
    wide = random.integers(2)
    value = struct.pack(order + ("I" if wide else "HH"), *([orientation] if wide else [orientation, 0]))
    entries = [struct.pack(order + "HHI", 0x0112, 4 if wide else 3, 1) + value]
    if random.integers(2):  # tags are in the order of their numbers
        entries.insert(0, struct.pack(order + "HHI", 0x0100, 3, 1) + struct.pack(order + "HH", 5, 0))
    begin = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8)
    return begin + struct.pack(order + "H", len(entries)) + b"".join(entries) + bytes(4)


def without_segment(jpeg, marker):
    """A JPEG without its segments of a marker, before its first scan."""
    out, at = jpeg[:2], 2
    while jpeg[at + 1] != 0xDA:
        length = 2 + int.from_bytes(jpeg[at + 2:at + 4], "big")
        if jpeg[at + 1] != marker:
            out += jpeg[at:at + length]
        at += length
    return out + jpeg[at:]


def draw_jpeg(random, width, height, orientation):
    kind = str(random.choice(["colour", "colour", "colour", "grey", "cmyk", "cmyk plain"]))
    options = {"quality": int(random.integers(70, 98)), "progressive": bool(random.integers(2)),
               "optimize": bool(random.integers(2))}
    if random.integers(3) == 0:
        options["restart_marker_rows"] = 1
    if kind == "colour":
        options["subsampling"] = int(random.integers(3))
    channels = {"colour": 3, "grey": 1}.get(kind, 4)
    pixels = picture(random, width, height, channels)
    mode = {1: "L", 3: "RGB", 4: "CMYK"}[channels]
    image = Image.frombytes(mode, (width, height), pixels.tobytes())
    if orientation:
        options["exif"] = b"Exif\0\0" + exif(random, orientation)
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    data = file.getvalue()
    if kind == "cmyk plain":
        data = without_segment(data, 0xEE)
    sampling = ["444", "422", "420"][options["subsampling"]] if kind == "colour" else kind
    return data, f"jpeg {sampling}{' progressive' if options['progressive'] else ''}"


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def filtered(random, rows, unit):
    """A pass's rows of bytes, each after a filter by chance."""
    out, above = b"", numpy.zeros(rows.shape[1], int)
    for row in rows.astype(int):
        left = numpy.concatenate([numpy.zeros(unit, int), row[:-unit]])
        corner = numpy.concatenate([numpy.zeros(unit, int), above[:-unit]])
        guess = left + above - corner
        paeth = numpy.where((abs(guess - left) <= abs(guess - above)) & (abs(guess - left) <= abs(guess - corner)), left,
                            numpy.where(abs(guess - above) <= abs(guess - corner), above, corner))
        which = int(random.integers(5))
        predicted = [0, left, above, (left + above) // 2, paeth][which]
        out += bytes([which]) + ((row - predicted) % 256).astype(numpy.uint8).tobytes()
        above = row
    return out


def packed_rows(samples, depth):
    """[H, W, C] as bytes [H, ceil(W * C * depth / 8)]."""
    flat = samples.reshape(samples.shape[0], -1)
    if depth == 16:
        return flat.astype(">u2").view(numpy.uint8).reshape(samples.shape[0], -1)
    if depth == 8:
        return flat.astype(numpy.uint8)
    bits = (flat[:, :, None] >> numpy.arange(depth - 1, -1, -1)) & 1
    return numpy.packbits(bits.reshape(flat.shape[0], -1).astype(numpy.uint8), axis=1)


ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def draw_png(random, width, height, orientation):
    kind, depth = [(0, 1), (0, 2), (0, 4), (0, 8), (0, 16), (2, 8), (2, 16), (3, 1), (3, 2), (3, 4), (3, 8), (4, 8), (4, 16),
                   (6, 8), (6, 16)][random.integers(15)]
    interlaced = bool(random.integers(2))
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[kind]
    shades = picture(random, width, height, channels).astype(int)
    if depth == 16:
        samples = (shades * 257 + random.integers(-128, 129, shades.shape)).clip(0, 65535)
    else:
        samples = shades >> (8 - depth)
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, int(interlaced))
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    place = str(random.choice(["early", "late"])) if orientation else ""
    if place == "early":
        data += chunk(b"eXIf", exif(random, orientation))
    if kind == 3:
        data += chunk(b"PLTE", random.integers(0, 256, 3 << depth).astype(numpy.uint8).tobytes())
    transparent = kind in (0, 2, 3) and random.integers(3) == 0
    if transparent:
        data += chunk(b"tRNS", bytes([0, 128]) if kind == 3 else struct.pack(">H", 1) * channels)
    raw, unit = b"", max(channels * depth // 8, 1)
    for left, top, across, down in ADAM7 if interlaced else [(0, 0, 1, 1)]:
        part = samples[top::down, left::across]
        if part.size:
            raw += filtered(random, packed_rows(part, depth), unit)
    stream = zlib.compress(raw)
    for at in range(0, len(stream), 4096):
        data += chunk(b"IDAT", stream[at:at + 4096])
    if place == "late":
        data += chunk(b"eXIf", exif(random, orientation))
    data += chunk(b"IEND", b"")
    name = {0: "grey", 2: "colour", 3: "palette", 4: "grey alpha", 6: "alpha"}[kind]
    return data, (f"png {name} {depth}{' interlaced' if interlaced else ''}{' transparent' if transparent else ''}"
                  f"{' eXIf ' + place if place else ''}"), (kind, samples)


def draw(random, width, height, orientation):
    """A file, what it is, and its samples where they have 16 bits, which Pillow cuts instead of rounding them."""
    if random.integers(2):
        return *draw_jpeg(random, width, height, orientation), None
    data, what, (kind, samples) = draw_png(random, width, height, orientation)
    if " 16" not in what:
        return data, what, None
    eight = ((samples * 255 + 32767) // 65535).astype(numpy.uint8)[:, :, :3 if kind in (2, 6) else 1]
    return data, what, Image.fromarray(eight if eight.shape[2] == 3 else eight[:, :, 0])


def decoded(data, wide, channels):
    """The whole picture, upright, as Pillow sees it; a JPEG's grey is its luma, as Pillow's draft mode gives it."""
    image = Image.open(io.BytesIO(data))
    orientation = image.getexif().get(0x0112)
    if channels == 1 and image.format == "JPEG" and image.mode == "RGB":
        image.draft("L", None)
    if wide is not None:
        image = wide
    elif image.mode not in ("L", "RGB"):
        image = image.convert("RGB")
    if orientation in range(2, 9):
        method = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_270",
                  7: "TRANSVERSE", 8: "ROTATE_90"}[orientation]
        image = image.transpose(getattr(Image.Transpose, method))
    return image.convert("L" if channels == 1 else "RGB")


def middle(size, height, width, shorter):
    """The box of --resize HEIGHTxWIDTH or SIDE:SHORTER: left, top, right, bottom."""
    scale = max(height / size[1], width / size[0], shorter / min(size))
    box_width, box_height = min(width / scale, size[0]), min(height / scale, size[1])
    left, top = (size[0] - box_width) / 2, (size[1] - box_height) / 2
    return left, top, left + box_width, top + box_height


def reduction(box, height, width):
    """By what a JPEG's sides are divided as it is decoded."""
    by = 8
    while by > 1 and (box[3] - box[1] < height * by or box[2] - box[0] < width * by):
        by //= 2
    return by
