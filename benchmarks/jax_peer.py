"""The same training steps in JAX, compiled as one function; requests as serve.py reads them. JAX uses all cores that the
process may run on.

usage: jax_peer.py MODEL HxWxC BATCH
"""

import os
import sys

os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from serve import serve

BETA_1, BETA_2, EPSILON, LR = 0.9, 0.999, 1e-7, 1e-3
DIMENSIONS = ("NHWC", "HWIO", "NHWC")


def conv(x, weights, padding="SAME"):
    kernel, bias = weights
    return lax.conv_general_dilated(x, kernel, (1, 1), padding, dimension_numbers=DIMENSIONS) + bias


def pool(x):
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def seed_cnn(weights, x):
    for layer in weights[:3]:
        x = pool(jax.nn.relu(conv(x, layer)))
    return conv(x, weights[3]).mean((1, 2))


def lenet5(weights, x):
    x = pool(jax.nn.relu(conv(x, weights[0])))
    x = pool(jax.nn.relu(conv(x, weights[1], "VALID")))
    x = x.reshape(x.shape[0], -1)
    for kernel, bias in weights[2:4]:
        x = jax.nn.relu(x @ kernel + bias)
    return x @ weights[4][0] + weights[4][1]


def initial(name, channels, classes):
    shapes = {"seed_cnn": [(3, 3, channels, 32), (3, 3, 32, 64), (1, 1, 64, 128), (1, 1, 128, classes)],
              "lenet5": [(5, 5, channels, 6), (5, 5, 6, 16), (400, 120), (120, 84), (84, classes)]}[name]
    random = np.random.default_rng(0)
    return [(jnp.asarray(random.normal(0, np.sqrt(2 / np.prod(s[:-1])), s).astype(np.float32)), jnp.zeros(s[-1]))
            for s in shapes]


def main():
    name, image, batch = sys.argv[1:]
    image, batch = tuple(map(int, image.split("x"))), int(batch)
    apply = {"seed_cnn": seed_cnn, "lenet5": lenet5}[name]

    def loss(weights, x, y):
        logits = apply(weights, x)
        return -jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], 1).mean(), (logits.argmax(1) == y).sum()

    @jax.jit
    def step(state, x, y):
        weights, m, v, t = state
        (value, correct), gradients = jax.value_and_grad(loss, has_aux=True)(weights, x, y)
        t += 1
        m = jax.tree.map(lambda a, g: BETA_1 * a + (1 - BETA_1) * g, m, gradients)
        v = jax.tree.map(lambda a, g: BETA_2 * a + (1 - BETA_2) * g * g, v, gradients)
        weights = jax.tree.map(
            lambda w, a, b: w - LR * (a / (1 - BETA_1**t)) / (jnp.sqrt(b / (1 - BETA_2**t)) + EPSILON), weights, m, v)
        return (weights, m, v, t), value, correct

    weights = initial(name, image[2], 10)
    zeros = jax.tree.map(jnp.zeros_like, weights)
    state = [(weights, zeros, zeros, 0.0)]
    x = jnp.asarray(np.random.default_rng(1).random((batch, *image), dtype=np.float32))
    y = jnp.arange(batch) % 10

    def once():
        state[0], *_ = step(state[0], x, y)
        return state

    serve(once, jax.block_until_ready)


main()
