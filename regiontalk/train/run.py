"""A run of a recipe: its stages, one after the other, and the model that they leave.

Stages run in this order, each where its section stands in the file: ``proposer``
teaches the proposal head on the frozen backbone, ``warm`` the aligner on the frozen
features of its regions, ``joint`` moves the backbone and all heads together, ``refine``
teaches the proposals of the backbone as it then is, and on features that are frozen
from there on ``align`` and ``generate`` finish the heads; ``photo_check`` is fitted
last. Every stage keeps its checkpoint under the output folder, so the same command goes
on where a run was killed; a finished stage is only loaded.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

from torch import nn

from regiontalk.model.region_model import RegionModel
from regiontalk.model.weights import fingerprint
from regiontalk.runtime.export import export_runtime
from regiontalk.train.build import build_model
from regiontalk.train.changes import data_manifest, restart_changed
from regiontalk.train.checkpoint import Checkpoint, load_checkpoint, steps_done
from regiontalk.train.inputs import Inputs
from regiontalk.train.loop import Log, train
from regiontalk.train.recipe import stages_of
from regiontalk.train.round_backbone import read_pixels, round_backbone
from regiontalk.train.stages import LOG_NAME as LOG_NAME
from regiontalk.train.stages import Stage, make_stage
from regiontalk.train.watch import restore_best


class Run(Inputs):
    """A recipe on its way: what its stages read, and the loop over their rounds."""

    def build(
        self,
        start: str | None,
        weights: Path | None,
        published: bool = False,
        vectors: Path | None = None,
    ) -> RegionModel:
        """The model before its first stage; the arguments are those of `build_model`."""
        # one process downloads, the others find it here
        is_fetched = published or start is not None
        with self.processes.main_first() if is_fetched else nullcontext():
            model = build_model(
                self, start=start, weights=weights, published=published, vectors=vectors
            )
        self.processes.copy_main(model)
        return model

    def stage(self, name: str, model: RegionModel) -> None:
        """Run one stage of the recipe on the model, or go on with it.

        A finished one is only loaded.

        Raises:
            ValueError: the recipe has no such section, or a checkpoint of another run stands there.
        """
        stage = make_stage(name, self)
        reason = stage.why_left_out()
        if reason is not None:
            self.log(f"stage {name}: left out, {reason}")
            return
        if stage.rounds:
            self.log(f"stage {name}: {stage.config.optimiser.steps} steps")
        for number, checkpoint in enumerate(self._checkpoints(stage, model)):
            if number:
                self.log(f"stage {name}: EM round {number} of {stage.rounds - 1}")
            self._restart_changed(checkpoint)
            if steps_done(checkpoint.folder) >= stage.config.optimiser.last:
                load_round(checkpoint, stage.made_ready(model))
            else:
                self._train(stage, model, number, checkpoint)
        stage.finish(model)

    def recall(self, name: str, model: RegionModel) -> None:
        """Only load what a stage before the wanted ones has left, as far as it has run."""
        stage = make_stage(name, self)
        steps, last = 0, stage.config.optimiser.last
        for checkpoint in self._checkpoints(stage, model):
            if not steps_done(checkpoint.folder):
                break
            steps = load_round(checkpoint, stage.made_ready(model))
            if steps < last:
                break
        if steps:
            stage.finish(model)
            self.log(f"stage {name}: loaded, {steps} of {last} steps")
        else:
            self.log(f"stage {name}: has not run; going on without it")

    def settings(self, name: str, model: RegionModel) -> str:
        """All that shapes a stage beside its optimiser, as JSON.

        The model is as the stages before have left it.
        """
        return json.dumps(make_stage(name, self).fingerprint(model))

    def _checkpoints(self, stage: Stage, model: RegionModel) -> Iterator[Checkpoint]:
        """The checkpoint of each round: of the stage itself, then of its EM rounds.

        A round's is known once the round before has been trained or loaded.
        """
        if not stage.rounds:
            return
        stage.begin(model)
        settings, usual = stage.fingerprint(model), json.dumps(stage.defaults())
        keep = stage.config.optimiser.checkpoint
        yield keep(self.out / stage.name, json.dumps(settings), usual)
        for number in range(1, stage.rounds):
            before = fingerprint(stage.learns(model))
            text = json.dumps(settings | {"round": number, "before": before})
            yield keep(self.out / f"{stage.name}_{number + 1}", text, usual)

    def _restart_changed(self, checkpoint: Checkpoint) -> None:
        """Set the checkpoint of a round aside where its data have changed."""
        if self.processes.is_main:
            restart_changed(checkpoint, data_manifest(self.examples), self.log)
        self.processes.wait()

    def _train(
        self, stage: Stage, model: RegionModel, number: int, checkpoint: Checkpoint
    ) -> None:
        """Train a round from its beginning or its checkpoint to its end."""
        lesson = stage.lesson(model, number)
        train(
            stage.made_ready(model),
            lesson.terms,
            stage.config.optimiser,
            checkpoint=checkpoint,
            log=self.log,
            watch=lesson.watch,
            rest=lesson.rest,
            processes=self.processes,
        )


def load_round(checkpoint: Checkpoint, module: nn.Module) -> int:
    """Load what a round has left, its best weights where it was judged; its steps.

    Without the photos and features that it learnt from.
    """
    steps = load_checkpoint(checkpoint, module)
    restore_best(checkpoint.folder, module)
    return steps


def run_recipe(
    run: Run,
    stages: Sequence[str],
    *,
    start: str | None,
    weights: Path | None,
    published: bool,
    card: str,
    vectors: Path | None = None,
) -> Path:
    """Run the stages on what the recipe's earlier ones have left.

    The model is saved for use; returns its folder.
    """
    model = run.build(start, weights, published, vectors)
    if run.given is None:  # who looks at no photo learns nothing from them before
        for name in _stages_before(stages, stages_of(run.recipe)):
            run.recall(name, model)
    for name in stages:
        run.stage(name, model)
    folder = run.out / "model"
    if run.processes.is_main:
        if run.recipe.int8_backbone and not model.config.int8_backbone:
            pixels = read_pixels(
                run.examples, model.preprocessing, run.recipe.seed, run.log
            )
            round_backbone(model, pixels, run.log)
        if run.recipe.int8:
            model.in_int8()
        save_for_use(folder, model, card, run.log)
    run.processes.wait()
    return folder


def _stages_before(stages: Sequence[str], planned: Sequence[str]) -> Sequence[str]:
    """The planned stages that stand before the first of some.

    >>> _stages_before(["generate"], ["joint", "align", "generate"])
    ['joint', 'align']
    """
    first = min((planned.index(name) for name in stages if name in planned), default=0)
    return planned[:first]


def save_for_use(folder: Path, model: RegionModel, card: str, log: Log) -> None:
    """Write a trained model's folder.

    With graphs for use without torch where it and this installation allow them.

    Args:
        folder: of the model.
        model: its batch norms are folded.
        card: the text of its ``README.md``.
        log: takes a line where there are no graphs.
    """
    model.folded().save_pretrained(folder, card)
    try:
        export_runtime(folder)
    except (ImportError, ValueError) as error:
        log(f"no graphs for use without torch: {error}")
