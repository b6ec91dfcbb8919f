"""What a check says about a learner's file, found in this process: nothing here runs away with it."""

import pytest
from learner import check_here, write_work

SOFTMAX = (
    "def stable_softmax(z, axis=-1, temperature=1.0):\n"
    "    if not 0 < temperature < np.inf:\n        raise ValueError(temperature)\n"
)
RIGHT = (
    SOFTMAX + "    p = np.exp((z - z.max(axis=axis, keepdims=True)) / temperature)\n"
    "    return p / p.sum(axis=axis, keepdims=True)\n"
)


def checked(course, text, number="09.1"):
    write_work(course, number[:2], text)
    (outcome,) = check_here(course, number[:2], number)
    return outcome


def test_a_right_answer_passes_with_its_calls_counted(course):
    outcome = checked(course, RIGHT)
    assert outcome.passed and outcome.held == outcome.laws == 7
    assert outcome.calls > 100
    assert (outcome.message, outcome.replay, outcome.looks_like, outcome.note) == ("", "", [], "")


def test_every_exercise_of_the_file_has_an_outcome_and_a_stub_is_not_written_yet(course):
    write_work(course, "09", RIGHT)
    outcomes = check_here(course, "09")
    assert [outcome.number for outcome in outcomes] == ["09.1", "09.2", "09.3", "09.4"]
    assert [outcome.passed for outcome in outcomes] == [True, False, False, False]
    assert [outcome.written for outcome in outcomes] == [True, False, False, False]
    assert outcomes[1].message == "entropy is not written yet: it raises NotImplementedError"


def test_a_failure_tells_law_case_call_answer_and_what_it_looks_like(course):
    text = SOFTMAX + "    p = np.exp((z - z.max()) / temperature)\n    return p / p.sum()\n"
    outcome = checked(course, text)
    assert outcome.law == "each row sums to 1"
    assert outcome.case == [["z", "[[0.], [0.]]   (2×1 float64)"], ["temperature", "1"]]
    assert outcome.call == "stable_softmax([[0.], [0.]], temperature=1)"
    assert outcome.answer == "[[0.5], [0.5]]"
    assert outcome.message.startswith("2 of 2 elements differ, most at [0]: yours 0.5, expected 1")
    assert outcome.looks_like == ["sums over all numbers instead of each row"]
    assert course.work_file("09").read_text().splitlines()[outcome.line - 1] == SOFTMAX.splitlines()[0]


def test_a_mistake_is_recognised_in_other_words(course):
    outcome = checked(
        course, RIGHT.replace(" / temperature", "").replace("return p", "return p / temperature")
    )
    assert outcome.looks_like == ["divided the probabilities by T, not the logits"]


def test_what_no_named_mistake_does_looks_like_nothing(course):
    outcome = checked(course, SOFTMAX + "    return z * 0 + 0.123\n")
    assert not outcome.passed and outcome.looks_like == []


@pytest.mark.parametrize(
    "body, message",
    [
        ("exit()", "stable_softmax raised SystemExit instead of returning"),
        ("return 'p'", "yours is str, expected numbers: 'p'"),
        ("return np.array([1.0])", "yours has shape (1,), expected (1, 3)"),
        ("pass", "stable_softmax returned None: is a return missing?"),
        ("return z.astype(object)", "stable_softmax returned an array of object; must be numbers"),
        ("return z[:, :2]", "yours has shape (1, 2), expected (1, 3)"),
        ("z -= z.max()\n    return z", "stable_softmax changed its input 0 from [["),
        ("z -= 1\n    raise ValueError('no')", "before it raised ValueError: no\nat line"),
        ("return stable_softmax(z)", "stable_softmax raised RecursionError: maximum recursion depth"),
        ("return np.exp(y)", "stable_softmax raised NameError: name 'y' is not defined\nat line {line}: ret"),
        (
            "if len(z) > 1:\n        return np.random.rand(*z.shape)\n" + RIGHT[len(SOFTMAX) :].rstrip(),
            "stable_softmax gave different answers to the same call: it may draw numbers only from",
        ),
    ],
)
def test_a_call_that_goes_wrong_is_named_in_words(course, body, message):
    outcome = checked(course, SOFTMAX + f"    {body}\n")
    assert not outcome.passed
    assert message.format(line=outcome.line + 3) in outcome.message
    assert not any(word in outcome.message for word in ("hypothesis", "Traceback", "implementation.py"))
    assert outcome.traceback.startswith("Traceback")


def test_a_warning_that_the_law_makes_an_error_of_is_the_message_in_each_call(course):
    text = (
        "def fit_temperature(logits, labels, bounds=(0.05, 20.0)):\n    warnings.warn('no', RuntimeWarning)\n"
    )
    write_work(course, "09", "import warnings\n" + text + "    return 1.0\n")
    (outcome,) = check_here(course, "09", "09.4")
    assert outcome.message.startswith("fit_temperature raised RuntimeWarning: no")


def test_another_parameter_list_is_said_beside_the_error(course):
    outcome = checked(course, "def stable_softmax(logits):\n    return logits\n")
    assert outcome.note == "the parameters must be (z, axis, temperature), yours are (logits)"


def test_with_parameters_of_other_names_nothing_passes(course):
    renamed = (
        "def smooth_labels(target, eps):\n"
        "    if not 0 <= eps <= 1:\n        raise ValueError('a share is within 0 ... 1')\n"
        "    return (1 - eps) * target + eps / target.shape[-1]\n"
    )
    outcome = checked(course, renamed, "08.2")
    assert not outcome.passed and outcome.held == outcome.laws
    assert outcome.message == (
        "all laws hold, but the parameters must be (target, label_smoothing), yours are (target, eps): "
        "the library passes them by name"
    )
    assert checked(course, renamed.replace("eps", "label_smoothing"), "08.2").passed


@pytest.mark.parametrize(
    "text, message",
    [
        ("def f(x:\n    return x\n", "is not Python: "),
        ("x = np.zeros(3\n", "is not Python: '(' was never closed\n  x = np.zeros(3\n              ^"),
        ("exit(3)\n", "it ends the program when imported (exit, line {last}: exit(3)): take that out"),
        ("1 / 0\n", "importing it raises ZeroDivisionError: division by zero\nat line {last}: 1 / 0"),
        ("import nothing_of_this_name\n", "importing it raises ModuleNotFoundError: No module named"),
        ("a = '\0'\n", "source code"),
    ],
)
def test_a_file_that_cannot_be_imported_has_one_outcome_that_says_why(course, text, message):
    write_work(course, "09", text)
    (outcome,) = check_here(course, "09")
    last = len(course.work_file("09").read_text().splitlines())
    assert (outcome.number, outcome.name, outcome.passed) == ("", "09_temperature.py", False)
    assert message.format(last=last) in outcome.message
    assert "work_file.py" not in outcome.message


def test_a_renamed_function_is_missed_and_the_near_name_is_asked_about(course):
    write_work(course, "09", "del stable_softmax\ndef stable_softmx(z): 0\n")
    outcome = check_here(course, "09", "09.1")[0]
    assert outcome.message == "the file has no stable_softmax: is stable_softmx what it was?"


def test_a_missing_function_is_said_beside_those_that_are_there(course):
    outcome = checked(course, "del entropy\n", "09.2")
    assert outcome.message == (
        "the file has no entropy: there are stable_softmax, expected_calibration_error, fit_temperature"
    )


def test_what_is_no_function_or_no_op_is_refused(course):
    assert checked(course, "stable_softmax = 3\n").message == "expected a function, got 3"
    outcome = checked(course, "def Mul(a, b):\n    return a * b\n", "01.1")
    assert outcome.message.startswith("expected a subclass of Op with forward and backward, got ")


# ---- the library's own function is not accepted as an answer


@pytest.mark.parametrize(
    "number, text",
    [
        ("09.1", "from minidl.engine.reduce import stable_softmax\n"),
        ("09.1", "import minidl.engine.reduce as r\nstable_softmax = r.stable_softmax\n"),
        ("01.1", "from minidl.engine.elementwise import Mul\n"),
        ("02.2", "from minidl.engine.kernels import im2col\n"),
    ],
)
def test_the_librarys_own_function_imported_is_told(course, number, text):
    outcome = checked(course, text, number)
    assert not outcome.passed and outcome.calls == 0
    assert outcome.message == f"this is the library's own {outcome.name}, imported: write it yourself"


def test_the_librarys_source_at_its_very_lines_is_not_taken_for_the_library(course):
    from minidl.classroom.stubs import source
    from minidl.engine.reduce import stable_softmax

    write_work(course, "09", "")
    line = stable_softmax.__code__.co_firstlineno
    text = "from minidl.engine.reduce import check_temperature, floats\nimport numpy as np\n"
    rest = "from __future__ import annotations\n" + text
    course.work_file("09").write_text(rest + "\n" * (line - 1 - rest.count("\n")) + source(stable_softmax))
    (outcome,) = check_here(course, "09", "09.1")
    assert outcome.line == line
    assert outcome.passed and outcome.library_calls == 0


def test_a_mistake_elsewhere_in_the_file_does_not_reach_the_exercise(course):
    """01.1 Mul calls unbroadcast, which is 01.3 and still a stub."""
    mul = (
        "class Mul(Op):\n    def forward(self, a, b):\n        self.a, self.b = a, b\n        return a * b\n"
        "    def backward(self, grad):\n"
        "        return unbroadcast(grad * self.b, self.a.shape), unbroadcast(grad * self.a, self.b.shape)\n"
    )
    write_work(course, "01", mul)
    mul, sigmoid, unbroadcast, *_ = check_here(course, "01")
    assert mul.passed
    assert not unbroadcast.written and not sigmoid.written


# ---- what depends on sizes


def test_an_answer_too_large_to_read_has_a_picture_of_yours_the_librarys_and_the_difference(course):
    text = (
        "def im2col(image, kernel_size, stride, dilation, columns):\n"
        "    (kh, kw), (channels, h, w) = kernel_size, image.shape\n"
        "    out_w = (w - dilation[1] * (kw - 1) - 1) // stride[1] + 1\n"
        "    for row in range(len(columns)):\n"
        "        c, i, j = row // (kh * kw), row // kw % kh, row % kw\n"
        "        for place in range(columns.shape[1]):\n"
        "            y, x = divmod(place, out_w)\n"
        "            pixel = y * stride[0] + i * dilation[0], x * stride[1] + j * dilation[1]\n"
        "            columns[row, place] = image[c, pixel[0], pixel[1]]\n"
        "    if columns.size > 24:\n"
        "        columns[0] += 1\n"
    )
    outcome = checked(course, text, "02.2")
    assert not outcome.passed
    assert outcome.picture == "out/check/02_2.png"
    assert (course.root / outcome.picture).read_bytes().startswith(b"\x89PNG")


def test_a_stub_of_an_older_library_is_said_to_be_stale(course):
    write_work(course, "09", RIGHT)
    path = course.work_file("09")
    text = path.read_text()
    mark = next(line for line in text.splitlines() if line.startswith("# 09.1 "))
    path.write_text(
        text.replace(mark, "# 09.1 stable_softmax, 2 points, minidl 0.0.9, reference 0123456789ab")
    )
    softmax, entropy, *_ = check_here(course, "09")
    assert softmax.passed
    assert softmax.note.startswith("the library's stable_softmax has changed since your stub's minidl 0.0.9")
    assert entropy.note == ""
