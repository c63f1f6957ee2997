"""How alike the samples are to each other."""

from collections.abc import Sequence

from sparring.config.extras import import_extra
from sparring.distributed import signals
from sparring.evaluation.metrics.base import Count, SampleCount
from sparring.evaluation.metrics.text import TextMetric


def self_bleu(texts: Sequence[Sequence[str]], n: int = 4) -> float:
    """Return the mean BLEU-n of each text with all others as its references (Zhu et al. 2018, Texygen), 0 to 1.

    BLEU (Papineni et al. 2002) of a sentence by NLTK, smoothed by method 1 of Chen & Cherry 2014, as in Texygen.
    """
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

    smoothing, total = SmoothingFunction().method1, 0.0
    for i, text in enumerate(texts):
        signals.raise_if_interrupted()
        total += float(sentence_bleu([*texts[:i], *texts[i + 1 :]], text, [1 / n] * n, smoothing))  # pyright: ignore
    return total / len(texts)


class SelfBLEU(TextMetric):
    """``self_bleu`` of words. Above that of the reals, samples repeat each other; it grows with the number of texts.

    Args:
        n: words of the longest sequence that is compared.
        texts: samples, at most.
    """

    score_names = {"self_bleu": False}

    def __init__(self, n: Count = 4, texts: SampleCount = 200):
        import_extra("nltk", "text", "evaluation=text")
        super().__init__(texts)
        self.n = n

    def scores(self, others: dict[str, float]) -> dict[str, float]:
        texts = self.modality.units(self.tokens)
        if self.modality.unit == "character":
            words = ["".join(units).split() for units in texts]
        else:
            words = [[unit for unit in units if unit != "\n"] for units in texts]
        return {"self_bleu": self_bleu(words, self.n)}

    def protocol(self) -> dict[str, float | str]:
        return {"n": self.n} | super().protocol()
