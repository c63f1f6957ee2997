"""Does training on generated images help a classifier? It learns from reals, from fakes, from both; and from a long tail."""

import time
from collections.abc import Callable

import torch
from torch import Tensor
from tqdm import tqdm

from sparring.config.errors import UserError
from sparring.data.dataset import Data
from sparring.data.imbalance import tail_sizes
from sparring.evaluation import protocol
from sparring.evaluation.augmentation_study.report import pictures, table
from sparring.evaluation.augmentation_study.sets import SIDE, Columns, choose, divide, generate, joined, take
from sparring.evaluation.classifier_training import accuracy, train
from sparring.evaluation.sampler import Sampler
from sparring.randomness import generator


class AugmentationStudy:
    """Accuracies of a small classifier on held-out reals, by what it learnt from, and the gains of generated images.

    The arms: n reals a class (``real_n``), the same and m generated ones (``real_n_generated``), these alone (``generated``); a
    long tail of reals (``long_tail``), its rare classes repeated (``long_tail_resampled``) or filled up by the generator
    (``long_tail_filled``) to the size of the first. All train the network of ``sparring.evaluation.classifier_training`` for the same
    number of steps, with its random shifts, on batches in which every image of the arm comes equally often.

    A seed decides which reals, fakes, initial weights and batches; within it all arms share them, and smaller sets of reals lie
    in larger ones. So gains are differences within a seed. Intervals are Student's, with 95% confidence, over the seeds: they
    say what other draws would give, not what another training of the generator would. An accuracy is the mean over classes of
    the share of a class's test images that are recognised.

    Args:
        real_per_class: the n.
        generated_per_class: m.
        long_tail: reals of the first class over those of the last; None for no such arms.
        long_tail_head: reals of the first class then, or as many as there are; None for all.
        steps: batches of 128, of every arm.
        seeds: how many, at least 2.
        batch_size: images a pass of the generator.
        ema: whether its average is meant, or its raw weights.
    """

    def __init__(
        self,
        real_per_class: list[int],
        generated_per_class: int = 500,
        long_tail: float | None = 50.0,
        long_tail_head: int | None = 500,
        steps: int = 100,
        seeds: int = 5,
        batch_size: int = 100,
        ema: bool = True,
    ):
        if not real_per_class or min(real_per_class) < 1:
            raise ValueError(f"real_per_class={list(real_per_class)}: one number or more, each at least 1")
        at_least = {"generated_per_class": (generated_per_class, 1), "long_tail": (long_tail, 1)}
        at_least |= {"long_tail_head": (long_tail_head, 1), "steps": (steps, 1), "batch_size": (batch_size, 1)}
        at_least |= {"seeds": (seeds, 2)}  # one has no interval
        for name, (value, least) in at_least.items():
            if value is not None and value < least:
                raise ValueError(f"{name}={value}: must be at least {least}")
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
            data: what the generator was trained on.
            sampler_of: the generator, by sampling seed.
            trained_on: the rows of ``data`` that it was trained on; None for all.
            test: another split with the same classes, to measure on. Without it the rows that were kept from the generator;
                where there are none, a fifth of its training images, kept from the classifiers alone, which the protocol says.
            device: where classifiers are trained.
            seed: the first one.

        Returns:
            What goes to ``scores.json`` (``scores`` with the ends of their intervals, ``per_class`` as arm -> class ->
            [accuracy, half of its interval], ``protocol``, ``seconds``); pictures (3, H, W) uint8; and a table to be read.

        Raises:
            UserError: the generator takes no labels, the data have none, or too few images of a class.
        """
        started, device = time.perf_counter(), torch.device(device)
        names, seeds = data.class_names, list(range(seed, seed + self.seeds))
        pool, tested, facts = divide(data, trained_on, test)
        tail = self._tail(pool["labels"], names)
        found = []
        with tqdm(total=self.seeds, desc="training classifiers", unit=" seeds", delay=2, leave=False) as bar:
            for number in seeds:
                sampler = sampler_of(number)
                sets = self._sets(data, pool, sampler, tail, number)
                for arm in sets.values():
                    key = ("augmentation", number)
                    network = train(arm["images"], arm["labels"], len(names), device, self.steps, None, key)
                    found.append([accuracy(network, *part) for part in tested])
                bar.update()
        by_class = torch.tensor(found, dtype=torch.float64).view(len(seeds), len(sets), len(names))
        arms = dict(zip(sets, by_class.unbind(1), strict=True))  # (seeds, classes) each
        scores = self._scores(arms)
        per_class = {
            arm: dict(zip(names, torch.stack(interval(values), 1).tolist(), strict=True))
            for arm, values in arms.items()
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
        seconds = round(time.perf_counter() - started, 2)
        result = {"scores": scores, "per_class": per_class, "protocol": facts, "seconds": seconds}
        return result, pictures(result), table(result)

    def _tail(self, labels: Tensor, names: list[str]) -> Tensor | None:
        """Reals of each class in the long tail; raises UserError where an arm would lack reals."""
        counts = labels.bincount(minlength=len(names))
        if (least := int(counts.min())) < self.real_per_class[-1]:
            raise UserError(
                f"evaluation.real_per_class={self.real_per_class}: of class {names[int(counts.argmin())]} there are {least} "
                "images to learn from; name smaller numbers, as 'evaluation.real_per_class=[5,20]'"
            )
        if self.long_tail is None:
            return None
        head = counts if self.long_tail_head is None else counts.clamp(max=self.long_tail_head)
        kept = tail_sizes(head, self.long_tail)
        if kept.min() < 1:
            raise UserError(
                f"evaluation.long_tail={self.long_tail:g} long_tail_head={self.long_tail_head}: class "
                f"{names[int(kept.argmin())]} would be left without an image; choose a smaller ratio"
            )
        return kept

    def _sets(self, data: Data, pool: Columns, sampler: Sampler, tail: Tensor | None, seed: int) -> dict[str, Columns]:
        """What the classifier of each arm learns from, in one seed."""
        if not sampler.game.conditional:
            raise UserError(
                "evaluation=augmentation asks the generator for images of each class, and this one takes no labels: train "
                "one with model.conditional=true"
            )
        classes, most = len(data.class_names), self.real_per_class[-1]
        each, lacking = torch.ones(classes, dtype=torch.int64), torch.zeros(classes, dtype=torch.int64)
        if tail is not None:
            lacking = tail.max() - tail
        kept = each * most if tail is None else tail.clamp(min=most)
        reals = choose(data, pool, kept, generator(seed, "augmentation reals"))
        fakes = generate(sampler, max(self.generated_per_class, int(lacking.max())), classes)
        generated = take(fakes, each * self.generated_per_class)
        sets = {}
        for n in self.real_per_class:
            sets[f"real_{n}"] = few = take(reals, each * n)
            sets[f"real_{n}_generated"] = joined(few, generated)
        sets["generated"] = generated
        if tail is not None:
            sets["long_tail"] = thinned = take(reals, tail)
            sets["long_tail_resampled"] = take(thinned, each * tail.max())
            sets["long_tail_filled"] = joined(thinned, take(fakes, lacking))
        return sets

    def _scores(self, arms: dict[str, Tensor]) -> dict[str, float]:
        """Accuracies, and gains as differences of them within each seed, with the ends of their intervals."""
        means = {arm: values.mean(1) for arm, values in arms.items()}
        values = {f"accuracy_{arm}": accuracies for arm, accuracies in means.items()}
        values |= {f"gain_{n}": means[f"real_{n}_generated"] - means[f"real_{n}"] for n in self.real_per_class}
        if self.long_tail is not None:
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
    """Mean over seeds (seeds, ...) and half of its 95% interval: t_{0.975, seeds - 1} sd / sqrt(seeds), t of Student."""
    from scipy.special import stdtrit

    count = len(values)
    return values.mean(0), values.std(0) * (float(stdtrit(count - 1, 0.975)) / count**0.5)
