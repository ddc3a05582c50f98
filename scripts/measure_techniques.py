#!/usr/bin/env python3
"""What each technique of prefill_wgmma is worth: the tuned config of some problems with one field changed at a time, timed in turns.

    build/release/flashtune sweep --batch 4 --heads 16 --seq-q 4096 --head-dim 128 --causal
    scripts/measure_techniques.py --cli build/release/flashtune --output benchmarks/results/h200-techniques.json

A change that the compiler refuses, or whose products it serialises, is written down as such. Needs a GPU, no torch."""
import argparse
import datetime
import json
import statistics
import subprocess
import sys

from peers.command import config_of, fields_of

FAMILY = "prefill_wgmma"

# Name, the fields without it, and the fields with it; whichever the tuned config has is the other's baseline.
TECHNIQUES = [
    ("softmax beside P V (intra-warpgroup overlap)", {"flow": "serial", "turns": "free", "rescale_early": "0", "hold": "0"}, {"flow": "overlap"}),
    ("turns of products (ping-pong)", {"turns": "free"}, {"turns": "products"}),
    ("turns of the softmax", {"turns": "free"}, {"turns": "softmax"}),
    ("P in registers", {"p": "shared"}, {"p": "registers"}),
    ("O rescaled beside Q K^T", {"rescale_early": "0"}, {"rescale_early": "1"}),
    ("O rescaled only past 2^8", {"lazy_rescale": "0"}, {"lazy_rescale": "1"}),
    ("half of the exponentials before the wait", {"hold": "0"}, {"hold": "2"}),
    ("K and V kept in the L2 by hints", {"l2_hints": "0"}, {"l2_hints": "1"}),
    ("O written by the copy engine", {"epilogue": "vector"}, {"epilogue": "tma"}),
    ("two K and V stages", {"stages": "1"}, {"stages": "2"}),
    ("Q of the next tile loaded ahead", {"q_stages": "1"}, {"q_stages": "2"}),
    ("clusters of two that share K and V", {"cluster": "1"}, {"cluster": "2", "tiles": "static", "order": "grid"}),
    ("blocks that stay (static tiles)", {"tiles": "plain"}, {"tiles": "static"}),
    ("tiles by a counter", {"tiles": "static"}, {"tiles": "dynamic"}),
    ("longest tiles first", {"order": "grid"}, {"order": "longest_first"}),
    ("longest first within L2 sections", {"order": "grid"}, {"order": "sections"}),
    ("query heads of a group in one tile", {"pack_gqa": "0"}, {"pack_gqa": "1"}),
    ("launched early", {"early": "0"}, {"early": "1"}),
    ("40 registers for the producer", {"producer_regs": "24"}, {"producer_regs": "40"}),
]

# Batch, heads, KV heads, length, head dim, causal.
CELLS = [(4, 16, 16, 4096, 128, True), (4, 16, 16, 4096, 128, False), (4, 32, 32, 4096, 64, True), (4, 8, 8, 4096, 256, True),
         (4, 32, 8, 4096, 128, True), (32, 16, 16, 512, 128, True)]


class Program:
    def __init__(self, arguments):
        self.arguments = arguments

    def json_of(self, command, cell, *more):
        batch, heads, kv_heads, seq, dim, causal = cell
        line = [self.arguments.cli, command, "--batch", batch, "--heads", heads, "--kv-heads", kv_heads, "--seq-q", seq, "--head-dim",
                dim, "--format", "json", *more] + (["--causal"] if causal else [])
        if self.arguments.db:
            line += ["--db", self.arguments.db]
        done = subprocess.run([str(word) for word in line], capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(done.stderr.strip().splitlines()[-1][:300])
        return json.loads(done.stdout)


def median_us(program, cell, fields):
    return program.json_of("run", cell, "--config", config_of(FAMILY, fields))["median_us"]


def measure(program, cell, repeats):
    tuned = program.json_of("explain", cell)["candidate"]
    family, tuned = fields_of(tuned)
    if family != FAMILY:
        raise RuntimeError(f"{cell} is answered by {family}")
    record = {"cell": cell, "config": config_of(FAMILY, tuned), "techniques": []}
    for name, without, with_it in TECHNIQUES:
        if "order" in with_it and with_it["order"] != "grid" and not cell[5]:
            continue
        if "pack_gqa" in with_it and cell[1] == cell[2]:
            continue
        off, on = {**tuned, **without}, {**tuned, **with_it}
        result = {"technique": name, "tuned_has_it": all(tuned[field] == value for field, value in with_it.items())}
        try:
            times = [(median_us(program, cell, off), median_us(program, cell, on)) for _ in range(repeats)]
            result["off_us"], result["on_us"] = (round(statistics.median(column), 2) for column in zip(*times))
            result["gain"] = round(result["off_us"] / result["on_us"], 4)
        except RuntimeError as refused:
            result["refused"] = str(refused)
        record["techniques"].append(result)
        print(f"{cell}  {name:<46} {result.get('gain', result.get('refused'))}", flush=True)
    return record


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cli", required=True, help="the flashtune program")
    parser.add_argument("--db", default="", help="tuning database (default: flashtune's own)")
    parser.add_argument("--cells", type=int, default=len(CELLS), help="only the first N")
    parser.add_argument("--repeats", type=int, default=3, help="times that off and on take turns (default 3)")
    parser.add_argument("--output", default="", help="write results as JSON here")
    arguments = parser.parse_args()
    program = Program(arguments)
    devices = subprocess.run([arguments.cli, "devices", "--format", "json"], capture_output=True, text=True, check=True).stdout
    report = {"what": "prefill_wgmma, bf16: device time without and with one technique, all else as tuned",
              "date": datetime.date.today().isoformat(), "devices": json.loads(devices)["devices"],
              "protocol": f"flashtune run, cold L2, off and on in turns, medians of {arguments.repeats}", "cells": []}
    for cell in CELLS[:arguments.cells]:
        report["cells"].append(measure(program, cell, arguments.repeats))
        if arguments.output:  # after each cell: a run that is cut short keeps what it has
            with open(arguments.output, "w", encoding="utf-8") as file:
                json.dump(report, file, indent=1)
                file.write("\n")


if __name__ == "__main__":
    sys.exit(main())
