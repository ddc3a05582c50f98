"""Which cells are measured, and what becomes of a file that has others: no torch, no GPU."""
import contextlib
import io
import json
import pathlib
import tempfile
import unittest

from peers.command import Report, add_lengths_flag, add_library_flags, chosen, parsed, parser_of

CELLS = [(dim, seq) for dim in (128, 64) for seq in (512, 1024, 16384)]
FRAME = {"device": "a GPU", "driver": "1.0"}


def name_of(cell):
    return "d{}-s{}".format(*cell)


def key_of(record):
    return record["head_dim"], record["seq"]


def record(dim, seq, us):
    return {"head_dim": dim, "seq": seq, "us": us}


def arguments_of(*flags):
    parser = parser_of("", "d128")
    add_lengths_flag(parser)
    add_library_flags(parser, repeats=9, idle_ms=40)
    return parsed(parser, flags)


def picked(*flags):
    return chosen(CELLS, arguments_of(*flags), name_of, length_of=lambda cell: cell[1])


class Cells(unittest.TestCase):
    def test_are_all_unless_told_otherwise(self):
        self.assertEqual(picked(), CELLS)

    def test_are_those_of_both_flags(self):
        self.assertEqual(picked("--cells", "d64", "--lengths", "16384,512"), [(64, 512), (64, 16384)])
        self.assertEqual(picked("--cells", "d128-s1024,d64-s512"), [(128, 1024), (64, 512)])

    def test_that_do_not_exist_are_refused(self):
        for flags in (("--cells", "d256"), ("--lengths", "1023"), ("--cells", "s512", "--lengths", "1024")):
            with self.assertRaises(SystemExit) as refusal:
                picked(*flags)
            self.assertIn(flags[-1], refusal.exception.code)


class Flags(unittest.TestCase):
    def test_that_would_measure_too_little_are_refused(self):
        for flags in (("--repeats", "6"), ("--idle-ms", "-1")):
            with self.assertRaises(SystemExit), contextlib.redirect_stderr(io.StringIO()):
                arguments_of(*flags)
        self.assertEqual(arguments_of("--repeats", "7").repeats, 7)


class Reports(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = str(pathlib.Path(folder.name) / "results.json")

    def write(self, measured, part, frame=None):
        report = Report(self.path, "a test", frame or FRAME, part)
        with contextlib.redirect_stdout(io.StringIO()):
            report.write({}, {}, report.cells(measured, key_of, CELLS))
        return json.loads(pathlib.Path(self.path).read_text())

    def test_of_a_part_keep_the_other_cells_and_when_they_were_measured(self):
        first = self.write([record(128, 512, 1.0), record(64, 512, 2.0)], part=False)
        second = self.write([record(64, 1024, 3.0), record(128, 512, 4.0)], part=True)
        self.assertEqual([key_of(cell) for cell in second["cells"]], [(128, 512), (64, 512), (64, 1024)])
        self.assertEqual([cell["us"] for cell in second["cells"]], [4.0, 2.0, 3.0])
        self.assertEqual([cell.get("when") for cell in second["cells"]], [None, first["when"], None])

    def test_of_all_cells_replace_the_file(self):
        self.write([record(128, 512, 1.0)], part=False)
        self.assertEqual([key_of(cell) for cell in self.write([record(64, 512, 2.0)], part=False)["cells"]], [(64, 512)])

    def test_of_another_driver_are_refused_and_leave_the_file(self):
        self.write([record(128, 512, 1.0)], part=False)
        with self.assertRaises(SystemExit) as refusal:
            self.write([record(64, 512, 2.0)], part=True, frame={**FRAME, "driver": "2.0"})
        self.assertIn("driver 1.0, and here it is 2.0", refusal.exception.code)
        self.assertEqual(len(json.loads(pathlib.Path(self.path).read_text())["cells"]), 1)

    def test_of_a_part_begin_a_file_that_does_not_exist(self):
        self.assertEqual(len(self.write([record(64, 512, 2.0)], part=True)["cells"]), 1)


if __name__ == "__main__":
    unittest.main()
