"""The code and the overrides that a stored run may hold."""

import json
import re

import pytest
from omegaconf import OmegaConf

from conftest import CONF
from sparring.cli import prepare
from sparring.config import trusted_code
from sparring.config.errors import UserError
from sparring.runs import untrusted
from sparring.runs.untrusted import GROUPS

REFUSED = {  # key: names that may not stand there
    "loss": "os.mkdir mine.Mine sparring.losses.torch.load sparring.networks.mlp.Generator losses",
    "model.generator": "sparring.networks.mlp.nn.Linear sparring.runs.store.subprocess.run torch.hub.load torch.load",
    "data": "sparring.data.source.ThreadPoolExecutor sparring.storage.files.shutil.rmtree sparring.data.cache.load",
    "optimizer.generator": "torch.optim.optimizer.torch.load torch.optim.LBFGS sparring.training.schedules.importlib",
    "evaluation": "sparring.evaluation.features.pickle.loads sparring.evaluation",
    "evaluation.extractor": "sparring.evaluation.extractors.torch_fidelity.TorchFidelity",
    "task": "sparring.tasks.train.partial sparring.tasks.train.Path sparring.tasks.train._samples os.system",
    "benchmark": "sparring.benchmarks.data.sys.exit sparring.benchmarks.training.subprocess.run sparring.losses.Hinge",
    "logger": "sparring.runs.metrics_file.MetricsFile sparring.runs.wandb_run.WandbLogger",
    "logger.tags": "sparring.losses.Hinge",
    "sweep": "sparring.losses.Hinge",
    "ema": "sparring.training.schedules.Cosine",
}
PAIRS = [(key, name) for key, names in REFUSED.items() for name in names.split()]


@pytest.mark.parametrize(("key", "name"), [*PAIRS, ("loss", ""), ("loss", None), ("loss", 7)])
def test_a_stored_configuration_names_only_the_projects_classes_under_their_keys(key, name):
    config = OmegaConf.create()
    OmegaConf.update(config, f"{key}._target_", name)
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


def test_a_trusted_package_may_name_its_own_classes_and_not_what_it_imports(tmp_path, monkeypatch):
    (tmp_path / "mypackage").mkdir()
    (tmp_path / "mypackage" / "__init__.py").write_text("from os import mkdir\nclass Mine: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    trusted_code.check({"loss": {"_target_": "mypackage.Mine"}}, ["mypackage"])
    for name in ("mypackage.mkdir", "mypackage2.Mine"):
        with pytest.raises(UserError, match=name):
            trusted_code.check({"loss": {"_target_": name}}, ["mypackage"])


def test_every_class_that_a_choice_names_may_be_stored():
    count = 0
    for path in CONF.rglob("*.yaml"):
        group = path.relative_to(CONF).parts[0]
        for name in re.findall(r"^ *_target_: (.*)", path.read_text(), re.MULTILINE) if group in GROUPS else ():
            where = "optimizer" if group == "experiment" else group
            trusted_code.check({where: {"inner": {"_target_": name}}})
            count += 1
    assert count > 100


HARMFUL = """--config-dir=/tmp -m --multirun hydra.run.dir=/tmp/x +hydra.searchpath=[file:///tmp] hydra/launcher=joblib
    ~hydra = loss=../../x loss=/x +loss@hydra.x=hinge regularizer=[r1,../x] kimg=${oc.env:HOME}
    kimg=${job_folder:/tmp,[],[]} kimg=${${a}:b} ../x=1 loss=file://x""".split()  # noqa: SIM905


@pytest.mark.parametrize("override", [*HARMFUL, "", "a b=1", "kimg=${ oc.decode:x}"])
def test_stored_overrides_set_keys_and_choose_from_groups_and_do_nothing_else(override, tmp_path):
    (tmp_path / "config.yaml").write_text("seed: 0")
    (tmp_path / "overrides.yaml").write_text(json.dumps(["seed=1", override]))
    with pytest.raises(UserError, match="which a stored run may not"):
        prepare([f"resume={tmp_path}"])


def test_an_override_that_is_typed_again_replaces_the_refused_one(tmp_path):
    (tmp_path / "config.yaml").write_text("seed: 0")
    harmless = "seed=1 model/game@model=acgan kimg=${times:${seed},2} ~augment +loss.x=[a,../b] data.path=../x".split()  # noqa: SIM905
    stored = [*harmless, "n_dis=${oc.env:N}", "cache=/elsewhere", "trust=[theirs]"]
    (tmp_path / "overrides.yaml").write_text(json.dumps(stored))
    assert prepare([f"resume={tmp_path}", "n_dis=2"]) == [*harmless, f"resume={tmp_path}", "n_dis=2"]


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
def test_a_stored_configuration_is_plain_yaml_of_a_few_kib(content, said, tmp_path):
    (tmp_path / "config.yaml").write_text(content)
    with pytest.raises(UserError, match=said):
        untrusted.config_of(tmp_path)
