"""Outcome: what a check found about one exercise, in plain values that go from the worker to its parent."""

from __future__ import annotations

from dataclasses import dataclass, field

END = b"\0"  # printed by the worker, among the prints of the learner's file, at the end of an exercise


@dataclass
class Outcome:
    """One exercise's check; or, with an empty number, why a file could not be checked at all."""

    number: str
    name: str  # of the function, or of the file
    passed: bool = False  # every law holds, and the function is not the library's
    written: bool = True  # not the stub any more
    file: str = ""  # the digest of what was checked
    line: int = 0  # of the file, where the function begins
    laws: int = 0
    held: int = 0
    calls: int = 0
    law: str = ""  # that failed
    message: str = ""
    case: list[list[str]] = field(default_factory=list)  # [name, value], shrunk
    call: str = ""  # the last one of the law
    answer: str = ""  # what it gave
    looks_like: list[str] = field(default_factory=list)
    picture: str = ""
    replay: str = ""
    library_calls: int = 0  # of the library's own function by the learner's, which is no answer then
    note: str = ""
    printed: str = ""  # the end of what the learner's file printed
    traceback: str = ""
