"""What is refused, with which words, before anything is built: a test a message."""

import subprocess
import sys

import numpy as np
import pytest

from conftest import CONF, ROOT
from sparring.cli import prepare
from sparring.config.messages import EXPECTED, explain
from sparring.config.overrides import parse, read
from sparring.config.resolvers import folder_name
from sparring.config.validation import check, check_task
from sparring.training import build


@pytest.fixture
def refusal(composed):
    """What a person reads when they type these overrides; fails if nothing is refused."""

    def read(*overrides: str) -> str:
        try:
            cfg = composed(*prepare(list(overrides)))
            check_task(cfg, list(overrides))
            check(cfg)
            build.open_source(cfg)
            build.build_game(cfg)
            build.build_evaluator(cfg)
        except EXPECTED as error:
            return explain(error, CONF)
        raise AssertionError(f"{overrides} was accepted")

    return read


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        # keys
        ("kimgg=3", ["kimgg", "Did you mean 'kimg'?", "n_dis"]),
        ("+kimgg=3", ["kimgg", "Did you mean 'kimg'?"]),
        ("ema.half_life=3", ["ema.half_life", "Did you mean 'half_life_kimg'?", "rampup"]),
        ("+ema.half_life=3", ["ema.half_life", "Did you mean 'half_life_kimg'?"]),
        ("model.widht=3", ["model.widht", "Did you mean 'width'?"]),
        ("+model.generator.widht=3", ["model.generator.widht", "Did you mean 'width'?", "latent_dim"]),
        ("+optimizer.generator.beta=3", ["optimizer.generator.beta", "betas"]),
        ("+optimizer.genrator.lr=3", ["optimizer.genrator", "Did you mean 'generator'?"]),
        ("+data.pth=x", ["data.pth", "no such key"]),
        ("+evaluation.metrics.prdc.neighbors=3", ["prdc.neighbors", "density_k"]),
        ("+regularizer.r1.weight=3", ["regularizer.r1", "not chosen"]),
        # choices
        ("loss=hing", ["loss=hing", "Did you mean 'hinge'?", "nonsaturating"]),
        ("regularizer=[r1,lecamm]", ["regularizer=lecamm", "gradient_penalty", "weight_clipping"]),
        ("model/generator=dcgann", ["model/generator=dcgann", "Did you mean 'dcgan'?", "mlp"]),
        ("experiment=nope", ["experiment=nope", "dcgan_celeba"]),
        ("model.latent=gaussian", ["model.latent=gaussian", "'normal' or 'uniform'"]),
        ("model.discriminator.norm=bach", ["model.discriminator.norm=bach", "'batch'", "'layer'"]),
        ("trainer.precision=16-mixed", ["trainer.precision=16-mixed", "bf16-mixed"]),
        ("trainer.devices=all", ["trainer.devices=all", "must be a whole number, or 'auto'"]),
        ("trainer.devices=0", ["trainer.devices=0", "must be at least 1, or 'auto'"]),
        ("trainer.strategy=fsdp", ["trainer.strategy=fsdp", "ddp"]),
        ("trainer.accelerator=cuda0", ["trainer.accelerator=cuda0", "gpu"]),
        ("ema.batch_norm=none", ["ema.batch_norm=none", "standing"]),
        ("loss=[hinge,wgan]", ["loss=[hinge,wgan]", "loss is a group, of which one"]),
        ("loss=hinge loss=wgan", ["loss=hinge loss=wgan", "chosen twice"]),
        ("experiment=../x", ["experiment=../x", "by name"]),
        ("model/generator=unet", ["model.generator.", "which is missing", "model=NAME"]),
        ("+loss._args_=[1]", ["loss._args_", "loss takes none"]),
        ("hydra.job.env_set.FOO=bar", ["+hydra.job.env_set.FOO=VALUE"]),
        ("optimizer.schedule=5", ["optimizer.schedule=5", "optimizer/schedule=NAME"]),
        # types
        ("sample.classes=99", ["sample.classes=99: must be a list: sample.classes=[99]"]),
        ("trust=mine", ["trust=mine: must be a list: trust=[mine]"]),
        ("data.held_out=1.5", ["data.held_out=1.5: must be a whole number, or 'all'"]),
        ("logger=wandb logger.mode=foo", ["logger.mode=foo: must be 'auto', 'online' or 'offline'"]),
        ("logger=wandb logger.entity=../x", ["logger.entity=../x", "must match ^[A-Za-z0-9]"]),
        ("logger=wandb logger.project=a/b", ["logger.project=a/b", "must match ^[^/"]),
        ("task=compare run=5", ["run=5", "folders of runs"]),
        ("hydra.run.dir=/dev/null", ["hydra.run.dir=/dev/null: must be a folder"]),
        ("task=sample run=x sample.folder=/dev/null/x", ["sample.folder=/dev/null/x: must be a folder, and /dev/null"]),
        ("kimg=abc", ["kimg", "abc", "Float"]),
        ("seed=1.5", ["seed", "1.5", "Integer"]),
        ("model.width=abc", ["width=abc", "whole number"]),
        ("model.conditional=3", ["model.conditional=3", "true or false"]),
        ("optimizer.generator.betas=[0.5]", ["optimizer.generator.betas=[0.5]", "more values are needed"]),
        ("optimizer.generator.lr=fast", ["optimizer.generator.lr=fast", "number"]),
        ("'regularizer=[r1]' regularizer.r1.weight=big", ["regularizer.r1.weight=big", "number"]),
        ("data.batch_size=big", ["data.batch_size=big", "whole number"]),
        # ranges
        ("kimg=0", ["kimg=0", "above 0"]),
        ("n_dis=0", ["n_dis=0", "at least 1"]),
        ("data.batch_size=0", ["data.batch_size=0", "at least 1"]),
        ("evaluation.samples=3", ["evaluation.samples=3", "at least 50"]),
        ("evaluation.every_kimg=-1", ["evaluation.every_kimg=-1", "above 0"]),
        ("'regularizer=[weight_clipping]' regularizer.weight_clipping.limit=0", ["limit=0"]),
        ("'regularizer=[r1]' regularizer.r1.every=0", ["every=0"]),
        ("data.image_size=50", ["model.generator", "image_size=50", "48 or 56"]),
        ("data.channels=2", ["data.channels=2", "must be 1 or 3"]),
        ("data.image_size=-4", ["data.image_size=-4", "must be above 0"]),
        ("data.num_classes=3", ["data.num_classes=3", "of these data it is 10"]),
        ("grid.count=1000000", ["grid.count=1000000", "at most 10000"]),
        ("optimizer.generator.lr=-1", ["optimizer.generator.lr=-1", "at least 0"]),
        # combinations
        ("kimg=null", ["kimg=null", "trainer.max_steps=null"]),
        ("reuse_fakes=true n_dis=2", ["reuse_fakes=true", "n_dis=2"]),
        ("trainer.cuda_graph=true trainer=ddp", ["trainer.cuda_graph=true", "one GPU"]),
        ("accumulate=3", ["accumulate=3", "data.batch_size=32"]),
        ("resume=a init=b", ["resume=", "init="]),
        ("task=sample", ["run=outputs/"]),
        ("evaluation=inception evaluation.weights=nowhere.pth", ["evaluation.weights=nowhere.pth", "No such file"]),
        ("evaluation=inception evaluation.reals=some", ["evaluation.reals=some", "all"]),
        ("evaluation=inception evaluation.seeds=0", ["evaluation.seeds=0", "at least 1"]),
        ("evaluation/metrics=[]", ["evaluation/metrics=[]", "evaluation=none"]),
        ("evaluation.weights=x.pth", ["evaluation.weights=x.pth", "classifier"]),
        ("evaluation/metrics=[fid]", ["evaluation/metrics=fid", "frechet_distance"]),
        ("evaluation/extractor=resnet", ["evaluation/extractor=resnet", "dinov2"]),
        ("data=celeba evaluation=fast", ["evaluation=fast", "have none", "evaluation=none"]),
        ("data=celeba model.conditional=true", ["model.conditional=true", "no labels"]),
        # data
        ("data=image_folder", ["data.path must be given", "data.path=..."]),
        ("data=image_folder data.path=nowhere", ["nowhere", "no such folder"]),
        ("data=arrays data.path=nowhere.npz", ["nowhere.npz", "no such file"]),
        ("data=celeba data.split=half", ["data.split=half", "'train'"]),
        ("data=celeba data.on_bad_image=ignore", ["data.on_bad_image=ignore", "'skip'"]),
    ],
)
def test_it_is_refused_with_the_key_and_what_would_be_right(overrides, said, refusal):
    words = [word.strip("'") for word in overrides.split()]
    message = refusal(*words)
    for part in said:
        assert part in message, message


def test_an_experiment_file_is_held_to_the_same(refusal, tmp_path):
    def experiment(text: str) -> str:
        (tmp_path / "experiment").mkdir(exist_ok=True)
        (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\n" + text)
        return refusal(f"hydra.searchpath=[file://{tmp_path}]", "experiment=mine")

    assert "Did you mean 'n_dis'?" in experiment("ndis: 3\n")
    assert "Did you mean 'max_steps'?" in experiment("trainer: {max_step: 3}\n")
    assert "Did you mean 'width'?" in experiment("model: {generator: {widht: 3}}\n")
    assert "Did you mean 'betas'?" in experiment("optimizer: {discriminator: {beta: [0.5, 0.9]}}\n")
    assert "Did you mean 'generator'?" in experiment("optimizer: {generatr: {lr: 3}}\n")
    assert "Did you mean 'hinge'?" in experiment("defaults:\n  - override /loss: hing\n")
    assert "weight_clipping" in experiment("defaults:\n  - override /regularizer: [r1, lecamm]\n")
    assert "not chosen" in experiment("regularizer: {r1: {weight: 3}}\n")
    assert "whole number" in experiment("model: {width: wide}\n")
    message = experiment("kimg: long\n")
    assert "Float" in message and "kimg" in message and "$VALUE" not in message


def test_an_integer_where_a_float_is_wanted_becomes_one(composed):
    cfg = composed("optimizer.generator.betas=[0,0.99]")
    check(cfg)
    assert cfg.optimizer.generator.betas == [0.0, 0.99]
    assert isinstance(cfg.optimizer.generator.betas[0], float)


def test_the_embedded_labels_are_known_before_the_data_are_loaded(composed):
    cfg = composed("model.conditional=true")
    check(cfg)
    build.open_source(cfg)
    assert cfg.data.num_classes == cfg.model.generator.num_classes == 10


def test_the_shortest_training_is_an_iteration(composed):
    assert build.count_iterations(composed("kimg=1e-30")) == 1


def test_arrays_tell_their_own_shape_and_classes(composed, tmp_path):
    images = np.zeros((30, 32, 32, 3), np.uint8)
    np.savez(tmp_path / "mine.npz", images=images, labels=np.arange(30) % 4)
    cfg = composed("data=arrays", f"data.path={tmp_path}/mine.npz", "model.conditional=true")
    check(cfg)
    build.open_source(cfg)
    assert (cfg.data.image_size, cfg.data.channels, cfg.data.num_classes) == (32, 3, 4)
    assert cfg.model.discriminator.num_classes == 4


@pytest.mark.parametrize(
    "name", ["a=b", "a,b", "a[1]", "a(b)", "o'clock", "a;b#c&d!e~f", "b\\c", "{x}", 'say "x"', "größe=1, [日本]"]
)
def test_paths_of_any_name_arrive_as_they_are_typed(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).mkdir()
    for key in ("data.path", "init", "run", "sample.folder", "+hydra.run.dir"):
        once = read([f"{key}={name}"], CONF).arguments
        assert [override.value() for override in parse(once)] == [name]
        assert read(once, CONF).arguments == once  # as they are stored, and read again


def test_a_path_is_composed_as_it_is_typed(composed):
    path = "/données/größe=1, [日本]"
    assert composed("data=image_folder", *read([f"data.path={path}"], CONF).arguments).data.path == path


@pytest.mark.parametrize(
    "argument",
    [
        "data.path=null",
        "run=[a,b]",
        "data.path=/a b/c",
        "resume='a b'",
        'cache="é"',
        "loss=é",
        "run=outputs/*",
        "data.path=${x}",
    ],
)
def test_what_hydra_reads_stays_as_it_is_typed_and_so_do_other_keys(argument):
    assert read([argument], CONF).arguments == [argument]


def test_each_path_of_a_list_or_a_sweep_is_quoted_for_itself(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert read(["run=[é,b,'ü']"], CONF).arguments == ["run=[\"é\",b,'ü']"]
    assert read(["-m", "data.path=é,b"], CONF).arguments == ["-m", 'data.path="é",b']
    (tmp_path / "é,b").mkdir()
    assert read(["-m", "data.path=é,b"], CONF).arguments == ["-m", 'data.path="é,b"']


def test_names_of_runs_can_be_typed_back():
    name = folder_name(["loss=hinge", "regularizer=[r1,gradient_penalty]", "data.path=/a/b c", "logger=none", "+x=1"])
    assert name == "loss-hinge_regularizer-r1-gradient_penalty_data.path-a-b-c_x-1"


def test_the_configuration_is_shown_without_importing_torch():
    code = (
        "import sys, runpy; sys.argv = ['run.py', '--cfg', 'job']\n"
        "try: runpy.run_path('run.py', run_name='__main__')\n"
        "finally: print([m for m in ('torch', 'pytorch_lightning', 'wandb', 'pydantic', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip().endswith("[]"), done.stdout + done.stderr
    assert "_target_: sparring.networks.dcgan.Generator" in done.stdout


def test_a_refusal_on_the_command_line_is_a_line_without_a_traceback(run, tmp_path):
    done = run("model.width=abc", cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert "width=abc" in done.stderr and "Traceback" not in done.stderr


def test_settings_of_another_task_are_refused(run, tmp_path):
    done = run("sample.count=3", cwd=tmp_path, check=False)
    assert done.returncode == 1 and "sample.count=3: only task=sample" in done.stderr


@pytest.mark.parametrize("key", ["resume", "run"])
def test_a_folder_without_a_run_is_refused_and_not_created(key, run, tmp_path):
    task = ["task=sample"] if key == "run" else []
    done = run(*task, f"{key}=outputs/nothing", cwd=tmp_path, check=False)
    assert done.returncode == 1 and f"{key}=outputs/nothing" in done.stderr and "no run is stored there" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "outputs").exists()


def test_a_group_that_is_chosen_anew_leaves_nothing_of_its_former_choice(tmp_path):
    (tmp_path / "overrides.yaml").write_text('["evaluation.samples=200", "evaluation/metrics=[prdc]", "loss=hinge"]')
    typed = ["task=evaluate", f"run={tmp_path}"]
    assert prepare(typed) == ["evaluation.samples=200", "evaluation/metrics=[prdc]", "loss=hinge", *typed]
    assert prepare([*typed, "evaluation=none"]) == ["loss=hinge", *typed, "evaluation=none"]


def test_reals_may_be_named_as_a_data_set_and_images_are_scored_with_inception_by_default():
    typed = ["task=evaluate", "fake=x", "real=cifar10"]
    assert prepare(typed) == [*typed, "data=cifar10", "real=null", "evaluation=inception"]
    typed = ["task=evaluate", "fake=x", "real=folder", "evaluation=fast"]
    assert prepare(typed) == typed


def test_help_says_what_the_program_does_then_ten_commands_then_every_group(run, tmp_path):
    lines = run("--help", cwd=tmp_path).stdout.splitlines()
    assert lines[0].startswith("Sparring: experiments with generative adversarial networks")
    assert sum(line.startswith("python run.py") for line in lines) == 10
    assert max(map(len, lines)) <= 100
    groups = {path.parent.relative_to(CONF).as_posix() for path in CONF.glob("**/*.yaml") if path.parent != CONF}
    groups = {group for group in groups if not group.startswith(("hydra", "experiment/"))}
    assert groups <= {line.split()[0] for line in lines if line.startswith("  ")}
