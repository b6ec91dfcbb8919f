"""Schedules: functions of the step, for a learning rate or a temperature.

    schedule = with_warmup(cosine(3e-3, 0.0, steps=900), warmup_steps=100)
    optimizer.lr = schedule(step)

Each function here returns a function of the step, an integer from 0. The values at its two ends are exact.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence

from minidl.engine.checks import (
    check_array,
    check_function,
    check_int,
    check_ints,
    check_number,
    check_sequence,
    positive_int,
    positive_number,
)
from minidl.engine.instead import SCHEDULES, missing

Schedule = Callable[[int], float]


def constant(value: float) -> Schedule:
    """value at every step

    >>> from minidl.train import schedules
    >>> schedules.constant(0.1)(step=7)
    0.1
    """
    value = check_number("value", value)
    return of_steps(lambda step: value)


def linear(start: float, end: float, steps: int) -> Schedule:
    """start + (end - start) t / steps, then end from step ``steps`` on.

    >>> from minidl.train import schedules
    >>> schedule = schedules.linear(1.0, 0.0, steps=4)
    >>> [schedule(step) for step in range(6)]
    [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
    """
    return between(start, end, steps, lambda start, end, x: start + (end - start) * x)


def cosine(start: float, end: float, steps: int) -> Schedule:
    """end + (start - end) (1 + cos(pi t / steps)) / 2, then end (Loshchilov and Hutter 2017).

    >>> from minidl.train import schedules
    >>> schedule = schedules.cosine(1.0, 0.0, steps=4)
    >>> [round(schedule(step), 3) for step in range(6)]
    [1.0, 0.854, 0.5, 0.146, 0.0, 0.0]
    """
    return between(
        start, end, steps, lambda start, end, x: end + (start - end) * (1 + math.cos(math.pi * x)) / 2
    )


def exponential(start: float, end: float, steps: int) -> Schedule:
    """start (end / start)^(t / steps), then end: the same factor at each step. Both ends are above 0.

    >>> from minidl.train import schedules
    >>> schedule = schedules.exponential(1.0, 0.01, steps=2)
    >>> [round(schedule(step), 3) for step in range(4)]
    [1.0, 0.1, 0.01, 0.01]
    """
    positive_number("start", start), positive_number("end", end)
    return between(start, end, steps, lambda start, end, x: start ** (1 - x) * end**x)


def between(start: float, end: float, steps: int, value: Callable[[float, float, float], float]) -> Schedule:
    """value(start, end, x) with x = t / steps, then the end. Rounding never exceeds the ends."""
    start, end = check_number("start", start), check_number("end", end)
    steps = positive_int("steps", steps)

    def schedule(step: int) -> float:
        x = min(step, steps) / steps
        if x == 0 or x >= 1:  # exactly the ends, without rounding
            return start if x == 0 else end
        return min(max(value(start, end, x), min(start, end)), max(start, end))

    return of_steps(schedule)


def of_steps(schedule: Schedule) -> Schedule:
    """The schedule, for steps that are integers from 0 on and nothing else."""
    return lambda step: schedule(check_int("step", step, 0))


def step_decay(value: float, factor: float, every: int) -> Schedule:
    """value factor^floor(t / every)

    >>> from minidl.train import schedules
    >>> schedule = schedules.step_decay(1.0, 0.5, every=2)
    >>> [schedule(step) for step in range(6)]
    [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]
    """
    value, factor = check_number("value", value), check_number("factor", factor, 0)
    every = positive_int("every", every)

    def schedule(step: int) -> float:
        decays = step // every
        try:
            return value * factor**decays
        except OverflowError:
            raise ValueError(f"{value:g} times {factor:g}^{decays} is too large for a number") from None

    return of_steps(schedule)


def multi_step(value: float, factor: float, milestones: Sequence[int]) -> Schedule:
    """value factor^n after n of the milestones: at each of these steps the value is multiplied by factor.

    >>> from minidl.train import schedules
    >>> schedule = schedules.multi_step(1.0, 0.5, milestones=[1, 4])
    >>> [schedule(step) for step in range(6)]
    [1.0, 0.5, 0.5, 0.5, 0.25, 0.25]
    """
    value, factor = check_number("value", value), check_number("factor", factor, 0)
    places = sorted(check_ints("milestones", check_sequence("milestones", milestones), 0, empty=True))
    return of_steps(lambda step: value * factor ** bisect_right(places, step))


def one_cycle(
    highest: float,
    steps: int,
    pct_start: float = 0.3,
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
) -> Schedule:
    """From highest / div_factor up to highest and down to highest / (div_factor final_div_factor).

    Both parts are cosines. The first ends at step pct_start steps - 1, the second at steps - 1 (Smith 2018).

    >>> from minidl.train import schedules
    >>> schedule = schedules.one_cycle(1.0, steps=10)
    >>> [round(schedule(step), 2) for step in range(10)]
    [0.04, 0.52, 1.0, 0.95, 0.81, 0.61, 0.39, 0.19, 0.05, 0.0]
    """
    highest, steps = check_number("highest", highest), positive_int("steps", steps)
    start = highest / positive_number("div_factor", div_factor)
    end = start / positive_number("final_div_factor", final_div_factor)
    top = check_number("pct_start", pct_start, 0, 1) * steps - 1

    def schedule(step: int) -> float:
        t = min(step, steps - 1)
        if t < top:
            before, after, x = start, highest, t / top
        else:
            before, after, x = highest, end, (t - top) / ((steps - 1 - top) or 1)
        return after + (before - after) * (1 + math.cos(math.pi * x)) / 2

    return of_steps(schedule)


def plateau(
    value: float, factor: float = 0.1, patience: int = 10, threshold: float = 1e-4
) -> Callable[[Sequence[float]], float]:
    """A function of the losses so far: value factor^n, where n counts how often the losses stopped falling.

    They stopped falling if more than ``patience`` losses in sequence are not below best (1 - threshold). Then
    the count starts again. ``optimizer.lr = schedule(history.test_loss)`` after each epoch.

    >>> from minidl.train import schedules
    >>> schedule = schedules.plateau(1.0, factor=0.5, patience=1)
    >>> schedule([0.9, 0.8, 0.8, 0.8])  # two losses in sequence are not lower
    0.5
    """
    value, factor = check_number("value", value), check_number("factor", factor, 0, 1)
    patience, threshold = check_int("patience", patience, 0), check_number("threshold", threshold, 0, 1)

    def schedule(losses: Sequence[float]) -> float:
        best, waited, cuts = math.inf, 0, 0
        for loss in check_array("losses", losses, "N", empty=True).tolist():
            waited = 0 if loss < best * (1 - threshold) else waited + 1
            best = loss if waited == 0 else best
            if waited > patience:
                waited, cuts = 0, cuts + 1
        return value * factor**cuts

    return schedule


def with_warmup(schedule: Schedule, warmup_steps: int) -> Schedule:
    """The schedule after W warmup steps, which rise linearly to its first value; formula in ``warmed_up``.

    >>> from minidl.train import schedules
    >>> schedule = schedules.with_warmup(schedules.linear(1.0, 0.0, steps=4), warmup_steps=2)
    >>> [schedule(step) for step in range(6)]
    [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]
    """
    check_function("schedule", schedule, "the step")
    W = check_int("warmup_steps", warmup_steps, 0)
    return of_steps(lambda step: warmed_up(schedule, W, step))


def warmed_up(schedule: Schedule, warmup_steps: int, step: int) -> float:
    """The rate at step t, with W steps of warmup before ``schedule``. No step of the schedule is skipped.

        schedule(0) (t + 1) / W  for t < W,    schedule(t - W)  for t >= W

    ``schedule(t)`` is a function that gives the rate at step t = 0, 1, ...  warmup_steps: W >= 0.  step: t.
    The first rate is schedule(0) / W, as in Goyal et al. 2017; another convention starts with 0.

    >>> from minidl import train
    >>> [train.schedules.warmed_up(lambda t: [8.0, 4.0][t], 2, step) for step in range(4)]
    [4.0, 8.0, 8.0, 4.0]
    """
    t, W = step, warmup_steps
    return schedule(0) * ((t + 1) / W) if t < W else schedule(t - W)


def __getattr__(name: str) -> None:
    raise missing(f"module {__name__!r}", name, SCHEDULES)
