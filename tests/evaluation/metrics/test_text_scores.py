"""N-gram models and BLEU by hand, and an evaluation of text."""

import math
import random
import re
import sys
from itertools import pairwise
from string import ascii_lowercase

import pytest
import torch

from conftest import TensorSet, noise_images
from sparring.config.errors import UserError
from sparring.config.validation import check
from sparring.data.text_lines import Text
from sparring.evaluation.evaluator import Evaluator
from sparring.evaluation.extractors.base import Batch
from sparring.evaluation.extractors.classifier import Classifier
from sparring.evaluation.extractors.none import NoFeatures
from sparring.evaluation.features import RealFeatures
from sparring.evaluation.image_sets import Decoded
from sparring.evaluation.metrics.base import Comparison
from sparring.evaluation.metrics.grammatical import Grammatical
from sparring.evaluation.metrics.ngram import NGrams, NGramScores
from sparring.evaluation.metrics.self_bleu import SelfBLEU, self_bleu
from sparring.runs.console import scores_table
from sparring.runs.scores_file import scores_entry

CPU = torch.device("cpu")


def some_texts(count: int, words: str = "abcde", longest: int = 12) -> list[list[str]]:
    draw = random.Random(0)
    return [[draw.choice(words) for _ in range(draw.randint(1, longest))] for _ in range(count)]


def test_a_bigram_model_by_hand():
    model = NGrams(["ab", "aa", "b"], order=2, symbols="abcd")
    # of one unit: a 3 times, b twice, and each of the four once more
    a, b, c = 4 / 9, 3 / 9, 1 / 9
    assert model.p(("<s>",), "a") == pytest.approx((2 + 2 * a) / (3 + 2))
    assert model.p(("a",), "b") == pytest.approx((1 + 2 * b) / (2 + 2))
    assert model.p(("a",), "c") == pytest.approx((0 + 2 * c) / (2 + 2))
    assert model.p(("b",), "a") == pytest.approx(a), "nothing came after b: the shorter history decides"
    ab, c = model.p(("<s>",), "a") * model.p(("a",), "b"), model.p(("<s>",), "c")
    assert model.nll(["ab", "c"]) == pytest.approx(-(math.log(ab) / 2 + math.log(c)) / 2)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_probabilities_sum_to_one_after_any_history(order):
    model = NGrams(some_texts(30), order, symbols="abcdefg")
    for text in some_texts(10, "abcdef"):
        history = (("<s>",) * 3 + tuple(text))[len(text) + 3 - (order - 1) :] if order > 1 else ()
        assert sum(model.p(history, unit) for unit in "abcdefg") == pytest.approx(1)


def test_more_of_the_same_language_is_likelier_under_longer_histories():
    def language(count: int, seed: int) -> list[str]:
        draw = random.Random(seed)
        return ["".join(draw.choice(["abc", "xyz", "aqz"]) for _ in range(4)) for _ in range(count)]

    actual = [NGrams(language(300, 0), order, ascii_lowercase).nll(language(100, 1)) for order in (1, 2, 3, 4)]
    assert all(a > b for a, b in pairwise(actual)) and actual[-1] == pytest.approx(math.log(3) / 3, abs=0.08)


def test_self_bleu_of_two_texts_by_hand():
    one, other = ["a", "b", "c", "d", "e"], ["a", "b", "c", "x"]
    # of one: 3 of 5 words, 2 of 4 pairs; of the other: 3 of 4, 2 of 3, and it is shorter by a word
    expected = math.sqrt(3 / 5 * 2 / 4), math.sqrt(3 / 4 * 2 / 3) * math.exp(1 - 5 / 4)
    assert self_bleu([one, other], 2) == pytest.approx(sum(expected) / 2)


def test_self_bleu_is_one_of_copies_and_none_of_texts_that_share_nothing():
    assert self_bleu([list("abcdef")] * 4) == pytest.approx(1)
    assert self_bleu([list("abcd"), list("efgh")]) == 0
    assert self_bleu([[], list("abcd"), list("abcd")]) == pytest.approx(2 / 3)


@pytest.fixture(scope="module")
def fables():
    return Text(length=12).drawn()


def parts(data, count: int = 300) -> list[Decoded]:
    columns = [data.columns["images"][i * count : (i + 1) * count] for i in range(3)]
    return [Decoded(data, {"images": rows}, f"part {i}") for i, rows in enumerate(columns)]


def score(data, reals, fakes, cache, **metrics) -> dict:
    metrics = metrics or {"ngram": NGramScores(), "self_bleu": SelfBLEU(), "grammatical": Grammatical()}
    evaluator = Evaluator(NoFeatures(), metrics, samples=len(fakes), reals="all", seeds=1, batch_size=64)
    evaluator.prepare(reals, CPU, cache, data)
    return evaluator(lambda seed: fakes, [None])[0]


def shuffled(part: Decoded, data) -> Decoded:
    """The same words, shuffled within each text."""
    rows, draw = part.images(range(len(part))), torch.Generator().manual_seed(0)
    mixed = torch.stack([row[torch.randperm(len(row), generator=draw)] for row in rows])
    return Decoded(data, {"images": mixed}, "shuffled")


def test_text_of_the_same_kind_scores_best_and_what_repeats_itself_is_seen(fables, tmp_path):
    reals, others, _ = parts(fables)
    alike = score(fables, reals, others, tmp_path)["scores"]
    mixed = score(fables, reals, shuffled(others, fables), tmp_path)["scores"]
    once = Decoded(fables, {"images": others.images(range(3)).repeat(100, 1)}, "three texts")
    repeated = score(fables, reals, once, tmp_path)["scores"]
    assert alike["grammatical"] == 1 == repeated["grammatical"] and mixed["grammatical"] < 0.02
    assert alike["ngram_nll"] < mixed["ngram_nll"] - 0.5 and alike["reverse_nll"] < mixed["reverse_nll"] - 0.5
    assert repeated["reverse_nll"] > alike["reverse_nll"] + 1 and repeated["ngram_nll"] < alike["ngram_nll"] + 0.5
    assert repeated["self_bleu"] == pytest.approx(1) and alike["self_bleu"] < 0.7


def test_an_evaluation_records_what_its_scores_were_computed_from(fables, tmp_path):
    reals, fakes, _ = parts(fables)
    actual = score(fables, reals, fakes, tmp_path)
    assert actual["lower_is_better"] == ["reverse_nll", "ngram_nll"]
    table = scores_table(scores_entry(actual, 10, 0.1), actual["lower_is_better"])
    assert re.search(r"self_bleu +[\d.]+  best as training text's", table), "neither a low nor a high one is good"
    assert "Not comparable with published scores: they depend on these data" in table and "Inception" not in table
    settings = {"order": 4, "smoothing": "Witten-Bell", "unit": "word", "reals": 300, "texts": 1000}
    assert actual["protocol"]["real_images"] == "part 0" and actual["protocol"]["metrics"]["ngram"] == settings
    few = score(fables, reals, fakes, tmp_path, ngram=NGramScores(texts=50))
    assert few["protocol"]["metrics"]["ngram"]["reals"] == 50 and few["scores"] != actual["scores"]


def test_grammar_is_scored_on_the_embedded_sentences_alone(tmp_path):
    (path := tmp_path / "own.txt").write_text("\n".join(f"line {a} {b}" for a in "abcdefgh" for b in "abcdefgh"))
    data = Text(str(path), length=5).drawn()
    actual = score(data, Decoded(data), Decoded(data), tmp_path)
    assert "grammatical" not in actual["scores"]
    assert actual["protocol"]["refused"]["grammatical"] == "it scores other data, fables"


def test_bleu_of_characters_compares_the_words_they_spell(tmp_path):
    (path := tmp_path / "own.txt").write_text("\n".join(f"the {a} of {b} is" for a in "abcdefgh" for b in "abcdefgh"))
    of_words, of_characters = (Text(str(path), unit, 20).drawn() for unit in ("word", "character"))
    actual = [score(data, Decoded(data), Decoded(data), tmp_path, b=SelfBLEU()) for data in (of_words, of_characters)]
    assert actual[0]["scores"] == pytest.approx(actual[1]["scores"])


def test_a_classifier_refuses_text_and_text_scores_refuse_images(fables, tmp_path):
    with pytest.raises(UserError, match="these data are text: choose evaluation=text"):
        Evaluator(Classifier(), {"b": SelfBLEU()}).prepare(parts(fables)[0], CPU, tmp_path, fables)
    images = TensorSet(noise_images(60))
    with pytest.raises(UserError, match="none of them can be computed"):
        Evaluator(NoFeatures(), {"b": SelfBLEU()}).prepare(images, CPU, tmp_path)


@pytest.mark.parametrize("make", [NGramScores, SelfBLEU, Grammatical])
def test_the_states_of_two_ranks_add_up(make, fables, tmp_path):
    reals, fakes, _ = parts(fables)
    reference = RealFeatures(reals, NoFeatures(), tmp_path)
    alone, *ranks = metrics = [make(texts=250) for _ in range(3)]
    for metric in metrics:
        metric.begin(Comparison(reference, 300, "none", 0, 0, CPU, fables.modality))
    for i, start in enumerate(range(0, 300, 64)):
        rows = range(start, min(start + 64, 300))
        batch = Batch(torch.tensor(rows), fakes.images(rows), torch.zeros(len(rows), 0))
        alone.add(batch), ranks[i % 2].add(batch)
    for total, other in zip(ranks[0].sums, ranks[1].sums, strict=True):
        total += other
    assert ranks[0].scores({}) == alone.scores({})


@pytest.mark.parametrize("key", ["ngram.order", "self_bleu.n"])
def test_sequences_have_at_least_one_unit(key, composed):
    with pytest.raises(UserError, match=f"evaluation.metrics.{key}=0: "):
        check(composed("experiment=text_likelihood", f"evaluation.metrics.{key}=0"))


@pytest.mark.parametrize("metric", [NGramScores, SelfBLEU])
def test_scores_of_text_without_nltk_say_how_to_install_it(metric, monkeypatch):
    monkeypatch.setitem(sys.modules, "nltk", None)
    with pytest.raises(UserError, match=r"evaluation=text: needs nltk: pip install 'sparring\[text\]'"):
        metric()
