"""The rights that a preflight asks for are those of the Role that ships."""

from __future__ import annotations

from pathlib import Path

import yaml

from tarsrelease.model.rights import HELM_HISTORY, ROLE, Right

FILE = Path(__file__).parents[2] / "rbac" / "role.yaml"


def test_the_rights_asked_for_are_those_of_the_shipped_role() -> None:
    role = next(d for d in yaml.safe_load_all(FILE.read_text()) if d["kind"] == "Role")
    shipped = {
        Right(group=group, resource=resource, verb=verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert set(ROLE) == shipped
    assert len(ROLE) == len(shipped)


def test_a_right_reads_as_kubectl_writes_it() -> None:
    right = Right(group="apps", resource="deployments/scale", verb="patch")
    assert str(right) == "patch deployments/scale.apps"


def test_the_read_only_role_only_reads_and_reads_no_secrets() -> None:
    documents = list(yaml.safe_load_all((FILE.parent / "read-only.yaml").read_text()))
    rules = next(d for d in documents if d["kind"] == "Role")["rules"]
    assert {verb for rule in rules for verb in rule["verbs"]} <= {"get", "list"}
    assert not [rule for rule in rules if "secrets" in rule["resources"]]
    assert not [rule for rule in rules if any("/" in each for each in rule["resources"])]
    assert HELM_HISTORY in ROLE
