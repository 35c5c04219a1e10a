"""Who must approve, and who did, asked of a stand-in held to GitHub's own description.

github_openapi.json has the description's part that is used; every answer and request is validated.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "simulation"))

from contexts import assignment
from github_openapi import environment, pull_request_rule, team, user, validate

from tarsrelease.adapters.files.configuration import load_environment, load_release
from tarsrelease.adapters.github.api import GitHubReviews
from tarsrelease.model.errors import UnreachableError, UsageError
from tarsrelease.model.github import GitHub
from tarsrelease.model.outcome import Check, Outcome, Status, Verdict
from tarsrelease.readiness.approvals import two_people
from tarsrelease.report.github_script import github_script
from tarsrelease.steps.check_environments import check_environments

ROOT = Path(__file__).parents[2]
MANAGER, SRE = "production-release-manager", "production-sre"
CUSTOM = {"protected_branches": False, "custom_branch_policies": True}
BRANCH_RULES = [
    {"type": "creation"},
    {"type": "deletion"},
    {"type": "non_fast_forward"},
    pull_request_rule(1),
]


def place(name: str, *reviewers: str, prevents: bool = True, **more: object) -> dict[str, Any]:
    rules: list[dict[str, Any]] = [{"id": 1, "node_id": "x", "type": "branch_policy"}]
    if reviewers:
        people = [
            {"type": "Team", "reviewer": team(r[5:])}
            if r.startswith("team:")
            else {"type": "User", "reviewer": user(r)}
            for r in reviewers
        ]
        rules.append(
            {
                "id": 2,
                "node_id": "y",
                "type": "required_reviewers",
                "prevent_self_review": prevents,
                "reviewers": people,
            }
        )
    return {
        **environment(name),
        "protection_rules": rules,
        "deployment_branch_policy": CUSTOM,
        **more,
    }


def review(login: str, name: str, state: str = "approved") -> dict[str, Any]:
    return {
        "state": state,
        "comment": "yes",
        "user": user(login),
        "environments": [{"id": 1, "name": name}],
    }


class StandIn(ThreadingHTTPServer):
    """GitHub's REST API for one repository. `status` breaks every answer."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.places = {
            MANAGER: place(MANAGER, "alice", can_admins_bypass=False),
            SRE: place(SRE, "Bob", "team:sre", can_admins_bypass=False),
        }
        self.reviews = [review("alice", MANAGER), review("bob", SRE)]
        self.policies: list[dict[str, Any]] = [
            {"id": 1, "node_id": "x", "name": "release/**", "type": "branch"}
        ]
        self.rules: list[dict[str, Any]] = list(BRANCH_RULES)
        self.private = False
        self.status = 200


class Handler(BaseHTTPRequestHandler):
    server: StandIn

    def do_GET(self) -> None:
        assert self.headers["Authorization"] == "Bearer token"
        assert self.headers["Accept"] == "application/vnd.github+json"
        base, found = "/repos/org/tars", None
        if self.path == base:
            found = {"private": self.server.private}
        elif self.path == f"{base}/actions/runs/7/approvals":
            found = self.server.reviews
        elif self.path.endswith("/deployment-branch-policies?per_page=100"):
            found = {
                "total_count": len(self.server.policies),
                "branch_policies": self.server.policies,
            }
        elif self.path == f"{base}/rules/branches/release%2Fx?per_page=100":
            found = self.server.rules
        elif self.path.startswith(f"{base}/environments/"):
            found = self.server.places.get(self.path.rpartition("/")[2])
        there = found is not None
        status = self.server.status if self.server.status != 200 else 200 if there else 404
        if status == 200:
            validate("get", self.path, "response", found)
        content = json.dumps(found if status == 200 else {"message": "Not Found"}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def github(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    monkeypatch.setenv("GITHUB_TOKEN", "token")
    with StandIn() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def settings(github: StandIn, **more: object) -> GitHub:
    return GitHub.model_validate(
        {
            "repository": "org/tars",
            "api": f"http://127.0.0.1:{github.server_address[1]}",
            "environments": [
                {"name": MANAGER, "reviewers": ["alice"]},
                {"name": SRE, "reviewers": ["bob", "org/sre"]},
            ],
            "two_people": [MANAGER, SRE],
            **more,
        }
    )


def asked(github: StandIn, run: str | None = None, **more: object) -> Outcome:
    chosen = settings(github, **more)
    environment = load_environment(str(ROOT / "environments" / "rehearsal.yaml"))
    environment = environment.model_copy(update={"github": chosen})
    release = load_release(ROOT / "release" / "v1_0_1", environment)
    ours = assignment(release, environment)
    return check_environments(ours, GitHubReviews(chosen), approvals_of=run)


def failing(outcome: Outcome) -> list[Check]:
    return [check for check in outcome.checks if check.status is Status.FAIL]


def test_as_configured_is_a_go(github: StandIn) -> None:
    outcome = asked(github)
    assert outcome.verdict is Verdict.PROCEED
    assert {check.status for check in outcome.checks} == {Status.PASS}


def test_a_missing_environment_is_a_no(github: StandIn) -> None:
    del github.places[SRE]
    outcome = asked(github)
    assert outcome.verdict is Verdict.NO_GO
    (check,) = failing(outcome)
    assert (check.id, check.service) == ("environments.exists", SRE)


def test_no_reviewers_at_all_and_the_plan_is_named_where_it_is_private(github: StandIn) -> None:
    github.places[SRE] = place(SRE)
    (check, *_) = failing(asked(github))
    assert check.id == "environments.reviewers"
    assert "Enterprise" not in check.reason
    github.private = True
    (check, *_) = failing(asked(github))
    assert "GitHub Enterprise" in check.reason


@pytest.mark.parametrize(
    ("found", "check_id", "said"),
    [
        (place(SRE, "bob"), "environments.reviewers", "missing: org/sre"),
        (place(SRE, "bob", "team:sre", "eve"), "environments.reviewers", "not configured: eve"),
        (place(SRE, "bob", "team:sre", prevents=False), "environments.self_review", "allowed"),
        (
            place(SRE, "bob", "team:sre", can_admins_bypass=True),
            "environments.bypass",
            "administrators may",
        ),
    ],
)
def test_what_differs_is_named(
    github: StandIn, found: dict[str, Any], check_id: str, said: str
) -> None:
    github.places[SRE] = found
    (check,) = failing(asked(github))
    assert check.id == check_id
    assert said in check.reason


def test_what_github_does_not_tell_is_not_checked(github: StandIn) -> None:
    github.places[SRE] = place(SRE, "bob", "team:sre")
    outcome = asked(github)
    skipped = [check for check in outcome.checks if check.status is Status.SKIPPED]
    assert [(check.id, check.service) for check in skipped] == [("environments.bypass", SRE)]


def test_two_people_approved(github: StandIn) -> None:
    outcome = asked(github, "7")
    assert outcome.verdict is Verdict.PROCEED
    people = [each["person"] for each in outcome.details.model_dump(mode="json")["approvals"]]
    assert people == ["alice", "bob"]


@pytest.mark.parametrize(
    ("reviews", "said"),
    [
        ([review("bob", MANAGER), review("bob", SRE)], "the same person"),
        ([review("alice", MANAGER)], f"nobody approved {SRE}"),
        ([], "nobody approved"),
        ([review("alice", MANAGER), review("bob", SRE, "pending")], f"nobody approved {SRE}"),
        (
            [review("alice", MANAGER), review("bob", SRE), review("eve", SRE, "rejected")],
            "eve rejected",
        ),
    ],
)
def test_fewer_than_two_people_is_a_no(
    github: StandIn, reviews: list[dict[str, Any]], said: str
) -> None:
    github.reviews = reviews
    outcome = asked(github, "7")
    assert outcome.verdict is Verdict.NO_GO
    (check,) = failing(outcome)
    assert check.id == "environments.two_people"
    assert said in check.reason


def test_where_nobody_is_asked_for_nobody_is_proven(github: StandIn) -> None:
    """An empty list of people is no proof that two of them approved."""
    chosen = settings(github).model_copy(update={"two_people": ()})
    check = two_people(chosen, [], "7")
    assert check.status is Status.FAIL


def test_one_person_who_approved_both_may_be_covered_by_another(github: StandIn) -> None:
    github.reviews = [review("bob", MANAGER), review("alice", MANAGER), review("bob", SRE)]
    assert asked(github, "7").verdict is Verdict.PROCEED


def test_an_api_that_is_away_or_refuses_is_an_error(
    github: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    github.status = 503
    with pytest.raises(UnreachableError):
        asked(github)
    github.status = 403
    with pytest.raises(UsageError, match="403"):
        asked(github)
    with pytest.raises(UsageError, match="not a run id"):
        GitHubReviews(settings(github)).approvals("7/../8")
    monkeypatch.delenv("GITHUB_TOKEN")
    with pytest.raises(UsageError, match="GITHUB_TOKEN is not set"):
        GitHubReviews(settings(github))


def test_the_script_creates_the_environments(github: StandIn, tmp_path: Path) -> None:
    """Run by bash with a `gh` that records its calls: bodies are JSON with ids for names."""
    bash = shutil.which("bash")
    assert bash
    gh = tmp_path / "gh"
    gh.write_text(
        "#!/bin/bash\n"
        'if [ "$2" = --method ]; then\n'
        'if [ "$3" = DELETE ]; then echo "$3 $4" >> "$CALLS"; else '
        'echo "$3 $4 $(cat)" >> "$CALLS"; fi\n'
        'elif [[ "$2" = */deployment-branch-policies && "$4" = *index* ]]; then echo 41; echo 42\n'
        'elif [[ "$2" = */deployment-branch-policies ]]; then :\n'
        'elif [[ "$2" = */rulesets && "$4" = *creates* ]]; then echo 77\n'
        'elif [[ "$2" = */rulesets ]]; then :\n'
        'else echo "$2" >> "$CALLS"; echo "${#2}"; fi\n'
    )
    gh.chmod(0o755)
    calls = tmp_path / "calls"
    script = github_script(settings(github), "org/tars")
    done = subprocess.run(
        [bash],
        input=script,
        text=True,
        check=False,
        capture_output=True,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "CALLS": str(calls)},
    )
    assert done.returncode == 0, done.stderr
    lines = calls.read_text().splitlines()
    assert lines[0] == "users/alice"
    assert "orgs/org/teams/sre" in lines
    for line in lines:
        verb, _, request = line.partition(" ")
        address, _, text = request.partition(" ")
        if text and "/rulesets" in address:  # a change has the body of a creation
            validate("post", "/repos/org/tars/rulesets", "request", json.loads(text))
        elif text:
            validate(verb, f"/{address}", "request", json.loads(text))
    puts = [line for line in lines if line.startswith("PUT") and "/environments/" in line]
    method, address, body = puts[-1].split(" ", 2)
    assert (method, address) == ("PUT", f"repos/org/tars/environments/{SRE}")
    sent = json.loads(body)
    assert sent["prevent_self_review"] is True
    assert [each["type"] for each in sent["reviewers"]] == ["User", "Team"]
    assert all(isinstance(each["id"], int) for each in sent["reviewers"])
    assert sent["deployment_branch_policy"] == CUSTOM
    place_ = f"repos/org/tars/environments/{SRE}/deployment-branch-policies"
    assert f"DELETE {place_}/41" in lines
    posted = next(line for line in lines if line.startswith(f"POST {place_} "))
    assert json.loads(posted.split(" ", 2)[2]) == {"name": "release/**", "type": "branch"}
    content, creation = lines[-2:]
    assert content.startswith("POST repos/org/tars/rulesets {")
    assert creation.startswith("PUT repos/org/tars/rulesets/77 {"), "it exists, so it is changed"
    ruleset = json.loads(content.split(" ", 2)[2])
    assert ruleset["conditions"]["ref_name"]["include"] == ["refs/heads/release/**"]
    assert ruleset["bypass_actors"] == []
    created = {
        rule["type"]
        for text in (content, creation)
        for rule in json.loads(text.split(" ", 2)[2])["rules"]
    }
    assert created == {"creation", "deletion", "non_fast_forward", "pull_request"}


@pytest.mark.parametrize(
    ("policy", "policies", "said"),
    [
        (None, [], "every branch"),
        ({"protected_branches": True, "custom_branch_policies": False}, [], "protected branch"),
        (CUSTOM, [("release/**", "branch"), ("*", "branch")], "*"),
        (CUSTOM, [("release/**", "tag")], "(tag) release/**"),
        (CUSTOM, [], "missing: release/**"),
    ],
)
def test_an_environment_with_secrets_that_other_branches_may_use_is_a_no(
    github: StandIn, policy: object, policies: list[tuple[str, str]], said: str
) -> None:
    github.places[SRE] = place(
        SRE, "Bob", "team:sre", can_admins_bypass=False, deployment_branch_policy=policy
    )
    github.policies = [
        {"id": n, "node_id": "x", "name": name, "type": kind}
        for n, (name, kind) in enumerate(policies)
    ]
    outcome = asked(github)
    assert outcome.verdict is Verdict.NO_GO
    found = [check for check in failing(outcome) if check.service == SRE]
    assert [check.id for check in found] == ["environments.branches"]
    assert said in found[0].reason


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ([], "missing rules: pull_request, deletion, non_fast_forward, creation"),
        (BRANCH_RULES[1:], "missing rules: creation"),
        ([*BRANCH_RULES[:3], pull_request_rule(0)], "no approval"),
    ],
)
def test_a_release_branch_that_takes_unreviewed_workflows_is_a_no(
    github: StandIn, rules: list[dict[str, Any]], said: str
) -> None:
    github.rules = rules
    (check,) = failing(asked(github))
    assert (check.id, check.service) == ("environments.branch_rules", "release/**")
    assert said in check.reason


def test_a_file_that_lists_only_production_does_not_pass_with_nobody(github: StandIn) -> None:
    github.places["production"] = place("production")
    alone: dict[str, object] = {"environments": [{"name": "production"}], "two_people": []}
    outcome = asked(github, "7", **alone)
    assert outcome.verdict is Verdict.NO_GO
    assert [check.id for check in failing(outcome)] == [
        "environments.two_people_configured",
        "environments.two_people",
    ]
    in_words = {**alone, "one_person_is_enough": "a team of one person"}
    assert asked(github, "7", **in_words).verdict is Verdict.NO_GO, "but one person there must be"


def test_one_person_is_enough_only_if_the_file_gives_the_reason(github: StandIn) -> None:
    one: dict[str, object] = {
        "environments": [{"name": MANAGER, "reviewers": ["alice"]}],
        "two_people": [],
        "one_person_is_enough": "a team of one person",
    }
    outcome = asked(github, "7", **one)
    assert outcome.verdict is Verdict.PROCEED
    said = [check.reason for check in outcome.checks if check.status is Status.SKIPPED]
    assert said == ["one person is enough: a team of one person"]
    github.reviews = []
    assert asked(github, "7", **one).verdict is Verdict.NO_GO
    with pytest.raises(ValueError, match="not both"):
        settings(github, one_person_is_enough="a team of one person")


def test_reviewers_of_two_people_are_two_people(github: StandIn) -> None:
    github.places[SRE] = place(SRE, "ALICE", can_admins_bypass=False)
    places = [{"name": MANAGER, "reviewers": ["alice"]}, {"name": SRE, "reviewers": ["Alice"]}]
    (check,) = failing(asked(github, environments=places))
    assert check.reason == "one person is the only reviewer of both"
    places[1] = {"name": SRE}
    github.places[SRE] = place(SRE)
    (check,) = failing(asked(github, environments=places))
    assert check.reason == f"no reviewers: {SRE}"


def test_a_user_named_like_a_team_is_not_the_team(github: StandIn) -> None:
    github.places[SRE] = place(SRE, "bob", "sre", can_admins_bypass=False)
    (check,) = failing(asked(github))
    assert check.reason == "missing: org/sre; not configured: sre"


def test_a_login_in_other_letters_is_the_same_person(github: StandIn) -> None:
    github.reviews = [review("alice", MANAGER), review("Alice", SRE)]
    (check,) = failing(asked(github, "7"))
    assert "the same person" in check.reason
