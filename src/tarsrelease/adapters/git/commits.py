"""The git commit of a bundle's inputs, by GitPython."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import git

from tarsrelease.model.bundle import Source
from tarsrelease.model.bundle_input import INPUT
from tarsrelease.model.errors import UsageError
from tarsrelease.model.verification import Commit


def source_of(paths: Sequence[Path], version: str) -> Source | None:
    """The commit that last touched `paths`, the release's tag if it stands on that very commit,
    and whether they have uncommitted changes. None outside of a git repository, and before the
    first commit of them.

    Not HEAD: committing the bundle itself moves HEAD, and a rebuild must give the same bytes.
    Raises `UsageError` in a shallow clone, where the last commit that touched a file is unknown.
    """
    try:
        repository = git.Repo(paths[0].parent, search_parent_directories=True)
    except (git.InvalidGitRepositoryError, git.NoSuchPathError):
        return None
    with repository:
        if repository.git.rev_parse("--is-shallow-repository") == "true":
            raise UsageError(
                doing="recording the commit that the bundle is built from",
                found="the repository is a shallow clone",
                expected="the full history, to find the last commit that changed the inputs",
                next_step="git fetch --unshallow (in GitHub Actions: fetch-depth: 0)",
            )
        names = [str(path.resolve()) for path in paths]
        if not repository.head.is_valid():
            return None
        commit = repository.git.log("-1", "--format=%H", "--", *names)
        if not commit:
            return None
        tags = set(repository.git.tag("--points-at", commit).splitlines())
        return Source(
            commit=commit,
            tag=next((tag for tag in (f"v{version}", version) if tag in tags), None),
            clean=not repository.git.status("--porcelain", "--untracked-files=all", "--", *names),
        )


def commit_of(folder: Path, source: Source) -> Commit | str:
    """The commit that the bundle names, from the repository that has the bundle's `folder`.

    Returns a text instead if there is no repository, or it is a clone without this commit.
    """
    try:
        repository = git.Repo(folder, search_parent_directories=True)
    except (git.InvalidGitRepositoryError, git.NoSuchPathError):
        return "the bundle is not in a git repository"
    with repository:
        root = Path(repository.working_tree_dir or repository.git_dir).resolve()
        inside = (folder.resolve() / INPUT).relative_to(root).as_posix()
        try:
            repository.git.cat_file("-e", f"{source.commit}^{{commit}}")
        except git.GitCommandError:
            return f"the repository at {root.name}/ does not have commit {source.commit}"
        try:
            inputs = repository.git.execute(
                ["git", "show", f"{source.commit}:{inside}"],
                stdout_as_string=False,
                strip_newline_in_stdout=False,
            )
        except git.GitCommandError:
            inputs = None
        tags = repository.git.tag("--points-at", source.commit).splitlines()
        return Commit(frozenset(tags), inputs if isinstance(inputs, bytes) else None)
