"""The cells of decode, as benchmarks/decode_cells.json has them: (head_dim, batch, heads, kv_heads, context)."""
import json

from peers.command import ROOT


def all_cells():
    entries = json.loads((ROOT / "benchmarks" / "decode_cells.json").read_text())
    return [tuple(e[key] for key in ("head_dim", "batch", "heads", "kv_heads", "seq_kv")) for e in entries]


def cell_of(record):
    return tuple(record[key] for key in ("head_dim", "batch", "heads", "kv_heads", "context"))


def name_of(cell):
    dim, batch, heads, kv_heads, context = cell
    return f"d{dim}-b{batch}-h{heads}-{kv_heads}-k{context}"


def cache_bytes(cell):
    dim, batch, _, kv_heads, context = cell
    return 4.0 * batch * kv_heads * context * dim
