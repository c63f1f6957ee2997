"""Text cut into examples: nothing twice, nothing across, every unit known; the embedded sentences; what is refused."""

import logging
import unicodedata

import pytest
import torch

from sparring.config import trusted_code
from sparring.config.errors import UserError
from sparring.data import cache
from sparring.data.modalities.lookup import modality_of
from sparring.data.synthetic_sentences import GRAMMAR, is_sentence, sentences
from sparring.data.text_lines import Text

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


@pytest.mark.parametrize("word", ["été", "नमस्ते", "क्\u200dष", "สวัสดี", "g\u0331ood"])
def test_marks_belong_to_the_words_of_their_letters(word, written):
    for form in ("NFC", "NFD"):
        source = Text(written(f"a {unicodedata.normalize(form, word)}, b\n{word} a b\n"), length=5)
        assert unicodedata.normalize("NFC", word) in source.vocabulary.split(" ")
        assert texts(source)[0] == f"a {unicodedata.normalize('NFC', word)}, b"


def test_lines_that_are_left_out_are_counted_in_the_log(written, caplog):
    path = written("the sea is there\nthe sea is there\nthe sea\nthe sea is there and here\nno sea\n")
    with caplog.at_level(logging.INFO):
        source = Text(path, length=4)
        assert texts(source) == ["the sea is there", "the sea", "no sea"]
    assert [record.getMessage() for record in caplog.records] == [
        "own: 3 lines of at most 4 words (data.length); left out: 1 longer ones, 1 repetitions"
    ]
    caplog.clear()
    with caplog.at_level(logging.INFO):
        texts(Text(path, length=9, vocabulary="<unk> \n the sea is there"))
    assert "own: 14% of its words are not in data.vocabulary" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.INFO):
        texts(Text(written("a b\nc d\n"), length=4))
    assert not caplog.records


@pytest.mark.parametrize(("unit", "length"), [("character", 8), ("word", 3)])
def test_no_window_comes_twice(unit, length, written, caplog):
    with caplog.at_level(logging.INFO):
        found = texts(Text(written("one two three " * 5 + "at last it is over and done"), unit, length, lines=False))
    assert len(found) == len(set(found)) > 2 and "repetitions" in caplog.text
    assert found[0] == ("one two " if unit == "character" else "one two three")


@pytest.mark.parametrize(
    ("unit", "vocabulary", "lacks"),
    [
        ("word", "the sea \n", "'<unk>', which"),
        ("word", "<unk> the sea", r"'\\n', which"),
        ("word", "abc", r"'\\n' and '<unk>'"),
        ("character", "abc\n", "'�', which every one of characters"),
    ],
)
def test_a_vocabulary_without_what_every_text_needs_is_refused(unit, vocabulary, lacks, written):
    with pytest.raises(UserError, match=f"data.vocabulary: lacks {lacks}.*null makes one"):
        Text(written(POEM), unit, vocabulary=vocabulary).facts  # noqa: B018, they are worked out


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
    trusted_code.check({"data": facts})
    from omegaconf import OmegaConf

    again = OmegaConf.to_container(OmegaConf.create(OmegaConf.to_yaml(OmegaConf.create({"data": facts}))))["data"]
    assert modality_of(again).texts(source.drawn().columns["images"]) == texts(source)
    assert texts(source)[0] == "costs ${HOME} or ${oc.env:X} 3$ {}" or unit == "word"


def test_networks_see_one_hot_codes_that_convert_back(written):
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
    whole = modality_of({"modality": "text", "vocabulary": "<unk> \n a b c d", "unit": "word", "lines": False})
    assert whole.counting(data.columns["images"]).all()


def test_a_person_reads_samples_as_a_file_and_as_a_picture(written, tmp_path):
    data = Text(written(POEM), "word", 9, lines=False).drawn()
    shown = data.modality.write(data.columns["images"], tmp_path / "out")
    assert shown.read_text("utf-8").splitlines() == ["The sea, the sea!⏎It is", "blue;⏎it is the sea.⏎"]
    picture = data.modality.picture(data.columns["images"], 8)
    assert picture.shape[0] == 3 and picture.dtype == torch.uint8
    rows = (picture < 128).any(0).any(1)
    assert rows.any() and rows[:20].any() and rows[22:].any(), "two lines of letters"


def test_a_picture_shows_letters_of_other_alphabets_and_line_ends():
    missing = "\U0010fffe"  # no character: of these a font shows its box
    kind = modality_of({"modality": "text", "vocabulary": f"�\nаéλß{missing}", "unit": "character", "lines": False})
    end, *letters, box = (kind.picture(torch.tensor([[place] * 3]), 1) for place in range(1, 7))
    shapes = [picture[0, :, 8:17] for picture in (end, *letters, box)]
    assert len({shape.numpy().tobytes() for shape in shapes}) == 6, "each is a shape of its own, and none the box"
    assert all((shape < 128).any() for shape in shapes)


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
def test_sentences_of_the_grammar_are_recognized(text, right):
    assert is_sentence(text) is right


def test_no_part_of_the_grammar_contains_itself():
    def parts(part: str, above: tuple = ()) -> None:
        assert part not in above
        for word in {w for each in GRAMMAR.get(part, []) for w in each.split()}:
            parts(word, (*above, part))

    parts("SENTENCE")
