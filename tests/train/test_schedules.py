"""Schedules: each law under the conditions in which it is true."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl.train import schedules
from minidl.train.schedules import (
    constant,
    cosine,
    exponential,
    linear,
    multi_step,
    one_cycle,
    plateau,
    step_decay,
    with_warmup,
)

values = st.floats(1e-4, 1e4)
steps = st.integers(1, 60)
between_ends = st.sampled_from([linear, cosine, exponential])


def points(schedule, n):
    return [schedule(t) for t in range(n)]


@given(make=between_ends, start=values, end=values, n=steps, beyond=st.integers(0, 1000))
def test_both_ends_come_out_to_the_last_bit(make, start, end, n, beyond):
    schedule = make(start, end, n)
    assert schedule(0) == start
    assert schedule(n) == schedule(n + beyond) == end


@given(make=between_ends, start=values, end=values, n=steps)
def test_the_way_between_the_ends_is_monotone_and_never_beyond_them(make, start, end, n):
    way = points(make(start, end, n), n + 2)
    assert way == sorted(way, reverse=end < start)
    assert min(way) >= min(start, end) and max(way) <= max(start, end)


@given(make=between_ends, start=values, end=values, n=steps, factor=st.sampled_from([0.5, 3.0]))
def test_scaling_both_ends_scales_the_schedule(make, start, end, n, factor):
    scaled = points(make(factor * start, factor * end, n), n + 1)
    assert all(
        math.isclose(a, factor * b) for a, b in zip(scaled, points(make(start, end, n), n + 1), strict=True)
    )


def test_the_middle_of_each_by_hand():
    assert linear(1.0, 3.0, 4)(1) == 1.5
    assert math.isclose(cosine(1.0, 3.0, 4)(2), 2.0)
    assert math.isclose(cosine(2.0, 0.0, 3)(1), 1.5)  # (1 + cos 60°)/2 = 3/4
    assert math.isclose(exponential(1.0, 16.0, 4)(1), 2.0)
    assert constant(0.3)(12345) == 0.3
    assert points(step_decay(8.0, 0.5, 2), 5) == [8, 8, 4, 4, 2]


def test_the_schedules_with_bends_by_hand():
    assert points(multi_step(8.0, 0.5, [1, 3]), 5) == [8, 4, 4, 2, 2]
    way = points(one_cycle(1.0, 11, pct_start=5 / 11, div_factor=10, final_div_factor=10), 13)
    assert [way[0], way[4], way[10], way[12]] == pytest.approx([0.1, 1.0, 0.01, 0.01])  # up, top, end
    assert [way[2], way[7]] == pytest.approx([0.55, 0.505])  # half way


def test_a_plateau_is_counted_from_the_last_cut():
    schedule = plateau(1.0, factor=0.5, patience=1)
    assert schedule([]) == 1
    assert schedule([3.0, 2.0, 2.0]) == 1  # one loss did not fall, but the patience is not over
    assert schedule([3.0, 2.0, 2.0, 2.5]) == 0.5
    assert schedule([3.0, 2.0, 2.0, 2.5, 2.0]) == 0.5
    assert schedule([3.0, 2.0, 2.0, 2.5, 2.0, 2.0]) == 0.25
    assert schedule([3.0, 2.0, 2.0, 1.0, 2.0, 0.5]) == 1
    assert plateau(1.0, 0.5, 0, threshold=0.1)([1.0, 0.95]) == 0.5  # fell by less than a tenth


@given(n=steps, highest=values)
def test_one_cycle_rises_to_the_top_and_falls(n, highest):
    way = points(one_cycle(highest, 10 * n), 10 * n)
    top = 3 * n - 1
    assert way[: top + 1] == sorted(way[: top + 1]) and way[top:] == sorted(way[top:], reverse=True)
    assert max(way) == pytest.approx(highest)


@given(start=values, end=values, n=steps)
def test_exponential_multiplies_by_one_factor(start, end, n):
    way = points(exponential(start, end, n), n + 1)
    factor = (end / start) ** (1 / n)
    assert all(math.isclose(b, a * factor) for a, b in zip(way, way[1:], strict=False))


@given(start=values, share=st.floats(0, 1), n=steps, warmup=st.integers(1, 40))
def test_warmup_rises_to_the_base_and_the_decay_follows_without_a_jump(start, share, n, warmup):
    schedule = with_warmup(cosine(start, share * start, n), warmup)
    way = points(schedule, warmup + n + 2)
    assert math.isclose(way[0], start / warmup)
    assert way[warmup - 1] == way[warmup] == start  # continuous at the joint
    assert way[:warmup] == sorted(way[:warmup])
    assert way[warmup:] == sorted(way[warmup:], reverse=True)
    assert way[-1] == share * start


@given(start=values, n=steps, t=st.integers(0, 100))
def test_no_warmup_is_the_schedule_itself(start, n, t):
    schedule = linear(start, 0.0, n)
    assert with_warmup(schedule, 0)(t) == schedule(t)


@given(start=values, n=steps, warmup=st.integers(0, 40), factor=st.sampled_from([0.5, 3.0]))
def test_scaling_the_schedule_scales_it_with_its_warmup(start, n, warmup, factor):
    a = points(with_warmup(linear(start, 0.0, n), warmup), 50)
    b = points(with_warmup(linear(factor * start, 0.0, n), warmup), 50)
    assert all(math.isclose(factor * x, y) for x, y in zip(a, b, strict=True))


def test_warmup_by_hand():
    assert points(with_warmup(linear(1.0, 0.0, 2), 4), 8) == [0.25, 0.5, 0.75, 1.0, 1.0, 0.5, 0.0, 0.0]


def test_a_schedule_remembers_nothing():
    schedule = with_warmup(cosine(1.0, 0.0, 10), 3)
    forward = points(schedule, 14)
    assert [schedule(t) for t in reversed(range(14))] == forward[::-1]


@pytest.mark.parametrize(
    "attempt, error, message",
    [
        (lambda: constant("low"), TypeError, "value must be a number, got 'low'"),
        (lambda: linear(float("nan"), 0.0, 3), ValueError, "start must be finite"),
        (lambda: linear(1.0, None, 3), TypeError, "end must be a number"),
        (lambda: linear(1.0, 0.0, 0), ValueError, "steps must be at least 1"),
        (lambda: cosine(1.0, 0.0, 2.5), TypeError, "steps must be an integer, got 2.5"),
        (lambda: exponential(1.0, 0.0, 5), ValueError, "end must be above 0"),
        (lambda: step_decay(1.0, -0.5, 5), ValueError, "factor must be finite and at least 0"),
        (lambda: step_decay(1.0, 0.5, 0), ValueError, "every must be at least 1"),
        (lambda: step_decay(1.0, 10.0, 1)(400), ValueError, r"1 times 10\^400 is too large"),
        (lambda: multi_step(0.1, 0.5, 3), TypeError, "milestones must be a tuple or list, got 3"),
        (lambda: multi_step(0.1, 0.5, [-1]), ValueError, "each of milestones must be at least 0, got -1"),
        (lambda: multi_step(0.1, -1, [1]), ValueError, "factor must be finite and at least 0"),
        (lambda: multi_step(0.1, 0.5, [1])(-1), ValueError, "step must be at least 0"),
        (lambda: one_cycle(0.1, 0), ValueError, "steps must be at least 1"),
        (lambda: one_cycle(0.1, 9, pct_start=1.5), ValueError, r"pct_start must be .* within \[0, 1\]"),
        (lambda: one_cycle(0.1, 9, div_factor=0), ValueError, "div_factor must be above 0"),
        (lambda: one_cycle(0.1, 9)(-1), ValueError, "step must be at least 0"),
        (lambda: plateau(0.1, factor=2), ValueError, r"factor must be finite and within \[0, 1\], got 2"),
        (lambda: plateau(0.1, patience=-1), ValueError, "patience must be at least 0"),
        (lambda: plateau(0.1)([float("nan")]), ValueError, "losses must be finite, got nan"),
        (lambda: plateau(0.1)(0.5), ValueError, r"losses must have shape \(N,\)"),
        (lambda: schedules.StepLR, AttributeError, r"write optimizer.lr = schedule\(step\), with step_decay"),
        (lambda: schedules.nothing, AttributeError, "has no attribute 'nothing'$"),
        (lambda: with_warmup(0.1, 5), TypeError, "schedule must be a function of the step, got 0.1"),
        (lambda: with_warmup(constant(0.1), -1), ValueError, "warmup_steps must be at least 0, got -1"),
        (lambda: with_warmup(constant(0.1), 1.5), TypeError, "warmup_steps must be an integer"),
        (lambda: constant(0.1)(-1), ValueError, "step must be at least 0, got -1"),
        (lambda: linear(1.0, 0.0, 5)(0.5), TypeError, "step must be an integer, got 0.5"),
        (lambda: with_warmup(constant(0.1), 5)(-1), ValueError, "step must be at least 0"),
    ],
)
def test_bad_input_is_refused_in_words(attempt, error, message):
    with pytest.raises(error, match=message):
        attempt()


@pytest.mark.parametrize("kind", [linear, cosine, exponential])
def test_a_step_of_any_size_after_the_end_has_the_end(kind):
    assert kind(0.5, 0.25, 10)(10**400) == 0.25
