"""18 Adversarial: how many answers flip, what undoes it, which training helps

The real network: EfficientNet-Lite0 on photographs of lessons/pictures that it reads
right. They are shared out: each seed has eight of its own. An answer is right if
classes.csv names it. "FGSM, 2/255: flipped" is the share that is no longer right after
one step of FGSM by 2/255 a pixel; random signs of the same size are the control.
Targeted: three of the eight photographs, ten steps of PGD within 0.007, each towards a
class drawn at random.

What undoes it: the images attacked by FGSM at 2/255, and the targeted ones that reached
their class, are stored in 8 bits, or as JPEG at quality 75, or blurred (deviation one
pixel), or given noise of deviation 0.03. "right again" is the share of the fooled
images whose answer is then right. "clean, still right" is the control: the same done
to the photographs that nobody attacked.

Digits, 8 x 8 pixels: networks trained for 8 epochs on clean images, on noise of
deviation 0.2, on FGSM images, on images of PGD with three steps, all of eps 0.15. Each
is attacked on 180 test images by FGSM and by PGD with 20 steps.
"""

import io

import numpy as np

from minidl import Tensor, grad
from minidl.attack import (
    adversarial_training,
    fgsm,
    noise_training,
    pgd,
    random_signs,
    robust_accuracy,
)
from minidl.attack.gradient_sign import fgsm_step
from minidl.classroom.claims import claim
from minidl.data import lesson_pictures, load_picture, picture_classes, random_rotation
from minidl.nn import functional as F
from minidl.nn.models import imagenet_names, imagenet_network, small_cnn
from minidl.train import Adam, predict
from minidl.train.intervals import paired_difference, t_interval
from minidl.train.networks import digits_split
from minidl.train.schedules import cosine
from minidl.transfer import photograph_features

SEEDS = 8
SETTINGS = {
    "photographs a seed": 8,
    "targeted a seed": 3,
    "parts of 255": [0.5, 1, 2, 4, 8],
    "undone at": 2,
    "targeted": {"eps": 0.007, "steps": 10},
    "digits": {"eps": 0.15, "noise": 0.2, "epochs": 8, "lr": 0.003},
}
TRAINED = ("clean images", "noise", "FGSM", "PGD")


def right_photographs():
    """Files that the network reads right, with their classes, likeliest first."""
    photographs, names = photograph_features(), imagenet_names()
    table, found = picture_classes(lesson_pictures()), []
    for row, path in enumerate(photographs.files):
        classes = [names.index(n) for n in table[f"{path.parent.name}/{path.name}"]]
        if photographs.logits[row].argmax() in classes:
            classes.sort(key=lambda k: -photographs.logits[row, k])
            found.append((path, classes))
    return found


def treated(image, rng):
    """What may happen to an image (3, H, W) on its way to the network."""
    from PIL import Image
    from scipy.ndimage import gaussian_filter

    pixels = np.round(255 * image).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels.transpose(1, 2, 0)).save(file, "JPEG", quality=75)
    jpeg = np.asarray(Image.open(file), np.float32).transpose(2, 0, 1) / 255
    noise = rng.normal(0, 0.03, image.shape).astype(np.float32)
    return {
        "8 bits": pixels.astype(np.float32) / 255,
        "JPEG": jpeg,
        "blur": gaussian_filter(image, (0, 1, 1)),
        "noise": np.clip(image + noise, 0, 1),
    }


def on_photographs(seed):
    network, rng = imagenet_network(), np.random.default_rng(seed)
    found, count = right_photographs(), SETTINGS["photographs a seed"]
    order = np.random.default_rng(0).permutation(len(found))
    numbers = {}

    def note(name, value):
        numbers.setdefault(name, []).append(value)

    def is_right(image, classes):
        return int(predict(network, image[np.newaxis]).argmax()) in classes

    def note_treated(name, image, classes):
        for treatment, changed in treated(image, rng).items():
            note(f"{treatment}: {name}", is_right(changed, classes))

    for i, index in enumerate(order[seed * count : (seed + 1) * count]):
        path, classes = found[index]
        image, label = load_picture(path)[0][np.newaxis], np.array(classes[:1])
        x = Tensor(image, requires_grad=True)
        gradient = grad(F.cross_entropy(network(x), label), x)
        note_treated("clean, still right", image[0], classes)
        for parts in SETTINGS["parts of 255"]:
            attacked = fgsm_step(image, gradient, parts / 255)[0]
            right = is_right(attacked, classes)
            note(f"FGSM, {parts}/255: flipped", not right)
            if parts == SETTINGS["undone at"] and not right:
                note_treated("FGSM, right again", attacked, classes)
        for parts in SETTINGS["parts of 255"][2::2]:
            coins = random_signs(network, image, label, parts / 255, rng=rng)[0]
            note(f"random signs, {parts}/255: flipped", not is_right(coins, classes))
        if i < SETTINGS["targeted a seed"]:
            wanted = rng.choice(np.setdiff1d(np.arange(1000), classes), 1)
            how = {"random_start": False, "targeted": True, **SETTINGS["targeted"]}
            attacked = pgd(network, image, wanted, **how)[0]
            reached = is_right(attacked, wanted)
            note("targeted: reached", reached)
            if reached:
                note_treated("targeted, right again", attacked, classes)
    return {name: float(np.mean(values)) for name, values in numbers.items()}


def train(on, seed):
    """A network for digits, trained on one kind of images."""
    given = SETTINGS["digits"]
    rng, (images, _, _) = np.random.default_rng(100 + seed), digits_split()
    model = small_cnn(10, 1, rng=rng)
    how = {
        "epochs": given["epochs"],
        "optimizer": Adam(model.parameters(), lr=given["lr"]),
        "schedule": cosine(
            given["lr"], 0.0, given["epochs"] * -(-len(images[0]) // 64)
        ),
        "augment": random_rotation(10),
        "rng": rng,
        "progress": False,
    }

    def three_steps(model, x, y, eps):
        return pgd(model, x, y, eps, steps=3, rng=rng)

    if on in ("clean images", "noise"):
        noise_training(
            model, images, sigma=given["noise"] if on == "noise" else 0, **how
        )
    else:
        attack = fgsm if on == "FGSM" else three_steps
        adversarial_training(model, images, eps=given["eps"], attack=attack, **how)
    return model.eval()


def measure(seed):
    numbers, (_, _, (images, labels)) = on_photographs(seed), digits_split()
    test = images[:180], labels[:180]
    eps, rng = SETTINGS["digits"]["eps"], np.random.default_rng(seed)

    def twenty_steps(model, x, y, eps):
        return pgd(model, x, y, eps, steps=20, rng=rng)

    for on in TRAINED:
        model = train(on, seed)
        clean, by_fgsm = robust_accuracy(model, fgsm, *test, [0, eps]).accuracy
        (by_pgd,) = robust_accuracy(model, twenty_steps, *test, [eps]).accuracy
        numbers[f"trained on {on}: no attack"] = clean
        numbers[f"trained on {on}: FGSM"] = by_fgsm
        numbers[f"trained on {on}: PGD"] = by_pgd
    return numbers


def claims(results):
    def more(name, larger, smaller, than):
        gap = paired_difference(results[larger], results[smaller])
        claim(f"{name} by more than {than}", gap.low > than, {"by": gap})

    more(
        "at 2/255 FGSM flips more photographs than random signs",
        "FGSM, 2/255: flipped",
        "random signs, 2/255: flipped",
        0.4,
    )
    more(
        "noise undoes targeted attacks more often than FGSM",
        "noise: targeted, right again",
        "noise: FGSM, right again",
        0,
    )
    reached = t_interval(results["targeted: reached"])
    claim(
        "ten steps reach most of the classes drawn",
        reached.low > 0.6,
        {"share": reached},
    )
    back = t_interval(results["JPEG: targeted, right again"])
    claim("JPEG undoes most of the targeted attacks", back.low > 0.7, {"share": back})
    for attack in ("FGSM", "targeted"):
        back = t_interval(results[f"8 bits: {attack}, right again"])
        claim(
            f"8 bits make no image right again: {attack}",
            back.high < 0.02,
            {"share": back},
        )

    for larger, smaller, than in (
        ("noise", "clean images", 0.2),
        ("PGD", "noise", 0.3),
        ("PGD", "FGSM", 0),
    ):
        name = f"under PGD, training on {larger} is better than on {smaller}"
        more(name, f"trained on {larger}: PGD", f"trained on {smaller}: PGD", than)
    more(
        "training on PGD costs accuracy without attack",
        "trained on clean images: no attack",
        "trained on PGD: no attack",
        0.025,
    )
    more(
        "trained on noise: FGSM flatters",
        "trained on noise: FGSM",
        "trained on noise: PGD",
        0.15,
    )
