"""Check which data an extractor and a metric can score."""

from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from sparring.config.errors import UserError
from sparring.evaluation.extractors.base import Extractor
from sparring.evaluation.extractors.classifier import LABEL_SOURCES, check_labels
from sparring.evaluation.metrics.base import Metric

REMEDIES = {"points": "evaluation=modes", "text": "evaluation=text"}  # for modalities that the classifier does not take


def check_can_score(cfg: DictConfig) -> None:
    """Check that the extractor of ``evaluation`` takes the data, before weights are loaded or downloaded.

    Raises:
        UserError: it does not take this modality, or needs labels that the data lack.
    """
    target = OmegaConf.select(cfg, "evaluation.extractor._target_")
    if target is None:
        return
    extractor = get_object(target)
    if extractor.needs_labels and cfg.data.modality in LABEL_SOURCES:
        check_labels(cfg.data.modality, cfg.data.num_classes)
    check_modality(extractor, cfg.data.modality)


def check_modality(extractor: Extractor | type[Extractor], modality: str) -> None:
    """Raise UserError if an extractor does not take a modality."""
    if extractor.modalities and modality not in extractor.modalities:
        remedy = REMEDIES.get(modality, "evaluation=fast where they have labels")
        raise UserError(
            f"evaluation/extractor={extractor.name}: takes {' and '.join(extractor.modalities)}, and these data are "
            f"{modality}: choose {remedy} (or evaluation=none)"
        )


def refusal(
    metric: Metric, extractor: Extractor, modality: str, data_name: str, image_size: tuple[int, ...], labelled: bool
) -> str | None:
    """Return why a metric can't score these data in the features of this extractor, or None."""
    if (reason := metric.unavailable(image_size)) is not None:
        return reason
    if metric.modalities and modality not in metric.modalities:
        return f"it scores {' and '.join(metric.modalities)}, and these data are {modality}"
    if metric.data_name and metric.data_name != data_name:
        return f"it scores other data, {metric.data_name}"
    if metric.needs_features and not extractor.dims:
        return "evaluation/extractor=none makes no features"
    if metric.needs_logits and not extractor.classes:
        return f"the weights of {extractor.name} have no classifier head"
    return "the classes of fakes and reals are not both known" if metric.needs_labels and not labelled else None
