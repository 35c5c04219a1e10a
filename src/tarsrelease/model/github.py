"""The GitHub repository that runs the pipeline, and its protected environments."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from tarsrelease.model.base import Name, Seconds, Value, repeated
from tarsrelease.model.connections import HttpUrl, VariableName

BranchPattern = Annotated[str, StringConstraints(pattern=r"^[^\s'\"\\]+$")]


class GitHubEnvironment(Value):
    """A GitHub environment. `reviewers` are logins, or teams as ``org/team``.

    GitHub requires the approval of only one reviewer, so two people need two environments.
    `branches` are the branches whose workflows may use the environment and read its secrets, by
    default those of `github`.
    """

    name: str
    reviewers: tuple[str, ...] = Field(default=(), max_length=6)
    prevent_self_review: bool = True
    administrators_bypass: bool = False
    branches: tuple[BranchPattern, ...] | None = Field(default=None, min_length=1)


class GitHub(Value):
    """Where the pipeline runs, and who must approve there.

    `repository` is OWNER/NAME; by default the repository that runs the workflow. `two_people` names
    the environments that must each be approved by a different person; without it,
    `one_person_is_enough` must give the reason in words. `votes` maps a role to the environment
    whose approval is the role's vote. `branches` are patterns of the branches
    that may deploy. `stage_job` and `promote_job` are the time-outs of the workflow's jobs for a
    stage and for the promotion (`timeout-minutes`): `plan` refuses stages that last longer.
    """

    repository: Annotated[str, StringConstraints(pattern=r"^[\w.-]+/[\w.-]+$")] | None = None
    token_env: VariableName = "GITHUB_TOKEN"  # noqa: S105 - the name of a variable
    api: HttpUrl = "https://api.github.com"
    environments: tuple[GitHubEnvironment, ...] = ()
    branches: tuple[BranchPattern, ...] = Field(default=("release/**",), min_length=1)
    two_people: tuple[str, ...] = ()
    one_person_is_enough: Annotated[str, StringConstraints(min_length=10)] | None = None
    votes: dict[Name, str] = {}
    stage_job: Seconds = 10800.0
    promote_job: Seconds = 7200.0

    def branches_of(self, place: GitHubEnvironment) -> tuple[str, ...]:
        """The patterns of the branches that may use the environment."""
        return place.branches or self.branches

    @property
    def protected_branches(self) -> tuple[str, ...]:
        """Every pattern of a branch that may use one of the environments."""
        of_all = [self.branches, *map(self.branches_of, self.environments)]
        return tuple(dict.fromkeys(each for branches in of_all for each in branches))

    @model_validator(mode="after")
    def _known(self) -> Self:
        known = [place.name for place in self.environments]
        if twice := repeated(known):
            raise ValueError(f"environments: {twice} is listed twice")
        for what, names in (("two_people", self.two_people), ("votes", self.votes.values())):
            for name in names:
                if name not in known:
                    raise ValueError(f"{what}: {name!r} is none of environments")
        if len(self.two_people) == 1:
            raise ValueError("two_people: give at least two environments, or none")
        if self.two_people and self.one_person_is_enough is not None:
            raise ValueError("give two_people or one_person_is_enough, not both")
        return self
