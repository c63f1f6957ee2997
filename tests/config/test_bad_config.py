"""Any configuration is refused by name before work starts, or trains.

Every key of many experiments gets odd values, one to three at a time, and goes the way of the real command up to an
iteration of training. A longer search, with other examples each time:

    SPARRING_EXAMPLES=5000 python -m pytest -n 0 tests/test_bad_config.py -k property --hypothesis-show-statistics
"""

import os
import re
import resource
import signal
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict

from conftest import CONF, example_data
from sparring import cli
from sparring.config import memory
from sparring.config.errors import TrainingDiverged, UserError
from sparring.config.messages import EXPECTED, explain
from sparring.config.overrides import key_of
from sparring.config.values import task_of
from sparring.distributed import launch
from sparring.training import build, fit

SMALL = ("trainer.accelerator=cpu", "data.batch_size=4", "model.width=8", "logger=none")
EXPERIMENTS = [
    (),
    ("model=mlp", "loss=hinge", "regularizer=[r1_r2,lecam,top_k,orthogonal]", "augment=ada", "optimizer=rmsprop"),
    ("model=mlp", "loss=wgan", "optimizer=sgd", "optimizer/schedule=cosine", "augment=diffaugment"),
    ("model=resnet", "data.image_size=32", "regularizer=[icr,feature_matching,mode_seeking]", "evaluation=inception"),
    ("model=stylegan2", "data.image_size=32", "regularizer=[path_length]", "loss=relativistic"),
    ("model=r3gan", "data.image_size=32", "regularizer=[zero_centered]", "optimizer/schedule=linear"),
    ("model=biggan", "data.image_size=32"),
    ("model=infogan", "regularizer=[weight_clipping,dragan,consistency]"),
    ("model=acgan",),
    ("model=vae",),
    ("model=vae_gan",),
    ("model=inpainting", "model/degradation=mixed", "evaluation=paired"),
    ("model=superresolution", "data.image_size=32"),
    ("data=ring",),
    ("data=grid", "logger=wandb"),
    ("data=dirac", "model=dirac", "evaluation=none"),
    ("data=stacked_mnist", "model/discriminator=patch", "sweep=optuna"),
    ("data=celeba",),
    ("experiment=stylegan2_ada_cifar10",),
    ("task=evaluate", "fake=nowhere", "real=nowhere"),
    ("task=compare", "run=nowhere"),
    ("task=export", "run=nowhere"),
    ("task=sample", "run=nowhere"),
    ("task=benchmark", "benchmark=training"),
    ("task=benchmark", "benchmark=scaling"),
    ("task=benchmark", "benchmark=data"),
]
ODD = [
    *("null", "''", "' '", "abc", "true", "false", "[]", "[1]", "[a,b]", "[null]", "[nan]", "[[1,2],[3]]", "[0,0,0]"),
    *("{}", "{a:1}", "{_target_:sparring.losses.Hinge}", "{_target_:nowhere.Thing}"),
    *("0", "-1", "1", "2", "3", "7", "0.5", "1.5", "-0.5", "1e-9", "1e-320", "1e11", "100000", "1" + "0" * 30),
    *("nan", "inf", "-inf", "-1e300", "1e300", "1e5x", "9223372036854775808", "-9223372036854775809", "0x10", "1_000"),
    *("${nope}", "${seed}", "${oc.env:NOPE}", "${times:a,100000000000}", "???", "'日本語'", "'a/../../b'", "~nobody/x"),
    *("/dev/null", ".", "/", "hinge", "dcgan", "none", "auto", "all", "x" * 5000, "'\\'", "'a=b,c'"),
]  # fmt: skip


class Hang(BaseException):
    """Which no handler of exceptions takes for one of its own."""


@contextmanager
def bounded(seconds: int, gigabytes: int = 6):
    """No longer, and not with so much more memory than there is now."""

    def hang(*_):
        raise Hang(f"after {seconds} s it was still at work")

    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    handler = signal.signal(signal.SIGALRM, hang)
    resource.setrlimit(resource.RLIMIT_AS, (size + gigabytes * 2**30, before[1]))
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, handler)
        resource.setrlimit(resource.RLIMIT_AS, before)


@cache
def keys_of(experiment: tuple[str, ...]) -> list[str]:
    """All keys of an experiment, those of nodes and of lists' elements included."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("config", overrides=[*SMALL, *experiment])

    def walk(node, path):
        for key in node if isinstance(node, DictConfig) else ():
            yield (name := f"{path}{key}")
            child = node._get_node(key)
            if isinstance(child, DictConfig | ListConfig) and not child._is_none() and not child._is_interpolation():
                yield from walk(child, f"{name}.")

    return list(walk(cfg, ""))


@st.composite
def command_lines(draw):
    experiment = draw(st.sampled_from(EXPERIMENTS))
    keys, value = st.sampled_from(keys_of(experiment)), st.sampled_from(ODD)
    one = st.one_of(
        *[st.builds(lambda key, value: f"{key}={value}", keys, value)] * 8,
        st.builds(
            lambda key, value: f"+{key}={value}", st.sampled_from(["nope", "model.nope", "data.nope.nope"]), value
        ),
        st.builds(lambda key, value: f"++{key}={value}", keys, value),
        st.builds(lambda key: f"~{key}", keys),
        st.sampled_from(sorted(GROUPS)).flatmap(
            lambda group: st.sampled_from(
                [f"{group}={choice}" for choice in [*GROUPS[group], "nope", "[]", "null", "[a,b]"]]
            )
        ),
    )
    arguments = [*SMALL, *experiment, *draw(st.lists(one, min_size=1, max_size=3, unique=True))]
    last = {key_of(a): a for a in arguments}  # a group is chosen but once
    return [a for a in arguments if (key := key_of(a)) not in GROUPS or last[key] is a]


GROUPS = {
    folder.relative_to(CONF).as_posix(): sorted(path.stem for path in folder.glob("*.yaml"))
    for folder in CONF.rglob("*")
    if folder.is_dir() and folder.relative_to(CONF).parts[0] not in ("hydra", "experiment")
}


def attempt(arguments: list[str], folder) -> str:
    """The way of the real command, as far as an iteration; how far it came."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("config", overrides=cli.prepare(arguments), return_hydra_config=True)
        _ = cfg.hydra.run.dir
        with open_dict(cfg):
            del cfg["hydra"]
        cfg = cli.check(cfg, arguments)
    if task_of(cfg) != "train":
        return "checked"
    cfg.trainer.devices = launch.devices_of(cfg, None)
    if cfg.trainer.devices * cfg.trainer.num_nodes > 1 or cfg.trainer.compile:
        return "checked"
    build.check_machine(cfg)
    build.open_source(cfg)
    OmegaConf.to_yaml(cfg, resolve=True)
    game = build.build_game(cfg)
    module = build.build_module(cfg, game, example_data(cfg))
    iterations = build.count_iterations(cfg)
    trainer = fit.build_trainer(cfg, min(iterations, 2), [], [], folder)
    trainer.fit(module)
    module.passed(cfg.checkpoint.every_kimg), module.passed(cfg.grid.every_kimg)
    if "extractors" not in str(cfg.evaluation):  # whose weights are downloads
        build.build_evaluator(cfg)
    return "trained"


def words_of(override: str) -> set[str]:
    """What an error on it may call it: its key, the last part of that, or its value."""
    key, _, value = override.partition("=")
    key = key.lstrip("+~")
    return {
        key,
        key.rpartition(".")[2],
        key.removesuffix("._target_"),
        key.rpartition("/")[2],
        *re.findall(r"[\w.]+", value),
    }


LONG = os.environ.get("SPARRING_EXAMPLES")


@settings(
    max_examples=int(LONG or 20),
    derandomize=LONG is None,
    deadline=None,
    database=None,
    phases=[Phase.generate] if LONG else [Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
@given(arguments=command_lines())
def test_property_any_values_are_refused_by_name_or_trained_with(arguments, somewhere):
    typed_here = [argument for argument in arguments if argument not in SMALL]
    try:
        with bounded(seconds=30), memory.explain_exhaustion():
            event(attempt(arguments, somewhere))
    except TrainingDiverged:  # which only an iteration shows
        event("diverged")
    except EXPECTED as error:
        event("refused")
        message = explain(error, CONF)
        assert any(word in message for override in typed_here for word in words_of(override)), message
        assert len(message) < 3000 and "Traceback" not in message


@pytest.fixture(scope="module")
def somewhere(tmp_path_factory):
    """A folder to work in, with the least that is called a run."""
    folder = tmp_path_factory.mktemp("somewhere")
    (folder / "nowhere").mkdir()
    (folder / "nowhere" / "config.yaml").write_text("{}")
    before = os.getcwd()
    os.chdir(folder)
    yield folder
    os.chdir(before)


def told(*arguments: str) -> str:
    """What is said of a command line that is refused."""
    with bounded(seconds=30), pytest.raises(EXPECTED) as error, memory.explain_exhaustion():
        attempt([*SMALL, *arguments], None)
    return explain(error.value, CONF)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        # no value can be this, whatever the key
        (["optimizer.generator.eps=nan"], "optimizer.generator.eps=nan: must be a finite number"),
        (["kimg=1e300"], "kimg=1e+300: must be at most 1000000000"),
        (["seed=1180591620717411303424"], "must be a whole number of 64 bits"),
        (["cache=''"], "cache='': empty"),
        (["cache=~nobody9/x"], "there is no such home folder"),
        (["model.width={}"], "model.width={}: must be a whole number"),
        (["ema.schedule=3"], "ema.schedule=3: must be a schedule, {_target_:"),
        (["optimizer.schedule=5"], "optimizer/schedule=NAME"),
        (["model._target_=5"], "model._target_=5: must name what model is"),
        (["~data._target_"], "data._target_=None: must name what data is"),
        # what is built is of the kind that belongs there
        (["loss._target_=sparring.losses"], "can't be imported (it is no class or function"),
        (["model.generator._target_=sparring.losses.Hinge"], "sparring.losses.Hinge: must be a Module"),
        (["data.rotation={_target_:sparring.losses.Hinge}"], "sparring.losses.Hinge: must be a number"),
        (["optimizer.schedule._target_=sparring.losses.Hinge"], "losses.Hinge: must be a schedule"),
        (["task._target_=os.system"], "must be a function of sparring.tasks"),
        (["regularizer=[lecam]", "regularizer.lecam.weight=-1"], "weight=-1: must be at least 0"),
        (["model=mlp", "model.discriminator.dropout=1"], "dropout=1: must be below 1"),
        (["optimizer.discriminator.betas=[0.5,1.0]"], "betas=[0.5, 1.0]: must be below 1"),
        (["model=mlp", "model.generator.depth=1000000"], "depth=1000000: must be at most 64"),
        (["ema.rampup=1e39"], "ema.rampup=1e+39: must be 0, or a finite number of single precision"),
        # what no memory holds
        (["data.image_size=100000"], "images of data.image_size=100000 take"),
        (["data.batch_size=1000000", "data.image_size=512"], "data.batch_size=1000000"),
        (["model.width=60000"], "model.width=60000"),
        (["data=ring", "data.count=1000000000"], "data.count=1000000000: the points take"),
        (["model=points", "data=ring", "model.latent_dim=65536", "data.batch_size=1000000"], "latents of a batch take"),
        # what is typed
        (["loss=1.5"], "loss=1.5: loss is a group"),
        (["seed=range(0,1000000000)"], "1,000,000,000 jobs"),
        (["seed=range(0,10,0)"], "the step is not 0"),
        (["evaluation=none", "evaluation.samples=50"], "evaluation.samples: no such key. evaluation holds none"),
        (["optimizer.generator.lr=" + "x" * 5000], "x...x"),
    ],
)  # fmt: skip
def test_the_message_names_the_key_the_value_and_what_is_right(arguments, said):
    assert said in told(*arguments)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"
        ),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
    ],
)
def test_memory_that_is_full_is_told_with_what_to_make_smaller(error):
    with pytest.raises(UserError, match="data.batch_size"), memory.explain_exhaustion():
        raise error


def test_samples_that_no_memory_holds_are_refused_by_name():
    wanted, data = OmegaConf.create([{"count": 1_000_000, "frames": 0}, {"channels": 3, "image_size": 4096}])
    with pytest.raises(UserError, match="sample.count=1000000: images of data.image_size=4096"):
        memory.check_samples(wanted, data)


def test_other_errors_keep_their_traceback():
    with pytest.raises(RuntimeError, match="shapes"), memory.explain_exhaustion():
        raise RuntimeError("shapes do not fit")
