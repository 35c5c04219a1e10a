"""tarsrelease init"""

from __future__ import annotations

import os
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tarsrelease.cli.settings import Settings, command

if TYPE_CHECKING:
    from tarsrelease.cli.session import Session
    from tarsrelease.model.outcome import Outcome

_FOLDER = click.Path(file_okay=False, path_type=Path)
_FILE = click.Path(dir_okay=False, path_type=Path)
_LONGEST = 46


@click.option("--chart", type=_FOLDER, metavar="DIR", help="Folder of the chart's source.")
@click.option(
    "--values",
    "values_files",
    multiple=True,
    type=_FILE,
    metavar="FILE",
    help="Helm values of the environment, as for helm --values. Repeatable.",
)
@click.option("--version", metavar="VERSION", help="Version. Default: the chart's appVersion.")
@click.option("--application", metavar="NAME", help="Helm release. Default: the chart's name.")
@click.option("--namespace", metavar="NAME", help="Namespace. Default: the application's name.")
@click.option(
    "--metrics",
    metavar="URL|FILE",
    help="Metrics page of a running instance. Default: that of a pod in the cluster.",
)
@click.option(
    "--prometheus", metavar="URL", help="Prometheus to use. Default: the pods' own metrics."
)
@click.option(
    "--gateway",
    metavar="NAMESPACE/NAME",
    help="Gateway, if the chart has no route or the route names none.",
)
@click.option(
    "--address",
    metavar="URL",
    help="How this machine reaches the gateway. Default: the Gateway's address, else the host.",
)
@click.option(
    "--hostname", "hostnames", multiple=True, metavar="HOST", help="Host name, if no route has one."
)
@click.option(
    "--repository",
    metavar="OWNER/NAME",
    help="GitHub repository. Default: that of the remote origin; without one, no workflows.",
)
@click.option("--context", metavar="NAME", help="Context of the kubeconfig to look at.")
@click.option("--offline", is_flag=True, help="Do not look at a cluster.")
@click.option(
    "--github", is_flag=True, help="Print the commands for GitHub's environments and do nothing."
)
def _init(settings: Settings, *, github: bool, **given: Any) -> int:
    """Write the files of a first release: bundle, rollout, environment, Role and workflows.

    It looks at the chart and, if it may, at the cluster and the metrics, and asks only for what it
    cannot see. It never overwrites a file. With --github, it prints a bash script of gh calls that
    create the environments and reviewers listed under `github` in the environment file.
    """
    from tarsrelease.cli.session import Recording, Session, carry_out
    from tarsrelease.model.errors import ReleaseError

    if github:
        session = Session(settings, changes=False)
        try:
            script = _script(session)
        except ReleaseError as error:
            problem = error

            def fail(_session: Session) -> Outcome:
                raise problem

            return carry_out(settings, "init", fail, changes=False, recording=Recording.WHEN_ASKED)
        click.echo(script, nl=False)
        return 0

    def act(session: Session) -> Outcome:
        return _files(session, settings.environment or "production", **given)

    return carry_out(settings, "init", act, changes=False, recording=Recording.WHEN_ASKED)


def _files(
    session: Session,
    environment: str,
    *,
    chart: Path | None,
    values_files: tuple[Path, ...],
    context: str | None,
    offline: bool,
    metrics: str | None,
    repository: str | None,
    **named: Any,
) -> Outcome:
    from tarsrelease.model.details import Details
    from tarsrelease.model.errors import UsageError
    from tarsrelease.model.outcome import Outcome, Verdict, exit_code_of
    from tarsrelease.scaffold import files as texts
    from tarsrelease.scaffold.requests import recognize
    from tarsrelease.wiring import scaffold

    started_at = datetime.now(UTC)
    say = session.progress.say
    seen = scaffold.read_chart(
        Path(str(_answer(chart, "Folder of the chart", "--chart"))), values_files
    )
    application = named["application"] or seen.name
    if len(application) > _LONGEST:
        raise UsageError(
            doing="looking at the chart",
            found=f"the application is called {application}, which has {len(application)} letters",
            expected=f"at most {_LONGEST}: with -canary, Helm's limit of 53 for a release",
            next_step="add --application NAME with a shorter name",
        )
    version = _version(named["version"], seen.app_version)
    namespace = named["namespace"] or application
    product = seen.product(application, namespace, version)
    if not product.services:
        raise UsageError(
            doing="looking at the chart",
            found="; ".join(product.problems) or "no Deployment whose pods a Service selects",
            expected="a Deployment with a Service, whose traffic can be split",
            next_step="give the Deployment and its Service in the chart, or --values that render "
            "them; StatefulSets and DaemonSets cannot have a canary beside them",
        )
    routes = [route for service in product.services for route in service.routes]
    gateway = _gateway(named["gateway"], routes, namespace)
    cluster = scaffold.ClusterSeen()
    if not offline:
        cluster = scaffold.look_at_cluster(context, namespace, gateway[:2], product, say)
    page = None if metrics is not None else cluster.page
    if page is None:
        asked = "Metrics page of a running instance (URL or file)"
        metrics = str(_answer(metrics, asked, "--metrics"))
        page = scaffold.metrics_page(metrics)
    slis = recognize(page)
    if slis is None:
        raise _unknown(
            "no counter or histogram of requests with a status label",
            "--metrics of an instance that has answered requests",
        )
    hostnames = texts.hostnames_of(routes, named["hostnames"])
    if not hostnames:
        hostnames = {"web": str(_answer(None, "Host name of the product", "--hostname"))}
    folder = Path(environment).parent
    facts = texts.Facts(
        application=application,
        version=version,
        chart=seen.folder.name,
        chart_name=seen.name,
        environment=environment,
        namespace=namespace,
        gateway=gateway,
        address=named["address"] or cluster.address or f"https://{next(iter(hostnames.values()))}",
        hostnames=hostnames,
        prometheus=named["prometheus"],
        repository=repository or scaffold.github_repository(Path()),
        values_files=tuple(
            os.path.relpath(file, Path("environments") / folder) for file in values_files
        ),
        actions=scaffold.our_actions(scaffold.root()),
        metrics_path=scaffold.path_of(metrics),
    )
    written, kept = scaffold.write(Path(), scaffold.all_files(facts, product, slis), say)
    lines = [f"wrote {name}" for name in written] + [f"kept {name}" for name in kept]
    lines += [f"to do: {problem}" for problem in product.problems]
    if facts.repository is None:
        lines.append("no GitHub repository is known, so no workflows: add --repository OWNER/NAME")
    release = texts.release_folder(version)
    source = seen.folder.parent
    return Outcome(
        step="init",
        release=version,
        environment=environment,
        verdict=Verdict.PROCEED,
        exit_code=exit_code_of(Verdict.PROCEED),
        summary=f"{len(written)} files written, {len(kept)} kept; requests: {slis.source}",
        details=Details(plan=tuple(lines)),
        started_at=started_at,
        finished_at=datetime.now(UTC),
        next=f"commit them, then run `tarsrelease bundle build --source {source} "
        f"--version {version} --out {release}`",
    )


def _version(given: str | None, app_version: str) -> str:
    version = (given or app_version).removeprefix("v")
    if re.fullmatch(r"\d+\.\d+\.\d+([-+][0-9A-Za-z.+-]+)?", version):
        return version
    return str(_answer(None, "Version of the release", "--version"))


def _gateway(given: str | None, routes: list[Any], namespace: str) -> tuple[str, str, str]:
    """Namespace, name and listener."""
    if given:
        place, _, name = given.rpartition("/")
        return place or namespace, name, ""
    for route in routes:
        place, name, listener = route.gateway
        if name:
            return place or namespace, name, listener
    answer = str(_answer(None, "Gateway of the product (NAMESPACE/NAME)", "--gateway"))
    place, _, name = answer.rpartition("/")
    return place or namespace, name, ""


def _answer(given: object | None, question: str, option: str) -> object:
    """What was given, or what a person at the terminal says. Raises UsageError without one."""
    if given is not None:
        return given
    if sys.stdin.isatty():
        return click.prompt(question, err=True)
    raise _unknown(f"nobody to ask: {question}", option)


def _unknown(found: str, option: str) -> Exception:
    from tarsrelease.model.errors import UsageError

    return UsageError(
        doing="looking at the product",
        found=found,
        expected="what the chart, the cluster and the metrics do not say",
        next_step=f"add {option}",
    )


def _script(session: Session) -> str:
    from tarsrelease.model.errors import UsageError
    from tarsrelease.report.github_script import github_script
    from tarsrelease.steps.check_environments import configured

    settings = configured(session.environment)
    repository = settings.repository or os.environ.get("GITHUB_REPOSITORY", "")
    if not repository:
        raise UsageError(
            doing="printing the commands that create GitHub's environments",
            found="no github.repository in the environment file",
            expected="OWNER/NAME",
            next_step="add it, or set GITHUB_REPOSITORY",
        )
    return github_script(settings, repository)


init = command(
    "environment",
    name="init",
    example="tarsrelease init --chart charts/shop --metrics http://localhost:8080/metrics\n"
    "tarsrelease init --github --environment production",
)(_init)
