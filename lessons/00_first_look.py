# %% [markdown]
# # 00 A network looks at a cat
# What does a real network see in a photograph? Why, and how surely? What does it take
# to break it?
#
# Exercises: none, they begin with lesson 01.
#
# The network is EfficientNet-Lite0. It was trained on more than a million photographs
# of 1,000 kinds of things. It takes images in [0, 1] and gives one number for each
# kind, a logit. The softmax turns the logits into probabilities (see
# [lesson 09](09_temperature.py)). Three kinds of cat share the answer.

# %%
import copy

import numpy as np

from lessons import PICTURES
from minidl.attack import pgd
from minidl.classroom.claims import claim
from minidl.compress.quantize import channel_absmax, fake_quantize, symmetric_params
from minidl.data import load_picture
from minidl.engine.reduce import stable_softmax
from minidl.explain import gradcam, occlusion_map
from minidl.figures import answers_picture, save
from minidl.nn.models import imagenet_names, imagenet_network
from minidl.train import predict

network, names = imagenet_network(), imagenet_names()
CAT, ESPRESSO = names.index("Egyptian cat"), names.index("espresso")
cat = load_picture(PICTURES / "photos" / "chelsea.webp")[0][np.newaxis]
coffee = load_picture(PICTURES / "photos" / "coffee.webp")[0][np.newaxis]
print("an image:", cat.shape)


# %%
def answers(model, image):
    """The three likeliest names with their probabilities."""
    probabilities = stable_softmax(predict(model, image), axis=1)[0]
    best = np.argsort(probabilities)[::-1][:3]
    return [(names[k], round(float(probabilities[k]), 2)) for k in best]


seen = answers(network, cat)
print("the cat:    ", seen)
print("the coffee: ", answers(network, coffee))
figure = answers_picture(cat, ["a photograph"], [seen])
save(figure, "00_first_look/answer", alt="A cat and the network's three answers.")

# %% [markdown]
# ## What does the answer rest on?
# Half a cat stands beside half a cup. Grad-CAM asks the last layer with places which of
# them speak for an answer ([lesson 16](16_gradcam.py)). "Egyptian cat" comes from one
# half of the picture and "espresso" from the other. Occlusion covers one square after
# another and looks at what the answer loses ([lesson 14](14_occlusion_gradients.py)).
# The espresso is in the cup, not in the saucer.

# %%
both = np.concatenate([cat[..., 56:168], coffee[..., 56:168]], axis=3)
why_cat = gradcam(network, both, CAT, network.gradcam_layer)[0]
why_espresso = gradcam(network, both, ESPRESSO, network.gradcam_layer)[0]
squares = {"window": 64, "stride": 32, "probability": True}
lost = occlusion_map(network, coffee, ESPRESSO, **squares)[0]
print(f"covering a square takes up to {lost.max():.2f} from the espresso's probability")
share = why_cat[:, :112].sum() / why_cat.sum()
claim("Grad-CAM's map for the cat lies on the cat", share > 0.7, {"share": share})

# %% [markdown]
# ## How little fools it?
# An attack follows the gradient of the loss to the picture instead of the weights
# ([lesson 18](18_adversarial.py)). Twelve steps change no pixel by more than 4 of 255.
# Nobody sees a difference, and the network is sure of an espresso.

# %%
rng = np.random.default_rng(0)
fooling = pgd(network, cat, [ESPRESSO], 4 / 255, steps=12, targeted=True, rng=rng)
fooled = answers(network, fooling)
print(f"the largest change of a pixel: {255 * np.abs(fooling - cat).max():.1f} of 255")
is_fooled = fooled[0][0] == "espresso"
claim("the network takes the cat for an espresso", is_fooled, {"answer": fooled[0]})

# %% [markdown]
# ## What remains of it in few bits?
# A weight takes 32 bits. Rounded to 8 bits, a quarter of the memory, the network says
# the same. With 4 bits a weight has one of 15 values, and the espresso is gone
# ([lesson 10](10_quantization.py)).


# %%
def with_bits(bits):
    """A copy of the network with rounded weights: one scale a filter."""
    rounded = copy.deepcopy(network)
    for weight in rounded.parameters():
        if weight.ndim > 1:  # a bias and the numbers of BatchNorm have one axis
            params = symmetric_params(channel_absmax(weight.data, 0), bits, axis=0)
            weight.data = fake_quantize(weight.data, params)
    return rounded


in_8_bits, in_4_bits = answers(with_bits(8), coffee), answers(with_bits(4), coffee)
print("in 8 bits:", in_8_bits)
print("in 4 bits:", in_4_bits)
is_kept = in_8_bits[0][0] == "espresso"
claim("8 bits keep the answer", is_kept, {"answer": in_8_bits[0]})

# %% [markdown]
# ## All of it in one picture

# %%
titles = ["a photograph", "why a cat?", "why an espresso?"]
titles += ["what covering costs", "fooled", "in 4 bits"]
images = [cat, both, both, coffee, fooling, coffee]
said = [answers(network, image) for image in images[:5]] + [in_4_bits]
maps = [None, why_cat, why_espresso, np.maximum(lost, 0), None, None]
figure = answers_picture(np.concatenate(images), titles, said, maps=maps)
alt = "A cat; cat and cup, a map for each; a map of the cup; the changed cat; the cup."
save(figure, "00_first_look/all", alt=alt)

# %% [markdown]
# ## What to remember
# The answer of a network is a distribution over names. An explanation says on which
# part of the picture the answer rests. A change that nobody sees can turn the answer
# into another. This network survives rounding to 8 bits. It does not survive 4 bits
# without further care.
#
# ## Try it
# Put your own photograph in place of the cat, and read which names come
# first. Ask `gradcam` for "tabby cat": does it look at the same places? Fool the
# network with 1 of 255, and see how sure it is then.
