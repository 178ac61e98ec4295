"""Makes arrays.json: .npy and .npz files as NumPy writes them.

usage: make_arrays.py > arrays.json        (needs numpy; its version is written into the file)
"""

import base64
import io
import json

import numpy


def saved(save, *arrays, **named):
    file = io.BytesIO()
    save(file, *arrays, **named)
    return base64.b64encode(file.getvalue()).decode()


images = (numpy.arange(5 * 4 * 3) * 7 % 256).astype(numpy.uint8).reshape(5, 4, 3)
colours = (numpy.arange(4 * 2 * 3 * 3) / 100).reshape(4, 2, 3, 3)
wide = (numpy.arange(4 * 2 * 5 * 3) * 11 % 256).astype(numpy.uint8).reshape(4, 2, 5, 3)
labels = numpy.array([3, 0, 2, 1, 2])
sets = {"x_train": images, "y_train": labels, "x_test": images[:2], "y_test": labels[:2].astype(numpy.uint8)}
print(json.dumps({
    "numpy": numpy.__version__,
    "files": {
        "u1": saved(numpy.save, images),
        "f4": saved(numpy.save, colours.astype(numpy.float32)),
        "f8": saved(numpy.save, colours),
        "labels_i8": saved(numpy.save, labels),
        "labels_i2_column": saved(numpy.save, labels.astype(numpy.int16).reshape(5, 1)),
        "labels_negative": saved(numpy.save, numpy.array([0, 1, -2, 0, 1])),
        "big_endian": saved(numpy.save, colours.astype(">f4")),
        "fortran": saved(numpy.save, numpy.asfortranarray(colours)),
        "text": saved(numpy.save, numpy.array(["a", "b"])),
        "stored": saved(numpy.savez, **sets),
        "deflated": saved(numpy.savez_compressed, **sets),
        "train_only": saved(numpy.savez_compressed, x_train=images, y_train=labels),
        "half": saved(numpy.savez, x_train=images),
        "big_endian_f8": saved(numpy.save, colours.astype(">f8")),
        "labels_big_endian": saved(numpy.save, labels.astype(">i4")),
        "fortran_u1": saved(numpy.save, numpy.asfortranarray(images)),
        "fortran_column": saved(numpy.save, numpy.asfortranarray(labels.astype(">i2").reshape(5, 1))),
        "complex": saved(numpy.save, colours.astype(numpy.complex64)),
        "others": saved(numpy.savez, class_names=numpy.array(["ant", "bee"]), complex=colours.astype(numpy.complex64),
                        x_train=images, y_train=labels),
        "bad_labels": saved(numpy.savez, x_train=images, y_train=numpy.array(["a", "b", "a", "b", "a"])),
        "channels_last": saved(numpy.savez, x_train=wide, y_train=labels[:4], x_test=wide[1:], y_test=labels[1:4]),
        "channels_first": saved(numpy.savez, x_train=wide.transpose(0, 3, 1, 2), y_train=labels[:4],
                                x_test=numpy.ascontiguousarray(wide[1:].transpose(0, 3, 1, 2)), y_test=labels[1:4]),
    }}, indent=0))
