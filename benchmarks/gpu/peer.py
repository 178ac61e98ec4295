"""Training steps in PyTorch on one GPU: reads a number of steps a line, prints the seconds they took. The first line's
steps make the model and all that the mode prepares. Channels-last, automatic mixed precision, SGD with momentum,
synthetic data that stays on the GPU.

usage: peer.py MODEL HxWxC CLASSES BATCH fp32|tf32|bf16|fp16 eager|graphs|compile-default|compile|compiled-graphs

  eager            as written
  graphs           the whole step recorded as one CUDA graph
  compile-default  torch.compile() without a mode, which compiles in a fraction of the time, then one CUDA graph
  compile          forward and backward by torch.compile(mode="max-autotune")
  compiled-graphs  torch.compile(mode="max-autotune-no-cudagraphs"), then one CUDA graph
"""

import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from pytorch_models import MODELS  # noqa: E402

TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Training:
    """A model with its data; `step()` enqueues one training step."""

    def __init__(self, name, image, classes, batch, precision, mode, device="cuda"):
        height, width, channels = map(int, image.split("x"))
        self.mixed, self.device = TYPES.get(precision), device
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision != "fp32"
        torch.manual_seed(0)
        self.model = MODELS[name](channels, classes).to(device, memory_format=torch.channels_last)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01, momentum=0.9, fused=True)
        self.scaler = torch.amp.GradScaler(device) if precision == "fp16" else None
        x = torch.rand(batch, channels, height, width, device=device)
        self.x = x.to(dtype=self.mixed or torch.float32, memory_format=torch.channels_last)
        self.y = torch.randint(0, classes, (batch,), device=device)
        self.forward = self.loss
        compilers = {"compile": "max-autotune", "compile-default": "default",
                     "compiled-graphs": "max-autotune-no-cudagraphs"}
        if mode in compilers:
            self.forward = torch.compile(self.loss, mode=compilers[mode])
        self.marks_steps = mode == "compile"  # which records graphs of its own
        self.step = self.enqueue if mode in ("eager", "compile") else self.record()

    def loss(self, x, y):
        with torch.autocast(self.device, dtype=self.mixed, enabled=self.mixed is not None):
            return torch.nn.functional.cross_entropy(self.model(x), y)

    def enqueue(self):
        if self.marks_steps:
            torch.compiler.cudagraph_mark_step_begin()
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.forward(self.x, self.y)
        if self.scaler:
            self.scaler.scale(loss).backward()
            self.scaler.step(self.optimizer)
            self.scaler.update()
        else:
            loss.backward()
            self.optimizer.step()

    def record(self):
        """Replays one recorded step; libraries choose and load what they need in the steps before."""
        beside = torch.cuda.Stream()
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            for _ in range(5):
                self.enqueue()
        torch.cuda.current_stream().wait_stream(beside)
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        graph = torch.cuda.CUDAGraph()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.cuda.graph(graph):
            self.enqueue()
        return graph.replay


def main():
    name, image, classes, batch, precision, mode = sys.argv[1:]
    training = None
    for line in sys.stdin:
        start = time.perf_counter()
        if training is None:
            training = Training(name, image, int(classes), int(batch), precision, mode)
            for _ in range(3):
                training.step()
            torch.cuda.synchronize()
        for _ in range(int(line)):
            training.step()
        torch.cuda.synchronize()
        print(f"{time.perf_counter() - start:.6f}", flush=True)


if __name__ == "__main__":
    main()
