"""The process that runs a learner's code and answers calls. Another process holds the laws and the verdict.

    python -I -c "..." ROOT        (started by elsewhere.py, in an empty folder of its own)

It reads frames of codec.py from standard input and writes frames to standard output, until the input ends:

    {source, path, name, kind, ...}  ->  what the file holds, or what is wrong with it
    (arguments, params, errstate)    ->  {answer, same, warnings} or {raised} or {wrong}
                                         and the changed arguments, if they are not the same
    {value}, {argument}, {raised}    <-  {back, arguments, params}: a call of one of the law's functions

No code here decides whether a law holds. Hostile code that controls this whole process can only give other
answers. It cannot use the library's own function: that function's code is replaced and raises an error.
"""

from __future__ import annotations

import builtins
import importlib
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import CodeType
from typing import Any

import numpy as np

from minidl.classroom.codec import Uncodable, Values, arrays_in, generators_in
from minidl.classroom.confine import confine
from minidl.classroom.exercise_kinds import Direct, LibraryCall, place
from minidl.classroom.frames import receive, send
from minidl.classroom.reading import function_of, load, stand_in
from minidl.classroom.returned import WrongAnswer
from minidl.classroom.stubs import plain_function
from minidl.engine.checks import require

WARNINGS = 50  # the largest number of warnings that the reply to one call contains
TEXT = 20_000  # the largest number of characters of an error's text, and of its traceback


@dataclass(frozen=True)
class Target:
    """The library's function that an exercise asks for: its module and its name."""

    name: str
    target: Callable | type


class Link:
    """The two pipes to the checker. They get other file numbers, so that no print goes into a pipe."""

    def __init__(self) -> None:
        self.calls = os.fdopen(os.dup(0), "rb")
        self.answers = os.fdopen(os.dup(1), "wb")
        with open(os.devnull, "rb") as nothing:
            os.dup2(nothing.fileno(), 0)
        os.dup2(2, 1)
        self.number = 0

    def call_back(self, which: int, arguments: tuple, params: dict):
        """Call one of the law's functions, which is in the checker's process."""
        asked = {"back": which, "arguments": arguments, "params": params}
        send(self.answers, self.number, Values().write(asked))
        _, text, arrays = receive(self.calls)
        reply = Values(records=True).read(text, arrays)
        for generator, state in zip(generators_in(arguments, params), reply["states"], strict=True):
            generator.bit_generator.state = state  # the law's function may have drawn random numbers
        for array, changed in zip(arrays_in(arguments, params), reply["arrays"], strict=True):
            if changed is not None:
                array[...] = changed  # the law's function has changed its argument in place
        if "raised" in reply:
            raise rebuilt(reply["raised"])
        if "argument" in reply:
            return arrays_in(arguments, params)[reply["argument"]]
        return iter(reply["items"]) if "items" in reply else reply["value"]


class Answering:
    """Answers the calls for one exercise of one file."""

    def __init__(self, link: Link, folder: str) -> None:
        self.link, self.folder, self.path = link, folder, Path()

    def open(self, asked: dict) -> Direct:
        """Run the file and find the function. Raises FileProblem, TypeError."""
        self.path = Path(asked["path"])
        sys.path[1:1] = asked["roots"]
        targets = {name: Target(name, target_named(where)) for name, where in asked["targets"].items()}
        sys.meta_path.insert(0, Withheld(asked["withheld"]))
        task = targets.pop(asked["name"], None) or Target(asked["name"], withheld)
        take_away(task.target)
        sys.path += asked["beside"]
        confine(self.folder)
        sys.setrecursionlimit = keep_recursion_limit
        module = load(self.path, asked["source"].tobytes())
        direct = Direct(function_of(module, task), asked["kind"], tuple(asked["written"]), asked["returns"])
        stand_in(module, task, targets.values())
        return direct

    def serve(self) -> None:
        send(self.link.answers, 0, Values().write({}))  # tells the checker that the library is imported
        number, text, arrays = receive(self.link.calls)
        direct = None
        try:
            direct = self.open(Values().read(text, arrays))
            found: dict[str, Any] = {"told": asdict(direct.told)}
        except BaseException as error:
            at_import = getattr(error, "at_import", False)
            found = {"problem": self.told(error), "at_import": at_import}
        send(self.link.answers, number, Values().write(found))
        while direct:
            number, text, arrays = receive(self.link.calls)
            self.link.number = number
            reply, after = self.reply(direct, text, arrays)
            send(self.link.answers, number, reply)
            if after:
                send(self.link.answers, number, after)

    def reply(self, direct: Direct, text: bytes, arrays: bytes) -> tuple:
        """The reply to a call. The changed arguments are added, if the call changed its arguments."""
        values = Values(self.stand_in, records=True)
        arguments, params, errstate = values.read(text, arrays)
        with noted_warnings() as noted, np.errstate(**errstate):
            try:
                found = {"answer": direct.answer_to(arguments, params)}
            except WrongAnswer as error:
                found = {"wrong": str(error)}
            except BaseException as error:
                found = {"raised": self.told(error)}
        try:
            after = values.write((arguments, params, errstate))
        except Uncodable as error:
            after, found = (text, arrays), {"wrong": f"{direct.name} put {error} into its input"}
        found |= {"same": after == (text, arrays), "warnings": noted}
        try:
            reply = Values().write(found)
        except Uncodable as error:
            wrong = (
                f"{direct.name} returned {error}; must be numbers, arrays, or tuples, lists or dicts of them"
            )
            reply = Values().write({"wrong": wrong, "same": found["same"], "warnings": []})
        return reply, None if found["same"] else after

    def stand_in(self, number: int) -> Callable:
        """A local function that calls the law's function with this number."""

        def function(*arguments, **params):
            return self.link.call_back(number, arguments, params)

        vars(function)["number_elsewhere"] = number
        return function

    def told(self, error: BaseException) -> dict:
        """Describe an error, so that the other side can rebuild it."""
        shown = "".join(traceback.format_exception(error))[-TEXT:]
        return {**names_of(error), "place": place(error, str(self.path)), "traceback": shown}


def names_of(error: object) -> dict:
    """The names of the error's class and its base classes, and the error's text."""
    classes = [(str(c.__module__), str(c.__qualname__)) for c in type(error).__mro__[:-1]]
    try:
        text = str(error)[:TEXT]
    except Exception as other:
        text = f"(its text raises {type(other).__name__})"
    return {"classes": classes, "text": text}


@contextmanager
def noted_warnings() -> Iterator[list]:
    """A list of all warnings in the block, repeated warnings too. The list is filled when the block ends."""
    noted: list = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield noted
    for one in caught[:WARNINGS]:
        with suppress(Exception):
            noted.append(names_of(one.message))


def rebuilt(told: dict) -> Exception:
    """Rebuild an error of the law's own function. The learner's code then gets this error."""
    kind = vars(builtins).get(told["classes"][0][1])
    if isinstance(kind, type) and issubclass(kind, Exception):
        return kind(told["text"])
    return RuntimeError(told["text"])


# ---- the library's own function


class Withheld:
    """Blocks the import of a package that holds the exercises and their laws."""

    def __init__(self, package: str) -> None:
        self.package = package

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        is_other = name.split(".")[0] != self.package
        require(is_other, f"{name} holds the exercises: write it yourself", LibraryCall)


def keep_recursion_limit(limit: int) -> None:
    """Stands in for ``sys.setrecursionlimit``: an answer must be right for learners who never call it."""
    warnings.warn(f"the recursion limit stays {sys.getrecursionlimit()} in a check", stacklevel=2)


def withheld(*arguments, **params):
    """Stands in for a target that the exercises' own package defines. That package is not imported here."""


def target_named(name: str) -> Callable | type:
    module, _, qualname = name.partition(":")
    return plain_function(getattr(importlib.import_module(module), qualname))


def take_away(target: Callable | type) -> None:
    """Replace the code of the library's function, or of its class's methods: it then raises LibraryCall."""
    functions = [target] if not isinstance(target, type) else list(vars(target).values())
    for function in functions:
        function = getattr(function, "__func__", function)
        if hasattr(function, "__code__"):
            function.__code__ = raising(target.__name__, function.__code__)


def raising(name: str, code: CodeType) -> CodeType:
    message = f"this calls the library's own {name}: write it yourself"
    text = (
        f"def {code.co_name.strip('<>')}(*arguments, **params):\n"
        f"    from {LibraryCall.__module__} import LibraryCall\n    raise LibraryCall({message!r})"
    )
    defined: dict = {}
    exec(text, defined)
    (function,) = (value for key, value in defined.items() if key != "__builtins__")
    return function.__code__.replace(co_freevars=code.co_freevars)


def main() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # background processes of a shell ignore SIGINT
    link = Link()
    with suppress(EOFError, BrokenPipeError):
        Answering(link, os.getcwd()).serve()
    os._exit(0)  # ends at once, without waiting for the learner's threads and atexit functions
