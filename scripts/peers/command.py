"""What the scripts that measure share and torch has no part in: their flags, which cells they measure, and a report that a later run
may add cells to."""
import argparse
import datetime
import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


# --- flags

def parser_of(doc, cells):
    """`cells`: examples of parts of cells' names."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", default="", help="only cells whose name contains one of these, comma-separated: " + cells)
    parser.add_argument("--output", default="", help="write results as JSON here; those of a part of the cells are put into the file that "
                        "is there, which must be of this GPU and driver")
    parser.add_argument("--db", default="", help="tuning database (default: flashtune's own)")
    return parser


def add_library_flags(parser, repeats, idle_ms):
    """Of the scripts that run the library beside torch's backends."""
    parser.add_argument("--library", default="", help="libflashtune.so (default: the one below build/)")
    parser.add_argument("--nvrtc", default="", help="NVRTC library or folder (default: flashtune's places, then torch's)")
    parser.add_argument("--repeats", type=int, default=repeats, help=f"samples of each contender per cell, at least 7 (default {repeats})")
    parser.add_argument("--idle-ms", type=float, default=idle_ms, help=f"pause before each sample (default {idle_ms:g})")


def add_lengths_flag(parser):
    parser.add_argument("--lengths", default="", help="only these numbers of rows, comma-separated: 8192,16384")


def parsed(parser, arguments=None):
    found = parser.parse_args(arguments)
    if getattr(found, "repeats", 7) < 7:
        parser.error(f"--repeats {found.repeats}: at least 7")
    if getattr(found, "idle_ms", 0) < 0:
        parser.error(f"--idle-ms {found.idle_ms}: not negative")
    return found


# --- cells

def chosen(cells, arguments, name_of, length_of=None):
    """Those of `cells` that --cells and --lengths ask for."""
    found = [cell for cell in cells if not arguments.cells or any(part in name_of(cell) for part in arguments.cells.split(","))]
    if not found:
        sys.exit(f"--cells {arguments.cells}: no such cell; they are: " + " ".join(map(name_of, cells)))
    if not getattr(arguments, "lengths", ""):
        return found
    known = {str(length_of(cell)) for cell in found}
    for length in arguments.lengths.split(","):
        if length not in known:
            sys.exit(f"--lengths {length}: no such length; they are: " + " ".join(sorted(known, key=int)))
    return [cell for cell in found if str(length_of(cell)) in arguments.lengths.split(",")]


# --- configs

def fields_of(config):
    """'decode_split br=16,bc=32' -> ('decode_split', {'br': '16', 'bc': '32'})"""
    family, fields = config.split(" ", 1)
    return family, dict(field.split("=") for field in fields.split(","))


def config_of(family, fields):
    return family + " " + ",".join(f"{name}={value}" for name, value in fields.items())


# --- the report

def driver_version():
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, check=True).stdout.splitlines()[0].strip()
    except (OSError, subprocess.CalledProcessError, IndexError):
        return ""


def replace_json(path, content):
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(json.dumps(content, indent=1) + "\n")
    temporary.replace(path)
    print(f"wrote {path}")


class Report:
    """Device, driver and versions (`frame`), and the cells. Where a `part` of them is measured, the others are the file's as it was: ends
    the program, before anything is measured, when that was made with another frame."""

    def __init__(self, path, what, frame, part):
        self.path, self.what, self.frame, self.earlier = pathlib.Path(path) if path else None, what, frame, []
        if not part or self.path is None or not self.path.exists():
            return
        old = json.loads(self.path.read_text())
        for name in frame:
            if old.get(name) != frame[name]:
                sys.exit(f"--output {path}: made with {name} {old.get(name)}, and here it is {frame[name]}: cells of both do not belong in "
                         "one file. Measure all cells, or name another file.")
        self.earlier = [{**cell, "when": cell.get("when", old["when"])} for cell in old["cells"]]

    def cells(self, measured, key_of, order):
        """Those measured, and the others as they were, each with when it was; by their keys' places in `order`."""
        fresh = {key_of(cell): cell for cell in measured}
        cells = [cell for cell in self.earlier if key_of(cell) not in fresh] + list(fresh.values())
        place = {key: index for index, key in enumerate(order)}
        return sorted(cells, key=lambda cell: place.get(key_of(cell), len(place)))

    def write(self, protocol, summary, cells):
        if self.path is None:
            return
        report = {"what": self.what, **self.frame, "when": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
                  "protocol": protocol, "summary": summary, "cells": cells}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        replace_json(self.path, report)
