"""18 Adversarial: a change that nobody minds, and the network reads another digit.

Question: how small a change turns a network's answer, does noise of that size do it too, and what helps?
Measured: over 5 networks and 360 test digits: accuracy under FGSM, PGD and random signs; four ways of
training against PGD; what fools one network, shown to others. On 40 digits: the smallest changes' norms.
Exercises: 18.1 fgsm_step, 18.2 project, 18.3 penalised_loss, 18.4 boundary_step.
"""

# %% [markdown]
# ## Many small steps in one direction
# A linear score w · x. Every pixel may move by at most eps. The best it can do is eps · sign(w_i), and the
# score moves by eps · ‖w‖₁: a sum that grows with the number of pixels. Random signs mostly cancel.

# %%
import numpy as np

from minidl import Tensor, grad
from minidl.attack import (
    adversarial_training,
    deepfool,
    fgsm,
    minimal_perturbation,
    noise_training,
    pgd,
    random_signs,
    robust_accuracy,
)
from minidl.classroom.claims import claim
from minidl.data import cached_runs, random_rotation
from minidl.figures import bars_with_intervals, curves_with_bands, heat_map, image_grid, save, signed_map
from minidl.nn import functional as F
from minidl.nn.models import small_cnn
from minidl.train import Adam, accuracy, predict
from minidl.train.intervals import paired_difference, t_interval
from minidl.train.networks import digits_network, digits_split
from minidl.train.schedules import cosine

rng = np.random.default_rng(0)
for pixels in (10, 100, 1000):
    w = rng.normal(size=pixels)
    coins = rng.choice([-1, 1], size=pixels)
    print(
        f"{pixels:5} pixels, eps 0.1: by signs {0.1 * np.abs(w).sum():6.2f}, by coins {0.1 * w @ coins:6.2f}"
    )

# %% [markdown]
# ## The network, and one digit
# It reads at least 98% of the test digits. To ask how the loss J depends on the image, the image is the
# variable, and the weights stay as they are.

# %%
train, _, (images, labels) = digits_split()
model = digits_network(4)
clean = accuracy(predict(model, images), labels)
claim("the network reads at least 98% of the digits", clean >= 0.98, {"accuracy": clean})

eps = 0.15
fooled = predict(model, fgsm(model, images, labels, eps)).argmax(axis=1) != labels
sure = F.cross_entropy(model(images), labels, reduction="none").data < 0.05  # p(label) above 95%
first = np.flatnonzero(fooled & sure)[0]
digit, label = images[first : first + 1], labels[first : first + 1]  # (1, 1, 8, 8), (1,)

x = Tensor(digit, requires_grad=True)
J = F.cross_entropy(model(x), label)
g = grad(J, x)  # (1, 1, 8, 8): how J answers to each pixel
print(f"a {label[0]}: J = {J.item():.4f}, ‖g‖₁ = {np.abs(g).sum():.4f}, largest |g| {np.abs(g).max():.4f}")

# %% [markdown]
# ## Its sign, and the sum
#     x' = clip(x + eps · sign(g), 0, 1)
# The size of the gradient is thrown away: each pixel moves as far as it may. If J were straight it would rise
# by g · (x' - x), which without the box is eps ‖g‖₁. It is not straight: compare.

# %%
sign = np.sign(g)
attacked = np.clip(digit + eps * sign, 0, 1)
assert np.array_equal(attacked, fgsm(model, digit, label, eps))
assert np.abs(attacked - digit).max() <= eps + 1e-7

before, after = predict(model, digit)[0], predict(model, attacked)[0]
J_after = F.cross_entropy(Tensor(after[np.newaxis]), label).item()
rise, most = (g * (attacked - digit)).sum(), eps * np.abs(g).sum()
print(f"J {J.item():.4f} -> {J_after:.4f}; a straight line says {J.item() + rise:.4f}", end=" ")
print(f"and, if the box stopped no pixel, {J.item() + most:.4f}")
print(f"answer {before.argmax()} -> {after.argmax()}")
maps = np.concatenate([g[0] / np.abs(g).max(), sign[0], (attacked - digit)[0] / eps])
save(signed_map(maps, ["gradient / largest", "its sign", "change / eps"], 3), "18_adversarial/gradient")
noisy = random_signs(model, digit, label, eps, rng=np.random.default_rng(0))
names = ["image", f"FGSM: read as {after.argmax()}", f"coins: read as {predict(model, noisy).argmax()}"]
save(image_grid(np.concatenate([digit, attacked, noisy]), names, 3), "18_adversarial/fgsm")


# %% [markdown]
# ## Accuracy against eps
# FGSM takes one step. PGD takes ten smaller ones, looks at the gradient again after each, and is brought back
# into the ball of eps around the image. The coins move every pixel by eps as well, unless the box stops it,
# and know nothing.


# %%
def under_attack(seed, eps_list, steps):
    """Accuracies (E,) of one network under three changes."""
    model, (_, _, test) = digits_network(seed), digits_split()
    attacks = {
        "FGSM": fgsm,
        "PGD": lambda *case: pgd(*case, steps=steps, rng=np.random.default_rng(seed)),
        "coins": lambda *case: random_signs(*case, rng=np.random.default_rng(seed)),
    }
    return {
        name: robust_accuracy(model, attack, *test, eps_list).accuracy for name, attack in attacks.items()
    }


eps_list = [0.0, 0.05, 0.1, 0.15, 0.2, 0.3]
recipes = [{"seed": seed, "eps_list": eps_list, "steps": 10} for seed in range(5)]
runs = cached_runs("18_under_attack", recipes, under_attack)
curves = {name: np.array([run[name] for run in runs]) for name in ("coins", "FGSM", "PGD")}  # (5, E) each
figure = curves_with_bands(np.array(eps_list), curves, xlabel="eps", ylabel="accuracy")
save(figure, "18_adversarial/accuracy")
print("eps      " + "".join(f"{eps:>7}" for eps in eps_list))
for name, values in curves.items():
    print(f"{name:9}" + "".join(f"{value:7.3f}" for value in values.mean(axis=0)))

at = eps_list.index(eps)
by_fgsm, by_pgd, by_coins = (curves[name][:, at] for name in ("FGSM", "PGD", "coins"))
before_any = curves["FGSM"][:, 0]
most = float(by_fgsm.max())
claim(f"FGSM of {eps} leaves each of 5 networks less than half", most < 0.5, {"best": most})
spared = paired_difference(0.2 * (before_any - by_fgsm), before_any - by_coins)
lost = t_interval(before_any - by_coins)
claim(f"coins of {eps} take less than a fifth of what FGSM takes", spared.low > 0, {"coins take": lost})
more = paired_difference(by_fgsm, by_pgd)
claim("PGD takes more than FGSM within the same ball", more.low > 0, {"more": more})

# %% [markdown]
# ## Towards a class of one's choice
# With the minus sign the loss of a wanted class falls: x' = clip(x - eps · sign(∇J(x, target))). One step
# seldom arrives, twenty do more often. (Among the ten targets is the digit's own class, which is no feat.)

# %%
targets, chosen = np.arange(10), (labels + 1) % 10  # one digit to each class; each test digit to the next
reached = {}
for name, attack in (("FGSM", fgsm), ("PGD", lambda *case, **how: pgd(*case, steps=20, rng=rng, **how))):
    ten = attack(model, np.repeat(digit, 10, axis=0), targets, 0.2, targeted=True)
    answers = predict(model, ten).argmax(axis=1)
    print(f"{name:5} reaches of the targets 0 ... 9: {np.flatnonzero(answers == targets)}")
    reached[name] = accuracy(predict(model, attack(model, images, chosen, 0.2, targeted=True)), chosen)
titles = [f"to {k}: read as {answers[k]}" for k in targets]
save(image_grid(ten, titles, 5), "18_adversarial/targeted")
claim("PGD reaches the chosen class more often than FGSM", reached["PGD"] > reached["FGSM"] + 0.1, reached)

# %% [markdown]
# ## The smallest change, by optimisation
#     max over r of  Φ(x + r)[y'] - λ ‖r‖²        Φ the log-probability, x + r in the box
# (‖r‖ itself has no gradient at r = 0, so its square.) A large λ forbids to move, a small one pays for a
# confident answer. In between is the λ for which r just arrives.

# %%
target = int(after.argmax())
print("     λ    ‖r‖₂   log p(target)   answer")
path = []
for lam in (1000.0, 300.0, 100.0, 30.0, 10.0, 3.0, 1.0, 0.1):
    found = minimal_perturbation(model, digit[0], target, lam=lam)
    logits = predict(model, found.image[np.newaxis])
    log_p = F.log_softmax(Tensor(logits)).data[0, target]
    path.append(found)
    print(f"{lam:6g}{found.norm:8.3f}{log_p:14.3f}{logits.argmax():9}")
best = minimal_perturbation(model, digit[0], target)
print(f"bisection: λ = {best.lam:.3g}, ‖r‖₂ = {best.norm:.3f}; FGSM's {np.linalg.norm(attacked - digit):.3f}")
assert best.success and best.norm <= min(found.norm for found in path if found.success) + 1e-3
shown = np.array([digit[0], best.image, attacked[0]])
titles = ["image", f"smallest: read as {target}", f"FGSM: read as {target}"]
save(image_grid(shown, titles, 3), "18_adversarial/smallest")


# %% [markdown]
# ## How small, and in which norm
# For 40 digits: the smallest eps for which FGSM fools the network, the smallest r by optimisation into the
# same wrong class, and DeepFool, which steps to the nearest boundary of the linearised network. DeepFool is
# quick, but no minimum: it takes the network for straight at each step, keeps what it has gone, and goes 2%
# too far. And for each optimised r the same numbers shuffled among the pixels: its size, but for what the box
# cuts off.


# %%
def smallest_changes(seed, count, shuffles):
    """Of digits read right: L2 and L∞ norms (count, 3), success; what shuffles fool, and keep of ‖r‖."""
    model, (_, _, (images, labels)) = digits_network(seed), digits_split()
    right = np.flatnonzero(predict(model, images).argmax(axis=1) == labels)[:count]
    images, labels, rng = images[right], labels[right], np.random.default_rng(seed)
    grid = np.arange(1, 101) / 100
    sweep = robust_accuracy(model, fgsm, images, labels, grid)
    l2, linf, success, shuffled, kept = [], [], [], [], []
    for i, image in enumerate(images):
        e = int(sweep.best_of[:, i].argmax())  # the first eps that fools
        one = fgsm(model, images[i : i + 1], labels[i : i + 1], grid[e])
        wrong = int(predict(model, one).argmax())
        smallest, quick = minimal_perturbation(model, image, wrong), deepfool(model, image)
        changes = [one[0] - image, smallest.r, quick.r]
        l2.append([np.linalg.norm(change) for change in changes])
        linf.append([np.abs(change).max() for change in changes])
        success.append([wrong != labels[i], smallest.success, quick.success])
        order = np.array([rng.permutation(image.size) for _ in range(shuffles)])
        noise = smallest.r.ravel()[order].reshape(shuffles, *image.shape)
        noisy = np.clip(image + noise, 0, 1)
        kept.append([np.linalg.norm(each - image) / smallest.norm for each in noisy])
        shuffled.append((predict(model, noisy).argmax(axis=1) != labels[i]).mean())
    lists = {"l2": l2, "linf": linf, "success": success, "shuffled": shuffled, "kept": kept}
    return {name: np.array(values) for name, values in lists.items()}


(small,) = cached_runs("18_smallest", [{"seed": 4, "count": 40, "shuffles": 20}], smallest_changes)
l2, linf = small["l2"], small["linf"]  # (40, 3): FGSM, optimisation, DeepFool
for name, numbers in (("‖·‖₂", l2), ("‖·‖∞", linf)):
    by_sign, by_search, by_plane = np.median(numbers, axis=0)
    print(f"median {name}: FGSM {by_sign:.3f}, optimisation {by_search:.3f}, DeepFool {by_plane:.3f}")
claim("all three fool the network on all 40 digits", bool(small["success"].all()))
ratio = float((l2[:, 1] / l2[:, 0]).max())
claim("in L2 the optimised change is smaller than FGSM's on all of them", ratio < 1, {"largest ratio": ratio})
reverse = float((linf[:, 1] > linf[:, 0]).mean())
claim("in L∞ it is larger on most: it moves few pixels far", reverse > 0.7, {"share": reverse})
shuffled = float(small["shuffled"].mean())
print(f"of ‖r‖₂ the box leaves the shuffled r, at the median, {np.median(small['kept']):.2f}")
claim("the same numbers in another order hardly ever fool it", shuffled < 0.1, {"share fooled": shuffled})

order = np.random.default_rng(1).permutation(64)
noise = best.r.ravel()[order].reshape(best.r.shape)
answer = predict(model, np.clip(digit + noise, 0, 1)).argmax()
titles = [f"r: read as {target}", f"shuffled: read as {answer}"]
save(signed_map(np.concatenate([best.r, noise]), titles, 2), "18_adversarial/shuffled")


# %% [markdown]
# ## Defences
# Trained on noisy images; on images attacked by FGSM at each step; by PGD of three steps. All train for 12
# epochs and are tried with PGD of 20 steps: more than any has trained on, if for the last of the same kind.


# %%
def defended(seed, defence, eps, sigma, epochs):
    """Accuracies on the test digits: clean, under FGSM, and under PGD of 20 steps."""
    rng = np.random.default_rng(100 + seed)
    model, (train, _, test) = small_cnn(10, 1, rng=rng), digits_split()
    how = {
        "epochs": epochs,
        "optimizer": Adam(model.parameters(), lr=3e-3),
        "schedule": cosine(3e-3, 0.0, epochs * -(-len(train[0]) // 64)),
        "augment": random_rotation(10),
        "rng": rng,
        "progress": False,
    }
    if defence in ("none", "noise"):
        noise_training(model, train, sigma=sigma if defence == "noise" else 0.0, **how)
    elif defence == "FGSM":
        adversarial_training(model, train, eps=eps, **how)
    else:
        adversarial_training(model, train, eps=eps, attack=lambda *case: pgd(*case, steps=3, rng=rng), **how)
    by_pgd = robust_accuracy(model, lambda *case: pgd(*case, steps=20, rng=rng), *test, [eps]).accuracy
    by_fgsm = robust_accuracy(model, fgsm, *test, [0, eps]).accuracy
    return {"accuracy": np.array([*by_fgsm, *by_pgd])}


defences = ("none", "noise", "FGSM", "PGD")
recipes = [
    {"seed": seed, "defence": defence, "eps": eps, "sigma": 0.2, "epochs": 12}
    for seed in range(5)
    for defence in defences
]
runs = cached_runs("18_defended", recipes, defended)
table = np.array([run["accuracy"] for run in runs]).reshape(5, 4, 3)  # seeds, defences, (clean, FGSM, PGD)
for d, name in enumerate(defences):
    clean, by_fgsm, by_pgd = (t_interval(table[:, d, k]) for k in range(3))
    print(f"trained on {name:6} clean {clean}   FGSM {by_fgsm}   PGD {by_pgd}")
bars = [t_interval(table[:, d, 2]) for d in range(4)]
lows, highs = [max(bar.low, 0) for bar in bars], [bar.high for bar in bars]
xlabel = f"accuracy under PGD-20 of {eps}, by training"
figure = bars_with_intervals(defences, [bar.mean for bar in bars], lows, highs, xlabel=xlabel)
save(figure, "18_adversarial/defences")

by_pgd = table[:, :, 2]
for better, worse in ((1, 0), (2, 1), (3, 1)):
    gain = paired_difference(by_pgd[:, better], by_pgd[:, worse])
    text = f"against PGD {defences[better]} training is better than {defences[worse]}"
    claim(text, gain.low > 0, {"gain": gain})
print(f"PGD training less FGSM training, at twice the cost: {paired_difference(by_pgd[:, 3], by_pgd[:, 2])}")
cost = paired_difference(table[:, 0, 0], table[:, 3, 0])
claim("PGD training costs accuracy on clean digits", cost.low > 0, {"cost": cost})
tested = paired_difference(table[:, 1, 1], table[:, 1, 2])
claim("FGSM alone flatters the network trained on noise", tested.low > 0.1, {"FGSM less PGD": tested})

# %% [markdown]
# ## What fools one fools others
# The attacker need not have the network: digits attacked on one are shown to another, trained from other
# weights. They fool it less than their own, and far more than coins of the same size.

# %%
networks = [digits_network(seed) for seed in range(5)]
attacked_on = [fgsm(network, images, labels, eps) for network in networks]
read = np.array(
    [[accuracy(predict(net, shown), labels) for net in networks] for shown in attacked_on]
)  # (5, 5)
names = [f"network {seed}" for seed in range(5)]
figure = heat_map(read, names, names, xlabel="read by", ylabel="attacked on", label="accuracy")
save(figure, "18_adversarial/transfer")
own = read.diagonal()
others = np.array([np.delete(read[:, j], j).mean() for j in range(5)])  # for each reader, from the 4 others
claim("its own attack fools a network more", paired_difference(others, own).low > 0, {"own": t_interval(own)})
gap = paired_difference(curves["coins"][:, at], others)
claim("and the others' more than coins do", gap.low > 0.1, {"others": t_interval(others), "gap": gap})
