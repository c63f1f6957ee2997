"""Likelihood of samples and of reals under n-gram models of each other."""

import math
from collections.abc import Iterator, Sequence

from torch import Tensor

from sparring.config.extras import import_extra
from sparring.distributed import signals
from sparring.evaluation.metrics.base import Count, SampleCount
from sparring.evaluation.metrics.text import TextMetric


class NGrams:
    """An n-gram model, interpolated by Witten and Bell's rule (Chen & Goodman 1999, section 2.5), by NLTK.

    Each unit of the vocabulary is counted once more by itself, so that nothing is impossible.

    Args:
        texts: to count in, each a sequence of units; order - 1 start signs are put before each.
        order: n, units of the longest sequence that is counted.
        symbols: the vocabulary.
    """

    def __init__(self, texts: Sequence[Sequence[str]], order: int, symbols: Sequence[str]):
        from nltk.lm import Vocabulary, WittenBellInterpolated

        self.order = order
        self.model = WittenBellInterpolated(order, vocabulary=Vocabulary([*symbols, "<s>"]))
        self.model.fit([[(symbol,) for symbol in symbols], *map(self._grams, texts)])

    def nll(self, texts: Sequence[Sequence[str]]) -> float:
        """Return -log p in nats: the mean over texts of the mean over their units."""
        values = [-sum(math.log(self.p(h, unit)) for h, unit in self._steps(text)) / len(text) for text in texts]
        return sum(values) / len(values)

    def p(self, history: tuple, unit: str) -> float:
        """Return the probability of a unit after n - 1 others."""
        return self.model.unmasked_score(unit, history)

    def _steps(self, text: Sequence[str]) -> Iterator[tuple[tuple, str]]:
        padded = ("<s>",) * (self.order - 1) + tuple(text)
        return ((padded[i : i + self.order - 1], unit) for i, unit in enumerate(text))

    def _grams(self, text: Sequence[str]) -> list[tuple]:
        """All n-grams, and shorter ones, that end in a unit of the text (not in a start sign)."""
        return [(*history[start:], unit) for history, unit in self._steps(text) for start in range(self.order)]


class NGramScores(TextMetric):
    """``reverse_nll`` and ``ngram_nll``, in nats a unit.

    ``reverse_nll``: the reals under a model of the samples. It falls as samples get better and cover more of what the
    reals say (the logarithm of the reverse perplexity of Zhao et al. 2018, ARAE). ``ngram_nll``: the samples under a
    model of the reals. It falls as samples get better, and as they repeat what is common.

    Args:
        order: units of the longest sequence that a model counts.
        texts: samples, and reals, at most.
    """

    score_names = {"reverse_nll": True, "ngram_nll": True}

    def __init__(self, order: Count = 4, texts: SampleCount = 1_000):
        import_extra("nltk", "text", "evaluation=text")
        super().__init__(texts)
        self.order = order

    def scores(self, others: dict[str, float]) -> dict[str, float]:
        fakes, reals = self.modality.units(self.tokens), self.modality.units(self._real_tokens())
        values = {}
        for name, seen, scored in (("reverse_nll", fakes, reals), ("ngram_nll", reals, fakes)):
            signals.raise_if_interrupted()
            values[name] = NGrams(seen, self.order, self.modality.symbols).nll(scored)
        return values

    def protocol(self) -> dict[str, float | str]:
        settings = {"order": self.order, "smoothing": "Witten-Bell", "unit": self.modality.unit}
        return settings | {"reals": len(self._real_tokens())} | super().protocol()

    def _real_tokens(self) -> Tensor:
        return self.reals.images(range(min(self.texts, len(self.reals))))
