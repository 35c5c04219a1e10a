"""Prometheus' configuration for the rehearsal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tarsrelease.rehearsal import world

_POD = "__meta_kubernetes_pod"
_PODS = "pods"
# The pod's labels that become labels of its metrics; the other two come from its identity.
_POD_LABELS = ("service", "deployment", "version", "agent_type")


def configuration(kubeconfig: Path, scrape_interval: float) -> str:
    """prometheus.yml (as JSON, which is YAML); `scrape_interval` in seconds."""
    interval = f"{round(scrape_interval * 1000)}ms"
    document = {
        "global": {
            "scrape_interval": interval,
            # A scrape may take as long as the interval, and no longer.
            "scrape_timeout": f"{min(round(scrape_interval * 1000), 5000)}ms",
            "evaluation_interval": interval,
        },
        "scrape_configs": [
            {
                "job_name": _PODS,
                "kubernetes_sd_configs": [{"role": "pod", "kubeconfig_file": str(kubeconfig)}],
                "relabel_configs": _pod_relabelling(),
            },
            {
                "job_name": "node",
                "honor_labels": True,  # namespace, pod and container are the pods' own
                "static_configs": [{"targets": [world.NODE_METRICS]}],
            },
            {"job_name": "traefik", "static_configs": [{"targets": [world.ROUTER_METRICS]}]},
        ],
    }
    return json.dumps(document, indent=2) + "\n"


def scraped_twice(configured: str) -> str:
    """The configuration with a second job that scrapes the same pods."""
    document = json.loads(configured)
    jobs = document["scrape_configs"]
    jobs += [{**job, "job_name": f"{_PODS}-again"} for job in jobs if job["job_name"] == _PODS]
    return json.dumps(document, indent=2) + "\n"


def _pod_relabelling() -> list[dict[str, Any]]:
    annotation = f"{_POD}_annotation_prometheus_io"
    rules: list[dict[str, Any]] = [
        {"source_labels": [f"{annotation}_scrape"], "regex": "true", "action": "keep"},
        {"source_labels": [f"{_POD}_phase"], "regex": "Running", "action": "keep"},
        {"source_labels": [f"{_POD}_container_init"], "regex": "true", "action": "drop"},
        {
            "source_labels": [f"{_POD}_ip", f"{annotation}_port"],
            "separator": ":",
            "regex": r"(.+:\d+)",
            "target_label": "__address__",
        },
        {
            "source_labels": [f"{annotation}_path"],
            "regex": "(.+)",
            "target_label": "__metrics_path__",
        },
        {"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"},
        {"source_labels": [f"{_POD}_name"], "target_label": "pod"},
    ]
    rules += [
        {"source_labels": [f"{_POD}_label_{label}"], "target_label": label} for label in _POD_LABELS
    ]
    return rules
