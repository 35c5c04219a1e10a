"""Does a trace continue through each service (W3C Trace Context)?"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from validation.asking import ANYWHERE

if TYPE_CHECKING:
    from conftest import Target

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"
services = pytest.mark.parametrize("service", ANYWHERE)


def continued(target: Target, service: str, **headers: str) -> tuple[str, str, str]:
    """Trace, span and flags of the answer."""
    text = target.get(ANYWHERE[service], **headers).headers.get("traceparent", "")
    match = re.fullmatch(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})", text)
    assert match, f"traceparent is {text!r}"
    return match[1], match[2], match[3]


@pytest.mark.canary
@pytest.mark.tracing
class TestTracing:
    @services
    def test_a_trace_continues(self, target: Target, service: str) -> None:
        assert continued(target, service, traceparent=PARENT)[0] == TRACE

    @services
    def test_the_service_has_a_span_of_its_own(self, target: Target, service: str) -> None:
        spans = {continued(target, service, traceparent=PARENT)[1] for _ in range(2)}
        assert len(spans) == 2
        assert SPAN not in spans

    @services
    def test_the_sampling_flag_is_kept(self, target: Target, service: str) -> None:
        assert continued(target, service, traceparent=f"00-{TRACE}-{SPAN}-00")[2] == "00"

    @services
    def test_a_request_without_a_trace_gets_one(self, target: Target, service: str) -> None:
        traces = {continued(target, service)[0] for _ in range(2)}
        assert len(traces) == 2

    @services
    @pytest.mark.parametrize("wrong", ["nonsense", f"00-{'0' * 32}-{SPAN}-01"])
    def test_a_wrong_trace_is_not_continued(self, target: Target, service: str, wrong: str) -> None:
        trace = continued(target, service, traceparent=wrong)[0]
        assert trace not in wrong
