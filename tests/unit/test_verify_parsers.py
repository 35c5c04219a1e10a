"""Laws of the parsers: what is written as SHA256SUMS is read, and rubbish is never a pass."""

from __future__ import annotations

import gzip
import hashlib
import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tarsrelease.adapters.files.configuration import read_bundle_input, read_manifest, read_rollout
from tarsrelease.adapters.files.yaml_source import read_values
from tarsrelease.bundle.chart_archive import read_chart
from tarsrelease.bundle.checksum_parser import parse_checksums, path_fault, shown
from tarsrelease.bundle.plain_text import document_fault
from tarsrelease.model.bundle import MANIFEST, Manifest
from tarsrelease.model.versions import precedence

DIGESTS = st.binary(min_size=1, max_size=4).map(lambda data: hashlib.sha256(data).hexdigest())
PATHS = st.text(
    st.characters(min_codepoint=1, exclude_categories=["Cs"]), min_size=1, max_size=30
).filter(lambda path: path_fault(path) is None and not path.startswith("./"))
LISTS = st.dictionaries(PATHS, DIGESTS, min_size=1, max_size=6)


def escaped(path: str) -> tuple[str, str]:
    """The mark in front of the line, and the name, as coreutils writes them."""
    name = path.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return ("\\" if name != path else ""), name


@given(LISTS, st.sampled_from(["text", "binary", "tag"]))
def test_every_form_that_sha256sum_writes_is_read(listed: dict[str, str], form: str) -> None:
    lines = []
    for path, digest in listed.items():
        mark, name = escaped(path)
        lines.append(
            {
                "text": f"{mark}{digest}  {name}\n",
                "binary": f"{mark}{digest} *{name}\n",
                "tag": f"{mark}SHA256 ({name}) = {digest}\n",
            }[form]
        )
    found = parse_checksums("".join(lines).encode())
    assert found.faults == ()
    assert found.digests == listed


@given(st.binary(max_size=300))
def test_no_bytes_are_a_list_by_chance(content: bytes) -> None:
    found = parse_checksums(content)
    assert found.faults or found.digests
    for path in found.digests:
        assert path_fault(path) is None
    assert all(fault.isprintable() for fault in found.faults)


@given(LISTS, st.integers(0, 10_000), st.integers(0, 255))
def test_one_byte_changed_is_told_or_changes_what_is_listed(
    listed: dict[str, str], where: int, byte: int
) -> None:
    content = bytearray(
        "".join(f"{escaped(p)[0]}{d}  {escaped(p)[1]}\n" for p, d in listed.items()).encode()
    )
    where %= len(content)
    before = bytes(content)
    content[where] = byte
    found = parse_checksums(bytes(content))
    same = bytes(content).lower() == before.lower() or bytes(content).replace(
        b" *", b"  "
    ) == before.replace(b" *", b"  ")
    assert same or found.faults or found.digests != listed


@given(st.text(max_size=200))
def test_what_is_shown_can_be_printed_on_one_line(text: str) -> None:
    found = shown(text)
    assert found.isprintable()
    assert len(found) < 1300


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
MANIFEST_LIKE = st.fixed_dictionaries(
    {"schema": st.just("tarsrelease/manifest/v1")},
    optional=dict.fromkeys(set(Manifest.model_json_schema()["properties"]) - {"schema"}, JSON),
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.one_of(MANIFEST_LIKE, JSON).map(json.dumps).map(str.encode) | st.binary(max_size=200))
def test_no_document_is_a_manifest_by_chance(content: bytes) -> None:
    if document_fault(content, json_only=True) is None:
        found = read_manifest(MANIFEST, content)
        assert isinstance(found, tuple)
        assert found
        assert all(isinstance(fault, str) for fault in found)


YAML = st.text(st.sampled_from("ab:- \n[]{}&*!|>'\"#,?%@`\t0.~<"), max_size=80)


@settings(deadline=None)
@given(YAML)
def test_no_yaml_makes_a_reader_fail(text: str) -> None:
    content = text.encode()
    if document_fault(content) is None:
        assert isinstance(read_rollout("rollout.yaml", content), tuple)
        assert isinstance(read_bundle_input("bundle.yaml", content), tuple)
    assert isinstance(read_values("values.yaml", content), (dict, tuple))


@settings(deadline=None)
@given(st.binary(max_size=2000), st.booleans())
def test_no_bytes_are_a_chart_by_chance(content: bytes, packed: bool) -> None:
    found = read_chart(gzip.compress(content) if packed else content, "demo", read_values)
    assert found.faults
    assert all(fault.isprintable() for fault in found.faults)


def test_versions_are_ordered_as_semver_says() -> None:
    """The example of semver.org 2.0.0, section 11, with a version below and above."""
    ordered = [
        "0.9.10", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta",
        "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0", "1.0.1",
    ]  # fmt: skip
    backwards = ordered[::-1]
    assert sorted(backwards, key=precedence) == ordered
    assert precedence("1.0.0+a") == precedence("1.0.0+b")
    assert precedence("v1.0.0") == precedence("1.0.0"), "as Helm charts write their appVersion"
