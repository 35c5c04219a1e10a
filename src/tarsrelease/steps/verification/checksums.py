"""SHA256SUMS: its form, and whether it lists exactly what is there. Pure.

The GNU form of coreutils' sha256sum: 64 hexadecimal digits, a space, a space or an asterisk, and
the file's name. Its escaped form (a leading backslash) is refused, as are comments and empty
lines: a name that needs escaping has no business in a bundle.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tarsrelease.model.bundle import CERTIFICATION, CHECKSUMS
from tarsrelease.model.outcome import Check, Observed, Status
from tarsrelease.ports import BundleFile

_LINE = re.compile(r"([0-9A-Fa-f]{64}) [ *](.+)")


@dataclass(frozen=True)
class Listed:
    """What SHA256SUMS says: SHA-256 (lower-case hex) by path, and what is wrong with its form."""

    digests: Mapping[str, str]
    faults: tuple[str, ...]


def parse_checksums(content: bytes) -> Listed:
    """Read a SHA256SUMS of the GNU form."""
    try:
        text = content.decode()
    except UnicodeDecodeError as problem:
        return Listed({}, (f"not UTF-8 at byte {problem.start}",))
    digests: dict[str, str] = {}
    faults: list[str] = []
    lines = text.split("\n")
    if lines[-1]:
        faults.append("the last line has no end: the list may have been cut off")
    else:
        lines = lines[:-1]
    for number, line in enumerate(lines, start=1):
        match = _LINE.fullmatch(line)
        if match is None:
            faults.append(f"line {number} is malformed: {_shortened(line)}")
            continue
        path = match[2].removeprefix("./")
        fault = _path_fault(path)
        if fault:
            faults.append(f"line {number}: {_shortened(match[2])} {fault}")
        elif path in digests:
            faults.append(f"line {number}: {path} stands twice")
        else:
            digests[path] = match[1].lower()
    if not digests and not faults:
        faults.append("it lists nothing")
    return Listed(digests, tuple(faults))


def _shortened(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")


def _path_fault(path: str) -> str | None:
    if path.startswith("/"):
        return "is an absolute path"
    parts = path.split("/")
    if ".." in parts:
        return "leaves the bundle"
    if "" in parts or "." in parts:
        return "is not a plain path"
    if "\\" in path or not path.isprintable():
        return "holds characters that no file name of a bundle may have"
    return None


def form_check(listed: Listed | None) -> list[Check]:
    """The list exists and every line of it can be read."""
    expected = "lines of 64 hexadecimal digits, two spaces and a plain relative path"
    if listed is None:
        return [_fail("bundle.checksums_form", expected, f"there is no {CHECKSUMS}", None)]
    if listed.faults:
        return [
            _fail("bundle.checksums_form", expected, fault, "malformed") for fault in listed.faults
        ]
    count = len(listed.digests)
    return [_pass("bundle.checksums_form", expected, f"{count} lines, all well-formed", count)]


def completeness_checks(listed: Listed, files: Sequence[BundleFile]) -> list[Check]:
    """Every file is listed and every listed file exists; links stay inside."""
    present = {file.path for file in files if file.problem is None}
    exempt = {CHECKSUMS}
    unlisted = sorted(
        path
        for path in present - set(listed.digests) - exempt
        if not path.startswith(f"{CERTIFICATION}/")
    )
    problems = [file for file in files if file.problem is not None]
    absent = sorted(set(listed.digests) - present - {file.path for file in problems})
    expected = "every file is listed, and every listed file is there"
    checks = [
        _fail("bundle.completeness", expected, f"{path} is not listed", path) for path in unlisted
    ]
    checks += [_fail("bundle.completeness", expected, f"{path} is absent", path) for path in absent]
    if not checks:
        reason = f"{len(present - exempt)} files, none unlisted, none absent"
        checks = [_pass("bundle.completeness", expected, reason, len(present))]
    expected = "only regular files, and links to files inside"
    checks += [
        _fail("bundle.links", expected, f"{file.path} is {file.problem}", file.path)
        for file in problems
    ] or [_pass("bundle.links", expected, "nothing leads out of the bundle", len(files))]
    return checks


def digest_checks(listed: Mapping[str, str], found: Mapping[str, str | None]) -> list[Check]:
    """Every listed file that is there has the listed content; absent ones are told above."""
    expected = "the SHA-256 in SHA256SUMS"
    checks = []
    for path, digest in found.items():
        if digest is None:
            checks.append(_fail("bundle.digest", expected, f"{path} cannot be read", None))
        elif digest != listed[path]:
            reason = f"{path} was changed: its SHA-256 is {digest}, listed is {listed[path]}"
            checks.append(_fail("bundle.digest", expected, reason, digest))
    if not found:
        return [_fail("bundle.digest", expected, "no listed file could be checked", None)]
    if not checks:
        return [_pass("bundle.digest", expected, f"{len(found)} files match", len(found))]
    return checks


def _fail(check: str, expected: str, reason: str, value: str | None) -> Check:
    observed = None if value is None else Observed(value=value, unit="text")
    return Check(
        id=check,
        status=Status.FAIL,
        observed=observed,
        expected=expected,
        reason=reason,
        source=CHECKSUMS,
    )


def _pass(check: str, expected: str, reason: str, count: int) -> Check:
    return Check(
        id=check,
        status=Status.PASS,
        observed=Observed(value=count, unit="count"),
        expected=expected,
        reason=reason,
        source=CHECKSUMS,
        samples=count,
    )
