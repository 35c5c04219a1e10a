"""Check that SHA256SUMS lists exactly the bundle's files with their hashes. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from tarsrelease.bundle.checksum_parser import Listed, shown
from tarsrelease.bundle.files import BundleFile
from tarsrelease.model.bundle import CERTIFICATION, CHECKSUMS
from tarsrelease.model.outcome import Check, Observed, Status

_MANY = 50
"""Files that are reported one by one; the rest is counted."""
_PLAIN = re.compile(r"[A-Za-z0-9._/+-]+")


def form_check(listed: Listed | None) -> list[Check]:
    """Check that the list exists and every line is well-formed."""
    expected = "lines of 64 hexadecimal digits, two spaces and a plain relative path"
    if listed is None:
        return [_fail("bundle.checksums_form", expected, f"there is no {CHECKSUMS}", None)]
    if listed.faults:
        return [
            _fail("bundle.checksums_form", expected, f"{CHECKSUMS}: {fault}", "malformed")
            for fault in listed.faults
        ]
    count = len(listed.digests)
    return [_pass("bundle.checksums_form", expected, f"{count} lines, all well-formed", count)]


def completeness_checks(listed: Listed, files: Sequence[BundleFile]) -> list[Check]:
    """Check that every file is listed and every listed file exists; links stay inside."""
    present = {file.path for file in files if file.problem is None}
    exempt = {CHECKSUMS}
    unlisted = sorted(
        path
        for path in present - set(listed.digests) - exempt
        if not path.startswith(f"{CERTIFICATION}/")
    )
    problems = [file for file in files if file.problem is not None]
    absent = sorted(set(listed.digests) - present - {file.path for file in problems})
    expected = "every file is listed, and every listed file exists"
    faults = [(path, f"{shown(path)} is not listed") for path in unlisted]
    faults += [(path, f"{shown(path)} is absent") for path in absent]
    checks = _failing("bundle.completeness", expected, faults)
    if not checks:
        reason = f"{len(present - exempt)} files, none unlisted, none absent"
        checks = [_pass("bundle.completeness", expected, reason, len(present))]
    expected = "only regular files, and links to files inside"
    checks += _failing(
        "bundle.links",
        expected,
        [(file.path, f"{shown(file.path)} is {file.problem}") for file in problems],
    ) or [_pass("bundle.links", expected, "no link leaves the bundle", len(files))]
    return checks


def names_checks(paths: Iterable[str]) -> list[Check]:
    """Every name is plain ASCII, and none differs from another only in case.

    A name with a letter that only looks like another, or two names that some file systems take
    for one, would let a person read one file and a tool another.
    """
    names = sorted(paths)
    folded: dict[str, str] = {}
    faults = []
    for path in names:
        first = folded.setdefault(path.casefold(), path)
        if _PLAIN.fullmatch(path) is None:
            faults.append((path, f"{shown(path)} has characters other than A-Z a-z 0-9 . _ + - /"))
        elif first != path:
            faults.append((path, f"{path} and {first} differ only in case"))
        if ".git" in path.casefold().split("/"):
            faults.append((path, f"{path} belongs to a Git repository, whose settings Git obeys"))
    expected = "names of plain letters, digits and . _ + - that differ in more than case"
    return _failing("bundle.names", expected, faults) or [
        _pass("bundle.names", expected, f"{len(names)} plain names", len(names))
    ]


def digest_checks(listed: Mapping[str, str], found: Mapping[str, str | None]) -> list[Check]:
    """Check the hash of every listed file that exists."""
    expected = "the SHA-256 in SHA256SUMS"
    faults = []
    for path, digest in found.items():
        if digest is None:
            faults.append((path, f"{shown(path)} cannot be read"))
        elif digest != listed[path]:
            faults.append(
                (
                    digest,
                    f"{shown(path)} was changed: its SHA-256 is {digest}, not {listed[path]}",
                )
            )
    if not found:
        return [_fail("bundle.digest", expected, "no listed file could be checked", None)]
    return _failing("bundle.digest", expected, faults) or [
        _pass("bundle.digest", expected, f"{len(found)} files match", len(found))
    ]


def _failing(check: str, expected: str, faults: Sequence[tuple[str, str]]) -> list[Check]:
    """A failing result for each (path, reason); many more are one result."""
    checks = [_fail(check, expected, reason, value) for value, reason in faults[:_MANY]]
    if len(faults) > _MANY:
        more = len(faults) - _MANY
        checks.append(_fail(check, expected, f"and {more} more files like these", None))
    return checks


def _fail(check: str, expected: str, reason: str, value: str | None) -> Check:
    observed = None if value is None else Observed(value=shown(value), unit="text")
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
