"""SHA256SUMS as text: which SHA-256 it gives to which path. Pure.

Read are the forms that coreutils' sha256sum writes: GNU (64 hexadecimal digits, a space, a space
or an asterisk, the name), BSD (``SHA256 (name) = digits``, from ``--tag``) and both escaped (a
leading backslash; then ``\\\\``, ``\\n`` and ``\\r`` in the name stand for a backslash, a line
feed and a carriage return); and those of BSD's ``sha256 -r`` (digits, one space, the name) and of
``openssl dgst`` (``SHA2-256(name)= digits``). Lines end in a line feed alone, the last one too.
Nothing else is read: no comments, no empty lines, no other algorithm, no name that is given twice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

LARGEST = 16 * 2**20
"""Bytes of the largest list that is read: some 150 000 lines."""
_MANY = 20
"""Mistakes that are told one by one; of a list that is no list, more would help nobody."""
_LONGEST = 4096  # PATH_MAX of Linux, linux/limits.h

_GNU = re.compile(r"([0-9A-Fa-f]{64}) (?:[ *]|(?![ *]))([^\n]+)")
_TAG = re.compile(r"SHA(?:2-)?256 ?\(([^\n]+)\) ?= ([0-9A-Fa-f]{64})")
_OTHER_TAG = re.compile(r"([A-Za-z][A-Za-z0-9/-]{1,15}) ?\([^\n]+\) ?= ?[0-9A-Fa-f]+")
_OTHER_DIGITS = re.compile(r"([0-9A-Fa-f]{32,128}) [ *][^\n]+")
_LENGTHS = {32: "MD5", 40: "SHA-1", 56: "SHA-224", 96: "SHA-384", 128: "SHA-512"}
_ESCAPES = {"\\\\": "\\", "\\n": "\n", "\\r": "\r"}
_ESCAPED = re.compile(r"\\.?")


@dataclass(frozen=True)
class Listed:
    """What SHA256SUMS says: SHA-256 (lower-case hex) by path, and what is wrong with its form."""

    digests: Mapping[str, str]
    faults: tuple[str, ...]


def parse_checksums(content: bytes) -> Listed:
    """Read a SHA256SUMS. Mistakes are `faults`; lines without one are read all the same."""
    whole = _whole_fault(content)
    if whole is not None:
        return Listed({}, (whole,))
    try:
        text = content.decode()
    except UnicodeDecodeError as problem:
        return Listed({}, (f"not UTF-8 at byte {problem.start}",))
    digests: dict[str, str] = {}
    faults: list[str] = []
    lines = text.split("\n")
    if lines.pop():
        faults.append("the last line has no line feed: the list may be truncated")
    for number, line in enumerate(lines, start=1):
        read = _line(line)
        if isinstance(read, str):
            faults.append(f"line {number} {read}")
            continue
        path, digest = read
        fault = path_fault(path)
        if fault:
            faults.append(f"line {number}: {shown(path)} {fault}")
        elif path in digests:
            faults.append(f"line {number}: {shown(path)} is listed twice")
        else:
            digests[path] = digest
    if not digests and not faults:
        faults.append("it is empty")
    if len(faults) > _MANY:
        faults[_MANY:] = [f"and {len(faults) - _MANY} more lines are wrong"]
    return Listed(digests, tuple(faults))


def _whole_fault(content: bytes) -> str | None:
    """What is wrong with the file as a whole, told once and not line by line."""
    if len(content) > LARGEST:
        return f"it has {len(content)} bytes; more than {LARGEST} are not read"
    if content.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        return "it begins with a byte order mark; it must be UTF-8 without one"
    if b"\0" in content:
        return f"line {_line_of(content, 0)} has a NUL"
    if b"\r" in content:
        number = _line_of(content, 13)
        return f"line {number} has a carriage return; lines must end in a line feed only"
    return None


def _line_of(content: bytes, byte: int) -> int:
    return content.count(b"\n", 0, content.index(byte)) + 1


def _line(line: str) -> tuple[str, str] | str:
    """Path and digest of one line, or what is wrong with it."""
    escaped = line.startswith("\\")
    body = line[1:] if escaped else line
    if match := _GNU.fullmatch(body):
        digest, name = match[1], match[2]
    elif match := _TAG.fullmatch(body):
        name, digest = match[1], match[2]
    else:
        return _why_malformed(body, line)
    path: str | None = _unescaped(name) if escaped else name
    if path is None:
        return f"is malformed: an unknown escape in {shown(name)}"
    if not escaped and "\\" in path:
        return f"is malformed: {shown(path)} has a backslash, in a line that is not escaped"
    return path.removeprefix("./"), digest.lower()


def _why_malformed(body: str, line: str) -> str:
    if match := _OTHER_TAG.fullmatch(body):
        return f"is malformed: {match[1]} instead of SHA256 ({shown(line)})"
    match = _OTHER_DIGITS.fullmatch(body)
    if match and len(match[1]) in _LENGTHS:
        return f"is malformed: {_LENGTHS[len(match[1])]} instead of SHA-256 ({shown(line)})"
    return f"is malformed: {shown(line)}"


def _unescaped(name: str) -> str | None:
    if any(found not in _ESCAPES for found in _ESCAPED.findall(name)):
        return None
    return _ESCAPED.sub(lambda found: _ESCAPES[found[0]], name)


def path_fault(path: str) -> str | None:
    """Why this is no path inside a bundle; None where it is one."""
    if path.startswith("/"):
        return "is an absolute path"
    parts = path.split("/")
    if ".." in parts:
        return "leaves the bundle"
    if "" in parts or "." in parts:
        return "is not a plain path"
    if len(path.encode()) > _LONGEST:
        return "is longer than a path can be"
    if not path.replace("\n", "").replace("\r", "").isprintable():
        return "has characters that a bundle's file names must not have"
    return None


def shown(text: str, longest: int = 120) -> str:
    """A name as it may be printed: plain where it is plain, else quoted, and never long.

    What a terminal would obey and what is no UTF-8 is shown by number.
    """
    short = text if len(text) <= longest else text[: longest - 3] + "..."
    return short if short.isascii() and short.isprintable() else ascii(short)


def printable(text: str) -> str:
    """A message that quotes a bundle, with what a terminal would obey shown by number."""
    if text.replace("\n", "").isprintable():
        return text
    return "".join(
        character if character.isprintable() or character == "\n" else ascii(character)[1:-1]
        for character in text
    )
