import numpy as np
import pytest

from minidl.figures.pruning import norm_histograms, pruning_loop


def test_each_layer_has_its_histogram_and_the_thresholds_say_how_many_lie_below():
    norms = {"first": np.array([0.0, 4.0, 4.0, 8.0]), "second": np.arange(10.0)}  # mean 4, std sqrt 8
    figure = norm_histograms(norms, s=(-1, 0))
    assert [panel.get_title() for panel in figure.axes] == ["first", "second"]
    panel = figure.axes[0]
    assert sum(bar.get_height() for bar in panel.patches) == 4
    assert [line.get_xdata()[0] for line in panel.lines] == pytest.approx([4 - 8**0.5, 4])
    texts = [text.get_text() for text in panel.get_legend().get_texts()]
    assert texts == ["mean -1 std: 1 of 4", "mean +0 std: 3 of 4"]
    assert norm_histograms({"one": [1.0, 2.0]}).axes[0].get_legend() is None


def test_the_loop_shows_what_was_rolled_back_apart_from_what_was_accepted():
    figure = pruning_loop([0.1, 0.2, 0.9], [0, 0.2, 0.4], [1, 0.9, 0.5], accepted=1, max_allowed_loss=0.5)
    for panel, kept, undone in zip(
        figure.axes, ([0.1, 0.2], [1, 0.9], [0, 0.2]), (0.9, 0.5, 0.4), strict=True
    ):
        assert panel.lines[0].get_ydata().tolist() == kept
        assert panel.lines[2].get_xydata().tolist() == [[2, undone]]
    assert [panel.get_ylabel() for panel in figure.axes] == ["loss", "accuracy", "share of zeros"]
    assert figure.axes[0].lines[3].get_ydata() == [0.5, 0.5]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["accepted", "undone", "budget"]


def test_a_loop_without_a_broken_step_rolls_nothing_back():
    figure = pruning_loop([0.1, 0.2], [0, 0.2], [1, 0.9], accepted=1, max_allowed_loss=0.5)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["accepted", "budget"]


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="norms must have 1 to 6 entries"):
        norm_histograms({})
    with pytest.raises(ValueError, match="s must be at most three numbers"):
        norm_histograms({"a": [1.0]}, s=(1, 2, 3, 4))
    with pytest.raises(ValueError, match=r"norms of a must have shape \(O,\)"):
        norm_histograms({"a": [[1.0]]})
    with pytest.raises(ValueError, match=r"accepted must be within \[0, 1\], got 2"):
        pruning_loop([0.1, 0.2], [0, 0.2], [1, 0.9], accepted=2, max_allowed_loss=0.5)
    with pytest.raises(ValueError, match=r"sparsities must have shape \(2,\), got \(1,\)"):
        pruning_loop([0.1, 0.2], [0], [1, 0.9], accepted=0, max_allowed_loss=0.5)
