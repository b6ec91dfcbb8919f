"""05 Distillation: what a network's wrong answers teach a smaller one.

Question: what does a student learn from a teacher's whole answer that it cannot learn from labels?
Measured: test accuracy of MLP students of 8, 16 and 64 hidden units on digits with 5 images a class, alone
and distilled, over tau, alpha, two kinds of teacher and without any image of one class; 8 seeds.
Exercises: 05.1 soft_cross_entropy, 05.2 soft_gradient, 05.3 logit_distance, 05.4 class_means.
"""

# %% [markdown]
# ## A label says one thing, a teacher says ten
# The teacher has 256 hidden units and learned from 1,149 labelled digits. Its logits z_t become *soft
# targets* when they are divided by a temperature tau (lesson 09):
#
#     q = softmax(z_t / tau)
#
# The label of this image is one of ten numbers. The soft targets also say what it might have been, and how
# nearly. At tau = 1 the winner hides that; at a high tau it can be read. (A typical image: on half of the
# held-out ones the teacher is surer.)

# %%
from functools import partial

import numpy as np
from scipy.stats import spearmanr

import minidl.nn.functional as F
from minidl import Tensor
from minidl.classroom.claims import claim
from minidl.data import cached, cached_runs
from minidl.figures import bars_with_intervals, curves_with_bands, distributions, heat_map, image_grid, save
from minidl.nn.models import mlp
from minidl.train import Adam, accuracy, evaluate, fit, predict
from minidl.train.intervals import paired_difference, t_interval
from minidl.train.metrics import confusion_matrix, entropy
from minidl.train.networks import digits_network, digits_split
from minidl.train.schedules import cosine
from minidl.transfer.distill import distill
from minidl.transfer.distill_loss import (
    class_similarity,
    distillation_loss,
    distillation_terms,
    logit_matching_terms,
    soft_gradient,
    soft_targets,
)

train, held_out, test = digits_split()


def train_teacher(seed, hidden, epochs):
    rng = np.random.default_rng(seed)
    model = mlp(64, hidden, 10, rng=rng)
    schedule = cosine(3e-3, 0.0, epochs * -(-len(train[0]) // 64))
    optimizer = Adam(model.parameters(), lr=3e-3)
    fit(model, train, epochs=epochs, optimizer=optimizer, schedule=schedule, rng=rng, progress=False)
    return model.state_dict()


def mlp_teacher(seed):
    model = mlp(64, 256, 10)
    model.load_state_dict(cached("05_teacher", {"seed": seed, "hidden": 256, "epochs": 60}, train_teacher))
    return model.eval()


teacher = mlp_teacher(0)
print(f"the teacher reads {evaluate(teacher, *test).accuracy:.1%} of the test images right")

z_t = predict(teacher, held_out[0])
sure = soft_targets(z_t, 1.0).max(axis=1)
shown = int(np.argsort(sure)[len(sure) // 2])
taus = (1, 2, 5, 20)
rows = np.concatenate([soft_targets(z_t[[shown]], tau) for tau in taus])
save(distributions(rows, range(10), [f"tau = {tau}" for tau in taus]), "05_distillation/soft_targets")
save(image_grid(held_out[0][[shown]], [f"a {held_out[1][shown]}"]), "05_distillation/the_digit")

# %% [markdown]
# ## The loss has two terms
# The student should give the label y, and the teacher's soft targets at the same tau:
#
#     L = alpha H(y, softmax(z_s)) + beta H(softmax(z_t / tau), softmax(z_s / tau))
#
# H(q, p) = -sum q log p is the cross-entropy, summed over the classes and averaged over the images.

# %%
alpha, beta, tau = 0.5, 0.5, 2.0
z_s = Tensor(np.array([[2.0, 1.0, 0.0]]), requires_grad=True)
z_t = np.array([[4.0, 3.0, -2.0]])
y = np.array([0])

q = soft_targets(z_t, tau)
hard = -F.log_softmax(z_s)[0, 0]
soft = -(q * F.log_softmax(z_s, temperature=tau)).sum()
by_hand = alpha * hard + beta * soft
loss = distillation_loss(z_s, z_t, y, alpha=alpha, beta=beta, temperature=tau)
print(f"q = {q[0].round(3)}   hard {hard.item():.3f}   soft {soft.item():.3f}   L = {loss.item():.3f}")
assert np.isclose(loss.item(), by_hand.item())

# %% [markdown]
# ## Its gradient is a difference of two answers
# The soft term pulls p towards q, and has nothing to say where they agree. Its gradient shrinks as 1/tau²:
# once by the division in the formula, once since p and q grow alike. Where both terms count, either alpha is
# made small or the soft term is multiplied by tau², as Hinton does.
#
#     dH/dz_s = (p - q) / (tau N)   ->   (z_s - z_t) / (K tau² N), each row centred, as tau grows
#
# So at a high temperature soft targets are matched logits, and one may match them at once:
#
#     L = alpha CE(y, z_s) + (1 - alpha) ||z_t - z_s||²


# %%
def centred(z):
    return z - z.mean(axis=1, keepdims=True)


distillation_loss(z_s, z_t, None, alpha=0, beta=1, temperature=tau).backward()
p = soft_targets(z_s, tau)
assert np.allclose(z_s.grad, (p - q) / tau)

limit = centred(z_s.data - z_t) / z_t.shape[1]
for tau in (1, 10, 100):
    scaled = tau**2 * soft_gradient(z_s.data, z_t, tau)
    print(f"tau = {tau:3}   tau² times the gradient {scaled[0].round(3)}   its limit {limit[0].round(3)}")
assert np.allclose(scaled, limit, rtol=0.05)

# %% [markdown]
# ## Teach one student
# 16 hidden units, five images of each class. The teacher answers in evaluation mode and without a graph: it
# is a constant. The history follows each term.


# %%
def some_of_each(labels, per_class, rng):
    """Row numbers of ``per_class`` images of each class."""
    return np.concatenate([rng.permutation(np.flatnonzero(labels == c))[:per_class] for c in range(10)])


rng = np.random.default_rng(0)
few = some_of_each(train[1], 5, rng)
student = mlp(64, 16, 10, rng=rng)
loss = partial(distillation_terms, alpha=0.1, beta=0.9, temperature=5.0)
adam, rate = Adam(student.parameters(), lr=0.02), cosine(0.02, 0.0, 400)
options = {"epochs": 400, "optimizer": adam, "schedule": rate, "rng": rng, "progress": False}
history = distill(teacher, student, (train[0][few], train[1][few]), test, loss=loss, **options)

floor = 0.9 * entropy(soft_targets(predict(teacher, train[0][few]), 5.0)).mean()
terms = {name: history.measured[name] for name in ("hard", "soft")}
print(f"terms at the end: { {name: round(values[-1], 3) for name, values in terms.items()} }")
print(f"agreement {history.measured['agreement'][-1]:.0%}, {history.test_accuracy[-1]:.1%} of test right")
epochs = np.arange(1, 401)
curves = {**terms, "0.9 H(q): the least that soft can be": np.full(400, floor)}
save(curves_with_bands(epochs, curves, xlabel="epoch", ylabel="loss", log_x=True), "05_distillation/terms")

# %% [markdown]
# ## Alone or with a teacher
# Eight seeds; each draws a teacher, a student and the five images of each class. All students take the same
# 400 steps of Adam at one learning rate, chosen on held-out images with other seeds. Alone is alpha = 1. The
# row without labels is another matter: the teacher answers to all 1,149 images, 40 times, in 720 steps.


# %%
def train_student(seed, teacher, hidden, per_class, unseen, match, alpha, tau, scaled, labelled, epochs):
    """The logits of one student for the test images and all training images.

    per_class: 0 for all images.  unseen: a class of which it gets no image, -1 for none.
    """
    rng = np.random.default_rng(seed)
    rows = some_of_each(train[1], per_class, rng) if per_class else np.flatnonzero(train[1] != unseen)
    labels = train[1][rows] if labelled else None
    student = mlp(64, hidden, 10, rng=rng)
    settings = {"alpha": alpha, "beta": 1 - alpha, "temperature": tau, "scale_by_tau_squared": scaled}
    losses = {
        "targets": partial(distillation_terms, **settings),
        "logits": partial(logit_matching_terms, alpha=alpha),
        "centred logits": lambda z_s, z_t, y: logit_matching_terms(z_s, centred(z_t), y, alpha=alpha),
    }
    source = mlp_teacher(seed) if teacher == "mlp" else digits_network(0)
    optimizer = Adam(student.parameters(), lr=0.02)
    schedule = cosine(0.02, 0.0, epochs * -(-len(rows) // 64))
    options = {"epochs": epochs, "optimizer": optimizer, "schedule": schedule, "rng": rng}
    distill(source, student, (train[0][rows], labels), loss=losses[match], progress=False, **options)
    return {"test": predict(student, test[0]), "train": predict(student, train[0])}


def runs_of(**changes):
    """Eight students, one for each seed, by one recipe but for the changes."""
    recipe = {"teacher": "mlp", "hidden": 16, "per_class": 5, "unseen": -1, "labelled": True, "epochs": 400}
    recipe |= {"match": "targets", "alpha": 0.0, "tau": 5.0, "scaled": False} | changes
    return cached_runs("05_students", [{"seed": seed, **recipe} for seed in range(8)], train_student)


def students(**changes):
    """Test accuracies (8,), one for each seed."""
    return np.array([accuracy(run["test"], test[1]) for run in runs_of(**changes)])


alone = students(alpha=1.0)
results = {
    "alone, 50 labels": alone,
    "soft targets, tau = 5": students(),
    "matched logits": students(match="logits"),
    "matched logits, the teacher's centred": students(match="centred logits"),
    "soft targets of 1,149 images, no labels": students(per_class=0, labelled=False, epochs=40),
    "the teachers": np.array([evaluate(mlp_teacher(seed), *test).accuracy for seed in range(8)]),
}
intervals = {name: t_interval(values) for name, values in results.items()}
for name, interval in intervals.items():
    print(f"{name:40} {interval}")
means, lows, highs, _ = np.array(list(intervals.values())).T
figure = bars_with_intervals(list(intervals), means, lows, highs, xlabel="test accuracy", zoom=True)
save(figure, "05_distillation/alone_or_taught")

gains = {name: paired_difference(values, alone) for name, values in results.items()}
for name in ("soft targets, tau = 5", "matched logits, the teacher's centred", list(results)[4]):
    claim(f"{name}: better than alone", gains[name].low > 0.02, {"gain": gains[name]})

# %% [markdown]
# ## What matching logits costs
# A constant added to all logits of an image changes no probability, but it changes ||z_t - z_s||². The
# teacher's logits have such a constant, about -5, and a student of 16 units has to learn it too. All eight
# do, but two of them are far off in the rest, the centred logits, and answer badly. So no gain is established
# by matched logits as they are. Take the mean out of each of the teacher's rows, and none fails.

# %%
z_t = [predict(mlp_teacher(seed), test[0]) for seed in range(8)]
for match in ("logits", "centred logits"):
    z_s = [run["test"] for run in runs_of(match=match)]
    wrong = [np.sqrt(np.mean((centred(s) - centred(t)) ** 2)) for s, t in zip(z_s, z_t, strict=True)]
    print(f"{match}, the eight students' accuracies: {students(match=match).round(2)}")
    print(f"  mean logit {np.mean(z_s, axis=(1, 2)).round(1)}, rms error of the centred {np.round(wrong, 1)}")
print(f"the teachers' mean logit {np.mean(z_t, axis=(1, 2)).round(1)}")
print(f"gain by matched logits as they are: {gains['matched logits']}")

# %% [markdown]
# ## How warm?
# An MLP's soft targets at tau = 1 are nearly labels and teach little more; from tau = 5 on it hardly matters
# how warm they are. With a convolutional teacher, which is more often right, the rule is reversed: its
# students are best at tau = 1 to 2 and get worse from there. Even where each may choose its tau, they do
# worse than the MLPs'. (One such network was tried; *why* is not shown here.)

# %%
warmth = [0.5, 1, 2, 5, 10, 20, 50]
by_mlp = np.array([students(tau=float(tau)) for tau in warmth]).T  # (8 seeds, 7 temperatures)
by_cnn = np.array([students(tau=float(tau), teacher="cnn") for tau in warmth]).T
lines = {"MLP teachers": by_mlp, "convolutional teacher": by_cnn, "alone": np.tile(alone, (7, 1)).T}
figure = curves_with_bands(warmth, lines, xlabel="tau", ylabel="test accuracy", log_x=True)
save(figure, "05_distillation/tau")

warmer = paired_difference(by_mlp[:, warmth.index(5)], by_mlp[:, warmth.index(1)])
claim("tau = 5 teaches more than tau = 1", warmer.low > 0.02, {"by": warmer})
for name, by, one in (("MLP teachers", by_mlp, 5), ("convolutional teacher", by_cnn, 1)):
    print(f"{name}, tau = 50 against {one}: {paired_difference(by[:, -1], by[:, warmth.index(one)])}")

right = evaluate(digits_network(0), *test).accuracy
behind = paired_difference(by_cnn.max(axis=1), by_mlp[:, warmth.index(5)])  # even at each student's best tau
claim(
    "the better teacher teaches less",
    right > results["the teachers"].max() and behind.high < -0.01,
    {"its accuracy": right, "the others' best": results["the teachers"].max(), "its students": behind},
)

# %% [markdown]
# ## How much should the labels count?
# alpha for the labels, 1 - alpha for the soft targets at tau = 5. Without tau² the soft term's gradient is
# some 25 times smaller, so that labels outweigh it at a smaller alpha than the formula seems to say.

# %%
shares = [0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0]
plain = np.array([students(alpha=a) for a in shares]).T
scaled = np.array([students(alpha=a, scaled=0 < a < 1) for a in shares]).T  # at the ends one term is alone
lines = {"soft term times tau²": scaled, "as the formula stands": plain}
save(curves_with_bands(shares, lines, xlabel="alpha", ylabel="test accuracy"), "05_distillation/alpha")

rescued = paired_difference(scaled[:, -2], plain[:, -2])
labels_help = paired_difference(scaled[:, shares.index(0.5)], scaled[:, 0])
claim("at alpha = 0.9 the factor tau² pays", rescued.low > 0.02, {"by": rescued})
print(f"labels beside the soft targets (alpha = 1/2 against 0, times tau²): {labels_help}")

# %% [markdown]
# ## What the teacher thinks is similar
# The mean soft target of each class's images. Nobody told it that a 3 is rather like a 2 or a 9 and not at
# all like a 4. If this is knowledge about digits, other teachers hold it too, and students that never had a
# teacher confuse the same pairs.

# %%
similarity = class_similarity(teacher, *held_out, temperature=5.0)  # (10, 10), rows sum to 1
between = ~np.eye(10, dtype=bool)
titles = {"xlabel": "class that it might have been (hatched: the class itself)", "ylabel": "true class"}
picture = np.where(between, similarity, np.nan)
figure = heat_map(picture, range(10), range(10), label="mean soft target, tau = 5", **titles)
save(figure, "05_distillation/similarity")

others = [class_similarity(mlp_teacher(seed), *held_out, temperature=5.0) for seed in range(1, 8)]
alike = [spearmanr(similarity[between], other[between]).statistic for other in others]
print(f"rank correlation with seven other teachers over the 90 pairs: {min(alike):.2f} at least")

confused = [confusion_matrix(run["test"], test[1])[between] for run in runs_of(alpha=1.0)]
foretold = t_interval([spearmanr(similarity[between], counts).statistic for counts in confused])
claim("students alone confuse what it thinks similar", foretold.low > 0.2, {"rank correlation": foretold})

# %% [markdown]
# ## The class that the student never saw
# Take all 3s out of the training images and give the rest to students of 64 units. With labels no 3 is ever
# the answer. With soft targets the student learns 3s from how much of a 3 the teacher finds in other digits.
# (Column 3 above: most in 9s, 2s and 8s; which of them the student uses was not measured.)
#
# The control: perhaps it knows 3s but dares not say so. Add to its logit of 3 what makes one in ten of all
# training images, 3s among them, a 3. That helps students of labels too: it is a matter of the bias alone.

# %%
UNSEEN = 3


def bias_for_share(logits, c, share):
    """What to add to the logit of class c so that it wins in that share of the rows."""
    lead = np.delete(logits, c, axis=1).max(axis=1) - logits[:, c]
    return np.quantile(lead, share)


def recall(run, shift=0.0):
    is_unseen = test[1] == UNSEEN
    logits = run["test"] + shift * (np.arange(10) == UNSEEN)
    return (logits[is_unseen].argmax(axis=1) == UNSEEN).mean()


options = {"hidden": 64, "per_class": 0, "unseen": UNSEEN, "epochs": 20}
groups = {"labels": runs_of(**options, alpha=1.0)}
taus = [1.0, 2.0, 5.0, 10.0, 20.0]
groups |= {tau: runs_of(**options, tau=tau) for tau in taus}
found, corrected = {}, {}
for name, runs in groups.items():
    shifts = [bias_for_share(run["train"], UNSEEN, 0.1) for run in runs]
    found[name] = np.array([recall(run) for run in runs])
    corrected[name] = np.array([recall(run, shift) for run, shift in zip(runs, shifts, strict=True)])

curves = {}
for title, of_3s in (("", found), (", bias set", corrected)):
    curves[f"soft targets{title}"] = np.array([of_3s[tau] for tau in taus]).T
    curves[f"labels{title}"] = np.tile(of_3s["labels"], (5, 1)).T
figure = curves_with_bands(taus, curves, xlabel="tau", ylabel="unseen 3s recognised", log_x=True)
save(figure, "05_distillation/unseen")

claim("labels alone: no 3 is recognised", found["labels"].max() == 0, {"of 3s": found["labels"].max()})
learned = t_interval(found[5.0])
claim("soft targets at tau = 5: most unseen 3s are recognised", learned.low > 0.6, {"of 3s": learned})
beyond = paired_difference(corrected[5.0], corrected["labels"])
claim("it is more than the bias: with it set, soft targets lead", beyond.low > 0.3, {"by": beyond})

# %% [markdown]
# ## Who gains?
# One might expect the smallest student to gain most. With five images a class students of 8, 16 and 64 units
# all gain, the smaller ones a little more; that was not so on the held-out images with other seeds, and no
# claim rests on it. With *all* labels, which the teacher had, no gain is seen: for 16 and 64 units it is at
# most tiny, and 16 seem to lose a little; for 8 it is not settled, so no claim names them.

# %%
table = {}
for images, options in (("5 images a class", {}), ("all images", {"per_class": 0, "epochs": 40})):
    for hidden in (8, 16, 64):
        gain = students(hidden=hidden, **options) - students(hidden=hidden, alpha=1.0, **options)
        table[f"{hidden} units, {images}"] = t_interval(gain)
        print(f"{hidden:2} units, {images:18}gain {t_interval(gain)}")
means, lows, highs, _ = np.array(list(table.values())).T
figure = bars_with_intervals(list(table), means, lows, highs, xlabel="gain in test accuracy")
save(figure, "05_distillation/who_gains")

for hidden in (8, 16, 64):
    claim(f"with 5 images a class {hidden} units gain", table[f"{hidden} units, 5 images a class"].low > 0.03)
for hidden in (16, 64):
    claim(f"with all labels {hidden} units do not", table[f"{hidden} units, all images"].high < 0.02)
