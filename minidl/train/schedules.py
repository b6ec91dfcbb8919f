"""Schedules: pure functions of the step, for a learning rate or a temperature alike.

    schedule = with_warmup(cosine(3e-3, 0.0, steps=900), warmup_steps=100)
    optimizer.lr = schedule(step)

Each function here returns a function of the step, an integer from 0. Its two ends come out to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from minidl.engine.checks import check_function, check_int, check_number, positive_int, positive_number

Schedule = Callable[[int], float]


def constant(value: float) -> Schedule:
    """value at every step"""
    value = check_number("value", value)

    def schedule(step: int) -> float:
        check_int("step", step, 0)
        return value

    return schedule


def linear(start: float, end: float, steps: int) -> Schedule:
    """start + (end - start) t / steps, then end from step ``steps`` on."""
    return between(start, end, steps, lambda start, end, x: start + (end - start) * x)


def cosine(start: float, end: float, steps: int) -> Schedule:
    """end + (start - end) (1 + cos(pi t / steps)) / 2, then end (Loshchilov and Hutter 2017)."""
    return between(
        start, end, steps, lambda start, end, x: end + (start - end) * (1 + math.cos(math.pi * x)) / 2
    )


def exponential(start: float, end: float, steps: int) -> Schedule:
    """start (end / start)^(t / steps), then end: the same factor at each step. Both ends are above 0."""
    positive_number("start", start), positive_number("end", end)
    return between(start, end, steps, lambda start, end, x: start ** (1 - x) * end**x)


def between(start: float, end: float, steps: int, value: Callable[[float, float, float], float]) -> Schedule:
    """value(start, end, x) with x = t / steps, which rounding takes nowhere beyond the ends; then the end."""
    start, end = check_number("start", start), check_number("end", end)
    steps = positive_int("steps", steps)

    def schedule(step: int) -> float:
        x = check_int("step", step, 0) / steps
        if x == 0 or x >= 1:  # the ends themselves, which rounding may miss
            return start if x == 0 else end
        return min(max(value(start, end, x), min(start, end)), max(start, end))

    return schedule


def step_decay(value: float, factor: float, every: int) -> Schedule:
    """value factor^floor(t / every)"""
    value, factor = check_number("value", value), check_number("factor", factor, 0)
    every = positive_int("every", every)

    def schedule(step: int) -> float:
        decays = check_int("step", step, 0) // every
        try:
            return value * factor**decays
        except OverflowError:
            raise ValueError(f"{value:g} times {factor:g}^{decays} is too large for a number") from None

    return schedule


def with_warmup(schedule: Schedule, warmup_steps: int) -> Schedule:
    """The schedule, after W steps that rise evenly to its first value: ``warmed_up`` has the formula."""
    check_function("schedule", schedule, "the step")
    W = check_int("warmup_steps", warmup_steps, 0)
    return lambda step: warmed_up(schedule, W, check_int("step", step, 0))


def warmed_up(schedule: Schedule, warmup_steps: int, step: int) -> float:
    """schedule(0) (t + 1) / W at step t < W, then schedule(t - W): nothing of the schedule is skipped.

    Of the two conventions for the first step, 0 and base / W, it is base / W (Goyal et al. 2017).
    """
    t, W = step, warmup_steps
    return schedule(0) * ((t + 1) / W) if t < W else schedule(t - W)
