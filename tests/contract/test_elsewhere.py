"""Numbers from real commands and a real HTTP server, asked in the background."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import monotonic, sleep

import pytest

from tarsrelease.adapters.background import Background
from tarsrelease.adapters.http.number import read_number
from tarsrelease.model.checks import ExternalCheck, ManualCheck, NumberSource, SuiteCheck
from tarsrelease.model.errors import ReleaseError, UnreachableError, UsageError
from tarsrelease.model.measurement import ExternalAnswer, Number, Track, Unmeasured
from tarsrelease.model.suite import SuiteResult

SINCE = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
ANSWERS = {
    "/plain": (200, "3.5\n"),
    "/json": (200, '{"open": {"p/1": [0, 7]}, "yes": true}'),
    "/words": (200, "three"),
    "/down": (503, "1"),
}


class Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/token":
            status, body = 200, "1" if self.headers["Authorization"] == "Bearer secret" else "0"
        elif self.path == "/hang":
            sleep(1.0)
            return
        else:
            status, body = ANSWERS[self.path]
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *arguments: object) -> None:
        """Quietly."""


@pytest.fixture
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()


def check(timeout: float = 5.0, every: float = 30.0, **source: object) -> ExternalCheck:
    return ExternalCheck(
        kind="external",
        id="canary.number",
        source=NumberSource.model_validate(source),
        at_most=1.0,
        every=every,
        timeout=timeout,
    )


def prints(code: str) -> dict[str, object]:
    return {"command": (sys.executable, "-c", code)}


def test_a_command_prints_the_number() -> None:
    assert read_number(check(**prints("print(' -2.5e3 ')"))) == -2500
    assert read_number(check(**prints("print('[1, 2]')"), pointer="/1")) == 2


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import sys; print(1); sys.exit('no luck')", "no luck"),
        ("print('many')", "many"),
        ("pass", "ValueError"),
        ("import time; time.sleep(5)", "within 0.3s"),
    ],
)
def test_a_command_without_a_number_is_no_answer(code: str, said: str) -> None:
    with pytest.raises(UnreachableError) as caught:
        read_number(check(timeout=0.3 if "sleep" in code else 20.0, **prints(code)))
    assert said in str(caught.value.detail)


def test_a_command_that_does_not_exist_says_so() -> None:
    with pytest.raises(UsageError):
        read_number(check(command=("/no/such/program",)))


def test_an_endpoint_answers_the_number(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_number(check(url=f"{server}/plain")) == 3.5
    assert read_number(check(url=f"{server}/json", pointer="/open/p~11/1")) == 7
    monkeypatch.setenv("NUMBER_TOKEN", "secret")
    assert read_number(check(url=f"{server}/token", token_env="NUMBER_TOKEN")) == 1


@pytest.mark.parametrize("path", ["/words", "/down", "/hang", "/json"])
def test_an_endpoint_without_a_number_is_no_answer(server: str, path: str) -> None:
    pointer = {"pointer": "/yes"} if path == "/json" else {}
    with pytest.raises(UnreachableError):
        read_number(check(timeout=0.5, url=f"{server}{path}", **pointer))


def test_nobody_listening_is_no_answer_and_no_token_is_a_mistake(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(UnreachableError):
        read_number(check(url="http://127.0.0.1:9/"))
    monkeypatch.delenv("NUMBER_TOKEN", raising=False)
    with pytest.raises(UsageError, match="NUMBER_TOKEN"):
        read_number(check(url="http://127.0.0.1:9/", token_env="NUMBER_TOKEN"))


def told(elsewhere: Background, rule: ExternalCheck | SuiteCheck) -> ExternalAnswer:
    deadline = monotonic() + 20
    while monotonic() < deadline:
        answer = elsewhere.answer(rule, Track.CANARY, SINCE)
        if answer is not None:
            return answer
        sleep(0.01)
    raise AssertionError("no answer")


def test_asking_does_not_wait_and_the_answer_comes() -> None:
    elsewhere = Background(read_number)
    slow = check(**prints("import time; time.sleep(0.3); print(4)"))
    began = monotonic()
    assert elsewhere.answer(slow, Track.CANARY, SINCE) is None
    assert monotonic() - began < 0.2
    answer = told(elsewhere, slow)
    assert isinstance(answer, Number)
    assert answer.value == 4


def test_it_is_asked_again_and_the_answer_before_stands_meanwhile() -> None:
    numbers = iter([1.0, 2.0])
    elsewhere = Background(lambda _rule: next(numbers))
    rule = check(url="http://127.0.0.1:9/", every=0.0)
    assert told(elsewhere, rule) == Number(1.0, pytest.approx(0, abs=1e12))
    deadline = monotonic() + 20
    answer = told(elsewhere, rule)
    while isinstance(answer, Number) and answer.value == 1.0 and monotonic() < deadline:
        answer = told(elsewhere, rule)
    assert answer == Number(2.0, pytest.approx(0, abs=1e12))


def test_what_cannot_be_asked_is_said() -> None:
    def broken(_rule: ExternalCheck) -> float:
        raise RuntimeError("broken")

    answer = told(Background(broken), check(url="http://127.0.0.1:9/"))
    assert isinstance(answer, Unmeasured)
    assert "broken" in answer.reason
    refused = told(Background(read_number), check(url="http://127.0.0.1:9/"))
    assert isinstance(refused, Unmeasured)
    assert issubclass(UnreachableError, ReleaseError)


class Suites:
    """Counts its runs."""

    def __init__(self) -> None:
        self.runs: list[tuple[tuple[str, ...], Track]] = []

    def run(self, marks: Sequence[str], target: Track) -> SuiteResult:
        self.runs.append((tuple(marks), target))
        return SuiteResult(suite="s", tests=(), seconds=0.0)


def test_a_suite_runs_once_for_each_shift() -> None:
    suites = Suites()
    elsewhere = Background(read_number, suites)
    rule = SuiteCheck(kind="suite", id="canary.spot", marks=("canary",))
    for _ in range(3):
        told(elsewhere, rule)
    assert suites.runs == [(("canary",), Track.CANARY)]
    later = SINCE.replace(hour=13)
    while elsewhere.answer(rule, Track.CANARY, later) is None:
        sleep(0.01)
    assert len(suites.runs) == 2
    assert isinstance(told(Background(read_number), rule), Unmeasured)


def test_a_person_may_answer_beforehand_or_meanwhile() -> None:
    rule = ManualCheck(kind="manual", id="canary.customers", question="No reports?")
    elsewhere = Background(read_number, answers={"canary.other": True})
    assert elsewhere.answer(rule, Track.CANARY, SINCE) is None
    elsewhere.answered("canary.customers", False)
    assert elsewhere.answer(rule, Track.CANARY, SINCE) is False
