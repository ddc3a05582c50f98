"""Time: CUDA graphs of launches that go round the input sets, replayed in turns; and what ran, for a report."""
import collections
import math
import statistics
import time

import torch
from torch.nn.attention import SDPBackend

from .command import driver_version

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


def interleave(contenders, repeats, idle_s, budget_s=math.inf):
    """Samples of each, in a rotating order: `repeats`, or, where these would last longer than `budget_s`, fewer, but three at least."""
    torch.cuda.synchronize()
    started = time.perf_counter()
    for contender in contenders:
        contender.graph.replay()
    torch.cuda.synchronize()
    round_s = time.perf_counter() - started + idle_s * len(contenders)
    for repeat in range(min(repeats, max(3, int(min(budget_s / round_s, repeats))))):
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


def frame_of(flashtune_version):
    """What a report says of the GPU and of everything that ran on it."""
    properties = torch.cuda.get_device_properties(0)
    return {"device": properties.name, "sms": properties.multi_processor_count, "arch": f"sm_{properties.major}{properties.minor}",
            "driver": driver_version(), "flashtune": flashtune_version, "torch": torch.__version__, "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version()}
