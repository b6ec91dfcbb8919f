"""What a student gains from soft targets, and how it learns an unseen class.

Digits of 28x28 pixels: 5,000 for training, 1,000 for tests. Each seed draws a teacher
(an MLP with 256 hidden units, trained on all 5,000 labels for 10 epochs), five training
images of each class, and the students.

Students of 16 hidden units learn from the 50 images for 200 steps: alone (labels only),
by soft targets at several temperatures, or by matched logits. Each way has its own
learning rate: of 0.003, 0.01 and 0.03 the one that was best on the training images
outside the 50, with the seeds 100 to 103. A control gets targets that are as sure as
the teacher's but know no similar classes: the teacher's first class keeps its share,
and the other nine share the rest equally ("equal rest"). Further students see all 5,000
images for 20 epochs, at one rate: with labels alone, and with soft targets and no
labels. A second teacher is a LeNet, trained on the same images for 8 epochs.

The unseen class: students of 64 units get all training images but the 3s, for 10
epochs. Their recall is the share of the test set's 3s that they call a 3. The control
adds to the logit of 3 what makes a tenth of all training images, 3s among them, a 3.
"False 3s" is the share of the test set's other digits that they call a 3.
"""

from functools import partial

import numpy as np

from minidl.classroom.claims import claim
from minidl.data import load_mnist
from minidl.nn.models import lenet, mlp
from minidl.train import Adam, accuracy, fit, predict
from minidl.train.intervals import paired_difference, t_interval
from minidl.train.schedules import cosine
from minidl.transfer.distill import distill
from minidl.transfer.distill_loss import distillation_terms, logit_matching_terms

SEEDS = 8
SETTINGS = {
    "rates": {
        "labels": 0.003,
        "soft": 0.01,
        "equal rest": 0.003,
        "logits": 0.03,
        "all images": 0.01,
        "unseen": 0.003,
    },
    "steps on 50 images": 200,
    "epochs": {"teacher": 10, "LeNet": 8, "all images": 20, "unseen": 10},
    "temperatures": [1, 2, 5, 10, 20],
    "temperatures, equal rest": [5],
    "temperatures of the LeNet": [2, 5, 20],
    "temperatures, unseen": [1, 2, 5, 20],
    "unseen class": 3,
}
RATES, EPOCHS, UNSEEN = SETTINGS["rates"], SETTINGS["epochs"], SETTINGS["unseen class"]
TRAIN, TEST = load_mnist()


def labels_only():
    return partial(distillation_terms, alpha=1.0, beta=0.0, temperature=1.0)


def soft(temperature):
    return partial(
        distillation_terms, alpha=0.0, beta=1.0, temperature=float(temperature)
    )


def equal_rest(temperature):
    """Soft targets without similar classes: all classes but the first share equally."""

    def loss(z_s, z_t, labels):
        others = np.sort(z_t, axis=1)[:, :-1] / temperature  # (N, 9): all but the first
        total = np.logaddexp.reduce(others, axis=1, keepdims=True)
        equal = temperature * (total - np.log(others.shape[1]))
        first = z_t == z_t.max(axis=1, keepdims=True)
        return soft(temperature)(z_s, np.where(first, z_t, equal), labels)

    return loss


def logits_only():
    return partial(logit_matching_terms, alpha=0.0)


def mixed(alpha, scaled):
    """Labels and soft targets at tau = 5, the soft term times tau squared or not."""
    weights = {"alpha": alpha, "beta": 1 - alpha, "temperature": 5.0}
    return partial(distillation_terms, **weights, scale_by_tau_squared=scaled)


def teacher(seed, model, epochs):
    """The model, trained with all labels."""
    schedule = cosine(3e-3, 0.0, epochs * -(-len(TRAIN[0]) // 64))
    optimizer, rng = Adam(model.parameters(), lr=3e-3), np.random.default_rng(seed)
    fit(
        model,
        TRAIN,
        epochs=epochs,
        optimizer=optimizer,
        schedule=schedule,
        rng=rng,
        progress=False,
    )
    return model.eval()


def some_of_each(labels, per_class, rng):
    """Row numbers of ``per_class`` images of each class."""
    return np.concatenate(
        [rng.permutation(np.flatnonzero(labels == c))[:per_class] for c in range(10)]
    )


def student(seed, source, rows, loss, rate, epochs, hidden=16):
    """A student after so many epochs on these rows of the training set."""
    rng = np.random.default_rng(1000 + seed)
    model = mlp(784, hidden, 10, rng=rng)
    schedule = cosine(rate, 0.0, epochs * -(-len(rows) // 64))
    images = TRAIN[0][rows], TRAIN[1][rows]
    options = {"epochs": epochs, "schedule": schedule, "rng": rng, "progress": False}
    options["optimizer"] = Adam(model.parameters(), lr=rate)
    distill(source, model, images, loss=loss, **options)
    return model.eval()


def right(model):
    return accuracy(predict(model, TEST[0]), TEST[1])


def from_fifty(seed, source):
    """Accuracies of students that see five images of each class."""
    rows = some_of_each(TRAIN[1], 5, np.random.default_rng(seed))
    recipes = {
        "alone": (labels_only(), "labels"),
        "matched logits": (logits_only(), "logits"),
    }
    for tau in SETTINGS["temperatures"]:
        recipes[f"soft targets at tau = {tau}"] = soft(tau), "soft"
    for tau in SETTINGS["temperatures, equal rest"]:
        recipes[f"equal rest at tau = {tau}"] = equal_rest(tau), "equal rest"
    recipes["alpha = 0.9 without tau squared"] = mixed(0.9, False), "soft"
    recipes["alpha = 0.9 with tau squared"] = mixed(0.9, True), "soft"
    steps, found = SETTINGS["steps on 50 images"], {}
    for name, (loss, kind) in recipes.items():
        found[f"{name}, 5 a class"] = right(
            student(seed, source, rows, loss, RATES[kind], steps)
        )
    return found


def with_all_images(seed, source):
    """Accuracies of students that see all images: by labels, by soft targets."""
    rows, rate, epochs = (
        np.arange(len(TRAIN[1])),
        RATES["all images"],
        EPOCHS["all images"],
    )
    by_labels = student(seed, source, rows, labels_only(), rate, epochs)
    by_teacher = student(seed, source, rows, soft(5), rate, epochs)
    return {
        "alone, all labels": right(by_labels),
        "soft targets, all images, no labels": right(by_teacher),
    }


def of_another_teacher(seed):
    """Accuracies of a LeNet and of its students, which see five images a class."""
    source = teacher(seed, lenet(10, rng=np.random.default_rng(seed)), EPOCHS["LeNet"])
    rows = some_of_each(TRAIN[1], 5, np.random.default_rng(seed))
    found, steps = {"the LeNet": right(source)}, SETTINGS["steps on 50 images"]
    for tau in SETTINGS["temperatures of the LeNet"]:
        taught = student(seed, source, rows, soft(tau), RATES["soft"], steps)
        found[f"the LeNet's soft targets at tau = {tau}, 5 a class"] = right(taught)
    return found


def called_3(model):
    """Shares of 3s and of other digits called a 3: as it is, and with the bias set."""
    logits, is_3 = predict(model, TEST[0]), TEST[1] == UNSEEN

    def shares():
        called = logits.argmax(axis=1) == UNSEEN
        return float(called[is_3].mean()), float(called[~is_3].mean())

    plain = shares()
    of_train = predict(model, TRAIN[0])
    lead = np.delete(of_train, UNSEEN, axis=1).max(axis=1) - of_train[:, UNSEEN]
    logits[:, UNSEEN] += np.quantile(lead, 0.1)
    return plain, shares()


def of_the_unseen(seed, source):
    """What students that never saw a 3 call a 3."""
    rows, found = np.flatnonzero(TRAIN[1] != UNSEEN), {}
    ways = {"labels": labels_only()}
    for tau in SETTINGS["temperatures, unseen"]:
        ways[f"tau = {tau}"] = soft(tau)
    for name, loss in ways.items():
        rate, epochs = RATES["unseen"], EPOCHS["unseen"]
        model = student(seed, source, rows, loss, rate, epochs, hidden=64)
        plain, corrected = called_3(model)
        found[f"unseen 3s, {name}"], found[f"false 3s, {name}"] = plain
        found[f"unseen 3s, bias set, {name}"] = corrected[0]
        found[f"false 3s, bias set, {name}"] = corrected[1]
    return found


def measure(seed):
    model = mlp(784, 256, 10, rng=np.random.default_rng(seed))
    source = teacher(seed, model, EPOCHS["teacher"])
    found = {"the teacher": right(source), **from_fifty(seed, source)}
    found |= with_all_images(seed, source) | of_another_teacher(seed)
    return found | of_the_unseen(seed, source)


def claims(results):
    def more(one, other):
        return paired_difference(results[one], results[other])

    claim_few_images(more)
    claim_all_images_and_teachers(more)
    claim_the_unseen(results, more)


def claim_few_images(more):
    gain = more("soft targets at tau = 5, 5 a class", "alone, 5 a class")
    claim(
        "with 5 images a class soft targets teach more than labels",
        gain.low > 0.08,
        {"gain": gain},
    )
    gain = more(
        "soft targets at tau = 5, 5 a class", "equal rest at tau = 5, 5 a class"
    )
    claim(
        "most of it comes from similar classes, not from unsure targets",
        gain.low > 0.05,
        {"gain over an equal rest": gain},
    )
    gain = more("matched logits, 5 a class", "alone, 5 a class")
    claim(
        "with 5 images a class matched logits teach more than labels",
        gain.low > 0.07,
        {"gain": gain},
    )
    gain = more(
        "soft targets at tau = 5, 5 a class", "soft targets at tau = 1, 5 a class"
    )
    claim("tau = 5 teaches more than tau = 1", gain.low > 0.06, {"gain": gain})
    gain = more(
        "alpha = 0.9 with tau squared, 5 a class",
        "alpha = 0.9 without tau squared, 5 a class",
    )
    claim("at alpha = 0.9 the factor tau squared pays", gain.low > 0.04, {"gain": gain})


def claim_all_images_and_teachers(more):
    loss = more("soft targets, all images, no labels", "alone, all labels")
    claim(
        "with all images a teacher replaces the labels",
        loss.low > -0.015,
        {"difference": loss},
    )
    claim("and brings no gain over them", loss.high < 0.005, {"difference": loss})

    better = more("the LeNet", "the teacher")
    claim("the LeNet is the better reader", better.low > 0.025, {"by": better})
    worse = more(
        "the LeNet's soft targets at tau = 5, 5 a class",
        "soft targets at tau = 5, 5 a class",
    )
    claim("and the worse teacher", worse.high < -0.05, {"difference": worse})


def claim_the_unseen(results, more):
    of_labels = results["unseen 3s, labels"].max()
    claim("with labels alone no student says 3", of_labels == 0, {"of 3s": of_labels})
    learned = t_interval(results["unseen 3s, tau = 5"])
    claim(
        "with soft targets most unseen 3s are recognised",
        learned.low > 0.6,
        {"of 3s": learned},
    )
    warmer = more("unseen 3s, tau = 5", "unseen 3s, tau = 1")
    claim(
        "a high temperature tells more of the unseen class",
        warmer.low > 0.3,
        {"gain": warmer},
    )
    beyond = more("unseen 3s, bias set, tau = 5", "unseen 3s, bias set, labels")
    claim("that is more than the bias", beyond.low > 0.5, {"lead": beyond})
