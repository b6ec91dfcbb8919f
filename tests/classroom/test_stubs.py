"""Stubs: what they keep, what they leave out, and that they run."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import pkgutil
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

import minidl.engine
from minidl.classroom.stubs import imports, source, source_hash, stub
from minidl.engine.loss import smooth_labels
from minidl.engine.op import Op, unbroadcast
from minidl.engine.reduce import Softmax, stable_softmax

if TYPE_CHECKING:
    from fractions import Fraction

LIMIT = 3


def _helper(x):
    return x


def helper(x):
    return _helper(x)


# fmt: off
def one_line(x, y={"a": lambda z: z}): return x  # noqa: E704, B006 -- the hard case for finding the colon


def several_lines(
    x: dict[str, int],   # a comment: with a colon
    *,
    limit: int = LIMIT,
) -> list[Fraction]:
    # a comment of the body
    """Looks like a docstring.

        formula:  y = x   {braces}
    """
    total = np.sum(helper(x))  # the secret
    return _helper(total)
    # a comment at the end of the body


def no_docstring(x):
    # a comment of the body
    return helper(x)


@functools.lru_cache(maxsize=LIMIT)
def decorated(x):
    '''Cached.'''
    return x + 1


# fmt: on


def calls_itself(n):
    return calls_itself(n - 1) if n else 0


class Scale(Op):
    """y = k x — «точно так»"""

    steps = 0  # kept

    def __init__(self, k: float = 2.0) -> None:
        self.k = k

    @staticmethod
    def half(x):
        """Half."""
        return x / 2
        # the method's last comment

    def forward(self, x):
        return self.k * x

    def backward(self, grad):
        grad_x = unbroadcast(self.k * grad, grad.shape)
        return grad_x


def test_a_function_keeps_signature_and_docstring_word_for_word():
    assert (
        stub(several_lines)
        == '''def several_lines(
    x: dict[str, int],   # a comment: with a colon
    *,
    limit: int = LIMIT,
) -> list[Fraction]:
    """Looks like a docstring.

        formula:  y = x   {braces}
    """
    raise NotImplementedError
'''
    )


def test_a_body_beside_the_signature_is_cut_at_the_right_colon():
    assert stub(one_line) == 'def one_line(x, y={"a": lambda z: z}):\n    raise NotImplementedError\n'


def test_a_function_without_docstring_gets_none():
    assert stub(no_docstring) == "def no_docstring(x):\n    raise NotImplementedError\n"


def test_decorators_are_kept():
    assert (
        stub(inspect.unwrap(decorated))
        == """@functools.lru_cache(maxsize=LIMIT)
def decorated(x):
    '''Cached.'''
    raise NotImplementedError
"""
    )


def test_a_class_keeps_all_but_its_methods_bodies():
    assert (
        stub(Scale)
        == '''class Scale(Op):
    """y = k x — «точно так»"""

    steps = 0  # kept

    def __init__(self, k: float = 2.0) -> None:
        raise NotImplementedError

    @staticmethod
    def half(x):
        """Half."""
        raise NotImplementedError

    def forward(self, x):
        raise NotImplementedError

    def backward(self, grad):
        raise NotImplementedError
'''
    )


def test_imports_are_what_the_target_uses_from_its_module():
    here = __name__
    assert imports(several_lines) == (
        "from __future__ import annotations\n\nfrom fractions import Fraction\n"
        f"from {here} import LIMIT\nimport numpy as np\n"
    )
    assert imports(Scale) == (
        "from __future__ import annotations\n\n"
        "import numpy as np\nfrom minidl.engine.op import Op, unbroadcast\n"
    )
    assert imports(one_line) == "from __future__ import annotations\n\nimport numpy as np\n"


def test_a_function_of_the_targets_module_and_a_check_are_imported_where_helpers_name_them():
    assert "stable_softmax" not in imports(Softmax)
    assert "import Axis, Reduction, stable_softmax\n" in imports(Softmax, helpers=("stable_softmax",))
    assert "checks" not in imports(smooth_labels)
    assert "from minidl.engine.checks import check_number\n" in imports(
        smooth_labels, helpers=("check_number",)
    )


def test_nothing_is_imported_that_has_a_parameters_name_or_is_set_in_the_body(tmp_path, monkeypatch):
    (tmp_path / "shadows.py").write_text(
        "from math import e, pi, tau\n"
        "def f(tau):\n    pi = tau\n    return pi + e\n"
        "def g(e: int):\n    return e + tau\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("shadows")
    assert "import e\n" in imports(module.f)
    assert "math" not in imports(module.f, module.g)


def test_a_stub_never_imports_its_reference():
    assert imports(calls_itself) == "from __future__ import annotations\n\nimport numpy as np\n"
    text = imports(Softmax)
    assert "import Axis, Reduction\n" in text
    assert "Softmax\n" not in text and "Softmax," not in text


def test_a_compiled_kernel_gives_the_stub_of_its_source():
    numba = pytest.importorskip("numba")
    assert stub(numba.njit(no_docstring)) == stub(no_docstring)
    assert source_hash(numba.njit(no_docstring)) == source_hash(no_docstring)


def library_functions():
    """Every function and class of the engine that is defined at the top of a module."""
    for module in pkgutil.iter_modules(minidl.engine.__path__, "minidl.engine."):
        for value in vars(importlib.import_module(module.name)).values():
            if getattr(value, "__module__", None) != module.name:
                continue
            if (inspect.isfunction(value) and "__wrapped__" not in vars(value)) or inspect.isclass(value):
                yield value


def body_lines(text):
    """The stripped lines of all function bodies, without their docstrings."""
    lines = text.split("\n")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            for statement in body:
                yield from (line.strip() for line in lines[statement.lineno - 1 : statement.end_lineno])


def test_every_function_of_the_engine_can_be_set_as_an_exercise():
    count = 0
    for target in library_functions():
        text, code = stub(target), source(target)
        ast.parse(imports(target) + text)
        original, emptied = ast.parse(code).body[0], ast.parse(text).body[0]
        assert ast.get_docstring(original, clean=False) == ast.get_docstring(emptied, clean=False)
        assert set(body_lines(text)) <= {"raise NotImplementedError"}
        if inspect.isfunction(target):
            assert ast.dump(original.args) == ast.dump(emptied.args)
        count += 1
    assert count > 100


@pytest.mark.parametrize("target", [stable_softmax, Softmax, Scale, unbroadcast])
def test_imports_and_stub_run_together_and_the_stub_raises(target):
    namespace = {}
    exec(compile(imports(target) + "\n\n" + stub(target), "stub", "exec"), namespace)
    stubbed = namespace[target.__name__]
    assert stubbed is not target
    with pytest.raises(NotImplementedError):
        stubbed() if inspect.isclass(stubbed) else stubbed(np.zeros(2), (2,))


def test_the_hash_follows_the_text_but_not_blanks_at_line_ends(tmp_path, monkeypatch):
    def hash_of(name, text):
        (tmp_path / f"{name}.py").write_text(text)
        return source_hash(importlib.import_module(name).f)

    monkeypatch.syspath_prepend(tmp_path)
    one = hash_of("hashed_one", "def f(x):\n    return x\n")
    two = hash_of("hashed_two", "import os\n\n\ndef f(x):  \n    return x\n\n")
    three = hash_of("hashed_three", "def f(x):\n    return -x\n")
    assert len(one) == 12 and one == two != three


@pytest.mark.parametrize(
    "target, error", [(3, TypeError), (lambda x: x, ValueError), (Scale.forward, ValueError)]
)
def test_what_has_no_source_at_the_top_of_a_module_is_refused(target, error):
    with pytest.raises(error, match="target must be"):
        stub(target)


def test_relative_imports_become_absolute(tmp_path, monkeypatch):
    (tmp_path / "relative").mkdir()
    (tmp_path / "relative" / "__init__.py").write_text("")
    (tmp_path / "relative" / "one.py").write_text("def g(): pass\n")
    (tmp_path / "relative" / "two.py").write_text(
        "import os.path as p\n"
        "try:\n    from .one import g as h, missing\nexcept ImportError:\n    from .one import g as h\n"
        "def f():\n    return h, p\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("relative.two")
    assert imports(module.f).splitlines()[2:] == [
        "import os.path as p",
        "from relative.one import g as h",
        "import numpy as np",
    ]
    sys.modules.pop("relative.two")
