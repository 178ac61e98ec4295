"""The same training steps in TensorFlow, as a user of Keras writes them; requests as serve.py reads them.

usage: keras_peer.py MODEL HxWxC BATCH THREADS fit|jit
"""

import os
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import numpy as np
import tensorflow as tf
from tensorflow.keras import Sequential, layers

from serve import serve


def seed_cnn(image, classes):
    block = {"padding": "same", "activation": "relu"}
    return Sequential([layers.Input(image),
                       layers.Conv2D(32, 3, **block), layers.MaxPooling2D(2),
                       layers.Conv2D(64, 3, **block), layers.MaxPooling2D(2),
                       layers.Conv2D(128, 1, **block), layers.MaxPooling2D(2),
                       layers.Conv2D(classes, 1), layers.GlobalAveragePooling2D(), layers.Softmax()])


def lenet5(image, classes):
    return Sequential([layers.Input(image),
                       layers.Conv2D(6, 5, padding="same", activation="relu"), layers.MaxPooling2D(2),
                       layers.Conv2D(16, 5, activation="relu"), layers.MaxPooling2D(2), layers.Flatten(),
                       layers.Dense(120, activation="relu"), layers.Dense(84, activation="relu"),
                       layers.Dense(classes, activation="softmax")])


def main():
    name, image, batch, threads, mode = sys.argv[1:]
    image, batch = tuple(map(int, image.split("x"))), int(batch)
    tf.config.threading.set_intra_op_parallelism_threads(int(threads))
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.keras.utils.set_random_seed(0)
    model = {"seed_cnn": seed_cnn, "lenet5": lenet5}[name](image, 10)
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"],
                  jit_compile=mode == "jit")
    x = tf.constant(np.random.default_rng(0).random((batch, *image), dtype=np.float32))
    y = tf.constant(np.arange(batch) % 10)
    serve(lambda: model.train_on_batch(x, y))


main()
