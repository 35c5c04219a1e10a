"""Every action: its inputs, and the command line that they become."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tarsrelease.actions import kinds
from tarsrelease.actions.inputs import Given, Input

Arguments = Callable[[Given], list[str]]


@dataclass(frozen=True)
class Action:
    """`arguments` makes the command line; `refusal` says why a set of inputs makes no sense.

    `outputs` are the action's own, taken from the outcome's ``details.outputs``.
    """

    arguments: Arguments
    inputs: Mapping[str, Input]
    refusal: Callable[[Given], str | None] = lambda _given: None
    outputs: tuple[str, ...] = ()


_RELEASE = {"release": Input(kinds.PATH, required=True)}
_ENVIRONMENT = {"environment": Input(kinds.PATH, required=True)}
_EVIDENCE = {"evidence": Input(kinds.PATH, default="evidence")}
_CLUSTER = {"kubeconfig": Input(kinds.KUBECONFIG)}
_DAY = _RELEASE | _ENVIRONMENT | _EVIDENCE | _CLUSTER
_STAGES = {"stages": Input(kinds.WEIGHTS), "stage-duration": Input(kinds.DURATION)}
_FLAGS = {"feature-flags": Input(kinds.BOOLEAN, default="false")}


def _flags(given: Given, *names: str) -> list[str]:
    """``--name=value``, which no value can leave; booleans as ``--name`` or not at all."""
    made = []
    for name in names:
        value = given.get(name)
        if value in (None, "false"):
            continue
        made.append(f"--{name}" if value == "true" else f"--{name}={value}")
    return made


def _command(*words: str, flags: tuple[str, ...]) -> Arguments:
    return lambda given: [*words, *_flags(given, *flags)]


_PLACE = ("release", "environment", "evidence")


_COUNTED = ("support-tickets", "usual-tickets", "pagerduty-alerts")
"""What people count after a promotion."""


def _verify(given: Given) -> list[str]:
    flags = ("release", "evidence", "require", "offline", "checksums-only", "running", "platform")
    more = ("layers", "repository", "signer-workflow", "trusted-root")
    attestations = [
        f"--attestations={path}" for path in given.get("attestations", "").split(",") if path
    ]
    return ["verify", *_flags(given, *flags, *more), *attestations]


_MIGRATE_FLAGS = {
    "plan": ("phase",),
    "up": ("phase", "wait", "as-job"),
    "verify": ("as-job",),
    "status": ("as-job",),
    "down": ("wait", "as-job", "accept-loss"),
}


def _migrate(given: Given) -> list[str]:
    word = given["command"]
    flags = [flag for flag in _MIGRATE_FLAGS[word] if flag != "accept-loss"]
    agreed = ["--yes"] if given["accept-loss"] == "true" else []
    return ["migrate", word, *_flags(given, *_PLACE, *flags), *agreed]


def _migrate_refusal(given: Given) -> str | None:
    word = given["command"]
    own = {name for flags in _MIGRATE_FLAGS.values() for name in flags}
    for name in own & given.keys() - set(_MIGRATE_FLAGS[word]):
        if given[name] != "false":
            goes = ", ".join(known for known, flags in _MIGRATE_FLAGS.items() if name in flags)
            return f"{name}: does not go with the command {word}; allowed with: {goes}"
    return None


def _gate(given: Given) -> list[str]:
    flags = ("stage", "stages", "stage-duration", "wait", "observe", "for", "lifted-by", "reason")
    answers = [f"--answer={one.strip()}" for one in given.get("answers", "").split(",") if one]
    return ["canary", "gate", *_flags(given, *_PLACE, *flags), *answers]


def _gate_refusal(given: Given) -> str | None:
    if given["wait"] == given["observe"] == "true":
        return "observe: does not go with wait; allowed: one of them"
    if given["wait"] == given["observe"] == "false" and "stage" not in given:
        return f"stage: is missing; allowed: {kinds.WEIGHT.allowed}"
    if "lifted-by" in given and "reason" not in given:
        return "reason: is missing; allowed with lifted-by: why the hold was lifted"
    return None


def _notify(given: Given) -> list[str]:
    silent = ["--no-pagerduty"] if given["pagerduty"] == "false" else []
    own = ("event", "about", "reason", "approval", "starts", "ends", "wait")
    return ["notify", "send", *_flags(given, *_PLACE, *own), *silent]


def _control(given: Given) -> list[str]:
    return [given["command"], *_flags(given, *_PLACE, "reason", "by")]


def _validate(given: Given) -> list[str]:
    marks = [f"--mark={mark.strip()}" for mark in given.get("mark", "").split(",") if mark]
    return ["validate", *_flags(given, *_PLACE, "target", "deadline"), *marks]


def _go_no_go(given: Given) -> list[str]:
    listed = [
        f"--{flag}={one.strip()}"
        for flag, name in (("vote", "votes"), ("require-vote", "require-votes"))
        for one in given.get(name, "").split(",")
        if one
    ]
    return ["check", "go-no-go", *_flags(given, *_PLACE, "window", "staging", "approvals"), *listed]


_PLAN_FLAGS = (
    *("ref", "release", "environment", "evidence", "stages", "stage-minutes"),
    *("feature-flags", "override-window", "reason"),
)


def _plan(given: Given) -> list[str]:
    journal = ["--journal"] if "kubeconfig" in given else []
    return ["plan", *_flags(given, *_PLAN_FLAGS), *journal]


ACTIONS: dict[str, Action] = {
    "setup": Action(_command("version", flags=()), {}, outputs=("tarsrelease",)),
    "plan": Action(
        _plan,
        {
            "ref": Input(kinds.REF),
            "release": Input(kinds.PATH),
            **_ENVIRONMENT,
            **_EVIDENCE,
            **_CLUSTER,
            "stages": Input(kinds.WEIGHTS),
            "stage-minutes": Input(kinds.NUMBER),
            **_FLAGS,
            "override-window": Input(kinds.BOOLEAN, default="false"),
            "reason": Input(kinds.TEXT),
        },
        outputs=("plan",),
    ),
    "verify-artifacts": Action(
        _verify,
        {
            **_RELEASE,
            **_EVIDENCE,
            "require": Input(kinds.WORDS),
            "offline": Input(kinds.BOOLEAN, default="false"),
            "checksums-only": Input(kinds.BOOLEAN, default="false"),
            "running": Input(kinds.VERSION),
            "platform": Input(kinds.PLATFORM),
            "layers": Input(kinds.BOOLEAN, default="false"),
            "attestations": Input(kinds.PATHS),
            "repository": Input(kinds.REPOSITORY),
            "signer-workflow": Input(kinds.PATH),
            "trusted-root": Input(kinds.PATH),
        },
    ),
    "environments": Action(
        _command("check", "environments", flags=(*_PLACE, "approvals")),
        _RELEASE | _ENVIRONMENT | _EVIDENCE | {"approvals": Input(kinds.RUN)},
    ),
    "go-no-go": Action(
        _go_no_go,
        {
            **_DAY,
            "votes": Input(kinds.VOTES),
            "require-votes": Input(kinds.WORDS),
            "window": Input(kinds.DURATION),
            "staging": Input(kinds.PATH),
            "approvals": Input(kinds.APPROVALS),
        },
    ),
    "preflight": Action(
        _command("check", "preflight", flags=(*_PLACE, "running", "feature-flags")),
        _DAY | {"running": Input(kinds.VERSION)} | _FLAGS,
    ),
    "migrate": Action(
        _migrate,
        {
            **_DAY,
            "command": Input(kinds.choice(*_MIGRATE_FLAGS), default="up"),
            "phase": Input(kinds.choice("expand", "contract")),
            "wait": Input(kinds.DURATION),
            "as-job": Input(kinds.BOOLEAN, default="false"),
            "accept-loss": Input(kinds.BOOLEAN, default="false"),
        },
        _migrate_refusal,
    ),
    "canary-deploy": Action(
        _command("canary", "deploy", flags=(*_PLACE, "feature-flags")), _DAY | _FLAGS
    ),
    "canary-gate": Action(
        _gate,
        {
            **_DAY,
            "stage": Input(kinds.WEIGHT),
            **_STAGES,
            "on-hold": Input(kinds.choice("fail", "continue"), default="fail"),
            "wait": Input(kinds.BOOLEAN, default="false"),
            "observe": Input(kinds.BOOLEAN, default="false"),
            "for": Input(kinds.DURATION),
            "lifted-by": Input(kinds.LOGIN),
            # What a person wrote when approving: a quotation mark in it must not fail the stage.
            "reason": Input(kinds.TEXT, lenient=True),
            "answers": Input(kinds.ANSWERS),
        },
        _gate_refusal,
        outputs=("protected",),
    ),
    "validate": Action(
        _validate,
        {
            **_DAY,
            "target": Input(kinds.choice("canary", "stable"), default="canary"),
            "mark": Input(kinds.NAMES),
            "deadline": Input(kinds.DURATION),
        },
    ),
    "promote": Action(_command("promote", flags=_PLACE), _DAY),
    "watch": Action(
        _command("watch", "--once", flags=(*_PLACE, "window", "young", "ga-day", *_COUNTED)),
        {
            "release": Input(kinds.PATH),
            **_ENVIRONMENT,
            **_EVIDENCE,
            **_CLUSTER,
            "window": Input(kinds.DURATION),
            "young": Input(kinds.DURATION),
            "ga-day": Input(kinds.BOOLEAN, default="false"),
            **{name: Input(kinds.COUNT) for name in _COUNTED},
        },
    ),
    "rollback": Action(
        _command("rollback", flags=(*_PLACE, "plan", "with-database", "reason")),
        {
            **_DAY,
            "plan": Input(kinds.BOOLEAN, default="false"),
            "with-database": Input(kinds.BOOLEAN, default="false"),
            # A wrong character in its reason is no reason to leave users on a bad version.
            "reason": Input(kinds.TEXT, lenient=True),
        },
    ),
    "release-control": Action(
        _control,
        {
            **_DAY,
            "command": Input(kinds.choice("hold", "resume", "abort"), required=True),
            "reason": Input(kinds.TEXT, lenient=True, required=True),
            "by": Input(kinds.LOGIN),
        },
    ),
    "dashboard": Action(
        _command("dashboard", flags=(*_PLACE, "out")),
        _DAY | {"out": Input(kinds.PATH, required=True)},
    ),
    "notify": Action(
        _notify,
        {
            **_RELEASE,
            **_ENVIRONMENT,
            **_EVIDENCE,
            "event": Input(
                kinds.choice(
                    *("scheduled", "started", "stage", "hold", "waiting", "protected"),
                    *("promoted", "complete"),
                    *("rollback-started", "rollback", "rollback-failed"),
                    *("incident", "resolved", "customers"),
                ),
                required=True,
            ),
            **_CLUSTER,
            "about": Input(kinds.TEXT, lenient=True),
            "reason": Input(kinds.TEXT, lenient=True),
            "approval": Input(kinds.TEXT, lenient=True),
            "starts": Input(kinds.TEXT),
            "ends": Input(kinds.TEXT),
            "wait": Input(kinds.DURATION),
            "pagerduty": Input(kinds.BOOLEAN, default="true"),
        },
    ),
}
