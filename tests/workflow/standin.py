"""GitHub's API as far as people are asked for, and the receivers of messages: a stand-in.

    standin.py RECORD

Prints its address, then serves: environments with the reviewers that `github_settings` names,
approvals by a person for each environment, and whatever is posted goes to RECORD, a line each.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).parents[1] / "contract"))
import github_openapi as github

PEOPLE = {
    "release-manager": "alice",
    "sre": "bob",
    "canary-hold": "carol",
    "full": "alice",
    "contract": "bob",
}
"""Who approves, by the ending of the environment's name."""
SECRETS = {
    "GITHUB_TOKEN": "of-the-run-0123456789",
    "TARS_PAGERDUTY_ROUTING_KEY": "0123456789abcdef0123456789abcdef",
}


def settings(name: str, address: str) -> dict[str, Any]:
    """What an environment file says of people and receivers."""
    return {
        "github": {
            "api": address,
            "environments": [
                {"name": name},
                {"name": f"{name}-rollback"},
                {"name": f"{name}-read", "branches": ["release/**", "main"]},
                {"name": f"{name}-announce"},
                *(
                    {"name": f"{name}-{ending}", "reviewers": [who]}
                    for ending, who in PEOPLE.items()
                ),
            ],
            "two_people": [f"{name}-release-manager", f"{name}-sre"],
        },
        "notifications": {
            "slack": {"webhook_env": "TARS_SLACK_WEBHOOK_URL"},
            "pagerduty": {"routing_key_env": "TARS_PAGERDUTY_ROUTING_KEY", "url": address},
        },
    }


def write(file: Path, address: str) -> None:
    """Let an environment file name the stand-in."""
    content = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump(content | settings(content["name"], address)))


@contextmanager
def running(
    record: Path,
    enter: Callable[[list[str]], list[str]] = list,
    env: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """The stand-in's address, for as long as it runs; `enter` leads into another network."""
    record.touch()
    argv = enter([sys.executable, str(Path(__file__)), str(record)])
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=env) as process:
        assert process.stdout is not None
        try:
            address = process.stdout.readline().strip()
            assert address, "the stand-in did not start"
            yield address
        finally:
            process.terminate()


def told(record: Path) -> list[tuple[str, dict[str, Any]]]:
    """What was posted: path and body, each of the form that its receiver has published."""
    import jsonschema

    from tarsrelease.rehearsal.provider_forms import FORMS, SLACK

    posted = [(each["path"], each["body"]) for each in map(json.loads, record.open())]
    for path, body in posted:
        jsonschema.validate(body, FORMS.get(path, SLACK))
    return posted


def _environment(name: str) -> dict[str, Any] | None:
    ending = name.partition("-")[2]
    if ending not in ("", "rollback", "read", "announce", *PEOPLE):
        return None
    person = {"type": "User", "reviewer": github.user(PEOPLE.get(ending))}
    review = {
        "id": 1,
        "node_id": "x",
        "type": "required_reviewers",
        "prevent_self_review": True,
        "reviewers": [person],
    }
    return {
        **github.environment(name),
        "can_admins_bypass": False,
        "deployment_branch_policy": {"protected_branches": False, "custom_branch_policies": True},
        "protection_rules": [review] if ending in PEOPLE else [],
    }


def _approvals() -> list[dict[str, Any]]:
    return [
        {
            "state": "approved",
            "user": github.user(who),
            "comment": f"looked at it: {ending}",
            "environments": [{"name": f"{name}-{ending}"} for name in ("rehearsal", "production")],
        }
        for ending, who in PEOPLE.items()
    ]


class _Handler(BaseHTTPRequestHandler):
    record: Path

    def do_GET(self) -> None:
        parts = self.path.strip("/").split("/")  # repos/OWNER/NAME/...
        if self.headers["Authorization"] != f"Bearer {SECRETS['GITHUB_TOKEN']}":
            return self._answer(401, {"message": "Bad credentials"})
        found: Any = {"private": False} if len(parts) == 3 else None
        if parts[-1].startswith("deployment-branch-policies"):
            names = ["release/**", *(["main"] if parts[4].endswith("-read") else [])]
            policies = [{"name": name, "type": "branch"} for name in names]
            found = {"total_count": len(policies), "branch_policies": policies}
        elif parts[3:4] == ["rules"]:
            found = [{"type": rule} for rule in ("creation", "deletion", "non_fast_forward")]
            found.append(github.pull_request_rule(1))
        elif parts[3:4] == ["environments"]:
            found = _environment(parts[4])
        elif parts[3:4] == ["actions"] and parts[-1] == "approvals":
            found = _approvals()
        if found is not None:
            github.validate("get", self.path, "response", found)
        return self._answer(404 if found is None else 200, found)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.record.open("a") as file:
            file.write(json.dumps({"path": self.path, "body": body}) + "\n")
        event = self.path.startswith("/v2/")
        self._answer(202 if event else 200, {"status": "success"} if event else "ok")

    def _answer(self, status: int, found: object) -> None:
        content = b"ok" if found == "ok" else json.dumps(found).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


if __name__ == "__main__":
    _Handler.record = Path(sys.argv[1])
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
        server.serve_forever()
