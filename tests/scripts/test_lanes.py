"""How scripts/lanes judges a run of scripts/test: what it adds up, when it fails, and which lines stay the last."""
import importlib.machinery
import importlib.util
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
loader = importlib.machinery.SourceFileLoader("lanes", str(ROOT / "scripts/lanes"))
lanes = importlib.util.module_from_spec(importlib.util.spec_from_loader("lanes", loader))
loader.exec_module(lanes)

BUDGETS = lanes.Budgets(lanes={"build": 100, "proofs": None, "tests": 50}, cold=200, warm=120)
# What ctest says at its end, of a run with a skipped test; `tests` says it line for line.
CLOSING = ["100% tests passed, 0 tests failed out of 2", "", "Total Test time (real) =   0.02 sec", "",
           "The following tests did not run:", "\t  2 - gpu.test_x (Skipped)"]


class Budgets(unittest.TestCase):
    def test_are_read_with_their_totals(self):
        read = lanes.budgets_of("# words\nall-cold 200\nall-warm 120\nbuild 100  # more\nproofs long\ntests 50\n")
        self.assertEqual(read, BUDGETS)

    def test_are_refused_where_a_line_is_not_one(self):
        totals = "all-cold 2\nall-warm 1\n"
        for line in ("build", "build soon", "build -5", "build 1 2", "build 1\nbuild 2"):
            with self.assertRaisesRegex(ValueError, "build"):
                lanes.budgets_of(totals + line)
        for total in ("all-cold 2\n", "all-warm 1\n", "all-cold long\nall-warm 1\n"):
            with self.assertRaisesRegex(ValueError, "missing"):
                lanes.budgets_of(total)

    def test_of_the_repository_name_the_lanes_of_scripts_test_and_fit_its_limits(self):
        read = lanes.budgets_of((ROOT / "scripts/lanes.txt").read_text())
        text = (ROOT / "scripts/test").read_text()
        begun = []
        for name in re.findall(r"^ *lane (\S+) \"", text, re.M):
            begun += re.search(r"for preset in (.*); do", text)[1].split() if name == "$preset" else [name]
        self.assertEqual(list(read.lanes), begun)
        self.assertEqual((read.warm, read.cold), (60 * 60, 80 * 60))
        self.assertLessEqual(sum(seconds or 0 for seconds in read.lanes.values()), read.cold)


class Judging(unittest.TestCase):
    def test_a_lane_ends_where_the_next_begins(self):
        self.assertEqual(lanes.lanes_of("build 10.5\ntests 40.25\n", 100.0), [("build", 29.75), ("tests", 59.75)])

    def test_the_cache_is_warm_when_nine_in_ten_of_what_was_compiled_came_from_it(self):
        hit, miss = "# a.cpp\ndirect_cache_hit\nlocal_storage_hit\n", "# b.cpp\ncache_miss\ndirect_cache_miss\n"
        other = "# c.cpp\npreprocessed_cache_hit\ndirect_cache_miss\n# d.o\ncalled_for_link\n"
        for log, warm, words in ((9 * hit + miss, True, "9 of 10"), (8 * hit + miss, False, "8 of 9"),
                                 (8 * hit + other + miss, True, "9 of 10"), (miss, False, "0 of 1"), ("", False, "nothing"),
                                 (None, False, "no compiler cache")):
            cache = lanes.cache_of(log)
            self.assertEqual(cache.warm, warm, log)
            self.assertIn(words, cache.says)

    def test_the_table_has_each_lane_beside_its_budget_and_marks_what_is_over(self):
        self.assertEqual(lanes.table_of([("build", 100.4), ("proofs", 9000), ("tests", 12.6)], BUDGETS, 120),
                         "lane        seconds  budget\n"
                         "build           100     100  over\n"
                         "proofs         9000       -\n"
                         "tests            13      50\n"
                         "all            9113     120\n")

    def test_all_together_may_take_the_limit_and_no_more(self):
        def fault(build, tests, limit):
            return lanes.fault_of([("build", build), ("tests", tests)], BUDGETS, limit)
        self.assertEqual(fault(100, 20, 120), "")
        self.assertEqual(fault(20, 80, 120), "", "one lane over its budget fails nothing")
        self.assertIn("took 121 s, and scripts/lanes.txt allows 120; over their budgets: build", fault(110, 11, 120))
        self.assertIn("over their budgets: none", fault(100, 50, 120))
        self.assertEqual(fault(9000, 9000, None), "", "--long")

    def test_a_lane_without_a_budget_is_a_fault(self):
        self.assertIn("no budget for other", lanes.fault_of([("other", 1)], BUDGETS, 120))


class Program(unittest.TestCase):
    """scripts/lanes itself; a small program stands for ctest, and lanes that began earlier for what went before."""

    def run_lanes(self, ago, code=0, flags=(), log=None, closing=CLOSING):
        says = ["Test project", "1/2 Test #1: unit.test_x ... Passed", ""] + closing
        program = (f"import sys\nprint({os.linesep.join(says)!r}, flush=True)\n"
                   f"print('from stderr', file=sys.stderr, flush=True)\nsys.exit({code})")
        with tempfile.TemporaryDirectory() as record:
            now = lanes.uptime()
            (pathlib.Path(record) / "begun").write_text(f"build {now - ago}\ntests {now}\n")
            if log is not None:
                (pathlib.Path(record) / "compiler_cache").write_text(log)
            return subprocess.run([sys.executable, str(ROOT / "scripts/lanes"), *flags, record, sys.executable, "-c", program],
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", check=False)

    def test_keeps_the_closing_lines_the_last_and_the_table_before_them(self):
        done = self.run_lanes(ago=1000)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        lines = done.stdout.splitlines()
        self.assertEqual(lines[-len(CLOSING) - 1:], [*CLOSING, "from stderr"])
        table = lines.index("lane        seconds  budget")
        self.assertLess(lines.index("1/2 Test #1: unit.test_x ... Passed"), table)
        self.assertLess(table, lines.index(CLOSING[0]))
        self.assertRegex(done.stdout, r"build +100\d +840  over\n")
        self.assertRegex(done.stdout, r"all +100\d +4800\n")

    def test_fails_where_all_lanes_took_longer_than_a_cold_run_may(self):
        self.assertEqual(self.run_lanes(ago=4700).returncode, 0)
        done = self.run_lanes(ago=4900)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"all lanes took 490\d s, and scripts/lanes.txt allows 4800; over their budgets: build")

    def test_fails_earlier_where_the_compiler_cache_was_warm(self):
        self.assertEqual(self.run_lanes(ago=3700, log="cache_miss\n").returncode, 0)
        self.assertEqual(self.run_lanes(ago=3700, log="direct_cache_hit\n").returncode, 1)
        self.assertEqual(self.run_lanes(ago=3500, log="direct_cache_hit\n").returncode, 0)

    def test_fails_as_the_tests_do(self):
        done = self.run_lanes(ago=10, code=8, closing=["50% tests passed, 1 tests failed out of 2"])
        self.assertEqual(done.returncode, 8)
        self.assertEqual(done.stdout.splitlines()[-2], "50% tests passed, 1 tests failed out of 2")
        self.assertEqual(self.run_lanes(ago=10, code=8, closing=[]).returncode, 8, "there were none to close")

    def test_a_long_run_takes_as_long_as_it_takes(self):
        done = self.run_lanes(ago=90000, flags=["--long"])
        self.assertEqual(done.returncode, 0)
        self.assertRegex(done.stdout, r"all +9000\d +-\n")


class WholeRun(unittest.TestCase):
    """scripts/test itself in a tree where all that it calls does nothing."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        (self.root / "scripts").mkdir()
        for name in ("test", "lanes", "lanes.txt", "compiler_cache"):
            shutil.copy(ROOT / "scripts" / name, self.root / "scripts" / name)
        for name in ("setup", "check_format", "lint", "fuzz"):
            self.write(f"scripts/{name}", f"echo {name} $@")
        self.write("build/dev/flashtune", "echo none")
        for name in ("ccache", "clang++-14", "setarch"):
            self.write(f"bin/{name}", "exit 0")
        self.write("bin/cmake", 'echo "BASEDIR=$CCACHE_BASEDIR NOHASHDIR=$CCACHE_NOHASHDIR"; echo cache_miss >>"$CCACHE_STATSLOG"')
        self.write("bin/ctest", f"printf '%s\\n' '{os.linesep.join(CLOSING)}'")

    def write(self, name, line):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)

    def run_test(self, *flags, **environment):
        return subprocess.run([str(self.root / "scripts/test"), *flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              env={"PATH": f"{self.root}/bin:/usr/bin:/bin", **environment}, encoding="utf-8", check=False)

    def test_measures_every_lane_and_ends_with_the_lines_of_ctest(self):
        for flags, others in (((), ["prove", "release"]), (("--long",), [])):
            done = self.run_test(*flags)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertEqual(done.stdout.splitlines()[-len(CLOSING):], CLOSING)
            table = done.stdout[done.stdout.rindex("lane        seconds"):]
            expected = [name for name in lanes.budgets_of((ROOT / "scripts/lanes.txt").read_text()).lanes if name not in others]
            self.assertEqual(re.findall(r"^(\S+) +\d+ +[-\d]+$", table, re.M), [*expected, "all"])
            self.assertRegex(done.stdout, r"the compiler cache was cold: 0 of \d+ objects came from it")

    def test_lets_clones_share_the_compiler_cache_unless_the_environment_says_otherwise(self):
        self.assertIn(f"BASEDIR={self.root} NOHASHDIR=1\n", self.run_test().stdout)
        self.assertIn("BASEDIR=/srv NOHASHDIR=\n", self.run_test(CCACHE_BASEDIR="/srv", CCACHE_NOHASHDIR="").stdout)

    def test_ends_where_a_lane_fails(self):
        self.write("scripts/lint", "exit 3")
        done = self.run_test()
        self.assertEqual(done.returncode, 3)
        self.assertNotIn(CLOSING[0], done.stdout.splitlines()[-3:])


if __name__ == "__main__":
    unittest.main()
