#!/usr/bin/env python3
"""flashtune against torch's attention backends on one GPU, on the 43 prefill shapes of the README.

Both run as CUDA graphs captured and timed by the same torch code on the same stream; the inputs rotate past the L2; the backends
take turns, each after an idle pause, so that all run at the clock of a burst. Outputs are checked against double precision first.

    cmake --preset release && cmake --build --preset release
    build/release/flashtune sweep --suite benchmarks/prefill_cells.json   # what is not tuned goes by its grade, which is reported
    scripts/compare_peers.py --output benchmarks/results/h200-prefill.json

A peer that torch does not have (FlashAttention-3) is reckoned by the cell's figures in benchmarks/results/h200-prefill-peers.json:
(ours over cuDNN in this run) x (cuDNN over the best peer there). Needs torch with CUDA, and nothing else."""
import json
import math
import pathlib
import statistics
import time

import torch
from torch.nn.attention import sdpa_kernel

from peers.binding import open_flashtune
from peers.command import Report, add_library_flags, chosen, parsed, parser_of
from peers.measure import BACKENDS, Contender, frame_of, interleave, summary_of


# --- the shapes: (head_dim, batch, heads, kv_heads, seq, causal)

def all_cells():
    cells = []
    for dim, heads in ((64, 32), (128, 16), (256, 8)):
        for causal in (False, True):
            cells += [(dim, 16384 // seq, heads, heads, seq, causal) for seq in (512, 1024, 2048, 4096, 8192, 16384)]
    cells += [(128, 16384 // seq, 32, 8, seq, True) for seq in (1024, 4096, 16384)]
    cells += [(128, 1, 96, 96, seq, True) for seq in (512, 1024, 2048, 4096)]
    return cells


def name_of(cell):
    dim, batch, heads, kv_heads, seq, causal = cell
    return f"d{dim}-b{batch}-h{heads}-{kv_heads}-s{seq}-{'causal' if causal else 'full'}"


def flops_of(cell):
    dim, batch, heads, _, seq, causal = cell
    return 4.0 * batch * heads * seq * seq * dim * (0.5 if causal else 1.0)


# --- inputs, and who runs on them

def make_sets(cell, l2_bytes):
    """As many (q, k, v) as together exceed twice the L2, at least two; [batch, seq, heads, dim]."""
    dim, batch, heads, kv_heads, seq, _ = cell
    set_bytes = 2 * batch * seq * dim * (2 * heads + 2 * kv_heads)
    count = max(2, math.ceil(2 * l2_bytes / set_bytes) + 1)

    def random(n):
        return torch.randn(batch, seq, n, dim, device="cuda", dtype=torch.bfloat16)

    return [(random(heads), random(kv_heads), random(kv_heads)) for _ in range(count)]


def peer_call(backend, causal, grouped):
    def call(q, k, v):
        with sdpa_kernel(backend):
            out = torch.nn.functional.scaled_dot_product_attention(
                q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), is_causal=causal, enable_gqa=grouped)
        return out.transpose(1, 2)

    return call


def our_call(flashtune, cell, sets):
    dim, batch, heads, kv_heads, seq, causal = cell
    problem = flashtune.problem(batch, heads, kv_heads, seq, seq, dim, causal)
    flashtune.prepare(problem)
    workspace = flashtune.workspace(problem)
    outputs = {id(s[0]): (torch.empty_like(s[0]), torch.empty(batch, heads, seq, device="cuda")) for s in sets}

    def call(q, k, v):
        o, lse = outputs[id(q)]
        flashtune.forward(problem, q, k, v, o, lse, workspace)
        return o

    return call, problem


# --- right, before fast

def exact_rows(q, k, v, causal, rows, batch, head):
    """Some rows of one head in double precision."""
    group = q.shape[2] // k.shape[2]
    qd, kd, vd = q[batch, rows, head].double(), k[batch, :, head // group].double(), v[batch, :, head // group].double()
    scores = qd @ kd.T / math.sqrt(q.shape[3])
    if causal:
        scores.masked_fill_(torch.arange(k.shape[1], device="cuda")[None, :] > rows[:, None], -math.inf)
    return torch.softmax(scores, dim=1) @ vd


def check_agreement(cell, inputs, ours, peers):
    """Ours is as near to double precision as twice the worst peer, plus a unit in the last place; and near the peer everywhere."""
    q, k, v = inputs
    _, batch, heads, _, seq, causal = cell
    out = ours(q, k, v).clone()
    others = {name: call(q, k, v) for name, call in peers.items()}
    rows = torch.unique(torch.cat([torch.randint(seq, (62,), device="cuda"), torch.tensor([0, seq - 1], device="cuda")]))
    worst = {name: 0.0 for name in ("ours", *others)}
    scale = 0.0
    for b, h in {(0, 0), (batch - 1, heads - 1)}:
        exact = exact_rows(q, k, v, causal, rows, b, h)
        scale = max(scale, exact.abs().max().item())
        for name, tensor in (("ours", out), *others.items()):
            worst[name] = max(worst[name], (tensor[b, rows, h].double() - exact).abs().max().item())
    unit = scale * 2.0 ** -8
    bound = 2 * max([worst[name] for name in others], default=unit) + unit
    if not worst["ours"] <= bound:
        raise RuntimeError(f"{name_of(cell)}: our largest error {worst['ours']:.3g} is above {bound:.3g}")
    for name, tensor in others.items():
        apart = (out.float() - tensor.float()).abs().max().item()
        if not apart <= 4 * max(unit, tensor.float().abs().max().item() * 2.0 ** -8):
            raise RuntimeError(f"{name_of(cell)}: ours and {name} are {apart:.3g} apart somewhere")
    return worst["ours"]


# --- time

def compare(cell, flashtune, backends, arguments, l2_bytes):
    torch.manual_seed(1)
    sets = make_sets(cell, l2_bytes)
    ours, problem = our_call(flashtune, cell, sets)
    calls, missing = {}, {}
    for name in backends:
        call = peer_call(BACKENDS[name], cell[5], cell[2] != cell[3])
        try:
            call(*sets[0])
            calls[name] = call
        except RuntimeError as error:  # this backend does not do this shape
            missing[name] = str(error).splitlines()[0]
    error = check_agreement(cell, sets[0], ours, calls)

    # One replay lasts about 2 ms at 300 TFLOP/s: long beside what an event costs, short beside a power limit's reaction.
    launches = max(len(sets), min(200, math.ceil(2e-3 / (flops_of(cell) / 300e12))))
    contenders = {name: Contender(call, sets, launches) for name, call in (("flashtune", ours), *calls.items())}
    interleave(list(contenders.values()), arguments.repeats, arguments.idle_ms / 1000.0)

    dim, batch, heads, kv_heads, seq, causal = cell
    config, grade = flashtune.decide(problem)
    record = {"head_dim": dim, "batch": batch, "heads": heads, "kv_heads": kv_heads, "seq": seq, "causal": causal, "config": config,
              "grade": grade, "max_error": error}
    for name, contender in contenders.items():
        record[name] = contender.result()
        record[name]["tflops"] = round(flops_of(cell) / record[name]["median_us"] / 1e6, 1)
    record.update({name: {"missing": why} for name, why in missing.items()})
    return record


# --- peers that this run has not

def published_peers():
    """Cell to TFLOP/s by peer."""
    path = pathlib.Path(__file__).resolve().parent.parent / "benchmarks" / "results" / "h200-prefill-peers.json"
    return {cell_of(cell): cell for cell in json.loads(path.read_text())["cells"]}


def against_best(record, published):
    """Ours over the best peer of the cell: measured here against cuDNN, and from there on by the published figures."""
    figures = published.get(cell_of(record))
    if figures is None or "median_us" not in record.get("cudnn", {}):
        return None
    best = max(figures["flash"], figures["cudnn"], figures["fa3"])
    return round(record["cudnn"]["median_us"] / record["flashtune"]["median_us"] * figures["cudnn"] / best, 4)


def summary_against_best(records):
    values = [r["against_best"] for r in records if r["against_best"] is not None]
    return {"vs_best_peer": {"cells": len(values), "geomean": round(statistics.geometric_mean(values), 4), "least": min(values)}} if values else {}


# --- the report

def line_of(record, backends):
    text = f"{name_of(cell_of(record)):<28} {record['grade']:<12} {record['flashtune']['tflops']:7.1f}"
    for peer in backends:
        found = record.get(peer, {})
        text += f"  {peer} {found['tflops']:7.1f} ({found['median_us'] / record['flashtune']['median_us']:.3f}x)" if "tflops" in found else f"  {peer} -"
    return text + (f"  best {record['against_best']:.3f}x" if record["against_best"] else "")


def cell_of(record):
    return tuple(record[key] for key in ("head_dim", "batch", "heads", "kv_heads", "seq", "causal"))


def parse_arguments():
    parser = parser_of(__doc__, "d128,s512-causal")
    add_library_flags(parser, repeats=9, idle_ms=40)
    parser.add_argument("--backend", default="flash,cudnn", help="torch backends, comma-separated: flash, cudnn")
    arguments = parsed(parser)
    for name in arguments.backend.split(","):
        if name not in BACKENDS:
            parser.error(f"--backend {name}: supported: {', '.join(BACKENDS)}")
    return arguments


def main():
    arguments = parse_arguments()
    cells, backends = chosen(all_cells(), arguments, name_of), arguments.backend.split(",")
    flashtune, properties = open_flashtune(arguments)
    report = Report(arguments.output, "prefill bf16, device time of one call, against torch's attention backends in the same run",
                    frame_of(flashtune.version), part=bool(arguments.cells))

    started = time.time()
    records, published = [], published_peers()
    for cell in cells:
        records.append(compare(cell, flashtune, backends, arguments, properties.L2_cache_size))
        records[-1]["against_best"] = against_best(records[-1], published)
        print(line_of(records[-1], backends), flush=True)
        torch.cuda.empty_cache()
    records = report.cells(records, cell_of, all_cells())
    summary = {**summary_of(records, backends), **summary_against_best(records)}
    for key, value in summary.items():
        print(f"{key}: geometric mean {value['geomean']:.3f}, least {value['least']:.3f}, {value['cells']} cells")
    print(f"{time.time() - started:.0f} s")
    report.write({"timed": "events around a CUDA graph that goes round the input sets", "inputs": "normal, together twice the L2",
                  "idle_ms": arguments.idle_ms, "repeats": arguments.repeats, "order": "interleaved, rotating"}, summary, records)


if __name__ == "__main__":
    main()
