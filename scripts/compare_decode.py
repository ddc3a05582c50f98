#!/usr/bin/env python3
"""flashtune's decode against torch's attention backends on one GPU: one new row of each sequence against its cache.

All run as CUDA graphs of about 2.5 ms that go round input sets larger than the L2, replayed in turns without a pause: after one,
short kernels run before the memory is awake. Outputs are checked against double precision first.

    cmake --preset release && cmake --build --preset release
    build/release/flashtune sweep --suite benchmarks/decode_cells.json
    scripts/compare_decode.py --page-size 64 --output benchmarks/results/h200-decode.json

Needs torch with CUDA, and nothing else. What the tuned number of splits gains is time_split_rule.py's to say, in the same file."""
import json
import math
import time

import torch
from torch.nn.attention import sdpa_kernel

from peers.binding import open_flashtune
from peers.command import Report, add_library_flags, chosen, parsed, parser_of
from peers.decode_cells import all_cells, cache_bytes, cell_of, name_of
from peers.measure import BACKENDS, Contender, frame_of, interleave, ratios, summary_of

CEILING = 4650.0  # GB/s: the best read rate that any kernel showed on the H200


# --- inputs

def make_sets(cell, l2_bytes):
    dim, batch, heads, kv_heads, context = cell
    count = max(2, min(64, math.ceil(2 * l2_bytes / cache_bytes(cell)) + 1))

    def random(*shape):
        return torch.randn(*shape, dim, device="cuda", dtype=torch.bfloat16)

    return [(random(batch, 1, heads), random(batch, context, kv_heads), random(batch, context, kv_heads)) for _ in range(count)]


def in_pages(tensor, page_size, table):
    """The rows of [batch, context, heads, dim] in pages in the order of `table`."""
    batch, context, heads, dim = tensor.shape
    pages = torch.empty(table.numel(), page_size, heads, dim, device="cuda", dtype=tensor.dtype)
    pages[table.view(-1).long()] = tensor.view(batch * (context // page_size), page_size, heads, dim)
    return pages


# --- who runs

def peer_call(backend, grouped):
    def call(q, k, v):
        with sdpa_kernel(backend):
            out = torch.nn.functional.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2),
                                                                   enable_gqa=grouped)
        return out.transpose(1, 2)

    return call


def our_call(flashtune, cell, sets, page_size=0):
    dim, batch, heads, kv_heads, context = cell
    problem = flashtune.problem(batch, heads, kv_heads, 1, context, dim, True, decode=True, page_size=page_size)
    flashtune.prepare(problem)
    workspace = flashtune.workspace(problem)
    lengths = torch.full((batch,), context, dtype=torch.int32, device="cuda")
    outputs = {id(s[0]): (torch.empty_like(s[0]), torch.empty(batch, heads, 1, device="cuda")) for s in sets}
    cache, pages = {"lengths": lengths}, {}
    if page_size:
        columns = context // page_size
        table = torch.randperm(batch * columns, device="cuda", dtype=torch.int32).view(batch, columns)
        cache.update(page_table=table, num_pages=batch * columns, max_pages=columns)
        pages = {id(q): (in_pages(k, page_size, table), in_pages(v, page_size, table)) for q, k, v in sets}

    def call(q, k, v):
        o, lse = outputs[id(q)]
        k, v = pages.get(id(q), (k, v))
        flashtune.forward(problem, q, k, v, o, lse, workspace, **cache)
        return o

    return call, problem


# --- right, before fast

def check(cell, inputs, calls):
    """The largest error of each in some heads; ours may have twice the worst peer's and a unit in the last place."""
    q, k, v = inputs
    dim, batch, heads, kv_heads, _ = cell
    outputs = {name: call(q, k, v).clone() for name, call in calls.items()}
    worst, scale = {name: 0.0 for name in calls}, 0.0
    for b, h in {(0, 0), (batch - 1, heads - 1), (batch // 2, heads // 3)}:
        kd, vd = k[b, :, h * kv_heads // heads].double(), v[b, :, h * kv_heads // heads].double()
        exact = torch.softmax(q[b, 0, h].double() @ kd.T / math.sqrt(dim), dim=0) @ vd
        scale = max(scale, exact.abs().max().item())
        for name, out in outputs.items():
            worst[name] = max(worst[name], (out[b, 0, h].double() - exact).abs().max().item())
    unit = scale * 2.0 ** -8
    bound = 2 * max([worst[name] for name in calls if name in BACKENDS], default=unit) + unit
    for name, out in outputs.items():
        apart = (out.float() - outputs["flashtune"].float()).abs().max().item()
        if not (worst[name] <= bound and apart <= 4 * unit + 2 * bound):
            raise RuntimeError(f"{name_of(cell)}: the largest error of {name} is {worst[name]:.3g}, {apart:.3g} from ours; bound {bound:.3g}")
    return worst["flashtune"]


def compare(cell, flashtune, arguments, l2_bytes):
    torch.manual_seed(1)
    sets = make_sets(cell, l2_bytes)
    calls, missing, decisions = {}, {}, {}
    for page_size in [0] + ([arguments.page_size] if arguments.page_size else []):
        name = f"flashtune_page{page_size}" if page_size else "flashtune"
        calls[name], problem = our_call(flashtune, cell, sets, page_size)
        decisions[name] = flashtune.decide(problem)
    for name, backend in BACKENDS.items():
        call = peer_call(backend, cell[2] != cell[3])
        try:
            call(*sets[0])
            calls[name] = call
        except RuntimeError as error:  # this backend does not do this shape
            missing[name] = str(error).splitlines()[0]
    error = check(cell, sets[0], calls)

    expected = cache_bytes(cell) / 4.5e12 + 4e-6
    launches = max(len(sets), min(400, math.ceil(2.5e-3 / expected)))
    contenders = {name: Contender(call, sets, launches) for name, call in calls.items()}
    interleave(list(contenders.values()), arguments.repeats, arguments.idle_ms / 1000.0)

    dim, batch, heads, kv_heads, context = cell
    config, grade = decisions["flashtune"]
    record = {"head_dim": dim, "batch": batch, "heads": heads, "kv_heads": kv_heads, "context": context,
              "kv_mib": round(cache_bytes(cell) / 2 ** 20, 1), "config": config, "grade": grade, "max_error": error}
    for name, contender in contenders.items():
        record[name] = contender.result()
        record[name]["gb_per_s"] = round(cache_bytes(cell) / record[name]["median_us"] / 1e3, 1)
        if name in decisions:
            record[name]["config"], record[name]["grade"] = decisions[name]
    record.update({name: {"missing": why} for name, why in missing.items()})
    best = min(record[name]["median_us"] for name in BACKENDS if "median_us" in record[name])
    record["best_peer"] = {"median_us": best}
    return record


# --- the report

def line_of(record):
    text = f"{name_of(cell_of(record)):<26} {record['kv_mib']:7.0f} MiB"
    for name, found in record.items():
        if isinstance(found, dict) and "gb_per_s" in found:
            text += f"  {name} {found['median_us']:.1f}"
    return text + f"  {record['flashtune']['gb_per_s']:.0f} GB/s  {record['best_peer']['median_us'] / record['flashtune']['median_us']:.3f}x"


def parse_arguments():
    parser = parser_of(__doc__, "b1-,k1024")
    add_library_flags(parser, repeats=11, idle_ms=0)
    parser.add_argument("--page-size", type=int, default=0, help="also a cache in pages of so many keys")
    return parsed(parser)


def main():
    arguments = parse_arguments()
    cells = chosen(all_cells(), arguments, name_of)
    flashtune, properties = open_flashtune(arguments)
    report = Report(arguments.output, "decode bf16, one new row, device time of one call, against torch's attention backends in the same run",
                    frame_of(flashtune.version), part=bool(arguments.cells))

    started, records = time.time(), []
    for cell in cells:
        records.append(compare(cell, flashtune, arguments, properties.L2_cache_size))
        torch.cuda.empty_cache()
        print(line_of(records[-1]), flush=True)
    records = report.cells(records, cell_of, all_cells())
    summary = summary_of(records, [*BACKENDS, "best_peer"])
    if arguments.page_size:
        paged = f"flashtune_page{arguments.page_size}"
        slowdowns = [1 / ratio for ratio in ratios(records, paged)]
        summary[paged] = {"cells": len(slowdowns), "worst_over_contiguous": round(1 / min(slowdowns), 4)}
    for key, value in summary.items():
        print(key, json.dumps(value))
    print(f"{time.time() - started:.0f} s")
    report.write({"timed": "events around a CUDA graph of about 2.5 ms that goes round the input sets", "idle_ms": arguments.idle_ms,
                  "inputs": "normal, together twice the L2", "repeats": arguments.repeats, "order": "interleaved, rotating",
                  "ceiling_gb_per_s": CEILING}, summary, records)


if __name__ == "__main__":
    main()
