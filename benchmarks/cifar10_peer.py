"""ResNet-18 on CIFAR-10 in PyTorch, by the recipe of results/accuracy.md: each epoch's test accuracy.

usage: torchrun --nproc-per-node RANKS cifar10_peer.py DIR [EPOCHS [SEED]]

DIR holds data_batch_1.bin to data_batch_5.bin and test_batch.bin. Ranks are DistributedDataParallel over gloo, each
with its part of a global batch of 128 and that part's batch statistics; weights begin as Keras begins them, as ours do.
"""

import math
import os
import sys
import time

import numpy as np
import torch
from torch import distributed, nn
from torch.nn import functional as F

from pytorch_models import resnet18

BATCH, LEARNING_RATE, WARMUP = 128, 0.1, 391


def read(path):
    rows = np.fromfile(path, np.uint8).reshape(-1, 3073)
    return torch.from_numpy(rows[:, 1:].reshape(-1, 3, 32, 32).copy()), torch.from_numpy(rows[:, 0].astype(np.int64))


def initialise(module):
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def augment(images, generator):
    """Each shifted by up to four pixels, its border repeated, and mirrored half of the time."""
    padded = F.pad(images, (4, 4, 4, 4), mode="replicate")
    rows, columns = torch.randint(0, 9, (2, len(images)), generator=generator).tolist()
    flips = torch.rand(len(images), generator=generator) < 0.5
    images = torch.stack([padded[i, :, r:r + 32, c:c + 32] for i, (r, c) in enumerate(zip(rows, columns))])
    return torch.where(flips[:, None, None, None], images.flip(3), images)


def main():
    folder, epochs, seed = sys.argv[1], int((sys.argv[2:] or [3])[0]), int((sys.argv[3:] or [0])[0])
    distributed.init_process_group("gloo")
    rank, ranks = distributed.get_rank(), distributed.get_world_size()
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // ranks))
    torch.manual_seed(seed)
    parts = [read(f"{folder}/data_batch_{i}.bin") for i in range(1, 6)]
    x, y = (torch.cat(part) for part in zip(*parts))
    pixels = x.float() / 255
    mean, std = pixels.mean((0, 2, 3), keepdim=True), pixels.std((0, 2, 3), keepdim=True)

    def normalise(images):
        return ((images.float() / 255 - mean) / std).to(memory_format=torch.channels_last)

    model = resnet18(3, 10)
    model.apply(initialise)
    model = nn.parallel.DistributedDataParallel(model.to(memory_format=torch.channels_last))
    optimizer = torch.optim.SGD(model.parameters(), LEARNING_RATE, momentum=0.9, nesterov=True, weight_decay=5e-4)
    steps = -(-len(x) // BATCH)
    decay = epochs * steps - WARMUP

    def rate(step):
        return (step + 1) / WARMUP if step < WARMUP else (1 + math.cos(math.pi * (step - WARMUP) / decay)) / 2

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    test = read(f"{folder}/test_batch.bin")
    count, test = len(test[0]), [part.chunk(ranks)[rank] for part in test]
    generator = torch.Generator().manual_seed(seed)
    for epoch in range(epochs):
        start, model = time.perf_counter(), model.train()
        for chosen in torch.randperm(len(x), generator=generator).split(BATCH):
            images = augment(x[chosen].float(), generator).to(torch.uint8).chunk(ranks)[rank]
            loss = F.cross_entropy(model(normalise(images)), y[chosen].chunk(ranks)[rank])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
        seconds, model = time.perf_counter() - start, model.eval()
        with torch.no_grad():
            batches = zip(*(part.split(250) for part in test))
            right = sum((model(normalise(images)).argmax(1) == labels).sum() for images, labels in batches)
        distributed.all_reduce(right)
        if rank == 0:
            print(f"epoch {epoch + 1}/{epochs}  test accuracy {100 * right.item() / count:.2f} %  "
                  f"{len(x) / seconds:.0f} images/s", flush=True)
    distributed.destroy_process_group()


main()
