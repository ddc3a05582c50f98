#!/usr/bin/env python3
"""fp32 attention on one GPU: flashtune at each precision against torch's scaled_dot_product_attention in fp32.

Shapes: 4 sequences, 96 heads, head dim 128, and 8 sequences, 12 heads (GPT-2's), head dim 64; no mask, [batch, head, row, dim].
Timed as scripts/compare_peers.py times, long cells by fewer samples; the error is the largest of 64 rows of two heads against double
precision, and everywhere else the output must be near torch's.

    build/release/flashtune sweep --dtype fp32 --precision tf32,tf32x3 --batch 4 --heads 96 --seq-q 2048 --head-dim 128 --layout bhsd
    scripts/compare_fp32.py --output benchmarks/results/h200-fp32.json
    scripts/compare_fp32.py --output benchmarks/results/h200-fp32.json --lengths 16384     # only these, beside what is there

Needs torch with CUDA, and nothing else."""
import math
import statistics
import sys
import time

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from compare_peers import exact_rows
from peers.binding import open_flashtune
from peers.command import Report, add_lengths_flag, add_library_flags, chosen, parsed, parser_of
from peers.measure import Contender, frame_of, interleave, ratios

PRECISIONS = {"ieee": 0, "tf32x3": 1, "tf32": 2}
LENGTHS = (512, 1024, 2048, 4096, 8192, 16384)
LONG_S = 0.1  # a launch that lasts longer goes through so much memory that it is cold by itself, and needs no other beside it


# --- the cells: (head_dim, batch, heads, seq)

def all_cells():
    return [(*shape, seq) for shape in ((128, 4, 96), (64, 8, 12)) for seq in LENGTHS]


def name_of(cell):
    return "d{}-b{}-h{}-s{}".format(*cell)


def flops_of(cell):
    dim, batch, heads, seq = cell
    return 4.0 * batch * heads * seq * seq * dim


def expected_s(cell):
    return flops_of(cell) / 60e12


def make_sets(cell, l2_bytes):
    """Some (q, k, v) of [batch, head, row, dim]: as many as together exceed twice the L2, at least two unless a launch is long."""
    dim, batch, heads, seq = cell
    count = math.ceil(2 * l2_bytes / (16 * batch * heads * seq * dim)) + 1
    count = 1 if expected_s(cell) > LONG_S else max(2, count)
    return [tuple(torch.randn(batch, heads, seq, dim, device="cuda") for _ in range(3)) for _ in range(count)]


# --- who runs

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


# --- right, before fast

def largest(values):
    """NaN where one of them is: max() may lose it."""
    return torch.stack(list(values)).max().item()


def largest_errors(cell, inputs, calls):
    """Of each on sampled rows. Ours of near fp32 may have twice torch's; and all are near torch's output everywhere."""
    q, k, v = (x.transpose(1, 2) for x in inputs)
    rows = torch.unique(torch.cat([torch.randint(cell[3], (62,), device="cuda"), torch.tensor([0, cell[3] - 1], device="cuda")]))
    exact = {at: exact_rows(q, k, v, False, rows, *at) for at in ((0, 0), (cell[1] - 1, cell[2] - 1))}
    errors, peer = {}, calls["torch"](*inputs)
    for name, call in calls.items():
        out = peer if name == "torch" else call(*inputs)
        errors[name] = largest((out[b, h, rows].double() - rows_of).abs().max() for (b, h), rows_of in exact.items())
        if name in ("ieee", "tf32x3") and not errors[name] <= 2 * errors["torch"] + 1e-6:
            raise RuntimeError(f"{name} at {name_of(cell)}: error {errors[name]:.3g}, torch's {errors['torch']:.3g}")
        # Rows that were not sampled err more, but not without measure. A part at a time: a copy of the whole would be gigabytes.
        apart = largest((out[b] - peer[b]).abs().max() for b in range(cell[1]))
        if not apart <= 1e-4 + 20 * (errors[name] + errors["torch"]):
            raise RuntimeError(f"{name} at {name_of(cell)}: {apart:.3g} from torch's output somewhere, sampled error {errors[name]:.3g}")
    return errors


def compare(cell, flashtune, precisions, arguments, l2_bytes):
    """A record for each precision; torch's figures stand in each, as they come from the same turns."""
    torch.manual_seed(1)
    sets = make_sets(cell, l2_bytes)
    outputs = {id(s[0]): (torch.empty_like(s[0]), torch.empty(s[0].shape[:3], device="cuda")) for s in sets}
    calls, problems = {"torch": torch_call}, {}
    for precision in precisions:
        calls[precision], problems[precision] = our_call(flashtune, cell, precision, outputs)
    errors = largest_errors(cell, sets[0], calls)
    launches = max(len(sets), min(200, math.ceil(2e-3 / expected_s(cell))))
    contenders = {name: Contender(call, sets, launches) for name, call in calls.items()}
    interleave(list(contenders.values()), arguments.repeats, arguments.idle_ms / 1000.0, arguments.budget_s)
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


# --- the report

def key_of(record):
    return tuple(record[name] for name in ("head_dim", "batch", "heads", "seq", "precision"))


def summary_of(records):
    summary = {}
    for precision in dict.fromkeys(record["precision"] for record in records):
        values = ratios([r for r in records if r["precision"] == precision], "torch")
        summary[f"{precision}_vs_torch"] = {"cells": len(values), "geomean": round(statistics.geometric_mean(values), 4),
                                            "least": round(min(values), 4)}
    return summary


def parse_arguments():
    parser = parser_of(__doc__, "d128,s512")
    add_lengths_flag(parser)
    add_library_flags(parser, repeats=7, idle_ms=40)
    parser.add_argument("--budget-s", type=float, default=8.0,
                        help="seconds for the samples of a cell: a long one has fewer of them, but three at least (default 8)")
    parser.add_argument("--precision", default=",".join(PRECISIONS), help=f"comma-separated: {', '.join(PRECISIONS)} (default: all)")
    arguments = parsed(parser)
    for name in arguments.precision.split(","):
        if name not in PRECISIONS:
            parser.error(f"--precision {name}: supported: {', '.join(PRECISIONS)}")
    return arguments


def main():
    arguments = parse_arguments()
    cells, precisions = chosen(all_cells(), arguments, name_of, length_of=lambda cell: cell[3]), arguments.precision.split(",")
    flashtune, properties = open_flashtune(arguments)
    part = bool(arguments.cells or arguments.lengths or len(precisions) < len(PRECISIONS))
    report = Report(arguments.output, "prefill fp32, device time of one call, against torch's fp32 attention in the same run",
                    frame_of(flashtune.version), part)

    started, records = time.time(), []
    for cell in cells:
        for record in compare(cell, flashtune, precisions, arguments, properties.L2_cache_size):
            records.append(record)
            ours, peer = record["flashtune"], record["torch"]
            print(f"{name_of(cell):<20} {record['precision']:<7} {record['grade']:<9} {ours['tflops']:7.1f} TFLOP/s, error "
                  f"{ours['max_error']:.1e}; torch {peer['tflops']:6.1f}, {peer['max_error']:.1e}; "
                  f"{peer['median_us'] / ours['median_us']:.2f}x, {ours['samples']} samples, {time.time() - started:.0f} s", flush=True)
        torch.cuda.empty_cache()
    records = report.cells(records, key_of, [(*cell, precision) for cell in all_cells() for precision in PRECISIONS])
    summary = summary_of(records)
    print(summary, f"{time.time() - started:.0f} s")
    report.write({"timed": "events around a CUDA graph that goes round the input sets",
                  "inputs": "normal, together twice the L2, or one set where a launch lasts longer than 0.1 s", "idle_ms": arguments.idle_ms,
                  "repeats": arguments.repeats, "budget_s": arguments.budget_s, "order": "interleaved, rotating",
                  "peer": "scaled_dot_product_attention, EFFICIENT_ATTENTION, fp32"}, summary, records)


if __name__ == "__main__":
    sys.exit(main())
