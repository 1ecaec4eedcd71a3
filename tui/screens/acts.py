"""What can be done with runs by keys: stop, resume, run again, rename, note, tag, queue, remove.

The list of runs does it with the marked runs, or the one under the cursor; the screen of a run with that run.
What ends or removes something asks first and names it. The work is done in threads; what came of it is told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from engine.errors import BadInput
from engine.runs.record import Record
from engine.words import say
from tui.late import Late
from tui.screens.ask import Ask
from tui.screens.base import Place
from tui.screens.confirm import Confirm

if TYPE_CHECKING:
    from engine.runs import acts
else:
    acts = Late("engine.runs.acts")

_MOST_NAMES = 8


class Acts(Place):
    """A screen with runs to act on."""

    def chosen(self) -> list[Record]:
        """Return the runs that are meant."""
        return []

    def action_stop(self) -> None:
        """Ask whether to stop, and how."""
        runs = self._those("runs.not_live", lambda r: r.stored is None and r.live)
        if runs:
            question = _question("run_acts.stop", runs)

            def answered(answer: str | None) -> None:
                if answer:
                    self._each(runs, lambda r: "\n".join(acts.stop(r, now=answer == "k").lines()))
                    self.notify(say("runs.stopping", run=named(runs)))

            self.app.push_screen(Confirm(question, {"k": say("run_acts.now")}), answered)

    def action_resume(self) -> None:
        """Go on with runs that were stopped, failed or died, each in a process of its own."""
        here = self.spectui.workspace
        self._each(self._ours(), lambda r: say("run_acts.resumed", run=r.run_id, pid=acts.resume(here, r)))

    def action_queue(self) -> None:
        """Let runs wait for a free slot and go on then."""
        from engine.runs import queue

        here, runs = self.spectui.workspace, self._ours()
        if runs:

            def add() -> list[str]:
                ids = [run.run_id for run in runs]
                queue.add(here, ids)
                return [say("run_acts.queued", run=run_id) for run_id in ids]

            self._do(add)

    def action_rerun(self) -> None:
        """Open the form with the conf of a run: what is started from it is that run's child."""
        runs = self.chosen()[:1]
        if not runs:
            return
        from tui.screens.launch import LaunchScreen

        try:
            resolved = acts.conf_of(self.spectui.workspace, runs[0])
        except BadInput as error:
            self.notify(error.lines[0], severity="error")
            return
        self.app.push_screen(LaunchScreen(resolved.conf, runs[0].source, parent=runs[0]))

    def action_duplicate(self) -> None:
        """Open the form with the conf of a run, for a new run that is nobody's child."""
        from engine.conf.load import resolve  # with the schema, which the list of runs does not need

        for run in self.chosen()[:1]:
            from tui.screens.launch import LaunchScreen

            here = self.spectui.workspace
            try:
                conf = acts.conf_of(here, run).conf
            except BadInput as error:
                self.notify(error.lines[0], severity="error", markup=False)
                return
            source = run.source
            try:
                original = resolve(here, source).conf if source else conf
            except BadInput:  # it is gone, or not valid any more
                original, source = conf, None
            self.app.push_screen(LaunchScreen(original, source, now=conf, copy_of=run))

    def action_rename(self) -> None:
        for run in self._ours()[:1]:
            self._ask(say("run_acts.rename", run=run.run_id), run.name, partial(acts.rename, _own(run)))

    def action_note(self) -> None:
        for run in self._ours()[:1]:
            self._ask(say("run_acts.note", run=run.run_id), run.note, partial(acts.note, _own(run)))

    def action_tag(self) -> None:
        """Set or take away tags of all the runs that are meant: `k=v` sets, `k-` takes away."""
        runs = self._ours()
        if runs:
            there = " ".join(f"{k}={v}" for k, v in runs[0].tags.items()) if len(runs) == 1 else ""

            def tag(text: str) -> None:
                changes = _changes(text)
                gone = {k for k in runs[0].tags if len(runs) == 1 and k not in changes}
                for run in runs:
                    acts.tag(_own(run), changes | dict.fromkeys(gone))

            self._ask(say("run_acts.tag", run=named(runs)), there, tag, say("run_acts.tag_hint"))

    def action_remove(self) -> None:
        """Ask whether runs shall go to the trash, from which they can come back."""
        runs = self.chosen()
        live = [run for run in runs if run.live and run.state != "queued"]
        if live:
            self.notify(say("run_acts.stop_first", run=named(live)), severity="warning")
        elif runs:
            here = self.spectui.workspace

            def remove(run: Record) -> str:
                acts.remove(here, run)
                return say("run_acts.removed", run=run.run_id)

            def answered(answer: str | None) -> None:
                if answer:
                    self._each(runs, remove)
                    self.spectui.marked -= {run.run_id for run in runs}

            self.app.push_screen(Confirm(_question("run_acts.remove", runs)), answered)

    # -- how ---------------------------------------------------------------------------------------------

    def _each(self, runs: Sequence[Record], act: Callable[[Record], str]) -> None:
        """Do something with each run at the same time: one that takes a minute holds up no other."""
        for run in runs:
            self._do(lambda run=run: [act(_own(run))])  # type: ignore[misc]

    def _ours(self) -> list[Record]:
        """Return the runs that are meant and have a folder here; say so when one has none."""
        return self._those("run_acts.only_stored", lambda r: r.stored is None)

    def _those(self, otherwise: str, can: Callable[[Record], bool]) -> list[Record]:
        runs = self.chosen()
        able = [run for run in runs if can(run)]
        if runs and not able:
            self.notify(say(otherwise, run=named(runs)), severity="warning")
        return able

    def _ask(self, question: str, text: str, act: Callable[[str], None], hint: str = "") -> None:
        def answered(given: str | None) -> None:
            if given is not None and given != text:

                def work() -> list[str]:
                    act(given)
                    return []

                self._do(work)

        self.app.push_screen(Ask(question, text, hint), answered)

    def _do(self, work: Callable[[], list[str]]) -> None:
        self.spectui.carry_out(work)


def _own(record: Record) -> Record:
    """Return a record of the run for the act alone: that of the list is read by another thread, which would
    not see what changed if somebody else had seen it first.
    """
    return record if record.stored is not None else Record(record.folder.path, keep_curves=False)


def named(runs: Sequence[Record]) -> str:
    """Return one run's id, or how many there are."""
    return runs[0].run_id if len(runs) == 1 else say("run_acts.several", count=len(runs))


def _changes(text: str) -> dict[str, str | None]:
    """Read `k=v` (set) and `k-` (take away).

    Raises:
        BadInput: a word is neither.
    """
    changes: dict[str, str | None] = {}
    for word in text.split():
        key, equals, value = word.partition("=")
        if equals and key:
            changes[key] = value
        elif word.endswith("-") and len(word) > 1:
            changes[word[:-1]] = None
        else:
            raise BadInput(say("run_acts.bad_tag", word=word))
    return changes


def _question(key: str, runs: Sequence[Record]) -> str:
    lines = [say(f"{key}_question", run=named(runs))]
    if len(runs) > 1:
        lines += [f"  {run.run_id}  {say(f'state.{run.state}')}" for run in runs[:_MOST_NAMES]]
        if len(runs) > _MOST_NAMES:
            lines.append(f"  {say('run_acts.more', count=len(runs) - _MOST_NAMES)}")
    return "\n".join(lines)
