"""The filter language in pieces: words, keys, texts, operators. Knows no runs and no meaning."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NoReturn

from engine.errors import BadInput
from engine.words import say

# What is in quotes stays as it is written, doubled quotes too: that is MLflow's reading.
_SINGLE = r"'(?:''|\\'|[^'])*'"
_DOUBLE = r'"(?:""|\\"|[^"])*"'
_BACK = r"`[^`]*`"
_ANY_QUOTED = f"{_SINGLE}|{_DOUBLE}|{_BACK}"
_PIECE = re.compile(
    rf"""
    (?P<key>(?:`\w+`|[^\W\d]\w*)\.(?:{_ANY_QUOTED})|`\w+`\.[^\s()<>=!~,'"`]+)
  | (?P<function>(?:best|last|min|max)\s*\(\s*(?:{_ANY_QUOTED}|[^()'"`,]*?)\s*\))
  | (?P<string>{_ANY_QUOTED})
  | (?P<operator><=|>=|!=|<>|==|!~|=|<|>|~)
  | (?P<mark>[(),])
  | (?P<word>\[[^\]]*\]|[^\s()<>=!~,'"`][^\s()<>=!~,'"`]*)
    """,
    re.VERBOSE | re.IGNORECASE,
)
NUMBER = re.compile(r"-?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:e[+-]?[0-9]+)?", re.IGNORECASE)
"""A number as MLflow's grammar has it."""


@dataclass(frozen=True, slots=True)
class Token:
    """One piece; `kind` is key, function, string, operator, mark, word or end."""

    kind: str
    text: str
    start: int
    end: int

    @property
    def inside(self) -> str:
        """The text without the quotes around it."""
        return unquoted(self.text) if self.kind == "string" else self.text

    def is_word(self, *words: str) -> bool:
        """Tell whether this is one of the words, in capitals or not."""
        return self.kind == "word" and self.text.upper() in words


def unquoted(text: str) -> str:
    """Return a text without the quotes around it, if it has some."""
    return text[1:-1] if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"`" else text


def split(expression: str) -> list[Token]:
    """Return the pieces of an expression, with an end piece last.

    Raises:
        BadInput: a quote is not closed, or a character has no meaning here.
    """
    found: list[Token] = []
    place = 0
    while place < len(expression):
        if expression[place].isspace():
            place += 1
            continue
        match = _PIECE.match(expression, place)
        if match is None:
            if expression[place] in "'\"`":
                refuse(expression, place, say("filter.open_quote", quote=expression[place]))
            refuse(expression, place, say("filter.odd_character", character=expression[place]))
        found.append(Token(str(match.lastgroup), match.group(), place, match.end()))
        place = match.end()
    return [*found, Token("end", "", len(expression), len(expression))]


def refuse(expression: str, place: int, what: str) -> NoReturn:
    """Say in one line what is wrong where: the column, and the expression from there on."""
    rest = " ".join(expression[place : place + 30].split()) or say("filter.the_end")
    raise BadInput(say("filter.wrong", column=place + 1, rest=rest, what=what))
