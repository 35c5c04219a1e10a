"""The `gh api` calls that create the environments. Pure: a shell script as text."""

from __future__ import annotations

import json
from shlex import quote

from tarsrelease.model.environment import GitHub, GitHubEnvironment


def github_script(settings: GitHub, repository: str) -> str:
    """A script for bash, to be read before it is run; it needs gh with administration rights.

    Reviewers' names become ids by calls of their own, as the API takes only ids. A reviewer with
    a slash (``org/team``) is a team.
    """
    lines = [
        "#!/usr/bin/env bash",
        "# Creates (or changes) the environments that the release's approvals depend on.",
        "set -euo pipefail",
    ]
    for place in settings.environments:
        lines += ["", *_calls(place, repository)]
    return "\n".join(lines) + "\n"


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
    if place.reviewers:
        settings = '"prevent_self_review":' + json.dumps(place.prevent_self_review)
        body = "'{" + settings + ',"reviewers":[' + ",".join(reviewers) + "]}'"
    else:
        body = "'{\"reviewers\":null}'"
    lines.append(f"gh api --method PUT {quote(address)} --input - <<<{body} >/dev/null")
    if place.reviewers and not place.administrators_bypass:
        lines.append(
            "# The API cannot forbid administrators to bypass it: untick it at "
            f"https://github.com/{repository}/settings/environments"
        )
    return lines
