"""task=sample"""

from pathlib import Path

from hydra.utils import get_object
from omegaconf import DictConfig

from sparring.config import memory
from sparring.config.errors import UserError
from sparring.data import cache
from sparring.runs import store
from sparring.sampling import draw
from sparring.sampling.translate_files import translate_files
from sparring.training.build import open_sampler, open_source


def sample(cfg: DictConfig, folder: Path) -> None:
    """Draw a run's generator: samples and a walk between them; its answers to images; or what its latents mean (``sample.kind``)."""
    run, wanted = store.find_run(cfg.run, "run", cfg), cfg.sample
    path, given, cfg = run.checkpoint(wanted.checkpoint), cfg.input and Path(cfg.input).expanduser(), run.config
    memory.check_samples(wanted, cfg.data)
    game, kind = get_object(cfg.model._target_), wanted.kind
    draw.check(game, kind, given)
    needs_data = (game.translates or kind == "projection") and not given
    data = cache.load(open_source(cfg), cfg.cache) if needs_data else None
    sampler = open_sampler(cfg, path, wanted.ema, wanted.seed, data=data, back=wanted.back)
    if wanted.temperature is not None:
        if not hasattr(sampler.producer, "temperature"):
            raise UserError(f"sample.temperature={wanted.temperature}: is for text; this model is {cfg.model._target_}")
        sampler.producer.temperature = wanted.temperature
    name = "answers" if given and game.translates else f"seed{wanted.seed}"
    name += "-back" * wanted.back + f"-{kind}" * (kind != "samples")
    out = Path(wanted.folder or folder / "samples" / f"{path.stem}-{name}").expanduser()
    if given and game.translates:
        channels = cfg.data.channels if wanted.back else cfg.data.get("input_channels", cfg.data.channels)
        answered = translate_files(sampler, given, channels, out)
        print(f"{answered} images in {out / 'images'}, each beside what it was made of in {out / 'compared'}")
    elif game.translates:
        draw.draw_answers(sampler, wanted, out)
    else:
        classes = cfg.data.num_classes if sampler.game.conditional else 0
        of = draw.targets(sampler, cfg.data, data, given, wanted.rows) if kind == "projection" else ()
        draw.KINDS[kind](sampler, classes, wanted, out, *of)
