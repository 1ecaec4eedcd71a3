"""Opens a star of a run in the spectrum viewer; its data are read while that says how far they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import work
from textual.widget import Widget

from engine.errors import BadInput
from engine.runs.record import Record

if TYPE_CHECKING:
    from tui.app import SpectuiApp
    from tui.widgets.reading import Reading


class OpensStars(Widget):
    """A widget from which stars of a run are opened."""

    _reading: Reading | None = None

    @property
    def spectui(self) -> SpectuiApp:
        """Return the app, typed."""
        return self.app  # type: ignore[return-value]

    @work(thread=True, exclusive=True, group="star", exit_on_error=False)
    def open_star(self, record: Record, obsid: str, around: float | None = None) -> None:
        """Find the data set of the run, open the viewer on it (`around` a wavelength), and read."""
        from engine.conf.load import from_plain
        from engine.spectra import layout
        from engine.spectra.facts_sets import DataSet
        from tui.widgets.reading import Reading

        workspace = self.spectui.workspace
        try:
            conf = from_plain(workspace, record.conf(), record.run_id).data
            folder = layout.resolve(workspace, conf.path)
        except BadInput as error:
            self.app.call_later(self._no_data, error.lines[0])
            return
        reading = Reading(DataSet(conf.path, folder, conf, record.source, 0, 0, 0.0))
        self.app.call_later(self._opened, reading, obsid, around)
        reading.run(workspace)

    def _no_data(self, why: str) -> None:
        self.notify(why, severity="error", markup=False)

    def _opened(self, reading: Reading, obsid: str, around: float | None) -> None:
        from tui.screens.spectrum import SpectrumScreen

        self._reading = reading
        self.app.push_screen(SpectrumScreen(reading, obsid, around))

    def on_unmount(self) -> None:
        # the app waits for its threads: one that reads a large table must not hold up its end
        if self._reading is not None:
            self._reading.stop()
