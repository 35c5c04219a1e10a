"""GitHub's REST API for environments' rules and a run's approvals.

See github/rest-api-description. `can_admins_bypass` is in the API's answers but not in that
description, so it may be absent.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any
from urllib.parse import quote

import httpx
from pydantic import ValidationError

from tarsrelease.adapters.http.client import Client
from tarsrelease.model.errors import UnreachableError, UsageError
from tarsrelease.model.github import GitHub
from tarsrelease.model.people import Approval, BranchRules, Rules

_TIMEOUT = 10.0
_PATIENCE = 30.0
"""Seconds for a question, its repetitions included."""
_LARGEST = 8 * 2**20
_VERSION = "2022-11-28"
_EXCERPT = 200


class GitHubReviews:
    """The port `Reviews` on one repository."""

    def __init__(self, settings: GitHub) -> None:
        """Read the token and, if the file has none, the repository from environment variables.

        Raises UsageError if one is missing; sends no request.
        """
        self._api = settings.api.rstrip("/")
        self._repository = settings.repository or os.environ.get("GITHUB_REPOSITORY", "")
        token = os.environ.get(settings.token_env, "").strip()
        missing = "a token" if not token else "" if self._repository else "the repository"
        if missing:
            variable = settings.token_env if not token else "GITHUB_REPOSITORY"
            raise UsageError(
                doing="preparing to query GitHub",
                found=f"the environment variable {variable} is not set",
                expected=missing,
                next_step=f"set {variable}; the token needs `actions: read` and, for the rules, "
                "`metadata: read` (administration rights are not needed)",
            )
        self._client = Client(
            seconds=_TIMEOUT,
            largest=_LARGEST,
            headers={
                "Authorization": f"Bearer {token}",
                "Accept": "application/vnd.github+json",
                "X-GitHub-Api-Version": _VERSION,
            },
        )

    def private(self) -> bool:
        """Whether the repository is private (or internal)."""
        with _shaped("the repository"):
            return bool(self._get("").get("private", True))

    def rules(self, environment: str) -> Rules | None:
        """The environment's rules; None if there is no such environment."""
        path = f"/environments/{quote(environment, safe='')}"
        found = self._get(path, missing_ok=True)
        if found is None:
            return None
        with _shaped(f"environment {environment}"):
            policy = found.get("deployment_branch_policy")
            branches: tuple[str, ...] | None = None
            if policy and policy["custom_branch_policies"]:
                answer = self._get(f"{path}/deployment-branch-policies?per_page=100")
                branches = tuple(map(_pattern, answer["branch_policies"]))
            elif policy and policy["protected_branches"]:
                branches = ("(every protected branch)",)
            return _rules(environment, found, self._repository.partition("/")[0], branches)

    def branch_rules(self, branch: str) -> BranchRules:
        """The active rules (rulesets) of a branch of this name, which need not exist."""
        path = f"/rules/branches/{quote(branch, safe='')}?per_page=100"
        try:
            found = self._get(path)
        except UsageError as error:  # a plan without rulesets answers 403
            return BranchRules(problem=error.detail.found)
        with _shaped(f"the rules of branch {branch}"):
            needed = [
                int((rule.get("parameters") or {}).get("required_approving_review_count", 0))
                for rule in found
                if rule["type"] == "pull_request"
            ]
            return BranchRules(
                types=tuple(sorted({str(rule["type"]) for rule in found})),
                approvals=max(needed, default=0),
            )

    def approvals(self, run: str) -> list[Approval]:
        """All reviews of a run, also rejections."""
        if not run.isdigit():
            raise UsageError(
                doing="reading a run's approvals",
                found=f"{run!r} is not a run id",
                expected="the number in the run's URL",
                next_step="use --approvals with GITHUB_RUN_ID",
            )
        with _shaped(f"the approvals of run {run}"):
            return [
                Approval(
                    person=(each["user"] or {}).get("login"),  # null for a deleted account
                    state=each["state"],
                    environments=tuple(place["name"] for place in each["environments"]),
                    comment=each.get("comment") or "",
                )
                for each in self._get(f"/actions/runs/{run}/approvals")
            ]

    def _get(self, path: str, *, missing_ok: bool = False) -> Any:
        url = f"{self._api}/repos/{self._repository}{path}"
        doing = f"querying GitHub for {self._repository}{path}"
        try:
            answer = self._client.get(url, deadline=monotonic() + _PATIENCE, attempts=3)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _away(doing, f"{type(error).__name__}: {error}") from error
        if answer.status == 404 and missing_ok:
            return None
        if answer.status >= 500 or answer.status == 429:
            raise _away(doing, f"status {answer.status}")
        if answer.status != 200:
            raise UsageError(
                doing=doing,
                found=f"status {answer.status}: {answer.text[:_EXCERPT]}",
                expected="a token that may read the repository and its actions",
                next_step="permissions: {actions: read, contents: read} in the workflow's job",
            )
        try:
            found = answer.json()
        except ValueError:
            found = None
        if found is None:
            raise _away(doing, f"an answer that is no JSON: {answer.text[:_EXCERPT]}")
        return found


@contextmanager
def _shaped(what: str) -> Iterator[None]:
    """An answer of another shape is no answer."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, ValidationError) as error:
        raise _away(
            f"asking GitHub for {what}",
            f"an answer of another shape ({type(error).__name__}: {str(error)[:_EXCERPT]})",
        ) from error


def _pattern(policy: dict[str, Any]) -> str:
    kind = policy.get("type") or "branch"
    return str(policy["name"]) if kind == "branch" else f"({kind}) {policy['name']}"


def _reviewer(each: dict[str, Any], owner: str) -> str:
    """``login``, or ``org/team``: a repository's reviewing teams belong to its owner."""
    login = each["reviewer"].get("login")
    return str(login or f"{owner}/{each['reviewer']['slug']}").lower()


def _rules(name: str, found: dict[str, Any], owner: str, branches: tuple[str, ...] | None) -> Rules:
    reviewing = [
        rule for rule in found.get("protection_rules") or [] if rule["type"] == "required_reviewers"
    ]
    people = [each for rule in reviewing for each in rule.get("reviewers") or []]
    return Rules(
        name=name,
        reviewers=tuple(
            sorted(
                _reviewer(each, owner)
                for each in people
                if each.get("reviewer")  # null for a deleted account
            )
        ),
        branches=branches,
        prevents_self_review=all(rule.get("prevent_self_review", False) for rule in reviewing)
        if reviewing
        else None,
        bypass=found.get("can_admins_bypass"),
    )


def _away(doing: str, found: str) -> UnreachableError:
    return UnreachableError(
        doing=doing,
        found=found,
        expected="an answer from GitHub's API",
        next_step="check githubstatus.com, then run this command again",
    )
