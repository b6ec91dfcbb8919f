"""00 A network looks at a cat

Question: what does a real network see in a photograph, why, how surely, and what does it take to break it?
Measured: the answers of EfficientNet-Lite0 for two photographs; where two explanations say that an answer
comes from; the answer after twelve steps of an attack; the answers with weights of 8 and of 4 bits.
Exercises: none, they begin with lesson 01.
"""

# %% [markdown]
# ## What does the network see?
# The network was trained on more than a million photographs of 1,000 kinds of things. It takes images in
# [0, 1] and gives one number for each kind, a logit. The softmax turns the logits into probabilities
# ([lesson 09](09_temperature.py)). Three kinds of cat share the answer.

# %%
import copy

import numpy as np

from minidl import nn
from minidl.attack import pgd
from minidl.classroom.claims import claim
from minidl.compress.quantize import channel_absmax, fake_quantize, symmetric_params
from minidl.data import lesson_pictures, load_picture
from minidl.engine.reduce import stable_softmax
from minidl.explain import gradcam, occlusion_map
from minidl.figures import answers_picture, save
from minidl.nn.models import imagenet_names, imagenet_network
from minidl.train import predict

network, names = imagenet_network(), imagenet_names()
CAT, ESPRESSO = names.index("Egyptian cat"), names.index("espresso")
cat = load_picture(lesson_pictures() / "photos" / "chelsea.webp")[0][np.newaxis]  # (1, 3, 224, 224)
coffee = load_picture(lesson_pictures() / "photos" / "coffee.webp")[0][np.newaxis]


def answers(model, image):
    """The three likeliest names with their probabilities."""
    probabilities = stable_softmax(predict(model, image), axis=1)[0]
    best = np.argsort(probabilities)[::-1][:3]
    return [(names[k], round(float(probabilities[k]), 2)) for k in best]


seen = answers(network, cat)
print("the cat:    ", seen)
print("the coffee: ", answers(network, coffee))
save(answers_picture(cat, ["a photograph"], [seen]), "00_first_look/answer")

# %% [markdown]
# ## What does the answer rest on?
# Half a cat stands beside half a cup. Grad-CAM asks the last layer with places which of them speak for an
# answer ([lesson 16](16_gradcam.py)). "Egyptian cat" comes from one half of the picture and "espresso" from
# the other. Occlusion covers one square after another and looks at what the answer loses
# ([lesson 14](14_occlusion_gradients.py)). The espresso is in the cup, not in the saucer.

# %%
both = np.concatenate([cat[..., 56:168], coffee[..., 56:168]], axis=3)
why_cat = gradcam(network, both, CAT, network.gradcam_layer)[0]
why_espresso = gradcam(network, both, ESPRESSO, network.gradcam_layer)[0]
lost = occlusion_map(network, coffee, ESPRESSO, window=64, stride=32, probability=True)[0]
on_cat = why_cat[:, :112].sum() / why_cat.sum()
claim("Grad-CAM's map for the cat lies on the cat", on_cat > 0.7, {"share": f"{on_cat:.0%}"})
print(f"covering a square takes up to {lost.max():.2f} from the probability of espresso")

# %% [markdown]
# ## How little fools it?
# An attack follows the gradient of the loss to the picture instead of the weights
# ([lesson 18](18_adversarial.py)). Twelve steps change no pixel by more than 4 of 255. Nobody sees a
# difference, and the network is sure of an espresso.

# %%
rng = np.random.default_rng(0)
fooling = pgd(network, cat, np.array([ESPRESSO]), 4 / 255, steps=12, targeted=True, rng=rng)
fooled = answers(network, fooling)
change = 255 * np.abs(fooling - cat).max()
claim(
    "the network takes the cat for an espresso",
    fooled[0][0] == "espresso",
    {"change": f"{change:.1f} of 255"},
)

# %% [markdown]
# ## What remains of it in few bits?
# A weight takes 32 bits. Rounded to 8 bits, a quarter of the memory, the network says the same. With 4 bits
# a weight has one of 15 values, and the espresso is gone ([lesson 10](10_quantization.py)).


# %%
def with_bits(bits):
    """A copy of the network with rounded weights: one scale a filter."""
    rounded = copy.deepcopy(network)
    for layer in rounded.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            weight = layer.weight.data
            layer.weight.data = fake_quantize(
                weight, symmetric_params(channel_absmax(weight, axis=0), bits, axis=0)
            )
    return rounded


in_8_bits, in_4_bits = answers(with_bits(8), coffee), answers(with_bits(4), coffee)
print("in 8 bits:", in_8_bits)
print("in 4 bits:", in_4_bits)
claim("8 bits keep the answer", in_8_bits[0][0] == "espresso", {"probability": f"{in_8_bits[0][1]:.0%}"})

# %% [markdown]
# ## All of it in one picture

# %%
titles = ["a photograph", "why a cat?", "why an espresso?", "what covering costs", "fooled", "in 4 bits"]
images = np.concatenate([cat, both, both, coffee, fooling, coffee])
said = [seen, answers(network, both), answers(network, both), answers(network, coffee), fooled, in_4_bits]
maps = [None, why_cat, why_espresso, np.maximum(lost, 0), None, None]
save(answers_picture(images, titles, said, maps=maps), "00_first_look/all")

# %% [markdown]
# ## What to remember
# The answer of a network is a distribution over names. An explanation says on which part of the picture the
# answer rests. A change that nobody sees can turn the answer into another. This network survives rounding to
# 8 bits. It does not survive 4 bits without further care.
#
# **Try it.** Put your own photograph in place of the cat, and read which names come first. Ask `gradcam` for
# "tabby cat": does it look at the same places? Fool the network with 1 of 255, and see how sure it is then.
