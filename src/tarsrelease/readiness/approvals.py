"""Check that two people must approve a release before production. Facts in, results out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tarsrelease.model.format import names
from tarsrelease.model.github import GitHub, GitHubEnvironment
from tarsrelease.model.outcome import Check, Observed, Status
from tarsrelease.model.people import Approval, BranchRules, Rules

EXISTS = "environments.exists"
REVIEWERS = "environments.reviewers"
SELF_REVIEW = "environments.self_review"
BYPASS = "environments.bypass"
BRANCHES = "environments.branches"
BRANCH_RULES = "environments.branch_rules"
TWO_PEOPLE = "environments.two_people"
CONFIGURED = "environments.two_people_configured"


def rules(
    wanted: GitHubEnvironment, branches: Sequence[str], found: Rules | None, *, private: bool
) -> tuple[Check, ...]:
    """Compare one GitHub environment with the environment file.

    `branches` are the patterns of the branches that may use it.
    """

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
    asked = {each.lower() for each in wanted.reviewers}
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
    results.append(_branches(check, branches, found))
    return tuple(results)


def branch_rules(pattern: str, found: BranchRules) -> Check:
    """Check that nobody can put an unreviewed workflow on a branch that may deploy.

    A pattern with a wildcard also needs a rule on who may create such branches.
    """
    needed = ["pull_request", "deletion", "non_fast_forward"]
    needed += ["creation"] if "*" in pattern else []
    missing = [rule for rule in needed if rule not in found.types]
    if found.problem is not None:
        reason = f"the rules cannot be read: {found.problem}"
    elif missing:
        reason = f"missing rules: {', '.join(missing)}; run `tarsrelease init --github`"
    elif not found.approvals:
        reason = "a pull request needs no approval"
    else:
        reason = f"{', '.join(found.types)}; a pull request needs {found.approvals} approvals"
    wrong = found.problem is not None or missing or not found.approvals
    return Check(
        id=BRANCH_RULES,
        status=Status.FAIL if wrong else Status.PASS,
        service=pattern,
        observed=Observed(value=", ".join(found.types) or "no rules", unit="rules"),
        expected=f"{', '.join(needed)}, with at least one approval",
        reason=reason,
        source=f"GitHub rulesets of {pattern}",
    )


def example_of(pattern: str) -> str:
    """The name of a branch that matches the pattern."""
    return pattern.replace("**", "*").replace("*", "x").replace("?", "x")


def two_people_required(settings: GitHub) -> Check:
    """Check that the environment file requires two people, or says why one is enough."""

    def check(status: Status, reason: str) -> Check:
        return Check(
            id=CONFIGURED,
            status=status,
            expected="two_people: environments with reviewers",
            reason=reason,
            source="environment file",
        )

    reviewed = [place.name for place in settings.environments if place.reviewers]
    if settings.one_person_is_enough is not None:
        if not reviewed:
            return check(Status.FAIL, "no environment has reviewers: nobody has to approve")
        return check(Status.SKIPPED, f"one person is enough: {settings.one_person_is_enough}")
    if not settings.two_people:
        return check(
            Status.FAIL,
            "the environment file has no two_people; if one person is enough, give the reason as "
            "one_person_is_enough",
        )
    if nobody := [name for name in settings.two_people if name not in reviewed]:
        return check(Status.FAIL, f"no reviewers: {names(nobody)}")
    people = [
        sorted({each.casefold() for each in place.reviewers})
        for place in settings.environments
        if place.name in settings.two_people
    ]
    if all("/" not in each for group in people for each in group) and not _different(people):
        return check(Status.FAIL, "one person is the only reviewer of both")
    return check(Status.PASS, f"{names(list(settings.two_people))} require different people")


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


def _branches(check: _Make, wanted: Sequence[str], found: Rules) -> Check:
    expected = f"only {names(sorted(wanted), 6)}"
    have = set(found.branches or ())
    said = "every branch" if found.branches is None else names(sorted(have), 6) or "no branch"
    more = "every branch" if found.branches is None else names(sorted(have - set(wanted)), 6)
    missing = names(sorted(set(wanted) - have), 6)
    if found.branches is None or have - set(wanted):
        reason = f"a workflow on these branches reads its secrets: {more}"
        reason += "; run `tarsrelease init --github`"
    elif missing:
        reason = f"missing: {missing}; run `tarsrelease init --github`"
    else:
        reason = f"{said}, as configured"
    status = Status.PASS if found.branches is not None and have == set(wanted) else Status.FAIL
    return check(BRANCHES, status, reason, expected, said)


def two_people(settings: GitHub, approvals: Sequence[Approval], run: str) -> Check:
    """Check that the environments of `two_people` were approved by different people.

    An environment that several people approved counts for any of them, if the others remain. With
    `one_person_is_enough`, one approval of any environment with reviewers is required. GitHub's
    logins ignore case.
    """
    wanted = settings.two_people or tuple(
        place.name
        for place in settings.environments
        if place.reviewers and settings.one_person_is_enough is not None
    )
    approved = {name: _approvers(approvals, name) for name in wanted}
    rejected = [
        f"{a.person or _DELETED} rejected {names(list(a.environments))}"
        for a in approvals
        if a.state == "rejected" and set(a.environments) & set(wanted)
    ]
    nobody = [name for name, people in approved.items() if not people]
    said = "; ".join(f"{name}: {names(who, 6) or 'nobody'}" for name, who in approved.items())
    if any(a.person is None and a.state == "approved" for a in approvals):
        said += f"; {_DELETED} approved, too, which counts for nobody"
    one = settings.one_person_is_enough is not None
    if not approved:
        status, reason = Status.FAIL, "the environment file has no two_people"
    elif rejected:
        status, reason = Status.FAIL, "; ".join(rejected)
    elif len(nobody) == len(approved) or (nobody and not one):
        status, reason = Status.FAIL, f"nobody approved {names(nobody)} ({said})"
    elif not one and not _different([_folded(people) for people in approved.values()]):
        status, reason = Status.FAIL, f"the same person gave both approvals ({said})"
    else:
        status, reason = Status.PASS, said
    return Check(
        id=TWO_PEOPLE,
        status=status,
        observed=Observed(value=said, unit="people") if said else None,
        expected="an approval"
        if one
        else f"a different person for each of {', '.join(wanted) or 'two_people'}",
        reason=reason,
        source=f"approvals of run {run}",
        samples=len(approvals),
    )


def _approvers(approvals: Sequence[Approval], name: str) -> list[str]:
    return sorted(
        {
            a.person
            for a in approvals
            if a.person and a.state == "approved" and name in a.environments
        }
    )


def _folded(people: Sequence[str]) -> list[str]:
    return sorted({each.casefold() for each in people})


_DELETED = "a deleted account"


def _different(groups: Sequence[Sequence[str]], taken: frozenset[str] = frozenset()) -> bool:
    """Whether each group has a different person (a system of distinct representatives)."""
    if not groups:
        return True
    return any(
        _different(groups[1:], taken | {person}) for person in groups[0] if person not in taken
    )
