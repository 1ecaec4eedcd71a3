"""From a run's recorded curves to chart series, taking over only the points that are new."""

from __future__ import annotations

from engine.runs.record import Record
from tui.charts import Series


class Curves:
    """The chart series of one run, grown from its record."""

    def __init__(self) -> None:
        self._series: dict[str, Series] = {}
        self._taken: dict[str, int] = {}
        self._cuts = 0

    def update(self, record: Record) -> None:
        """Append what the record has and the series have not."""
        if record.cuts != self._cuts:
            # the run went back and did steps again: what was drawn of them is not what is there now
            self._cuts = record.cuts
            self._taken.clear()
            for series in self._series.values():
                series.clear()
        for name, curve in record.curves.items():
            taken = self._taken.get(name, 0)
            count = min(len(curve.steps), len(curve.values))
            if count < taken:
                self._series[name].clear()
                taken = 0
            if count > taken:
                series = self._series.setdefault(name, Series(name))
                series.append(curve.steps[taken:count], curve.values[taken:count])
                self._taken[name] = count

    def get(self, name: str) -> Series | None:
        """Return the series of a quantity, None while there is no point."""
        return self._series.get(name)

    def names(self) -> list[str]:
        return list(self._series)
