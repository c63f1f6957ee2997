"""The augmentation study of a generator that helps, and of one that hurts."""

import json
from dataclasses import replace
from typing import get_type_hints

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from conftest import small_game
from sparring.config.errors import UserError
from sparring.config.instantiate import build
from sparring.data.dataset import Data
from sparring.data.modalities.points import Points
from sparring.evaluation.augmentation_study import study
from sparring.evaluation.augmentation_study.report import curves, table, verdict
from sparring.evaluation.augmentation_study.sets import choose, divide, generate, take
from sparring.evaluation.augmentation_study.study import AugmentationStudy, accuracies_and_gains, interval
from sparring.evaluation.classifier_training import train
from sparring.evaluation.sampler import Sampler
from sparring.randomness import generator

NAMES = ["red or cyan", "green or magenta", "blue or yellow"]
SMALL = {
    "real_per_class": [1],
    "generated_per_class": 60,
    "long_tail": 20,
    "long_tail_head": 20,
    "steps": 12,
    "seeds": 3,
}


def coloured(noise: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Images (N, 3, 8, 8) in [0, 1] of noise in [0, 1]: each class has two colours, so that one image is not enough."""
    colours = torch.eye(3)[labels][:, :, None, None]
    return 0.7 * torch.where(noise[:, :1, :1, :1] < 0.5, colours, 1 - colours) + 0.3 * noise


def colours(count: int = 600, seed: int = 0) -> Data:
    draws = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (count,), generator=draws)
    images = coloured(torch.rand(count, 3, 8, 8, generator=draws), labels)
    return Data({"images": (images * 255).to(torch.uint8), "labels": labels}, f"colours{seed}", NAMES, 0, "colours")


class Painter(nn.Module):
    """Makes images like the data, of the class that it is asked for, or of a wrong one."""

    def __init__(self, wrong: bool):
        super().__init__()
        draws = torch.Generator().manual_seed(0)
        self.table, self.wrong = nn.Parameter(40 * torch.randn(4, 192, generator=draws)), wrong

    def forward(self, latents, labels):
        noise = (latents @ self.table).sin().add(1).div(2).view(-1, 3, 8, 8)
        return 2 * coloured(noise, (labels + 1) % 3 if self.wrong else labels) - 1


def painted(wrong: bool = False, conditional: bool = True):
    game = small_game(classes=3 if conditional else 0)
    painter = Painter(wrong)
    return lambda seed: Sampler(game, painter, seed=seed, num_classes=3)


@pytest.fixture(scope="module")
def helpful():
    return AugmentationStudy(**SMALL)(colours(), painted())


@pytest.fixture(scope="module")
def harmful():
    return AugmentationStudy(**SMALL | {"long_tail": None})(colours(), painted(wrong=True))


def line_of(text: str, beginning: str) -> str:
    return next(line for line in text.splitlines() if line.strip().startswith(beginning))


def test_a_generator_that_knows_the_classes_helps_and_the_study_says_so(helpful):
    result, _, text = helpful
    scores = result["scores"]
    assert scores["gain_1_low"] > 0.2 and scores["accuracy_real_1"] < 0.7, "half of the colours are unknown"
    assert scores["accuracy_generated"] > 0.95 and scores["accuracy_real_1_generated"] > 0.95
    assert line_of(text, "and 60 generated").endswith("helps")
    # of the last class the long tail has one colour: repeating it teaches nothing about the other
    assert scores["accuracy_long_tail_resampled"] < 0.85 < 0.95 < scores["accuracy_long_tail_filled"]
    assert line_of(text, "rare classes repeated").endswith("no difference seen")
    assert line_of(text, "filled by the generator").endswith("helps")
    assert line_of(text, "against rare classes repeated").endswith("helps")


def test_a_generator_that_confuses_the_classes_hurts_and_the_study_says_so(harmful):
    result, _, text = harmful
    scores = result["scores"]
    assert scores["gain_1_high"] < -0.2
    assert scores["accuracy_generated"] < 0.1, "it has learnt that every class is another"
    assert line_of(text, "and 60 generated").endswith("hurts")
    assert "long tail" not in text and not any("long_tail" in name for name in scores)


def test_arms_without_fakes_do_not_depend_on_the_generator(helpful, harmful):
    one, other = helpful[0]["per_class"], harmful[0]["per_class"]
    assert one["real_1"] == other["real_1"] and one["real_1_generated"] != other["real_1_generated"]


def test_intervals_are_students_and_only_one_without_zero_is_a_difference():
    assert verdict(0.001, 0.1) == "helps" and verdict(-0.1, -0.001) == "hurts"
    assert verdict(-0.01, 0.2) == verdict(0.0, 0.0) == "no difference seen"
    values = torch.tensor([0.5, 0.6, 0.7], dtype=torch.float64)
    mean, half = interval(values)
    assert float(mean) == pytest.approx(0.6)
    assert float(half) == pytest.approx(4.302652729911275 * 0.1 / 3**0.5, rel=1e-9)  # t_{0.975, 2}; deviation 0.1


def test_gains_are_those_within_a_seed_and_their_interval_is_of_the_differences():
    """By hand: gains 0.1, 0.1, 0.1 over reals that vary far more have no spread."""
    reals = torch.tensor([[0.2, 0.4], [0.5, 0.7], [0.8, 0.8]], dtype=torch.float64)
    scores = accuracies_and_gains({"real_2": reals, "real_2_generated": reals + 0.1, "generated": reals}, [2])
    assert scores["accuracy_real_2"] == pytest.approx((0.3 + 0.6 + 0.8) / 3)
    assert scores["gain_2"] == scores["gain_2_low"] == pytest.approx(0.1)
    assert scores["gain_2_high"] == pytest.approx(0.1)
    assert scores["accuracy_real_2_high"] - scores["accuracy_real_2"] > 0.5


def test_every_class_has_an_accuracy_and_an_interval_and_their_mean_is_the_accuracy(helpful):
    result = helpful[0]
    assert {f"accuracy_{arm}" for arm in result["per_class"]} <= result["scores"].keys()
    for arm, by_name in result["per_class"].items():
        assert list(by_name) == NAMES and all(half >= 0 for _, half in by_name.values())
        mean = sum(value for value, _ in by_name.values()) / 3
        assert mean == pytest.approx(result["scores"][f"accuracy_{arm}"])
    assert json.loads(json.dumps(result)) == result, "it can be written to scores.json"


def test_the_same_seeds_give_the_same_numbers_and_others_others():
    def scores(seed):
        study = AugmentationStudy(**SMALL | {"steps": 3, "seeds": 2, "long_tail": None})
        return study(colours(200), painted(), seed=seed)[0]["scores"]

    assert scores(0) == scores(0) != scores(7)


def test_each_arm_is_trained_on_the_images_of_its_name_for_the_same_number_of_steps(monkeypatch):
    seen, fit = [], train
    monkeypatch.setattr(study, "train", lambda *asked: (seen.append(asked), fit(*asked))[1])
    data = colours()
    options = {"real_per_class": [20, 4], "long_tail": 10, "long_tail_head": 40, "steps": 2, "seeds": 2}
    AugmentationStudy(**SMALL | options)(data, painted())
    counts = [labels.bincount().tolist() for _, labels, *_ in seen]
    tail = [40, 12, 4]  # 40 * 10^(-c / 2), rounded down
    one_seed = [[4] * 3, [64] * 3, [20] * 3, [80] * 3, [60] * 3, tail, [40] * 3, [40] * 3]
    assert counts == one_seed * 2
    assert {asked[4:6] for asked in seen} == {(2, None)}, "the steps, and no limit of epochs"
    assert [asked[6] for asked in seen[:8]] == [seen[0][6]] * 8 != [seen[8][6]] * 8, "other weights and batches by seed"

    def images(arm):
        return {image.numpy().tobytes() for image in seen[arm][0]}

    known = {image.numpy().tobytes() for image in data.columns["images"]}
    four, with_fakes, twenty, _, fakes, tail, resampled, filled = map(images, range(8))
    assert four < twenty < known and tail < known, "larger sets of reals contain the smaller ones"
    assert with_fakes == four | fakes and not fakes & known
    assert resampled == tail, "the same images, repeated"
    assert tail < filled and not (filled - tail) & known
    assert images(0) != images(8), "another seed, other reals"


def test_test_images_are_never_learnt_from():
    data = colours(300)
    pool, tested, facts = divide(data, None, None)
    assert facts["test_images"] == 60 == sum(len(images) for images, _ in tested) and len(pool["rows"]) == 240
    chosen = choose(data, pool, torch.tensor([30, 30, 30]), generator(0))
    learnt = {image.numpy().tobytes() for image in chosen["images"]}
    assert not learnt & {image.numpy().tobytes() for images, _ in tested for image in images}
    for label, (images, marks) in enumerate(tested):
        assert len(images) == len(marks) and marks.eq(label).all()


@pytest.mark.parametrize(
    ("trained_on", "test", "seen", "source", "learnt", "tested"),
    [
        (None, None, True, "a fifth of the images that the generator was trained on", 240, 60),
        (torch.arange(200), None, False, "images held out from the generator", 200, 100),
        (torch.arange(299), None, True, "a fifth", 240, 59),  # one held-out image is no test set
        (torch.arange(200), colours(90, seed=1), False, "another split (colours, colours1)", 200, 90),
    ],
)
def test_it_says_where_test_images_are_from_and_whether_the_generator_saw_them(
    trained_on, test, seen, source, learnt, tested
):
    pool, _, facts = divide(colours(300), trained_on, test)
    assert facts["test_seen_by_generator"] is seen and facts["test_source"].startswith(source)
    assert facts["test_images"] == tested and len(pool["rows"]) == learnt
    assert facts["generator_trained_on"] == (300 if trained_on is None else len(trained_on))
    if trained_on is not None:
        assert set(pool["rows"].tolist()) <= set(trained_on.tolist()), "no reals but those the generator had"


def test_the_table_says_what_the_generator_was_trained_on(helpful):
    result, _, text = helpful
    assert "the generator was trained on these too" in text and "trained on 600 real images" in text
    unseen = table(result | {"protocol": result["protocol"] | {"test_seen_by_generator": False}})
    assert "unseen by the generator" in unseen
    accuracy = f"{100 * result['scores']['accuracy_generated']:.1f}"
    assert accuracy in line_of(text, "60 generated alone")


def test_the_pictures_show_lines_at_their_accuracies(helpful):
    shown = helpful[1]
    assert shown.keys() == {"augmentation", "augmentation_long_tail"}
    assert all(p.dtype == torch.uint8 and p.shape == (3, 480, 720) for p in shown.values())

    def height(value: float) -> float:
        """Return where a flat blue line is, in pixels from the top, next to a fixed line."""
        picture = curves({"a": [(value, 0.0)] * 2, "b": [(0.0, 0.0), (1.0, 0.0)]}, [0, 1], ["1", "2"], "n").float()
        blue = (picture[2] - picture[0] > 100)[60:415, 300:400].nonzero()
        return float(blue[:, 0].float().mean())

    high, middle, low = height(0.9), height(0.5), height(0.1)
    assert high < middle < low and middle - high == pytest.approx(low - middle, abs=1)


def test_fakes_are_of_the_requested_classes():
    made = generate(painted()(0), 5, 3)
    assert made["labels"].bincount().tolist() == [5, 5, 5]
    channels = made["images"].float().mean((2, 3))
    apart = (channels - channels.median(1, keepdim=True).values).abs()  # one channel stands apart from the other two
    assert apart.argmax(1).equal(made["labels"])
    assert torch.equal(made["images"], generate(painted()(0), 5, 3)["images"])
    assert not torch.equal(made["images"], generate(painted()(1), 5, 3)["images"])


def test_a_class_with_too_few_images_is_repeated():
    columns = {"rows": torch.arange(5), "labels": torch.tensor([0, 1, 0, 1, 0])}
    assert take(columns, torch.tensor([2, 5]))["rows"].tolist() == [0, 2, 1, 3, 1, 3, 1]


def test_the_key_decides_a_classifiers_initial_weights_and_batches():
    def weights(columns, key):
        return train(columns["images"], columns["labels"], 3, torch.device("cpu"), 2, 6, key).head.weight

    many = colours(64).columns
    assert torch.equal(weights(many, (1,)), weights(many, (1,))) and not torch.equal(
        weights(many, (1,)), weights(many, ())
    )
    grey = {"images": torch.full((1, 3, 8, 8), 200, dtype=torch.uint8), "labels": torch.zeros(1, dtype=torch.int64)}
    assert not torch.equal(weights(grey, (1,)), weights(grey, (2,))), "batches are alike: the initial weights differ"


def test_its_configuration_builds_it(composed):
    study = build(composed("evaluation=augmentation").evaluation, "evaluation")
    assert isinstance(study, AugmentationStudy) and study.real_per_class == [5, 20, 100] and study.seeds == 5


NONSENSE = {"real_per_class": [[], [0, 5]], "seeds": [1], "steps": [0], "long_tail": [0.5], "long_tail_head": [0]}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in NONSENSE.items() for value in values])
def test_options_that_make_no_sense_are_refused(name, value):
    hints = get_type_hints(AugmentationStudy.__init__, include_extras=True)  # validation goes by them
    with pytest.raises(ValidationError):
        TypeAdapter(hints[name]).validate_python(value)


def test_unfit_generators_and_data_are_refused():
    data = colours(300)
    study = AugmentationStudy(**SMALL)
    with pytest.raises(UserError, match="model.conditional=true"):
        study(data, painted(conditional=False))
    unlabelled = replace(data, columns={"images": data.columns["images"]}, class_names=[])
    with pytest.raises(UserError, match="have none"):
        study(unlabelled, painted())
    points = replace(data, columns=data.columns | {"images": torch.randn(300, 2)}, modality=Points())
    with pytest.raises(UserError, match="points"):
        study(points, painted())
    with pytest.raises(UserError, match="other classes"):
        study(data, painted(), test=replace(data, class_names=["a", "b", "c"]))
    with pytest.raises(UserError, match=r"real_per_class=\[99\]: class .* has \d+ images"):
        AugmentationStudy([99])(data, painted())
    with pytest.raises(UserError, match=r"long_tail=1000 long_tail_head=20: .*without an image"):
        AugmentationStudy(**SMALL | {"long_tail": 1000})(data, painted())
    first_class = data.columns["labels"] == 0
    lacking = replace(data, columns={name: column[~first_class] for name, column in data.columns.items()})
    with pytest.raises(UserError, match="none of class red or cyan"):
        study(data, painted(), test=lacking)
