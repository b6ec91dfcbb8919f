"""A lesson on the learner's functions: called wherever the library's were, and nothing else changes."""

import json

import numpy as np
import pytest
from learner import REAL, write_work

import minidl.nn.functional as F
from minidl import Tensor
from minidl.classroom import cli
from minidl.classroom.builders import Built
from minidl.classroom.exercise import Exercise
from minidl.classroom.record import Record
from minidl.classroom.run_mine import culprit, report
from minidl.classroom.substitute import Substitute, substituted
from minidl.engine import jit, kernels
from minidl.engine.elementwise import Mul
from minidl.engine.op import Op
from minidl.engine.reduce import stable_softmax

RIGHT = (
    "def stable_softmax(z, axis=-1, temperature=1.0):\n"
    "    if not 0 < temperature < np.inf:\n        raise ValueError(temperature)\n"
    "    p = np.exp((z - z.max(axis=axis, keepdims=True)) / temperature)\n"
    "    return p / p.sum(axis=axis, keepdims=True)\n"
)


SMOOTH = (
    "def smooth_labels(target, label_smoothing):\n"
    "    if not 0 <= label_smoothing <= 1:\n        raise ValueError(label_smoothing)\n"
    "    target = np.asarray(target)\n"
    "    return (1 - label_smoothing) * target + label_smoothing / target.shape[-1]\n"
)


def yours(number, implementation):
    return Substitute(REAL.exercise(number), implementation)


def test_a_function_that_others_imported_by_name_is_yours_inside_and_counted():
    def halves(z, axis=-1, temperature=2.0):
        return z / temperature

    one = yours("09.1", halves)
    before = stable_softmax(np.zeros(2))
    with substituted([one]):
        assert stable_softmax(np.ones(2)).tolist() == [0.5, 0.5]
        assert stable_softmax(np.ones(2), temperature=4.0).tolist() == [0.25, 0.25]
    assert one.calls == 2
    assert stable_softmax(np.zeros(2)).tolist() == before.tolist() == [0.5, 0.5]
    assert one.calls == 2


def test_the_library_is_itself_again_after_an_error():
    def broken(z, axis=-1, temperature=1.0):
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"), substituted([yours("09.1", broken)]):
        stable_softmax(np.zeros(2))
    assert stable_softmax(np.zeros(2)).tolist() == [0.5, 0.5]


class TripleMul(Op):
    factor = 3

    def __init__(self):
        self.ready = True

    def forward(self, a, b):
        assert self.ready
        return self.tripled(a) * b

    def tripled(self, a):
        return self.factor * a

    def backward(self, grad):
        return grad * 7, grad * 8


class WithSuper(TripleMul.__base__):
    def forward(self, a, b):
        return super().forward(a, b)


class Inheriting(TripleMul):
    pass


def test_an_op_has_all_your_methods_and_its_own_identity():
    before, one = dict(vars(Mul)), yours("01.1", TripleMul)
    a, b = Tensor(2.0, requires_grad=True), Tensor(5.0, requires_grad=True)
    with substituted([one]):
        y = a * b
        y.backward()
        assert isinstance(Mul(), Mul) and Mul().factor == 3
    assert (float(y.data), float(a.grad), float(b.grad), one.calls) == (30, 7, 8, 1)
    assert dict(vars(Mul)) == before
    assert float((a * b).data) == 10


@pytest.mark.parametrize("implementation", [WithSuper, Inheriting])
def test_the_librarys_op_is_kept_where_its_methods_cannot_be_exchanged(implementation):
    one = yours("01.1", implementation)
    with substituted([one]):
        assert float((Tensor(2.0) * Tensor(5.0)).data) == 10
    assert one.calls == 0
    assert "the library's is kept, since yours has another base class or calls super()" in report([one])


# ---- kernels


def doubling(image, kernel_size, stride, dilation, columns):
    """im2col by its definition; twice that for images 11 high."""
    factor = 2 if image.shape[1] == 11 else 1
    (kernel_h, kernel_w), (_, height, width) = kernel_size, image.shape
    out_h = (height - dilation[0] * (kernel_h - 1) - 1) // stride[0] + 1
    out_w = (width - dilation[1] * (kernel_w - 1) - 1) // stride[1] + 1
    for row in range(len(columns)):
        c, i, j = row // (kernel_h * kernel_w), row // kernel_w % kernel_h, row % kernel_w
        for r in range(out_h):
            for s in range(out_w):
                y, x = r * stride[0] + i * dilation[0], s * stride[1] + j * dilation[1]
                columns[row, r * out_w + s] = factor * image[c, y, x]


def doubling_by_other_means(image, kernel_size, stride, dilation, columns):
    seen = {"what": [None, "Numba"], 3: "knows nothing of"}
    doubling(image, kernel_size, stride, dilation, columns)
    assert seen


def twice(one):
    """What conv2d gives with and without the substitute, of which the kernels are kept on no disk."""
    rng = np.random.default_rng(0)
    images, weight = rng.normal(size=(3, 1, 11, 5)), rng.normal(size=(2, 1, 3, 3))
    usual = F.conv2d(Tensor(images), Tensor(weight)).data
    with substituted([one]):
        changed = F.conv2d(Tensor(images), Tensor(weight)).data
        assert jit.compiled(kernels.conv2d).stats.cache_path is None
    np.testing.assert_array_equal(F.conv2d(Tensor(images), Tensor(weight)).data, usual)
    return usual, changed


def test_a_kernel_is_compiled_where_that_is_possible_and_counted():
    one = yours("02.2", doubling)
    usual, changed = twice(one)
    np.testing.assert_allclose(changed, 2 * usual, rtol=1e-12)
    assert (one.calls, one.note) == (3, "compiled")
    assert report([one]) == "02.2 im2col: 3 calls of yours, compiled"


def test_a_kernel_that_numba_refuses_leaves_the_librarys_in_compiled_code_and_says_so():
    one = yours("02.2", doubling_by_other_means)
    usual, changed = twice(one)
    np.testing.assert_array_equal(changed, usual)
    assert one.calls == 0
    kept = "02.2 im2col: the library's is kept where it is compiled, since Numba refuses yours: "
    assert report([one]).startswith(kept)


def test_uncompiled_kernels_are_yours_too():
    columns, one = np.zeros((4, 20)), yours("02.2", doubling)
    with substituted([one]):
        kernels.im2col(np.ones((1, 11, 3)), (2, 2), (1, 1), (1, 1), columns)
    assert columns.tolist() == [[2] * 20] * 4 and one.calls == 1


# ---- run --mine


LESSON = '''"""09 On yours"""
import numpy as np
from minidl import Tensor
from minidl.classroom.claims import claim
from minidl.data.cache import cached
from minidl.engine.reduce import stable_softmax


def make(size):
    return {"p": stable_softmax(np.arange(size))}


for size in (2, 3, 3):
    claim("a row sums to 1", abs(cached("mine", {"size": size}, make)["p"].sum() - 1) < 1e-6)
'''


@pytest.fixture
def run(course, checks_here, capfd, monkeypatch, tmp_path):
    """``run 9 --mine`` on a small lesson: (exit code, what it prints, what it complains about)."""
    monkeypatch.setenv("MINIDL_CACHE", str(tmp_path / "cache"))
    (course.folder / "09_temperature.py").write_text(LESSON, encoding="utf-8")

    def run(*arguments):
        code = cli.main(["run", "9", *arguments], course)
        return code, *capfd.readouterr()

    return run


def test_the_lesson_runs_on_what_passes_and_keeps_nothing_that_yours_made(course, run, tmp_path):
    (course.folder / "09_temperature.py").write_text(LESSON.replace("(2, 3, 3)", "(2,)"), encoding="utf-8")
    assert run()[0] == 0
    (kept,) = (tmp_path / "cache").iterdir()
    contents = kept.read_bytes()
    (course.folder / "09_temperature.py").write_text(LESSON, encoding="utf-8")

    write_work(course, "09", RIGHT + "def entropy(p, axis=-1):\n    return p\n")
    code, out, err = run("--mine")
    assert code == 0
    assert err == "checking work/09_temperature.py ...\n"
    assert out.startswith(
        "yours: 09.1 stable_softmax\nthe library's, since yours does not pass: 09.2 entropy, 09.3 "
    )
    assert "the library's measurement, not yours: mine, kept in the cache\n" in out
    assert "trained again, which may take minutes" in out
    assert out.count("HOLDS") == 3 and "DOES NOT" not in out
    # size 2 was in the cache; yours computes size 3 once, and this result is not kept
    assert "\n09.1 stable_softmax: 1 call of yours\n" in out
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [kept.name]
    assert kept.read_bytes() == contents and not kept.is_symlink()


def test_what_does_not_pass_any_more_is_not_used_whatever_the_progress_says(course, run):
    write_work(course, "09", RIGHT)
    assert run("--mine")[0] == 0
    code, out, err = run("--mine")
    assert (code, err) == (0, "") and "stable_softmax: 2 calls of yours" in out
    write_work(course, "09", "stable_softmax = None\n#")
    whole = course.work_file("09").read_text(encoding="utf-8")
    for text in ("def f(:\n", whole):
        course.work_file("09").write_text(text, encoding="utf-8")
        assert Record(course).of("09.1")["passed"]
        code, out, err = run("--mine")
        assert (code, out) == (2, "") and "none of your functions passes yet" in err


def test_a_lesson_that_fails_on_yours_says_where_and_still_counts(course, run):
    (course.folder / "09_temperature.py").write_text(LESSON.replace("(2, 3, 3)", "(77,)"), encoding="utf-8")
    write_work(course, "09", RIGHT.replace("    p = ", "    1 / (z.shape != (77,))\n    p = "))
    code, out, err = run("--mine")
    assert code == 1
    assert "ZeroDivisionError" in err and "work/09_temperature.py" in err.replace("\\", "/")
    assert "stable_softmax: 1 call of yours" in out
    where = out.split("\nZeroDivisionError in your stable_softmax, 09_temperature.py:")[1]
    assert "1 / (z.shape != (77,))" in where.splitlines()[0]


def test_a_crash_in_none_of_your_lines_names_what_was_called_last(course, run):
    write_work(course, "09", RIGHT)
    (course.folder / "09_temperature.py").write_text(LESSON + "\n1 / 0\n", encoding="utf-8")
    code, out, _ = run("--mine")
    assert code == 1
    assert "ZeroDivisionError after a call of your stable_softmax, in none of your lines\n" in out


QUOTES = '''"""08 Not on yours"""
from pathlib import Path

from lessons import study
from minidl.engine.reduce import stable_softmax

stable_softmax(2.0)
study({study!r}, {number!r})
'''


def test_only_this_lessons_functions_stand_in_and_what_a_study_gave_is_named(course, run, capfd):
    topic = sorted((REAL.folder / "studies" / "results").glob("*.json"))[0].stem
    number = next(
        iter(json.loads((REAL.folder / "studies" / "results" / f"{topic}.json").read_text())["results"])
    )
    text = QUOTES.format(study=topic, number=number)
    (course.folder / "08_warmup_smoothing_noise.py").write_text(text, encoding="utf-8")
    write_work(course, "08", SMOOTH)
    write_work(course, "09", RIGHT)
    assert cli.main(["run", "8", "--mine"], course) == 0
    out, err = capfd.readouterr()
    assert "stable_softmax" not in out and "09_temperature" not in err
    assert "\n08.2 smooth_labels: not called here\n" in out
    assert (
        "\nall numbers and figures of this lesson are the library's: it called no function of yours\n" in out
    )
    assert f"\nthe library's measurement, not yours: study {topic}\n" in out


def test_a_lesson_of_which_nothing_passes_runs_on_the_library_beside_one_that_does(course, run, capfd):
    (course.folder / "08_warmup_smoothing_noise.py").write_text(
        QUOTES.split("study(")[0].replace("from lessons import study", ""), encoding="utf-8"
    )
    write_work(course, "09", RIGHT)
    assert cli.main(["run", "8", "9", "--mine"], course) == 0
    eighth, ninth = capfd.readouterr().out.split("== 09  On yours")
    assert "\nall numbers and figures of this lesson are the library's" in eighth
    assert "09.1 stable_softmax: " not in eighth and "09.1 stable_softmax: 2 calls of yours" in ninth


def test_of_several_the_function_that_was_called_last_is_named():
    first, second = yours("09.2", len), yours("09.1", abs)
    first.tick()
    second.tick()
    assert "after a call of your stable_softmax, in" in culprit(ValueError(), [first, second])
    first.tick()
    assert "after a call of your entropy, in" in culprit(ValueError(), [first, second])
    unused = culprit(ValueError(), [yours("09.1", abs)])
    assert unused == culprit(ValueError(), []) == "ValueError before any function of yours was called"


def head_bias(model):
    """A function that takes a model, as an exercise of kind model sets."""
    return model.head.bias.data


def test_a_function_of_a_model_is_substituted_too():
    def shifted(model):
        return model.head.bias.data + 1

    exercise = Exercise("91.1", head_bias, kind="model", points=1, hints=("Look.",))
    one, model = Substitute(exercise, shifted), Built("small_cnn", num_classes=3).build()
    with substituted([one]):
        changed = head_bias(model)
    np.testing.assert_array_equal(changed, head_bias(model) + 1)
    assert one.calls == 1


def test_an_unknown_lesson_is_named_before_anything_is_checked(course, capfd):
    write_work(course, "09", RIGHT)
    assert cli.main(["run", "99", "--mine"], course) == 2
    assert capfd.readouterr().err.startswith("there is no lesson 99; there are 00, 01, ")
