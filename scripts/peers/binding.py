"""The C API (runtime/include/flashtune/flashtune.h) by ctypes, as a program that links it would use it."""
import ctypes
import os
import pathlib
import sys

import torch

from peers.command import ROOT
from peers.structs import Decision, Options, Problem, Tensors


class Flashtune:
    """The library, as a program that links it would use it."""

    def __init__(self, path, database, nvrtc, template_root=None):
        self.lib = ctypes.CDLL(str(path))
        for name in ("ft_version", "ft_last_error", "ft_grade_text"):
            getattr(self.lib, name).restype = ctypes.c_char_p
        options = Options()
        options.device = torch.cuda.current_device()
        options.database = database.encode() if database else None
        options.nvrtc = nvrtc.encode() if nvrtc else None
        options.template_root = str(template_root).encode() if template_root else None
        self.engine = ctypes.c_void_p()
        self.require(self.lib.ft_engine_create(ctypes.byref(options), ctypes.byref(self.engine)))
        self.version = self.lib.ft_version().decode()

    def require(self, status):
        if status != 0:
            raise RuntimeError(f"flashtune: {self.lib.ft_last_error().decode()}")

    def problem(self, batch, heads, kv_heads, seq_q, seq_kv, head_dim, causal, decode=False, page_size=0, dtype=1, layout=0,
                precision=None):
        """Types, layouts and precisions by the library's numbers: bf16, [batch, seq, heads, dim] and the usual precision."""
        problem = Problem()
        size = ctypes.c_size_t(ctypes.sizeof(problem))
        self.lib.ft_problem_init_sized(ctypes.byref(problem), size, dtype, batch, heads, kv_heads, seq_q, seq_kv, head_dim)
        problem.op, problem.causal, problem.page_size = int(decode), int(causal), page_size
        if precision is not None:
            problem.precision = precision
        self.require(self.lib.ft_problem_set_layout(ctypes.byref(problem), layout))
        return problem

    def prepare(self, problem):
        self.require(self.lib.ft_prepare(self.engine, ctypes.byref(problem), ctypes.c_size_t(1)))

    def decide(self, problem):
        decision = Decision()
        self.require(self.lib.ft_decide(self.engine, ctypes.byref(problem), ctypes.byref(decision)))
        config = ctypes.create_string_buffer(512)
        self.require(self.lib.ft_config_text(self.engine, ctypes.byref(problem), config, ctypes.c_size_t(len(config)), None))
        return config.value.decode(), self.lib.ft_grade_text(decision.grade).decode()

    def workspace(self, problem):
        """A tensor that forward() can work in; None where it needs none."""
        size = ctypes.c_size_t()
        self.require(self.lib.ft_workspace_bytes(self.engine, ctypes.byref(problem), ctypes.byref(size)))
        return torch.zeros(size.value, dtype=torch.uint8, device="cuda") if size.value else None

    def forward(self, problem, q, k, v, o, lse, workspace=None, **cache):
        """`cache`: lengths and page_table as tensors, num_pages, max_pages."""
        tensors = Tensors(q=q.data_ptr(), k=k.data_ptr(), v=v.data_ptr(), o=o.data_ptr(), lse=lse.data_ptr())
        for name, value in cache.items():
            setattr(tensors, name, value.data_ptr() if isinstance(value, torch.Tensor) else value)
        stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
        scratch = ctypes.c_void_p(workspace.data_ptr() if workspace is not None else None)
        self.require(self.lib.ft_forward(self.engine, ctypes.byref(problem), ctypes.byref(tensors), scratch, stream))


def find_library(given):
    if given and not pathlib.Path(given).is_file():
        sys.exit(f"--library {given}: there is no such file")
    built = [ROOT / "build" / preset / "runtime" / "libflashtune.so" for preset in ("release", "dev")]
    for place in [pathlib.Path(given)] if given else built:
        if place.is_file():
            return place
    sys.exit("libflashtune.so is not built; cmake --preset release && cmake --build --preset release, or pass --library")


def torch_nvrtc():
    """The folder of the NVRTC that torch brought, if it did."""
    for entry in sys.path:
        for folder in pathlib.Path(entry or ".").glob("nvidia/*/lib"):
            if any(folder.glob("libnvrtc.so.*")):
                return str(folder)
    return None


def open_flashtune(arguments, template_root=None):
    """The engine that --library, --db and --nvrtc ask for, and the properties of the GPU that it shares with torch. `template_root`:
    kernels from that folder instead of the library's own."""
    if not torch.cuda.is_available():
        sys.exit("torch sees no GPU here")
    torch.cuda.init()
    torch.zeros(1, device="cuda")  # the primary context that the engine shares
    nvrtc = arguments.nvrtc or os.environ.get("CUDA_HOME") or torch_nvrtc()
    return Flashtune(find_library(arguments.library), arguments.db, nvrtc, template_root), torch.cuda.get_device_properties(0)
