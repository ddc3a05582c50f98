#!/usr/bin/env python3
"""Two template trees beside each other in one process: what a change of the kernels costs or gains, on the README's cells.

Both answer with the same configs, those of the database; old and new take turns as CUDA graphs whose inputs rotate past the L2. The
outputs of both are compared first, and the new one's with double precision.

    git worktree add /tmp/before HEAD~1
    scripts/compare_templates.py --old /tmp/before/templates --db cells.db --page-size 64

Needs torch with CUDA, and nothing else."""
import math
import pathlib
import statistics
import sys
import time

import torch

import compare_decode
import compare_fp32
import compare_peers
from peers.binding import open_flashtune
from peers.command import ROOT, Report, add_library_flags, parsed, parser_of
from peers.measure import Contender, frame_of, interleave

LONGEST_US = 50e3  # a cell of fp32 whose launch lasts longer says nothing that shorter ones do not


# --- the cells of each table: (name, sets, call and problem of an engine, seconds that a launch takes, exact rows of an output)

def prefill_cells(l2_bytes):
    for cell in compare_peers.all_cells():
        yield ("prefill-" + compare_peers.name_of(cell), lambda cell=cell: compare_peers.make_sets(cell, l2_bytes),
               lambda engine, sets, cell=cell: compare_peers.our_call(engine, cell, sets), compare_peers.flops_of(cell) / 500e12,
               lambda inputs, out, cell=cell: error_of(*inputs, out, cell[5]))


def decode_cells(l2_bytes, page_size):
    for cell in compare_decode.all_cells():
        for page in [0] + ([page_size] if page_size else []):
            yield (f"decode-{compare_decode.name_of(cell)}" + (f"-page{page}" if page else ""),
                   lambda cell=cell: compare_decode.make_sets(cell, l2_bytes),
                   lambda engine, sets, cell=cell, page=page: same_pages(compare_decode.our_call, engine, cell, sets, page),
                   compare_decode.cache_bytes(cell) / 4.5e12 + 4e-6, lambda inputs, out: error_of(*inputs, out, False))


def fp32_cells(l2_bytes):
    for cell in compare_fp32.all_cells():
        for precision in compare_fp32.PRECISIONS:
            if compare_fp32.expected_s(cell) * 1e6 > LONGEST_US:
                continue

            def call(engine, sets, cell=cell, precision=precision):
                outputs = {id(s[0]): (torch.empty_like(s[0]), torch.empty(s[0].shape[:3], device="cuda")) for s in sets}
                return compare_fp32.our_call(engine, cell, precision, outputs)

            yield (f"fp32-{precision}-{compare_fp32.name_of(cell)}", lambda cell=cell: compare_fp32.make_sets(cell, l2_bytes), call,
                   compare_fp32.expected_s(cell), lambda inputs, out: error_of(*(x.transpose(1, 2) for x in (*inputs, out)), False))


def same_pages(our_call, *arguments):
    """Both trees read the same page table: a shuffle of its own would be a difference that is not the kernels'."""
    torch.manual_seed(2)
    return our_call(*arguments)


def error_of(q, k, v, out, causal):
    torch.manual_seed(3)  # the same rows of both trees' outputs
    rows = torch.unique(torch.cat([torch.randint(q.shape[1], (30,), device="cuda"), torch.tensor([0, q.shape[1] - 1], device="cuda")]))
    at = ((0, 0), (q.shape[0] - 1, q.shape[2] - 1))
    exact = [compare_peers.exact_rows(q, k, v, causal, rows, *head) for head in at]
    return max((out[b, rows, h].double() - e).abs().max().item() / e.abs().max().item() for (b, h), e in zip(at, exact))


# --- one cell

def compare(cell, engines, arguments):
    name, make_sets, call_of, expected_s, error = cell
    torch.manual_seed(1)
    sets = make_sets()
    calls, configs = {}, {}
    for tree, engine in engines.items():
        calls[tree], problem = call_of(engine, sets)
        configs[tree] = engine.decide(problem)
    if configs["old"] != configs["new"]:
        raise RuntimeError(f"{name}: the trees answer with other configs: {configs}")
    outputs = {tree: call(*sets[0]).clone() for tree, call in calls.items()}
    errors = {tree: error(sets[0], out) for tree, out in outputs.items()}
    apart = (outputs["old"].float() - outputs["new"].float()).abs().max().item()
    if not errors["new"] <= 1.5 * errors["old"] + 1e-7:
        raise RuntimeError(f"{name}: the new kernel's error is {errors['new']:.3g}, the old one's {errors['old']:.3g}")
    launches = max(len(sets), min(400, math.ceil(2.5e-3 / expected_s)))
    contenders = {tree: Contender(call, sets, launches) for tree, call in calls.items()}
    interleave(list(contenders.values()), arguments.repeats, arguments.idle_ms / 1000.0)
    pairs = [old / new for old, new in zip(contenders["old"].samples, contenders["new"].samples)]
    config, grade = configs["new"]
    return {"cell": name, "config": config, "grade": grade, **{tree: contender.result() for tree, contender in contenders.items()},
            "old_over_new": round(statistics.median(pairs), 4), "errors": errors, "apart": apart}


def text_of(root):
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.glob("flashtune/**/*.*h"))}


def parse_arguments():
    parser = parser_of(__doc__, "decode-,prefill-d128,fp32-tf32x3")
    add_library_flags(parser, repeats=15, idle_ms=0)
    parser.add_argument("--old", required=True, type=pathlib.Path, help="folder of the template tree to compare with")
    parser.add_argument("--new", type=pathlib.Path, default=ROOT / "templates", help="folder of the tree that is judged (default: this checkout's)")
    parser.add_argument("--page-size", type=int, default=0, help="decode also with a cache in pages of so many keys")
    parser.add_argument("--budget-s", type=float, default=math.inf, help="begin no cell after so many seconds")
    return parsed(parser)


def main():
    arguments, started = parse_arguments(), time.time()
    if text_of(arguments.old) == text_of(arguments.new):
        sys.exit(f"--old {arguments.old} and --new {arguments.new} hold the same text: nothing to compare")
    new, properties = open_flashtune(arguments, arguments.new)
    old, _ = open_flashtune(arguments, arguments.old)
    l2_bytes = properties.L2_cache_size
    wanted = arguments.cells.split(",")
    report = Report(arguments.output, "two template trees with the same configs, device time of one call", frame_of(new.version), part=False)
    records = []
    for cell in [*prefill_cells(l2_bytes), *decode_cells(l2_bytes, arguments.page_size), *fp32_cells(l2_bytes)]:
        if not any(part in cell[0] for part in wanted):
            continue
        if time.time() - started > arguments.budget_s:
            print(f"{cell[0]}: not begun, the budget is spent")
            continue
        records.append(compare(cell, {"old": old, "new": new}, arguments))
        r = records[-1]
        print(f"{r['cell']:<40} {r['grade']:<9} old {r['old']['median_us']:9.2f}  new {r['new']['median_us']:9.2f} us  {r['old_over_new']:.4f}"
              f"  apart {r['apart']:.2g}", flush=True)
        torch.cuda.empty_cache()
    ratios = [r["old_over_new"] for r in records]
    summary = {"cells": len(ratios), "geomean": round(statistics.geometric_mean(ratios), 4), "least": min(ratios)} if ratios else {}
    print(f"new against old: {summary}; {time.time() - started:.0f} s")
    report.write({"timed": "events around a CUDA graph that goes round the input sets", "inputs": "normal, together twice the L2",
                  "idle_ms": arguments.idle_ms, "repeats": arguments.repeats, "order": "interleaved, rotating"}, summary, records)


if __name__ == "__main__":
    main()
