import numpy as np
import pytest

from minidl.figures import bars_with_intervals, curves_with_bands, points_with_intervals
from minidl.train.intervals import Interval

X = np.array([1.0, 2.0, 3.0])
THREE = np.array([[1.0, 2.0, 3.0], [2.0, 2.0, 5.0], [3.0, 2.0, 10.0]])


def notes(figure):
    return [text.get_text() for text in figure.texts]


def band_edges(axes, i=0):
    """x -> (low, high) of a filled band."""
    points = axes.collections[i].get_paths()[0].vertices
    return {x: (points[points[:, 0] == x, 1].min(), points[points[:, 0] == x, 1].max()) for x in X}


def test_the_band_is_the_t_interval_of_each_step():
    figure = curves_with_bands(X, {"loss": THREE})
    axes = figure.axes[0]
    assert axes.lines[0].get_ydata() == pytest.approx([2, 2, 6])
    # the 97.5% quantile of Student's t with 2 degrees of freedom is 4.302653 (tables), s = 1, 0 and sqrt(13)
    half = [4.302653 / np.sqrt(3), 0.0, 4.302653 * np.sqrt(13 / 3)]
    edges = band_edges(axes)
    for x, mean, h in zip(X, [2, 2, 6], half, strict=True):
        assert edges[x] == pytest.approx((mean - h, mean + h), rel=1e-5)


def test_a_single_seed_has_a_line_and_no_band():
    for values in (THREE[:1], THREE[0]):
        axes = curves_with_bands(X, {"one": values}).axes[0]
        assert axes.lines[0].get_ydata() == pytest.approx(THREE[0])
        assert len(axes.collections) == 0


def test_the_legend_gives_each_label_with_its_number_of_seeds():
    figure = curves_with_bands(X, {"SGD": THREE, "Adam": THREE[:2], "once": THREE[0]}, ylabel="loss")
    assert [t.get_text() for t in figure.legends[0].get_texts()] == [
        "SGD (n = 3)",
        "Adam (n = 2)",
        "once (n = 1)",
    ]
    assert "95%" in figure.legends[0].get_title().get_text()
    alone = curves_with_bands(X, {"once": THREE[0]}).legends[0]
    assert [t.get_text() for t in alone.get_texts()] == ["once"] and "95%" not in alone.get_title().get_text()
    assert (figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()) == ("step", "loss")


def test_14_curves_all_look_different_and_a_15th_is_refused():
    curves = {f"curve {i}": THREE + i for i in range(14)}
    lines = curves_with_bands(X, curves).axes[0].lines
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 14
    with pytest.raises(ValueError, match="curves must have 1 to 14 entries, got 15"):
        curves_with_bands(X, {**curves, "one more": THREE})


def test_the_axes_are_logarithmic_when_asked():
    axes = curves_with_bands(X, {"a": THREE}, log_y=True).axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("linear", "log")
    assert axes.get_ylim()[0] > 0.01  # although the band of the last step reaches below zero
    assert curves_with_bands(X, {"a": THREE}, log_x=True).axes[0].get_xscale() == "log"
    assert curves_with_bands(X, {"a": THREE}).axes[0].get_xscale() == "linear"


def test_a_logarithmic_axis_of_few_values_names_them():
    axis = curves_with_bands([0.5, 2, 50], {"a": np.ones((2, 3))}, log_x=True).axes[0].xaxis
    assert [label.get_text() for label in axis.get_ticklabels()] == ["0.5", "2", "50"]
    assert [label.get_text() for label in axis.get_ticklabels(minor=True)] == []
    many = curves_with_bands(np.arange(1, 10), {"a": np.ones(9)}, log_x=True).axes[0].xaxis
    assert len(many.get_ticklocs()) < 9


def test_a_step_where_a_seed_is_not_finite_is_a_gap_and_the_figure_says_so():
    values = THREE.copy()
    values[1, 1] = np.nan
    figure = curves_with_bands(X, {"diverged": values, "fine": THREE})
    assert np.isnan(figure.axes[0].lines[0].get_ydata()).tolist() == [False, True, False]
    assert notes(figure) == ["gap: diverged (n = 3) is not finite at 1 of 3 points"]
    assert notes(curves_with_bands(X, {"fine": THREE})) == []


@pytest.mark.parametrize(
    ("x", "curves", "kind", "message"),
    [
        (
            X,
            {"a": THREE[:, :2]},
            ValueError,
            r"curve 'a' must have shape \(seeds, 3\) to fit x, got \(3, 2\)",
        ),
        (X, {"a": THREE[None]}, ValueError, r"got \(1, 3, 3\)"),
        (X, {"a": THREE[:0]}, ValueError, r"must not be empty, got shape \(0, 3\)"),
        (X, {}, ValueError, "curves must have 1 to 14 entries, got 0"),
        (X, THREE, TypeError, "curves must be a dict from titles to values, got an array"),
        (X, {"a": ["u", "v", "w"]}, TypeError, "curve 'a' must be real numbers"),
        (X, {"a": [[1, 2, 3], [1, 2]]}, ValueError, "curve 'a' must be an array"),
        (X[::-1], {"a": THREE}, ValueError, "x must be increasing"),
        ([1, 2, np.nan], {"a": THREE}, ValueError, "x must be finite, got nan"),
        (X[None], {"a": THREE}, ValueError, r"x must have shape \(steps,\), got \(1, 3\)"),
        ([], {"a": THREE}, ValueError, "x must not be empty"),
    ],
)
def test_curves_that_do_not_fit_are_refused(x, curves, kind, message):
    with pytest.raises(kind, match=message):
        curves_with_bands(x, curves)


def test_a_logarithmic_axis_refuses_zero():
    with pytest.raises(ValueError, match="needs x > 0, got 0"):
        curves_with_bands([0, 1, 2], {"a": THREE}, log_x=True)
    with pytest.raises(ValueError, match="needs values > 0, but curve 'a' has -1"):
        curves_with_bands(X, {"a": THREE - 2}, log_y=True)


def of(means, lows, highs):
    return Interval(means, lows, highs, 8)


def test_whole_numbers_of_x_have_no_ticks_between_them():
    axes = curves_with_bands(np.arange(4), {"a": np.arange(4.0)}).axes[0]
    assert all(tick == round(tick) for tick in axes.get_xticks())
    axes = curves_with_bands([0, 0.5, 1], {"a": np.arange(3.0)}).axes[0]
    assert not all(tick == round(tick) for tick in axes.get_xticks())


def test_a_constant_run_is_a_dashed_limit_without_points():
    limit, curve = curves_with_bands([0, 1], {"card": [3.0, 3.0], "model": [1.0, 2.0]}).axes[0].lines
    assert (limit.get_linestyle(), limit.get_marker()) == ("--", "None")
    assert (curve.get_linestyle(), curve.get_marker()) == ("-", "s")


def test_curves_differ_by_their_markers_too():
    lines = curves_with_bands([0, 1], {name: [1.0, 2.0] for name in "abc"}).axes[0].lines
    assert [line.get_marker() for line in lines] == ["o", "s", "^"]


def test_a_logarithmic_y_axis_names_1_2_and_5_of_each_decade():
    figure = curves_with_bands([0, 1], {"a": [1.0, 60.0]}, log_y=True)
    figure.canvas.draw()
    shown = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert {"1", "2", "5", "10", "20", "50"} <= set(shown)


LABELS, MEANS, LOWS, HIGHS = ["cat", "dog"], [0.5, 0.8], [0.4, 0.7], [0.7, 0.95]


def test_bars_start_at_zero_and_their_intervals_run_from_low_to_high():
    axes = bars_with_intervals(LABELS, of(MEANS, LOWS, HIGHS), xlabel="accuracy").axes[0]
    assert [(bar.get_x(), bar.get_width()) for bar in axes.patches] == [(0, 0.5), (0, 0.8)]
    segments = axes.collections[0].get_segments()
    assert [list(segment[:, 0]) for segment in segments] == [[0.4, 0.7], [0.7, 0.95]]
    assert axes.get_xlim()[0] <= 0
    assert [text.get_text() for text in axes.get_yticklabels()] == LABELS
    assert [text.get_text() for text in axes.texts] == ["0.500", "0.800"]
    assert axes.get_xlabel() == "accuracy"


def test_the_first_label_is_on_top():
    axes = bars_with_intervals(LABELS, of(MEANS, LOWS, HIGHS)).axes[0]
    bottom, top = axes.get_ylim()
    assert abs(axes.get_yticks()[0] - top) < abs(axes.get_yticks()[0] - bottom)


def test_zoomed_in_there_are_points_and_no_bars_of_misleading_length():
    axes = bars_with_intervals(LABELS, of(MEANS, LOWS, HIGHS), zoom=True).axes[0]
    assert not axes.patches and axes.get_xlim()[0] > 0.3
    assert list(axes.lines[0].get_xdata()) == MEANS


def test_the_interval_of_a_share_ends_at_0_and_1():
    axes = bars_with_intervals(LABELS, of([0.1, 0.9], [-0.2, 0.7], [0.4, 1.1]), share=True).axes[0]
    assert [list(segment[:, 0]) for segment in axes.collections[0].get_segments()] == [[0, 0.4], [0.7, 1]]
    assert axes.get_xlim() == (0, 1)
    with pytest.raises(ValueError, match="a fraction must lie between 0 and 1"):
        bars_with_intervals(["a"], of([1.2], [1.1], [1.3]), share=True)


def test_a_class_without_examples_has_only_its_interval():
    axes = bars_with_intervals(LABELS, of([np.nan, 0.8], [0, 0.7], [1, 0.9])).axes[0]
    assert axes.texts[0].get_text() == "no data"
    assert list(axes.collections[0].get_segments()[0][:, 0]) == [0, 1]


@pytest.mark.parametrize(
    ("largest", "text"), [(0.9721, "0.972"), (1.0, "1.000"), (31.44, "31.4"), (1234.0, "1234"), (0.0, "0")]
)
def test_means_are_written_to_three_figures_of_the_largest(largest, text):
    assert bars_with_intervals(["a"], of([largest], [0], [2000])).axes[0].texts[0].get_text() == text


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (
            (["cat"], MEANS, LOWS, HIGHS),
            ValueError,
            "labels must have one entry for each of the 2 means, got 1",
        ),
        (("cat", MEANS, LOWS, HIGHS), TypeError, "labels must be a list of texts"),
        ((LABELS, MEANS, LOWS[:1], HIGHS), ValueError, r"lows must have shape \(2,\), got \(1,\)"),
        (([], [], [], []), ValueError, "means must not be empty"),
        ((LABELS, MEANS, HIGHS, LOWS), ValueError, "low <= mean <= high does not hold at 0: 0.7, 0.5, 0.4"),
        ((LABELS, [0.5, 0.99], LOWS, HIGHS), ValueError, "does not hold at 1"),
        ((LABELS, MEANS, [0.4, np.nan], HIGHS), ValueError, "lows must be finite, got nan"),
        ((LABELS, [np.inf, 0.8], LOWS, HIGHS), ValueError, "means must be finite or NaN"),
        ((LABELS, ["a", "b"], LOWS, HIGHS), TypeError, "means must be real numbers"),
    ],
)
def test_intervals_that_are_none_are_refused(arguments, kind, message):
    with pytest.raises(kind, match=message):
        bars_with_intervals(arguments[0], of(*arguments[1:]))


def test_a_list_of_intervals_is_drawn_as_one_of_arrays_is():
    rows = [Interval(*ends, 8) for ends in zip(MEANS, LOWS, HIGHS, strict=True)]
    one, other = (bars_with_intervals(LABELS, x).axes[0] for x in (rows, of(MEANS, LOWS, HIGHS)))
    for axes in (one, other):
        assert [bar.get_width() for bar in axes.patches] == MEANS
    assert np.array_equal(*(axes.collections[0].get_segments() for axes in (one, other)))
    with pytest.raises(TypeError, match="an entry of intervals must be"):
        bars_with_intervals(LABELS, MEANS)


# ---- named points


def test_each_point_stands_at_its_x_and_mean_with_its_interval_and_its_label():
    three = Interval([0.2, 0.5, np.nan], [0.1, 0.4, 0], [0.4, 0.9, 1], 5)
    figure = points_with_intervals([1, 100, 10], ["linear", "deep", "not known"], three, log_x=True)
    axes = figure.axes[0]
    assert axes.lines[0].get_xydata() == pytest.approx(np.array([[1, 0.2], [100, 0.5]]))
    ends = [path.vertices for path in axes.collections[0].get_paths()]
    assert np.array(ends) == pytest.approx(np.array([[[1, 0.1], [1, 0.4]], [[100, 0.4], [100, 0.9]]]))
    labels = {text.get_text(): (text.xy, text.get_ha()) for text in axes.texts}
    assert labels == {"linear": ((1, 0.2), "left"), "deep": ((100, 0.5), "right")}
    assert axes.get_xscale() == "log"


def test_points_that_cannot_be_drawn_are_refused():
    two = Interval([0.2, 0.5], [0.1, 0.4], [0.4, 0.9], 5)
    with pytest.raises(ValueError, match="logarithmic x axis needs x > 0, got 0"):
        points_with_intervals([0, 1], ["a", "b"], two, log_x=True)
    with pytest.raises(ValueError, match="means must not all be NaN"):
        points_with_intervals([1], ["a"], Interval([np.nan], [0], [1], 5))


@pytest.mark.parametrize(("steps", "every"), [(20, 1), (21, 2), (240, 24)])
def test_curves_differ_in_more_than_their_colour(steps, every):
    x = np.arange(steps)
    curves = {"a": x, "limit": np.ones(steps), "b": 2 * x, "c": x + 0.5}
    lines = curves_with_bands(x, curves).axes[0].lines
    assert [line.get_marker() for line in lines] == ["o", "None", "^", "D"]
    assert lines[0].get_markevery() == every
