"""Search instead of a grid: Hydra's sweeper that lets Optuna choose. Nothing here imports Optuna until a search starts."""

import logging
import math
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from sparring.config.errors import UserError
from sparring.config.messages import EXPECTED, explain

log = logging.getLogger("sparring.compare.sweeps")


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
        distributions = {key: _distribution(override) for key, override in space.items()}
        self._check(fixed, space)
        folder.mkdir(parents=True, exist_ok=True)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(folder / "study.log"))),
            study_name=folder.name,
            sampler=optuna.samplers.TPESampler(seed=settings.seed),
            direction=settings.direction,
            load_if_exists=True,
        )
        for trial in study.get_trials():
            for key in trial.distributions.keys() & distributions.keys():
                try:
                    optuna.distributions.check_distribution_compatibility(trial.distributions[key], distributions[key])
                except ValueError as error:
                    raise UserError(
                        f"{space[key].input_line}: this study chose from others ({error}); start a new one"
                    ) from error
        for trial in study.get_trials(states=[optuna.trial.TrialState.RUNNING]):
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
            study.enqueue_trial(trial.params, user_attrs={"again": trial.number})

        done = [t for t in study.get_trials() if t.state.is_finished()]
        tried = len(done) - sum("again" in t.user_attrs for t in study.get_trials())
        while tried < settings.trials:
            trials = [study.ask(distributions) for _ in range(min(settings.parallel, settings.trials - tried))]
            jobs = [(*fixed, *(f"{key}={_typed(value)}" for key, value in trial.params.items())) for trial in trials]
            apart = list(dict.fromkeys(jobs))  # what is proposed twice at a time is run once
            results = dict(zip(apart, self.launcher.launch(list(map(list, apart)), initial_job_idx=tried), strict=True))
            for trial, job in zip(trials, jobs, strict=True):
                value = self._value(Path(results[job].hydra_cfg.hydra.runtime.output_dir))
                failed = value is None
                study.tell(trial, value, state=optuna.trial.TrialState.FAIL if failed else None)
                log.info("trial %d: %s", trial.number, "failed" if failed else f"{value:.4g}")
            tried += len(trials)
        if study.get_trials(states=[optuna.trial.TrialState.COMPLETE]):
            best = " ".join(f"{key}={_typed(value)}" for key, value in study.best_params.items())
            log.info("best of %d trials: %.4g with\n    %s", tried, study.best_value, best)
        return study

    def _check(self, fixed: list[str], space: dict[str, Override]) -> None:
        """Raise UserError for what no trial could be told or be scored by."""
        settings = self.config.sweep
        if not self.config.evaluation:
            raise UserError("sweep=optuna with evaluation=none: there is no score to search by")
        if settings.direction not in ("minimize", "maximize"):
            raise UserError(f"sweep.direction={settings.direction}: minimize or maximize")
        for key in ("trials", "parallel"):
            if settings[key] < 1:
                raise UserError(f"sweep.{key}={settings[key]}: must be at least 1")
        for key, override in space.items():
            try:
                self.validate_batch_is_legal([[*fixed, f"{key}={end}"] for end in _ends(override)])
            except EXPECTED as error:
                given = " (of sweep.space; 'sweep.space=[...]' names others)" * (override.input_line in settings.space)
                raise UserError(f"{override.input_line}{given}: {explain(error)}") from error

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
        from sparring.compare.records import Record

        record, wanted = Record(folder.name, folder), self.config.sweep.score
        if wanted and record.scores and wanted not in record.scores:
            raise UserError(f"sweep.score={wanted}: the scores are {', '.join(record.scores)}")
        value = record.scores.get(wanted or record.leading_score)
        return value if record.state == "done" and value is not None and math.isfinite(value) else None


def _distribution(override: Override) -> Any:
    """``interval(a, b)`` of floats, ``int(interval(a, b))``, ``range(a, b, step)`` or ``choice(...)`` as Optuna has them, in
    equal steps of the logarithm with ``tag(log, ...)``.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    value = override.value()
    try:
        if isinstance(value, IntervalSweep):
            whole = isinstance(value.start, int) and isinstance(value.end, int)
            return (IntDistribution if whole else FloatDistribution)(value.start, value.end, log="log" in value.tags)
        if isinstance(value, RangeSweep):
            numbers = [yaml.safe_load(text) for text in override.sweep_string_iterator()]
            whole = all(isinstance(number, int) for number in (*numbers, value.step))
            kind = IntDistribution if whole else FloatDistribution
            options = {"log": True} if "log" in value.tags else {"step": abs(value.step)}
            return kind(min(numbers), max(numbers), **options)
        return CategoricalDistribution(list(override.sweep_string_iterator()))
    except (ValueError, TypeError) as error:
        raise UserError(f"{override.input_line}: {error}") from error


def _ends(override: Override) -> list[str]:
    """The least and the greatest of what a trial may be given, or all choices."""
    if isinstance(value := override.value(), IntervalSweep):
        return [_typed(value.start), _typed(value.end)]
    return list(override.sweep_string_iterator())


def _typed(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
