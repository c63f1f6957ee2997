"""How alike the samples are to each other."""

from collections.abc import Sequence

from sparring.distributed import signals
from sparring.evaluation.metrics.ngram import Units
from sparring.evaluation.metrics.text import TextMetric


def self_bleu(texts: Sequence[Units], n: int = 4) -> float:
    """How alike texts are: the mean BLEU-n of each, all others being its references (Zhu et al. 2018, Texygen).

    BLEU (Papineni et al. 2002) of a sentence by NLTK, smoothed by method 1 of Chen & Cherry 2014, as Texygen has it.
    """
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

    smoothing, total = SmoothingFunction().method1, 0.0
    for i, text in enumerate(texts):
        signals.raise_if_interrupted()
        total += sentence_bleu([*texts[:i], *texts[i + 1 :]], text, [1 / n] * n, smoothing)
    return total / len(texts)


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
