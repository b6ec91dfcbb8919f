"""Finds files that are equal, or equal except for names and comments. This is a hint, not a verdict."""

from __future__ import annotations

import io
import keyword
import re
import tokenize
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import combinations

RUN = 8  # a run is a sequence of so many tokens; files are compared by their runs
ENOUGH = 40  # a file with fewer runs is not compared; runs of the stubs do not count
ALIKE = 0.85  # two files are nearly the same if they share this part of their runs or more
SKIPPED = (tokenize.COMMENT, tokenize.NL, tokenize.ENCODING, tokenize.ENDMARKER)
LAYOUT = (tokenize.INDENT, tokenize.DEDENT, tokenize.NEWLINE)
NOT_PYTHON = (tokenize.TokenError, SyntaxError, ValueError)


def identical(texts: Mapping[str, bytes], given: Iterable[bytes] = ()) -> list[list[str]]:
    """Groups of files that differ only in comments, blank lines and spaces. The largest group is first.

    No group has a text without tokens, or a text that equals one of ``given``, such as the stubs.
    """
    groups: dict[tuple[str, ...], list[str]] = {}
    for name, text in texts.items():
        groups.setdefault(tokens_of(text), []).append(name)
    for text in (b"", *given):
        groups.pop(tokens_of(text), None)
    return sorted((group for group in groups.values() if len(group) > 1), key=lambda group: -len(group))


def near_identical(texts: Mapping[str, bytes], given: Iterable[bytes] = ()) -> list[tuple[str, str, float]]:
    """Pairs of file names with their share of common runs, |A ∩ B| / |A ∪ B|. The largest share is first.

    All names of variables count as the same token, all numbers as one token, and all texts as one token. Two
    kinds of runs do not count: runs of a text in ``given``, such as the stubs, and runs that are in more than
    two files and in more than half of all files.
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
    """The tokens as they are written, without comments. If the text is not Python, its lines."""
    try:
        return tuple(string for _, string in python_tokens(text))
    except NOT_PYTHON:
        return tuple(line.strip().decode(errors="replace") for line in text.splitlines() if line.strip())


def python_tokens(text: bytes) -> list[tuple[int, str]]:
    """Pairs (kind, text) of the tokens without comments. Line ends and indents are words such as NEWLINE."""
    found = [(t.type, t.string) for t in tokenize.tokenize(io.BytesIO(text).readline)]
    return [
        (kind, tokenize.tok_name[kind] if kind in LAYOUT else string)
        for kind, string in found
        if kind not in SKIPPED
    ]


def normalised(text: bytes) -> Iterable[str]:
    """The tokens. All names of variables become the same word, and so do all numbers and all texts."""
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
