"""Finds files that are the same, or the same except for names and comments. A hint, not a verdict."""

from __future__ import annotations

import io
import keyword
import re
import tokenize
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import combinations

RUN = 8  # the length of a run: tokens in a row that are compared
ENOUGH = 40  # a file with fewer runs of its own is not compared
ALIKE = 0.85  # the share of common runs from which on two files are nearly the same
SKIPPED = (tokenize.COMMENT, tokenize.NL, tokenize.ENCODING, tokenize.ENDMARKER)
LAYOUT = (tokenize.INDENT, tokenize.DEDENT, tokenize.NEWLINE)
NOT_PYTHON = (tokenize.TokenError, SyntaxError, ValueError)


def identical(texts: Mapping[str, bytes], given: Iterable[bytes] = ()) -> list[list[str]]:
    """Groups of names whose texts differ in comments, blank lines and spaces at most, the largest first.

    Texts without a token are in no group, and those that are one of ``given``, such as the stubs.
    """
    groups: dict[tuple[str, ...], list[str]] = {}
    for name, text in texts.items():
        groups.setdefault(tokens_of(text), []).append(name)
    for text in (b"", *given):
        groups.pop(tokens_of(text), None)
    return sorted((group for group in groups.values() if len(group) > 1), key=lambda group: -len(group))


def near_identical(texts: Mapping[str, bytes], given: Iterable[bytes] = ()) -> list[tuple[str, str, float]]:
    """Pairs of file names with their share of common runs of tokens, |A ∩ B| / |A ∪ B|, the largest first.

    All names of variables count as the same token, and so do all numbers and all texts. Runs of a text in
    ``given``, such as the stubs, do not count. Neither do runs that are in more than two files and also in
    more than half of all files.
    """
    everywhere = {run for text in given for run in runs(text)}
    of = {name: runs(text) - everywhere for name, text in texts.items()}
    count = Counter(run for own in of.values() for run in own)
    common = {run for run, files in count.items() if files > max(len(of) / 2, 2)}
    own = {name: found - common for name, found in of.items()}
    pairs = []
    for one, other in combinations([name for name in own if len(own[name]) >= ENOUGH], 2):
        share = len(own[one] & own[other]) / len(own[one] | own[other])
        if share >= ALIKE:
            pairs.append((one, other, round(share, 3)))
    return sorted(pairs, key=lambda pair: -pair[2])


def runs(text: bytes) -> set[tuple[str, ...]]:
    """The set of all runs of ``RUN`` normalised tokens."""
    tokens = list(normalised(text))
    return {tuple(tokens[i : i + RUN]) for i in range(len(tokens) - RUN + 1)}


def tokens_of(text: bytes) -> tuple[str, ...]:
    """The tokens as they are written, without comments; of a text that is not Python its lines."""
    try:
        return tuple(string for _, string in python_tokens(text))
    except NOT_PYTHON:
        return tuple(line.strip().decode(errors="replace") for line in text.splitlines() if line.strip())


def python_tokens(text: bytes) -> list[tuple[int, str]]:
    """(kind, text) of each token but comments; what ends or indents a line is one word each."""
    found = [(t.type, t.string) for t in tokenize.tokenize(io.BytesIO(text).readline)]
    return [
        (kind, tokenize.tok_name[kind] if kind in LAYOUT else string)
        for kind, string in found
        if kind not in SKIPPED
    ]


def normalised(text: bytes) -> Iterable[str]:
    """The tokens, with one word for all names of variables, one for all numbers, and one for all texts."""
    before = ""
    try:
        found = python_tokens(text)
    except NOT_PYTHON:  # split into words
        words = re.findall(r"\w+|[^\w\s]", text.decode(errors="replace"))
        found = [(tokenize.NAME if word[0].isalpha() else tokenize.OP, word) for word in words]
    for kind, string in found:
        if kind == tokenize.NAME and not keyword.iskeyword(string) and before != ".":
            string = "name"
        elif kind == tokenize.NUMBER:
            string = "0"
        elif kind == tokenize.STRING:
            string = "''"
        before = string
        yield string
