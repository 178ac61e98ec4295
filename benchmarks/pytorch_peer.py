"""The same training steps in PyTorch: reads a number of steps a line, prints the seconds they took.

usage: pytorch_peer.py MODEL HxWxC BATCH THREADS eager|compile
"""

import sys
import time

import torch
from torch import nn


def seed_cnn(channels, classes):
    def block(inputs, outputs, kernel):
        return [nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2), nn.ReLU(), nn.MaxPool2d(2)]

    return nn.Sequential(*block(channels, 32, 3), *block(32, 64, 3), *block(64, 128, 1),
                         nn.Conv2d(128, classes, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def lenet5(channels, classes):
    return nn.Sequential(nn.Conv2d(channels, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                         nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, classes))


def main():
    name, image, batch, threads, mode = sys.argv[1:]
    height, width, channels = map(int, image.split("x"))
    torch.set_num_threads(int(threads))
    torch.manual_seed(0)
    model = {"seed_cnn": seed_cnn, "lenet5": lenet5}[name](channels, 10).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), eps=1e-7, fused=True)
    loss_function = nn.CrossEntropyLoss()
    x = torch.rand(int(batch), channels, height, width).to(memory_format=torch.channels_last)
    y = torch.randint(0, 10, (int(batch),))

    def step(x, y):
        optimizer.zero_grad(set_to_none=True)
        logits = model(x)
        loss = loss_function(logits, y)
        loss.backward()
        optimizer.step()
        return loss.detach(), (logits.argmax(1) == y).sum()

    if mode == "compile":
        forward = torch.compile(lambda x, y: (loss_function(model(x), y)))

        def step(x, y):
            optimizer.zero_grad(set_to_none=True)
            loss = forward(x, y)
            loss.backward()
            optimizer.step()
            return loss.detach()

    for line in sys.stdin:
        start = time.perf_counter()
        for _ in range(int(line)):
            step(x, y)
        print(f"{time.perf_counter() - start:.6f}", flush=True)


main()
