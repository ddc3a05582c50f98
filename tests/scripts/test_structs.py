"""The structs of scripts/peers/structs.py are those of the C header, field by field and in its order."""
import ctypes
import os
import pathlib
import re
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
from peers import structs  # noqa: E402

HEADER = (ROOT / "runtime/include/flashtune/flashtune.h").read_text()
NUMBERS = {"int32_t": ctypes.c_int32, "uint32_t": ctypes.c_uint32, "int64_t": ctypes.c_int64, "float": ctypes.c_float,
           "double": ctypes.c_double, "char": ctypes.c_char}


def structs_of(header):
    """Name of each struct -> its fields as ctypes would have them: [(name, type), ...]."""
    code = re.sub(r"/\*.*?\*/", " ", header, flags=re.S)
    enums = set(re.findall(r"typedef enum (\w+) \{", code))
    found = {}
    for name, body in re.findall(r"typedef struct (\w+) \{([^}]*)\} \1;", code):
        found[name] = [field for line in body.split(";") if line.strip() for field in fields_of(line, enums)]
    return found


def fields_of(declaration, enums):
    words = " ".join(declaration.split())
    if function := re.fullmatch(r"\w+ \(\*(\w+)\)\(.*\)", words):
        return [(function[1], ctypes.c_void_p)]
    declared = re.fullmatch(r"(?:const )?(\w+)(\*?) (\w+(?:, \w+)*)(?:\[(\d+)\])?", words)
    if not declared:
        raise ValueError(f"a field that this test cannot read: {words}")
    type_name, star, names, count = declared.groups()
    if star:
        made = ctypes.c_char_p if type_name == "char" else ctypes.c_void_p
    else:
        made = ctypes.c_int if type_name in enums else NUMBERS.get(type_name) or structs.STRUCTS[type_name]
    return [(name, made * int(count) if count else made) for name in names.split(", ")]


def differences(header, bound):
    """A line for each field that the two do not share."""
    lines = []
    for name, fields in header.items():
        of_python = getattr(bound.get(name), "_fields_", None)
        if of_python is None:
            lines.append(f"{name}: is not in structs.py")
            continue
        for i in range(max(len(fields), len(of_python))):
            of_c = fields[i] if i < len(fields) else None
            other = of_python[i] if i < len(of_python) else None
            if of_c != other:
                lines.append(f"{name}, field {i}: {text_of(of_c)} in the header, {text_of(other)} in structs.py")
    return lines + [f"{name}: is not in the header" for name in bound if name not in header]


def text_of(field):
    return "none" if field is None else f"{field[1].__name__} {field[0]}"


class Structs(unittest.TestCase):
    def test_are_those_of_the_header(self):
        found = structs_of(HEADER)
        self.assertEqual(len(found), 6)
        self.assertEqual("\n".join(differences(found, structs.STRUCTS)), "")

    def test_begin_with_their_size_in_c_and_in_python(self):
        for name, fields in structs_of(HEADER).items():
            if name != "ft_strides":
                self.assertEqual(fields[0], ("size", ctypes.c_uint32), name)
                self.assertEqual(structs.STRUCTS[name]().size, ctypes.sizeof(structs.STRUCTS[name]), name)

    def test_are_begun_by_macros_that_name_every_field(self):
        code = re.sub(r"[ \n]+", " ", re.sub(r"/\*.*?\*/", " ", HEADER.replace("\\\n", " ").replace("\n", " @ "), flags=re.S))
        macros = dict(re.findall(r"#define (FT_\w+)_INIT \{ ?([^@]*?) ?\} @", code))
        fields = structs_of(HEADER)
        self.assertEqual(sorted(macros), ["FT_APPEND_TENSORS", "FT_DECISION", "FT_OPTIONS", "FT_TENSORS"])
        for macro, values in macros.items():
            name = macro.lower()
            self.assertTrue(values.startswith(f"sizeof({name}), "), macro)
            flat = re.sub(r"\{[^{}]*\}", "0", values)
            self.assertEqual(len(flat.split(", ")), len(fields[name]), f"{macro}: a value for each field")


@unittest.skipUnless("FLASHTUNE_LIBRARY" in os.environ, "FLASHTUNE_LIBRARY names no libflashtune.so")
class Library(unittest.TestCase):
    """What the library itself makes of them."""

    def setUp(self):
        self.library = ctypes.CDLL(os.environ["FLASHTUNE_LIBRARY"])
        self.library.ft_last_error.restype = ctypes.c_char_p

    def test_begins_a_problem_as_python_reads_it(self):
        problem = structs.Problem()
        self.library.ft_problem_init_sized(ctypes.byref(problem), ctypes.c_size_t(ctypes.sizeof(problem)), 2, 3, 8, 4, 100, 200, 64)
        self.assertEqual((problem.size, problem.dtype, problem.batch, problem.heads, problem.kv_heads), (ctypes.sizeof(problem), 2, 3, 8, 4))
        self.assertEqual((problem.seq_q, problem.seq_kv, problem.head_dim, problem.head_dim_v), (100, 200, 64, 64))
        self.assertEqual((problem.q.row, problem.k.row, problem.o.batch, problem.precision), (512, 256, 51200, 1))
        self.assertEqual(self.library.ft_supported(ctypes.byref(problem), None), 1)

    def test_takes_options_of_their_size_and_refuses_others(self):
        options, engine = structs.Options(device=9999), ctypes.c_void_p()
        for size, status in ((options.size, 2), (0, 1), (options.size + 8, 1)):  # there is no such device; FT_INVALID_ARGUMENT
            options.size = size
            self.assertEqual(self.library.ft_engine_create(ctypes.byref(options), ctypes.byref(engine)), status)
        self.assertIn(f"says that it has {options.size} bytes", self.library.ft_last_error().decode())


class Differences(unittest.TestCase):
    """What the comparison says of structs that differ."""

    def lines(self, header):
        return differences(structs_of(header), {"ft_strides": structs.Strides})

    def test_are_none_where_both_are_alike(self):
        self.assertEqual(self.lines("typedef struct ft_strides {\n  int64_t batch, /* x; y */ head,\n row;\n} ft_strides;"), [])

    def test_tell_a_field_of_another_order_type_or_name(self):
        self.assertEqual(self.lines("typedef struct ft_strides {\n  int64_t head, batch;\n  int32_t row;\n} ft_strides;"),
                         ["ft_strides, field 0: c_long head in the header, c_long batch in structs.py",
                          "ft_strides, field 1: c_long batch in the header, c_long head in structs.py",
                          "ft_strides, field 2: c_int row in the header, c_long row in structs.py"])

    def test_tell_a_field_or_a_struct_more_or_less(self):
        self.assertEqual(self.lines("typedef struct ft_strides {\n  int64_t batch, head, row, more;\n} ft_strides;"),
                         ["ft_strides, field 3: c_long more in the header, none in structs.py"])
        self.assertEqual(self.lines("typedef struct ft_new {\n  float* x;\n} ft_new;"),
                         ["ft_new: is not in structs.py", "ft_strides: is not in the header"])

    def test_refuse_a_field_that_they_cannot_read(self):
        with self.assertRaisesRegex(ValueError, "cannot read: unsigned long x : 3"):
            structs_of("typedef struct ft_new {\n  unsigned long x : 3;\n} ft_new;")


if __name__ == "__main__":
    unittest.main()
