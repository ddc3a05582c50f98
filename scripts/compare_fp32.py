#!/usr/bin/env python3
"""fp32 attention on one GPU: flashtune at each precision against torch's scaled_dot_product_attention in fp32.

Shapes: 4 sequences, 96 heads, head dim 128, and 8 sequences, 12 heads (GPT-2's), head dim 64; no mask, [batch, head, row, dim].
Timed as scripts/compare_peers.py times; the error is the largest of 64 rows of two heads against double precision.

    build/release/flashtune sweep --dtype fp32 --precision tf32,tf32x3 --batch 4 --heads 96 --seq-q 2048 --head-dim 128 --layout bhsd
    scripts/compare_fp32.py --output benchmarks/results/h200-fp32.json

Needs torch with CUDA, and nothing else."""
import argparse
import math
import statistics
import sys
import time

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from compare_peers import exact_rows
from peers.binding import open_flashtune
from peers.measure import Contender, interleave, ratios, write_report

PRECISIONS = {"ieee": 0, "tf32x3": 1, "tf32": 2}


def all_cells():
    return [(128, 4, 96, seq) for seq in (512, 1024, 2048, 4096, 8192)] + [(64, 8, 12, seq) for seq in (512, 1024, 2048, 4096, 8192)]


def flops_of(cell):
    dim, batch, heads, seq = cell
    return 4.0 * batch * heads * seq * seq * dim


def make_sets(cell, l2_bytes):
    """At least two (q, k, v) of [batch, head, row, dim], as many as together exceed twice the L2."""
    dim, batch, heads, seq = cell
    count = max(2, math.ceil(2 * l2_bytes / (16 * batch * heads * seq * dim)) + 1)
    return [tuple(torch.randn(batch, heads, seq, dim, device="cuda") for _ in range(3)) for _ in range(count)]


def torch_call(q, k, v):
    # The one backend that takes fp32 without keeping the scores; it multiplies each number as the sum of two tf32 ones.
    with sdpa_kernel(SDPBackend.EFFICIENT_ATTENTION):
        return torch.nn.functional.scaled_dot_product_attention(q, k, v)


def our_call(flashtune, cell, precision, outputs):
    dim, batch, heads, seq = cell
    problem = flashtune.problem(batch, heads, heads, seq, seq, dim, False, dtype=2, layout=1, precision=PRECISIONS[precision])
    flashtune.prepare(problem)
    workspace = flashtune.workspace(problem)

    def call(q, k, v):
        o, lse = outputs[id(q)]
        flashtune.forward(problem, q, k, v, o, lse, workspace)
        return o

    return call, problem


def largest_error(cell, inputs, call):
    q, k, v = (x.transpose(1, 2) for x in inputs)
    out = call(*inputs).transpose(1, 2)
    rows = torch.unique(torch.cat([torch.randint(cell[3], (62,), device="cuda"), torch.tensor([0, cell[3] - 1], device="cuda")]))
    worst = 0.0
    for b, h in ((0, 0), (cell[1] - 1, cell[2] - 1)):
        worst = max(worst, (out[b, rows, h].double() - exact_rows(q, k, v, False, rows, b, h)).abs().max().item())
    return worst


def compare(cell, flashtune, precisions, arguments, l2_bytes):
    """A record for each precision; torch's figures stand in each, as they come from the same turns."""
    torch.manual_seed(1)
    sets = make_sets(cell, l2_bytes)
    outputs = {id(s[0]): (torch.empty_like(s[0]), torch.empty(s[0].shape[:3], device="cuda")) for s in sets}
    calls, problems = {"torch": torch_call}, {}
    for precision in precisions:
        calls[precision], problems[precision] = our_call(flashtune, cell, precision, outputs)
    errors = {name: largest_error(cell, sets[0], call) for name, call in calls.items()}
    for name, bound in (("ieee", 2), ("tf32x3", 2)):
        if name in errors and not errors[name] <= bound * errors["torch"] + 1e-6:
            raise RuntimeError(f"{name} at {cell}: error {errors[name]:.3g}, torch's {errors['torch']:.3g}")
    launches = max(len(sets), min(200, math.ceil(2e-3 / (flops_of(cell) / 60e12))))
    contenders = {name: Contender(call, sets, launches) for name, call in calls.items()}
    interleave(list(contenders.values()), arguments.repeats, arguments.idle_ms / 1000.0)
    results = {name: contender.result() for name, contender in contenders.items()}
    for name, result in results.items():
        result["tflops"] = round(flops_of(cell) / result["median_us"] / 1e6, 1)
        result["max_error"] = errors[name]
    records = []
    for precision in precisions:
        config, grade = flashtune.decide(problems[precision])
        records.append({"head_dim": cell[0], "batch": cell[1], "heads": cell[2], "seq": cell[3], "precision": precision,
                        "config": config, "grade": grade, "flashtune": results[precision], "torch": results["torch"]})
    return records


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--precision", default="ieee,tf32x3,tf32", help="comma-separated: ieee, tf32x3, tf32")
    parser.add_argument("--db", default="", help="tuning database (default: flashtune's own)")
    parser.add_argument("--library", default="", help="libflashtune.so (default: the one below build/)")
    parser.add_argument("--nvrtc", default="", help="NVRTC library or folder (default: flashtune's places, then torch's)")
    parser.add_argument("--repeats", type=int, default=7, help="samples of each contender per cell, at least 7 (default 7)")
    parser.add_argument("--idle-ms", type=float, default=40.0, help="pause before each sample (default 40)")
    parser.add_argument("--output", default="", help="write results as JSON here")
    arguments = parser.parse_args()
    precisions = arguments.precision.split(",")
    for name in precisions:
        if name not in PRECISIONS:
            parser.error(f"--precision {name}: supported: {', '.join(PRECISIONS)}")
    if arguments.repeats < 7:
        parser.error(f"--repeats {arguments.repeats}: at least 7")
    flashtune, properties = open_flashtune(arguments)

    started, records = time.time(), []
    for cell in all_cells():
        for record in compare(cell, flashtune, precisions, arguments, properties.L2_cache_size):
            records.append(record)
            ours, peer = record["flashtune"], record["torch"]
            print(f"d{cell[0]}-s{cell[3]:<6} {record['precision']:<7} {record['grade']:<9} {ours['tflops']:7.1f} TFLOP/s, error "
                  f"{ours['max_error']:.1e}; torch {peer['tflops']:6.1f}, {peer['max_error']:.1e}; "
                  f"{peer['median_us'] / ours['median_us']:.2f}x", flush=True)
        torch.cuda.empty_cache()
    summary = {}
    for precision in precisions:
        values = ratios([r for r in records if r["precision"] == precision], "torch")
        summary[f"{precision}_vs_torch"] = {"cells": len(values), "geomean": round(statistics.geometric_mean(values), 4),
                                            "least": round(min(values), 4)}
    print(summary, f"{time.time() - started:.0f} s")
    if arguments.output:
        protocol = {"timed": "events around a CUDA graph that goes round the input sets", "inputs": "normal, together twice the L2",
                    "idle_ms": arguments.idle_ms, "repeats": arguments.repeats, "order": "interleaved, rotating",
                    "peer": "scaled_dot_product_attention, EFFICIENT_ATTENTION, fp32"}
        write_report(arguments.output, "prefill fp32, device time of one call, against torch's fp32 attention in the same run",
                     flashtune.version, protocol, summary, records)


if __name__ == "__main__":
    sys.exit(main())
