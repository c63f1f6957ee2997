"""Runs and weights of others: nothing of them is run, nothing leads out of their folder, nothing of this machine gets into ours."""

import csv
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from conftest import CONF, Malicious
from sparring.compare import page
from sparring.compare.records import find
from sparring.compare.tables import side_by_side
from sparring.config import redaction
from sparring.config.errors import UserError
from sparring.config.messages import explain
from sparring.data.celeba import CelebA
from sparring.data.cifar10 import CIFAR10
from sparring.evaluation.extractors.clip import CLIP
from sparring.evaluation.extractors.inception import Inception
from sparring.evaluation.extractors.torch_fidelity import TorchFidelity
from sparring.evaluation.extractors.vgg16 import VGG16
from sparring.runs import store
from sparring.runs.resume import with_stored_overrides
from sparring.runs.wandb_run import run_id
from sparring.storage import tensor_files
from sparring.training.stored_weights import open_sampler

SMALL = [
    "model=mlp",
    "model.width=8",
    "data.batch_size=16",
    "trainer.accelerator=cpu",
    "evaluation=none",
    "grid.count=4",
]
QUIET = ["logger=none", "trainer.max_steps=2", "kimg=1"]
ENTRY = {"iteration": 1, "kimg": 1.0, "scores": {}, "protocol": {}}
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
    assert tensor_files.read_checkpoint(folder / "checkpoints" / "last.ckpt")["global_step"] == 3


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
        assert tensor_files.read_checkpoint(path)["global_step"] == 3


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
    folder = theirs(
        {"cache": "/theirs", "data._target_": "sparring.data.mnist.MNIST", "data.path": "/theirs/downloads"}
    )
    assert (folder / "wandb" / "latest-run").is_symlink()  # W&B's own stay inside
    config = store.find_run(str(folder), "run", OmegaConf.create({"trust": [], "cache": str(tmp_path)})).config
    assert (config.cache, config.data.path) == (str(tmp_path), str(tmp_path / "downloads"))
    for name in ("../../outside", "a/b", "/etc/passwd"):
        with pytest.raises(UserError, match="not in"):
            store.Run(folder).checkpoint(name)
    (tmp_path / "outside.ckpt").write_bytes((folder / "checkpoints" / "last.ckpt").read_bytes())
    with pytest.raises(UserError, match="not in"):
        store.Run(folder).checkpoint("../../outside")
    (folder / "wandb" / "run_id").write_text("../../x")
    with pytest.raises(UserError, match="not the id of a run"):
        run_id(folder)
    (folder / "samples" / "kimg-9.png").symlink_to(tmp_path / "outside.ckpt")
    with pytest.raises(UserError, match="leads out of the run's folder"):
        store.find_run(str(folder), "run")


def test_data_of_a_stored_run_are_not_fetched_into_a_folder_that_it_names(theirs, run, tmp_path):
    place = tmp_path / "mine"
    place.mkdir()
    folder = theirs({"data": {"_target_": "sparring.data.mnist.MNIST", "path": str(place), "split": "train"}})
    done = asks(run, folder, "resume=theirs", "trainer.max_steps=3")
    assert done.returncode == 1 and "nothing is written outside the cache folder" in done.stderr
    assert not list(place.iterdir())


def pipe(folder: Path) -> Path:
    (folder / "pipe").unlink(missing_ok=True)
    os.mkfifo(folder / "pipe")
    return folder / "pipe"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system without pipes")
@pytest.mark.parametrize(
    "name", ["overrides.yaml", "versions.json", "status.json", "scores.json", "samples/1.png", ".lock"]
)
def test_nothing_is_waited_for_in_a_folder_that_holds_a_pipe(name, theirs):
    folder = theirs()
    pipe(folder).replace(folder / name)
    uses = [lambda: store.find_run(str(folder), "run"), lambda: find(str(folder))]
    for use in [*uses, lambda: with_stored_overrides([f"resume={folder}"], CONF)] if name == "overrides.yaml" else uses:
        with pytest.raises(UserError, match=rf"{name}: is neither a file nor a folder"):
            use()


STORED = {  # what could not have been typed, and what is said of it
    "model": (None, "model=None: must be chosen"),
    "loss._args_": ([1], "holds _args_"),
    "model.generator._partial_": (True, "holds _partial_"),
    "model.generator.width": ("x", "model.generator.width=x: must be a whole number"),
    "model.generator.depth": (10**9, "model.generator.depth=1000000000: must be at most 64"),
    "data.num_classes": (10**9, "data.num_classes=1000000000: must be at most 65536"),
    "data.batch_sizes": (8, "data.batch_sizes: no such key"),
    "trainer.profiler": ("os.system", "trainer.profiler=os.system: must be one of"),
    "evaluation": ({"checkpoint": "../../x"}, "evaluation._target_=None: must name"),
    "seeds": (1, "seeds"),
    "seed": ("x", "seed"),
}


@pytest.mark.parametrize("key", STORED)
def test_a_stored_configuration_is_checked_as_if_it_were_typed(key, theirs):
    value, said = STORED[key]
    folder = theirs({key: value})
    with pytest.raises(UserError, match=rf"(?s)^{folder / 'config.yaml'}: .*{said}"):
        _ = store.Run(folder).config


def test_a_checkpoint_that_holds_something_else_is_refused_by_name(theirs):
    folder = theirs()
    path = folder / "checkpoints" / "last.ckpt"
    good, cfg = tensor_files.read_checkpoint(path), store.Run(folder).config
    weights = good["state_dict"]
    odd = {key: 7 for key in good if key != "epoch"}
    odd |= {"state_dict": dict.fromkeys(weights, "x"), "global_step": -1, "kimg": float("nan")}
    for key, value in odd.items():
        tensor_files.write(good | {key: value}, path)
        with pytest.raises(UserError, match="last.ckpt: not a checkpoint of a run"):
            store.Run(folder).newest()
    for changed, said in (
        ({name: torch.zeros(1) for name in weights}, "is not of this model .*there.*here"),
        (dict(list(weights.items())[1:]), "is not of this model .*absent there"),
        (
            {name: weight * float("nan") if weight.is_floating_point() else weight for name, weight in weights.items()},
            "not finite",
        ),
    ):
        tensor_files.write(good | {"state_dict": changed}, path)
        with pytest.raises(UserError, match=rf"(?s)last\.ckpt: .*{said}"):
            open_sampler(cfg, path)


def test_a_run_goes_on_from_no_checkpoint_of_another_model(theirs, run):
    folder = theirs()
    good = tensor_files.read_checkpoint(path := folder / "checkpoints" / "last.ckpt")
    narrow = {name: weight[..., :1] if weight.ndim else weight for name, weight in good["state_dict"].items()}
    for changed, said in (
        ({"state_dict": narrow}, "size mismatch"),
        ({"optimizer_states": [{"state": {}, "param_groups": []}] * 2}, "parameter groups"),
    ):
        path.unlink()
        tensor_files.write(good | changed, path)
        done = asks(run, folder, "resume=theirs", "trainer.max_steps=3")
        assert (
            done.returncode == 1 and "last.ckpt: is not of this model" in done.stderr and "Traceback" not in done.stderr
        )
        assert re.search(said, done.stderr)


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


def test_a_damaged_record_sets_no_checkpoint_aside(theirs):
    folder = theirs()
    (folder / "versions.json").write_text('{"packages": []}')
    with pytest.raises(UserError, match="versions.json is damaged"):
        store.Run(folder).newest(fallback=True)
    assert not list(folder.rglob("*.damaged"))


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
        assert not redaction.DRIVING.search(told.replace("\n", ""))
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
        *SMALL, *QUIET[1:], "logger=wandb", "logger.name=${oc.env:A_SECRET}", cwd=tmp_path, check=False, A_SECRET=KEY
    )
    for done in (typed, composed):
        assert done.returncode == 1 and "logger.name: holds the value of A_SECRET" in done.stderr
        assert KEY not in done.stdout + done.stderr
    assert not any(KEY in path.read_text() for path in tmp_path.rglob("*.*") if path.is_file())
    monkeypatch.setenv("A_SECRET", KEY)
    said = explain(UserError(f"no answer from https://me:pass@host/{KEY}\x1b[2J"))
    assert said == "no answer from https://host/<A_SECRET>\\x1b[2J"
