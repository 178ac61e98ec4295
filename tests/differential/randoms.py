"""Lockstep's random numbers as core/random.h describes them, written a second time: shuffling, dropout, and the data and weights
that comparisons start from."""

import numpy as np

INITIALISE, SHUFFLE, DROPOUT, DATA = 1, 2, 3, 4  # Purpose
M32 = np.uint64(0xFFFFFFFF)


def philox(counter, key):
    """Philox4x32-10 of arrays: `counter` four of them, `key` two, all of 32-bit numbers."""
    c = [np.asarray(x, np.uint64) for x in counter]
    k = [np.asarray(x, np.uint64) for x in key]
    for _ in range(10):
        a, b = np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]
        c = [(b >> np.uint64(32)) ^ c[1] ^ k[0], b & M32, (a >> np.uint64(32)) ^ c[3] ^ k[1], a & M32]
        k = [(k[0] + np.uint64(0x9E3779B9)) & M32, (k[1] + np.uint64(0xBB67AE85)) & M32]
    return c


def halves(x):
    x = np.asarray(x, np.uint64)
    return x & M32, x >> np.uint64(32)


class Random:
    """The numbers of one purpose, layer and step."""

    def __init__(self, seed, purpose, layer=0, step=0):
        low, high = halves(step)
        derived = philox((purpose, layer, low, high), halves(seed))
        self.key = derived[0], derived[1]

    def bits(self, sample, elements):
        """32 bits for each of elements 0 to `elements` - 1 of each sample: [samples, elements]."""
        sample = np.asarray(sample, np.uint64).reshape(-1, 1)
        block = np.arange((elements + 3) // 4, dtype=np.uint64).reshape(1, -1)
        low, high = halves(sample)
        zeros = np.zeros(np.broadcast_shapes(sample.shape, block.shape), np.uint64)
        four = philox((block + zeros, zeros, low + zeros, high + zeros), self.key)
        return np.stack(four, axis=-1).reshape(len(sample), -1)[:, :elements]

    def uniform(self, sample, elements):
        """In [0, 1), 24 bits each; exact in single precision."""
        return (self.bits(sample, elements) >> np.uint64(8)).astype(np.float64) * 2.0**-24


def permutation(size, seed, epoch):
    """Which sample is at each position of an epoch: a Feistel network, walked until it lands inside the range."""
    half = ((max(size - 1, 1)).bit_length() + 1) // 2
    mask = (1 << half) - 1
    table = Random(seed, SHUFFLE, 0, epoch)
    mixed = [[int(r) & mask for r in table.bits(round_, 4 * (mask + 1))[0, ::4]] for round_ in range(4)]

    def once(i):
        left, right = i >> half, i & mask
        for of_round in mixed:
            left, right = right, left ^ of_round[right]
        return left << half | right

    order = []
    for i in range(size):
        i = once(i)
        while i >= size:
            i = once(i)
        order.append(i)
    return order


def name_hash(name):
    """FNV-1a of 32 bits: a stream of numbers for each variable, by its name."""
    value = 0x811C9DC5
    for byte in name.encode():
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value


def spread(seed, name, samples, elements, middle, width):
    """Single precision, uniform in middle ± width / 2, rounded as two operations in single precision are."""
    u = Random(seed, DATA, name_hash(name)).uniform(np.arange(samples), elements).astype(np.float32)
    return (u - np.float32(0.5)) * np.float32(width) + np.float32(middle)
