"""One attempt at a run, from conf to exit code: the order of things around the loop. No torch at import.

Signals are caught before torch is loaded; whatever happens after the run folder exists ends in an end
event, and the exit code tells a script the same.
"""

from __future__ import annotations

import time
import traceback
from pathlib import Path
from typing import Any

from engine import catalog, exit_codes
from engine.conf.load import Resolved, from_plain
from engine.errors import BadInput
from engine.figures import draw_curves
from engine.runs import folder as folders
from engine.runs.events import EventLog
from engine.runs.process import hold_lock
from engine.runs.record import Record
from engine.train.report import Polled, Report
from engine.train.stop import Stop, Stopped
from engine.words import say
from engine.workspace import Workspace

EXIT = {
    "finished": exit_codes.DONE,
    "stopped": exit_codes.STOPPED,
    "diverged": exit_codes.NON_FINITE,
}
_TRACKING_PATIENCE_SECONDS = 90.0


def foreground(workspace: Workspace, resolved: Resolved, stop: Stop) -> int:
    """Train a conf here and now; the run folder is made once the tables are known to be good.

    Raises:
        BadInput: nothing was written.
    """
    report = Report()
    try:
        stars, split = _read(workspace, resolved.conf, report, stop)
        if resolved.conf.training.device not in ("auto", "cpu"):
            # Only torch knows. Asked before the folder is made: a missing device leaves nothing behind.
            report.line(say("train.loading_torch"))
            from engine.train.device import choose_device

            choose_device(resolved.conf.training.device)
    except Stopped as stopped:
        report.line(say("train.stopped_early", by=stopped))
        return exit_codes.STOPPED
    run = folders.create(workspace, resolved)
    report.keep_in(run.log)
    report.line(say("train.run_id", run_id=run.run_id))
    return _attempt(workspace, run, resolved.conf, report, stop, lambda: (stars, split))


def detached(workspace: Workspace, run_id: str, stop: Stop) -> int:
    """Train a run folder that a launcher made."""
    run = folders.RunFolder(workspace.runs / run_id)
    record = Record(run.path, keep_curves=False)
    record.refresh()
    if not record.identity:
        raise BadInput(say("runs.unknown", run=run_id))
    if record.training_at is not None or record.end is not None:
        raise BadInput(say("train.not_resumable", run=run_id))
    report = Report()
    try:
        conf = from_plain(workspace, record.conf(), str(run.conf))
    except BadInput as error:
        # The network's file changed since the launch: the run ends here, and says so.
        events = EventLog(run.events)
        events.append("end", outcome="failed", exit_code=exit_codes.BAD_INPUT, message="\n".join(error.lines))
        events.close()
        raise
    return _attempt(workspace, run, conf, report, stop, lambda: _read(workspace, conf, report, stop))


def _read(workspace: Workspace, conf: Any, report: Report, stop: Stop) -> tuple[Any, Any]:
    """Check the tables by their headers, read them, split them."""
    from engine.spectra import changes, layout, resample, split, stars, stats

    promised = layout.preflight(workspace, conf.data)
    layout.needs(promised.branches, catalog.find(workspace, conf.model.name).inputs)
    stats.fixed(workspace, conf.data)  # a stats file that cannot be used stops here, before the long read
    shown = workspace.relative(layout.resolve(workspace, conf.data.path))

    started = time.perf_counter()
    report.rows(say("train.reading", path=shown), 0)  # in passing: an error stays the only line
    try:
        read = stars.load(workspace, conf.data, Polled(report, stop))
    finally:
        report.rows_done()
    folder = layout.resolve(workspace, conf.data.path)
    parts = split.divide(read, conf.data.split, folder, workspace.root)
    report.line(
        say(
            "train.read",
            stars=len(read.obsid),
            points=read.continuum.shape[1],
            seconds=f"{time.perf_counter() - started:.1f}",
            train=len(parts.train),
            val=len(parts.val),
            test=len(parts.test),
        )
    )
    for text in (*changes.sentences(read.report, conf.data), *split.describe(parts)):
        report.line(text)
    # a column that is not there stops before a run is made
    resample.plan(conf.data.resample, read, parts.train)
    stop.check()
    return read, parts


def _attempt(
    workspace: Workspace, run: folders.RunFolder, conf: Any, report: Report, stop: Stop, read: Any
) -> int:
    from engine.spectra.split import write as write_split
    from engine.track import replicate

    lock = hold_lock(run.lock)
    if lock is None:
        raise BadInput(say("train.busy", run=run.run_id))
    folders.note_process(run, attempt=1)
    events = EventLog(run.events)
    events.append("phase", phase="reading")
    tracker = replicate.start(workspace, run) if conf.tracking.enabled else None
    outcome, code, said = "failed", exit_codes.FAILED, ""
    try:
        stars, split = read()
        write_split(run.split, stars, split)
        events.append(
            "data", stars=len(stars.obsid), points=stars.continuum.shape[1], fingerprint=stars.fingerprint,
            wavelength=[float(stars.wavelength[0]), float(stars.wavelength[-1])], targets=conf.data.targets,
            train=len(split.train), val=len(split.val), test=len(split.test), report=stars.report,
            split=split.facts,
        )  # fmt: skip
        report.line(say("train.loading_torch"))
        events.append("phase", phase="loading")
        outcome, code, said = _train(workspace, conf, run, stars, split, events, report, stop)
    except BadInput as error:
        code, said = exit_codes.BAD_INPUT, "\n".join(error.lines)
    except Stopped as stopped:
        outcome, code = "stopped", exit_codes.STOPPED
        said = say("train.stopped_empty", by=stopped)
    except Exception as error:  # noqa: BLE001 - the run must end with an end event; the traceback goes to the log
        said = say("train.failed", error=f"{type(error).__name__}: {error}")
        report.close()
        report.line(traceback.format_exc())
    finally:
        report.close()
        _draw(run, report)
        events.append("end", outcome=outcome, exit_code=code, message=said)
        events.flush_to_disk()
        events.close()
    for line in said.splitlines():
        report.line(line)
    if tracker is not None:
        _wait_for_tracking(workspace, run, conf, tracker, report, stop)
    return code


def _draw(run: folders.RunFolder, report: Report) -> None:
    """Draw the curves before the end event: whoever sees the end finds the figures."""
    try:
        record = Record(run.path)
        record.refresh()
        draw_curves(record)
    except Exception as error:  # noqa: BLE001 - a figure that cannot be drawn must not cost the run; it is said
        report.line(say("train.no_figures", error=f"{type(error).__name__}: {error}"))


def _train(
    workspace: Workspace, conf: Any, run: folders.RunFolder, stars: Any, split: Any, events: EventLog,
    report: Report, stop: Stop,
) -> tuple[str, int, str]:  # fmt: skip
    """Run the session; return outcome, exit code and what to say at the end."""
    import torch

    from engine.train.session import run_session

    stop.check()
    try:
        outcome = run_session(workspace, conf, run, stars, split, events, report, stop).value
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        batch = conf.training.batch_size
        half = max(2, batch // 2)
        text = say("train.memory", device=conf.training.device, batch=batch, half=half)
        return "failed", exit_codes.OUT_OF_MEMORY, text
    record = Record(run.path, keep_curves=False)
    record.refresh()
    return outcome, EXIT[outcome], "\n".join(_last_words(record, conf, stop, outcome))


def _is_out_of_memory(error: BaseException) -> bool:
    """Tell whether memory ran out: torch raises a bare RuntimeError for that of a CPU."""
    import torch

    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def _last_words(record: Record, conf: Any, stop: Stop, outcome: str) -> list[str]:
    bad = record.nonfinite
    if outcome == "diverged" and bad is not None:
        text = say(
            "train.nonfinite", step=bad.step, epoch=bad.epoch, what=bad.what, value=bad.value,
            loss=_short(bad.last_finite_loss), rate=_short(bad.learning_rate), norm=_short(bad.gradient_norm),
        )  # fmt: skip
        stars = [say("train.nonfinite_stars", obsids=", ".join(bad.obsids))] if bad.obsids else []
        return [text, *stars, say("train.nonfinite_advice", run=record.run_id)]
    if outcome == "stopped" and record.checkpoints:
        last = record.checkpoints[-1]
        return [say("train.stopped", by=stop.by, step=last["step"], file=last["file"])]
    if outcome == "finished":
        words = [say("train.best_line", epoch=record.best_epoch, value=_short(record.best.get("val_loss")))]
        if record.step < record.total_steps:
            words.insert(0, say("train.early", patience=conf.training.patience))
        return words
    return []


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _wait_for_tracking(
    workspace: Workspace, run: folders.RunFolder, conf: Any, tracker: Any, report: Report, stop: Stop
) -> None:
    """Give replication time to finish, so that a script finds the run in MLflow when we return."""
    deadline = time.monotonic() + _TRACKING_PATIENCE_SECONDS
    said = stop.asked = False  # from here on a wish to stop ends the waiting
    while tracker.poll() is None and time.monotonic() < deadline and not stop.asked:
        if not said and deadline - time.monotonic() < _TRACKING_PATIENCE_SECONDS - 2:
            report.line(say("train.waiting_tracking"))
            said = True
        time.sleep(0.1)
    if tracker.poll() == 0:
        tracked = run.read_json(run.tracking)
        report.line(say("train.tracked", experiment=conf.tracking.experiment, run_id=tracked.get("run_id")))
    else:
        report.line(say("train.not_tracked", log=_shown(workspace, run.tracking_log)))


def _shown(workspace: Workspace, path: Path) -> str:
    return workspace.relative(path)
