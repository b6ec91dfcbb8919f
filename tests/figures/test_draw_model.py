import numpy as np
import pytest
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

import minidl.nn as nn
from minidl.compress.branches import merge_parallel_convs
from minidl.compress.calibrate import Histogram, kl_curve
from minidl.compress.fuse import fuse
from minidl.figures.model import draw_model
from minidl.figures.style import BLUE, VERMILLION
from minidl.figures.thresholds import integer_panels, saturation_lines, threshold_panels
from minidl.nn.models import inception_block, tiny_resnet


def drawn(model, shape, title=""):
    axes = draw_model(model, shape, title).axes[0]
    texts = [text.get_text() for text in axes.texts if text.get_text()]
    boxes = [patch for patch in axes.patches if isinstance(patch, FancyBboxPatch)]
    arrows = [patch for patch in axes.patches if isinstance(patch, FancyArrowPatch)]
    return texts, boxes, arrows, axes


def test_each_step_is_a_box_and_each_reading_an_arrow():
    """input, conv, relu, sum; the sum reads two, the others one."""
    rng = np.random.default_rng(0)
    model = nn.Residual(nn.Sequential(nn.Conv2d(2, 2, 3, padding=1, rng=rng), nn.ReLU())).eval()
    texts, boxes, arrows, axes = drawn(model, (2, 4, 4), "a sum")
    assert texts[:4] == ["input\n2 × 4 × 4", "3×3 conv\n2 × 4 × 4", "ReLU\n2 × 4 × 4", "add\n2 × 4 × 4"]
    legend = texts[4:]
    assert legend == ["launch: convolution or Linear", "launch: anything else", "no launch"]
    assert len(boxes) == 4 + len(legend) and len(arrows) == 4
    # conv 2 + 2, relu 2 + 2, sum 4 + 2 planes of 16 floats of 4 bytes; 32 outputs of 18 products
    assert axes.get_title() == "a sum\n3 launches, 1 KB of activations moved, 0.00 million multiply-adds"


def test_fusing_leaves_fewer_boxes_and_says_what_they_do():
    model = inception_block(3, rng=np.random.default_rng(0)).eval()
    fused = fuse(model)
    merged = merge_parallel_convs(fused)
    before, after, last = (drawn(m, (3, 6, 6))[0] for m in (model, fused, merged))
    assert sum("BatchNorm" in text for text in before) == 6 and not any("BatchNorm" in text for text in after)
    assert sum("conv + ReLU" in text for text in after) == 6
    assert sum("conv + ReLU" in text for text in last) == 4 and "concat, in place\n64 × 6 × 6" in last
    assert "3×3 max pool\n3 × 6 × 6" in before


def test_names_say_stride_and_kind():
    texts = drawn(fuse(tiny_resnet(10, 1, rng=np.random.default_rng(0)).eval()), (1, 8, 8))[0]
    assert "1×1 conv, stride 2\n32 × 4 × 4" in texts and "3×3 conv, stride 2 + ReLU\n32 × 4 × 4" in texts
    assert texts[-6:-3] == ["mean of each channel\n32 × 1 × 1", "Flatten\n32", "Linear\n10"]


def test_boxes_do_not_overlap():
    model = inception_block(16, rng=np.random.default_rng(0)).eval()
    _, boxes, _, _ = drawn(model, (16, 16, 16))
    frames = [box.get_bbox() for box in boxes]
    for i, one in enumerate(frames):
        assert not any(one.overlaps(other) for other in frames[:i])


def test_a_picture_that_cannot_be_read_is_refused():
    with pytest.raises(ValueError, match="more than 80 boxes"):
        draw_model(nn.Sequential(*[nn.ReLU() for _ in range(80)]).eval(), (1, 2, 2))
    with pytest.raises(TypeError, match="must be a Module"):
        draw_model("model", (1, 2, 2))


# ---- calibration


values = np.append(np.random.default_rng(0).exponential(size=500), 20.0)


def test_the_thresholds_stand_above_the_divergence_of_every_candidate():
    histogram = Histogram(256).add(values)
    figure = threshold_panels(histogram, {"|max|": 20.0, "half": 10.0}, bits=4)
    above, below = figure.axes
    assert [line.get_xdata()[0] for line in above.lines] == [20.0, 10.0]
    assert [text.get_text() for text in above.get_legend().get_texts()] == ["|max|: T = 20", "half: T = 10"]
    assert above.patches[0].get_data().values.sum() == 501
    candidates, divergences = kl_curve(histogram, 4)
    assert np.array_equal(below.lines[0].get_xdata(), candidates)
    assert below.lines[1].get_xdata() == [candidates[np.argmin(divergences)]]


def test_each_real_has_an_arrow_to_its_integer_and_what_lies_beyond_saturates():
    figure = saturation_lines([-7.0, -1.0, 0.4, 3.5], {"wide": 7.0, "narrow": 3.0}, bits=3)  # -3 ... 3
    found = []
    for panel in figure.axes:
        arrows = [text for text in panel.texts if getattr(text, "arrow_patch", None)]
        found.append([(round(7 * arrow.xyann[0], 6), round(3 * arrow.xy[0], 6)) for arrow in arrows])
    wide, narrow = found
    assert wide == [(-7, -3), (-1, 0), (0.4, 0), (3.5, 2)]  # S = 7/3: -0.43, 0.17 and 1.5, a tie
    assert narrow == [(-7, -3), (-1, -1), (0.4, 0), (3.5, 3)]  # S = 1: -7 and 3.5 lie beyond
    colours = [[dot.get_color() for dot in panel.lines if dot.get_marker() == "o"] for panel in figure.axes]
    assert colours == [[BLUE] * 4, [VERMILLION, BLUE, BLUE, VERMILLION]]
    texts = [(text.get_position()[0], text.get_text()) for text in figure.axes[1].texts if text.get_text()]
    assert texts == [(-3 / 7, "-3"), (0, "0"), (3 / 7, "3"), (-1, "-3"), (0, "0"), (1, "3")]
    assert figure.axes[1].get_title() == "narrow: step S = 3 / 3 = 1.0"


def test_the_integers_that_come_out_are_counted():
    figure = integer_panels(np.array([0.0, 1.0, 1.0, 2.0, 9.0]), {"wide": 9.0, "narrow": 2.0}, bits=3)
    wide, narrow = ([bar.get_height() for bar in panel.patches] for panel in figure.axes)
    assert wide == [3, 1, 0, 1]  # S = 3: 0, 1/3 and 1/3 round to 0, 2/3 to 1
    assert narrow == [1, 0, 2, 2]  # S = 2/3: 1.5 is a tie and goes to 2
    assert figure.axes[1].get_title() == "narrow: T = 2, 3 of 4 integers used, 20.00% saturates"
    signed = integer_panels(np.array([-1.0, 1.0]), {"one": 1.0}, bits=2)
    assert [bar.get_height() for bar in signed.axes[0].patches] == [1, 0, 1]


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="thresholds must have 1 to 6 entries"):
        threshold_panels(Histogram().add(values), {})
    with pytest.raises(ValueError, match="reals must be 1 to 32 finite numbers"):
        saturation_lines(np.zeros(33), {"one": 1.0})
    with pytest.raises(ValueError, match="threshold 'none' must be above 0"):
        saturation_lines([1.0], {"none": 0.0})
    with pytest.raises(ValueError, match="thresholds must have 1 to 4 entries"):
        integer_panels(values, {})
    with pytest.raises(ValueError, match="must not be empty"):
        integer_panels(np.zeros(0), {"one": 1.0})
