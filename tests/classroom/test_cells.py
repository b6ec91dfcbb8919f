"""Answers in notebooks, and in submissions that are notebooks."""

import io
import json

import pytest

from minidl.classroom.cells import text_of_cells, text_of_notebook
from minidl.classroom.submissions import Submission, add_file

FIRST = "# 09.1 stable_softmax: softmax with a temperature, 2 points\ndef stable_softmax(z): "
IMPORTS = "# imports for lesson 09\nimport numpy as np"


def notebook(*cells):
    markdown = {"cell_type": "markdown", "source": "# 09.1 stable_softmax: not code"}
    code = [{"cell_type": "code", "source": cell.splitlines(keepends=True)} for cell in cells]
    return json.dumps({"cells": [markdown, *code]}).encode()


def test_the_last_cell_with_the_mark_counts_and_other_cells_are_left_out():
    entropy = "# 09.2 entropy: how undecided, 1 point\ndef entropy(p): return 2"
    cells = [IMPORTS, "print('tried')", FIRST + "return 1", entropy, "\n" + FIRST + "return 3"]
    assert text_of_cells(cells) == "\n\n\n".join([IMPORTS, FIRST + "return 3", entropy]) + "\n"
    assert text_of_cells(cells, "09.2") == f"{IMPORTS}\n\n\n{entropy}\n"
    assert text_of_notebook(notebook(*cells)) == text_of_cells(cells)


def test_magics_are_left_out_and_the_mark_may_follow_them():
    body = "\n    return z\n"
    cells = ["%matplotlib inline\n" + IMPORTS + "\n!pip install x", "%%time\n" + FIRST + body + "%pwd"]
    assert text_of_cells(cells) == "\n\n\n".join([IMPORTS, FIRST + body.rstrip()]) + "\n"


@pytest.mark.parametrize("body", ["(\nz\n% 2)", '"""\n! of a text\n% of it"""', "(z  # 50\n    % 2)"])
def test_python_that_begins_a_line_as_a_magic_does_stays(body):
    assert text_of_cells([FIRST + "return " + body]) == FIRST + "return " + body + "\n"


@pytest.mark.parametrize("data", [b"", b"[]", b'{"cells": 3}', b'{"cells": [{}]}', b"[" * 100_000, b"\xff"])
def test_what_is_no_notebook_is_flagged_and_not_read(data):
    with pytest.raises(ValueError):
        text_of_notebook(data)
    one = Submission("ann", "ann")
    add_file(one, "a.ipynb", len(data), io.BytesIO(data))
    assert one.files == {} and one.flags[0].startswith("a.ipynb is no notebook: ")


def test_a_notebook_that_is_handed_in_is_the_file_that_its_answers_make():
    one, data = Submission("ann", "ann"), notebook(IMPORTS, "%matplotlib inline", FIRST + "return 1")
    add_file(one, "a.ipynb", len(data), io.BytesIO(data))
    assert one.files == {"a.ipynb": f"{IMPORTS}\n\n\n{FIRST}return 1\n".encode()} and one.flags == []
