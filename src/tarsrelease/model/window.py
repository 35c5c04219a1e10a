"""The deployment window: days and hours of a week, or two moments that people agreed on."""

from __future__ import annotations

from datetime import UTC, datetime, time, tzinfo
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AwareDatetime, Field, StringConstraints, model_validator

from tarsrelease.model.base import Value

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_CLOCK = r"([01]\d|2[0-3]):[0-5]\d"
Hours = Annotated[str, StringConstraints(pattern=rf"^{_CLOCK}-({_CLOCK}|24:00)$")]


class DeploymentWindow(Value):
    """When a release may start, and when it should end.

    `timezone` is a name of the IANA time zone database (or UTC). `hours` are local, such as
    ``09:00-13:00`` (24:00 is midnight at the end of the day); a window does not cross midnight.
    """

    timezone: str = "UTC"
    days: tuple[Day, ...] = Field(min_length=1)
    hours: Hours

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if len(set(self.days)) != len(self.days):
            raise ValueError("a day is listed twice in days")
        begins, ends = self.hours.split("-")
        if begins >= ends:
            raise ValueError(f"hours: {self.hours} ends before it begins")
        try:
            _ = self.zone
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(
                f"timezone: {self.timezone!r} is not in this machine's time zone database; "
                "names are such as UTC or Europe/Berlin"
            ) from None
        return self

    @property
    def zone(self) -> tzinfo:
        """The time zone."""
        return UTC if self.timezone == "UTC" else ZoneInfo(self.timezone)

    def on(self, day: datetime) -> tuple[datetime, datetime]:
        """Beginning and end of the hours on the local day of `day`, in its time zone."""
        begins, ends = self.hours.split("-")
        local = day.astimezone(self.zone)
        last = time.max if ends == "24:00" else time.fromisoformat(ends)
        return (
            datetime.combine(local.date(), time.fromisoformat(begins), self.zone),
            datetime.combine(local.date(), last, self.zone),
        )

    def __str__(self) -> str:
        return f"{', '.join(self.days)} {self.hours} {self.timezone}"


class FixedWindow(Value):
    """One window, from `starts` to `ends`; both have a time zone."""

    starts: AwareDatetime
    ends: AwareDatetime

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.starts >= self.ends:
            raise ValueError("starts must be before ends")
        return self

    @property
    def timezone(self) -> str:
        """The name of the time zone in messages."""
        return self.starts.tzname() or "UTC"

    @property
    def zone(self) -> tzinfo:
        """The time zone of `starts`."""
        return self.starts.tzinfo or UTC

    def __str__(self) -> str:
        ends = self.ends.astimezone(self.zone)
        same_day = self.starts.date() == ends.date()
        until = f"{ends:%H:%M}" if same_day else f"{ends:%a %Y-%m-%d %H:%M}"
        return f"{self.starts:%a %Y-%m-%d %H:%M}-{until} {self.timezone}"


Window = DeploymentWindow | FixedWindow
