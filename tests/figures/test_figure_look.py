"""What holds for every kind of figure: legible, nothing clipped, the user's settings not used nor changed."""

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.text import Text

from minidl import Tensor
from minidl.figures import (
    bars_with_intervals,
    confidence_histogram,
    confusion_picture,
    curves_with_bands,
    distributions,
    draw_graph,
    image_grid,
    overlay,
    points_with_intervals,
    reliability_diagram,
    signed_map,
)
from minidl.figures.style import HEAT_MAP, LINE_COLOURS, MAGNITUDE_MAP, SIGNED_MAP, png_bytes, text_width
from minidl.train.calibration import reliability
from minidl.train.intervals import Interval

RANDOM = np.random.default_rng(0).random
X = Tensor(np.ones((2, 3), np.float32), requires_grad=True, name="x")
LONG = "a title that is long"
TABLE = reliability(np.eye(2), [0, 0])

EXAMPLES = {
    "draw_graph": lambda: draw_graph((X * 2).relu().sum()),
    "image_grid": lambda: image_grid(RANDOM((4, 3, 4, 4)), [LONG] * 4, 3, right=[True] * 4, title=LONG * 2),
    "image_grid, scaled": lambda: image_grid(RANDOM((4, 4, 4)) * 9, [LONG, "b\nc", "d", "e"], 2, vmax=5),
    "signed_map": lambda: signed_map(RANDOM((2, 3, 5, 5)) - 0.5, [LONG] * 3, row_titles=[LONG, "b"]),
    "signed_map of a row": lambda: signed_map(RANDOM((1, 50)), [LONG * 4], title="short"),
    "overlay": lambda: overlay(RANDOM((2, 4, 4)), RANDOM((2, 4, 4)), [LONG], row_titles=["a", LONG]),
    "curves": lambda: curves_with_bands([1, 2], {LONG * 2: RANDOM((3, 2)), "b": [1, np.nan]}, title=LONG),
    "bars": lambda: bars_with_intervals(
        [LONG * 2, "b"], Interval([1, 2], [0, 0], [3, 3], 8), xlabel="x", title=LONG
    ),
    "points": lambda: points_with_intervals(
        [1, 9], [LONG, "b"], Interval([1, 2], [0, 0], [3, 3], 8), xlabel="x", title=LONG
    ),
    "confidence": lambda: confidence_histogram({LONG: RANDOM(50), "b": [1.0]}, title=LONG),
    "distributions": lambda: distributions(np.eye(3), [LONG, "b", "c"], [LONG * 2, "d", "e"], title=LONG),
    "reliability": lambda: reliability_diagram({LONG * 2: TABLE, "b": TABLE, "c": TABLE}, title=LONG),
    "confusion": lambda: confusion_picture(np.diag([12345, 0, 7]), [LONG, LONG, "c"], title=LONG),
}
every_figure = pytest.mark.parametrize("make", EXAMPLES.values(), ids=EXAMPLES.keys())


def visible_texts(figure):
    figure.draw_without_rendering()
    beyond = set()  # Matplotlib keeps tick labels beyond the ends of an axis, but does not draw them
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = [tick for tick in axis.get_major_ticks() if not low <= tick.get_loc() <= high]
            beyond.update(label for tick in ticks for label in (tick.label1, tick.label2))
    found = figure.findobj(lambda artist: isinstance(artist, Text) and artist not in beyond)
    return [text for text in found if text.get_text().strip() and text.get_visible()]


@every_figure
def test_no_text_is_smaller_than_9_points(make):
    sizes = {text.get_fontsize() for text in visible_texts(make())}
    assert sizes and min(sizes) >= 9


@every_figure
def test_no_text_is_clipped_or_runs_into_another(make):
    figure = make()
    texts = visible_texts(figure)
    extents = [text.get_window_extent() for text in texts]
    page = figure.bbox.padded(1)  # a window shows exactly this area; a saved file has a margin around it
    for i, a in enumerate(extents):
        assert page.x0 <= a.x0 and a.x1 <= page.x1 and page.y0 <= a.y0 and a.y1 <= page.y1
        for j in range(i):
            overlap_x = min(a.x1, extents[j].x1) - max(a.x0, extents[j].x0)
            overlap_y = min(a.y1, extents[j].y1) - max(a.y0, extents[j].y0)
            assert overlap_x < 1 or overlap_y < 1, (texts[i].get_text(), texts[j].get_text())


@every_figure
def test_the_users_settings_are_neither_changed_nor_used(make):
    RANDOM.__self__.bit_generator.state = np.random.default_rng(0).bit_generator.state
    plain = png_bytes(make())
    RANDOM.__self__.bit_generator.state = np.random.default_rng(0).bit_generator.state
    theirs = {
        "font.size": 30,
        "savefig.dpi": 20,
        "axes.facecolor": "black",
        "image.cmap": "jet",
        "lines.marker": "x",
    }
    with matplotlib.rc_context(theirs):
        before = dict(matplotlib.rcParams.copy())
        other = png_bytes(make())
        assert dict(matplotlib.rcParams.copy()) == before
    assert other == plain


def test_settings_are_restored_when_drawing_fails():
    before = dict(matplotlib.rcParams.copy())
    with pytest.raises(ValueError, match="right must have shape"):
        image_grid(np.zeros((2, 2, 2)), right=[True])
    assert dict(matplotlib.rcParams.copy()) == before


@every_figure
def test_pyplot_holds_no_figure(make):
    import matplotlib.pyplot as plt

    before = plt.get_fignums()
    assert make().canvas.manager is None
    assert plt.get_fignums() == before


def lightness(rgb):
    """CIE L* of sRGB colours (..., 3), from 0 to 100."""
    rgb = np.asarray(rgb)[..., :3]
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    y = linear @ [0.2126, 0.7152, 0.0722]
    return np.where(y > 0.008856, 116 * np.cbrt(y) - 16, 903.3 * y)


@pytest.mark.parametrize("name", [MAGNITUDE_MAP, HEAT_MAP])
def test_a_larger_magnitude_is_lighter_in_equal_steps(name):
    steps = np.diff(lightness(matplotlib.colormaps[name](np.linspace(0, 1, 11))))
    assert steps.min() > 0 and steps.max() < 2.5 * steps.mean()


def test_signed_colours_darken_alike_on_both_sides_of_white():
    light = lightness(matplotlib.colormaps[SIGNED_MAP](np.linspace(0, 1, 11)))
    assert light[5] > 95 and np.all(np.diff(light[:6]) > 0) and np.all(np.diff(light[5:]) < 0)
    assert np.abs(light - light[::-1]).max() < 10


def test_lines_are_told_apart_by_readers_who_see_no_red_or_no_green():
    # Viénot, Brettel & Mollon (1999): linear RGB as protanopes and deuteranopes see it
    protan = np.array([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]])
    deutan = np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]])
    colours = np.array([to_rgb(colour) for colour in LINE_COLOURS]) ** 2.2
    for seen in (colours, colours @ protan.T, colours @ deutan.T):
        seen = np.clip(seen, 0, 1) ** (1 / 2.2)
        distances = np.linalg.norm(seen[:, None] - seen[None], axis=-1) + 10 * np.eye(len(seen))
        assert distances.min() > 0.1  # for Matplotlib's own first seven colours it is 0.04


def test_text_width_is_that_of_the_drawn_text():
    figure = image_grid(np.zeros((1, 2, 2)), ["Wide words, іій"])
    (text,) = visible_texts(figure)
    drawn = text.get_window_extent().width / figure.dpi
    assert text_width(text.get_text()) == pytest.approx(drawn, rel=0.06)
    assert text_width("a\nlonger line\nb") == text_width("longer line")
