"""One attempt at a run, from conf to exit code: the order of things around the loop. No torch at import.

Signals are caught before torch is loaded; whatever happens after the run folder exists ends in an end
event, and the exit code tells a script the same.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import exit_codes
from engine.conf.load import Resolved, from_plain
from engine.errors import BadInput
from engine.figures import draw_curves
from engine.runs import death
from engine.runs import folder as folders
from engine.runs.acts import refuse_to_resume
from engine.runs.events import EventLog, Unheard
from engine.runs.process import hold_lock
from engine.runs.record import Record
from engine.train import closing, reading, told
from engine.train.collector import collector_off
from engine.train.report import Report
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
        stars, split = reading.checked(workspace, resolved.conf, report, stop, parent, source, partial)
    except Stopped as stopped:
        report.line(say("train.stopped_early", by=stopped))
        return exit_codes.STOPPED
    try:
        run = make_folder(workspace, resolved, parent=parent, source=source, partial=partial)
    except OSError as error:
        report.line(say("train.no_folder", place=workspace.runs, error=error.strerror or error))
        return exit_codes.FAILED
    report.keep_in(run.log)
    report.line(say("train.run_id", run_id=run.run_id))
    return _attempt(workspace, run, resolved.conf, report, stop, lambda: (stars, split))


def check(
    workspace: Workspace, resolved: Resolved, stop: Stop, *, parent: str | None = None,
    source: Path | None = None, partial: bool = False,
) -> None:  # fmt: skip
    """Look at all that can be looked at before several processes are started; they will read it again.

    Raises:
        BadInput: it cannot be trained; nothing was written.
        Stopped: stopping was asked.
    """
    report = Report()
    report.heard = False  # how far reading is can be seen; the first process says the rest
    device = resolved.conf.training.device
    if device not in ("auto", "cpu", "cuda"):
        raise BadInput(say("train.one_device", device=device))
    reading.checked(workspace, resolved.conf, report, stop, parent, source, partial)


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
    return _attempt(workspace, run, conf, report, stop, lambda: reading.read(workspace, conf, report, stop))


def resume(workspace: Workspace, run_id: str, stop: Stop) -> int:
    """Go on with a run that was stopped, failed or died, from its newest whole checkpoint.

    Raises:
        BadInput: it is at work, has finished, or cannot go on; nothing was written.
    """
    report = Report()
    try:
        run, conf, read, _ = _resumable(workspace, run_id, report, stop)
    except Stopped as stopped:
        report.line(say("train.stopped_early", by=stopped))
        return exit_codes.STOPPED
    report.keep_in(run.log)
    return _attempt(workspace, run, conf, report, stop, lambda: read)


def check_resume(workspace: Workspace, run_id: str, stop: Stop) -> None:
    """Look whether several processes can go on with a run; they will read it again.

    Raises:
        BadInput: it is at work, has finished, or cannot go on; nothing was written.
        Stopped: stopping was asked.
    """
    report = Report()
    report.heard = False
    *_, lock = _resumable(workspace, run_id, report, stop)
    os.close(lock)  # the first of the processes will hold it


def _resumable(
    workspace: Workspace, run_id: str, report: Report, stop: Stop
) -> tuple[folders.RunFolder, Any, tuple[Any, Any], int]:
    """Return a run that can be gone on with, its conf, its tables and split, and its lock, held."""
    run, record = _known(workspace, run_id)
    refuse_to_resume(record)
    conf = from_plain(workspace, record.conf(), str(run.conf))
    lock = hold_lock(run.lock)
    if lock is None:
        raise BadInput(say("train.busy", run=run_id))
    read = reading.read(workspace, conf, report, stop)
    from engine.train import start as starts

    starts.of_run(run, record, read[0].fingerprint)  # refused before anything is written
    return run, conf, read, lock


def ranked(workspace: Workspace, run_id: str, stop: Stop) -> int:
    """Take part in a run of several processes; the first one reads the run folder and tells the others.

    Returns 0 whenever the run ended as all of them agreed: torchrun takes anything else for a crash and ends
    the others. What happened is in the run folder, or is told to the supervisor.
    """
    told.tell()
    from engine.train import ranks as ranking

    ranks = ranking.Ranks()
    report = Report.silent()
    try:
        ranks = ranking.join()
        about: tuple[str, dict[str, Any]] | None = None
        if ranks.first:
            run, record = _known(workspace, run_id)
            about = run.run_id, record.conf()
        run_id, plain = ranks.told(about)
        told.tell(run_id=run_id)
        run = folders.RunFolder(workspace.runs / run_id)
        report = Report() if ranks.first else report
        if run.path.is_dir():  # another machine may not see the folder
            report.keep_in(run.log)
        conf = from_plain(workspace, plain, str(run.conf))
        code = _attempt(
            workspace,
            run,
            conf,
            report,
            stop,
            lambda: reading.read(workspace, conf, report, stop),
            ranks=ranks,
        )
    except BadInput as error:
        told.tell(code=exit_codes.BAD_INPUT, said="\n".join(error.lines))
        return exit_codes.BAD_INPUT
    except Exception as error:  # noqa: BLE001 - it is told to the supervisor; the traceback goes to the log
        report.aside(traceback.format_exc())
        said = say("train.failed", error=f"{type(error).__name__}: {error}")
        told.tell(code=exit_codes.FAILED, said=said, lost=ranks.lost(error))
        return exit_codes.FAILED
    if code not in EXIT.values():
        return code
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
        try:
            folders.note_process(run, attempt=number, **told.to_note(run) | death.memory_facts())
            events = EventLog(run.events)
        except OSError as error:
            if not closing.is_full(error):
                raise
            report.line(say("train.disk_full", place=run.path, run=run.run_id))
            return exit_codes.FAILED
        tracker = replicate.start(workspace, run) if conf.tracking.enabled else None
    outcome, code, said = "failed", exit_codes.FAILED, ""
    lost = False
    try:
        events.append("attempt", number=number)
        events.append("phase", phase="reading")
        stars, split = reading.read_together(ranks, read)
        if writes:
            write_split(run.split, stars, split)
        events.append(
            "data", stars=len(stars.obsid), points=stars.continuum.shape[1], fingerprint=stars.fingerprint,
            wavelength=[float(stars.wavelength[0]), float(stars.wavelength[-1])], targets=conf.data.targets,
            train=len(split.train), val=len(split.val), test=len(split.test), report=stars.report,
            split=split.facts,
        )  # fmt: skip
        if ranks is None:  # else it is there already: the processes met through it
            report.line(say("train.loading_torch"))
        events.append("phase", phase="loading")
        outcome, code, said = _train(workspace, conf, run, stars, split, events, report, stop, before, ranks)
    except BadInput as error:
        code, said = exit_codes.BAD_INPUT, "\n".join(error.lines)
    except Stopped as stopped:
        outcome, code = "stopped", exit_codes.STOPPED
        said = say("train.stopped_empty", by=stopped)
    except Exception as error:  # noqa: BLE001 - the run must end with an end event; the traceback goes to the log
        if closing.is_full(error):
            said = say("train.disk_full", place=run.path, run=run.run_id)
        elif isinstance(error, OSError) and error.errno is not None:
            # a disk or a network that fails is not ours to debug: a traceback would only hide it
            what = error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
            said = say("train.disk_failed", error=what, run=run.run_id)
        else:
            said = say("train.failed", error=f"{type(error).__name__}: {error}")
            report.close()
            lost = ranks is not None and ranks.lost(error)
            (report.line if writes and not lost else report.aside)(traceback.format_exc())
    finally:
        report.close()
        if writes and not lost:
            _draw(run, report)
        if not lost:  # else it is for the supervisor to say what happened, or to start again
            events.append("end", outcome=outcome, exit_code=code, message=said)
        events.flush_to_disk()
        events.close()
    told.tell(code=code, said="" if lost else said, lost=lost)
    if lost:
        return code
    for line in said.splitlines():
        report.line(line)
    if tracker is not None:
        closing.wait_for_tracking(workspace, run, conf, tracker, report, stop)
    return code


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

    ours = ranks or ranking.Ranks()
    ours.heed(stop)
    start: Start = ours.told(_start(run, before, stars.fingerprint) if ours.first else None)
    for note in start.notes:
        report.line(note)
    try:
        outcome = run_session(workspace, conf, run, stars, split, events, report, stop, start, ours).value
    except oom.OutOfMemory as error:
        events.append("memory", **vars(error.facts))
        return "failed", exit_codes.OUT_OF_MEMORY, closing.memory_words(conf, error.facts)
    except (RuntimeError, MemoryError) as error:
        if not oom.is_out_of_memory(error):
            raise
        half = max(2, conf.training.batch_size // 2)
        text = say("train.memory", device=conf.training.device, batch=conf.training.batch_size, half=half)
        return "failed", exit_codes.OUT_OF_MEMORY, text
    if not ours.first:
        return outcome, EXIT[outcome], ""
    return outcome, EXIT[outcome], "\n".join(closing.last_words(whole_record(run), conf, stop, outcome))


def _start(run: folders.RunFolder, before: Record, fingerprint: str) -> Start:
    from engine.train import checkpoint
    from engine.train import start as starts

    # the lock is held: what is half-written belongs to nobody
    checkpoint.Checkpoints(run.checkpoints, {}).sweep()
    return starts.with_best(run, starts.of_run(run, before, fingerprint))
