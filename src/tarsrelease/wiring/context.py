"""Build the `Context` of steps from a release and an environment."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from tarsrelease.context import Assignment, Cluster, Context, MetricsSources
from tarsrelease.model.environment import Environment
from tarsrelease.model.errors import UsageError
from tarsrelease.model.measurement import Requests
from tarsrelease.model.metrics_server import NO_PROMETHEUS
from tarsrelease.model.release import Release

if TYPE_CHECKING:
    from datetime import datetime

    from tarsrelease.adapters.background import AskStaging
    from tarsrelease.model.checks import StagingDriftCheck
    from tarsrelease.ports.cluster import Journal
    from tarsrelease.ports.metrics import History, Metrics


def no_heads() -> tuple[str, ...]:
    """The heads of a run without evidence."""
    return ()


def connect(assignment: Assignment, heads: Callable[[], tuple[str, ...]] = no_heads) -> Context:
    """The context of this assignment, with its adapters.

    `heads` are those of the run's evidence, for the journal.

    Reads the kubeconfig (UsageError if it is missing or has no such context), but sends no
    request and does not start Helm. Imports the libraries, which take longer than most commands.
    """
    from tarsrelease.adapters.background import Background
    from tarsrelease.adapters.helm.releases import Helm
    from tarsrelease.adapters.http.gateway import GatewayWeb
    from tarsrelease.adapters.http.number import read_number
    from tarsrelease.adapters.kubernetes.all_routes import AllRoutes
    from tarsrelease.adapters.kubernetes.client import KubernetesApi
    from tarsrelease.adapters.kubernetes.facts import KubernetesFacts
    from tarsrelease.adapters.kubernetes.journal import ConfigMapJournal
    from tarsrelease.adapters.kubernetes.lock import LeaseLock
    from tarsrelease.adapters.kubernetes.workloads import KubernetesWorkloads
    from tarsrelease.adapters.podmetrics.source import PodMetrics
    from tarsrelease.adapters.prometheus.samples import PrometheusMetrics
    from tarsrelease.adapters.pytest.suite import PytestSuite

    release, environment, run = assignment.release, assignment.environment, assignment.run
    rollout = release.rollout
    api = KubernetesApi.connect(environment.kubernetes.context, environment.kubernetes.namespace)
    direct = None
    if environment.metrics != "prometheus":
        direct = PodMetrics(api, rollout, environment.pod_metrics)
    samples: Metrics
    if direct is not None and environment.metrics == "pods":
        samples = direct
    else:
        samples = PrometheusMetrics(environment.prometheus)
    journal = ConfigMapJournal(api, rollout.application, heads)
    return Context(
        release=release,
        environment=environment,
        run=run,
        cluster=Cluster(
            routes=AllRoutes(api, environment.gateway),
            workloads=KubernetesWorkloads(api, rollout),
            charts=Helm(environment.kubernetes.context, environment.kubernetes.namespace),
            journal=journal,
            lock=LeaseLock(api, rollout.application, run, journal.entries),
            gateway=GatewayWeb(environment.gateway.address, tls=environment.gateway.tls),
            facts=KubernetesFacts(api),
        ),
        metrics=MetricsSources(
            samples=samples,
            direct=direct,
            external=Background(
                read_number,
                PytestSuite(Path(release.folder), environment),
                environment.overrides.answers,
                ask_staging(release, environment),
            ),
        ),
        people=assignment.people,
        clock=assignment.clock,
    )


def journal_of(environment: Environment, release: Release) -> Journal:
    """The release's journal on the cluster. Raises UsageError without a usable kubeconfig."""
    from tarsrelease.adapters.kubernetes.client import KubernetesApi
    from tarsrelease.adapters.kubernetes.journal import ConfigMapJournal

    place = environment.kubernetes
    api = KubernetesApi.connect(place.context, place.namespace)
    return ConfigMapJournal(api, release.rollout.application)


def ask_staging(release: Release, environment: Environment) -> AskStaging:
    """Staging, whose file is read at first use, because most releases do not use it."""
    from tarsrelease.adapters.clock import SystemClock
    from tarsrelease.adapters.files.configuration import load_environment
    from tarsrelease.adapters.prometheus.samples import PrometheusMetrics
    from tarsrelease.operations.staging_requests import requests_in_staging

    def ask(rule: StagingDriftCheck, since: datetime) -> Requests:
        if environment.staging is None:
            return Requests(None)
        staging = load_environment(environment.staging)
        with closing(PrometheusMetrics(staging.prometheus)) as metrics:
            return requests_in_staging(
                release, staging, rule, since, metrics=metrics, clock=SystemClock()
            )

    return ask


def recorded_metrics(environment: Environment) -> History:
    """The metrics server for recorded samples, which may take a minute; no cluster."""
    from tarsrelease.adapters.prometheus.samples import PrometheusMetrics

    if environment.prometheus.url == NO_PROMETHEUS:
        raise UsageError(
            doing="reading recorded metrics",
            found=f"metrics: pods and no prometheus in the environment {environment.name}",
            expected="a metrics server, because pods do not remember",
            next_step="give prometheus in the environment file",
        )
    patient = max(environment.prometheus.timeout, 60.0)
    return PrometheusMetrics(environment.prometheus.model_copy(update={"timeout": patient}))
