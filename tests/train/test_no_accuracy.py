"""Regression, autoencoders and one logit: what has no accuracy gets none, and no wrong loss is trained."""

import numpy as np
import pytest
from test_loop_edges import line, linear, state

from minidl import nn
from minidl.nn import functional as F
from minidl.train import evaluate, fit


def test_regression_has_no_accuracy():
    model = linear()
    history = fit(model, line(), line(seed=1), epochs=2, loss=F.mse_loss)
    assert history.train_accuracy == history.test_accuracy == [] and len(history.test_loss) == 2
    assert evaluate(model, *line(), loss=F.mse_loss).accuracy is None


REGRESSIONS = [F.mse_loss, F.l1_loss, F.smooth_l1_loss, nn.MSELoss(), nn.L1Loss(), nn.SmoothL1Loss()]


@pytest.mark.parametrize("loss", REGRESSIONS)
def test_a_regression_on_zeros_and_ones_or_on_rows_of_sum_1_has_no_accuracy(loss):
    x, y = line()
    rows = np.float32([[0.25, 0.25, 0.5]]).repeat(len(x), axis=0)
    for model, labels in ((linear(), (y > 0).astype(np.float32)), (linear(3), rows)):
        history = fit(model, (x, labels), (x, labels), epochs=1, loss=loss)
        assert history.train_accuracy == history.test_accuracy == []
        assert evaluate(model, x, labels, loss=loss).accuracy is None


@pytest.mark.parametrize("loss", [F.cross_entropy, nn.CrossEntropyLoss()])
@pytest.mark.parametrize("labels", [np.zeros(64, int), np.ones((64, 1))])
def test_the_cross_entropy_of_one_logit_is_refused(loss, labels):
    model = linear()
    before = state(model)
    with pytest.raises(ValueError, match="softmax of one logit is always 1.*binary_cross_entropy"):
        fit(model, (line()[0], labels), epochs=1, loss=loss)
    with pytest.raises(ValueError, match="softmax of one logit is always 1"):
        evaluate(model, line()[0], labels, loss=loss)
    assert all((before[key] == value).all() for key, value in model.state_dict().items())


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("test", [False, True])
def test_targets_that_are_not_finite_are_refused_before_the_first_step(bad, test):
    model, (x, y) = linear(), line()
    holed = y.copy()
    holed[-1] = bad
    before = state(model)
    with pytest.raises(ValueError, match="the labels are not finite"):
        fit(model, (x, y if test else holed), (x, holed) if test else None, epochs=1, loss=F.mse_loss)
    assert all((before[key] == value).all() for key, value in model.state_dict().items())

    def without_holes(prediction, target):
        return F.mse_loss(prediction[np.isfinite(target)], target[np.isfinite(target)])

    assert len(fit(model, (x, holed), epochs=1, loss=without_holes)) == 1


def test_a_regression_of_several_columns_and_an_autoencoder_have_no_accuracy():
    x, _ = line()
    history = fit(linear(3), (x, x), (x, x), epochs=2, loss=F.mse_loss)
    assert history.train_accuracy == history.test_accuracy == []
    images = np.random.default_rng(0).random((8, 1, 4, 4), np.float32)
    model = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1))
    assert fit(model, (images, images), epochs=1, loss=F.mse_loss).train_accuracy == []
    assert evaluate(model, images, images, loss=F.mse_loss).accuracy is None


def test_whole_numbers_as_targets_do_not_make_a_batch_of_zeros_and_ones_a_classification():
    x, _ = line(8)
    counts = np.array([0, 1, 0, 1, 0, 1, 2, 3], np.float32)[:, None]
    history = fit(linear(), (x, counts), epochs=2, batch_size=2, loss=F.mse_loss)
    assert history.train_accuracy == []
