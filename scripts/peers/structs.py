"""The structs of runtime/include/flashtune/flashtune.h for ctypes, field by field; tests/scripts/test_structs.py compares them with it."""
import ctypes


class Strides(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int64) for name in ("batch", "head", "row")]


class Sized(ctypes.Structure):
    """Begins with its own size, by which the library knows which fields it has."""

    def __init__(self, **fields):
        super().__init__(size=ctypes.sizeof(type(self)), **fields)


class Problem(Sized):
    _fields_ = [("size", ctypes.c_uint32)]
    _fields_ += [(name, ctypes.c_int32) for name in ("op", "dtype", "batch", "heads", "kv_heads", "seq_q", "seq_kv", "head_dim",
                                                     "head_dim_v", "causal", "window", "page_size")]
    _fields_ += [(name, Strides) for name in ("q", "k", "v", "o")] + [("precision", ctypes.c_int32)]


class Tensors(Sized):
    _fields_ = [("size", ctypes.c_uint32)]
    _fields_ += [(name, ctypes.c_void_p) for name in ("q", "k", "v", "o", "lse")] + [("scale", ctypes.c_float)]
    _fields_ += [(name, ctypes.c_void_p) for name in ("lengths", "page_table")]
    _fields_ += [(name, ctypes.c_int32) for name in ("num_pages", "max_pages", "capacity")]


class AppendTensors(Sized):
    _fields_ = [("size", ctypes.c_uint32)]
    _fields_ += [(name, ctypes.c_void_p) for name in ("k_new", "v_new")]
    _fields_ += [(name, Strides) for name in ("k_new_strides", "v_new_strides")]
    _fields_ += [(name, ctypes.c_void_p) for name in ("k", "v", "lengths", "page_table")]
    _fields_ += [(name, ctypes.c_int32) for name in ("num_pages", "max_pages", "capacity", "rope", "rotary_dim")]
    _fields_ += [(name, ctypes.c_void_p) for name in ("cos", "sin")] + [("rope_positions", ctypes.c_int32)]
    _fields_ += [(name, ctypes.c_void_p) for name in ("q", "q_out")]


class Options(Sized):
    _fields_ = [("size", ctypes.c_uint32), ("device", ctypes.c_int32)]
    _fields_ += [(name, ctypes.c_char_p) for name in ("database", "shipped_database", "cubin_folder", "nvrtc", "template_root")]
    _fields_ += [(name, ctypes.c_int32) for name in ("pinned_chunk", "debug_checks")]
    _fields_ += [("warn", ctypes.c_void_p), ("warn_data", ctypes.c_void_p)]


class Decision(Sized):
    _fields_ = [("size", ctypes.c_uint32), ("grade", ctypes.c_int), ("expected_us", ctypes.c_double)]


# By their names in C.
STRUCTS = {"ft_strides": Strides, "ft_problem": Problem, "ft_tensors": Tensors, "ft_append_tensors": AppendTensors,
           "ft_options": Options, "ft_decision": Decision}
