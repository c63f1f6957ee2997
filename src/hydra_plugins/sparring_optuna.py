"""Search instead of a grid: Hydra's sweeper that lets Optuna choose. Optuna is imported when a search starts."""

import logging
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from sparring.compare.search_space import as_typed, distribution, score_of
from sparring.config.errors import UserError
from sparring.config.extras import import_extra
from sparring.config.messages import EXPECTED, explain

log = logging.getLogger("sparring.compare.search")


class OptunaSweeper(Sweeper):
    """Trials that Optuna's TPE proposes (Bergstra et al. 2011), each a job like any other; settings are in ``sweep``.

    The study is stored in the sweep's folder, ``study.log``. Called again with ``sweep.name`` and
    ``sweep.skip_done=true`` it goes on: interrupted trials are finished, and new ones are run up to ``sweep.trials``.
    A trial that fails, or whose score is not finite, counts as failed.
    """

    hydra_context: HydraContext  # pyright: ignore[reportIncompatibleVariableOverride]
    launcher: Launcher  # pyright: ignore[reportIncompatibleVariableOverride]
    config: DictConfig  # pyright: ignore[reportIncompatibleVariableOverride]

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        TrialState = import_extra("optuna", "sweep", "sweep=optuna").trial.TrialState
        settings = self.config.sweep
        fixed, space = self._split([*settings.space, *arguments])
        distributions = {key: distribution(override) for key, override in space.items()}
        self._check(fixed, space, distributions)
        study = self._open_study(space, distributions)
        trials = study.get_trials()
        tried = sum(trial.state.is_finished() for trial in trials) - sum(
            "again" in trial.user_attrs for trial in trials
        )
        while tried < settings.trials:
            trials = [study.ask(distributions) for _ in range(min(settings.parallel, settings.trials - tried))]
            jobs = [(*fixed, *(f"{key}={as_typed(v)}" for key, v in trial.params.items())) for trial in trials]
            different = list(dict.fromkeys(jobs))  # what is proposed twice at a time is run once
            launched = self.launcher.launch([list(job) for job in different], initial_job_idx=tried)
            folders = {job: Path(result.return_value) for job, result in zip(different, launched, strict=True)}
            for trial, job in zip(trials, jobs, strict=True):
                value = score_of(folders[job], settings.score)
                study.tell(trial, value, state=TrialState.FAIL if value is None else None)
                log.info("trial %d: %s", trial.number, "failed" if value is None else f"{value:.4g}")
            tried += len(trials)
        if study.get_trials(states=[TrialState.COMPLETE]):
            best = " ".join(f"{key}={as_typed(value)}" for key, value in study.best_params.items())
            log.info("best of %d trials: %.4g with\n    %s", tried, study.best_value, best)
        return study

    def _open_study(self, space: dict[str, Override], distributions: dict[str, Any]) -> Any:
        """Create or load the study; queue its interrupted trials.

        Raises:
            UserError: it was started with another search space.
        """
        import optuna
        from optuna.storages.journal import JournalFileBackend, JournalStorage

        settings, folder = self.config.sweep, Path(self.config.hydra.sweep.dir)
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
                    text = f"{space[key].input_line}: this study chose from others ({error}); start a new one"
                    raise UserError(text) from error
        for trial in study.get_trials(states=[optuna.trial.TrialState.RUNNING]):
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
            study.enqueue_trial(trial.params, user_attrs={"again": trial.number})
        return study

    def _check(self, fixed: list[str], space: dict[str, Override], distributions: dict[str, Any]) -> None:
        """Raise UserError for settings with which no trial could start or be scored."""
        settings = self.config.sweep
        if not self.config.evaluation:
            raise UserError("sweep=optuna with evaluation=none: there is no score to search by")
        if settings.direction not in ("minimize", "maximize"):
            raise UserError(f"sweep.direction={settings.direction}: minimize or maximize")
        for key in ("trials", "parallel"):
            if settings[key] < 1:
                raise UserError(f"sweep.{key}={settings[key]}: must be at least 1")
        for key, override in space.items():
            values = getattr(distributions[key], "choices", None) or (distributions[key].low, distributions[key].high)
            try:
                self.validate_batch_is_legal([[*fixed, f"{key}={as_typed(value)}"] for value in values])
            except EXPECTED as error:
                default = override.input_line in settings.space
                source = " (of sweep.space; 'sweep.space=[...]' names others)" if default else ""
                raise UserError(f"{override.input_line}{source}: {explain(error)}") from error

    def _split(self, arguments: list[str]) -> tuple[list[str], dict[str, Override]]:
        """Return the overrides that all trials share, and what Optuna chooses by its key; later ones count."""
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        fixed, space = {}, {}
        for override in parser.parse_overrides(arguments):
            key = override.get_key_element()
            fixed.pop(key, None)
            space.pop(key, None)
            if override.is_sweep_override():
                space[key] = override
            else:
                fixed[key] = override.input_line
        return list(fixed.values()), space
