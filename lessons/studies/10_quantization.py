"""10 Quantization: weights in few bits, repaired and retrained

The real network: EfficientNet-Lite0, BatchNorm folded into the layer before it. The
weights of all convolutions and of the last layer are rounded, the activations stay
floats. A seed draws 40 of the 108 photographs of animals in lessons/pictures, at
160 x 160 on light grey. On 20 of them the biases are corrected; on the other 20 we
count how many answers (the likeliest of 1,000 names) are still those of the float
network. A scale is shared by a whole tensor, by one output channel, or by a group of
32 weights that one output reads.

Digits, 8 x 8 pixels: a small network, weights and activations of 4, 3 or 2 bits.
Rounded: nothing else is done. Corrected: the biases are corrected on 256 training
images. Control (2 bits): the float network is trained for 6 further epochs, then
rounded and corrected. Retrained (2 bits): trained rounded for 6 epochs, with the same
images and the same rate. Adam, the rate falls from 0.003 to 0 along a cosine. The
accuracy is that of 360 test images.
"""

import copy
import functools

import numpy as np

from minidl.classroom.claims import claim
from minidl.compress.correct import correct_biases
from minidl.compress.fuse import fuse
from minidl.compress.packed import pack_weights
from minidl.compress.qat import prepare_qat
from minidl.compress.quantize import channel_absmax, fake_quantize, symmetric_params
from minidl.data import lesson_pictures, load_picture, picture_files, random_rotation
from minidl.nn.layers import Conv2d, Linear
from minidl.nn.models import imagenet_network
from minidl.train import Adam, evaluate, fit, predict
from minidl.train.intervals import paired_difference, t_interval
from minidl.train.networks import digits_network, digits_split
from minidl.train.schedules import cosine

SEEDS = 6
SETTINGS = {"size": 160, "correct": 20, "test": 20, "epochs": 6, "lr": 0.003}
ANIMALS = {
    "amphibians",
    "birds",
    "fish",
    "insects",
    "mammals",
    "marsupials",
    "reptiles",
}
WHOLE_ROW = 10**6  # a group as long as all that an output reads: one scale a channel


@functools.cache
def folded_network():
    size = SETTINGS["size"]
    return fuse(imagenet_network(), np.zeros((1, 3, size, size), np.float32))


def animals(seed):
    """The photographs that correct, and those that test."""
    files = [p for p in picture_files(lesson_pictures()) if p.parent.name in ANIMALS]
    drawn = np.random.default_rng(seed).permutation(len(files))
    count = SETTINGS["correct"] + SETTINGS["test"]
    images = [load_picture(files[i], SETTINGS["size"])[0] for i in drawn[:count]]
    return np.stack(images[: SETTINGS["correct"]]), np.stack(
        images[SETTINGS["correct"] :]
    )


def rounded_a_tensor(network, bits):
    """A copy with one scale for each layer's whole weight."""
    network = copy.deepcopy(network)
    for layer in network.modules():
        if isinstance(layer, Conv2d | Linear):
            w = layer.weight.data
            layer.weight.data = fake_quantize(
                w, symmetric_params(channel_absmax(w), bits)
            )
    return network


def real(seed):
    folded = folded_network()
    to_correct, to_test = animals(seed)
    answers = predict(folded, to_test).argmax(axis=1)

    def kept(network):
        return float((predict(network, to_test).argmax(axis=1) == answers).mean())

    numbers = {"real: 8 bits, a tensor": kept(rounded_a_tensor(folded, 8))}
    for way, size in (("a channel", WHOLE_ROW), ("groups of 32", 32)):
        for bits in (8, 6, 4):
            network, name = pack_weights(folded, bits, size), f"{bits} bits, {way}"
            numbers[f"real: {name}"] = kept(network)
            if way == "a channel" or bits == 4:
                corrected = correct_biases(network, folded, to_correct)
                numbers[f"real: {name}, corrected"] = kept(corrected)
    network = pack_weights(folded, 3, 32)
    numbers["real: 3 bits, groups of 32, corrected"] = kept(
        correct_biases(network, folded, to_correct)
    )
    return numbers


def trained_on(model, seed):
    train, epochs, lr = digits_split()[0], SETTINGS["epochs"], SETTINGS["lr"]
    schedule = cosine(lr, 0.0, epochs * -(-len(train[0]) // 64))
    fit(
        model,
        train,
        epochs=epochs,
        rng=np.random.default_rng(seed),
        progress=False,
        optimizer=Adam(model.parameters(), lr=lr),
        schedule=schedule,
        augment=random_rotation(10),
    )
    return model.eval()


def digits(seed):
    (images, _), _, test = digits_split()
    images, model = images[:256], digits_network(seed)
    floats = fuse(model)
    longer = trained_on(copy.deepcopy(floats), seed)
    numbers = {"digits: float": evaluate(model, *test).accuracy}
    for bits in (4, 3, 2):
        options = {"weight_bits": bits, "activation_bits": bits}
        rounded = prepare_qat(model, images, **options)
        networks = {
            "rounded": rounded,
            "corrected": correct_biases(rounded, floats, images),
        }
        if bits == 2:
            control = prepare_qat(longer, images, **options)
            networks["control"] = correct_biases(control, longer, images)
            networks["retrained"] = trained_on(copy.deepcopy(rounded), seed)
        for way, network in networks.items():
            numbers[f"digits: {bits} bits, {way}"] = evaluate(network, *test).accuracy
    return numbers


def measure(seed):
    return real(seed) | digits(seed)


def claims(results):
    def gain(after, before):
        return paired_difference(results[after], results[before])

    change = gain("real: 8 bits, a channel", "real: 8 bits, a tensor")
    claim("8 bits: a scale a channel keeps more", change.low > 0.2, {"more": change})
    change = gain("real: 4 bits, groups of 32", "real: 4 bits, a channel")
    claim(
        "4 bits: groups of 32 alone do not rescue",
        change.high < 0.1,
        {"more": change},
    )
    for bits, least in ((6, 0.15), (4, 0.3)):
        name = f"real: {bits} bits, a channel"
        change = gain(f"{name}, corrected", name)
        claim(
            f"{bits} bits: corrected biases keep more answers",
            change.low > least,
            {"more": change},
        )
    kept = t_interval(results["real: 3 bits, groups of 32, corrected"])
    claim("3 bits: most answers are lost", kept.high < 0.5, {"kept": kept})
    change = gain("digits: 3 bits, corrected", "digits: 3 bits, rounded")
    claim("digits, 3 bits: correction alone helps", change.low > 0, {"by": change})
    for other in ("corrected", "control"):
        change = gain("digits: 2 bits, retrained", f"digits: 2 bits, {other}")
        claim(
            f"digits, 2 bits: retrained beats {other}",
            change.low > 0.15,
            {"by": change},
        )
