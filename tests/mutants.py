"""Which wrong versions of the exercises' references pass all laws:  python -m tests.mutants [09 09.1 ...]

A mutant is a reference's text with one token changed: an operator, a comparison, a number (one more, one
less, 0) or a truth value, in its body or among its defaults; not in annotations, docstrings and what is
raised. It is caught when a law fails on it, raises or does not end. Those that nobody could or need tell from
the reference stand in ``tests.equivalent_mutants`` with the reason, and do not count.
"""

from __future__ import annotations
import __future__

import _thread
import ast
import functools
import io
import re
import signal
import sys
import threading
import time
import tokenize
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass

from hypothesis.errors import HypothesisException

from lessons.exercises import all_exercises
from minidl.classroom.confine import MEMORY, limit
from minidl.classroom.exercise import Exercise, Law
from minidl.classroom.stubs import plain_function, source
from tests.equivalent_mutants import EQUIVALENT

SECONDS = 5.0  # time limit of all laws on a mutant, in addition to ten times their time on the reference
PROCESSES = 2
ENOUGH = 0.95

SWAPS = {
    **{"+": ["-"], "-": ["+"], "*": ["/"], "/": ["*"], "//": ["/", "*"], "%": ["//"], "**": ["*"]},
    **{"@": ["*"], "&": ["|"], "|": ["&"], "^": ["&"], "<<": [">>"], ">>": ["<<"]},
    **{"and": ["or"], "or": ["and"]},
    **{"<": ["<=", ">="], "<=": ["<", ">"], ">": [">=", "<="], ">=": [">", "<"], "==": ["!="], "!=": ["=="]},
    **{"is": ["is not"], "is not": ["is"], "in": ["not in"], "not in": ["in"]},
}


@contextmanager
def patience(seconds: float, ran_out: list[bool]) -> Iterator[None]:
    """A Ctrl-C for the block, or the way into it, after so many seconds; the list has an element then."""

    def interrupt() -> None:
        ran_out.append(True)
        _thread.interrupt_main()

    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN  # by a shell that runs this in the background
    if ignored:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(seconds, interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if ignored:
            signal.signal(signal.SIGINT, signal.SIG_IGN)


@dataclass(frozen=True)
class Mutant:
    text: str  # all of it
    number: int  # of the line that differs
    line: str  # the changed line, without its comment
    original: str

    def __str__(self) -> str:
        return f"line {self.number}: {self.line}\n{'was ':>12}{self.original}"


@dataclass
class Report:
    """The mutants of one exercise, and those that pass all laws. A survivor not listed is a missing law."""

    number: str
    name: str
    mutants: list[Mutant]
    survivors: list[Mutant]
    listed: list[str]  # lines of mutants that need not be caught
    seconds: float

    @property
    def missed(self) -> list[Mutant]:
        return [mutant for mutant in self.survivors if mutant.line not in self.listed]

    @property
    def counted(self) -> int:
        return sum(mutant.line not in self.listed for mutant in self.mutants)

    @property
    def wrongly_listed(self) -> list[str]:
        """Listed, but a law catches it after all, or there is no such mutant any more."""
        survived = {mutant.line for mutant in self.survivors}
        caught = {mutant.line for mutant in self.mutants if mutant not in self.survivors}
        return [line for line in self.listed if line not in survived or line in caught]

    def __str__(self) -> str:
        caught = self.counted - len(self.missed)
        row = f"{self.number} {self.name:28}{self.counted:4} mutants {caught:4} caught"
        row += f"{len(self.listed):4} listed" if self.listed else " " * 11
        row += f"{self.seconds:5.0f} s"
        lines = [row, *(f"    not caught, {mutant}" for mutant in self.missed)]
        lines += [f"    listed, but caught or no mutant: {line}" for line in self.wrongly_listed]
        return "\n".join(lines)


class Changes(ast.NodeVisitor):
    """All the single-token changes of a text, as (start, end, replacement) in positions of characters."""

    def __init__(self, text: str) -> None:
        self.text, self.found = text, []
        self.line_starts = [0, *(match.end() for match in re.finditer("\n", text))]
        self.tokens = []  # (start, end, string) of operators and names
        for t in tokenize.generate_tokens(io.StringIO(text).readline):
            if t.type in (tokenize.OP, tokenize.NAME):
                start = self.line_starts[t.start[0] - 1] + t.start[1]
                self.tokens.append((start, start + len(t.string), t.string))
        self.visit(ast.parse(text))

    def position(self, row: int, column: int) -> int:
        """ast counts columns in bytes."""
        start = self.line_starts[row - 1]
        return start + len(self.text[start:].encode()[:column].decode())

    def start(self, node: ast.expr) -> int:
        return self.position(node.lineno, node.col_offset)

    def end(self, node: ast.expr) -> int:
        return self.position(node.end_lineno, node.end_col_offset)

    def swap(self, left: ast.expr, right: ast.expr, suffix: str = "") -> None:
        """Change the operator between two operands; ``suffix`` is the = of +=."""
        between = [t for t in self.tokens if self.end(left) <= t[0] and t[1] <= self.start(right)]
        operator = [t for t in between if t[2] not in "()"]
        text = " ".join(t[2] for t in operator).removesuffix(suffix)
        self.found += [(operator[0][0], operator[-1][1], other + suffix) for other in SWAPS[text]]

    def visit_BinOp(self, node):
        self.swap(node.left, node.right)
        self.generic_visit(node)

    def visit_AugAssign(self, node):
        self.swap(node.target, node.value, "=")
        self.generic_visit(node)

    def visit_BoolOp(self, node):
        for left, right in zip(node.values, node.values[1:], strict=False):
            self.swap(left, right)
        self.generic_visit(node)

    def visit_Compare(self, node):
        operands = [node.left, *node.comparators]
        for left, right in zip(operands, operands[1:], strict=False):
            self.swap(left, right)
        self.generic_visit(node)

    def visit_UnaryOp(self, node):
        start = self.start(node)
        (operator,) = (t for t in self.tokens if t[0] == start)
        self.found.append((start, operator[1], ""))
        self.generic_visit(node)

    def visit_Constant(self, node):
        if isinstance(node.value, bool):
            others = [not node.value]
        elif isinstance(node.value, int | float):
            others = {node.value + 1, node.value - 1, type(node.value)(0)} - {node.value}
        else:
            return
        self.found += [(self.start(node), self.end(node), repr(other)) for other in sorted(others)]

    def visit_FunctionDef(self, node):
        for child in [*node.args.defaults, *filter(None, node.args.kw_defaults), *node.body]:
            self.visit(child)

    def visit_AnnAssign(self, node):
        if node.value:
            self.visit(node.value)

    def visit_ClassDef(self, node):
        for child in node.body:
            self.visit(child)

    def visit_Raise(self, node):
        """What an error says is nobody's exercise."""

    def visit_JoinedStr(self, node):
        """Nor what a warning says."""


def mutants_of(exercise: Exercise) -> list[Mutant]:
    text = source(exercise.target)
    found = {}
    for start, end, other in sorted(Changes(text).found):
        mutated = text[:start] + other + text[end:]
        row = text.count("\n", 0, start)
        line, original = (t.splitlines()[row].split("  # ")[0].strip() for t in (mutated, text))
        found.setdefault(mutated, Mutant(mutated, row + 1, line, original))
    return list(found.values())


def compiled(text: str, exercise: Exercise):
    """The function or class of this text among the names of the reference's module, its own being itself."""
    tree = ast.parse(text)
    tree.body[0].decorator_list = []  # a kernel runs uncompiled
    namespace = dict(vars(sys.modules[plain_function(exercise.target).__module__]))
    flags = __future__.annotations.compiler_flag
    exec(compile(tree, f"mutant of {exercise.name}", "exec", flags, dont_inherit=True), namespace)
    return namespace[exercise.name]


class Caught(BaseException):
    """Not an Exception, so that Hypothesis leaves at once instead of looking for a smaller case."""


def fails(law: Law, exercise: Exercise, implementation) -> bool:
    """Whether the law catches it, on the cases that it tries for everybody."""
    implementation = exercise.adapt(implementation)
    test = law.function if law.is_example else law.function.hypothesis.inner_test

    @functools.wraps(test)
    def run(*arguments, **case):
        try:
            test(*arguments, **case)
        except HypothesisException:  # the law rejects this case
            raise
        except Exception as error:
            raise Caught from error

    try:
        if law.is_example:
            run(implementation)
            return False
        law.function.hypothesis.inner_test = run
        law.function(implementation)
        return False
    except Caught as caught:
        if implementation.calls == 0:
            raise caught.__cause__ from None  # the law's own fault
        return True
    finally:
        if not law.is_example:
            law.function.hypothesis.inner_test = test


def catches(laws: list[Law], exercise: Exercise, mutant: Mutant, seconds: float) -> bool:
    ran_out: list[bool] = []
    try:
        with warnings.catch_warnings(), patience(seconds, ran_out):
            warnings.simplefilter("ignore")  # a mutant may divide by zero
            implementation = compiled(mutant.text, exercise)
            return any(fails(law, exercise, implementation) for law in laws)
    except KeyboardInterrupt:
        if ran_out:
            return True
        raise


def examine(exercise: Exercise, listed: list[str], seconds: float = SECONDS) -> Report:
    """Try the exercise's laws on each of its mutants, those first that are quick on the reference."""
    begin, durations = time.perf_counter(), {}
    reference = compiled(source(exercise.target), exercise)
    for law in exercise.laws:
        start = time.perf_counter()
        if fails(law, exercise, reference):
            raise AssertionError(f"{exercise.number}: the reference itself breaks the law {law.text!r}")
        durations[law.text] = time.perf_counter() - start
    laws = sorted(exercise.laws, key=lambda law: durations[law.text])
    seconds += 10 * sum(durations.values())

    mutants = mutants_of(exercise)
    survivors = [mutant for mutant in mutants if not catches(laws, exercise, mutant, seconds)]
    took = time.perf_counter() - begin
    return Report(exercise.number, exercise.name, mutants, survivors, listed, took)


def examine_number(number: str) -> Report:
    (exercise,) = (e for e in all_exercises(number[:2]) if e.number == number)
    return examine(exercise, [line for lines in EQUIVALENT.get(number, {}).values() for line in lines])


def reports(numbers: list[str]) -> Iterator[Report]:
    with ProcessPoolExecutor(PROCESSES, initializer=limit, initargs=("AS", MEMORY)) as pool:
        for future in as_completed([pool.submit(examine_number, number) for number in numbers]):
            yield future.result()


def main(wanted: list[str]) -> int:
    lessons = {name[:2] for name in wanted} or {r"\d\d"}
    known = [exercise.number for lesson in sorted(lessons) for exercise in all_exercises(lesson)]
    numbers = [number for number in known if not wanted or number.startswith(tuple(wanted))]
    if not numbers:
        print(f"there is no exercise {', '.join(wanted)}", file=sys.stderr)
        return 2
    found = []
    for report in reports(numbers):
        print(report, flush=True)
        found.append(report)
    counted, missed = sum(report.counted for report in found), sum(len(report.missed) for report in found)
    score = 1 - missed / counted
    listed = sum(len(report.listed) for report in found)
    print(f"{counted - missed} of {counted} mutants caught: {score:.1%}   ({listed} more are listed)")
    return 1 if score < ENOUGH or any(report.wrongly_listed for report in found) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
