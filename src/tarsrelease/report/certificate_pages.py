"""A certificate as one HTML page that needs nothing else, and as Markdown. Pure."""

from __future__ import annotations

from tarsrelease.model.format import count
from tarsrelease.report.certificate import Certificate, Metric
from tarsrelease.report.document import Document, Table, html, markdown


def certificate_html(found: Certificate, plot: str) -> str:
    """The page. Whatever evidence says is text in it; `plot` is an SVG of our own."""
    return html(_document(found), plot)


def certificate_markdown(found: Certificate) -> str:
    """The same without the plot."""
    return markdown(_document(found))


def _document(found: Certificate) -> Document:
    unchecked = sum(metric.result == "NOT CHECKED" for metric in found.metrics)
    metrics = Table(
        title="Success metrics",
        header=("group", "metric", "required", "value", "result"),
        rows=tuple((m.group, m.name, m.required, m.value, _result(m)) for m in found.metrics),
    )
    overrides = Table(
        title="Overridden by the environment",
        header=("what", "instead of rollout.yaml"),
        rows=tuple((what, value) for what, _, value in map(_halves, found.overrides)),
    )
    return Document(
        title=f"{found.verdict}: {found.release} in {found.environment}",
        first=f"{found.headline}.",
        lines=(
            f"{found.ended}.",
            f"{found.started_at:%Y-%m-%d %H:%M} to {found.finished_at:%Y-%m-%d %H:%M} UTC.",
            f"Bundle {found.identity or 'not recorded'}.",
            f"{unchecked} of {len(found.metrics)} metrics were NOT CHECKED.",
            *(
                [f"{count(len(found.overrides), 'value')} of rollout.yaml overridden; see below."]
                if found.overrides
                else []
            ),
        ),
        before=(metrics, *([overrides] if found.overrides else [])),
        plot_title="Measurements over the release",
        after=found.tables,
    )


def _halves(override: str) -> tuple[str, str, str]:
    return override.partition(": ")


def _result(metric: Metric) -> str:
    return f"{metric.result} (accepted: {metric.accepted})" if metric.accepted else metric.result
