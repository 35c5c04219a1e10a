"""The kinds of an action's inputs: each has a pattern, and a text that says what is allowed.

GitHub passes every input as text. The patterns are narrow, because anybody who starts a workflow
chooses the inputs, which appear in arguments, journals, pages and messages.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import yaml

from tarsrelease.model import quantities

_PATH = r"[A-Za-z0-9._/][A-Za-z0-9._/+@=-]*"
_WORD = r"[a-z][a-z0-9-]*"


@dataclass(frozen=True)
class Kind:
    """`pattern` must match the whole text; `allowed` describes it for people.

    Its ``\\w`` and ``\\d`` are ASCII's, unless it takes any `language`. A `secret` is never
    repeated in a message.
    """

    name: str
    allowed: str
    pattern: str
    longest: int = 200
    secret: bool = False
    language: bool = False

    def problem(self, text: str) -> str | None:
        """Why `text` is refused; None if it is accepted."""
        if len(text) > self.longest:
            return f"has {len(text)} characters; allowed are {self.longest} at most: {self.allowed}"
        flags = 0 if self.language else re.ASCII
        if re.fullmatch(self.pattern, text, flags) is None:
            shown = "" if self.secret else f"{shorten(text)} "
            return f"{shown}is not {self.name}; allowed: {self.allowed}"
        return None


def shorten(text: str, longest: int = 60) -> str:
    """`text` in quotes, on one line of plain ASCII."""
    shown = ascii(text if len(text) <= longest else text[: longest - 3] + "...")
    return f'"{shown[1:-1]}"'


def choice(*words: str) -> Kind:
    """One of a few words."""
    return Kind("one of its words", ", ".join(words), "|".join(map(re.escape, words)))


class _Kubeconfig(Kind):
    """A kubeconfig's content. What it names is run and connected to: it is a secret like a key."""

    def problem(self, text: str) -> str | None:
        if len(text) > self.longest:
            return f"has {len(text)} characters; allowed are {self.longest} at most: {self.allowed}"
        try:
            document = yaml.safe_load(text)
        except (yaml.YAMLError, RecursionError):
            document = None
        keys = {"clusters", "contexts", "users"}
        if not isinstance(document, dict) or not keys <= document.keys():
            return f"is not {self.name}; allowed: {self.allowed}"
        return None


BOOLEAN = Kind("a boolean", "true, false", "true|false")
DURATION = Kind(
    "a duration",
    "a number with one of the units ms, s, m, h, d, such as 10m or 3m30s",
    quantities.DURATION,
)
NUMBER = Kind(
    "a number", "digits with at most one point, such as 10 or 0.5", r"\d{1,6}(\.\d{1,6})?"
)
COUNT = Kind("a number", "digits, such as 3", r"\d{1,6}")
WEIGHT = Kind(
    "a stage", "a share of the traffic in percent from 1 to 100, such as 10", quantities.STAGE
)
WEIGHTS = Kind(
    "a list of stages",
    "shares of the traffic in percent, separated by commas, such as 1,10,100",
    rf"{quantities.STAGE}(\s?,\s?{quantities.STAGE})*",
)
PATH = Kind(
    "a path", "letters, digits and . _ / + @ = -, not beginning with a hyphen; no spaces", _PATH
)
PATHS = Kind("a list of paths", "paths without spaces, separated by commas", rf"{_PATH}(,{_PATH})*")
WORDS = Kind(
    "a list of words", "lower-case words separated by commas", rf"{_WORD}(\s?,\s?{_WORD})*"
)
NAMES = Kind(
    "a list of names",
    "letters, digits and _, separated by commas",
    r"[A-Za-z_]\w*(\s?,\s?[A-Za-z_]\w*)*",
)
ANSWERS = Kind(
    "a list of answers",
    "ID=yes or ID=no, separated by commas",
    r"[a-z][a-z0-9_.]*=(yes|no)(\s?,\s?[a-z][a-z0-9_.]*=(yes|no))*",
    longest=1000,
)
VOTES = Kind(
    "a list of votes",
    "ROLE=go or ROLE=no-go, then :NAME where somebody is named, separated by commas",
    r"[a-z][a-z0-9-]*=(go|no-go)(:[\w .'-]+)?(\s?,\s?[a-z][a-z0-9-]*=(go|no-go)(:[\w .'-]+)?)*",
    longest=1000,
    language=True,
)
RUN = Kind("a run's id", "digits, as in the run's address", r"\d{1,20}")
APPROVALS = Kind("a run's id", "digits, as in the run's address, or next", r"\d{1,20}|next")
VERSION = Kind(
    "a version", "a semantic version, such as 1.0.1", r"v?\d+\.\d+\.\d+([-+][0-9A-Za-z.+-]+)?"
)
PLATFORM = Kind("a platform", "OS/ARCH, such as linux/amd64", r"[a-z0-9]+/[a-z0-9]+(/[a-z0-9]+)?")
REPOSITORY = Kind("a repository", "OWNER/NAME", r"[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+")
REF = Kind(
    "a Git ref", "a branch or tag, such as release/v1.0.1", r"[A-Za-z0-9_][A-Za-z0-9._/+@-]*"
)
LOGIN = Kind("a name", "a GitHub login: letters, digits, - _ [ ]", r"[A-Za-z0-9][A-Za-z0-9_\[\]-]*")
TEXT = Kind(
    "plain text",
    "one line of letters, digits, spaces and . , ; : ! ? ' ( ) [ ] / + & # @ = * % _ -, without "
    ":: or a percent-escape",
    r"(?!.*(::|%[0-9A-Fa-f]{2}))(\w|[ .,;:!?'()\[\]/+&#@=*%-])*",
    longest=500,
    language=True,
)
KUBECONFIG = _Kubeconfig(
    "a kubeconfig",
    "the content of a kubeconfig with clusters, contexts and users",
    "",
    longest=60_000,
    secret=True,
)


def plain(text: str) -> str:
    """`text` with every character that `TEXT` refuses replaced, cut to the allowed length.

    For the reason of a rollback, which must never stop an action.
    """
    kept = "".join(c if re.fullmatch(TEXT.pattern, c) else "?" for c in text[: TEXT.longest])
    kept = re.sub(r":(?=:)", "?", kept)
    return re.sub(r"%(?=[0-9A-Fa-f]{2})", "?", kept)
