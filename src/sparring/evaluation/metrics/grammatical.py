"""Share of the samples that are sentences of the embedded grammar."""

from sparring.data.synthetic_sentences import is_sentence
from sparring.evaluation.metrics.text import TextMetric


class Grammatical(TextMetric):
    """``grammatical``: the share of samples that the grammar behind the embedded text can make."""

    data_name = "fables"
    score_names = {"grammatical": False}

    def scores(self, others: dict[str, float]) -> dict[str, float]:
        separator = "" if self.modality.unit == "character" else " "
        texts = [separator.join(units).strip() for units in self.modality.units(self.tokens)]
        return {"grammatical": sum(map(is_sentence, texts)) / len(texts)}
