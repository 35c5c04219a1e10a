"""GitHub's published OpenAPI description, cut to the paths that tarsrelease uses.

`github_openapi.json` names its source. The stand-ins for GitHub validate every answer against it,
and the tests the requests.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jsonschema

FILE = Path(__file__).with_suffix(".json")
_LINKS = (
    *("avatar", "events", "followers", "following", "gists", "organizations", "received_events"),
    *("repos", "starred", "subscriptions", "html"),
)


@cache
def _description() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(FILE.read_text())
    return found


@cache
def _validator(path: str, method: str, part: str) -> jsonschema.Draft4Validator:
    known = _description()
    schema = known["paths"][path][method][part]
    return jsonschema.Draft4Validator({**schema, "components": known["components"]})


def template(address: str) -> str:
    """The description's path for a request's address. Raises LookupError if it has none."""
    path = urlsplit(address).path
    for known in sorted(_description()["paths"], key=lambda each: each.count("{")):
        if re.fullmatch(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(known)), path):
            return str(known)
    raise LookupError(f"GitHub has no {path}")


def validate(method: str, address: str, part: str, value: object) -> None:
    """`part` is request or response. Raises ValidationError, or LookupError for another path."""
    _validator(template(address), method.lower(), part).validate(value)


def user(login: str | None) -> dict[str, Any]:
    """A simple-user."""
    links = {f"{name}_url": f"https://api.github.com/{name}/{login}" for name in _LINKS}
    facts = {"id": len(str(login)), "node_id": "U", "gravatar_id": None, "site_admin": False}
    url = f"https://api.github.com/users/{login}"
    return {"login": login, "type": "User", "url": url, **facts, **links}


def team(slug: str) -> dict[str, Any]:
    """A team."""
    url = f"https://api.github.com/teams/{slug}"
    links = {f"{name}_url": url for name in ("members", "html", "repositories")}
    facts = {"id": 9, "node_id": "T", "description": None, "permission": "pull", "parent": None}
    return {"slug": slug, "name": slug, "url": url, "type": "organization", **facts, **links}


def environment(name: str) -> dict[str, Any]:
    """An environment, without rules."""
    url = f"https://api.github.com/environments/{name}"
    time = "2026-01-01T00:00:00Z"
    return {
        "id": 1,
        "node_id": "E",
        "name": name,
        "url": url,
        "html_url": url,
        "created_at": time,
        "updated_at": time,
    }


def pull_request_rule(approvals: int) -> dict[str, Any]:
    """The rule of a branch that asks for reviews."""
    off = ("dismiss_stale_reviews_on_push", "require_code_owner_review")
    more = ("require_last_push_approval", "required_review_thread_resolution")
    parameters = dict.fromkeys((*off, *more), False)
    return {
        "type": "pull_request",
        "parameters": {**parameters, "required_approving_review_count": approvals},
    }
