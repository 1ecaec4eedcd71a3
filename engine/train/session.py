"""One training session: from a conf and loaded stars to an outcome, test errors and predictions.

Builds what the loop needs, runs it stage by stage, then looks at the test rows once, with the best weights.
"""

from __future__ import annotations

from engine.conf.schema import Conf
from engine.runs.events import EventLog, Unheard
from engine.runs.folder import RunFolder
from engine.spectra.split import Split
from engine.spectra.stars import Stars
from engine.train import checkpoint, loop, outputs
from engine.train.ground import Ground, prepare
from engine.train.losses import build_loss
from engine.train.ranks import Ranks
from engine.train.report import Report
from engine.train.stages import Stage, note_resume, stages_of, train_stage
from engine.train.start import Start
from engine.train.stop import Stop
from engine.words import say
from engine.workspace import Workspace
from models import contract


def run_session(
    workspace: Workspace,
    conf: Conf,
    folder: RunFolder,
    stars: Stars,
    split: Split,
    events: EventLog,
    report: Report,
    stop: Stop,
    start: Start | None = None,
    ranks: Ranks | None = None,
) -> loop.Outcome:
    """Train, then test with the best weights; write everything into the run folder.

    Raises:
        BadInput: device, network, weights or labels cannot be used.
        Stopped: stopping was asked before there was anything to save.
        OutOfMemory: it did not fit.
    """
    return _run(
        prepare(
            workspace, conf, folder, stars, split, events, report, stop, start or Start(), ranks or Ranks()
        )
    )  # fmt: skip


def _run(ground: Ground) -> loop.Outcome:
    """Run the stages that are left, then test."""
    stages = stages_of(ground)
    planned = [stage.planned for stage in stages]
    first = stages[0].batches
    val = ground.split.val
    ground.total_steps = sum(planned)
    ground.events.append(
        "plan", epochs=sum(stage.training.epochs for stage in stages), total_steps=ground.total_steps,
        steps_per_epoch=first.steps_per_epoch, monitor=ground.conf.training.monitor,
        monitored="val" if len(val) else "train",
    )  # fmt: skip
    _say_plan(ground, stages)
    ground.events.append("phase", phase="training")
    if ground.start.again and ground.start.whole is None:
        note_resume(ground, 0)
    ground.report.begin(ground.total_steps, ground.start.step)
    outcome = loop.Outcome.DONE
    try:
        for stage in stages:
            if stage.number < ground.start.stage:
                continue
            outcome = train_stage(ground, stage)
            if outcome is not loop.Outcome.DONE:
                break
    finally:
        for stage in stages:
            stage.batches.close()
        ground.report.close()
    if outcome is loop.Outcome.DONE and ground.ranks.first:
        _finish(ground, stages[-1])
    return outcome


def _finish(ground: Ground, last: Stage) -> None:
    """Test with the best weights, and export them."""
    ground.events.append("phase", phase="testing")
    best = checkpoint.load(ground.folder.checkpoints / "best.pt")
    ground.network.load_state_dict(checkpoint.weights_of(best))
    loss_of = build_loss(last.training, ground.conf.data.targets)
    parts = {name: ground.rows(ground.split.part(name)) for name in ("train", "val", "test")}
    outputs.write_outputs(
        ground.conf, ground.folder, parts, ground.stars, ground.split,
        # killed after it was tested, a run gives the same errors again: they are told already
        Unheard() if ground.start.tested and not ground.lost else ground.events, ground.report,
        lambda name: ground.look_at(ground.network, parts[name], loss_of, None), best["epoch"],
        ground.scalers.labels,
    )  # fmt: skip
    checkpoint.export(ground.folder.path / "export", best)


def _say_plan(ground: Ground, stages: list[Stage]) -> None:
    text = say(
        "train.plan", model=ground.conf.model.name,
        parameters=f"{contract.count_parameters(ground.network):,}", device=ground.device,
        epochs=sum(stage.training.epochs for stage in stages), per_epoch=stages[0].batches.steps_per_epoch,
    )  # fmt: skip
    ground.report.line(text)
