"""Pictures of transfer: which layers learn, and photographs laid where their features are."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.patches import FancyBboxPatch

from minidl.figures import layers_diagram, photograph_map
from minidl.figures.style import ORANGE, SKY_BLUE

LAYERS = ["stem", "blocks", "head"]
ROWS = {"the head alone": ["head"], "all layers": LAYERS}
IMAGES = np.random.default_rng(0).random((3, 3, 8, 8))
CORNERS = np.array([[0.0, 0.0], [10.0, 4.0], [5.0, 1.0]])


def boxes_of(figure):
    """Colour and hatch of each box, row by row and from left to right."""
    boxes = [patch for patch in figure.axes[0].patches if isinstance(patch, FancyBboxPatch)]
    return [(to_hex(box.get_facecolor(), False).upper(), box.get_hatch()) for box in boxes]


def test_a_box_is_orange_where_its_layer_learns_and_hatched_blue_where_it_is_frozen():
    frozen, trained = (SKY_BLUE.upper(), "//"), (ORANGE.upper(), None)
    assert boxes_of(layers_diagram(LAYERS, ROWS)) == [frozen, frozen, trained, trained, trained, trained]


def test_names_and_title_are_written_once_a_row_and_the_legend_tells_the_colours():
    axes = layers_diagram(LAYERS, ROWS, title="Two ways").axes[0]
    written = [text.get_text() for text in axes.texts]
    assert written == ["Two ways", "the head alone", *LAYERS, "all layers", *LAYERS]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["frozen", "trained"]


def test_the_image_enters_every_row():
    figure = layers_diagram(LAYERS, ROWS, image=IMAGES[0])
    shown = [axes.images[0].get_array()[..., :3] for axes in figure.axes[1:]]
    assert len(shown) == 2
    for pixels in shown:
        np.testing.assert_allclose(pixels, IMAGES[0].transpose(1, 2, 0))


@pytest.mark.parametrize("image", [None, IMAGES[0]])
def test_no_text_of_the_diagram_leaves_the_figure_or_covers_another(image):
    rows = {**ROWS, "a way whose name is longer than the row of its three boxes is wide": []}
    figure = layers_diagram(LAYERS, rows, image=image, title="Three ways to reuse a network")
    FigureCanvasAgg(figure).draw()
    texts = [*figure.axes[0].texts, *figure.axes[0].get_legend().get_texts()]
    boxes = [text.get_window_extent() for text in texts]
    for i, box in enumerate(boxes):
        assert box.x0 >= 0 and box.x1 <= figure.bbox.width and box.y0 >= 0 and box.y1 <= figure.bbox.height
        assert not any(box.overlaps(other) for other in boxes[:i])


@pytest.mark.parametrize(
    "layers, rows, why",
    [
        (LAYERS, {"a": ["tail"]}, "'a' must name layers among"),
        (["stem", "stem"], {"a": []}, "layers must have different names"),
        ([], {"a": []}, "layers must be 1 to 12"),
        (LAYERS, {}, "rows must have 1 to 8 entries"),
    ],
)
def test_a_diagram_that_makes_no_sense_is_refused(layers, rows, why):
    with pytest.raises(ValueError, match=why):
        layers_diagram(layers, rows)


def test_photographs_lie_where_their_points_are():
    figure = photograph_map(IMAGES, {"features": CORNERS, "pixels": CORNERS[::-1]}, side=0.5)
    first, second = figure.axes
    assert (first.get_title("left"), second.get_title("left")) == ("features", "pixels")
    (x0, x1), (y0, y1) = first.get_xlim(), first.get_ylim()
    extents = [image.get_extent() for image in first.images]
    np.testing.assert_allclose(extents[0], (x0, x0 + 0.5, y0, y0 + 0.5))  # the lowest point: lower left
    np.testing.assert_allclose(extents[1], (x1 - 0.5, x1, y1 - 0.5, y1))
    np.testing.assert_allclose(extents[2], ((x1 - 0.5) / 2, (x1 + 0.5) / 2, (y1 - 0.5) / 4, (y1 + 1.5) / 4))
    np.testing.assert_allclose(second.images[2].get_extent(), extents[0])


def test_what_the_mask_leaves_out_is_transparent():
    masks = np.zeros((3, 8, 8), bool)
    masks[1, 2:4] = True
    figure = photograph_map(IMAGES, {"features": CORNERS}, masks)
    opacity = figure.axes[0].images[1].get_array()[..., 3]
    np.testing.assert_array_equal(opacity, masks[1])


def test_grey_photographs_are_drawn_in_grey():
    pixels = photograph_map(IMAGES[:, 0], {"features": CORNERS}).axes[0].images[0].get_array()
    np.testing.assert_allclose(pixels[..., :3], np.stack([IMAGES[0, 0]] * 3, axis=2))


def test_points_must_be_as_many_as_photographs():
    with pytest.raises(ValueError, match="cloud 'features' must have shape"):
        photograph_map(IMAGES, {"features": CORNERS[:2]})
