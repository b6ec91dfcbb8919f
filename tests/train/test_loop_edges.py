"""fit on other tasks than classes, with another step, and on data that ordinary code gets wrong."""

import numpy as np
import pytest

import minidl.nn as nn
import minidl.nn.functional as F
from minidl import Tensor
from minidl.train import (
    SGD,
    Adam,
    accuracy,
    confusion_matrix,
    evaluate,
    expected_calibration_error,
    fit,
    per_class_accuracy,
    predict,
    supervised,
)


def line(n=64, seed=0):
    """Rows and what a line makes of them: a regression's targets (N, 1)."""
    x = np.random.default_rng(seed).normal(size=(n, 3)).astype(np.float32)
    return x, (x @ [[1.0], [-2.0], [0.5]]).astype(np.float32)


def linear(out=1, seed=0):
    return nn.Sequential(nn.Linear(3, out, rng=np.random.default_rng(seed)))


def logistic(logits, labels):
    """Binary cross-entropy of one logit: the mean of log(1 + e^z) - y z."""
    z = logits.reshape(-1)
    return ((z.exp() + 1.0).log() - z * np.asarray(labels, np.float32).reshape(-1)).mean()


def state(model):
    return {key: value.copy() for key, value in model.state_dict().items()}


# ---- one logit


def test_the_accuracy_of_one_logit_has_its_threshold_at_0():
    assert accuracy([[3.0], [-3.0], [2.0]], [[0.0], [1.0], [0.0]]) == 0.0
    assert accuracy([[3.0], [-3.0], [2.0]], [[1.0], [1.0], [0.0]]) == pytest.approx(1 / 3)
    for labels in ([1, 0, 0], [1.0, 0.0, 0.0], [[1], [0], [0]], [True, False, False]):
        for logits in ([[3.0], [-3.0], [2.0]], [3.0, -3.0, 2.0]):
            assert accuracy(logits, labels) == pytest.approx(2 / 3)
    assert accuracy([[0.0]], [0]) == 1.0  # a probability of exactly 1/2 is class 0


def test_the_confusion_matrix_and_the_recalls_of_one_logit_are_of_two_classes():
    logits, labels = [[3.0], [-3.0], [2.0]], [[0.0], [1.0], [1.0]]
    assert confusion_matrix(logits, labels).tolist() == [[0, 1], [1, 1]]
    assert per_class_accuracy(logits, labels).mean.tolist() == [0.0, 0.5]


@pytest.mark.parametrize("labels", [[2, 0, 0], [0.5, 0.0, 1.0], [[1, 0], [0, 1], [1, 0]], [-1, 1, 1]])
def test_labels_of_one_logit_other_than_0_and_1_are_refused(labels):
    with pytest.raises(ValueError, match="labels of one logit must be .* zeros and ones"):
        accuracy([[3.0], [-3.0], [2.0]], labels)


def test_a_column_of_probabilities_has_no_calibration():
    with pytest.raises(ValueError, match="of at least two classes, got one column"):
        expected_calibration_error([[1.0], [1.0]], [0, 0])


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_one_logit_is_trained_and_its_accuracy_followed(shape):
    x, y = line()
    labels = (y > 0).astype(np.float32).reshape(shape)
    model = linear()
    optimizer = Adam(model.parameters(), 0.1)
    history = fit(model, (x, labels), (x, labels), epochs=20, optimizer=optimizer, loss=logistic)
    assert history.train_accuracy[0] < history.train_accuracy[-1] and history.test_accuracy[-1] > 0.9
    right = (predict(model, x) > 0).ravel() == (labels.ravel() == 1)
    assert history.test_accuracy[-1] == evaluate(model, x, labels, loss=logistic).accuracy == right.mean()


# ---- the measure of the best epoch


def overshooting(model, at):
    """A schedule that learns until step ``at``, and then climbs away again by too high a rate."""
    return lambda step: 0.1 if step < at else 1.4


@pytest.mark.parametrize("metric", [None, lambda z, y: -float(((z - y) ** 2).mean())])
def test_keep_best_of_a_regression_keeps_the_lowest_test_loss(metric):
    model, test = linear(), line(seed=1)
    options = {
        "optimizer": SGD(model.parameters(), 0.1),
        "schedule": overshooting(model, 6),
        "loss": F.mse_loss,
    }
    history = fit(model, line(), test, epochs=12, batch_size=64, keep_best=True, metric=metric, **options)
    best = int(np.argmin(history.test_loss))
    assert 0 < best < 11 and history.test_loss[-1] > 1.5 * history.test_loss[best]
    assert evaluate(model, *test, loss=F.mse_loss).loss == history.test_loss[best]


def test_patience_goes_on_while_the_test_loss_falls_and_stops_when_it_rises():
    model = linear()
    optimizer = SGD(model.parameters(), 0.05)
    options = {"optimizer": optimizer, "loss": F.mse_loss, "batch_size": 64, "patience": 2}
    assert len(fit(model, line(), line(seed=1), epochs=15, **options)) == 15
    options["schedule"] = lambda step: 1.4
    assert len(fit(model, line(), line(seed=1), epochs=15, **options)) == 3


def test_a_metric_decides_against_the_loss():
    model, asked = linear(), []

    def later_is_worse(logits, labels):
        asked.append((logits.shape, labels.shape))
        return -len(asked)

    options = {"loss": F.mse_loss, "metric": later_is_worse, "optimizer": SGD(model.parameters(), 0.05)}
    history = fit(model, line(), line(16, seed=1), epochs=3, keep_best=True, **options)
    assert history.test_metric == [-1, -2, -3] and asked == [((16, 1), (16, 1))] * 3
    assert history.test_loss[0] > history.test_loss[2]
    assert evaluate(model, *line(16, seed=1), loss=F.mse_loss).loss == history.test_loss[0]


def test_a_training_does_not_go_on_with_another_metric(tmp_path):
    def run(**options):
        options |= {"loss": F.mse_loss, "epochs": 1, "checkpoint": tmp_path / "c.npz"}
        return fit(linear(), line(), line(seed=1), **options)

    run()
    with pytest.raises(ValueError, match="metric: None before, 'accuracy' now"):
        run(metric=accuracy)


# ---- errors appear before the first step


def classes(n=8):
    return line(n)[0], np.arange(n) % 3


@pytest.mark.parametrize(
    "labels, loss, error, message",
    [
        (np.array([0, 1, 2, 0, 1, 2, 0, 3]), F.cross_entropy, ValueError, "labels must be in 0 ... 2"),
        (np.array([0, 1, 2, 0, 1, 2, 0, -1]), F.cross_entropy, ValueError, "labels must be in 0 ... 2"),
        (np.zeros(8), F.cross_entropy, TypeError, "labels must be integers"),
        (np.zeros((8, 2)), F.mse_loss, ValueError, "shape"),
    ],
)
def test_wrong_labels_of_the_last_batch_show_before_the_first_step(labels, loss, error, message):
    model = linear(3)
    before = state(model)
    with pytest.raises(error, match=message):
        fit(model, (line(8)[0], labels), epochs=1, batch_size=2, loss=loss, rng=np.random.default_rng(0))
    np.testing.assert_equal(state(model), before)


def with_norm(norm):
    return nn.Sequential(nn.Linear(3, 4), norm, nn.ReLU(), nn.Linear(4, 3))


def test_a_left_over_batch_of_one_for_batchnorm_is_named_before_the_first_epoch():
    model = with_norm(nn.BatchNorm1d(4))
    before = state(model)
    with pytest.raises(ValueError, match="the last batch of an epoch is 1 image.*drop_last=True"):
        fit(model, classes(9), epochs=1, batch_size=4)
    np.testing.assert_equal(state(model), before)
    assert fit(model, classes(9), epochs=1, batch_size=4, drop_last=True).steps == 2
    assert fit(model, classes(9), epochs=1, batch_size=5).steps == 2
    with pytest.raises(ValueError, match="another batch_size"):
        fit(model, classes(8), epochs=1, batch_size=1)


def test_a_batch_of_one_is_taken_where_batchnorm_has_several_values_or_is_frozen():
    frozen = with_norm(nn.BatchNorm1d(4))
    frozen[1].frozen = True
    assert fit(frozen, classes(9), epochs=1, batch_size=4).steps == 3
    of_images = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))
    images = np.random.default_rng(0).random((9, 1, 4, 4), np.float32)
    assert fit(of_images, (images, classes(9)[1]), epochs=1, batch_size=4).steps == 3
    assert not of_images[1]._hooks


@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_integer_images_are_refused_with_the_mend(dtype):
    images, labels = np.full((6, 3), 255, dtype), np.arange(6) % 3
    calls = [
        lambda: fit(linear(3), (images, labels), epochs=1),
        lambda: fit(linear(3), classes(), (images, labels), epochs=1),
        lambda: evaluate(linear(3), images, labels),
        lambda: predict(linear(3), images),
    ]
    for call in calls:
        with pytest.raises(
            TypeError, match=rf"must be floats, got {dtype.__name__}: divide pixels .* by 255"
        ):
            call()


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"epochs": True}, TypeError, "epochs must be an integer, got True"),
        ({"batch_size": True}, TypeError, "batch_size must be an integer, got True"),
        ({"patience": True, "test": line(8)}, TypeError, "patience must be an integer, got True"),
        ({"max_grad_norm": True}, TypeError, "max_grad_norm must be a number, got True"),
        ({"keep_best": "False", "test": line(8)}, TypeError, "keep_best must be True or False, got 'False'"),
        ({"drop_last": "no"}, TypeError, "drop_last must be True or False, got 'no'"),
        ({"progress": 0}, TypeError, "progress must be True or False, got 0"),
        ({"step": 3}, TypeError, "step must be a function of model, images and labels, got 3"),
        (
            {"metric": "accuracy", "test": line(8)},
            TypeError,
            "metric must be a function of logits and labels",
        ),
        ({"metric": accuracy}, ValueError, "metric need a test set: give a test"),
        ({"metric": lambda z, y: None, "test": line(8)}, TypeError, "the metric's value must be a number"),
        ({"checkpoint": 3}, TypeError, "checkpoint must be a str or PathLike, got 3"),
        ({"train": ([[1.0], [1.0, 2.0]], [0, 1])}, ValueError, "train must be arrays, .* different lengths"),
        ({"train": (np.array(["a"]), [0])}, TypeError, "train must be numbers"),
    ],
)
def test_what_means_something_else_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        fit(linear(), **{"train": line(8), "loss": F.mse_loss, "epochs": 1, **options})


class Twins(nn.Module):
    def __init__(self):
        self.fc = nn.Linear(3, 3)

    def forward(self, x):
        return self.fc(x), self.fc(x)


def test_a_model_that_gives_two_tensors_is_named():
    with pytest.raises(TypeError, match="the model's output must be a Tensor, got"):
        fit(Twins(), classes(), epochs=1)


# ---- another step


def test_a_step_chooses_the_loss_and_what_the_history_follows():
    model, other = linear(3), linear(3)

    def step(model, images, labels):
        logits = model(images)
        size = sum((p * p).sum() for p in model.parameters())
        return F.cross_entropy(logits, labels) + 0.1 * size, {"size": size.item()}

    optimizer = SGD(model.parameters(), 0.1)
    history = fit(model, classes(9), epochs=3, optimizer=optimizer, step=step)
    assert list(history.measured) == ["size"] and history.train_accuracy == []
    assert history.measured["size"][2] < history.measured["size"][0]
    rng = np.random.default_rng
    plain = [
        fit(m, classes(9), epochs=2, optimizer=SGD(m.parameters(), 0.1), rng=rng(0), **options)
        for m, options in ((other, {}), (linear(3), {"step": supervised()}))
    ]
    assert plain[0] == plain[1]


def test_a_step_may_give_the_loss_alone_and_is_told_what_else_would_be_wrong():
    def run(step, epochs=1):
        return fit(linear(3), classes(9), epochs=epochs, batch_size=3, step=step)

    history = run(lambda model, x, y: F.cross_entropy(model(x), y))
    assert len(history.train_loss) == 1 and history.measured == {} and history.train_accuracy == []
    with pytest.raises(ValueError, match="loss must give a Tensor of one number for a batch, got 0.5"):
        run(lambda model, x, y: 0.5)
    calls = []

    def changing(model, x, y):
        calls.append(1)
        return F.cross_entropy(model(x), y), {"a": 1.0} if len(calls) < 5 else {"b": 1.0}

    with pytest.raises(ValueError, match=r"the same numbers each time, got \['b'\] after \['a'\]") as error:
        run(changing, epochs=3)
    assert len(error.value.history) == 1
    with pytest.raises(TypeError, match="the step's number 'a' must be a number, got"):
        run(lambda model, x, y: (F.cross_entropy(model(x), y), {"a": Tensor([1.0])}))
    with pytest.raises(TypeError, match="a step's numbers must be a dict"):
        run(lambda model, x, y: (F.cross_entropy(model(x), y), 0.5))


def test_regression_on_zeros_and_ones_has_no_accuracy():
    x = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    y = (x[:, :1] > 0).astype(np.float32)
    model = nn.Sequential(nn.Linear(4, 1))
    history = fit(model, (x, y), (x, y), epochs=1, loss=F.mse_loss)
    assert history.train_accuracy == history.test_accuracy == []
    assert evaluate(model, x, y, loss=F.mse_loss).accuracy is None


@pytest.mark.parametrize("labels", [np.zeros(8, int), np.array([0, 1] * 4), np.ones((8, 1))])
def test_one_column_of_logits_is_no_matter_for_cross_entropy(labels):
    x, model = np.ones((8, 4), np.float32), nn.Sequential(nn.Linear(4, 1))
    with pytest.raises(ValueError, match="binary_cross_entropy_with_logits"):
        fit(model, (x, labels), epochs=1)
    with pytest.raises(ValueError, match="binary_cross_entropy_with_logits"):
        evaluate(model, x, labels)


@pytest.mark.parametrize("loss", [F.cross_entropy, nn.CrossEntropyLoss()])
def test_a_regression_without_its_loss_is_told_to_give_mse_loss(loss):
    x, model = np.ones((8, 2), np.float32), nn.Linear(2, 1)
    price = np.linspace(100, 200, 8, dtype=np.float32)
    for labels in (price, price[:, None]):
        with pytest.raises(ValueError, match="give loss=F.mse_loss for regression$"):
            fit(model, (x, labels), epochs=1, loss=loss)
        with pytest.raises(ValueError, match="give loss=F.mse_loss for regression$"):
            evaluate(model, x, labels, loss=loss)
