"""Does training on generated images help a classifier, alone, next to reals, or for a long tail of reals?"""

import time
from collections.abc import Callable
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from tqdm import tqdm

from sparring.config.errors import UserError
from sparring.data.dataset import Data
from sparring.data.imbalance import tail_sizes
from sparring.evaluation import protocol
from sparring.evaluation.augmentation_study.report import pictures, table
from sparring.evaluation.augmentation_study.sets import SIDE, Columns, choose, divide, generate, join, take
from sparring.evaluation.classifier_training import accuracy, train
from sparring.evaluation.sampler import Sampler
from sparring.randomness import generator

Count = Annotated[int, Field(ge=1, le=10**6)]


class AugmentationStudy:
    """Accuracies of a small classifier on held-out reals by what it was trained on, and the gains of generated images.

    The arms: n reals a class (``real_n``); the same and m generated images (``real_n_generated``); these alone
    (``generated``); a long tail of reals (``long_tail``), its rare classes repeated (``long_tail_resampled``) or filled
    up by the generator (``long_tail_filled``) to the size of the first. All train the network of
    ``classifier_training`` for the same number of steps, with every image of the arm equally often. An accuracy is
    the mean over classes.

    A seed decides reals, fakes, initial weights and batches. The arms of a seed share them, and larger sets of reals
    contain the smaller ones, so gains are differences within a seed. Intervals are Student's with 95% confidence over
    the seeds: they tell what other draws would give, not what another training of the generator would.

    Args:
        real_per_class: the numbers n.
        generated_per_class: m.
        long_tail: reals of the first class over those of the last; None for no such arms.
        long_tail_head: reals of the first class in the long tail, or as many as there are; None for all.
        steps: batches of 128 for every arm.
        seeds: number of seeds; one would have no interval.
        batch_size: images in a pass of the generator.
        ema: sample the average, or the raw weights.
    """

    def __init__(
        self,
        real_per_class: Annotated[list[Count], Field(min_length=1)],
        generated_per_class: Count = 500,
        long_tail: Annotated[float, Field(ge=1, le=1e6)] | None = 50.0,
        long_tail_head: Count | None = 500,
        steps: Count = 100,
        seeds: Annotated[int, Field(ge=2, le=1000)] = 5,
        batch_size: Count = 100,
        ema: bool = True,
    ):
        self.real_per_class, self.generated_per_class = sorted(set(real_per_class)), generated_per_class
        self.long_tail, self.long_tail_head = long_tail, long_tail_head
        self.steps, self.seeds, self.batch_size, self.ema = steps, seeds, batch_size, ema

    def __call__(
        self,
        data: Data,
        sampler_of: Callable[[int], Sampler],
        trained_on: Tensor | None = None,
        test: Data | None = None,
        device: torch.device | str = "cpu",
        seed: int = 0,
    ) -> tuple[dict, dict[str, Tensor], str]:
        """Train the classifiers and measure them.

        Args:
            data: the data that the generator was trained on.
            sampler_of: returns the sampler of a seed.
            trained_on: the rows of ``data`` that the generator was trained on; None for all.
            test: another split with the same classes to test on. Without it, the rows held out from the generator;
                without those, a fifth of its training images, held out from the classifiers alone.
            device: where classifiers are trained.
            seed: the first one.

        Returns:
            An entry for ``scores.json`` (``scores`` with the ends of their intervals, ``per_class`` as arm -> class ->
            [accuracy, half its interval], ``protocol``, ``seconds``); pictures (3, H, W) uint8; and a table to print.

        Raises:
            UserError: the generator takes no labels, the data have none, or a class has too few images.
        """
        started, device = time.perf_counter(), torch.device(device)
        names, seeds = data.class_names, list(range(seed, seed + self.seeds))
        pool, test_sets, facts = divide(data, trained_on, test)
        tail = self._tail(pool["labels"], names)
        accuracies = []
        for number in tqdm(seeds, "training classifiers", unit=" seeds", delay=2, leave=False):
            sampler = sampler_of(number)
            arms = self._arms(data, pool, sampler, tail, number)
            for arm in arms.values():
                key = ("augmentation", number)
                network = train(arm["images"], arm["labels"], len(names), device, self.steps, None, key)
                accuracies.append([accuracy(network, *each) for each in test_sets])
        by_class = torch.tensor(accuracies, dtype=torch.float64).view(len(seeds), len(arms), len(names))
        by_arm = dict(zip(arms, by_class.unbind(1), strict=True))  # (seeds, classes) each
        per_class = {
            arm: dict(zip(names, torch.stack(interval(values), 1).tolist(), strict=True))
            for arm, values in by_arm.items()
        }
        facts |= {
            "real_per_class": self.real_per_class,
            "generated_per_class": self.generated_per_class,
            "long_tail_sizes": None if tail is None else tail.tolist(),
            "seeds": seeds,
            "classifier": f"three convolutions at {SIDE} pixels, random shifts",
            "steps": self.steps,
            "mixed": "every image, real or generated, equally often",
            "interval": "95%, Student's t over the seeds; of one generator",
            "batch_norm": sampler.batch_norm,
            "real_images": data.name,
            "real_key": data.key,
            "packages": protocol.packages(),
        }
        scores, seconds = accuracies_and_gains(by_arm, self.real_per_class), round(time.perf_counter() - started, 2)
        result = {"scores": scores, "per_class": per_class, "protocol": facts, "seconds": seconds}
        return result, pictures(result), table(result)

    def _tail(self, labels: Tensor, names: list[str]) -> Tensor | None:
        """Return the long tail's reals of each class (classes,); raise UserError where an arm would lack reals."""
        counts = labels.bincount(minlength=len(names))
        if (least := int(counts.min())) < self.real_per_class[-1]:
            raise UserError(
                f"evaluation.real_per_class={self.real_per_class}: class {names[int(counts.argmin())]} has {least} "
                "images to train on; choose smaller numbers, as 'evaluation.real_per_class=[5,20]'"
            )
        if self.long_tail is None:
            return None
        head = counts if self.long_tail_head is None else counts.clamp(max=self.long_tail_head)
        sizes = tail_sizes(head, self.long_tail)
        if sizes.min() < 1:
            raise UserError(
                f"evaluation.long_tail={self.long_tail:g} long_tail_head={self.long_tail_head}: class "
                f"{names[int(sizes.argmin())]} would be left without an image; choose a smaller ratio"
            )
        return sizes

    def _arms(self, data: Data, pool: Columns, sampler: Sampler, tail: Tensor | None, seed: int) -> dict[str, Columns]:
        """Return the training images of each arm's classifier in one seed."""
        if not sampler.game.conditional:
            raise UserError(
                "evaluation=augmentation asks the generator for images of each class, and this one takes no labels: "
                "train one with model.conditional=true"
            )
        classes, most = len(data.class_names), self.real_per_class[-1]
        each, lacking = torch.ones(classes, dtype=torch.int64), torch.zeros(classes, dtype=torch.int64)
        if tail is not None:
            lacking = tail.max() - tail
        counts = each * most if tail is None else tail.clamp(min=most)
        reals = choose(data, pool, counts, generator(seed, "augmentation reals"))
        fakes = generate(sampler, max(self.generated_per_class, int(lacking.max())), classes)
        generated = take(fakes, each * self.generated_per_class)
        arms = {}
        for n in self.real_per_class:
            arms[f"real_{n}"] = take(reals, each * n)
            arms[f"real_{n}_generated"] = join(arms[f"real_{n}"], generated)
        arms["generated"] = generated
        if tail is not None:
            arms["long_tail"] = take(reals, tail)
            arms["long_tail_resampled"] = take(arms["long_tail"], each * tail.max())
            arms["long_tail_filled"] = join(arms["long_tail"], take(fakes, lacking))
        return arms


def accuracies_and_gains(arms: dict[str, Tensor], real_per_class: list[int]) -> dict[str, float]:
    """Return mean accuracies, gains as differences within each seed, and the ends of their intervals.

    Args:
        arms: accuracies (seeds, classes) by arm.
        real_per_class: the numbers of reals of the arms.
    """
    means = {arm: values.mean(1) for arm, values in arms.items()}
    values = {f"accuracy_{arm}": accuracies for arm, accuracies in means.items()}
    values |= {f"gain_{n}": means[f"real_{n}_generated"] - means[f"real_{n}"] for n in real_per_class}
    if "long_tail" in means:
        filled, resampled = means["long_tail_filled"], means["long_tail_resampled"]
        values["gain_long_tail_resampled"] = resampled - means["long_tail"]
        values["gain_long_tail_filled"] = filled - means["long_tail"]
        values["gain_long_tail_filled_over_resampled"] = filled - resampled
    scores = {}
    for name, drawn in values.items():
        mean, half = (float(x) for x in interval(drawn))
        scores |= {name: mean, f"{name}_low": mean - half, f"{name}_high": mean + half}
    return scores


def interval(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean over seeds (seeds, ...) and half of its 95% interval, t_{0.975, seeds - 1} sd / sqrt(seeds)."""
    from scipy.special import stdtrit

    count = len(values)
    return values.mean(0), values.std(0) * (float(stdtrit(count - 1, 0.975)) / count**0.5)
