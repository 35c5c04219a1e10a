"""The rights that a preflight asks for are those of the Role that ships."""

from __future__ import annotations

from pathlib import Path

import yaml

from tarsrelease.model.rights import ROLE, Right

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
