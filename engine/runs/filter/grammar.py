"""The grammar of `spectui runs --filter`: pieces into one question to a run.

    any   = all { OR all }            all  = { AND } one { { AND } one } { AND }
    one   = NOT one | ( any ) | KEY OP VALUE | KEY [NOT] IN ( VALUE, … ) | KEY IS [NOT] NULL | TEXT

MLflow's grammar is a part of it: comparisons joined by AND, which may also be left out between two of them,
or be left over at either end. Owns no keys and no comparisons.
"""

from __future__ import annotations

import ast
from typing import NoReturn

from engine.errors import BadInput
from engine.runs.filter import compare
from engine.runs.filter.compare import Test, Value
from engine.runs.filter.keys import Key, key_of
from engine.runs.filter.tokens import NUMBER, Token, refuse, split
from engine.runs.record import Record
from engine.words import say

_JOINTS = ("AND", "OR", "NOT")
_DEEPEST = 50


def parse(expression: str) -> Test:
    """Return the question that an expression is.

    Raises:
        BadInput: it makes no sense; one line says where and what was expected.
    """
    return _Parser(expression).whole()


class _Parser:
    """Recursive descent over the pieces; `self.place` is the next one."""

    def __init__(self, expression: str) -> None:
        self.expression = expression
        self.tokens = split(expression)
        self.place = 0
        self.depth = 0

    # -- pieces -----------------------------------------------------------------------------------------

    def _at(self, ahead: int = 0) -> Token:
        return self.tokens[min(self.place + ahead, len(self.tokens) - 1)]

    def _next(self) -> Token:
        token = self._at()
        self.place += 1
        return token

    def _refuse(self, token: Token, what: str) -> NoReturn:
        refuse(self.expression, token.start, what)

    def _operator(self, ahead: int) -> tuple[str, int] | None:
        """Return the operator that stands so far ahead and how many pieces it takes; None when none does."""
        first, second, third = self._at(ahead), self._at(ahead + 1), self._at(ahead + 2)
        if first.kind == "operator":
            return {"==": "=", "<>": "!="}.get(first.text, first.text), 1
        if first.is_word("LIKE", "ILIKE") and second.kind in ("string", "word"):
            return first.text.upper(), 1
        if first.is_word("NOT") and second.is_word("LIKE", "ILIKE") and third.kind in ("string", "word"):
            return f"NOT {second.text.upper()}", 2
        if first.is_word("IN") and second.text == "(":
            return "IN", 1
        if first.is_word("NOT") and second.is_word("IN") and third.text == "(":
            return "NOT IN", 2
        if first.is_word("IS") and second.is_word("NULL"):
            return "IS NULL", 2
        if first.is_word("IS") and second.is_word("NOT") and third.is_word("NULL"):
            return "IS NOT NULL", 3
        return None

    # -- rules ------------------------------------------------------------------------------------------

    def whole(self) -> Test:
        if all(token.is_word("AND") for token in self.tokens[:-1]):
            return lambda record: True
        test = self._any()
        if self._at().kind != "end":
            self._refuse(self._at(), say("filter.expected_joint"))
        return test

    def _any(self) -> Test:
        tests = [self._all()]
        while self._at().is_word("OR"):
            self._next()
            tests.append(self._all())
        return tests[0] if len(tests) == 1 else lambda record: any(test(record) for test in tests)

    def _all(self) -> Test:
        tests: list[Test] = []
        while True:
            dangling = None
            while self._at().is_word("AND") and (tests or self.place == 0 or dangling):
                dangling = self._next()
            token = self._at()
            if token.kind == "end" or token.text in (")", ",") or token.is_word("OR", "AND"):
                if not tests or (dangling is not None and token.kind != "end"):
                    self._refuse(token, say("filter.expected_term"))
                break
            tests.append(self._one())
        return tests[0] if len(tests) == 1 else lambda record: all(test(record) for test in tests)

    def _one(self) -> Test:
        turns = 0
        while self._at().is_word("NOT"):
            turns += 1
            self._next()
        test = self._bracket() if self._at().text == "(" else self._term()
        return (lambda record: not test(record)) if turns % 2 else test

    def _bracket(self) -> Test:
        opening = self._next()
        self.depth += 1
        if self.depth > _DEEPEST:
            self._refuse(opening, say("filter.too_deep", most=_DEEPEST))
        test = self._any()
        if self._at().text != ")":
            self._refuse(self._at(), say("filter.expected_bracket", column=opening.start + 1))
        self._next()
        self.depth -= 1
        return test

    def _term(self) -> Test:
        token = self._at()
        found = self._operator(1)
        if token.kind not in ("key", "function", "string", "word") or token.is_word(*_JOINTS):
            self._refuse(token, say("filter.expected_term"))
        if found is None:
            if token.kind in ("key", "function"):
                self._refuse(self._at(1), say("filter.expected_operator", key=token.text))
            return self._text()
        key = self._key(self._next())
        sign, length = found
        sign_token = self._at()
        self.place += length
        if sign in ("IS NULL", "IS NOT NULL"):
            return compare.is_null(key, sign == "IS NULL")
        if sign in ("IN", "NOT IN"):
            return compare.contained(key, sign == "IN", self._list())
        if self._at().text == "(" and sign_token.text == "=":
            self._refuse(self._at(), say("filter.expected_in"))
        return compare.comparison(key, sign, self._value(token))

    def _key(self, token: Token) -> Key:
        try:
            return key_of(token)
        except BadInput as error:
            refuse(self.expression, token.start, error.lines[0])

    def _text(self) -> Test:
        """Words that are no comparison: they are looked for, as they stand, in what names a run."""
        first = last = self._next()
        while self._at().kind in ("word", "string") and self._goes_on():
            last = self._next()
        whole = self.expression[first.start : last.end]
        text = " ".join((first.inside if first is last else whole).split()).casefold()
        return lambda record: any(text in word.casefold() for word in _words(record))

    def _goes_on(self) -> bool:
        """Tell whether the next piece belongs to the words before it."""
        return not self._at().is_word(*_JOINTS) and self._operator(1) is None

    def _value(self, key: Token) -> Value:
        token = self._at()
        if token.kind not in ("string", "word", "key", "function") or token.is_word("AND", "OR"):
            self._refuse(token, say("filter.expected_value", key=key.text))
        self._next()
        if token.kind == "string":
            return Value(token.inside, token.text[0] != "`")
        last = token
        number = NUMBER.fullmatch(token.text) is not None or compare.seconds(token.text) is not None
        while not number and self._at().kind == "word" and self._goes_on():
            last = self._next()
        return Value(self.expression[token.start : last.end])

    def _list(self) -> list[Value]:
        opening = self._next()
        values: list[Value] = []
        strings = True
        while self._at().text != ")" or self._at().kind != "mark":
            token = self._next()
            if token.kind not in ("string", "word"):
                self._refuse(token, say("filter.expected_list"))
            strings = strings and token.kind == "string" and token.text[0] != "`"
            values.append(Value(token.inside, token.kind == "string"))
            if self._at().text == "," and self._at().kind == "mark":
                self._next()
            elif self._at().kind == "end":
                self._refuse(self._at(), say("filter.expected_list"))
        closing = self._next()
        if not values:
            self._refuse(closing, say("filter.empty_list"))
        return (_literal(self.expression[opening.start : closing.end]) if strings else None) or values


def _literal(text: str) -> list[Value] | None:
    """Return a list of quoted texts as MLflow reads it, which is as Python does; None when that fails."""
    try:
        read = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return None
    found = read if isinstance(read, tuple) else (read,)
    return [Value(item, True) for item in found] if all(isinstance(item, str) for item in found) else None


def _words(record: Record) -> list[str]:
    return [record.run_id, record.name, record.model, record.state, record.note, *record.tags.values()]
