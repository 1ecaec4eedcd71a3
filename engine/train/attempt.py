"""One attempt at a run, from conf to exit code: the order of things around the loop. No torch at import.

Signals are caught before torch is loaded; whatever happens after the run folder exists ends in an end
event, and the exit code tells a script the same.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import catalog, exit_codes
from engine.conf.load import Resolved, from_plain
from engine.errors import BadInput
from engine.figures import draw_curves
from engine.runs import folder as folders
from engine.runs.events import FULL, EventLog, Unheard
from engine.runs.process import hold_lock
from engine.runs.record import Record
from engine.train.collector import collector_off
from engine.train.report import Polled, Report
from engine.train.stop import Stop, Stopped
from engine.words import say
from engine.workspace import Workspace

if TYPE_CHECKING:
    from engine.train.ranks import Ranks
    from engine.train.start import Start

EXIT = {
    "finished": exit_codes.DONE,
    "stopped": exit_codes.STOPPED,
    "diverged": exit_codes.NON_FINITE,
}
_TRACKING_PATIENCE_SECONDS = 90.0
_BYTES_AT_ONCE = 4_000_000  # of events: a run of a million steps must not be read in one piece


def foreground(
    workspace: Workspace, resolved: Resolved, stop: Stop, *, parent: str | None = None,
    source: Path | None = None, partial: bool = False,
) -> int:  # fmt: skip
    """Train a conf here and now; the run folder is made once the tables are known to be good.

    `parent` is the run that this one continues, `source` the checkpoint of it whose weights are taken.

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
        if source is not None:
            _check_weights(workspace, resolved.conf, stars, source, parent, partial)
    except Stopped as stopped:
        report.line(say("train.stopped_early", by=stopped))
        return exit_codes.STOPPED
    run = make_folder(workspace, resolved, parent=parent, source=source, partial=partial)
    report.keep_in(run.log)
    report.line(say("train.run_id", run_id=run.run_id))
    return _attempt(workspace, run, resolved.conf, report, stop, lambda: (stars, split))


def make_folder(
    workspace: Workspace, resolved: Resolved, *, parent: str | None = None, source: Path | None = None,
    partial: bool = False,
) -> folders.RunFolder:  # fmt: skip
    """Make the folder of a run, with the weights it starts from."""
    told = None
    if source is not None:
        told = {"run": parent, "source": f"{parent or '-'}/{source.name}", "partial": partial}
    return folders.create(workspace, resolved, parent=parent, weights=source, source=told)


def detached(workspace: Workspace, run_id: str, stop: Stop, *, again: bool = False) -> int:
    """Train a run folder that a launcher made; `again` goes on with one that has begun."""
    run, record = _known(workspace, run_id)
    if not again and (record.training_at is not None or record.end is not None):
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


def resume(workspace: Workspace, run_id: str, stop: Stop) -> int:
    """Go on with a run that was stopped, failed or died, from its newest whole checkpoint.

    Raises:
        BadInput: it is at work, has finished, or cannot go on; nothing was written.
    """
    run, record = _known(workspace, run_id)
    resumable(record)
    report = Report()
    conf = from_plain(workspace, record.conf(), str(run.conf))
    lock = hold_lock(run.lock)
    if lock is None:
        raise BadInput(say("train.busy", run=run_id))
    try:
        stars, split = _read(workspace, conf, report, stop)
        from engine.train import start as starts

        starts.of_run(run, record, stars.fingerprint)  # refused before anything is written
    except Stopped as stopped:
        report.line(say("train.stopped_early", by=stopped))
        return exit_codes.STOPPED
    report.keep_in(run.log)
    return _attempt(workspace, run, conf, report, stop, lambda: (stars, split))


def resumable(record: Record) -> None:
    """Refuse to go on with a run that is at work or has finished.

    Raises:
        BadInput: it is, or has.
    """
    if record.live and record.state != "queued" and record.pid is not None:
        raise BadInput(say("train.still_running", run=record.run_id, pid=record.pid))
    if record.state == "finished":
        raise BadInput(say("train.nothing_to_resume", run=record.run_id))


def ranked(workspace: Workspace, run_id: str, stop: Stop) -> int:
    """Take part in a run of several processes; the first one reads the run folder and tells the others.

    Returns 0 whenever the run ended as a run ends: torchrun takes anything else for a crash, and what
    happened is in the run folder.
    """
    from engine.train import ranks as ranking

    ranks = ranking.join()
    try:
        told: tuple[str, dict[str, Any]] | None = None
        if ranks.first:
            run, record = _known(workspace, run_id)
            told = run.run_id, record.conf()
        run_id, plain = ranks.told(told)
        run = folders.RunFolder(workspace.runs / run_id)
        report = Report() if ranks.first else Report.silent()
        conf = from_plain(workspace, plain, str(run.conf))
        _attempt(
            workspace, run, conf, report, stop, lambda: _read(workspace, conf, report, stop), ranks=ranks
        )
    finally:
        ranking.leave(ranks)
    return exit_codes.DONE


def _known(workspace: Workspace, run_id: str) -> tuple[folders.RunFolder, Record]:
    run = folders.RunFolder(workspace.runs / run_id)
    record = whole_record(run)
    if not record.identity:
        raise BadInput(say("runs.unknown", run=run_id))
    return run, record


def whole_record(run: folders.RunFolder, *, keep_curves: bool = False) -> Record:
    """Return all that a run's events say, read piece by piece."""
    record = Record(run.path, keep_curves=keep_curves)
    while record.refresh(_BYTES_AT_ONCE):
        pass
    return record


def _check_weights(
    workspace: Workspace, conf: Any, stars: Any, source: Path, parent: str | None, partial: bool
) -> None:
    """Refuse weights that do not fit the network, before a run is made of them."""
    from engine.train import checkpoint
    from engine.train.network import build_network, take_weights

    network = build_network(workspace, conf, stars.continuum.shape[1])
    weights = checkpoint.weights_of(checkpoint.load(source))
    take_weights(network, weights, partial=partial, source=f"{parent or '-'}/{source.name}")


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
    workspace: Workspace, run: folders.RunFolder, conf: Any, report: Report, stop: Stop,
    read: Callable[[], tuple[Any, Any]], *, ranks: Ranks | None = None,
) -> int:  # fmt: skip
    from engine.spectra.split import write as write_split
    from engine.track import replicate

    writes = ranks is None or ranks.first
    before = whole_record(run)
    number = len(before.attempts) + 1 if before.started_at is not None else 1
    events: EventLog = Unheard()
    tracker = None
    if writes:
        if hold_lock(run.lock) is None:
            raise BadInput(say("train.busy", run=run.run_id))
        folders.note_process(run, attempt=number)
        events = EventLog(run.events)
        tracker = replicate.start(workspace, run) if conf.tracking.enabled else None
    outcome, code, said = "failed", exit_codes.FAILED, ""
    try:
        events.append("attempt", number=number)
        events.append("phase", phase="reading")
        stars, split = read()
        if writes:
            write_split(run.split, stars, split)
        events.append(
            "data", stars=len(stars.obsid), points=stars.continuum.shape[1], fingerprint=stars.fingerprint,
            wavelength=[float(stars.wavelength[0]), float(stars.wavelength[-1])], targets=conf.data.targets,
            train=len(split.train), val=len(split.val), test=len(split.test), report=stars.report,
            split=split.facts,
        )  # fmt: skip
        report.line(say("train.loading_torch"))
        events.append("phase", phase="loading")
        outcome, code, said = _train(workspace, conf, run, stars, split, events, report, stop, before, ranks)
    except BadInput as error:
        code, said = exit_codes.BAD_INPUT, "\n".join(error.lines)
    except Stopped as stopped:
        outcome, code = "stopped", exit_codes.STOPPED
        said = say("train.stopped_empty", by=stopped)
    except OSError as error:
        said = _disk_words(error, run)
        if error.errno not in FULL:
            report.close()
            report.line(traceback.format_exc())
    except Exception as error:  # noqa: BLE001 - the run must end with an end event; the traceback goes to the log
        said = say("train.failed", error=f"{type(error).__name__}: {error}")
        report.close()
        report.line(traceback.format_exc())
    finally:
        report.close()
        if writes:
            _draw(run, report)
        events.append("end", outcome=outcome, exit_code=code, message=said)
        events.flush_to_disk()
        events.close()
    for line in said.splitlines():
        report.line(line)
    if tracker is not None:
        _wait_for_tracking(workspace, run, conf, tracker, report, stop)
    return code


def _disk_words(error: OSError, run: folders.RunFolder) -> str:
    if error.errno in FULL:
        return say("train.disk_full", place=run.path, run=run.run_id)
    return say("train.failed", error=f"{type(error).__name__}: {error}")


def _draw(run: folders.RunFolder, report: Report) -> None:
    """Draw the curves before the end event: whoever sees the end finds the figures."""
    try:
        draw_curves(whole_record(run, keep_curves=True))
    except Exception as error:  # noqa: BLE001 - a figure that cannot be drawn must not cost the run; it is said
        report.line(say("train.no_figures", error=f"{type(error).__name__}: {error}"))


def _train(
    workspace: Workspace, conf: Any, run: folders.RunFolder, stars: Any, split: Any, events: EventLog,
    report: Report, stop: Stop, before: Record, ranks: Ranks | None,
) -> tuple[str, int, str]:  # fmt: skip
    """Run the session; return outcome, exit code and what to say at the end."""
    with collector_off():
        import torch  # noqa: F401 - what takes seconds to load, before the question below

        from engine.train import oom
        from engine.train import ranks as ranking
        from engine.train.session import run_session

    stop.check()
    ours = ranks or ranking.Ranks()
    start: Start = ours.told(_start(run, before, stars.fingerprint) if ours.first else None)
    for note in start.notes:
        report.line(note)
    try:
        outcome = run_session(workspace, conf, run, stars, split, events, report, stop, start, ours).value
    except oom.OutOfMemory as error:
        events.append("memory", **vars(error.facts))
        return "failed", exit_codes.OUT_OF_MEMORY, _memory_words(conf, error.facts)
    except (RuntimeError, MemoryError) as error:
        if not oom.is_out_of_memory(error):
            raise
        half = max(2, conf.training.batch_size // 2)
        text = say("train.memory", device=conf.training.device, batch=conf.training.batch_size, half=half)
        return "failed", exit_codes.OUT_OF_MEMORY, text
    if not ours.first:
        return outcome, EXIT[outcome], ""
    return outcome, EXIT[outcome], "\n".join(_last_words(whole_record(run), conf, stop, outcome))


def _start(run: folders.RunFolder, before: Record, fingerprint: str) -> Start:
    from engine.train import checkpoint
    from engine.train import start as starts

    # the lock is held: what is half-written belongs to nobody
    checkpoint.Checkpoints(run.checkpoints, {}).sweep()
    return starts.of_run(run, before, fingerprint)


def _memory_words(conf: Any, facts: Any) -> str:
    words = {
        "device": conf.training.device, "batch": facts.batch, "peak": _megabytes(facts.peak),
        "asked": _megabytes(facts.asked) if facts.asked is not None else "?", "fits": facts.fits,
    }  # fmt: skip
    return say("train.memory_fits" if facts.fits else "train.memory_nothing_fits", **words)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"


def _last_words(record: Record, conf: Any, stop: Stop, outcome: str) -> list[str]:
    bad = record.nonfinite
    if outcome == "diverged" and bad is not None:
        text = say(
            "train.nonfinite", step=bad.step, epoch=bad.epoch, what=bad.what, value=bad.value,
            loss=_short(bad.last_finite_loss), rate=_short(bad.learning_rate), norm=_short(bad.gradient_norm),
        )  # fmt: skip
        module: list[str] = []
        if bad.module:
            words = {"module": bad.module, "low": _short(bad.input_low), "high": _short(bad.input_high)}
            module = [say(f"train.nonfinite_{bad.direction}", **words)]
        stars = [say("train.nonfinite_stars", obsids=", ".join(bad.obsids))] if bad.obsids else []
        wild = [
            say(
                "train.nonfinite_extreme", obsid=star["obsid"], branch=star["branch"],
                flux=_short(star["flux"]), wavelength=f"{star['wavelength']:.1f}",
            )
            for star in bad.extremes[:1] if star.get("wavelength") is not None
        ]  # fmt: skip
        return [text, *module, *stars, *wild, say("train.nonfinite_advice", run=record.run_id)]
    if outcome == "stopped" and record.checkpoints:
        last = record.checkpoints[-1]
        return [
            say("train.stopped", by=stop.by or "?", step=last["step"], file=last["file"]),
            say("train.resume_with", run=record.run_id),
        ]
    if outcome == "finished":
        monitor = record.monitor
        value = _short(record.best_value)
        lines = [say("train.best_line", epoch=record.best_epoch, monitor=monitor, value=value)]
        if record.step < record.total_steps:
            lines.insert(0, say("train.early", monitor=monitor, patience=conf.training.patience))
        return lines
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
        report.line(say("train.not_tracked", log=workspace.relative(run.tracking_log)))
