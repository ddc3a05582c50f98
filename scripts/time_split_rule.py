#!/usr/bin/env python3
"""What tuning the number of splits is worth: each tuned decode kernel of a file of compare_decode.py as it is, and with the splits that
FlashAttention-2's published rule gives, by the command line tool; the times go into that file, beside the cell's others.

    scripts/time_split_rule.py --cli build/release/flashtune --file benchmarks/results/h200-decode.json

A process of its own, so that nobody else holds the GPU. Needs that GPU, no torch."""
import argparse
import json
import pathlib
import subprocess
import sys

from peers.command import chosen, driver_version, replace_json
from peers.decode_cells import cell_of, name_of
from peers.split_rule import splits_by_rule, with_splits


def median_us(arguments, record, config):
    command = [arguments.cli, "run", "--op", "decode", "--batch", record["batch"], "--heads", record["heads"], "--kv-heads",
               record["kv_heads"], "--seq-kv", record["context"], "--head-dim", record["head_dim"], "--causal", "--config", config,
               "--format", "json"] + (["--db", arguments.db] if arguments.db else [])
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError((done.stderr.strip() or f"exit code {done.returncode}").splitlines()[0])
    return round(json.loads(done.stdout)["median_us"], 3)


def timed(arguments, record, sms):
    splits = splits_by_rule(record, sms)
    try:
        tuned = median_us(arguments, record, record["config"])
        rule = median_us(arguments, record, with_splits(record["config"], splits))
    except RuntimeError as error:  # without its cluster, the kernel may be one that no config describes
        return {"splits": splits, "missing": str(error)}
    return {"splits": splits, "tuned_us": tuned, "rule_us": rule, "gain": round(rule / tuned, 4)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cli", required=True, help="the flashtune binary")
    parser.add_argument("--file", required=True, help="a file that compare_decode.py wrote on this GPU")
    parser.add_argument("--cells", default="", help="only cells whose name contains one of these, comma-separated: b1-,k1024")
    parser.add_argument("--db", default="", help="tuning database (default: flashtune's own)")
    arguments = parser.parse_args()
    path = pathlib.Path(arguments.file)
    report = json.loads(path.read_text())
    if report["driver"] != driver_version():
        sys.exit(f"--file {path}: measured with driver {report['driver']}, and here it is {driver_version() or 'none'}: its tuned times and "
                 "these would not compare. Measure it again first.")
    wanted = set(chosen([cell_of(record) for record in report["cells"]], arguments, name_of))
    for record in report["cells"]:
        if cell_of(record) in wanted:
            record["published_rule"] = timed(arguments, record, report["sms"])
            print(name_of(cell_of(record)), json.dumps(record["published_rule"]), flush=True)
    gains = [record["published_rule"]["gain"] for record in report["cells"] if "gain" in record.get("published_rule", {})]
    print(f"{sum(gain > 1.03 for gain in gains)} of {len(gains)} above 1.03, from {min(gains, default=0)} to {max(gains, default=0)}")
    replace_json(path, report)


if __name__ == "__main__":
    main()
