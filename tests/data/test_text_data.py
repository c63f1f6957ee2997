"""Text cut into examples: nothing twice, nothing across, every unit known; the embedded sentences; what is refused."""

import pytest
import torch

from sparring import trust
from sparring.data import cache
from sparring.data.fables import GRAMMAR, is_sentence, sentences
from sparring.data.text import Text
from sparring.errors import UserError
from sparring.modalities import of

POEM = "The sea, the sea!\n\n  It is   blue;\nit is the sea.\nThe sea, the sea!\n"


@pytest.fixture
def written(tmp_path):
    def write(text: str | bytes, name: str = "own.txt") -> str:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return str(path)

    return write


def texts(source: Text) -> list[str]:
    data = source.drawn()
    return data.modality.texts(data.columns["images"])


@pytest.mark.parametrize("unit", ["character", "word"])
def test_lines_that_are_short_enough_are_examples_once_each(unit, written):
    path = written(POEM)
    lines = ["The sea, the sea!", "It is blue;", "it is the sea."]
    assert texts(Text(path, unit, 18)) == lines
    assert texts(Text(path, unit, 14 if unit == "character" else 5)) == lines[1:]
    assert Text(path, unit, 18).drawn().columns["images"].shape == (3, 18)


@pytest.mark.parametrize(("unit", "length"), [("character", 7), ("word", 3)])
def test_windows_follow_each_other_from_beginnings_of_words_on(unit, length, written):
    whole = "The sea, the sea!\nIt is blue;\nit is the sea.\nThe sea, the sea!"
    found = texts(Text(written(POEM), unit, length, lines=False))
    place = 0
    for text in found:  # each after the one before, and nothing of a word before it
        place = whole.index(text, place)
        assert place == 0 or unit == "word" or whole[place - 1].isspace()
        assert not text[0].isspace() or unit == "word"
        place += len(text)
    if unit == "character":
        assert found == ["The sea", "the sea", "It is b", "it is t", "sea.\nTh", "sea, th"]


def test_words_are_what_people_call_so_and_marks_stand_alone(written):
    source = Text(written("Don't go-\nl'été's well-known end…\n"), length=9)
    assert sorted(source.vocabulary.split(" ")) == sorted(
        ["<unk>", "\n", "Don't", "go", "-", "l'été's", "well-known", "end", "…"]
    )


def test_rare_and_foreign_units_are_one_unknown(written):
    path = written("a a a b b\nc a b d\n")
    source = Text(path, length=8, vocabulary_size=3)
    assert source.vocabulary == "<unk> \n a b" and texts(source) == ["a a a b b", "<unk> a b <unk>"]
    stored = Text(written("b e a\na a\n", "other.txt"), length=8, vocabulary=source.vocabulary)
    assert stored.facts["vocabulary"] == source.vocabulary and texts(stored) == ["b <unk> a", "a a"]
    assert texts(Text(path, "character", 10, vocabulary="\N{REPLACEMENT CHARACTER}a \n")) == ["a a a � �", "� a � �"]


@pytest.mark.parametrize("unit", ["character", "word"])
def test_a_configuration_with_any_vocabulary_is_stored_and_read(unit, written):
    path = written("costs ${HOME} or ${oc.env:X} 3$ {}\n~ \\ \" ' # : - \t\x00 \x07\n\U0001f600 \u2028 é\n")
    source = Text(path, unit, 40)
    facts = source.facts | {"unit": unit, "lines": True}
    trust.check({"data": facts})
    from omegaconf import OmegaConf

    again = OmegaConf.to_container(OmegaConf.create(OmegaConf.to_yaml(OmegaConf.create({"data": facts}))))["data"]
    assert of(again).texts(source.drawn().columns["images"]) == texts(source)
    assert texts(source)[0] == "costs ${HOME} or ${oc.env:X} 3$ {}" or unit == "word"


def test_networks_see_one_hot_codes_of_which_the_places_come_back(written):
    data = cache.load(Text(written(POEM), "character", 18), "nowhere")
    tokens = data.columns["images"]
    seen = data.modality.scaled(tokens)
    assert seen.shape == (3, 18, len(data.modality.symbols)) and torch.equal(seen.sum(2), torch.ones(3, 18))
    assert torch.equal(data.modality.stored(seen), tokens) and data.modality.stored(seen).dtype == tokens.dtype
    many = Text(written(" ".join(f"w{i}" for i in range(300)) + "\nw1\n", "many.txt"), length=300)
    assert many.drawn().columns["images"].dtype == torch.int16


def test_a_line_counts_up_to_and_with_its_end(written):
    data = Text(written("a b\na b c d\n"), length=4).drawn()
    assert data.modality.counting(data.columns["images"]).sum(1).tolist() == [3, 4]
    assert data.modality.units(data.columns["images"]) == [["a", "b", "\n"], ["a", "b", "c", "d"]]
    whole = of({"modality": "text", "vocabulary": "<unk> \n a b c d", "unit": "word", "lines": False})
    assert whole.counting(data.columns["images"]).all()


def test_a_person_reads_samples_as_a_file_and_as_a_picture(written, tmp_path):
    data = Text(written(POEM), "word", 9, lines=False).drawn()
    shown = data.modality.write(data.columns["images"], tmp_path / "out")
    assert shown.read_text("utf-8").splitlines() == ["The sea, the sea!⏎It is", "blue;⏎it is the sea.⏎"]
    picture = data.modality.picture(data.columns["images"], 8)
    assert picture.shape[0] == 3 and picture.dtype == torch.uint8
    rows = (picture < 128).any(0).any(1)
    assert rows.any() and rows[:20].any() and rows[22:].any(), "two lines of letters"


def test_all_text_files_below_a_folder_are_read(written, tmp_path):
    written("one two\n", "book/a.txt"), written("three four\n", "book/b.txt"), written("five\n", "book/c.md")
    assert texts(Text(str(tmp_path / "book"), length=4)) == ["one two", "three four"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"caf\xe9 au lait\n", r"own.txt: is no text of UTF-8 \(byte 3: .*iconv"),
        (b"\xff\xfea\x00b\x00", "is no text of UTF-8"),
        ("", "there is no text in it"),
        ("\n \t\x00\n", "there is no text in it"),
        ("only one line\n", "too short a text: 3 words, of which data.length=16 data.lines=true makes 1 examples"),
        (" ".join(["long"] * 40), "makes 0 examples"),
        (None, "no such file or folder; null for the embedded text"),
    ],
)
def test_what_is_no_text_is_refused_by_name(content, message, written, tmp_path):
    path = str(tmp_path / "absent.txt") if content is None else written(content)
    with pytest.raises(UserError, match=f"(?s)data.path=.*{message}"):
        Text(path).drawn()


def test_a_folder_without_text_is_refused(tmp_path):
    with pytest.raises(UserError, match="no .txt in it or below it"):
        Text(str(tmp_path)).drawn()


def test_the_embedded_sentences_differ_and_are_of_their_grammar():
    found = sentences(500)
    assert len(set(found)) == 500 and found == sentences(500) and all(map(is_sentence, found))
    data = Text().drawn()
    assert len(data) > 5000 and len(data.columns["images"].unique(dim=0)) == len(data)


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("the fox who sleeps sings .", True),
        ("the fox who sleep sings .", False),
        ("the foxes in the forest sing .", True),
        ("the foxes in the forest sings .", False),
        ("the fox sings", False),
        ("the fox sings . the fox sings .", False),
        ("", False),
    ],
)
def test_a_sentence_is_told_from_what_only_looks_like_one(text, right):
    assert is_sentence(text) is right


def test_no_part_of_the_grammar_contains_itself():
    def parts(part: str, above: tuple = ()) -> None:
        assert part not in above
        for word in {w for each in GRAMMAR.get(part, []) for w in each.split()}:
            parts(word, (*above, part))

    parts("SENTENCE")
