"""Errors of statements, independent of the library that raises them."""

from __future__ import annotations


class SqlError(Exception):
    """PostgreSQL answered with an error. `state` is its SQLSTATE (appendix A of its manual)."""

    def __init__(self, state: str, message: str, *, hint: str = "", position: int = 0) -> None:
        super().__init__(message)
        self.state = state
        self.message = message
        self.hint = hint
        self.position = position
        """Character of the statement at which PostgreSQL points, from 1; 0 where it does not."""

    @property
    def gave_way(self) -> bool:
        """It did not get a lock in time, or it was the victim of a deadlock."""
        return self.state in {"55P03", "40P01"}

    @property
    def cancelled(self) -> bool:
        """It was cancelled: by us, by its deadline, or by an administrator."""
        return self.state == "57014"


class ClusterWideError(SqlError):
    """A statement tried on a server that is not ours changes what its databases share."""

    def __init__(self, catalogs: str) -> None:
        super().__init__("0A000", f"it changes {catalogs}, which all databases of a server share")


class ConnectionGoneError(Exception):
    """The connection broke; whether the last statement took effect is in the history."""
