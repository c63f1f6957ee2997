"""Search instead of a grid: Hydra's sweeper that lets Optuna choose. Nothing here imports Optuna until a search starts."""

import logging
import math
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from sparring.errors import UserError

log = logging.getLogger("sparring.sweeps")


class OptunaSweeper(Sweeper):
    """Trials that Optuna's TPE proposes (Bergstra et al. 2011), each a job like any other; settings are in ``sweep``.

    The study is kept in the sweep's folder, ``study.log``. Called again with ``sweep.name`` and ``sweep.skip_done=true``
    it goes on: trials that were cut off are finished, and new ones made up to ``sweep.trials``. One that fails, or whose score
    is not finite, is told to Optuna as failed.
    """

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        try:
            import optuna
            from optuna.storages.journal import JournalFileBackend, JournalStorage
        except ImportError as error:
            raise UserError(f"sweep=optuna: {error}. pip install -e '.[sweep]'") from error

        settings, folder = self.config.sweep, Path(self.config.hydra.sweep.dir)
        fixed, space = self._split([*settings.space, *arguments])
        self.validate_batch_is_legal([[*fixed, f"{key}={end}"] for key, o in space.items() for end in _ends(o)])
        folder.mkdir(parents=True, exist_ok=True)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(folder / "study.log"))),
            study_name=folder.name,
            sampler=optuna.samplers.TPESampler(seed=settings.seed),
            direction=settings.direction,
            load_if_exists=True,
        )
        for trial in study.get_trials(states=[optuna.trial.TrialState.RUNNING]):
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
            study.enqueue_trial(trial.params, user_attrs={"again": trial.number})
        distributions = {key: _distribution(override) for key, override in space.items()}

        done = [t for t in study.get_trials() if t.state.is_finished()]
        tried = len(done) - sum("again" in t.user_attrs for t in study.get_trials())
        while tried < settings.trials:
            trials = [study.ask(distributions) for _ in range(min(settings.parallel, settings.trials - tried))]
            jobs = [[*fixed, *(f"{key}={_typed(value)}" for key, value in trial.params.items())] for trial in trials]
            for trial, result in zip(trials, self.launcher.launch(jobs, initial_job_idx=tried), strict=True):
                value = self._value(Path(result.hydra_cfg.hydra.runtime.output_dir))
                failed = value is None
                study.tell(trial, value, state=optuna.trial.TrialState.FAIL if failed else None)
                log.info("trial %d: %s", trial.number, "failed" if failed else f"{value:.4g}")
            tried += len(trials)
        if study.get_trials(states=[optuna.trial.TrialState.COMPLETE]):
            best = " ".join(f"{key}={_typed(value)}" for key, value in study.best_params.items())
            log.info("best of %d trials: %.4g with\n    %s", tried, study.best_value, best)
        return study

    def _split(self, arguments: list[str]) -> tuple[list[str], dict[str, Override]]:
        """What is the same in all trials as it was typed, and what Optuna chooses by its key; later ones count."""
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        fixed, space = {}, {}
        for override in parser.parse_overrides(arguments):
            key = override.get_key_element()
            fixed.pop(key, None), space.pop(key, None)
            if override.is_sweep_override():
                space[key] = override
            else:
                fixed[key] = override.input_line
        return list(fixed.values()), space

    def _value(self, folder: Path) -> float | None:
        """The score of a trial that came to its end."""
        from sparring.comparison.records import Record

        record = Record(folder.name, folder)
        value = record.scores.get(self.config.sweep.score or record.leading_score)
        return value if record.state == "done" and value is not None and math.isfinite(value) else None


def _distribution(override: Override) -> Any:
    """``interval(a, b)`` of floats, ``range(a, b, step)`` or ``choice(...)``, with ``tag(log, ...)``, as Optuna has them."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    value = override.value()
    if isinstance(value, IntervalSweep):
        return FloatDistribution(value.start, value.end, log="log" in value.tags)
    if isinstance(value, RangeSweep):
        last = value.stop - value.step
        whole = all(isinstance(number, int) for number in (value.start, value.stop, value.step))
        return (IntDistribution if whole else FloatDistribution)(value.start, last, step=value.step)
    return CategoricalDistribution(list(override.sweep_string_iterator()))


def _ends(override: Override) -> list[str]:
    """The least and the greatest of what a trial may be given, or all choices."""
    if isinstance(value := override.value(), IntervalSweep):
        return [_typed(value.start), _typed(value.end)]
    return list(override.sweep_string_iterator())


def _typed(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
