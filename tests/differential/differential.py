"""Random networks trained by the program and in PyTorch; see run."""

import argparse
import collections
import json
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

import torch

import golden
from cases import draw_case
from compare import Comparison, export_difference, metric_differences
from program import Failed, Program, Refused


def train_somehow(case, folder, given, summary):
    """As the case says, or where the program refuses to share the work so, on one rank."""
    try:
        program = Program(given.program, folder / "placed")
        return program, *program.train(case)
    except Refused as refusal:
        if case["placing"] == {"ranks": 1}:
            raise
        summary.refusals[without_numbers(str(refusal))] += 1
        case["placing"] = {"ranks": 1}
        program = Program(given.program, folder / "alone")
        return program, *program.train(case)


def compare_case(case, trained, fault):
    """The rows of all that was compared, worst first, and whether a closer look was needed."""
    program, found, metrics = trained
    comparison = Comparison(case, fault)
    rows, closer = comparison.differences(found), False
    if rows[0][2] > 1 and not fault:
        comparison.look_closer()
        closer, rows = True, comparison.differences(found)
    rows += metric_differences(case, metrics, found)
    try:
        rows.append(export_difference(case, program.export(), found))
    except Refused as refusal:
        if "mixes the features of a flattened image" not in str(refusal):
            raise
    return sorted(rows, key=lambda row: -row[2]), closer


class Summary:
    def __init__(self):
        self.worst, self.counts, self.refusals = {}, collections.Counter(), collections.Counter()

    def add(self, seed, rows):
        for kind, name, ratio, relative in rows:
            if ratio > self.worst.get(kind, (0,))[0]:
                self.worst[kind] = ratio, relative, seed, name

    def print(self):
        print("\nkind          worst: error/allowed  error/largest  seed  of")
        for kind, (ratio, relative, seed, name) in sorted(self.worst.items()):
            print(f"{kind:<12} {ratio:>21.3g} {relative:>14.2g} {seed:>5}  {name}")
        for why, count in self.refusals.most_common():
            print(f"refused {count:>4}: {why}")
        print(", ".join(f"{count} {what}" for what, count in self.counts.items()))


def without_numbers(text):
    return "".join("#" if c.isdigit() else c for c in text.splitlines()[-1])[:150].replace("##", "#").replace("##", "#")


def run_one(seed, given, summary):
    case = draw_case(seed)
    folder = Path(tempfile.mkdtemp(prefix="lockstep-differential-"))
    keep, text = False, ""
    try:
        rows, closer = compare_case(case, train_somehow(case, folder, given, summary), given.fault)
        summary.add(seed, rows)
        bad = [row for row in rows if not row[2] <= 1]
        summary.counts["mismatches" if bad else "closer looks" if closer else "agree"] += 1
        keep = bool(bad)
        text = "".join(f"\n    {kind} {name}: error {relative:.2g} of the largest, {ratio:.3g} times what is allowed"
                       for kind, name, ratio, relative in bad[:6])
        word = "MISMATCH" if bad else "agrees"
        worst = next(row for row in rows if row[0] not in ("metric", "export"))
        text = f"{word}  {worst[2]:.3f} {worst[0]} {worst[1]}{text}"
    except Refused as refusal:
        summary.counts["refused"] += 1
        summary.refusals[without_numbers(str(refusal))] += 1
        text = f"refused: {refusal}"
    except Failed as failure:
        summary.counts["failures"] += 1
        keep, text = True, f"FAILED: {failure}"
    except Exception:
        summary.counts["failures"] += 1
        keep, text = True, f"FAILED: {traceback.format_exc()}"
    placing = " ".join(f"{k}={v}" for k, v in case["placing"].items())
    if keep or given.verbose:
        print(f"{seed}: {case['options']['optimizer']}, {placing}: {text}", flush=True)
    if keep and given.keep:
        (folder / "case.json").write_text(json.dumps(case, indent=1))
        print(f"    kept in {folder}", flush=True)
    else:
        shutil.rmtree(folder)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("count", type=int, nargs="?", default=20)
    parser.add_argument("seed", type=int, nargs="?", default=1)
    parser.add_argument("--fault", default="", choices=["epsilon", "pool"],
                        help="break this formula on PyTorch's side: mismatches must be reported")
    parser.add_argument("--keep", action="store_true", help="keep the folders of mismatches")
    parser.add_argument("--verbose", action="store_true", help="a line for each network")
    parser.add_argument("--golden", metavar="FILE", type=Path, help="write networks for a test in C++ instead")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.golden:
        golden.make(given.golden, given.count)
        return
    summary, start = Summary(), time.time()
    for seed in range(given.seed, given.seed + given.count):
        run_one(seed, given, summary)
    summary.print()
    print(f"{given.count} networks from seed {given.seed}, {time.time() - start:.0f} s, PyTorch {torch.__version__}")
    sys.exit(1 if summary.counts["mismatches"] + summary.counts["failures"] else 0)


if __name__ == "__main__":
    main()
