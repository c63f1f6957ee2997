"""Share of samples that the embedded grammar makes."""

from sparring.data.synthetic_sentences import is_sentence
from sparring.evaluation.metrics.text import TextMetric


class Grammatical(TextMetric):
    """``grammatical``: share of the samples that are sentences of the grammar behind the embedded text."""

    of = "fables"

    def names(self, extractor: str) -> dict[str, bool]:
        return {"grammatical": False}

    def scores(self, found: dict[str, float]) -> dict[str, float]:
        joint = "" if self.modality.unit == "character" else " "
        texts = [joint.join(each).strip() for each in self.modality.units(self.kept)]
        return {"grammatical": sum(map(is_sentence, texts)) / len(texts)}
