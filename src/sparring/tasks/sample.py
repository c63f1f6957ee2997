"""task=sample: python run.py task=sample run=outputs/... sample.kind=directions (or input=DIR)."""

from pathlib import Path

from hydra.utils import get_object
from omegaconf import DictConfig

from sparring.config import memory
from sparring.config.errors import UserError
from sparring.data import cache
from sparring.runs import store
from sparring.sampling import sample_kinds
from sparring.sampling.translate_files import translate_files
from sparring.training.build import open_source
from sparring.training.stored_weights import open_sampler


def sample(cfg: DictConfig, folder: Path) -> None:
    """Draw what a run's generator makes: samples, translated images, or walks in its latents (``sample.kind``)."""
    settings, input_path = cfg.sample, cfg.input and Path(cfg.input).expanduser()
    run = store.find_run(cfg.run, "run", cfg)
    checkpoint, cfg = run.checkpoint(settings.checkpoint), run.config
    memory.check_samples(settings, cfg.data)
    game = get_object(cfg.model._target_)
    sample_kinds.check(game, settings.kind, input_path)

    needs_data = not input_path and (game.translates or settings.kind == "projection")
    data = cache.load(open_source(cfg), cfg.cache) if needs_data else None
    sampler = open_sampler(cfg, checkpoint, settings.ema, settings.seed, data=data, back=settings.back)
    if settings.temperature is not None:
        if not hasattr(sampler.producer, "temperature"):
            raise UserError(
                f"sample.temperature={settings.temperature}: is for text; this model is {cfg.model._target_}"
            )
        sampler.producer.temperature = settings.temperature

    name = "answers" if input_path and game.translates else f"seed{settings.seed}"
    if settings.back:
        name += "-back"
    if settings.kind != "samples":
        name += f"-{settings.kind}"
    out = Path(settings.folder or folder / "samples" / f"{checkpoint.stem}-{name}").expanduser()
    drawing = sample_kinds.Drawing(sampler, settings, cfg.data, out, data, input_path)
    if not game.translates:
        sample_kinds.KINDS[settings.kind](drawing)
    elif not input_path:
        drawing.translations()
    else:
        channels = cfg.data.channels if settings.back else cfg.data.get("input_channels", cfg.data.channels)
        count = translate_files(sampler, input_path, channels, out)
        print(f"{count} images in {out / 'images'}, each next to its input in {out / 'compared'}")
