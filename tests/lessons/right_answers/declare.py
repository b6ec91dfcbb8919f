"""Collects the right answers."""

from __future__ import annotations

RIGHT: list[tuple[str, object]] = []  # number, the answer


def right(number: str):
    def declare(answer):
        RIGHT.append((number, answer))
        return answer

    return declare
