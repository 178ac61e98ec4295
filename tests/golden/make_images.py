"""Makes images.json: small JPEG and PNG files of every kind, and what Pillow decodes and resizes them to.

usage: make_images.py > images.json        (needs pillow and numpy; versions used are written into the file)
"""

import base64
import io
import json

import numpy
import PIL
from PIL import Image, ImageOps, features


def picture(width, height):
    """Smooth, so that JPEG keeps it, and alike in no direction."""
    y, x = numpy.mgrid[0:height, 0:width].astype(float)
    red = 40 + 200 * x / width
    green = 30 + 190 * y / height
    blue = 128 + 100 * numpy.sin(x / 3) * numpy.cos(y / 4)
    return numpy.stack([red, green, blue], -1).round().astype(numpy.uint8)


def text(data):
    return base64.b64encode(data).decode()


def saved(image, format, **options):
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def pixels(image):
    return {"height": image.height, "width": image.width, "pixels": text(image.tobytes())}


def decoded(data):
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    if image.mode == "I;16":  # Pillow cuts 16-bit grey at 255 when it converts; what is meant is the rounded high byte
        wide = numpy.asarray(image).astype(numpy.int64)
        image = Image.fromarray(((wide * 255 + 32895) >> 16).astype(numpy.uint8))
    return image.convert("RGB")


def oriented(orientation, format):
    image = Image.fromarray(picture(20, 13))
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(image, format, exif=exif.tobytes(), **({"quality": 90} if format == "JPEG" else {}))


colour = Image.fromarray(picture(37, 29))
grey = colour.convert("L")
alpha = colour.copy()
alpha.putalpha(grey)
files = {
    "jpeg_420": saved(colour, "JPEG", quality=90, subsampling=2),
    "jpeg_422": saved(colour, "JPEG", quality=90, subsampling=1),
    "jpeg_444": saved(colour, "JPEG", quality=95, subsampling=0),
    "jpeg_progressive": saved(colour, "JPEG", quality=85, progressive=True),
    "jpeg_grey": saved(grey, "JPEG", quality=90),
    "jpeg_cmyk": saved(colour.convert("CMYK"), "JPEG", quality=90),
    "png_rgb": saved(colour, "PNG"),
    "png_grey": saved(grey, "PNG"),
    "png_bits": saved(grey.convert("1"), "PNG"),
    "png_palette": saved(colour.quantize(16), "PNG"),
    "png_alpha": saved(alpha, "PNG"),
    "png_grey_alpha": saved(alpha.convert("LA"), "PNG"),
    "png_16": saved(Image.fromarray((numpy.asarray(grey).astype(numpy.uint16) * 257)), "PNG"),
}
for number in range(1, 9):
    files[f"jpeg_exif_{number}"] = oriented(number, "JPEG")
    files[f"png_exif_{number}"] = oriented(number, "PNG")

resized = []
for channels, image in ((3, colour), (1, grey)):
    for height, width, box in ((8, 8, None), (64, 50, None), (29, 12, (4.5, 2.25, 30.75, 27.5)), (1, 1, None),
                               (40, 9, (10, 3, 20, 28))):
        result = image.resize((width, height), Image.BILINEAR, box)
        resized.append({"from": "png_rgb" if channels == 3 else "png_grey", "channels": channels,
                        "box": box or (0, 0, image.width, image.height), **pixels(result)})

print(json.dumps({"pillow": PIL.__version__, "libjpeg_turbo": features.version("libjpeg_turbo"),
                  "images": {name: {"file": text(data), **pixels(decoded(data))} for name, data in files.items()},
                  "resized": resized}, indent=0))
