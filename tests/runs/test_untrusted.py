"""A run's folder from somebody else: it runs no code, reads and writes nothing outside; secrets stay out of runs."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from conftest import Malicious
from sparring.cli import prepare
from sparring.compare.records import find
from sparring.config.errors import UserError
from sparring.config.messages import explain
from sparring.runs import store
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
KEY = "k3y-of-nobody-0123456789"

# Runs first in a process of the real command: records every address outside this machine.
WATCH = """
import os, socket
def watch(name):
    real = getattr(socket.socket, name)
    def noted(self, address, *rest):
        local = str(address[0]).startswith(("127.", "::1", "localhost"))
        if self.family in (socket.AF_INET, socket.AF_INET6) and not local:
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


@pytest.fixture(scope="session")
def trained(run, tmp_path_factory):
    """A run of the real command with W&B offline and secrets in its environment; ``seen`` lists outside addresses."""
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
def foreign(trained, tmp_path):
    """``foreign({"loss._target_": ...}, [override, ...])``: a copy of the run's folder that somebody else changed."""

    def make(changes: dict | None = None, overrides: list | None = None) -> Path:
        shutil.copytree(trained, folder := tmp_path / "foreign", symlinks=True)
        cfg = OmegaConf.load(folder / "config.yaml")
        for key, value in (changes or {}).items():
            OmegaConf.update(cfg, key, value, force_add=True)
        OmegaConf.save(cfg, folder / "config.yaml")
        if overrides is not None:
            typed = json.loads((folder / "overrides.yaml").read_text())
            (folder / "overrides.yaml").write_text(json.dumps([*typed, *overrides]))
        return folder

    return make


def execute(run, folder: Path, *arguments: str, **environment: str):
    """Run a command next to the folder; it may fail."""
    return run(*arguments, cwd=folder.parent, check=False, **environment)


# ---- the commands -----------------------------------------------------------------------------------------------

MARK = """
import pathlib
from sparring.losses import Hinge
pathlib.Path(__file__).with_suffix('.ran').touch()
class Mine(Hinge): pass
"""


@pytest.mark.parametrize(
    "command", ["task=sample run=", "task=evaluate run=", "task=export run=", "task=compare run=", "resume=", "init="]
)
def test_a_strangers_code_is_refused_by_name_before_it_is_imported(command, foreign, run):
    folder = foreign({"loss._target_": "mine.Mine"})
    (folder.parent / "mine.py").write_text(MARK)
    extra = [*SMALL, *QUIET] if command == "init=" else ["evaluation=fast"] if "evaluate" in command else []
    words = [*command.split(), *extra]
    words = [f"{word}foreign" if word in ("run=", "resume=", "init=") else word for word in words]
    done = execute(run, folder, *words, PYTHONPATH=str(folder.parent))
    assert done.returncode == 1 and "loss._target_=mine.Mine: not a class of sparring.losses.*" in done.stderr
    assert "trust=[" in done.stderr and "Traceback" not in done.stderr
    assert not (folder.parent / "mine.ran").exists()


def test_a_person_says_whom_they_trust_and_no_file_says_it_for_them(foreign, run):
    folder = foreign({"loss._target_": "mine.Mine", "trust": ["mine"]}, ["trust=[mine]"])
    (folder.parent / "mine.py").write_text(MARK)
    refused = execute(run, folder, "resume=foreign", "trainer.max_steps=3", PYTHONPATH=str(folder.parent))
    assert refused.returncode == 1 and not (folder.parent / "mine.ran").exists()
    done = execute(run, folder, "resume=foreign", "trainer.max_steps=3", "trust=[mine]", PYTHONPATH=str(folder.parent))
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


def test_a_checkpoint_with_a_payload_is_refused_and_runs_nothing(foreign, run):
    folder = foreign()
    found = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    for path in (folder / "checkpoints").iterdir():
        torch.save(found | {"state_dict": {"weight": Malicious(folder / "it ran")}}, path)
    for command in ("task=sample run=foreign", "task=export run=foreign", "resume=foreign trainer.max_steps=3"):
        done = execute(run, folder, *command.split())
        assert done.returncode == 1 and "holds code" in done.stderr and "Traceback" not in done.stderr
    assert not (folder / "it ran").exists()


# ---- the folder -------------------------------------------------------------------------------------------------


def test_no_path_leads_out_of_the_folder(foreign, tmp_path):
    folder = foreign(
        {"cache": "/foreign", "data._target_": "sparring.data.mnist.MNIST", "data.path": "/foreign/downloads"}
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


def test_data_of_a_stored_run_are_not_fetched_into_a_folder_that_it_names(foreign, run, tmp_path):
    place = tmp_path / "mine"
    place.mkdir()
    folder = foreign({"data": {"_target_": "sparring.data.mnist.MNIST", "path": str(place), "split": "train"}})
    done = execute(run, folder, "resume=foreign", "trainer.max_steps=3")
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
def test_nothing_is_waited_for_in_a_folder_that_holds_a_pipe(name, foreign):
    folder = foreign()
    pipe(folder).replace(folder / name)
    uses = [lambda: store.find_run(str(folder), "run"), lambda: find(str(folder))]
    for use in [*uses, lambda: prepare([f"resume={folder}"])] if name == "overrides.yaml" else uses:
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
    "trainer.profiler": ("os.system", "trainer.profiler=os.system: must be 'simple'"),
    "evaluation": ({"checkpoint": "../../x"}, "evaluation._target_=None: must name"),
    "seeds": (1, "seeds"),
    "seed": ("x", "seed"),
}


@pytest.mark.parametrize("key", STORED)
def test_a_stored_configuration_is_checked_as_if_it_were_typed(key, foreign):
    value, said = STORED[key]
    folder = foreign({key: value})
    with pytest.raises(UserError, match=rf"(?s)^{folder / 'config.yaml'}: .*{said}"):
        _ = store.Run(folder).config


def test_a_checkpoint_that_holds_something_else_is_refused_by_name(foreign):
    folder = foreign()
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


def test_a_run_goes_on_from_no_checkpoint_of_another_model(foreign, run):
    folder = foreign()
    good = tensor_files.read_checkpoint(path := folder / "checkpoints" / "last.ckpt")
    narrow = {name: weight[..., :1] if weight.ndim else weight for name, weight in good["state_dict"].items()}
    for changed, said in (
        ({"state_dict": narrow}, "size mismatch"),
        ({"optimizer_states": [{"state": {}, "param_groups": []}] * 2}, "parameter groups"),
    ):
        path.unlink()
        tensor_files.write(good | changed, path)
        done = execute(run, folder, "resume=foreign", "trainer.max_steps=3")
        assert (
            done.returncode == 1 and "last.ckpt: is not of this model" in done.stderr and "Traceback" not in done.stderr
        )
        assert re.search(said, done.stderr)


def test_a_damaged_record_sets_no_checkpoint_aside(foreign):
    folder = foreign()
    (folder / "versions.json").write_text('{"packages": []}')
    with pytest.raises(UserError, match="versions.json is damaged"):
        store.Run(folder).newest(fallback=True)
    assert not list(folder.rglob("*.damaged"))


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
