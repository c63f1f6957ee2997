"""Scores of text: how likely samples are, how well they stand for the reals, how alike they are to each other."""

import math
from collections.abc import Iterator, Sequence

from torch import Tensor

from sparring.distributed import signals
from sparring.evaluation.metrics.text import TextMetric

Units = Sequence[str]


class NGrams:
    """An n-gram model, interpolated by Witten and Bell's rule (Chen & Goodman 1999, section 2.5), as NLTK computes it.

    Every unit of the vocabulary counts as seen once more by itself, so that nothing is impossible.

    Args:
        examples: texts to count in; before each stand order - 1 signs that say so.
        order: n, units of the longest sequence that is counted.
        symbols: the vocabulary.
    """

    def __init__(self, examples: Sequence[Units], order: int, symbols: Units):
        from nltk.lm import Vocabulary, WittenBellInterpolated

        self.order = order
        self.model = WittenBellInterpolated(order, vocabulary=Vocabulary([*symbols, "<s>"]))
        self.model.fit([[(symbol,) for symbol in symbols], *map(self._grams, examples)])

    def nll(self, examples: Sequence[Units]) -> float:
        """-log p of texts in nats a unit: the mean over texts of the mean over their units."""
        found = [-sum(math.log(self.p(h, unit)) for h, unit in self._pairs(each)) / len(each) for each in examples]
        return sum(found) / len(found)

    def p(self, history: tuple, unit: str) -> float:
        """The probability of a unit after n - 1 others."""
        return self.model.unmasked_score(unit, history)

    def _pairs(self, example: Units) -> Iterator[tuple[tuple, str]]:
        padded = ("<s>",) * (self.order - 1) + tuple(example)
        return ((padded[i : i + self.order - 1], unit) for i, unit in enumerate(example))

    def _grams(self, example: Units) -> list[tuple]:
        """All that end in a unit of the text; the signs before it are no units themselves."""
        return [(*history[start:], unit) for history, unit in self._pairs(example) for start in range(self.order)]


class NGramScores(TextMetric):
    """``reverse_nll``: the reals under an n-gram model of the samples; it falls as these get better and as they say all that
    the reals say (Zhao et al. 2018, ARAE, reverse perplexity). ``ngram_nll``: the samples under a model of the reals; it
    falls as they get better, and as they repeat what is common. In nats a unit.

    Args:
        order: units that a model counts together, see ``NGrams``.
        texts: samples, and reals, at most.
    """

    def __init__(self, order: int = 4, texts: int = 1_000):
        super().__init__(texts)
        if order < 1:
            raise ValueError(f"order={order}: must be at least 1")
        self.order = order

    def names(self, extractor: str) -> dict[str, bool]:
        return {"reverse_nll": True, "ngram_nll": True}

    def scores(self, found: dict[str, float]) -> dict[str, float]:
        texts = [self.modality.units(each) for each in (self.kept, self._reals())]
        models = []
        for each in texts:
            models.append(NGrams(each, self.order, self.modality.symbols))
            signals.raise_if_interrupted()
        return {"reverse_nll": models[0].nll(texts[1]), "ngram_nll": models[1].nll(texts[0])}

    def _reals(self) -> Tensor:
        return self.reals.images(range(min(self.texts, len(self.reals))))

    def protocol(self) -> dict[str, float | str]:
        reals = len(self._reals())
        return {
            "order": self.order,
            "smoothing": "Witten-Bell",
            "unit": self.modality.unit,
            "reals": reals,
        } | super().protocol()
