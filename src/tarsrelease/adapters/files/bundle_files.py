"""A bundle in a folder: its files, and the SHA-256 of each."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from tarsrelease.adapters.files.hashing import Watching, hash_files
from tarsrelease.bundle.files import BundleFile
from tarsrelease.model.bundle import CHECKSUMS
from tarsrelease.model.errors import UsageError

_DEEPEST = 64


class FolderFiles:
    """The port `BundleFiles` on a local folder.

    A file with a second name (a hard link) is a problem unless `hard_links` are allowed: whoever
    has the other name can change it after it was verified.
    """

    def __init__(
        self, folder: Path, *, hard_links: bool = False, progress: Watching | None = None
    ) -> None:
        """`progress` is called while hashing. Raises `UsageError` if it is not a folder."""
        try:
            good = folder.is_dir()
        except (OSError, ValueError):  # a name too long, or with a NUL in it
            good = False
        if not good:
            raise UsageError(
                doing="opening the bundle",
                found=f"{folder} is not a folder",
                expected="a folder with a SHA256SUMS",
                next_step=_instead_of(folder),
            )
        self._root = folder.resolve()
        self._hard_links = hard_links
        self._progress = progress
        self._regular: dict[str, int] | None = None

    def listing(self) -> list[BundleFile]:
        """Every path except folders; a folder that cannot be read is listed with a problem."""
        found: list[BundleFile] = []
        self._regular = {}
        folders = [(str(self._root), "")]
        while folders:
            folders += self._walk(*folders.pop(), found)
        return sorted(found, key=lambda file: file.path)

    def _walk(self, folder: str, prefix: str, found: list[BundleFile]) -> list[tuple[str, str]]:
        """The folders in `folder`, each with its prefix; everything else goes into `found`."""
        try:
            with os.scandir(folder) as entries:
                here = list(entries)
        except OSError:
            found.append(BundleFile(prefix.rstrip("/"), 0, "a folder that cannot be read"))
            return []
        folders = []
        for entry in here:
            path = prefix + entry.name
            if entry.is_dir(follow_symlinks=False):
                if path.count("/") >= _DEEPEST:
                    found.append(BundleFile(path, 0, f"a folder below {_DEEPEST} others"))
                else:
                    folders.append((entry.path, path + "/"))
            else:
                found.append(self._entry(entry, path))
        return folders

    def _entry(self, entry: os.DirEntry[str], path: str) -> BundleFile:
        try:
            path.encode()
        except UnicodeEncodeError:  # the bytes of the name are no UTF-8
            readable = os.fsencode(path).decode(errors="backslashreplace")
            return BundleFile(readable, 0, "a file whose name is not UTF-8")
        if entry.is_symlink():
            return self._link(Path(entry.path), path)
        try:
            status = entry.stat(follow_symlinks=False)
        except OSError:
            return BundleFile(path, 0, "deleted during the check")
        if not stat.S_ISREG(status.st_mode):
            return BundleFile(path, 0, "neither a file nor a folder")
        if status.st_nlink > 1 and not self._hard_links:
            return BundleFile(
                path, status.st_size, "a hard link: the file can be changed under its other name"
            )
        if self._regular is not None:
            self._regular[path] = status.st_size
        return BundleFile(path, status.st_size)

    def _link(self, link: Path, path: str) -> BundleFile:
        try:
            target = os.fsencode(link.readlink()).decode(errors="backslashreplace")
        except OSError:
            return BundleFile(path, 0, "a link that cannot be read")
        try:
            goal = link.resolve(strict=True)
        except (OSError, RuntimeError):
            return BundleFile(path, 0, f"a broken link ({target!r})")
        if not goal.is_relative_to(self._root):
            return BundleFile(path, 0, f"a link that leaves the bundle ({target!r})")
        if goal.is_dir():
            return BundleFile(path, 0, f"a link to a folder ({target!r})")
        if not goal.is_file():
            return BundleFile(path, 0, "neither a file nor a folder")
        return BundleFile(path, goal.stat().st_size)

    def read(self, path: str) -> bytes | None:
        """The content of a regular file inside the bundle; None for anything else."""
        inside = self._inside(path)
        try:
            return inside.read_bytes() if inside else None
        except OSError:
            return None

    def digests(self, paths: Sequence[str]) -> dict[str, str | None]:
        """SHA-256 by path, computed in threads; None if it is not a regular file in the bundle."""
        sizes = self._regular if self._regular is not None else {}
        root = str(self._root)
        chosen: list[tuple[Path, int]] = []
        for path in paths:
            if path in sizes:  # a regular file, not a link: no need to resolve it
                chosen.append((Path(root, path), sizes[path]))
                continue
            inside = self._inside(path)
            # A path that does not exist gives None, as does everything that cannot be read.
            chosen.append((inside, inside.stat().st_size) if inside else (Path(root), 0))
        if self._progress is not None:
            self._progress.expect(sum(size for _, size in chosen))
        hashed = self._progress.hashed if self._progress is not None else None
        return dict(zip(paths, hash_files(chosen, hashed), strict=True))

    def _inside(self, path: str) -> Path | None:
        """The real path of a regular file in the bundle; opening a device could block for ever."""
        try:
            goal = (self._root / path).resolve()
            return goal if goal.is_relative_to(self._root) and goal.is_file() else None
        except (OSError, ValueError, RuntimeError):
            return None


def _instead_of(folder: Path) -> str:
    """The next step for a path that is not a folder: name the bundles next to it."""
    try:
        beside = sorted(str(one.parent) for one in folder.parent.glob(f"*/{CHECKSUMS}"))
    except (OSError, ValueError):
        beside = []
    return f"check the path; found: {', '.join(beside)}" if beside else "check the path"
