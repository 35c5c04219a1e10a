"""Check that two people must approve a release before production. Facts in, results out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tarsrelease.model.environment import GitHub, GitHubEnvironment
from tarsrelease.model.format import names
from tarsrelease.model.outcome import Check, Observed, Status
from tarsrelease.model.people import Approval, Rules

EXISTS = "environments.exists"
REVIEWERS = "environments.reviewers"
SELF_REVIEW = "environments.self_review"
BYPASS = "environments.bypass"
TWO_PEOPLE = "environments.two_people"


def rules(wanted: GitHubEnvironment, found: Rules | None, *, private: bool) -> tuple[Check, ...]:
    """Compare one GitHub environment with the environment file."""

    def check(
        check_id: str, status: Status, reason: str, expected: str, observed: str | None = None
    ) -> Check:
        return Check(
            id=check_id,
            status=status,
            service=wanted.name,
            observed=None if observed is None else Observed(value=observed, unit="setting"),
            expected=expected,
            reason=reason,
            source=f"GitHub environment {wanted.name}",
        )

    if found is None:
        reason = (
            "it does not exist, and a workflow would create it without rules; run "
            "`tarsrelease init --github`"
        )
        return (check(EXISTS, Status.FAIL, reason, "it exists"),)
    results = [check(EXISTS, Status.PASS, "it exists", "it exists")]
    asked = {each.lower().rpartition("/")[2] for each in wanted.reviewers}
    have = set(found.reviewers)
    expected = f"reviewers: {names(sorted(asked), 6)}" if asked else "no reviewers"
    said = names(sorted(have), 6) or "nobody"
    if have == asked:
        results.append(check(REVIEWERS, Status.PASS, f"{said}, as configured", expected, said))
    else:
        why = f"missing: {names(sorted(asked - have), 6)}" if asked - have else ""
        more = f"not configured: {names(sorted(have - asked), 6)}" if have - asked else ""
        plan = (
            "the repository is private, and GitHub ignores reviewers of a private repository's "
            "environments without GitHub Enterprise"
            if private and not have
            else ""
        )
        reason = "; ".join(filter(None, (why, more, plan)))
        results.append(check(REVIEWERS, Status.FAIL, reason, expected, said))
    if asked:
        results.append(_self_review(check, wanted, found))
        results.append(_bypass(check, wanted, found))
    return tuple(results)


_Make = Callable[..., Check]


def _self_review(check: _Make, wanted: GitHubEnvironment, found: Rules) -> Check:
    prevents = bool(found.prevents_self_review)
    expected = (
        "the person who started the run cannot approve it"
        if wanted.prevent_self_review
        else "self-review is allowed"
    )
    status = Status.PASS if prevents == wanted.prevent_self_review else Status.FAIL
    said = "prevented" if prevents else "allowed"
    return check(SELF_REVIEW, status, f"self-review is {said}", expected, said)


def _bypass(check: _Make, wanted: GitHubEnvironment, found: Rules) -> Check:
    expected = (
        "administrators may bypass" if wanted.administrators_bypass else "nobody may bypass it"
    )
    if found.bypass is None:
        status, said = Status.SKIPPED, "GitHub does not say whether administrators may bypass it"
    else:
        status = Status.PASS if found.bypass == wanted.administrators_bypass else Status.FAIL
        said = "administrators may bypass it" if found.bypass else "nobody may bypass it"
    return check(BYPASS, status, said, expected)


def two_people(settings: GitHub, approvals: Sequence[Approval], run: str) -> Check:
    """Check that the environments of `two_people` were approved by different people.

    An environment that several people approved counts for any of them, if the others remain.
    """
    approved: Mapping[str, list[str]] = {
        name: sorted(
            {
                a.person
                for a in approvals
                if a.person and a.state == "approved" and name in a.environments
            }
        )
        for name in settings.two_people
    }
    rejected = [
        f"{a.person or _DELETED} rejected {names(list(a.environments))}"
        for a in approvals
        if a.state == "rejected" and set(a.environments) & set(settings.two_people)
    ]
    nobody = [name for name, people in approved.items() if not people]
    said = "; ".join(f"{name}: {names(who, 6) or 'nobody'}" for name, who in approved.items())
    if any(a.person is None and a.state == "approved" for a in approvals):
        said += f"; {_DELETED} approved, too, which counts for nobody"
    if not approved:
        status, reason = Status.SKIPPED, "the environment file has no two_people"
    elif rejected:
        status, reason = Status.FAIL, "; ".join(rejected)
    elif nobody:
        status, reason = Status.FAIL, f"nobody approved {names(nobody)} ({said})"
    elif not _different(list(approved.values())):
        status, reason = Status.FAIL, f"the same person gave both approvals ({said})"
    else:
        status, reason = Status.PASS, said
    return Check(
        id=TWO_PEOPLE,
        status=status,
        observed=Observed(value=said, unit="people") if said else None,
        expected=f"a different person for each of {', '.join(settings.two_people) or 'two_people'}",
        reason=reason,
        source=f"approvals of run {run}",
        samples=len(approvals),
    )


_DELETED = "a deleted account"


def _different(groups: Sequence[Sequence[str]], taken: frozenset[str] = frozenset()) -> bool:
    """Whether each group has a different person (a system of distinct representatives)."""
    if not groups:
        return True
    return any(
        _different(groups[1:], taken | {person}) for person in groups[0] if person not in taken
    )
