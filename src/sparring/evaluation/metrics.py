"""Scores of fakes beside reals, all made of the same features, each from sums that grow batch by batch."""

import warnings
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from sparring.evaluation.features import Batch, Reference
from sparring.evaluation.metric import Comparison, Metric, Rows, RowsMetric, named
from sparring.randomness import generator


class FrechetDistance(Metric):
    """|mu_r - mu_f|^2 + tr(C_r + C_f - 2 (C_r C_f)^(1/2)) of the features' means and covariances (Heusel et al. 2017).

    It is called ``fid`` in Inception's features, ``fd_<extractor>`` in others. Sums are kept in float64: 32 MiB at 2048
    dimensions, whatever the number of images.
    """

    def names(self, extractor: str) -> dict[str, bool]:
        return {named(extractor, "fid", "fd"): True}

    def begin(self, comparison: Comparison) -> None:
        (self.name,) = self.names(comparison.extractor)
        self.distance = ready_distance(comparison.dims, comparison.device)
        for name, value in comparison.reals.kept("moments", lambda: _moments(comparison.reals)).items():
            setattr(self.distance, name, value.to(comparison.device))

    def add(self, batch: Batch) -> None:
        self.distance.update(batch.values, real=False)

    @property
    def sums(self) -> list[Tensor]:
        return [getattr(self.distance, name) for name in _states("fake")]

    def scores(self, found: dict[str, float]) -> dict[str, float]:
        self.distance.orig_dtype = torch.float64  # of the result; a rank without fakes of its own has none yet
        with warnings.catch_warnings(action="ignore"):  # that rank's torchmetrics also misses an update
            return {self.name: float(self.distance.cpu().compute())}


def ready_distance(dims: int, device: torch.device | str = "cpu"):
    """torchmetrics' FID, which is given features that are ready; it sums them and their products in float64."""
    from torchmetrics.image.fid import FrechetInceptionDistance

    distance = FrechetInceptionDistance(feature=_Ready(dims), sync_on_compute=False)
    return distance.set_dtype(torch.float64).to(device)


class _Ready(nn.Module):
    """Stands where torchmetrics expects a network, and hands on features that are ready."""

    def __init__(self, dims: int):
        super().__init__()
        self.num_features = dims

    def forward(self, values: Tensor) -> Tensor:
        return values


def _states(side: str) -> list[str]:
    return [f"{side}_features_sum", f"{side}_features_cov_sum", f"{side}_features_num_samples"]


def _moments(reals: Reference) -> dict[str, Tensor]:
    distance = ready_distance(reals.values.shape[1])
    for values in reals.values.split(1000):
        distance.update(values, real=True)
    return {name: getattr(distance, name) for name in _states("real")}


class KernelDistance(RowsMetric):
    """Squared MMD with the kernel (x.y / D + 1)^3, unbiased, mean over random subsets (Binkowski et al. 2018).

    ``kid`` in Inception's features, ``kd_<extractor>`` in others; ``kid_low`` and ``kid_high`` bound it with 95%
    confidence: the bootstrap of a mean of as many subset values as there are subsets without common images, widened by
    the share of the images that a subset leaves out (absent where a subset holds all images). Keeps the features of the fakes
    that are in any subset, at most ``subsets * subset_size`` of them.

    Args:
        subsets: how many; drawn as torch-fidelity draws them, so its number comes out.
        subset_size: images of each set in a subset; all of the smaller set if that holds fewer.
    """

    def __init__(self, subsets: int = 100, subset_size: int = 1000):
        self.subsets, self.subset_size = subsets, subset_size

    def names(self, extractor: str) -> dict[str, bool]:
        return {named(extractor, "kid", "kd"): True}

    def begin(self, comparison: Comparison) -> None:
        (self.name,) = self.names(comparison.extractor)
        self.reals, self.count = comparison.reals, comparison.count
        self.size = min(self.subset_size, self.count, len(self.reals))
        wanted = torch.cat([fakes for fakes, _ in self._draws()]).unique()
        self.fakes = Rows(wanted, comparison)

    def _draws(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Which fakes and which reals are in each subset."""
        rng = np.random.RandomState(2020)  # torch-fidelity's, its order of draws, too
        for _ in range(1 if self.size == self.count == len(self.reals) else self.subsets):
            fakes = rng.choice(self.count, self.size, replace=False)
            yield torch.from_numpy(fakes), torch.from_numpy(rng.choice(len(self.reals), self.size, replace=False))

    def scores(self, found: dict[str, float]) -> dict[str, float]:
        from torch_fidelity.metric_kid import kernel_mmd

        values = [
            kernel_mmd(self.fakes[fakes].cpu().numpy(), self.reals.values[reals].numpy())
            for fakes, reals in self._draws()
        ]
        scores = {self.name: float(np.mean(values))}
        if interval := self._interval(torch.tensor(np.array(values), dtype=torch.float64)):
            scores[f"{self.name}_low"], scores[f"{self.name}_high"] = interval
        return scores

    def _interval(self, values: Tensor) -> tuple[float, float] | None:
        images = min(self.count, len(self.reals))
        apart = images // self.size  # subsets without a common image
        if len(values) < 2 or images == self.size:
            return None
        drawn = torch.randint(len(values), (2000, apart), generator=generator("kid bootstrap"))
        deviations = (values[drawn].mean(1) - values.mean()) / (1 - self.size / images) ** 0.5
        low, high = (deviations.quantile(q) for q in (0.025, 0.975))
        return float(values.mean() + low), float(values.mean() + high)

    def protocol(self) -> dict[str, float | str]:
        return {"subsets": self.subsets, "subset_size": self.size, "interval": "95% bootstrap"}


class InceptionScore(Metric):
    """exp E KL(p(y|x) || p(y)), mean and deviation over splits of the fakes (Salimans et al. 2016).

    ``inception_score`` of Inception's logits, ``<extractor>_score`` of others; with ``..._std`` over the splits.

    Args:
        splits: how many, at most one a fake; the fakes are shuffled among them as torch-fidelity shuffles, so its number comes out.
    """

    needs_logits = True

    def __init__(self, splits: int = 10):
        self.splits = splits

    def names(self, extractor: str) -> dict[str, bool]:
        return {f"{extractor}_score": False}

    def begin(self, comparison: Comparison) -> None:
        (self.name,) = self.names(comparison.extractor)
        count, splits = comparison.count, min(self.splits, comparison.count)
        order = torch.from_numpy(np.random.RandomState(2020).permutation(count))
        self.split = torch.empty(count, dtype=torch.int64)
        for i in range(splits):
            self.split[order[i * count // splits : (i + 1) * count // splits]] = i
        exact = {"dtype": torch.float64, "device": comparison.device}
        self.p = torch.zeros(splits, comparison.classes, **exact)  # sums of p(y|x)
        self.negentropy = torch.zeros(splits, **exact)  # sums of p(y|x) log p(y|x)

    def add(self, batch: Batch) -> None:
        split = self.split[batch.rows].to(self.p.device)
        log_p = batch.logits.double().log_softmax(1)
        p = log_p.exp()
        self.p.index_add_(0, split, p)
        self.negentropy.index_add_(0, split, (p * log_p).sum(1))

    @property
    def sums(self) -> list[Tensor]:
        return [self.p, self.negentropy]

    def scores(self, found: dict[str, float]) -> dict[str, float]:
        sizes = self.split.bincount(minlength=len(self.p)).to(self.p)
        mean_p = self.p / sizes[:, None]
        divergence = self.negentropy / sizes - torch.special.xlogy(mean_p, mean_p).sum(1)
        scores = divergence.exp()
        return {self.name: float(scores.mean()), f"{self.name}_std": float(scores.std(correction=0))}

    def protocol(self) -> dict[str, float | str]:
        return {"splits": len(self.p)}


class PRDC(RowsMetric):
    """Whether fakes lie among reals and reals among fakes, by balls that reach to each point's k-th nearest neighbour.

    ``precision`` and ``recall`` (Kynkäänniemi et al. 2019): shares of fakes in some real's ball, and of reals in some
    fake's. ``density`` and ``coverage`` (Naeem et al. 2020): in how many reals' balls a fake lies, over k; and the share of
    reals whose ball holds a fake.

    Args:
        samples: at most so many of each set are compared, chosen at random (data sets are often sorted by class).
        k: neighbour for precision and recall.
        density_k: neighbour for density and coverage.
    """

    def __init__(self, samples: int = 10_000, k: int = 3, density_k: int = 5):
        self.samples, self.k, self.density_k = samples, k, density_k

    def names(self, extractor: str) -> dict[str, bool]:
        return dict.fromkeys(["precision", "recall", "density", "coverage"], False)

    def begin(self, comparison: Comparison) -> None:
        self.reals = comparison.reals
        self.fakes = Rows(self._chosen(comparison.count), comparison)

    def _chosen(self, count: int) -> Tensor:
        return torch.randperm(count, generator=generator("precision"))[: self.samples].sort().values

    def scores(self, found: dict[str, float]) -> dict[str, float]:
        fakes = self.fakes.values
        reals = self.reals.values[self._chosen(len(self.reals))].to(fakes.device)
        (fake_radius,) = _radii(fakes, [self.k])
        radius, density_radius = _radii(reals, [self.k, self.density_k])
        precise = torch.zeros(len(fakes), dtype=torch.bool, device=fakes.device)
        recalled, covered, hits = 0, 0, 0
        for rows in torch.arange(len(reals), device=fakes.device).split(1000):
            distances = torch.cdist(reals[rows], fakes)  # (1000, fakes)
            precise |= (distances <= radius[rows, None]).any(0)
            recalled += int((distances <= fake_radius).any(1).sum())
            within = distances < density_radius[rows, None]
            hits += int(within.sum())
            covered += int(within.any(1).sum())
        return {
            "precision": float(precise.float().mean()),
            "recall": recalled / len(reals),
            "density": hits / (self.density_k * len(fakes)),
            "coverage": covered / len(reals),
        }

    def protocol(self) -> dict[str, float | str]:
        return {
            "fakes": len(self.fakes.values),
            "reals": min(len(self.reals), self.samples),
            "precision_recall_k": self.k,
            "density_coverage_k": self.density_k,
        }


def _radii(values: Tensor, neighbours: list[int]) -> list[Tensor]:
    """For each k the distance of every point (N, D) to its k-th nearest other one, (N,)."""
    nearest = [
        torch.cdist(part, values).topk(min(max(neighbours) + 1, len(values)), largest=False).values
        for part in values.split(1000)
    ]
    nearest = torch.cat(nearest)
    return [nearest[:, min(k, nearest.shape[1] - 1)] for k in neighbours]


class ClassCoverage(Metric):
    """Which classes the extractor's head sees among the fakes.

    ``classes_covered``: how many have at least a tenth of the share that they have among the reals. ``class_entropy``:
    entropy of the fakes' classes in nats, ln(classes) when all are alike. ``label_accuracy``: share of fakes seen as
    the class that was asked for (conditional models only).
    """

    needs_logits = True

    def names(self, extractor: str) -> dict[str, bool]:
        return dict.fromkeys(["classes_covered", "class_entropy", "label_accuracy"], False)

    def begin(self, comparison: Comparison) -> None:
        self.reals, self.count = comparison.reals, comparison.count
        self.found = torch.zeros(comparison.classes, dtype=torch.int64)
        self.asked, self.right = torch.zeros((), dtype=torch.int64), torch.zeros((), dtype=torch.int64)

    def add(self, batch: Batch) -> None:
        seen = batch.logits.argmax(1).cpu()
        self.found += seen.bincount(minlength=len(self.found))
        if batch.labels is not None:
            self.asked += len(seen)
            self.right += (seen == batch.labels).sum()

    @property
    def sums(self) -> list[Tensor]:
        return [self.found, self.asked, self.right]

    def scores(self, found: dict[str, float]) -> dict[str, float]:
        known = self.reals.classes.bincount(minlength=len(self.found))
        enough = 10 * self.found * len(self.reals) >= known * self.count
        scores = {
            "classes_covered": int((enough & (self.found > 0)).sum()),
            "class_entropy": float(torch.special.entr(self.found / self.count).sum()),
        }
        if self.asked:
            scores["label_accuracy"] = int(self.right) / int(self.asked)
        return scores
