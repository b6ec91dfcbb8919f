"""What the lecture is remembered for: each picture and each formula is in its lesson."""

import re
from pathlib import Path

import pytest

import lessons

FOLDER = Path(lessons.__file__).parent

# picture of the lecture -> the figure, the function that draws it in the same cell, and words of its alt
# text.
PICTURES = {
    "frozen and trained layers": ("03_finetuning/ways", "layers_diagram", "frozen"),
    "a new head on frozen layers": ("04_feature_extractor/diagram", "layers_diagram", "head"),
    "teacher and student": ("05_distillation/teacher_and_student", "block_diagram", "teacher student"),
    "soft targets of a photograph": (
        "05_distillation/soft_targets",
        "answers_by_temperature",
        "1, 2, 5 and 10",
    ),
    "furry animals, vehicles": ("05_distillation/class_similarity", "similarity_matrix", "furry vehicles"),
    "a query and its neighbours": ("06_few_shot/neighbours", "neighbours_picture", "nearest"),
    "SimCLR": ("07_contrastive/simclr", "block_diagram", "two views"),
    "same or not": ("07_contrastive/same_or_not", "photograph_strip", "two views different"),
    "warmup": ("08_warmup_smoothing_noise/warmup", "curves_with_bands", "rises cosine"),
    "softmax at three temperatures": ("09_temperature/cat", "answers_by_temperature", "three temperatures"),
    "number lines": ("10_quantization/number_lines", "number_line", "integers"),
    "weights with their grid": ("10_quantization/levels", "levels_histogram", "three grids"),
    "Q8 to Q2 against accuracy": ("10_quantization/kept", "bars_with_intervals", "answers kept"),
    "billions of weights": ("10_quantization/memory", "curves_with_bands", "7 and 70 billion"),
    "saturate or not": ("11_tensorrt/saturate", "saturation_lines", "without and with saturation"),
    "all calibrators": ("11_tensorrt/thresholds", "threshold", "five thresholds"),
    "the network as it is": ("11_tensorrt/un_optimised", "draw_model", "kernels"),
    "the optimised network": ("11_tensorrt/optimised", "draw_model", "kernels"),
    "kernels ranked": ("12_pruning/ranked", "filters_and_maps", "filters"),
    "learn and prune": ("12_pruning/diagram", "diagram", "pruning learning"),
    "easiest and hardest": ("13_what_it_sees/easy_and_hard", "answers_picture", "three easy three hard"),
    "texture against shape": ("13_what_it_sees/cue_conflict", "answers_picture", "zebra bear"),
    "patches and patterns": ("13_what_it_sees/patterns", "patches_beside_patterns", "four layers"),
    "power against interpretability": ("13_what_it_sees/power", "points_with_intervals", "five models"),
    "the grey square": ("14_occlusion_gradients/grey_square", "answers_picture", "grey square heat map"),
    "the gradient": ("14_occlusion_gradients/gradients", "gradient", "maps"),
    "four small matrices": ("15_guided_backprop/matrices", "matrix_steps", "four matrices"),
    "three pictures of one animal": ("15_guided_backprop/cat", "image_grid", "gradient green drawing"),
    "two animals": ("16_gradcam/two_animals", "evidence_by_class", "cat dog product"),
    "the table of friends": ("17_shapley/orders", "heat_map", "180, 360 and 460"),
    "the waterfall": ("17_shapley/bill", "waterfall", "alice bob carol"),
    "regions of a photograph": ("17_shapley/koala", "answers_picture", "regions"),
    "x + sign = x'": ("18_adversarial/ram", "perturbation_triple", "sign komondor"),
    "the optimised perturbation": ("18_adversarial/optimised", "perturbation_triple", "optimised"),
}

# lesson -> a part of each formula of the lecture, in LaTeX as between dollar signs.
FORMULAS = {
    "05": [r"\alpha\,L_{CE} + (1 - \alpha)", r"\alpha\,H(y, \sigma(z_s; T = 1)) + \beta"],
    "08": [r"t_k = (1 - \varepsilon)"],
    "09": [r"\frac{e^{z_i / T}}{\sum_j e^{z_j / T}}"],
    "10": [r"Q = \mathrm{round}\left(\frac{r}{S}\right)", r"\mathrm{round}\left(\frac{r}{S}\right) + Z"],
    "12": [r"\|w_o\|_1 = \sum_i |w_{o,i}|", r"\mathrm{mean} + s \cdot \mathrm{std}"],
    "13": [r"\arg\max_{x \in S}\, \max_{p, q}"],
    "14": [r"\Phi(x)[y_0] - \Phi(x^{(i)})[y_0]", r"\frac{\partial \Phi_{\text{Last}}[y_0]}{\partial x}"],
    "15": [
        r"R_i^l = (f_i^l > 0) \cdot R_i^{l+1}",
        r"R_i^l = (R_i^{l+1} > 0) \cdot R_i^{l+1}",
        r"R_i^l = (f_i^l > 0) \cdot (R_i^{l+1} > 0) \cdot R_i^{l+1}",
    ],
    "16": [r"\alpha_k^c = \frac{1}{Z} \sum_i \sum_j", r"\mathrm{ReLU}\Big(\sum_k \alpha_k^c A^k\Big)"],
    "17": [r"\frac{|S|!\,(n - |S| - 1)!}{n!}"],
    "18": [
        r"\varepsilon \cdot \mathrm{sign}(\nabla_x J(\theta, x, y))",
        r"-\lambda \|r\| + \Phi_{\mathrm{Last}}",
    ],
}


def text_of(number):
    (path,) = FOLDER.glob(f"{number}_*.py")
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize("shown", PICTURES)
def test_a_picture_of_the_lecture_is_drawn_in_its_lesson(shown):
    figure, drawn_by, words = PICTURES[shown]
    cells = [cell for cell in text_of(figure[:2]).split("# %%") if f'"{figure}"' in cell]
    assert len(cells) == 1, f"{figure} is saved in {len(cells)} cells"
    assert re.search(rf"\b\w*{drawn_by}\w*\(", cells[0]), f"{drawn_by} is not called in the cell of {figure}"
    for word in words.split():
        assert word in cells[0].lower(), f"the cell of {figure} does not name {word!r}"


@pytest.mark.parametrize("number", FORMULAS)
def test_a_formula_of_the_lecture_is_written_in_its_lesson(number):
    text = re.sub(r"\n# ?", "\n", text_of(number))
    formulas = [" ".join(formula.split()) for formula in re.findall(r"\$\$(.*?)\$\$", text, re.DOTALL)]
    for part in FORMULAS[number]:
        assert any(part in formula for formula in formulas), f"lesson {number} has no formula with {part}"
