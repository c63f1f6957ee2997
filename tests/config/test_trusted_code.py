"""What a stored run may name and have typed: this project's classes in their places, keys and choices, and nothing else."""

import json
import re

import pytest
from omegaconf import OmegaConf

from conftest import CONF
from sparring.config import trusted_code
from sparring.config.errors import UserError
from sparring.runs import untrusted
from sparring.runs.resume import with_stored_overrides
from sparring.runs.untrusted import GROUPS

NAMED = {  # what a stored configuration may not name, and where
    "loss": [
        "os.mkdir",
        "mine.Mine",
        "sparring.losses.torch.load",
        "sparring.networks.mlp.Generator",
        "losses",
        "",
        None,
        7,
    ],
    "model.generator": [
        "sparring.networks.mlp.nn.Linear",
        "sparring.runs.store.subprocess.run",
        "torch.hub.load",
        "torch.load",
    ],
    "data": [
        "sparring.data.source.ThreadPoolExecutor",
        "sparring.storage.files.shutil.rmtree",
        "sparring.data.array_file.np.load",
    ],
    "optimizer.generator": [
        "torch.optim.optimizer.torch.load",
        "torch.optim.LBFGS",
        "sparring.training.schedules.importlib",
    ],
    "evaluation": [
        "sparring.evaluation.features.pickle.loads",
        "sparring.evaluation",
        "sparring.evaluation.extractors.torch_fidelity.TorchFidelity",
    ],
    "task": ["sparring.tasks.train.partial", "sparring.tasks.train.Path", "sparring.tasks.train._samples", "os.system"],
    "benchmark": [
        "sparring.benchmarks.training.torch.load",
        "sparring.losses.Hinge",
        "sparring.benchmarks.training.subprocess.run",
    ],
    "logger": ["sparring.runs.metrics_file.MetricsFile", "sparring.runs.wandb_run.WandbLogger"],
    "logger.tags": ["sparring.losses.Hinge"],
    "sweep": ["sparring.losses.Hinge"],
    "ema": ["sparring.training.schedules.Cosine"],
}


@pytest.mark.parametrize(("key", "name"), [(key, name) for key, names in NAMED.items() for name in names])
def test_a_stored_configuration_names_nothing_but_the_projects_classes_in_their_places(key, name):
    config = OmegaConf.to_container(OmegaConf.from_dotlist([f"{key}.x=1"]))
    OmegaConf.update(config := OmegaConf.create(config), f"{key}._target_", name)
    with pytest.raises(UserError, match=rf"{key}._target_={name}: not a"):
        trusted_code.check(OmegaConf.to_container(config))


def test_code_is_refused_in_lists_and_without_being_imported(tmp_path, monkeypatch):
    (tmp_path / "touching.py").write_text(f"import pathlib; pathlib.Path({str(tmp_path / 'it ran')!r}).touch()")
    monkeypatch.syspath_prepend(tmp_path)
    for config in (
        {"loss": {"_target_": "touching.Loss"}},
        {"regularizer": {"a": [{"_target_": "touching.Loss"}]}},
        {"data": {"_target_": {"_target_": "touching.Loss"}}},
        {"loss": {"_target_": "${oc.env:HOME}"}},
        {"anything": "${oc.env:HOME}"},
    ):
        with pytest.raises(UserError):
            trusted_code.check(config, trusted=["other", "touch"])
    assert not (tmp_path / "it ran").exists()


def test_what_the_person_trusts_is_that_packages_own_and_not_what_it_imports(tmp_path, monkeypatch):
    (tmp_path / "mypackage").mkdir()
    (tmp_path / "mypackage" / "__init__.py").write_text("from os import mkdir\nclass Mine: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    trusted_code.check({"loss": {"_target_": "mypackage.Mine"}}, ["mypackage"])
    for name in ("mypackage.mkdir", "mypackage2.Mine"):
        with pytest.raises(UserError, match=name):
            trusted_code.check({"loss": {"_target_": name}}, ["mypackage"])


def test_every_class_that_a_choice_names_may_be_stored():
    """What this project writes it reads again."""
    known = 0
    for path in CONF.rglob("*.yaml"):
        group = path.relative_to(CONF).parts[0]
        for name in re.findall(r"^ *_target_: (.*)", path.read_text(), re.MULTILINE) if group in GROUPS else ():
            where = "optimizer" if group == "experiment" else group
            trusted_code.check({where: {"inner": {"_target_": name}}})
            known += 1
    assert known > 100


HARMFUL = [
    *(
        "--config-dir=/tmp",
        "-m",
        "--multirun",
        "hydra.run.dir=/tmp/x",
        "+hydra.searchpath=[file:///tmp]",
        "hydra/launcher=joblib",
    ),
    *(
        "~hydra",
        "loss=../../x",
        "loss=/x",
        "+loss@hydra.x=hinge",
        "regularizer=[r1,../x]",
        "kimg=${oc.env:HOME}",
        "",
        "=",
        "a b=1",
    ),
    *("kimg=${job_folder:/tmp,[],[]}", "kimg=${${a}:b}", "kimg=${ oc.decode:x}", "../x=1", "loss=file://x"),
]


@pytest.mark.parametrize("override", HARMFUL)
def test_what_was_typed_by_others_sets_keys_and_chooses_from_groups_and_does_nothing_else(override, tmp_path):
    (tmp_path / "config.yaml").write_text("seed: 0")
    (tmp_path / "overrides.yaml").write_text(json.dumps(["seed=1", override]))
    with pytest.raises(UserError, match="which a stored run may not"):
        with_stored_overrides([f"resume={tmp_path}"], CONF)


def test_what_is_typed_anew_replaces_what_was_refused(tmp_path):
    (tmp_path / "config.yaml").write_text("seed: 0")
    kept = [
        "seed=1",
        "model/game@model=acgan",
        "kimg=${times:${seed},2}",
        "~augment",
        "+loss.x=[a,../b]",
        "data.path=../x",
    ]
    (tmp_path / "overrides.yaml").write_text(
        json.dumps([*kept, "n_dis=${oc.env:N}", "cache=/elsewhere", "trust=[theirs]"])
    )
    found = with_stored_overrides([f"resume={tmp_path}", "n_dis=2"], CONF)
    assert found == [*kept, f"resume={tmp_path}", "n_dis=2"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a: &a [x]\nb: *a\n", "refers to its own parts"),
        ("[" * 500 + "]" * 500, "nests"),
        ("- 1\n- 2\n", "has keys"),
        ("x: " + "y" * 2**21, "MiB"),
        ("a: [", "can't be read"),
        ("!!python/object/apply:os.mkdir [x]", "can't be read"),
    ],
)
def test_a_configuration_is_plain_and_of_sane_size(content, said, tmp_path):
    (tmp_path / "config.yaml").write_text(content)
    with pytest.raises(UserError, match=said):
        untrusted.config_of(tmp_path)
