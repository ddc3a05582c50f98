"""The published rule by hand, and configs that follow it: no torch, no GPU."""
import unittest

from peers.split_rule import published_splits, splits_by_rule, with_splits

CONFIG = "decode_split br=16,bc=32,splits=8,merge=cluster,early=2"


def record(batch, kv_heads, context, head_dim=128):
    return {"head_dim": head_dim, "batch": batch, "heads": 4 * kv_heads, "kv_heads": kv_heads, "context": context, "config": CONFIG}


class Rule(unittest.TestCase):
    def test_a_full_gpu_is_not_split(self):
        self.assertEqual(published_splits(212, 264, 64), 1)

    def test_the_fewest_splits_that_fill_the_last_wave(self):
        # 64 blocks on 264 places: 1 fills 0.24 of a wave, 2 0.48, 3 0.73, 4 0.97, and no more than 5 of 6 later.
        self.assertEqual(published_splits(64, 264, 64), 4)

    def test_never_more_than_blocks_of_keys(self):
        self.assertEqual(published_splits(1, 264, 4), 4)

    def test_numbers_that_leave_as_many_keys_to_the_longest_do_not_count(self):
        # 7 blocks of keys: 6 would fill enough of 7's share, but like 4 and 5 it leaves two to some split.
        self.assertEqual(published_splits(1, 264, 7), 7)

    def test_counts_blocks_of_the_tuned_rows(self):
        self.assertEqual(splits_by_rule(record(8, 8, 8192), 132), 4)
        self.assertEqual(splits_by_rule(record(128, 8, 8192), 132), 1)
        self.assertEqual(splits_by_rule(record(1, 8, 1024, head_dim=64), 132), 4)  # four blocks of 256 keys


class Configs(unittest.TestCase):
    def test_keep_all_but_the_splits(self):
        self.assertEqual(with_splits(CONFIG, 16), CONFIG.replace("splits=8", "splits=16"))

    def test_leave_the_cluster_where_it_holds_no_such_number(self):
        for splits in (1, 17):
            self.assertEqual(with_splits(CONFIG, splits),
                             CONFIG.replace("splits=8", f"splits={splits}").replace("merge=cluster", "merge=last_block"))


if __name__ == "__main__":
    unittest.main()
