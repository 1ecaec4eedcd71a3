"""A conf file as text, as it was written: comments dim, keys in colour."""

from __future__ import annotations

from rich.text import Text

from tui.widgets.plain import harmless


def yaml_source(source: str) -> Text:
    """Return a conf file as it was written, comments dim and keys in colour."""
    text = Text()
    for line in source.splitlines():
        body, mark, comment = _split_comment(line)
        key, colon, rest = body.partition(":")
        if colon:
            text.append(key, "cyan")
            text.append(colon + rest)
        else:
            text.append(body)
        text.append(f"{mark}{comment}\n", "dim italic")
    return harmless(text)


def _split_comment(line: str) -> tuple[str, str, str]:
    """Split at a '#' that starts a comment (at the start, or after a space and outside quotes)."""
    quote = ""
    for place, character in enumerate(line):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character == "#" and (place == 0 or line[place - 1].isspace()):
            return line[:place], "#", line[place + 1 :]
    return line, "", ""
