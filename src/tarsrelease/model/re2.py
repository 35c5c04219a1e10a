r"""The syntax of regular expressions that Prometheus and its kin accept (github.com/google/re2).

Python's `re` differs on both sides: it accepts look-around, backreferences and ``x++``, and it
refuses ``\pL``, ``\z``, ``[[:alpha:]]`` and flags inside a pattern. This follows the parser of Go's
regexp/syntax with Perl flags, which Prometheus uses. It does not check the names of scripts
(``\p{Greek}``) and the limits on a pattern's total size.
"""

from __future__ import annotations

import re
from typing import NamedTuple

MOST_REPEATS = 1000
"""The highest count of a repetition, nested ones multiplied."""

_COUNTED = re.compile(r"\{(0|[1-9][0-9]*)(,(0|[1-9][0-9]*)?)?\}")
_FLAGS = re.compile(r"\(\?([imsU]*)(-[imsU]+)?([:)])")
_CAPTURE = re.compile(r"\(\?P?<([^>]*)>")
_POSIX = re.compile(
    r"\[:\^?(alnum|alpha|ascii|blank|cntrl|digit|graph|lower|print|punct|space|upper|word|xdigit):\]"
)
_UNICODE = re.compile(r"\\[pP](?:\{\^?([^}]*)\}|([^{]))")
_CATEGORY = re.compile(
    "Any|C[cfnos]?|L[Clmotu]?|M[cen]?|N[dlo]?|P[cdefios]?|S[ckmo]?|Z[lps]?",
)
_SCRIPT = re.compile(r"[A-Z][A-Za-z]{2,}(_[A-Z][A-Za-z]+)*")
_OCTAL = re.compile(r"\\(?:0[0-7]{0,2}|[1-7][0-7]{1,2})")
_HEXADECIMAL = re.compile(r"\\x(?:\{([0-9A-Fa-f]+)\}|([0-9A-Fa-f]{2}))")
_C_ESCAPES = {"a": "\a", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_LAST_RUNE = 0x10FFFF


class _Repeat(NamedTuple):
    """A counted repetition and those inside it."""

    times: int
    inside: tuple[_Repeat, ...]

    def fits(self, left: int) -> bool:
        """Whether it and those inside repeat at most `left` times together."""
        if self.times == 0:
            return True
        return self.times <= left and all(each.fits(left // self.times) for each in self.inside)


_Item = tuple[_Repeat, ...]
"""Something that can be repeated, by the counted repetitions in it."""


def fault(pattern: str) -> str | None:
    """Why the pattern is refused; None if it is accepted."""
    try:
        _Parser(pattern).parse()
    except ValueError as error:
        return str(error)
    return None


class _Parser:
    """One pattern. Each group on the stack has the items of its current alternative."""

    def __init__(self, pattern: str) -> None:
        self._text, self._at = pattern, 0
        self._items: list[_Item] = []
        self._inside: list[_Repeat] = []
        self._outer: list[tuple[list[_Item], list[_Repeat]]] = []
        self._repeated = False

    def parse(self) -> None:
        """Raises ValueError with the first fault."""
        while self._at < len(self._text):
            repeated, self._repeated = self._repeated, False
            self._next(repeated)
        if self._outer:
            raise ValueError("a ( is not closed")

    def _next(self, repeated: bool) -> None:
        char = self._text[self._at]
        counted = _COUNTED.match(self._text, self._at) if char == "{" else None
        if char in "*+?":
            self._at += 1
            self._repeat(char, 1, repeated)
        elif counted is not None:
            self._at = counted.end()
            self._repeat(counted[0], _times(counted), repeated)
        elif char == "(":
            self._open()
        elif char == ")":
            self._close()
        elif char == "|":
            self._at += 1
            self._items = []
        elif char == "[":
            self._class()
            self._push()
        elif char == "\\":
            self._escaped()
        else:
            self._at += 1
            self._push()

    def _push(self, inside: _Item = ()) -> None:
        self._items.append(inside)
        self._inside += inside

    def _repeat(self, operator: str, times: int, repeated: bool) -> None:
        if self._text.startswith("?", self._at):
            self._at += 1
        if repeated:
            raise ValueError(f"{operator} follows another repetition")
        if not self._items:
            raise ValueError(f"{operator} has nothing to repeat")
        self._repeated = True
        if times < 2 and operator[0] != "{":
            return
        inside = self._items.pop()
        whole = _Repeat(times, inside)
        if times >= 2 and not whole.fits(MOST_REPEATS):
            raise ValueError(f"{operator} repeats more than {MOST_REPEATS} times in all")
        del self._inside[len(self._inside) - len(inside) :]
        self._push((whole,))

    def _open(self) -> None:
        flags, capture = (each.match(self._text, self._at) for each in (_FLAGS, _CAPTURE))
        if not self._text.startswith("(?", self._at):
            self._at += 1
        elif capture is not None:
            if not re.fullmatch(r"[A-Za-z0-9_]+", capture[1]):
                raise ValueError(f"{capture[0]} is no name of a group")
            self._at = capture.end()
        elif flags is not None:
            self._at = flags.end()
            if flags[3] == ")":
                return
        else:
            raise ValueError(f"{self._text[self._at : self._at + 4]} is not supported by RE2")
        self._outer.append((self._items, self._inside))
        self._items, self._inside = [], []

    def _close(self) -> None:
        if not self._outer:
            raise ValueError("a ) closes nothing")
        self._at += 1
        inside = tuple(self._inside)
        self._items, self._inside = self._outer.pop()
        self._push(inside)

    def _escaped(self) -> None:
        following = self._text[self._at + 1 : self._at + 2]
        if following == "Q":
            quoted, _, _ = self._text[self._at + 2 :].partition("\\E")
            self._at = min(self._at + 2 + len(quoted) + 2, len(self._text))
            for _ in quoted:
                self._push()
            return
        if following in tuple("ABbz"):
            self._at += 2
        elif not self._several():
            self._rune()
        self._push()

    def _several(self) -> bool:
        r"""Take a class such as \d or \pL, if one is next."""
        if self._text[self._at + 1 : self._at + 2] in tuple("dDsSwW"):
            self._at += 2
            return True
        if self._text[self._at : self._at + 2] not in ("\\p", "\\P"):
            return False
        found = _UNICODE.match(self._text, self._at)
        name = (found[1] or found[2]) if found else None
        if found is None or not (_CATEGORY.fullmatch(name or "") or _SCRIPT.fullmatch(name or "")):
            shown = found[0] if found else self._text[self._at : self._at + 2]
            raise ValueError(f"{shown} is no class of characters")
        self._at = found.end()
        return True

    def _class(self) -> None:
        self._at += 1
        if self._text.startswith("^", self._at):
            self._at += 1
        first = True
        while first or not self._text.startswith("]", self._at):
            first = False
            if posix := _POSIX.match(self._text, self._at):
                self._at = posix.end()
                continue
            if self._text.startswith("[:", self._at) and ":]" in self._text[self._at + 2 :]:
                name = self._text[self._at :].partition(":]")[0]
                raise ValueError(f"{name}:] is no class of characters")
            if self._text.startswith("\\", self._at) and self._several():
                continue
            self._range()
        self._at += 1

    def _range(self) -> None:
        begin = self._at
        low = self._rune()
        if not (self._text.startswith("-", self._at) and self._text[self._at + 1 :][:1] != "]"):
            return
        if self._at + 1 >= len(self._text):
            return
        self._at += 1
        if self._rune() < low:
            raise ValueError(f"{self._text[begin : self._at]} is no range of characters")

    def _rune(self) -> str:
        """Take one character, escaped or not."""
        if self._at >= len(self._text):
            raise ValueError("a [ is not closed")
        char = self._text[self._at]
        if char != "\\":
            self._at += 1
            return char
        following = self._text[self._at + 1 : self._at + 2]
        if not following:
            raise ValueError("a backslash ends it")
        if octal := _OCTAL.match(self._text, self._at):
            self._at = octal.end()
            return chr(int(octal[0][1:], 8))
        if hexadecimal := _HEXADECIMAL.match(self._text, self._at):
            self._at = hexadecimal.end()
            value = int(hexadecimal[1] or hexadecimal[2], 16)
            if value <= _LAST_RUNE:
                return chr(value)
        elif following in _C_ESCAPES:
            self._at += 2
            return _C_ESCAPES[following]
        elif following.isascii() and not following.isalnum():
            self._at += 2
            return following
        raise ValueError(f"\\{following} is not supported by RE2")


def _times(counted: re.Match[str]) -> int:
    """How often it repeats at most; at least, if it is not bounded. Raises ValueError."""
    least = int(counted[1][:8])
    most = least if counted[2] is None else None if counted[3] is None else int(counted[3][:8])
    if max(least, most or 0) > MOST_REPEATS:
        raise ValueError(f"{counted[0]} repeats more than {MOST_REPEATS} times")
    if most is not None and most < least:
        raise ValueError(f"{counted[0]} ends before it begins")
    return least if most is None else most
