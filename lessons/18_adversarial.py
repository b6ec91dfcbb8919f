# %% [markdown]
# # 18 Adversarial attacks
# An *adversarial example* is an image with a small change. The change is computed so
# that the network answers wrong, although a person sees no difference that matters. How
# small a change is enough, and what helps against it?
#
# Exercises: 18.1 fgsm_step, 18.2 loss_gradient, 18.3 penalised_loss,
# 18.4 boundary_step, 18.5 perturbation_loss, 18.6 pgd.

# %%
import numpy as np

from lessons import PICTURES, study
from minidl import Tensor, grad
from minidl.attack import deepfool, fgsm, minimal_perturbation, pgd, random_signs
from minidl.attack.boundary import boundary_step
from minidl.attack.gradient_sign import project
from minidl.attack.minimal import penalised_loss
from minidl.classroom.claims import claim
from minidl.data import load_picture
from minidl.engine.reduce import stable_softmax
from minidl.figures import (
    answers_picture,
    bars_with_intervals,
    curves_with_bands,
    perturbation_triple,
    photograph_strip,
    save,
)
from minidl.nn import functional as F
from minidl.nn.models import imagenet_names, imagenet_network
from minidl.train import predict
from minidl.train.networks import digits_network, digits_split

# %% [markdown]
# ## One step makes the ram a dog
# Training asks how the loss $J$ depends on the parameters $\theta$. An attack asks how
# $J$ depends on the image $x$, while the network stays as it is. $y$ is the right
# class. Training changes $\theta$ to make the loss smaller. An attack changes $x$ to
# make the loss larger. The fast gradient sign method (FGSM, Goodfellow et al. 2015)
# changes each pixel value by $\varepsilon$ in the direction in which $J$ grows:
#
# $$x' = x + \varepsilon \cdot \mathrm{sign}(\nabla_x J(\theta, x, y))$$
#
# Pixel values lie between 0 and 1, and $x'$ is clipped to that range. With
# $\varepsilon = 0.007$, less than two of 255 grey levels, the network of the paper
# takes a panda for a gibbon, and the lecture shows this picture. We use the same
# $\varepsilon$ and a ram.

# %%
network, names = imagenet_network(), imagenet_names()


def answers(image, count=1):
    """The likeliest names for an image (3, H, W), with their probabilities."""
    p = stable_softmax(predict(network, image[np.newaxis])[0].astype(np.float64))
    return [(names[k], float(p[k])) for k in np.argsort(-p)[:count]]


ram, _ = load_picture(PICTURES / "mammals" / "ram.webp")
eps, y = 0.007, np.array([names.index("ram")])
x = Tensor(ram[np.newaxis], requires_grad=True)  # (1, 3, 224, 224)
J = F.cross_entropy(network(x), y)
g = grad(J, x)  # (1, 3, 224, 224): how J answers to each pixel
x_new = np.clip(x.data + eps * np.sign(g), 0, 1)
assert np.allclose(x_new, fgsm(network, x.data, y, eps), atol=1e-6)

before, after = answers(ram)[0], answers(x_new[0])[0]
save(
    perturbation_triple(ram, x_new[0], eps, before, after, title="x + ε · sign = x′"),
    "18_adversarial/ram",
    alt="A ram, the sign of the gradient, and the same ram taken for a komondor",
)
claim("FGSM changes the answer", after[0] != "ram" and after[1] > 0.9, {"p": after[1]})

# %% [markdown]
# A komondor is a dog with a coat of long white cords. At this size the third picture
# looks like the first. The middle picture shows the change, made stronger so that we
# can see it. The network is surer of the wrong answer (94%) than of the right answer
# before (65%). So a high probability does not show that an answer is right.

# %% [markdown]
# ## Why so small a step is enough
# For a very small change $r$ the loss is almost a straight line:
#
# $$J(x + r) \approx J(x) + \sum_i g_i r_i, \qquad g = \nabla_x J$$
#
# If each $|r_i|$ may be at most $\varepsilon$, the sum is largest for
# $r_i = \varepsilon \, \mathrm{sign}(g_i)$. It is then
# $\varepsilon \sum_i |g_i| = \varepsilon \|g\|_1$. All 150,528 terms have the same
# sign, so many tiny terms add up. With random signs most of the sum cancels, and its
# usual size is $\varepsilon \|g\|_2$.

# %%
coins = np.random.default_rng(0).choice(np.float32([-1, 1]), g.shape)
directions = {"signs of the gradient": np.sign(g), "random signs": coins}
print(f"random signs: ε‖g‖₂ = {eps * np.linalg.norm(g):.2f}")


def loss_after(e, signs):
    changed = np.clip(x.data + np.float32(e) * signs, 0, 1)
    return F.cross_entropy(Tensor(predict(network, changed)), y).item()


for e in (0.0001, eps):
    rise = loss_after(e, np.sign(g)) - J.item()
    print(f"ε = {e}: ε‖g‖₁ = {e * np.abs(g).sum():.2f}, the loss rises by {rise:.2f}")

grey_levels = np.array([0, 0.5, 1, 2, 4, 8])
losses = {}
for name, signs in directions.items():
    losses[name] = np.array([loss_after(e / 255, signs) for e in grey_levels])
figure = curves_with_bands(
    grey_levels,
    losses,
    xlabel="ε in grey levels (of 255)",
    ylabel="loss J",
    title="The same size of step, two directions",
)
save(figure, "18_adversarial/line", alt="The loss over ε for two kinds of signs")
rise = losses["signs of the gradient"][3] - losses["random signs"][3]
claim("at 2/255 the gradient's signs cost more", rise > 2, {"rise": rise})

# %% [markdown]
# For a step of 0.0001 the straight line is right: it predicts a rise of 0.23, and the
# loss rises by 0.22. For 0.007 it predicts 16, and the loss rises by 5.5. So the loss
# is no straight line here: in the figure it bends already in the first grey level. But
# a rise of 5.5 is still much. Random signs do no harm: the loss of the ram even falls,
# by about 0.3. The line predicts a change of about 0.09, so it is wrong here as well.

# %% [markdown]
# ## How many photographs get a wrong answer?
# One photograph is an example, not a measurement. The study attacks 64 photographs that
# the network answers right.

# %%
flipped = [f"FGSM, {e}/255" for e in (0.5, 1, 2, 4, 8)]
flipped += [f"random signs, {e}/255" for e in (2, 8)]
found = [study("18_adversarial", f"{name}: flipped") for name in flipped]
save(
    bars_with_intervals(
        flipped,
        found,
        xlabel="share of photographs, 8 seeds, 95% t-interval",
        title="One step makes the answer wrong",
        share=True,
    ),
    "18_adversarial/flipped",
    alt="Share of photographs with a wrong answer after FGSM and after random signs",
)

# %% [markdown]
# Half a grey level is enough for about a third of the photographs, two levels for about
# seven of ten. Random signs are the control: the same size, another direction. At 2/255
# they change three answers of a hundred. One step of more than two levels does not
# change clearly more answers: the direction comes from the gradient at $x$, and far
# from $x$ the straight line no longer holds.

# %% [markdown]
# ## Many small steps, towards a name we choose
# The gradient is right only near $x$. Projected gradient descent (PGD, Madry et al.
# 2018) takes smaller steps of size $\alpha$ and computes the gradient again after each.
# An attacker may also choose the wrong answer. For a wanted class $y'$ the loss of $y'$
# must fall, so the sign is minus:
#
# $$x_{t+1} = \mathrm{project}\big(x_t - \alpha \, \mathrm{sign}(\nabla_x
#   J(\theta, x_t, y'))\big)$$
#
# `project` brings each pixel back into $[x - \varepsilon, x + \varepsilon]$ and into
# $[0, 1]$. Nobody chose the gibbon for the panda: FGSM only leaves the right answer.
# Here we choose the gibbon (an ape) as the target for a cat.

# %%
cat, _ = load_picture(PICTURES / "photos" / "chelsea.webp")
start, wanted = cat[np.newaxis], np.array([names.index("gibbon")])
steps, alpha = 10, 2.5 * eps / 10
x_t = start
for _step in range(steps):
    at = Tensor(x_t, requires_grad=True)
    gradient = grad(F.cross_entropy(network(at), wanted), at)
    x_t = project(x_t - alpha * np.sign(gradient), start, eps)

assert np.abs(x_t - start).max() <= eps + 1e-6
before, after = answers(cat)[0], answers(x_t[0])[0]
save(
    perturbation_triple(cat, x_t[0], eps, before, after, title="Ten steps of PGD"),
    "18_adversarial/cat",
    alt="A cat, the change by ten steps, and the same cat taken for a gibbon",
)
claim("PGD reaches the gibbon", after[0] == "gibbon", {"p": after[1]})
reached = study("18_adversarial", "targeted: reached")

# %% [markdown]
# After ten steps the network calls the cat a gibbon, with 81%. The study draws the
# wanted classes at random, for three photographs a seed, 24 in all. Ten steps within
# 0.007 reach 21 of the 24 (0.88).

# %% [markdown]
# ## The smallest change, by optimisation
# FGSM and PGD are told how large the change may be. The lecture's last formula fixes
# the answer and makes the change small: find a small $r$ that makes $y'$ likely
# (Szegedy et al. 2014).
#
# $$\max_r \; -\lambda \|r\| + \Phi_{\mathrm{Last}}(x + r)[y']$$
#
# $\Phi$ is the output of the network; we take the log-probability. $\lambda$ is the
# price of a change. The library uses $\lambda \|r\|^2$, because $\|r\|$ has no gradient
# at $r = 0$, where the search begins. It minimises `penalised_loss`, the same
# expression with the other sign. In the paper a bus and a dog become ostriches. We
# start from an elephant. (A tusker is an elephant with large tusks, a dromedary is a
# camel.)

# %%
elephant, mask = load_picture(PICTURES / "mammals" / "elephant.webp")
wanted = names.index("ostrich")
shown, titles, listed = [], [], []
for lam in (100.0, 10.0, 1.0):
    found = minimal_perturbation(network, elephant, wanted, lam=lam, max_steps=12)
    z = Tensor(predict(network, found.image[np.newaxis])[0])
    loss = penalised_loss(z, Tensor(found.r), wanted, lam)
    print(f"λ = {lam:3g}: ‖r‖ = {found.norm:.2f}, λ‖r‖² - log p = {loss.item():.1f}")
    shown.append(found.image)
    titles.append(f"λ = {lam:g}")
    listed.append(answers(found.image, count=3))
save(
    answers_picture(np.stack(shown), titles, listed),
    "18_adversarial/lambda",
    alt="An elephant after the search with three prices of change, and the answers",
)

# %%
before, after = answers(elephant)[0], answers(found.image)[0]
size = np.abs(found.r)  # (3, 224, 224)
largest, on, off = float(size.max()), size[:, mask].mean(), size[:, ~mask].mean()
print(f"mean |r|: {on:.5f} on the elephant, {off:.5f} on the background")
save(
    perturbation_triple(
        elephant, found.image, largest, before, after, title="λ = 1: the change found"
    ),
    "18_adversarial/optimised",
    alt="An elephant, the optimised change, and the image taken for an ostrich",
)
claim("at λ = 1 the answer is the ostrich", found.success, {"p": after[1]})

# %% [markdown]
# With $\lambda = 100$ the change stays small ($\|r\| = 0.11$) and the answer stays an
# elephant. With $\lambda = 10$ the answer is the ostrich, with 74%. With $\lambda = 1$
# the change is longest (0.91), and the ostrich has 97%. FGSM changes all pixel values
# by the same amount. Here the change differs from pixel to pixel: the largest is 0.04,
# but the mean is 0.002 on the elephant and half as much on the background.
#
# `minimal_perturbation` without `lam` searches for the largest $\lambda$ that still
# reaches the target. On this network that takes minutes.

# %% [markdown]
# ## The nearest boundary
# If the attacker accepts any wrong answer, a shorter change is enough. Take the answer
# $a$, another class $k$, and the difference of their logits $f = z_k - z_a$. $f$ is
# negative, because $a$ is the answer. The answer changes at the *boundary*, where
# $f = 0$. If $f$ were a straight line, $f$ would be 0 after the step
#
# $$r = \frac{|f|}{\|w\|^2} \, w, \qquad w = \nabla_x z_k - \nabla_x z_a$$
#
# DeepFool (Moosavi-Dezfooli et al. 2016) takes the shortest such step over the classes
# $k$, computes the gradients again, and repeats until the answer changes.

# %%
coffee, _ = load_picture(PICTURES / "photos" / "coffee.webp")
image = Tensor(coffee[np.newaxis], requires_grad=True)
z = network(image)[0]  # (1000,)
a, k = np.argsort(-z.data)[:2]
f = z[k] - z[a]
w = grad(f, image)
r = abs(f.item()) / (w**2).sum() * w
logits, gradients = np.array([0.0, f.item()]), np.stack([0 * w, w])
assert np.allclose(r, boundary_step(logits, gradients, answer=0), atol=1e-6)

lengths = np.array([0, 0.5, 1, 1.5, 2])
reached = [predict(network, np.clip(image.data + t * r, 0, 1))[0] for t in lengths]
bent = np.array([z_t[k] - z_t[a] for z_t in reached])
figure = curves_with_bands(
    lengths,
    {"straight line": (1 - lengths) * f.item(), "network": bent},
    xlabel="length of the step (1: the whole of r)",
    ylabel="f, logits of consommé minus espresso",
    title="One step along r: the line reaches 0, the network does not",
)
save(figure, "18_adversarial/boundary", alt="f on the way along r, and its tangent")

# %%
nearest = deepfool(network, coffee, num_candidates=4)
by_fgsm = fgsm(network, image.data, np.array([a]), eps)[0]
for changed in (coffee, nearest.image):
    print(", ".join(f"{name} {p:.3f}" for name, p in answers(changed, count=2)))
sizes = {"DeepFool": nearest.norm, "FGSM": float(np.linalg.norm(by_fgsm - coffee))}
print(f"‖r‖: DeepFool {sizes['DeepFool']:.2f}, FGSM of 0.007 {sizes['FGSM']:.2f}")
claim("DeepFool is ten times shorter", 10 * nearest.norm < sizes["FGSM"], sizes)

# %% [markdown]
# One step does not reach 0: after the whole of $r$ the network has $f = -2.1$, because
# $f$ is not a straight line. So DeepFool takes several steps. It stops when the two
# classes are equally likely, at 0.409. (Consommé is a clear soup.) In Euclidean length
# the change is 26 times shorter than that of FGSM: 0.10 and 2.70. The comparison is not
# quite fair, because FGSM limits another size, the largest change of a pixel value, and
# was not asked for a short change.

# %% [markdown]
# ## Does storing the photograph undo the attack?
# The attacked image is an array of floats. A file holds whole grey levels, and JPEG
# does not store fine detail. The study takes the images whose attack worked. It rounds
# them to 8 bits, stores them as JPEG, blurs them, or adds noise, and counts how many
# answers are right again. The control does the same to photographs without an attack.

# %%
treatments = ("8 bits", "JPEG", "blur", "noise")
kinds = ("FGSM, right again", "targeted, right again", "clean, still right")
labels = [f"{treatment}: {kind}" for kind in kinds for treatment in treatments]
found = [study("18_adversarial", label) for label in labels]
save(
    bars_with_intervals(
        labels,
        found,
        xlabel="share of images, 8 seeds, 95% t-interval",
        title="Four treatments of the image after the attack",
        share=True,
    ),
    "18_adversarial/undone",
    alt="Share of right answers after rounding, JPEG, blur and noise",
)

# %% [markdown]
# After rounding to whole grey levels no answer is right again. Rounding moves a pixel
# value by at most half a grey level, and the attacks move most of them by more. Of the
# FGSM images about half are right again after JPEG, and about six of ten after noise.
# Of the targeted images almost all are right again, after JPEG as after noise. The
# study does not show why: the two attacks differ in their steps and in their target.
# Blur also costs right answers without an attack: 86% of the clean photographs stay
# right.
#
# This is no protection. Our attacker did not know of the JPEG or the noise. An attacker
# who knows can put them into the attack (Athalye et al. 2018).

# %% [markdown]
# ## Training against the attack
# The lecture hopes that noise in training makes a network safer. Adversarial training
# goes further: it attacks each batch and trains on the attacked images.
#
# $$\min_\theta \; \mathbb{E} \; \max_{\|\delta\|_\infty \le \varepsilon}
#   J(\theta, x + \delta, y)$$
#
# (Madry et al. 2018; Goodfellow et al. 2015 with FGSM for the maximum.) The attack
# makes each step of training several times as long, too long here for the real network.
# We use digits of 8×8 pixels. The sum $\varepsilon \sum_i |g_i|$ has only 64 terms
# here, so the step must be larger: $\varepsilon = 0.15$, which you can see.

# %%
_, _, (images, digits) = digits_split()
reader, visible = digits_network(), 0.15
attacked = pgd(reader, images, digits, visible, rng=np.random.default_rng(0))
noisy = random_signs(reader, images, digits, visible, rng=np.random.default_rng(0))
read = predict(reader, attacked).argmax(axis=1)
was_right = predict(reader, images).argmax(axis=1) == digits
wrong = np.flatnonzero(was_right & (read != digits))
print(f"{(read[wrong] == 8).mean():.0%} of the {len(wrong)} wrong answers are an 8")
flips = wrong[:4]
by_coins = predict(reader, noisy).argmax(axis=1)
titles = [f"a {digits[i]}" for i in flips]
titles += [f"PGD: {read[i]}" for i in flips]
titles += [f"random: {by_coins[i]}" for i in flips]
shown = np.concatenate([images[flips], attacked[flips], noisy[flips]])
save(
    photograph_strip(shown, titles, title="ε = 0.15, and what the network reads"),
    "18_adversarial/digits",
    alt="Four digits, the same after PGD and after random signs, with the answers",
)

# %% [markdown]
# Of all wrong answers 56% are an 8, so the four are typical. (We have not tested why it
# is the 8.) The study compares four networks, which differ only in the images that they
# are trained on: clean, with noise, attacked by FGSM, attacked by PGD with three steps.
# It tests each network without an attack, with FGSM, and with PGD of 20 steps.

# %%
trained = [f"trained on {on}" for on in ("clean images", "noise", "FGSM", "PGD")]
labels = [
    f"{name}: {test}" for name in trained for test in ("no attack", "FGSM", "PGD")
]
found = [study("18_adversarial", label) for label in labels]
save(
    bars_with_intervals(
        labels,
        found,
        xlabel="accuracy on digits, 8 seeds, 95% t-interval",
        title="Four ways of training, three tests",
        share=True,
    ),
    "18_adversarial/defences",
    alt="Accuracy of four ways of training without attack, under FGSM and under PGD",
)

# %% [markdown]
# Under PGD a network that was trained on clean images answers 5 of 100 digits right.
# With noise in training it answers 30 right. So noise helps, as the lecture says, but
# it does not protect: noise shows the network random directions, and an attack chooses
# the worst direction. Training on FGSM images reaches 61 of 100, and training on PGD
# images 66 of 100. So FGSM is nearly as good and needs one gradient instead of three.
# On clean digits noise costs two points of accuracy, FGSM and PGD about five.
#
# Look at the network trained on noise: FGSM leaves half of its answers right, PGD only
# 30 of 100. Test a defence with a strong attack. With a weak attack it looks better
# than it is.

# %% [markdown]
# ## What to remember
# The gradient of the loss with respect to the image shows how to change each pixel. A
# step of two grey levels along its sign makes most answers wrong. Random changes of the
# same size make hardly any answer wrong, so the direction matters. Several steps, or an
# optimisation with a price $\lambda$, reach an answer of the attacker's choice, often
# with a high probability. Training on attacked images helps most, costs time and some
# accuracy, and does not make a network safe.
#
# ## Try it
# - Set `eps` of the ram to 0.002, then to 0.03. For which of the two do you see the
#   change? Does a larger step always make the wrong answer more probable?
# - Take "espresso" as the target instead of the gibbon. Are ten steps still enough? Are
#   twenty?
# - Take the zebra (`mammals/zebra.webp`) in place of the ram, also in `y`. Does any
#   `eps` up to 0.03 change the answer?
#
# ## Exercises
# `python -m lessons start 18` begins 18.1 `fgsm_step`, 18.2 `loss_gradient`, 18.3
# `penalised_loss`, 18.4 `boundary_step`, 18.5 `perturbation_loss` and 18.6 `pgd`.
#
# ## Papers
# - Szegedy et al. 2014, Intriguing properties of neural networks.
# - Goodfellow, Shlens and Szegedy 2015, Explaining and harnessing adversarial examples.
# - Moosavi-Dezfooli, Fawzi and Frossard 2016, DeepFool: a simple and accurate method to
#   fool deep neural networks.
# - Madry et al. 2018, Towards deep learning models resistant to adversarial attacks.
# - Athalye, Carlini and Wagner 2018, Obfuscated gradients give a false sense of
#   security.
