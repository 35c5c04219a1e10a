"""A small application's bundle sources on disk, for the tests of files and the command line."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROLLOUT = """\
schema: tarsrelease/rollout/v1
application: demo
version: 1.2.0
chart: demo-1.2.0.tgz
canary_values: values-canary.yaml
services:
  - name: web
    port: 8080
    stable: {deployment: demo-web, service: demo-web}
    canary: {deployment: demo-canary-web, service: demo-canary-web}
    route: demo-web
    hosts: [web]
    paths: [/]
    smoke: [{path: /health}]
slis:
  errors:
    kind: proportion
    of: http_requests_total{service=~"$service"}
    bad: http_requests_total{service=~"$service",status=~"5.."}
  memory:
    kind: gauge
    value: process_resident_memory_bytes{service=~"$service"}
    unit: bytes
stages:
  - weight: 10
    duration: 10m
    checks: &checks
      - {kind: proportion, id: canary.error_rate, sli: errors, below: 2%}
      - {kind: gauge, id: canary.memory, sli: memory, below: 2.5GB}
  - weight: 100
    duration: 10m
    approval: true
    checks: *checks
"""

ENVIRONMENT = """\
schema: tarsrelease/environment/v1
name: place
kubernetes: {namespace: demo}
gateway:
  name: gateway
  namespace: gateway
  address: http://127.0.0.1:8000
  hostnames: {web: demo.example}
prometheus: {url: "http://127.0.0.1:9090"}
helm:
  values: {ratio: 0.5, since: 2026-01-01}
"""

BUNDLE = f"""\
schema: tarsrelease/bundle/v1
application: demo
version: 1.2.0
min_previous_version: 1.1.0
chart: chart
canary_values: values-canary.yaml
images:
  - service: web
    name: registry.example/demo/web
    tag: v1.2.0
    digest: sha256:{"a" * 64}
hotfixes:
  - {{id: DEMO-1, title: It works}}
migrations:
  - {{file: migrations/1.sql, phase: expand, order: 1, down: migrations/1.down.sql}}
files: [NOTES.md]
"""

TEMPLATE = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: demo}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: demo-web}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - name: web
          {{- with .Values.images.web }}
          image: "{{ .repository }}:{{ .tag }}@{{ .digest }}"
          {{- end }}
"""

SCHEMA = """\
{"type": "object", "properties": {"replicas": {"type": "integer", "minimum": 1}}}
"""

VALUES = """\
# The images; the build pins them.
images:
  web:
    repository: ""   # where it lies
    tag: ""
    digest: ""
replicas: 2 # each
"""


@dataclass(frozen=True)
class Sources:
    """`source` holds the chart's folder, `out` the bundle's own files, `environment` a file."""

    root: Path
    source: Path
    out: Path
    environment: Path


def write_sources(root: Path) -> Sources:
    """The sources of demo 1.2.0 under `root`, and an environment."""
    sources = Sources(root, root / "app", root / "release/v1_2_0", root / "environments/place.yaml")
    for path, text in {
        sources.source / "chart/Chart.yaml": (
            "apiVersion: v2\nname: demo # the product\nversion: 0.0.0\nappVersion: 0.0.0\n"
        ),
        sources.source / "chart/values.yaml": VALUES,
        sources.source / "chart/templates/web.yaml": (TEMPLATE),
        sources.source / "chart/values.schema.json": SCHEMA,
        sources.out / "bundle.yaml": BUNDLE,
        sources.out / "rollout.yaml": ROLLOUT,
        sources.out / "values-canary.yaml": "replicas: 1\n",
        sources.out / "migrations/1.sql": "SELECT 1;\n",
        sources.out / "migrations/1.down.sql": "SELECT 0;\n",
        sources.out / "NOTES.md": "Notes\n",
        sources.environment: ENVIRONMENT,
    }.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return sources


def git(folder: Path, *arguments: str) -> str:
    """Run git in `folder`, with a name and time of its own."""
    who = {
        f"GIT_{role}_{what}": value
        for role in ("AUTHOR", "COMMITTER")
        for what, value in (
            ("NAME", "Tester"),
            ("EMAIL", "tester@example.org"),
            ("DATE", "2026-01-01T00:00:00Z"),
        )
    }
    done = subprocess.run(
        ["git", "-c", "init.defaultBranch=main", "-C", str(folder), *arguments],
        env={**os.environ, **who, "GIT_CONFIG_GLOBAL": os.devnull},
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


def commit_all(folder: Path) -> str:
    """Make `folder` a repository if it is none, and commit everything. Returns the commit."""
    if not (folder / ".git").exists():
        git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "state")
    return git(folder, "rev-parse", "HEAD")
