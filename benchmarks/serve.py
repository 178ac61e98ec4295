"""What the peers share: steps on request, from standard input to standard output."""

import resource
import sys
import time


def serve(step, finish=lambda result: None):
    """Reads a number of steps a line and prints the seconds they took, until `finish` of the last one has returned; for
    the line "memory", the process' peak memory in bytes."""
    for line in sys.stdin:
        if line.strip() == "memory":
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, flush=True)
            continue
        start = time.perf_counter()
        result = None
        for _ in range(int(line)):
            result = step()
        finish(result)
        print(f"{time.perf_counter() - start:.6f}", flush=True)
