"""Experiments: what can be run. Confs and networks side by side, and the one under the cursor in full."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.message import Message
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from engine import catalog, diagnose
from engine.conf.load import conf_files, resolve
from engine.errors import BadInput
from engine.words import say
from tui import keys, saving
from tui.screens.ask import Ask
from tui.screens.base import Place
from tui.widgets.conf_text import yaml_source
from tui.widgets.plain import harmless, plain


class ExperimentsScreen(Place):
    """The confs and the networks of the workspace."""

    where: ClassVar[str] = "experiments"
    mode: ClassVar[str] = "experiments"
    BINDINGS = keys.bindings("experiments")

    class Counted(Message):
        """The parameters of the networks are known."""

        def __init__(self, counts: dict[str, Any]) -> None:
            self.counts = counts
            super().__init__()

    def __init__(self) -> None:
        super().__init__()
        self.confs: list[Path] = []
        self.networks: list[catalog.Network] = []
        self.counts: dict[str, Any] = {}
        self.counted = False
        self.counting = False
        self.count_again = False

    def compose_body(self) -> ComposeResult:
        with Horizontal(id="experiments"):
            with Horizontal(id="lists"):
                with Vertical():
                    yield Static(say("experiments.confs"), classes="heading")
                    yield OptionList(id="confs", compact=True)
                with Vertical():
                    yield Static(say("experiments.networks"), classes="heading")
                    yield OptionList(id="networks", compact=True)
            with VerticalScroll(id="detail"):
                yield Static(id="detail-text")

    def on_mount(self) -> None:
        self.query_one("#confs").focus()

    def on_screen_resume(self) -> None:
        # What changed while another mode was shown was told to that one.
        super().on_screen_resume()
        self.confs_changed()

    def confs_changed(self) -> None:
        """Read the folder again; the cursors stay on their names."""
        workspace = self.spectui.workspace
        self.confs = conf_files(workspace)
        self.networks = catalog.networks(workspace)
        self._fill(
            "confs", [(workspace.relative(p), p.stem) for p in self.confs], say("experiments.no_confs")
        )
        self._fill(
            "networks",
            [(n.name, f"✗ {n.name}" if n.broken else n.name) for n in self.networks],
            say("experiments.no_networks"),
        )
        self.count_parameters()
        self._show_detail()

    def _fill(self, name: str, entries: list[tuple[str, str]], empty: str) -> None:
        options = self.query_one(f"#{name}", OptionList)
        chosen = options.highlighted
        before = (
            options.get_option_at_index(chosen).id if chosen is not None and options.option_count else None
        )
        options.clear_options()
        if not entries:
            options.add_option(Option(empty, disabled=True))
            return
        options.add_options([Option(Text(plain(shown)), id=identity) for identity, shown in entries])
        ids = [identity for identity, _ in entries]
        options.highlighted = ids.index(before) if before in ids else 0

    def count_parameters(self) -> None:
        """Count parameters in a child process: torch never comes into this one.

        In a daemon thread and not in a worker: it takes seconds, and quitting must not wait for it.
        """
        if self.counting:
            self.count_again = True
            return
        self.counting, self.count_again = True, False
        workspace = self.spectui.workspace

        def count() -> None:
            self.post_message(self.Counted(catalog.parameter_counts(workspace)))

        threading.Thread(target=count, name="count", daemon=True).start()

    def on_experiments_screen_counted(self, message: Counted) -> None:
        self.counts, self.counted, self.counting = message.counts, True, False
        self._show_detail()
        if self.count_again:
            self.count_parameters()

    @on(OptionList.OptionHighlighted)
    def _highlighted(self) -> None:
        self._show_detail()

    def on_descendant_focus(self) -> None:
        self._show_detail()

    def _show_detail(self) -> None:
        if not self.is_mounted:
            return
        text = Text()
        if self.query_one("#networks").has_focus:
            network = self._network()
            if network is not None:
                text = self._network_text(network)
        else:
            path = self._conf()
            if path is not None:
                text = self._conf_text(path)
        self.query_one("#detail-text", Static).update(harmless(text))

    def _conf(self) -> Path | None:
        place = self.query_one("#confs", OptionList).highlighted
        return self.confs[place] if place is not None and place < len(self.confs) else None

    def _network(self) -> catalog.Network | None:
        place = self.query_one("#networks", OptionList).highlighted
        return self.networks[place] if place is not None and place < len(self.networks) else None

    def _conf_text(self, path: Path) -> Text:
        workspace = self.spectui.workspace
        text = Text().append(f"{workspace.relative(path)}\n", "bold")
        try:
            conf = resolve(workspace, path).conf
        except BadInput as error:
            for line in error.lines:
                text.append(f"✗ {line}\n", "bold red")
        else:
            for finding in diagnose.of_conf(workspace, conf):
                text.append(f"{say('experiments.note')} {finding.title}\n", "yellow")
        text.append("\n")
        try:
            source = path.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            return text.append(f"✗ {error}\n", "bold red")
        return text.append_text(yaml_source(source))

    def _network_text(self, network: catalog.Network) -> Text:
        text = Text().append(network.name, "bold")
        text.append(f"  {self.spectui.workspace.relative(network.file)}\n", "dim")
        if network.broken:
            return text.append(f"✗ {network.broken}\n", "bold red")
        count = self.counts.get(network.name)
        if count is not None and count.parameters is not None:
            text.append(say("experiments.parameters", count=f"{count.parameters:,}") + "\n", "bold cyan")
            for part, number in (count.parts or {}).items():
                text.append(f"  {part:<24}{number:>12,}\n", "dim")
        elif count is not None and count.error:
            text.append(f"✗ {count.error}\n", "red")
        else:
            text.append(
                say("experiments.not_counted" if self.counted else "experiments.counting") + "\n", "dim"
            )
        text.append(say("experiments.takes", inputs=", ".join(network.inputs)) + "\n\n", "dim")
        text.append(network.doc + "\n")
        if network.fields:
            text.append(f"\n{say('experiments.fields')}\n", "bold")
            for field in network.fields:
                for name, inner in [(f"{field.name}.{n.name}", n) for n in field.nested or ()] or [
                    (field.name, field)
                ]:
                    text.append(f"  {name}", "cyan")
                    text.append(f" = {inner.default}\n")
        return text

    def action_open(self) -> None:
        self.action_new()

    @on(OptionList.OptionSelected)
    def action_new(self) -> None:
        """Open the launch form on the conf or network under the cursor."""
        from tui.screens.launch import LaunchScreen

        workspace = self.spectui.workspace
        try:
            if self.query_one("#networks").has_focus:
                network = self._network()
                if network is None:
                    return
                resolved = resolve(workspace, None, flags={"model": network.name, "model_id": network.name})
            else:
                path = self._conf()
                if path is None:
                    return
                resolved = resolve(workspace, path)
        except BadInput as error:
            self.notify("\n".join(error.lines), severity="error", markup=False)
            return
        self.app.push_screen(LaunchScreen(resolved.conf, resolved.source))

    def action_edit(self) -> None:
        """Open the file under the cursor in $EDITOR, and tell what is wrong with it after."""
        workspace = self.spectui.workspace
        network = self._network() if self.query_one("#networks").has_focus else None
        path = network.file if network is not None else self._conf()
        if path is None:
            return
        shown = workspace.relative(path)
        if network is not None and network.builtin:
            folder = workspace.relative(workspace.networks)
            self.notify(say("experiments.builtin", file=shown, folder=folder), severity="warning")
            return
        if not self.spectui.edit(path):
            return
        self.confs_changed()
        if network is None:
            try:
                resolve(workspace, path)
            except BadInput as error:
                self.notify("\n".join(error.lines), severity="error", markup=False)
                return
            self.notify(say("experiments.good", file=shown), markup=False)

    def action_duplicate(self) -> None:
        """Copy the conf under the cursor, comments and all; the name is asked."""
        path = self._conf()
        if self.query_one("#networks").has_focus or path is None:
            self.notify(say("experiments.only_confs"), severity="warning")
            return
        workspace = self.spectui.workspace

        def named(name: str | None) -> None:
            if not name:
                return
            try:
                target = saving.target_of(workspace, name)
                saving.write(workspace, target, path.read_text(encoding="utf-8"))
            except (BadInput, OSError) as error:
                lines = error.lines if isinstance(error, BadInput) else [str(error)]
                self.notify("\n".join(lines), severity="error", markup=False)
                return
            self.confs_changed()
            self.query_one("#confs", OptionList).highlighted = self.confs.index(target)
            self.notify(say("experiments.duplicated", file=workspace.relative(target)), markup=False)

        question = say("experiments.duplicate", file=workspace.relative(path))
        self.app.push_screen(Ask(plain(question), f"{path.stem}-2", say("save.hint")), named)

    def action_next_list(self) -> None:
        order = ["confs", "networks", "detail"]
        focused = self.focused.id if self.focused is not None else None
        place = order.index(focused) if focused in order else -1
        self.query_one(f"#{order[(place + 1) % len(order)]}").focus()

    def action_refresh_now(self) -> None:
        self.confs_changed()
