"""The adapter before what speaks Prometheus' API otherwise: Thanos, Mimir, VictoriaMetrics; and
the ways to prove who asks. The samples are a real Prometheus' behind each of them."""

from __future__ import annotations

import ssl
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_front import (
    Behaviour,
    Form,
    Front,
    Headers,
    Reply,
    as_mimir,
    as_prometheus,
    as_thanos,
    as_victoriametrics,
    front,
)
from prometheus_rig import Server, Target, scrapes

from tarsrelease.adapters.prometheus.samples import PrometheusMetrics
from tarsrelease.model.errors import ReleaseError, UnreachableError, UsageError
from tarsrelease.model.metrics_server import Prometheus
from tarsrelease.rehearsal.certificates import Authority, KeyPair

SELECTOR = 'requests_total{test="backends"}'
BEHAVIOURS: dict[str, Behaviour] = {
    "prometheus": as_prometheus,
    "thanos": as_thanos,
    "mimir": as_mimir,
    "victoriametrics": as_victoriametrics,
}


@pytest.fixture(scope="module")
def upstream(server: Server, target: Target) -> str:
    target.counter(7, test="backends", pod="a")
    target.counter(8, test="backends", pod="b")
    scrapes(target, 2)
    return server.settings.url


def settings(own: Front, backend: str = "prometheus", **more: object) -> Prometheus:
    return Prometheus.model_validate(
        {"url": own.url, "backend": backend, "timeout": 10.0, "scrape_interval": 0.5, **more}
    )


def values(own: Front, backend: str = "prometheus", **more: object) -> list[float]:
    """The newest value of each series."""
    adapter = PrometheusMetrics(settings(own, backend, **more))
    try:
        return [series.samples[-1].value for series in adapter.series([SELECTOR], 20)[0]]
    finally:
        adapter.close()


def tenant_of(backend: str) -> dict[str, str]:
    return {"tenant": "tars"} if backend == "mimir" else {}


@pytest.mark.parametrize("backend", BEHAVIOURS)
def test_each_back_end_gives_its_newest_samples_once(upstream: str, backend: str) -> None:
    with front(upstream, BEHAVIOURS[backend]) as own:
        assert values(own, backend, **tenant_of(backend)) == [7, 8]


@pytest.mark.parametrize("backend", ["thanos", "victoriametrics"])
def test_without_its_parameters_a_back_end_answers_something_else(
    upstream: str, backend: str
) -> None:
    """What the parameters are for: the same server, asked as if it were a plain Prometheus."""
    with front(upstream, BEHAVIOURS[backend]) as own:
        try:
            found = values(own, "prometheus")
        except ReleaseError:
            return
        assert found != [7, 8]


@pytest.mark.parametrize("backend", ["thanos", "victoriametrics"])
@pytest.mark.parametrize("asked_as", ["its own kind", "prometheus"])
def test_a_store_that_is_away_is_no_measurement(upstream: str, backend: str, asked_as: str) -> None:
    """Whether it says so by an error, by a warning or by a mark on the answer."""
    with front(upstream, BEHAVIOURS[backend]) as own:
        own.down = True
        whole = {"parameters": {"max_source_resolution": "0s", "nocache": "1"}}
        kind, more = ("prometheus", whole) if asked_as == "prometheus" else (backend, {})
        with pytest.raises(UnreachableError):
            values(own, kind, **more)


def test_replicas_show_where_they_are_asked_for(upstream: str) -> None:
    with front(upstream, as_thanos) as own:
        assert values(own, "thanos", parameters={"dedup": "false"}) == [7, 7, 8, 8]


def test_the_tenant_is_sent(upstream: str) -> None:
    with front(upstream, as_mimir) as own:
        with pytest.raises(UsageError, match="no org id"):
            values(own, "mimir")
        assert values(own, "mimir", tenant="other") == []
        assert values(own, "mimir", tenant="other|tars") == [7, 8]


def test_fixed_headers_and_parameters_go_with_every_query(upstream: str) -> None:
    seen: list[str | None] = []

    def behave(own: Front, form: Form, headers: Headers) -> Reply:
        seen.append(headers.get("X-Cluster"))
        return own.forward({"query": form["query"]})

    with front(upstream, behave) as own:
        adapter = PrometheusMetrics(
            settings(own, headers={"X-Cluster": "eu"}, parameters={"engine": "prometheus"})
        )
        adapter.series([SELECTOR, SELECTOR], 20)
        adapter.server_time()
        adapter.close()
        assert seen == ["eu"] * 3
        assert [form["engine"] for form in own.forms] == ["prometheus"] * 3


def allowing(header: str) -> Behaviour:
    def behave(own: Front, form: Form, headers: Headers) -> Reply:
        if headers.get("Authorization") != header:
            return 401, b"Unauthorized"
        return own.forward(form)

    return behave


def test_a_user_with_a_password(upstream: str, monkeypatch: pytest.MonkeyPatch) -> None:
    basic = {"username_env": "METRICS_USER", "password_env": "METRICS_PASSWORD"}
    pair = b64encode("jürgen:pä:ss".encode()).decode()
    with front(upstream, allowing(f"Basic {pair}")) as own:
        with pytest.raises(UsageError, match="METRICS_USER"):
            values(own, basic=basic)
        monkeypatch.setenv("METRICS_USER", "jürgen")
        monkeypatch.setenv("METRICS_PASSWORD", "wrong")
        with pytest.raises(UsageError) as caught:
            values(own, basic=basic)
        assert "METRICS_USER" in caught.value.detail.expected
        assert "wrong" not in str(caught.value.detail)
        monkeypatch.setenv("METRICS_PASSWORD", "pä:ss\n")
        assert values(own, basic=basic) == [7, 8]


def test_a_bearer_token(upstream: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METRICS_TOKEN", "secret")
    with front(upstream, allowing("Bearer secret")) as own:
        assert values(own, token_env="METRICS_TOKEN") == [7, 8]


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority("metrics-test")


@pytest.fixture
def mutual(upstream: str, authority: Authority, tmp_path: Path) -> Iterator[Front]:
    """A server that answers only who shows a certificate of `authority`."""
    pair = authority.issue("metrics", hosts=("127.0.0.1",))
    certificate, key, roots = (tmp_path / name for name in ("cert.pem", "key.pem", "ca.pem"))
    certificate.write_bytes(pair.certificate)
    key.write_bytes(pair.key)
    roots.write_bytes(authority.certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(roots)
    context.verify_mode = ssl.CERT_REQUIRED
    with front(upstream, as_prometheus, context) as own:
        yield own


MUTUAL = {"ca_env": "CA", "certificate_env": "CERTIFICATE", "key_env": "KEY"}


def given(
    monkeypatch: pytest.MonkeyPatch, authority: Authority, pair: KeyPair, folder: Path | None
) -> None:
    """The variables, with the PEM texts or, where there is a folder, paths to them."""
    for name, text in (
        ("CA", authority.certificate),
        ("CERTIFICATE", pair.certificate),
        ("KEY", pair.key),
    ):
        if folder is None:
            monkeypatch.setenv(name, text.decode())
        else:
            (folder / name).write_bytes(text)
            monkeypatch.setenv(name, str(folder / name))


@pytest.mark.parametrize("as_files", [True, False], ids=["paths", "texts"])
def test_mutual_tls(
    mutual: Front,
    authority: Authority,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    as_files: bool,
) -> None:
    given(monkeypatch, authority, authority.issue("gate"), tmp_path if as_files else None)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    before = set(tmp_path.iterdir())
    assert values(mutual, tls=MUTUAL) == [7, 8]
    assert set(tmp_path.iterdir()) == before, "a key that was made a file is gone again"


def test_a_server_of_another_authority_is_not_asked(
    mutual: Front, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    given(monkeypatch, Authority("another"), authority.issue("gate"), None)
    with pytest.raises(UnreachableError, match="CERTIFICATE_VERIFY_FAILED"):
        values(mutual, tls=MUTUAL)
    assert mutual.forms == []


def test_a_client_of_another_authority_is_not_answered(
    mutual: Front, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    given(monkeypatch, authority, Authority("another").issue("gate"), None)
    with pytest.raises(UnreachableError):
        values(mutual, tls=MUTUAL)
    given(monkeypatch, authority, authority.issue("gate"), None)
    with pytest.raises(UnreachableError):
        values(mutual, tls={"ca_env": "CA"})
    assert mutual.forms == []


def test_what_is_no_certificate_is_named(
    mutual: Front, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = authority.issue("gate")
    given(monkeypatch, authority, pair, None)
    monkeypatch.setenv("KEY", authority.issue("other").key.decode())
    with pytest.raises(UsageError, match=r"\$CERTIFICATE and \$KEY"):
        values(mutual, tls=MUTUAL)
    monkeypatch.setenv("CA", "/nowhere/ca.pem")
    with pytest.raises(UsageError, match=r"\$CA"):
        values(mutual, tls=MUTUAL)
    monkeypatch.delenv("CA")
    with pytest.raises(UsageError, match="variable CA is not set"):
        values(mutual, tls=MUTUAL)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"backend": "thanos", "parameters": {"partial_response": "true"}}, "decides nothing"),
        ({"parameters": {"query": "up"}}, "query is set with every query"),
        ({"headers": {"Authorization": "Bearer x"}}, "is a secret"),
        ({"backend": "victoriametrics", "tenant": "1"}, "from the address"),
        ({"tls": {"ca_env": "CA"}}, "https"),
        ({"url": "https://a", "tls": {"key_env": "K"}}, "go together"),
        ({"url": "https://a", "tls": {}}, "leave tls out"),
        (
            {"token_env": "T", "basic": {"username_env": "U", "password_env": "P"}},
            "not both",
        ),
    ],
)
def test_settings_that_contradict_themselves_are_refused(more: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Prometheus.model_validate({"url": "http://a", **more})
