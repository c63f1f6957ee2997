"""Every file of conf/, found by itself: composed, checked, its networks built, and a shrunken version stepped once."""

import numpy as np
import pytest
import soundfile
import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf
from PIL import Image

from conftest import CONF, example_data, fit
from sparring.config.errors import UserError
from sparring.config.validation import check
from sparring.training import build
from tape import strictly

FILES = sorted(path.relative_to(CONF).with_suffix("") for path in CONF.rglob("*.yaml") if path.parent != CONF)


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Something to read for the data sets that need a path."""
    folder = tmp_path_factory.mktemp("places")
    pixels = np.random.default_rng(0).integers(0, 255, (20, 32, 32, 3), dtype=np.uint8)
    np.savez(folder / "arrays.npz", images=pixels)
    for i, image in enumerate(pixels):
        (folder / "images").mkdir(exist_ok=True)
        Image.fromarray(image).save(folder / "images" / f"{i}.png")
    np.savez(folder / "pairs.npz", a=pixels, b=255 - pixels)
    np.savez(folder / "volumes.npz", images=np.stack([pixels] * 8, 1), labels=np.arange(20) % 2)
    (folder / "clips" / "one").mkdir(parents=True)
    frames = [Image.fromarray(frame) for frame in pixels[:5]]
    frames[0].save(folder / "clips" / "one" / "of.gif", save_all=True, append_images=frames[1:])
    for name in ("zero", "one"):
        (folder / "sounds" / name).mkdir(parents=True)
        soundfile.write(folder / "sounds" / name / "a.wav", np.sin(np.arange(9000) / 9), 16_000)
    vgg = {"0": (64, 3, 3, 3), "2": (64, 64, 3, 3)}
    weights = {f"features.{i}.weight": torch.randn(shape) / 20 for i, shape in vgg.items()}
    torch.save(weights | {f"features.{i}.bias": torch.zeros(64) for i in vgg}, folder / "vgg.pth")
    of_two = dict.fromkeys(("pairs", "unpaired"), folder / "pairs.npz")
    of_two |= {"volumes": folder / "volumes.npz", "clips": folder / "clips", "sounds": folder / "sounds"}
    return of_two | {"image_folder": folder / "images", "arrays": folder / "arrays.npz", "vgg19": folder / "vgg.pth"}


PYRAMIDS = {"stylegan2", "r3gan", "path_length"}  # tried at 32 pixels, their published size
ANSWERING = {  # what goes with models that answer to images, or have no adversary: one of them
    **{f"model/degradation/{name}": "inpainting" for name in ("mask", "noise", "jpeg", "blur", "mixed")},
    "model/degradation/downscale": "superresolution",
    "model/generator/srresnet": "superresolution",
    "model/generator/unet": "inpainting",
    "model/generator/resblocks": "inpainting",
    "model/perceptual/none": "inpainting",
    "model/perceptual/vgg19": "inpainting",
    "model/game/translation": "pix2pix",
    "model/pix2pix": "pix2pix",
    "model/game/cyclegan": "cyclegan",
    "model/cyclegan": "cyclegan",
    "model/game/vae": "vae",
    "loss/none": "vae",
    "model/game/vae_gan": "vae_gan",
}

TEXTS = dict.fromkeys(
    (f"model/{each}" for each in ("text", "game/text", "generator/lstm", "discriminator/text")), "text"
)
TEXTS |= dict.fromkeys(("model/text_likelihood", "model/game/maximum_likelihood"), "text_likelihood")


def overrides_for(file, places) -> list[str]:
    group, name = file.parent.as_posix(), file.name
    chosen = f"{group}=[{name}]" if group == "regularizer" else f"{group}={name}"
    extra = [f"data.path={places[name]}"] if group == "data" and name in places else []
    extra += ["data.kind=clips"] if name == "volumes" else []
    extra += ["evaluation=none"] if name == "clips" else []
    if file.as_posix() in TEXTS:
        return ["data=text", f"model={TEXTS[file.as_posix()]}"]
    if name == "augmentation":
        return ["task=evaluate", chosen]
    if name == "wavegan_sc09":
        return [chosen, f"data.path={places['sounds']}"]
    if name.endswith("_emoji"):
        return [chosen, f"data.path={places['pairs']}"]
    if group == "evaluation/metrics":
        return ["evaluation=inception", f"evaluation/metrics=[{name}]"]
    if name == "spectrum":
        return ["data=audio", chosen]
    if group == "evaluation/extractor":
        return ["evaluation=inception", chosen]
    if (whole := ANSWERING.get(file.as_posix())) is not None:
        kind = {"pix2pix": "pairs", "cyclegan": "unpaired"}.get(whole)
        chosen = [f"model={whole}"] if group in ("model", "model/game") else [f"model={whole}", chosen]
        vgg = ["model.perceptual.layer=conv1_2", f"model.perceptual.weights={places[name]}"] if name == "vgg19" else []
        return [*chosen, *([f"data={kind}", f"data.path={places[kind]}"] if kind else []), *vgg]
    if group == "model/game":
        return [f"{group}@model={name}"]
    if group in ("experiment/testbed", "experiment/speedrun"):
        return [f"experiment={group.partition('/')[2]}/{name}"]
    if name in PYRAMIDS and group != "experiment":
        extra += ["data.image_size=32", "data.batch_size=4", *(["model=stylegan2"] if name == "path_length" else [])]
    if file.as_posix() in ("task/sample", "task/compare", "task/export"):
        extra += ["run=somewhere"]
    if file.as_posix() == "benchmark/testbed":
        extra += ["benchmark.of=somewhere"]
    if name in ("points", "dirac") and group.startswith("model"):
        extra += ["data=dirac" if name == "dirac" else "data=ring"]
    if name == "wavegan" and group.startswith("model"):
        extra += ["data=audio"]
    if name == "volumegan":
        return ["data=moving_digits", *([chosen] if group == "model" else [])]
    return [chosen, *extra]


@pytest.mark.parametrize("file", FILES, ids=str)
def test_it_is_composed_checked_built_and_stepped(file, places, composed, tmp_path):
    cfg = composed(*overrides_for(file, places), "trainer.accelerator=cpu")
    check(cfg)
    build.open_source(cfg)

    with torch.device("meta"):  # at its full size, without its memory
        game = build.build_game(cfg)
    for networks in game.players.values():
        assert parameters(networks) and all(parameter.is_meta for parameter in parameters(networks))

    if cfg.data.image_size > 1:
        cfg.data.image_size = 28 if cfg.data.image_size == 28 else 32
    cfg.data.batch_size, cfg.data.subset, cfg.model.width = 4, None, 8
    cfg.data.held_out = cfg.data.held_out and 2
    train_one_iteration(cfg)


def train_one_iteration(cfg) -> None:
    """Every player's weights move, and stay finite."""
    game = build.build_game(cfg)
    module = build.build_module(cfg, game, example_data(cfg))
    before = {player: [p.detach().clone() for p in parameters(networks)] for player, networks in game.players.items()}
    if not {"InfoGAN", "Mapping"} & {type(part).__name__ for part in game.modules()}:  # one_hot reads labels on a CPU
        strictly(module)
    fit(module, 1, precision=cfg.trainer.precision)
    for player, networks in game.players.items():
        pairs = zip(before[player], parameters(networks), strict=True)
        assert any(not torch.equal(old, new) for old, new in pairs), player
    module.check_finite()


def parameters(networks) -> list[torch.nn.Parameter]:
    return [parameter for network in networks for parameter in network.parameters()]


def stepped(composed, *overrides: str) -> None:
    cfg = composed(*overrides, "model.width=8", "data.batch_size=4")
    check(cfg)
    build.open_source(cfg)
    train_one_iteration(cfg)


def choices(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


OTHERS = {"points", "dirac", "unet", "resblocks", "srresnet", "lstm", "text", "volumegan", "wavegan"}  # of other data
FAMILIES = sorted(set(choices("model/generator")) - OTHERS)
JUDGES = sorted(set(choices("model/discriminator")) - OTHERS)
PAIRS = [(g, "dcgan") for g in FAMILIES] + [("dcgan", d) for d in JUDGES if d != "dcgan"]


@pytest.mark.parametrize("conditional", [False, True])
@pytest.mark.parametrize(("generator", "discriminator"), PAIRS)
def test_any_pair_of_networks_plays(generator, discriminator, conditional, composed):
    pair = f"model/generator={generator}", f"model/discriminator={discriminator}"
    stepped(composed, *pair, f"model.conditional={conditional}", "data.image_size=32")


@pytest.mark.parametrize("discriminator", sorted(set(JUDGES) - {"stylegan2", "r3gan"}))
def test_any_discriminator_trains_with_penalties_packing_several_judges_and_spectral_norm(discriminator, composed):
    options = "regularizer=[gradient_penalty,r1] augment=diffaugment model.conditional=false model.packing=2 "
    options += (
        "model.discriminators=2 model.mix=softmax model.spectral_norm=true model.discriminator.minibatch_stddev=2"
    )
    stepped(composed, f"model/discriminator={discriminator}", "data.image_size=32", *options.split())


@pytest.mark.parametrize("discriminator", ["stylegan2", "r3gan"])
def test_spectral_norm_is_refused_where_it_has_no_meaning(discriminator, composed):
    with pytest.raises(UserError, match="model: spectral_norm: "):
        stepped(composed, f"model/discriminator={discriminator}", "model.spectral_norm=true", "data.image_size=32")


@pytest.mark.parametrize("latent", ["normal", "uniform"])
@pytest.mark.parametrize("game", ["acgan", "infogan"])
@pytest.mark.parametrize("family", FAMILIES)
def test_heads_on_the_features_go_with_any_family(family, game, latent, composed):
    pair = f"model/generator={family}", f"model/discriminator={family}"
    stepped(composed, f"model={game}", *pair, f"model.latent={latent}", "data.image_size=32")


TOGETHER = sorted(set(choices("regularizer")) - {"path_length", "icr", "r1_r2"})  # those two are of others


@pytest.mark.parametrize("regularizers", [[], *[[name] for name in choices("regularizer")], TOGETHER])
@pytest.mark.parametrize("loss", ["nonsaturating", "relativistic"])
def test_any_regularizer_goes_with_losses_of_either_kind(loss, regularizers, composed):
    model = ["model=stylegan2", "data.image_size=32"] if "path_length" in regularizers else ["model=mlp"]
    stepped(composed, f"loss={loss}", f"regularizer=[{','.join(regularizers)}]", *model, "n_dis=2")


@pytest.mark.parametrize("loss", sorted(set(choices("loss")) - {"none"}))
def test_any_loss_goes_with_all_regularizers_and_augmentations(loss, composed):
    stepped(composed, f"loss={loss}", f"regularizer=[{','.join(TOGETHER)}]", "augment=ada", "augment.p=0.5")


def test_every_group_file_is_a_choice_that_the_config_knows(composed):
    known = set(OmegaConf.to_container(composed(), resolve=False))
    groups = {file.parts[0] for file in FILES}
    assert groups - known == {"debug", "experiment", "hydra"}
    assert not HydraConfig.initialized()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data=ring", "augment=diffaugment"], "augment: only images"),
        (["data=ring", "regularizer=[consistency]"], "regularizer.consistency: only images"),
        (["data=ring", "regularizer=[r1]", "regularizer.r1.weight=auto"], "regularizer.r1: weight=auto"),
        (["regularizer=[path_length]"], "regularizer.path_length: .*model/generator=stylegan2"),
        (["data=ring", "model=mlp"], r"makes \(2, 1, 1\), and the data are \(2,\): .*model=points"),
        (["data=ring", "model=dcgan"], "points: model=points"),
        (["model=vae", "loss=hinge"], "loss: this model, sparring.games.vae.VAE, has no use for it"),
        (["loss=none"], "loss=none: this model, .*, needs one"),
        (["model=vae", "regularizer=[r1]"], "regularizer.r1: it joins the turn of a discriminator"),
        (["model=pix2pix"], "data=pairs"),
        (["model=inpainting", "regularizer=[mode_seeking]"], "regularizer.mode_seeking: it moves latents"),
        (["model=inpainting", "data.held_out=0"], "data.held_out=0: "),
        (["model=inpainting", "augment=diffaugment"], "augment: D sees an image and its input"),
        (["model=vae", "reuse_fakes=true"], "reuse_fakes=true: is for a generator"),
        (["model=text"], "it writes text, and these data are images: data=text"),
        (["data=text", "model=dcgan", "data.held_out=2"], "points: model=points, text: model=text"),
        (["data=text", "model=points", "data.held_out=2"], r"and the data are \(16,\): .*text for data=text"),
        (["data=text", "model=text", "data.held_out=2", "augment=diffaugment"], "augment: only images"),
        (["model.packing=2"], "model: packing=2: .*conditional=false"),
    ],
)
def test_what_can_not_go_together_is_refused_before_training(overrides, message, composed):
    with pytest.raises(UserError, match=message):
        stepped(composed, *overrides)


def test_a_recipes_penalty_or_augmentation_can_be_left_out(composed):
    from sparring.runs.resume import forget_unchosen

    overrides = ["experiment=r3gan_cifar10", "regularizer=[]", "augment=none"]
    cfg = forget_unchosen(composed(*overrides), overrides)
    check(cfg)
    assert cfg.regularizer == {} and cfg.augment == {}
    overrides = ["experiment=testbed/dirac", "regularizer=[r2]"]
    assert list(forget_unchosen(composed(*overrides), overrides).regularizer) == ["r2"]
