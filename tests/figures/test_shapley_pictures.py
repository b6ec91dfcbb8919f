import numpy as np
import pytest

from minidl.figures.shapley import convergence, shap_summary, waterfall
from minidl.figures.style import BLUE, VERMILLION, png_bytes


def colour_of(patch):
    return "#" + "".join(f"{round(255 * c):02X}" for c in patch.get_facecolor()[:3])


def test_a_waterfall_runs_from_the_base_value_to_the_prediction_largest_bar_last():
    figure = waterfall([1.0, -3.0, 0.5], 10.0, ["a", "b", "c"], [7, 8, 9.25])
    axes = figure.axes[0]
    bars = [(min(p.get_x(), p.get_x() + p.get_width()), abs(p.get_width())) for p in axes.patches]
    assert bars == [(10.0, 0.5), (10.5, 1.0), (8.5, 3.0)]
    assert [colour_of(p) for p in axes.patches] == [VERMILLION, VERMILLION, BLUE]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["c = 9.25", "a = 7", "b = 8"]
    assert [text.get_text() for text in axes.texts] == ["+0.5", "+1", "-3"]
    marks = [text.get_text() for text in figure.legends[0].get_texts()]
    assert marks == ["base value 10", "prediction 8.5"]


def test_the_smallest_bars_of_a_waterfall_are_one_together():
    figure = waterfall([1.0, -3.0, 0.5, 0.25], 0.0, list("abcd"), max_shown=np.int64(3))
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["2 others", "a", "b"]
    assert [p.get_width() for p in axes.patches] == [0.75, 1.0, -3.0]


def test_a_summary_orders_features_by_mean_magnitude_and_colours_by_their_numbers():
    values = np.array([[0.1, -2.0], [-0.1, 4.0], [0.1, 0.0]])
    data = np.array([[5.0, 30.0], [7.0, 10.0], [6.0, 20.0]])
    figure = shap_summary(values, data, ["small", "large"])
    axes = figure.axes[0]
    first, second = axes.collections
    assert first.get_offsets()[:, 0].tolist() == [-2, 4, 0]
    assert second.get_offsets()[:, 0].tolist() == [0.1, -0.1, 0.1]
    assert first.get_array().tolist() == [1, 0, 0.5]
    assert second.get_array().tolist() == [0, 1, 0.5]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["large\nmean |value| 2", "small\nmean |value| 0.1"]


def test_points_of_one_value_stand_apart_and_stay_in_their_row():
    figure = shap_summary(np.zeros((50, 2)), np.arange(100.0).reshape(50, 2), ["a", "b"], max_shown=1)
    (points,) = figure.axes[0].collections
    heights = points.get_offsets()[:, 1]
    assert len(set(heights.tolist())) == 50
    assert np.abs(heights).max() < 0.5


def test_a_feature_of_one_number_has_the_middle_colour():
    figure = shap_summary([[1.0], [2.0]], [[3.0], [3.0]], ["constant"])
    assert figure.axes[0].collections[0].get_array().tolist() == [0.5, 0.5]


def test_convergence_draws_the_root_mean_square_and_a_line_of_slope_minus_a_half():
    samples = np.array([1.0, 4.0])
    figure = convergence(samples, {"paths": [[3.0, 0.0], [4.0, 2.0]], "kernel": [8.0, 4.0]})
    paths, line, kernel, kernel_line, _ = figure.axes[0].lines
    np.testing.assert_allclose(paths.get_ydata(), [12.5**0.5, 2**0.5])
    np.testing.assert_allclose(kernel.get_ydata(), kernel_line.get_ydata())  # 8 / sqrt(samples)
    assert line.get_ydata()[0] == pytest.approx(2 * line.get_ydata()[1])
    assert figure.axes[0].get_xscale() == figure.axes[0].get_yscale() == "log"
    key = [text.get_text() for text in figure.legends[0].get_texts()]
    assert key == ["paths", "kernel", "C / sqrt(samples)"]
    figure = convergence(samples, {"paths": [1.0, 0.5]}, xlabel="worths")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["paths", "C / sqrt(worths)"]


def test_convergence_draws_the_intervals_of_its_points():
    ends = {"paths": [[0.5, 0.25], [2.0, 0.75]]}
    figure = convergence([1, 4], {"kernel": [3.0, 2.0], "paths": [1.0, 0.5]}, intervals=ends)
    (drawn,) = figure.axes[0].collections
    segments = [[[1.0, 0.5], [1.0, 2.0]], [[4.0, 0.25], [4.0, 0.75]]]
    np.testing.assert_allclose(drawn.get_segments(), segments)


def test_a_waterfall_has_an_arrow_head_in_each_bar_and_names_the_whole():
    figure = waterfall([3.0, -1.0, 0.0], 10.0, ["a", "b", "c"], xlabel="rent")
    heads = [line for line in figure.axes[0].lines if line.get_marker() in "<>"]
    assert [head.get_marker() for head in heads] == ["<", ">"]
    assert 9 < heads[0].get_xdata()[0] < 9.2 and 11.8 < heads[1].get_xdata()[0] < 12
    assert figure.legends[0].get_texts()[1].get_text() == "rent 12"


def test_ticks_of_samples_that_hardly_grow_do_not_overlap():
    for samples, shown in (([200, 300, 500], ["200", "300", "500"]), ([200, 220, 240, 500], ["200", "500"])):
        figure = convergence(samples, {"paths": np.sqrt(samples)})
        png_bytes(figure)
        axis = figure.axes[0].xaxis
        labels = [*axis.get_ticklabels(), *axis.get_ticklabels(minor=True)]
        assert [label.get_text() for label in labels if label.get_text()] == shown


def test_all_three_draw_in_the_look():
    for figure in (
        waterfall([0.0], 0.0, ["a"]),
        shap_summary([[0.0]], [[0.0]], ["a"]),
        convergence([1, 2], {"a": [1.0, 0.5]}),
    ):
        assert png_bytes(figure).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: waterfall([[1.0]], 0, ["a"]), ValueError, r"values must have shape \(F,\), got \(1, 1\)"),
        (lambda: waterfall([np.nan], 0, ["a"]), ValueError, "values must be finite"),
        (
            lambda: waterfall([1.0], 0, ["a", "b"]),
            ValueError,
            "names must have one entry for each of the 1 features",
        ),
        (lambda: waterfall([1.0], 0, ["a"], [1, 2]), ValueError, r"data must have shape \(1,\), got \(2,\)"),
        (lambda: waterfall([1.0], 0, ["a"], [np.nan]), ValueError, "data must be finite, got nan"),
        (lambda: waterfall([1.0], [0.0, 1.0], ["a"]), TypeError, "base_value must be a number"),
        (lambda: waterfall([1.0], np.nan, ["a"]), ValueError, "base_value must be finite"),
        (lambda: waterfall([1.0], 0, ["a"], max_shown=True), TypeError, "max_shown must be an integer"),
        (lambda: waterfall([1.0], 0, ["a"], max_shown=np.int64(1)), ValueError, "max_shown.*at least 2"),
        (lambda: waterfall([1.0], 0, ["a"], max_shown=1), ValueError, "max_shown.*at least 2"),
        (
            lambda: shap_summary([1.0], [1.0], ["a"]),
            ValueError,
            r"values must have shape \(rows, F\), got \(1,\)",
        ),
        (
            lambda: shap_summary([[1.0]], [[1.0, 2]], ["a"]),
            ValueError,
            r"data must have shape \(1, 1\), got \(1, 2\)",
        ),
        (lambda: shap_summary([[1.0]], [[1.0]], ["a"], max_shown=0), ValueError, "at least 1"),
        (lambda: shap_summary([[1.0]], [[1.0]], ["a"], max_shown=True), TypeError, "an integer, got True"),
        (lambda: convergence([1, np.nan], {"a": [1, 1]}), ValueError, "samples must be finite"),
        (lambda: convergence([1, np.inf], {"a": [1, 1]}), ValueError, "samples must be finite"),
        (lambda: convergence([[1, 2]], {"a": [1, 1]}), ValueError, r"samples must have shape \(K,\)"),
        (lambda: convergence([2, 1], {"a": [1, 1]}), ValueError, "samples must be two or more"),
        (lambda: convergence([1, 2], {}), ValueError, "errors must have 1 to 7 entries"),
        (lambda: convergence([1, 2], {"a": [1, 2, 3]}), ValueError, r"\(runs, 2\), got \(1, 3\)"),
        (
            lambda: convergence([1, 2], {"a": [1, 1]}, intervals={"b": [[1, 1], [2, 2]]}),
            ValueError,
            "intervals must name methods of",
        ),
        (
            lambda: convergence([1, 2], {"a": [1, 1]}, intervals={"a": [[0, 1], [2, 2]]}),
            ValueError,
            "intervals must be positive",
        ),
        (
            lambda: convergence([1, 2], {"a": [1, 1]}, intervals={"a": [1, 2]}),
            ValueError,
            r"intervals of a must have shape \(2, 2\)",
        ),
        (lambda: convergence([1, 2], {"a": [1, 0]}), ValueError, "errors of a must not all be 0"),
    ],
)
def test_bad_input_of_shapley_pictures_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
