"""The number of splits that FlashAttention-2 publishes a rule for, and a tuned decode config with that number."""
import math

from peers.command import config_of, fields_of


def published_splits(blocks, units, key_blocks):
    """The fewest splits whose last wave of blocks is filled at least 0.85 times as well as the best number's, of blocks without splits
    and of the blocks that the GPU holds at once."""
    if blocks >= 0.8 * units:
        return 1
    most = min(128, units, key_blocks)
    filled = {}
    for splits in range(1, most + 1):
        if splits == 1 or math.ceil(key_blocks / splits) != math.ceil(key_blocks / (splits - 1)):
            waves = blocks * splits / units
            filled[splits] = waves / math.ceil(waves)
    return min(splits for splits, share in filled.items() if share >= 0.85 * max(filled.values()))


def splits_by_rule(record, sms):
    """Of one cell of a file of compare_decode.py."""
    fields = fields_of(record["config"])[1]
    blocks = record["batch"] * record["kv_heads"] * math.ceil(record["heads"] // record["kv_heads"] / int(fields["br"]))
    # That rule counts two blocks for each SM, and key blocks of 128 (256 for dims up to 64).
    return published_splits(blocks, 2 * sms, math.ceil(record["context"] / (256 if record["head_dim"] <= 64 else 128)))


def with_splits(config, splits):
    """The same kernel with another number of splits; where no cluster holds so many, merged by the last block."""
    family, fields = fields_of(config)
    fields["splits"] = str(splits)
    if fields["merge"] == "cluster" and not 2 <= splits <= 16:
        fields["merge"] = "last_block"
    return config_of(family, fields)
