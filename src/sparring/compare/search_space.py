"""What a search (``sweep=optuna``) varies: Hydra's ranges as Optuna's distributions; and the score it goes by."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep

from sparring.config.errors import UserError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


def distribution(override: Override) -> "BaseDistribution":
    """Return ``interval(a, b)``, ``int(interval(a, b))``, ``range(a, b, step)`` or ``choice(...)`` as Optuna has them.

    ``tag(log, ...)`` makes equal steps of the logarithm.

    Raises:
        UserError: the range is empty.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    value = override.value()
    try:
        if isinstance(value, IntervalSweep):
            kind: Any = IntDistribution if type(value.start) is type(value.end) is int else FloatDistribution
            return kind(value.start, value.end, log="log" in value.tags)
        if isinstance(value, RangeSweep):
            numbers = [yaml.safe_load(text) for text in override.sweep_string_iterator()]
            kind = IntDistribution if all(isinstance(n, int) for n in (*numbers, value.step)) else FloatDistribution
            options = {"log": True} if "log" in value.tags else {"step": abs(value.step)}
            return kind(min(numbers), max(numbers), **options)
        return CategoricalDistribution(list(override.sweep_string_iterator()))
    except (ValueError, TypeError) as error:
        raise UserError(f"{override.input_line}: {error}") from error


def as_typed(value: Any) -> str:
    """Return a value as it is typed in an override."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def score_of(folder: Path, name: str | None = None) -> float | None:
    """Return a run's score, by default the leading one; None if it has not ended well or the score is not finite.

    Raises:
        UserError: the run has scores, but none of that name.
    """
    from sparring.compare.records import Record

    record = Record(folder.name, folder)
    if name and record.scores and name not in record.scores:
        raise UserError(f"sweep.score={name}: the scores are {', '.join(record.scores)}")
    value = record.scores.get(name or record.leading_score or "")
    return value if record.state == "done" and value is not None and math.isfinite(value) else None
