"""The paper's ablations: variants of network and losses, trained alike, measured on the same samples."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from safetensors import SafetensorError, safe_open

from metrichmsr.errors import InputError
from metrichmsr.export.atomic import atomic_file
from metrichmsr.hmr.config import ablations
from metrichmsr.hmr.network import build
from metrichmsr.training.ablation_table import AblationTable, Run, VariantRow
from metrichmsr.training.config import TrainConfig
from metrichmsr.training.data import TrainingData
from metrichmsr.training.trainer import LAST, DivergedError
from metrichmsr.training.watched import train

TABLE, RECORD, DATA = "ablation.md", "ablation.json", "data.json"


def variants(base: TrainConfig) -> dict[str, TrainConfig]:
    """All variants by name: the network's (METHOD's ablation table), what it sees, and how it is trained."""
    networks = {name: replace(base, network=network) for name, network in ablations(base.network).items()}
    return {
        **networks,
        "without height loss": replace(base, losses=replace(base.losses, height=0.0)),
        "without image features": replace(base, network=replace(base.network, features=False)),
        "tuned image encoder": replace(base, network=replace(base.network, tuned=True)),
        "without gravity": replace(base, network=replace(base.network, gravity=False)),
        # Pictures alone: as many steps, but none on landmarks that were made without one.
        "without simulated landmarks": replace(base, simulated=0.0),
    }


@dataclass(frozen=True)
class Ablation:
    """Runs of some variants in one folder."""

    folder: Path
    """OUT/<variant>/seed_<n> are the runs."""
    base: TrainConfig
    """What they have in common."""
    chosen: Mapping[str, TrainConfig]
    """Variants to train, by name."""
    seeds: tuple[int, ...]

    def run(
        self, data: TrainingData, *, until: float | None = None, say: Callable[[str], None] = lambda line: None
    ) -> AblationTable:
        """Train what is not finished; the table is written after every run.

        Args:
            data: the same for all.
            until: ``time.time()`` at which to stop, with everything saved.
            say: gets a line where a run is finished already, or diverges.

        Raises:
            InputError: runs in this folder are of other samples or another config.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._check_data(data)
        runs: dict[tuple[str, int], Run] = {}
        for name, config in self.chosen.items():
            for seed in self.seeds:
                late = until is not None and time.time() >= until
                runs[name, seed] = self._one(name, replace(config, seed=seed), data, until, late, say)
                self._write(self._table(data, runs))
        return self._table(data, runs)

    def _one(
        self,
        name: str,
        config: TrainConfig,
        data: TrainingData,
        until: float | None,
        late: bool,
        say: Callable[[str], None],
    ) -> Run:
        folder = run_folder(self.folder, name, config.seed)
        title = f"{name}, seed {config.seed}"
        figures = finished(folder, config)
        if figures is not None:
            say(f"{title}: is finished")
            return Run(config.seed, figures)
        if late:
            return Run(config.seed, None, note="not finished")
        try:
            measured, step = train(config, data, folder, until=until, title=title)
        except DivergedError as error:
            # The others are worth having all the same.
            say(str(error))
            return Run(config.seed, None, note="diverged", diverged=True)
        if step < config.steps:
            return Run(config.seed, None, note=f"stopped at step {step}")
        return Run(config.seed, measured.numbers())

    def _table(self, data: TrainingData, runs: Mapping[tuple[str, int], Run]) -> AblationTable:
        rows = []
        for name, config in variants(self.base).items():
            mine = [runs.get((name, seed)) or self._earlier(name, replace(config, seed=seed)) for seed in self.seeds]
            if there := tuple(run for run in mine if run is not None):
                rows.append(VariantRow(name, parameter_count(config), there))
        return AblationTable(
            tuple(rows),
            steps=self.base.steps,
            batch=self.base.batch,
            training=sum(len(pool) for pool in data.pools),
            validation=len(data.validation),
            config=self.base.to_json(),
        )

    def _earlier(self, name: str, config: TrainConfig) -> Run | None:
        """A run that an earlier call finished and this one was not asked for, or has not come to."""
        figures = finished(run_folder(self.folder, name, config.seed), config, strict=False)
        return None if figures is None else Run(config.seed, figures)

    def _write(self, table: AblationTable) -> None:
        for name, text in ((TABLE, table.to_markdown()), (RECORD, table.to_json())):
            with atomic_file(self.folder / name) as path:
                path.write_text(text, encoding="utf-8")

    def _check_data(self, data: TrainingData) -> None:
        """Figures are compared, so all runs of a folder learn from the same samples and are measured on the same."""
        path, mine = self.folder / DATA, data.fingerprints()
        if not path.is_file():
            with atomic_file(path) as temporary:
                temporary.write_text(json.dumps(mine, indent=2) + "\n", encoding="utf-8")
            return
        try:
            there = json.loads(path.read_text(encoding="utf-8"))
            other = [kind for kind, mark in mine.items() if there[kind] != mark]
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: damaged ({error})") from error
        if other:
            raise InputError(f"{path}: runs of other {' and '.join(other)} samples are in this folder; take another")


def run_folder(folder: Path, name: str, seed: int) -> Path:
    """Where a variant's run lies."""
    return folder / re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") / f"seed_{seed}"


def finished(folder: Path, config: TrainConfig, *, strict: bool = True) -> dict[str, float] | None:
    """Figures of a run that has made all its steps; None where there is no such run.

    Args:
        folder: of the run.
        config: which it shall have been trained with.
        strict: an error where there is a finished run of another config; None otherwise.

    Raises:
        InputError: the last checkpoint is damaged, or (strict) of another config.
    """
    path = folder / LAST
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            notes = file.metadata() or {}
        there = TrainConfig.from_json(notes.get("training", "{}"), source=path)
        step, figures = int(notes["step"]), json.loads(notes["validation"])
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise InputError(f"{path}: damaged checkpoint of a run ({error})") from error
    if there != config:
        if strict:
            raise InputError(f"{path}: belongs to a run with another config; take another folder, or the same options")
        return None
    return figures if step >= config.steps else None


def parameter_count(config: TrainConfig) -> int:
    """Numbers that training changes."""
    return sum(parameter.numel() for parameter in build(config.network).parameters() if parameter.requires_grad)
