"""The folder of a certification package: pages, evidence, and a SHA256SUMS of all of it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tarsrelease.model.errors import UsageError

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_DEADLINE = 60.0


def write_package(
    folder: Path, pages: Mapping[str, str], evidence: Mapping[str, bytes]
) -> list[str]:
    """Write everything anew, and SHA256SUMS last; the names of the files. Prints the HTML as PDF
    where a Chromium is installed. Raises UsageError if the folder cannot be written."""
    try:
        shutil.rmtree(folder / "evidence", ignore_errors=True)
        for name, text in pages.items():
            _write(folder / name, text.encode())
        for name, content in evidence.items():
            _write(folder / "evidence" / name, content)
        _print(folder / "certificate.html", folder / "certificate.pdf")
        names = sorted(
            str(path.relative_to(folder))
            for path in folder.rglob("*")
            if path.is_file() and path.name != "SHA256SUMS"
        )
        sums = [
            f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n"
            for name in names
        ]
        _write(folder / "SHA256SUMS", "".join(sums).encode())
    except OSError as problem:
        raise UsageError(
            doing="writing the certification package",
            found=f"{folder} cannot be written: {problem.strerror}",
            expected="a folder that this user may write to",
            next_step="name another one with --output-dir",
        ) from problem
    return names


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _print(page: Path, pdf: Path) -> None:
    """The page as PDF by a headless browser without network; nothing where there is none."""
    browser = next((found for name in _BROWSERS if (found := shutil.which(name))), None)
    pdf.unlink(missing_ok=True)
    if browser is None:
        return
    with tempfile.TemporaryDirectory(prefix="tarsrelease-print-") as profile:
        command = [
            *(browser, "--headless", "--disable-gpu", "--no-pdf-header-footer"),
            *(f"--user-data-dir={profile}", "--host-resolver-rules=MAP * ~NOTFOUND"),
            *(("--no-sandbox",) if os.geteuid() == 0 else ()),
            *(f"--print-to-pdf={pdf.resolve()}", page.resolve().as_uri()),
        ]
        with contextlib.suppress(subprocess.SubprocessError):
            subprocess.run(command, capture_output=True, timeout=_DEADLINE, check=False)
