"""The `gh api` calls that create the environments. Pure: a shell script as text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from shlex import quote

from tarsrelease.model.github import GitHub, GitHubEnvironment

RULESET = "tarsrelease: branches that deploy"
CREATION_RULESET = "tarsrelease: who creates branches that deploy"
_ADMINISTRATORS = 5
"""GitHub's id of the repository role (REST API, rulesets, bypass_actors)."""


def github_script(settings: GitHub, repository: str) -> str:
    """A script for bash, to be read before it is run; it needs gh with administration rights.

    It creates the environments with their reviewers and branches, and the rulesets of the
    branches. Reviewers' names become ids by calls of their own, as the API takes only ids. A
    reviewer with a slash (``org/team``) is a team. The script can be run again.
    """
    lines = [
        "#!/usr/bin/env bash",
        "# Creates (or changes) the environments that the release's approvals depend on, and the",
        "# rules of the branches whose workflows may use them.",
        "set -euo pipefail",
    ]
    for place in settings.environments:
        address = f"repos/{repository}/environments/{place.name}"
        lines += [
            "",
            *_calls(place, repository),
            *_branch_policies(address, settings.branches_of(place)),
        ]
    return "\n".join([*lines, "", *_rulesets(settings, repository)]) + "\n"


def _branch_policies(address: str, branches: Sequence[str]) -> list[str]:
    """Leave exactly these patterns; a policy for tags is removed, too."""
    policies = f"{address}/deployment-branch-policies"
    wanted = json.dumps(list(branches))
    others = (
        ".branch_policies[] | select((.name as $n | "
        f'{wanted} | index($n) | not) or (.type // "branch") != "branch") | .id'
    )
    lines = [
        f"for other in $(gh api {quote(policies)} --jq {quote(others)}); do",
        f'  gh api --method DELETE {quote(policies)}/"$other"',
        "done",
    ]
    for pattern in branches:
        there = f".branch_policies[] | select(.name == {json.dumps(pattern)}) | .name"
        body = json.dumps({"name": pattern, "type": "branch"})
        lines += [
            f'if [ -z "$(gh api {quote(policies)} --jq {quote(there)})" ]; then',
            f"  gh api --method POST {quote(policies)} --input - <<<{quote(body)} >/dev/null",
            "fi",
        ]
    return lines


def _rulesets(settings: GitHub, repository: str) -> list[str]:
    """Pull requests with an approval for every branch; administrators create release branches."""
    review = {
        "required_approving_review_count": 1,
        "dismiss_stale_reviews_on_push": True,
        "require_code_owner_review": False,
        "require_last_push_approval": True,
        "required_review_thread_resolution": False,
    }
    content: list[dict[str, object]] = [
        {"type": "deletion"},
        {"type": "non_fast_forward"},
        {"type": "pull_request", "parameters": review},
    ]
    branches = settings.protected_branches
    lines = ["# Nobody changes a workflow on these branches without a review."]
    lines += _ruleset(repository, RULESET, branches, content, ())
    if patterns := [each for each in branches if "*" in each]:
        lines += [
            "# Only administrators create such branches; add teams as bypass_actors if needed.",
            *_ruleset(
                repository,
                CREATION_RULESET,
                patterns,
                [{"type": "creation"}],
                (_ADMINISTRATORS,),
            ),
        ]
    return lines


def _ruleset(
    repository: str,
    name: str,
    branches: Sequence[str],
    rules: Sequence[Mapping[str, object]],
    roles: Sequence[int],
) -> list[str]:
    body = {
        "name": name,
        "target": "branch",
        "enforcement": "active",
        "bypass_actors": [
            {"actor_id": role, "actor_type": "RepositoryRole", "bypass_mode": "always"}
            for role in roles
        ],
        "conditions": {
            "ref_name": {"include": [f"refs/heads/{each}" for each in branches], "exclude": []}
        },
        "rules": list(rules),
    }
    there = f".[] | select(.name == {json.dumps(name)}) | .id"
    address = f"repos/{repository}/rulesets"
    return [
        f"id=$(gh api {quote(address)} --jq {quote(there)})",
        'method=$([ -n "$id" ] && echo PUT || echo POST)',
        f'gh api --method "$method" {quote(address)}"${{id:+/$id}}" --input - '
        f"<<<{quote(json.dumps(body))} >/dev/null",
    ]


def _calls(place: GitHubEnvironment, repository: str) -> list[str]:
    address = f"repos/{repository}/environments/{place.name}"
    lines, reviewers = [f"# {place.name}"], []
    for number, reviewer in enumerate(place.reviewers):
        organisation, _, team = reviewer.rpartition("/")
        path = f"orgs/{organisation}/teams/{team}" if organisation else f"users/{team}"
        lines.append(f"id_{number}=$(gh api {quote(path)} --jq .id)")
        reviewers.append(
            f'{{"type":"{"Team" if organisation else "User"}","id":\'"$id_{number}"\'}}'
        )
    policy = '"deployment_branch_policy":' + json.dumps(
        {"protected_branches": False, "custom_branch_policies": True}
    )
    if place.reviewers:
        settings = '"prevent_self_review":' + json.dumps(place.prevent_self_review)
        body = f'\'{{{settings},{policy},"reviewers":[' + ",".join(reviewers) + "]}'"
    else:
        body = f"'{{{policy},\"reviewers\":null}}'"
    lines.append(f"gh api --method PUT {quote(address)} --input - <<<{body} >/dev/null")
    if place.reviewers and not place.administrators_bypass:
        lines.append(
            "# The API cannot forbid administrators to bypass it: untick it at "
            f"https://github.com/{repository}/settings/environments"
        )
    return lines
