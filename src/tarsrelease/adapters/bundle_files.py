"""A bundle in a folder: what lies in it, and the SHA-256 of each file."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tarsrelease.model.errors import UsageError
from tarsrelease.ports import BundleFile


class FolderFiles:
    """The port `BundleFiles` on a local folder."""

    def __init__(self, folder: Path) -> None:
        """Raises `UsageError` where `folder` is none."""
        if not folder.is_dir():
            raise UsageError(
                doing="opening the bundle",
                found=f"{folder} is not a folder",
                expected="a folder with a SHA256SUMS",
                next_step="check the path",
            )
        self._root = folder.resolve()

    def listing(self) -> list[BundleFile]:
        """Everything but real folders; a folder that cannot be read is listed with a problem."""
        found: list[BundleFile] = []

        def unreadable(problem: OSError) -> None:
            found.append(BundleFile(self._relative(Path(problem.filename)), 0, "cannot be read"))

        for folder, folders, files in os.walk(self._root, onerror=unreadable):
            here = Path(folder)
            links = [name for name in folders if (here / name).is_symlink()]
            found.extend(self._entry(here / name) for name in (*files, *links))
        return sorted(found, key=lambda file: file.path)

    def _relative(self, path: Path) -> str:
        return path.relative_to(self._root).as_posix()

    def _entry(self, path: Path) -> BundleFile:
        relative = self._relative(path)
        if path.is_symlink():
            target = str(path.readlink())
            try:
                goal = path.resolve(strict=True)
            except (OSError, RuntimeError):
                return BundleFile(relative, 0, f"a link that leads nowhere ({target})")
            if not goal.is_relative_to(self._root):
                return BundleFile(relative, 0, f"a link that leaves the bundle ({target})")
            if not goal.is_file():
                return BundleFile(relative, 0, f"a link to a folder ({target})")
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return BundleFile(relative, 0, "neither a file nor a folder")
        return BundleFile(relative, status.st_size)

    def read(self, path: str) -> bytes | None:
        """The content of a regular file inside the bundle; None for anything else."""
        inside = self._inside(path)
        return inside.read_bytes() if inside else None

    def digests(self, paths: Sequence[str]) -> dict[str, str | None]:
        """Hashed in threads: `hashlib` lets go of the interpreter's lock while it works."""
        with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
            return dict(zip(paths, pool.map(self._digest, paths), strict=True))

    def _digest(self, path: str) -> str | None:
        inside = self._inside(path)
        if inside is None:
            return None
        try:
            with inside.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            return None

    def _inside(self, path: str) -> Path | None:
        """The real path of a regular file in the bundle; opening a device could block for ever."""
        goal = (self._root / path).resolve()
        return goal if goal.is_relative_to(self._root) and goal.is_file() else None
