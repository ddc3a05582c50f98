#!/usr/bin/env python3
"""The ladder on one GPU, at the benchmark that its hand-written kernels were published with (batch 4, 96 heads, head dim 128) and at
GPT-2's (batch 8, 12 heads, head dim 64): fp32, no mask, 512 to 16384 rows. Their own figures on an H200 stand beside ours.

    scripts/measure_ladder.py --cli build/release/flashtune --output benchmarks/results/h200-ladder.json
    scripts/measure_ladder.py --cli build/release/flashtune --output benchmarks/results/h200-ladder.json --cells d128 --lengths 4096,8192

Rungs that are slow stop at 2048 rows. Tunes first what the database lacks, as far as --sweep-to. A chart is drawn where all of its
lengths are climbed. Needs a GPU, no torch."""
import json
import subprocess
import sys
import time

from peers.command import Report, add_lengths_flag, chosen, parsed, parser_of

# TFLOP/s of the kernels as their author built them, one H200, 2026-11-20, by head dim and length.
SEED_LENGTHS = (512, 1024, 2048, 4096, 8192)
SEEDS = {
    128: {"flash_naive": (0.6, 0.6, 0.6), "flash_2d": (0.9, 0.9, 0.9), "warp_wmma": (1.8, 1.8, 1.9), "scalar2d_row_tile": (0.9, 0.9, 0.9),
          "kernel_mma": (7.7, 7.8, 7.9, 8.0), "kernel_mma_swizzle": (11.0, 11.4, 11.9, 12.2),
          "kernel_mma_qreg": (25.3, 26.8, 27.4, 28.0, 28.4), "kernel_mma_qreg_async": (21.9, 22.8, 23.6, 24.2, 24.4)},
    64: {"flash_naive": (0.3, 0.4, 0.4), "flash_2d": (0.7, 0.7, 0.7), "warp_wmma": (0.5, 0.4, 0.4), "scalar2d_row_tile": (0.9, 0.9, 0.9),
         "kernel_mma_qreg": (27.6, 32.1, 33.3, 33.6), "kernel_mma_qreg_async": (21.8, 24.8, 26.0, 26.9)},
}
BENCHMARKS = ((4, 96, 128), (8, 12, 64))  # batch, heads, head dim
LENGTHS = (512, 1024, 2048, 4096, 8192, 16384)


def name_of(cell):
    (batch, heads, head_dim), seq = cell
    return f"d{head_dim}-b{batch}-h{heads}-s{seq}"


def call(arguments, command, batch, heads, head_dim, lengths, *more):
    line = [arguments.cli, command, "--batch", batch, "--heads", heads, "--head-dim", head_dim, "--seq-q", ",".join(map(str, lengths)), *more]
    if arguments.db:
        line += ["--db", arguments.db]
    return subprocess.run([str(word) for word in line], stdout=subprocess.PIPE, text=True, check=True).stdout


def climb(arguments, batch, heads, head_dim, lengths):
    """Tunes what the tuned rungs ask for, as far as it is not too long, and climbs."""
    tuned = [n for n in lengths if n <= arguments.sweep_to]
    for flags in (["--dtype", "fp32", "--precision", "ieee,tf32x3,tf32"], ["--dtype", "fp16"]) if tuned else ():
        call(arguments, "sweep", batch, heads, head_dim, tuned, *flags, "--layout", "bhsd", "--effort", arguments.effort)
    # Which rungs are slow is seen at the first length: one that is short goes before those that were asked for.
    climbed = lengths if min(lengths) <= 2048 else (LENGTHS[0], *lengths)
    chart = arguments.chart.format(head_dim) if tuple(lengths) == LENGTHS else ""
    steps = json.loads(call(arguments, "ladder", batch, heads, head_dim, climbed, "--no-sweep", "--format", "json", "--chart", chart))
    return [step for step in steps if seq_of(step) in lengths]


def seq_of(step):
    return int(step["problem"].split(" q")[1].split(" ")[0])


def cells_of(steps, batch, heads, head_dim):
    cells = []
    for step in steps:
        seq = seq_of(step)
        cell = {"head_dim": head_dim, "batch": batch, "heads": heads, "seq": seq, **step}
        seed = SEEDS[head_dim].get(step["rung"], ())
        at = SEED_LENGTHS.index(seq) if seq in SEED_LENGTHS else len(seed)
        if at < len(seed):
            cell["seed_tflops"] = seed[at]
        cells.append(cell)
        speed = f"{step['tflops']:8.1f} TFLOP/s" if step["tflops"] else step["skipped"][:60]
        print(f"d{head_dim} {seq:>6} {step['rung']:<22} {speed}  {'seed ' + str(cell['seed_tflops']) if 'seed_tflops' in cell else ''}", flush=True)
    return cells


def key_of(cell):
    return tuple(cell[name] for name in ("head_dim", "batch", "heads", "seq", "rung"))


def device_of(arguments):
    devices = subprocess.run([arguments.cli, "devices", "--format", "json"], capture_output=True, text=True, check=True).stdout
    found = json.loads(devices)["devices"]
    if not found:
        sys.exit("there is no GPU here, or no driver")
    return found[0]


def main():
    parser = parser_of(__doc__, "d128,d64-b8-h12-s512")
    add_lengths_flag(parser)
    parser.add_argument("--cli", required=True, help="the flashtune program")
    parser.add_argument("--sweep-to", type=int, default=2048, help="longest length that is tuned first (default 2048; 0: none)")
    parser.add_argument("--effort", default="quick", help="of the tuning: quick (default), standard, exhaustive")
    parser.add_argument("--chart", default="ladder-d{}.svg", help="where the charts go; {} is the head dim")
    arguments = parsed(parser)
    wanted = chosen([(shape, n) for shape in BENCHMARKS for n in LENGTHS], arguments, name_of, length_of=lambda cell: cell[1])
    device = device_of(arguments)
    version = subprocess.run([arguments.cli, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    report = Report(arguments.output, "the ladder: device time of one call, fp32 (rungs of 16 bits last), no mask",
                    {"device": device["name"], "driver": device["driver"], "flashtune": version}, bool(arguments.cells or arguments.lengths))

    started, cells = time.time(), []
    for shape in BENCHMARKS:
        if lengths := [n for of, n in wanted if of == shape]:
            cells += cells_of(climb(arguments, *shape, lengths), *shape[:2], shape[2])
    rungs = list(dict.fromkeys(cell["rung"] for cell in [*cells, *report.earlier]))
    cells = report.cells(cells, key_of, [(dim, batch, heads, n, rung) for batch, heads, dim in BENCHMARKS for n in LENGTHS for rung in rungs])
    ratios = [c["tflops"] / c["seed_tflops"] for c in cells if c.get("seed_tflops") and c["tflops"]]
    print(f"{len(ratios)} figures of the seeds, least ratio {min(ratios, default=0):.2f}; {time.time() - started:.0f} s")
    report.write({"timed": "flashtune ladder: each rung proven, then timed with a cold L2", "seeds": "measured on an H200, 2026-11-20"},
                 {"seeds": {"figures": len(ratios), "least_ratio": round(min(ratios, default=0), 4)}}, cells)


if __name__ == "__main__":
    sys.exit(main())
