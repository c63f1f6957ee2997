"""Scores of text: how likely samples are, how well they stand for the reals, how alike they are to each other."""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from sparring import stopping
from sparring.data.fables import is_sentence
from sparring.evaluation.features import Batch
from sparring.evaluation.metric import Comparison, Metric

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


def self_bleu(texts: Sequence[Units], n: int = 4) -> float:
    """How alike texts are: the mean BLEU-n of each, all others being its references (Zhu et al. 2018, Texygen).

    BLEU (Papineni et al. 2002) of a sentence by NLTK, smoothed by method 1 of Chen & Cherry 2014, as Texygen has it.
    """
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

    smoothing, total = SmoothingFunction().method1, 0.0
    for i, text in enumerate(texts):
        stopping.check()
        total += sentence_bleu([*texts[:i], *texts[i + 1 :]], text, [1 / n] * n, smoothing)
    return total / len(texts)


class TextMetric(Metric):
    """A metric of the text itself, of which some samples, the first ones, are kept.

    Args:
        texts: how many, at most.
    """

    needs_features, takes = False, ("text",)

    def __init__(self, texts: int = 1_000):
        self.texts = texts

    def begin(self, comparison: Comparison) -> None:
        self.modality, self.reals = comparison.modality, comparison.reals.images
        length = self.reals.images(range(1)).shape[1]
        self.kept = torch.zeros(min(self.texts, comparison.count), length, dtype=torch.int32, device=comparison.device)

    def add(self, batch: Batch) -> None:
        early = batch.rows < len(self.kept)
        self.kept[batch.rows[early].to(self.kept.device)] = batch.images[early.to(batch.images.device)].to(self.kept)

    @property
    def sums(self) -> list[Tensor]:
        return [self.kept]

    def protocol(self) -> dict[str, float | str]:
        return {"texts": self.texts}


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
            stopping.check()
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


class SelfBLEU(TextMetric):
    """``self_bleu``, see the function of this name: of words, from 0 to 1. Beside that of the reals it tells whether samples
    repeat themselves; of many texts it is larger than of few.

    Args:
        n: words of the longest sequence that is compared.
        texts: samples, at most.
    """

    def __init__(self, n: int = 4, texts: int = 200):
        super().__init__(texts)
        if n < 1:
            raise ValueError(f"n={n}: must be at least 1")
        self.n = n

    def names(self, extractor: str) -> dict[str, bool]:
        return {"self_bleu": False}

    def scores(self, found: dict[str, float]) -> dict[str, float]:
        units = self.modality.units(self.kept)
        if self.modality.unit == "character":
            return {"self_bleu": self_bleu(["".join(each).split() for each in units], self.n)}
        return {"self_bleu": self_bleu([[word for word in each if word != "\n"] for each in units], self.n)}

    def protocol(self) -> dict[str, float | str]:
        return {"n": self.n} | super().protocol()


class Grammatical(TextMetric):
    """``grammatical``: share of the samples that are sentences of the grammar behind the embedded text."""

    of = "fables"

    def names(self, extractor: str) -> dict[str, bool]:
        return {"grammatical": False}

    def scores(self, found: dict[str, float]) -> dict[str, float]:
        joint = "" if self.modality.unit == "character" else " "
        texts = [joint.join(each).strip() for each in self.modality.units(self.kept)]
        return {"grammatical": sum(map(is_sentence, texts)) / len(texts)}
