"""Time: CUDA graphs of launches that go round the input sets, replayed in turns; and the frame of a report."""
import collections
import datetime
import json
import pathlib
import statistics
import subprocess
import time

import torch
from torch.nn.attention import SDPBackend

BACKENDS = {"flash": SDPBackend.FLASH_ATTENTION, "cudnn": SDPBackend.CUDNN_ATTENTION}


class Contender:
    """A captured graph that goes round the input sets."""

    def __init__(self, call, sets, launches):
        self.launches = launches
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for s in sets[:2]:
                call(*s)
        torch.cuda.current_stream().wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        held = collections.deque(maxlen=len(sets))  # so that torch's outputs rotate past the L2 too
        with torch.cuda.graph(self.graph):
            for i in range(launches):
                held.append(call(*sets[i % len(sets)]))
        self.samples = []

    def sample(self, idle_s):
        torch.cuda.synchronize()
        time.sleep(idle_s)
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        self.graph.replay()
        end.record()
        end.synchronize()
        self.samples.append(begin.elapsed_time(end) * 1000.0 / self.launches)

    def result(self):
        quartiles = statistics.quantiles(self.samples, n=4)
        median = statistics.median(self.samples)
        return {"median_us": round(median, 3), "spread_us": round(quartiles[2] - quartiles[0], 3), "samples": len(self.samples)}


def interleave(contenders, repeats, idle_s):
    """Samples of each, in a rotating order."""
    for contender in contenders:
        contender.graph.replay()
    for repeat in range(repeats):
        turn = repeat % len(contenders)
        for contender in contenders[turn:] + contenders[:turn]:
            contender.sample(idle_s)


def ratios(cells, peer, grade=None):
    return [c[peer]["median_us"] / c["flashtune"]["median_us"] for c in cells
            if "median_us" in c.get(peer, {}) and (grade is None or c["grade"] == grade)]


def summary_of(cells, backends):
    summary = {}
    for peer in backends:
        for grade in (None, *sorted({c["grade"] for c in cells})):
            values = ratios(cells, peer, grade)
            if values:
                summary[f"vs_{peer}" + (f"_{grade}" if grade else "")] = {
                    "cells": len(values), "geomean": round(statistics.geometric_mean(values), 4), "least": round(min(values), 4)}
    return summary


def driver_version():
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, check=True).stdout.splitlines()[0].strip()
    except (OSError, subprocess.CalledProcessError, IndexError):
        return ""


def write_report(path, what, flashtune_version, protocol, summary, cells):
    properties = torch.cuda.get_device_properties(0)
    report = {
        "what": what,
        "device": properties.name, "sms": properties.multi_processor_count, "arch": f"sm_{properties.major}{properties.minor}",
        "driver": driver_version(), "flashtune": flashtune_version, "torch": torch.__version__, "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "when": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "protocol": protocol, "summary": summary, "cells": cells}
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(json.dumps(report, indent=1) + "\n")
    temporary.replace(path)
    print(f"wrote {path}")
