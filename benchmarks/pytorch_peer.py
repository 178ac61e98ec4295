"""The same training steps in PyTorch: reads a number of steps a line, prints the seconds they took; for the line
"memory", the process' peak memory in bytes.

usage: pytorch_peer.py MODEL HxWxC BATCH THREADS eager|compile
"""

import sys

import torch
from torch import nn

from pytorch_models import MODELS
from serve import serve


def main():
    name, image, batch, threads, mode = sys.argv[1:]
    height, width, channels = map(int, image.split("x"))
    torch.set_num_threads(int(threads))
    torch.manual_seed(0)
    model = MODELS[name](channels, 10).to(memory_format=torch.channels_last)
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

    serve(lambda: step(x, y))


main()
