"""What a selector says of its metric and labels, and what of it the series do not have."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from functools import cache

from tarsrelease.model import promql

_BOUND = re.compile(r"""\ble\s*=\s*(?P<quote>["'`])(?P<bound>[^"'`]+)(?P=quote)""")

SCRAPE_LABELS = frozenset(
    {
        "__replica__",
        "cluster",
        "endpoint",
        "instance",
        "job",
        "monitor",
        "prometheus",
        "prometheus_replica",
        "receive",
        "replica",
        "rule_replica",
        "tenant_id",
    }
)
"""Labels that the collecting side adds: two series of one pod that differ in these alone may be
the same counter, collected twice (kube-prometheus, Thanos, Mimir, Grafana Agent)."""

PATH_LABELS = frozenset(
    {
        "endpoint",
        "grpc_service",
        "handler",
        "http_path",
        "http_route",
        "http_target",
        "path",
        "request_path",
        "route",
        "rpc_service",
        "uri",
        "url",
        "url_path",
    }
)
"""Labels that usually name what was asked for."""

_AGENT_LABELS = frozenset({"http_user_agent", "user_agent", "user_agent_original", "useragent"})
"""Labels that name who asked."""
TELLING_LABELS = PATH_LABELS | _AGENT_LABELS
"""Labels whose values tell probes from users' requests."""

PORT_LABELS = frozenset({"http_server_port", "local_port", "net_host_port", "server_port"})
"""Labels that name the port that was asked; probes may have one of their own."""

_PROBE = re.compile(
    r"(?i)(https?://[^/]+)?/?(-/|_|_ah/|actuator/|api/|v[0-9]+/|internal/|management/|q/|status/)*"
    r"(health[zy]?|health[-_]?check|heartbeat|alive|livez?|liveness|readyz?|readiness|startupz?"
    r"|metrics|prometheus|ping|up)"
    r"(/(live(ness|z)?|ready|readiness|readyz|startup|started|well))?/?([?].*)?"
    r"|/?grpc\.health\.v1\.Health(/.*)?"
)


@cache
def metric_of(selector: str) -> str:
    """The metric's name."""
    return promql.parse(selector).metric


@cache
def matchers_of(selector: str) -> tuple[promql.Matcher, ...]:
    """The selector's conditions, in order."""
    return promql.parse(selector).matchers


_PROBERS = re.compile(
    r"(?i)(kube-probe|prometheus|victoriametrics|vmagent|grafana[- ]?agent|alloy|blackbox|googlehc"
    r"|elb-healthchecker|azure traffic manager|envoy/hc|consul health check)\b.*"
)


@cache
def added_in_collecting(labels: tuple[str, ...]) -> frozenset[str]:
    """Those that the collecting side adds: SCRAPE_LABELS, and all kinds of replicas."""
    return frozenset(each for each in labels if each in SCRAPE_LABELS or "replica" in each)


@cache
def only_in(part: str, of: str) -> tuple[promql.Matcher, ...]:
    """Conditions that one selector has and the other has not."""
    return tuple(each for each in matchers_of(part) if each not in matchers_of(of))


@cache
def labels_only_in(part: str, of: str) -> tuple[str, ...]:
    """Labels that one selector has conditions on and the other has not."""
    known = {matcher.label for matcher in matchers_of(of)}
    return tuple(dict.fromkeys(m.label for m in matchers_of(part) if m.label not in known))


_CLASS = re.compile(r"(?i)[1-9]xx")
_CODE_AND_TEXT = re.compile(r"[1-9][0-9]{2}([^0-9].*)")
_NUMBERS = tuple(map(str, range(1000)))
_CLASSES = tuple(f"{number}{rest}" for number in range(1, 10) for rest in ("xx", "XX"))


@cache
def of_another_kind(matcher: promql.Matcher, values: frozenset[str]) -> bool:
    """Whether the condition can hold for no value of the kind of these.

    Kinds: status codes (up to three digits), codes with a text (``500 Internal Server Error``),
    classes (``5xx``), and words. `status=~"5.."` asks for no word such as ``error``, and
    `code="Internal"` for no number.
    """
    if not values:
        return False
    if all(value.isdecimal() and len(value) <= 3 for value in values):
        return not any(promql.holds(matcher, each) for each in _NUMBERS)
    if all(map(_CLASS.fullmatch, values)):
        return not any(promql.holds(matcher, each) for each in _CLASSES)
    texts = [found[1] for value in values if (found := _CODE_AND_TEXT.fullmatch(value))]
    if len(texts) == len(values):
        has_text = any(letter.isalpha() or letter.isspace() for letter in _plain(matcher))
        codes = (f"{number}{text}" for text in texts for number in _NUMBERS[100:])
        return not has_text and not any(promql.holds(matcher, each) for each in codes)
    if all(value[:1].isalpha() for value in values):
        plain = _plain(matcher)
        names_numbers = any(promql.holds(matcher, each) for each in (*_NUMBERS, *_CLASSES))
        is_word = any(letter.isalpha() for letter in plain.replace("xx", "").replace("XX", ""))
        return matcher.operator in ("=", "=~") and names_numbers and not is_word
    return False


def _plain(matcher: promql.Matcher) -> str:
    """The letters and digits of a pattern, without its classes and escapes."""
    return re.sub(r"\\.|\[[^]]*\]", "", matcher.value)


@cache
def inverted(matcher: promql.Matcher) -> promql.Matcher | None:
    """What a negative condition leaves out; None if it is none, or leaves out the empty value."""
    if matcher.operator not in ("!=", "!~"):
        return None
    found = matcher._replace(operator=matcher.operator.replace("!", "=").replace("==", "="))
    return None if promql.holds(found, "") else found


@cache
def in_another_case(matcher: promql.Matcher, values: frozenset[str]) -> str | None:
    """A value that the condition would hold for if it were written in the same case."""
    if matcher.operator not in ("=", "=~"):
        return None
    text = matcher.value if matcher.operator == "=~" else re.escape(matcher.value)
    pattern = promql.expression(f"(?i:{text})")
    if pattern is None or any(promql.holds(matcher, value) for value in values):
        return None
    return next((value for value in sorted(values) if pattern.fullmatch(value)), None)


def path_labels(selector: str) -> frozenset[str]:
    """Labels that tell probes from users' requests: those that the selector does not choose by."""
    return TELLING_LABELS - {matcher.label for matcher in matchers_of(selector)}


def is_probe(labels: Mapping[str, str], among: frozenset[str]) -> bool:
    """A probe of the kubelet, a health check or a scrape, told by one of the labels `among`."""
    return not among.isdisjoint(labels) and any(
        label in labels and _tells_probe(label, labels[label]) for label in among
    )


def _tells_probe(label: str, value: str) -> bool:
    if label in _AGENT_LABELS:
        return _PROBERS.fullmatch(value) is not None
    if label == "endpoint" and not value.startswith("/"):
        return False  # a PodMonitor's or ServiceMonitor's port, such as metrics
    return _PROBE.fullmatch(value) is not None


def as_sent(selector: str) -> str:
    """The selector with its bound in any spelling; a native histogram's bounds are numbers."""
    return selector if promql.native_bound(selector) is not None else any_spelling(selector)


def any_spelling(selector: str) -> str:
    """The selector with its bucket bound (`le="0.12"`) in every spelling of that number.

    Client libraries and Prometheus 3 write 0.12, 0.120 and 1.2e-01, or 1, 1.0 and 1e+00, for the
    same bound; a rename between two versions must not look like a slow release.
    """
    return _BOUND.sub(_spellings, selector)


def _spellings(match: re.Match[str]) -> str:
    try:
        bound = Decimal(match["bound"])
    except InvalidOperation:
        return match[0]
    if bound.is_infinite():
        return 'le=~"[+]?Inf"'
    if not bound.is_finite() or bound <= 0:
        return match[0]
    whole, _, fraction = f"{bound:f}".partition(".")
    whole, fraction = whole.lstrip("0"), fraction.rstrip("0")
    decimals = f"[.]{fraction}0*" if fraction else "([.]0*)?"
    digits = "".join(map(str, bound.as_tuple().digits)).strip("0")
    exponent = bound.adjusted()
    sign = "-" if exponent < 0 else "[+]?"
    mantissa = f"{digits[0]}[.]{digits[1:]}0*" if digits[1:] else f"{digits[0]}([.]0*)?"
    return f'le=~"0*{whole}{decimals}|{mantissa}[eE]{sign}0*{abs(exponent)}"'
