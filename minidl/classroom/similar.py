"""Finds files that are nearly the same except for names and comments. This is a hint, not a verdict."""

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


def normalised(text: bytes) -> Iterable[str]:
    """The tokens, with one word for all names of variables, one for all numbers, and one for all texts."""
    before = ""
    try:
        found = [(t.type, t.string) for t in tokenize.tokenize(io.BytesIO(text).readline)]
    except (tokenize.TokenError, SyntaxError, ValueError):  # not Python: split into words
        words = re.findall(r"\w+|[^\w\s]", text.decode(errors="replace"))
        found = [(tokenize.NAME if word[0].isalpha() else tokenize.OP, word) for word in words]
    for kind, string in found:
        if kind in SKIPPED:
            continue
        if kind == tokenize.NAME and not keyword.iskeyword(string) and before != ".":
            string = "name"
        elif kind == tokenize.NUMBER:
            string = "0"
        elif kind == tokenize.STRING:
            string = "''"
        elif kind in (tokenize.INDENT, tokenize.DEDENT, tokenize.NEWLINE):
            string = tokenize.tok_name[kind]
        before = string
        yield string
