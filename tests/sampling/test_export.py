"""An exported generator makes the images of its run."""

import json
import shutil
import subprocess
import sys
from functools import cache
from importlib.metadata import version

import numpy as np
import pytest
import safetensors.torch
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torchvision.transforms.functional import pil_to_tensor

import sparring
from conftest import CONF, fit
from sparring.config import validation
from sparring.config.errors import UserError
from sparring.data import cache as data
from sparring.runs import store
from sparring.sampling import export
from sparring.tasks import sample
from sparring.training.build import build_game, build_module, open_source
from sparring.training.stored_weights import open_sampler

SMALL = ["data.batch_size=16", "logger=none", "evaluation=none", "trainer.accelerator=cpu", "data.device_memory_gb=0"]
IMAGES = ["data.image_size=8", "model.width=8"]
RUNS = {
    "dcgan": [*IMAGES, "model.conditional=false"],
    "conditional": [*IMAGES, "model.conditional=true"],
    "mlp": [*IMAGES, "model=mlp", "model.latent=uniform", "loss=hinge"],
    "points": ["data=ring", "model.width=16"],
    "codes": [*IMAGES, "model=infogan"],
    "vae": [*IMAGES, "model=vae", "model.latent_dim=8"],
    "stylegan2": [*IMAGES, "model=stylegan2", "model.latent_dim=16"],
    "inpainting": [*IMAGES, "model=inpainting", "model.discriminator.layers=1"],
    "enlarging": [*IMAGES, "model=superresolution", "model.scale=2", "model.generator.blocks=1"],
}


def composed(*overrides):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", overrides=list(overrides))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """``trained("dcgan")`` returns the folder of a run of a few iterations."""

    @cache
    def train(name: str):
        folder, overrides = tmp_path_factory.mktemp(name), SMALL + RUNS[name]
        cfg = composed(*overrides)
        source = open_source(cfg)
        module = build_module(cfg, build_game(cfg), data.load(source, cfg.cache))
        store.begin_run(folder, cfg, overrides)
        fit(module, 4).save_checkpoint(folder / "checkpoints" / "last.ckpt")
        return folder

    return train


@pytest.fixture(scope="module")
def exported(trained):
    """``exported("dcgan", "export.ema=false")`` returns the file that ``task=export`` writes of a run."""
    return cache(lambda name, *options: exported_from(trained(name), *options))


def exported_from(folder, *options):
    cfg = composed("task=export", f"run={folder}", *options)
    validation.check(cfg)
    return export.export_run(store.find_run(cfg.run, "run"), cfg.export)[0]


def sampled(folder, out, *options) -> torch.Tensor:
    """The samples that ``task=sample`` writes of a run, as one tensor."""
    cfg = composed("task=sample", f"run={folder}", f"sample.folder={out}", "sample.frames=0", *options)
    sample.sample(cfg, folder)
    if (out / "points.npy").exists():
        return torch.from_numpy(np.load(out / "points.npy"))
    return torch.stack([pil_to_tensor(Image.open(path)) for path in sorted((out / "images").iterdir())])


def apart(a: torch.Tensor, b: torch.Tensor) -> float:
    return (a.float() - b.float()).abs().max().item()


@pytest.mark.parametrize("name", ["dcgan", "conditional", "codes", "vae", "mlp", "points", "stylegan2"])
def test_an_exported_generator_makes_the_images_of_the_run_bit_for_bit(trained, exported, tmp_path, name):
    folder, path, seed = trained(name), exported(name), 3 if name in ("mlp", "points", "stylegan2") else 0
    assert path == folder / "export" / "generator.safetensors"
    images = sampled(folder, tmp_path, "sample.count=105", f"sample.seed={seed}")
    torch.manual_seed(5)
    before = torch.get_rng_state()
    generator = sparring.load(path)
    made = generator.sample(105, seed=seed)
    assert torch.equal(before, torch.get_rng_state()), "loading and sampling leave the user's random numbers alone"
    assert made.dtype == images.dtype and torch.equal(made, images)
    assert len(made.unique(dim=0)) > 95, "they differ, so the comparison can fail"
    assert not torch.equal(generator.sample(105, seed=seed + 1), images)


@pytest.mark.parametrize("name", ["dcgan", "conditional", "points", pytest.param("stylegan2", marks=pytest.mark.slow)])
def test_a_program_makes_the_same_images_with_pytorch_alone_for_any_batch(trained, exported, name):
    folder, path = trained(name), exported(name, "export.format=torch_export")
    assert path == folder / "export" / "generator.pt2"
    weights, program = sparring.load(exported(name)), sparring.load(path)
    alone = torch.export.load(path).module()
    for count in (1, 7, 64):
        latents = weights.latents(count)
        labels = [torch.arange(count) % 10] if weights.facts["latents"]["conditional"] else []
        wanted = weights(latents.requires_grad_(), *labels)
        assert name in ("points", "stylegan2") or wanted.abs().max() <= 1
        wanted.sum().backward()
        assert wanted.dtype == torch.float32 and latents.grad.abs().sum() > 0, "gradients reach the latents"
        assert apart(alone(latents, *labels), wanted) <= 1e-5 and apart(program(latents, *labels), wanted) <= 1e-5
        assert sparring.load(path, "meta")(latents, *labels).device.type == "meta", "it moves to another device"
    assert apart(program.sample(9, seed=2), weights.sample(9, seed=2)) <= (1e-5 if name == "points" else 1)


def test_labels_cycle_through_the_given_classes_and_others_are_refused(trained, exported, tmp_path):
    folder, generator = trained("conditional"), sparring.load(exported("conditional"))
    images = sampled(folder, tmp_path / "0", "sample.count=5", "sample.classes=[3,7]")
    assert torch.equal(generator.sample(5, labels=[3, 7]), images)
    other = sampled(folder, tmp_path / "1", "sample.count=5", "sample.classes=[3,7]", "sample.seed=1")
    assert apart(generator.sample(5, seed=1, labels=[3, 7]), other) <= 2, "batch norm's statistics are those of seed 0"
    assert torch.equal(generator.sample(5, labels=torch.tensor([3, 7, 3, 7, 3])), images)
    for labels in ([10], [-1], [], [0.5], [[1]]):
        with pytest.raises(UserError, match="0 to 9"):
            generator.sample(5, labels=labels)
    plain = sparring.load(exported("dcgan"))
    for said, wrong in (
        (r"labels \(batch,\) are needed", lambda: generator(generator.latents(2))),
        ("unconditional", lambda: plain.sample(5, labels=[1])),
        ("unconditional", lambda: plain(plain.latents(2), torch.arange(2))),
        ("count=0", lambda: plain.sample(0)),
    ):
        with pytest.raises(UserError, match=said):
            wrong()


@pytest.mark.parametrize("format", ["safetensors", "torch_export"])
def test_an_exported_inpainting_model_fills_in_as_the_run_does(trained, exported, tmp_path, format):
    folder, draw = trained("inpainting"), np.random.default_rng(0)
    given = draw.integers(0, 256, (3, 8, 8, 2), dtype=np.uint8)
    given[..., 1] = np.where(given[..., 1] < 128, 0, 255)  # some pixels are transparent
    (tmp_path / "in").mkdir()
    for i, pixels in enumerate(given):
        Image.fromarray(pixels).save(tmp_path / "in" / f"{i}.png")
    wanted = sampled(folder, tmp_path / "out", f"input={tmp_path / 'in'}")
    generator = sparring.load(exported("inpainting", f"export.format={format}"))
    lost = torch.from_numpy(given[:, None, :, :, 1] == 0)
    images = torch.from_numpy(given[:, None, :, :, 0]).masked_fill(lost, 255)  # transparent is white in the file
    made = torch.cat([generator.answer(images[i : i + 1], lost[i : i + 1]) for i in range(3)])
    assert apart(made, wanted) <= (0 if format == "safetensors" else 1)
    assert torch.equal(made[~lost], images[~lost]) and not torch.equal(made[lost], images[lost])
    assert apart(generator.answer(images, lost), wanted) <= 1
    larger = torch.zeros(1, 1, 24, 20, dtype=torch.uint8)
    wrong = [
        ("lost", (images,)),
        ("uint8", (images.float(), lost)),
        (r"\(batch, 1, h, w\)", (images.repeat(1, 3, 1, 1),)),
    ]
    if format == "safetensors":
        assert generator.answer(larger, larger + 1).shape == larger.shape
    else:
        wrong.append((r"a program answers to those of \[8, 8\]", (larger, larger + 1)))
    for said, given in wrong:
        with pytest.raises(UserError, match=said):
            generator.answer(*given)


def test_batch_norm_has_the_statistics_that_the_runs_images_are_made_with(trained, exported):
    folder, generator = trained("enlarging"), sparring.load(exported("enlarging"))
    cfg, checkpoint = store.Run(folder).config, store.Run(folder).checkpoint()
    sampler = open_sampler(cfg, checkpoint, data=data.load(open_source(cfg), cfg.cache))
    inputs = sampler.inputs(range(8))
    with torch.inference_mode():
        assert torch.equal(generator(inputs), sampler.game.produce(None, inputs, sampler.producer))
    trained_as = torch.load(checkpoint, weights_only=True)["state_dict"]
    means = {k: v for k, v in load_file(folder / "export" / "generator.safetensors").items() if "running_mean" in k}
    assert means and all(torch.equal(mean, trained_as[f"ema.network.{name}"]) for name, mean in means.items())


def test_the_facts_describe_the_generator(exported):
    path = exported("conditional")
    facts = sparring.load(path).facts
    names = [str(digit) for digit in range(10)]
    data = {"image_size": 8, "channels": 1, "num_classes": 10, "class_names": names, "modality": "images"}
    assert facts["data"] == data
    assert facts["latents"] == {"distribution": "normal", "conditional": True} and facts["inputs"] == [[100], []]
    assert facts["config"]["model"]["generator"]["width"] == 8
    said = {"checkpoint": "last.ckpt", "iteration": 4, "kimg": 0.064, "ema": True, "batch_norm": "standing"}
    assert facts["weights"] == said
    assert facts["versions"]["torch"] == version("torch")
    raw = exported("conditional", "export.ema=false", "export.checkpoint=last")
    assert raw.name == "generator-last-raw.safetensors" and sparring.load(raw).facts["weights"]["ema"] is False
    assert not torch.equal(sparring.load(raw).sample(4), sparring.load(path).sample(4))


def changed(path, out, change):
    """A copy of an exported file whose facts were changed."""
    with safe_open(path, "pt") as file:
        facts = json.loads(file.metadata()["sparring"])
    change(facts)
    save_file(load_file(path), out, {"sparring": json.dumps(facts)})
    return out


OTHERS = ["os.mkdir", "sparring.runs.store.subprocess.run", "sparring.networks.mlp.nn.Linear"]
OTHERS += ["sparring.storage.pretrained.torchvision_weights", "sparring.evaluation.extractors.inception.Inception"]


@pytest.mark.parametrize("target", OTHERS)
def test_a_file_that_names_code_other_than_networks_is_refused(exported, tmp_path, target):
    mark = tmp_path / "mark"

    def change(facts):
        facts["config"]["model"]["discriminator"] = {"_target_": target, "path": str(mark)}

    path = changed(exported("dcgan"), tmp_path / "theirs.safetensors", change)
    with pytest.raises(UserError, match=f"discriminator._target_={target}: not a class of"):
        sparring.load(path)
    assert not mark.exists()


def test_a_file_that_cannot_be_used_is_refused_with_the_reason(exported, tmp_path):
    path, out = exported("dcgan"), tmp_path / "theirs.safetensors"

    def refused(said: str, file=out):
        with pytest.raises(UserError, match=said):
            sparring.load(file)

    refused("there is no such file")
    out.write_bytes(path.read_bytes()[:-1000])
    refused("damaged")
    refused("not a safetensors file", path.parents[1] / "checkpoints" / "last.ckpt")
    save_file(load_file(path), out)
    refused("not written by task=export")
    changed(path, out, lambda facts: facts["config"]["model"]["generator"].update(width=9))
    refused("do not fit")
    changed(path, out, lambda facts: facts["config"]["model"]["generator"].update(wings=2))
    refused("can't build its model.*wings")
    changed(path, out, lambda facts: facts["config"]["model"].update(latent="${oc.env:HOME}"))
    refused("oc.env")
    (tmp_path / "theirs.pt2").write_bytes(b"PK")
    refused("can't load it as a program", tmp_path / "theirs.pt2")


def test_what_cannot_be_exported_is_refused_and_nothing_is_written(trained, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    stored = store.Run(trained("dcgan"))
    store.begin_run(folder, stored.config, [])
    shutil.copytree(stored.folder / "checkpoints", folder / "checkpoints")

    def refused(said: str, *options, **changes):
        cfg = stored.config
        for key, value in changes.items():
            OmegaConf.update(cfg, key.replace("__", "."), value)
        OmegaConf.save(cfg, folder / "config.yaml")
        with pytest.raises(UserError, match=said):
            exported_from(folder, *options)
        assert not list(folder.glob("export/*")), "not even a part of it"

    refused("export.format=onnx: must be 'safetensors' or 'torch_export'", "export.format=onnx")
    refused(r"must end in .pt2", "export.format=torch_export", "export.file=generator.safetensors")
    refused("which holds last", "export.checkpoint=best")
    refused("ema.batch_norm=batch", ema__batch_norm="batch")
    refused("_target_=mine.Generator: not a class of", model__generator___target_="mine.Generator")
    with pytest.raises(UserError, match="task=export needs the folder of a run"):
        validation.check(composed("task=export"))

    save = safetensors.torch.save
    monkeypatch.setattr(
        safetensors.torch, "save", lambda weights, facts: save({k: 0.9 * v for k, v in weights.items()}, facts)
    )
    refused("differs from the run's generator by up to")


@pytest.mark.slow
def test_the_command_prints_lines_that_work_outside_the_run(trained, run, tmp_path):
    folder = trained("conditional")
    cwd, work = folder.parent, f"run={folder.name}"
    said = run("task=export", work, "export.format=torch_export", "export.file=digits.pt2", cwd=cwd, cold=True).stdout
    ours, theirs = said.split("Or with nothing but PyTorch")
    assert "latents (batch, 100) and labels (batch,)" in theirs
    given = "import sys, torch; sys.modules['sparring'] = None; latents, labels = torch.randn(6, 100), torch.arange(6)"
    wanted = "(16, 1, 8, 8) torch.uint8", "(6, 1, 8, 8) torch.float32"
    for before, lines, made in zip(("", given), (ours, theirs), wanted, strict=True):
        lines = [line.strip() for line in lines.splitlines() if line.startswith("    ")]
        code = "\n".join([before, *lines, "print(tuple(images.shape), images.dtype)"])
        done = subprocess.run([sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, timeout=120)
        assert done.stdout.strip() == made, done.stderr


def test_importing_the_package_imports_no_torch():
    code = "import sparring, sys; assert callable(sparring.load); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
