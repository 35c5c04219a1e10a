"""The Kubernetes API: the official client's DynamicClient behind the few verbs that are needed.

The resources are named here instead of discovered: discovery costs a fresh process several
requests, and a Role that lists exactly what is needed has no right to all of it.
"""

from __future__ import annotations

import copy
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any

import urllib3
from kubernetes.client import ApiClient
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic import DynamicClient

from tarsrelease.adapters.kubernetes.deadline import bounded, within
from tarsrelease.adapters.kubernetes.kubeconfig import configured
from tarsrelease.model.errors import ForbiddenError, ReleaseError, UnreachableError, UsageError
from tarsrelease.model.format import duration

FIELD_MANAGER = "tarsrelease"
_TIMEOUT = (3.0, 10.0)
"""Seconds to connect, and to wait for an answer."""
_LONGEST = 10.0
"""Seconds for the whole of an answer."""
_EXCERPT = 80
_LONGEST_MESSAGE = 500
"""Characters of an answer that is no Status."""
_PAUSES = (0.2, 0.5, 1.0)
"""Seconds before each new attempt of a request that was not answered (all are idempotent)."""
_DYNAMIC_CLIENT: Any = DynamicClient  # the library has no types
_LATER = {429, 500, 502, 503, 504}

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """A resource of the API. `group` is empty for the core group."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """As it stands in an object."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def right(self) -> str:
        """The resource as a Role names it: ``deployments.apps``."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


DEPLOYMENT = Kind("apps", "v1", "Deployment", "deployments")
POD = Kind("", "v1", "Pod", "pods")
SERVICE = Kind("", "v1", "Service", "services")
ENDPOINT_SLICE = Kind("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices")
CONFIG_MAP = Kind("", "v1", "ConfigMap", "configmaps")
LEASE = Kind("coordination.k8s.io", "v1", "Lease", "leases")
CRON_JOB = Kind("batch", "v1", "CronJob", "cronjobs")
DISRUPTION_BUDGET = Kind("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets")
AUTOSCALER = Kind("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers")
NODE = Kind("", "v1", "Node", "nodes", namespaced=False)
NODE_METRICS = Kind("metrics.k8s.io", "v1beta1", "NodeMetrics", "nodes", namespaced=False)
POD_ANYWHERE = Kind("", "v1", "Pod", "pods", namespaced=False)
RESOURCE_QUOTA = Kind("", "v1", "ResourceQuota", "resourcequotas")
NAMESPACE = Kind("", "v1", "Namespace", "namespaces", namespaced=False)
ACCESS_REVIEW = Kind(
    "authorization.k8s.io",
    "v1",
    "SelfSubjectAccessReview",
    "selfsubjectaccessreviews",
    namespaced=False,
)
HTTP_ROUTE = Kind("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes")
REFERENCE_GRANT = Kind("gateway.networking.k8s.io", "v1beta1", "ReferenceGrant", "referencegrants")
VIRTUAL_SERVICE = Kind("networking.istio.io", "v1", "VirtualService", "virtualservices")
GRPC_ROUTE = Kind("gateway.networking.k8s.io", "v1", "GRPCRoute", "grpcroutes")


class Conflict(Exception):  # noqa: N818 - the API's own word for it
    """The object has changed since it was read, or another manager owns a field."""


@dataclass(frozen=True, slots=True)
class _Request:
    """One request to the API server: an object's, or a list's where `name` is None."""

    method: str
    kind: Kind
    name: str | None = None
    body: Object | None = None
    query: tuple[tuple[str, str], ...] = ()
    content: str = "application/json"
    subresource: str = ""

    def path(self, namespace: str) -> str:
        """The path of the URL."""
        version = self.kind.api_version
        parts = (
            f"/apis/{version}" if self.kind.group else f"/api/{version}",
            f"namespaces/{namespace}" if self.kind.namespaced else "",
            self.kind.plural,
            self.name,
            self.subresource,
        )
        return "/".join(part for part in parts if part)

    def doing(self, namespace: str) -> str:
        """What it does, for messages."""
        where = f" in {namespace}" if self.kind.namespaced else ""
        return f"{_VERBS[self.method]} {self.kind.kind} {self.name or 'list'}{where}"


class KubernetesApi:
    """One namespace of one cluster. Objects are plain dictionaries, as the API writes them."""

    def __init__(
        self, client: ApiClient, namespace: str, *, renew: Callable[[], ApiClient] | None = None
    ) -> None:
        """`renew` makes a client with fresh credentials, for when the server refuses these."""
        self._dynamic = _DYNAMIC_CLIENT(client, discoverer=_no_discovery)
        self._renew = renew
        self.namespace = namespace
        self.server = client.configuration.host
        self.skew = 0.0
        """The API server's clock minus ours at its last answer, in seconds, to the second."""

    @classmethod
    def connect(cls, context: str | None, namespace: str) -> KubernetesApi:
        """From the kubeconfig in use, or from the pod's ServiceAccount where there is none.

        A token may end while a stage is observed. The library asks an exec plugin again shortly
        before the end that the plugin announced, and never again where it announced none; so the
        credentials are read anew, plugin and token file included, when the server answers 401.
        """
        renew = partial(cls._client, context)
        return cls(renew(), namespace, renew=renew)

    def elsewhere(self, namespace: str | None) -> KubernetesApi:
        """Another namespace of the same cluster, or this one for None."""
        if namespace in (None, self.namespace):
            return self
        other = copy.copy(self)
        other.namespace = str(namespace)
        return other

    @staticmethod
    def _client(context: str | None) -> ApiClient:
        configuration = configured(context)
        configuration.retries = urllib3.Retry(
            total=1, connect=1, read=0, redirect=0, status=0, other=0
        )
        return bounded(ApiClient(configuration))

    def openapi(self) -> Object:
        """The cluster's description of every kind that it serves, others' too (OpenAPI v2)."""
        doing = "reading the cluster's own schema"
        try:
            with within(_LONGEST):
                answer = self._dynamic.request(
                    "get", "/openapi/v2", serialize=False, _request_timeout=_TIMEOUT
                )
                found = _parsed(answer.data)
        except ApiException as error:
            raise UsageError(
                doing=doing,
                found=f"{self.server} answers {error.status}: {_message(error)}",
                expected="the right to GET /openapi/v2, which every user has by default",
                next_step="log in to the cluster again, or check the role system:discovery",
            ) from error
        except (urllib3.exceptions.HTTPError, OSError, _NotJsonError) as error:
            raise self._silent(error, doing) from error
        return found or {}

    def get(self, kind: Kind, name: str) -> Object | None:
        """The object, or None."""
        return self._send(_Request("get", kind, name), missing_ok=True)

    def select(self, kind: Kind, selector: str | None = None) -> list[Object]:
        """All objects of the kind, or those that a label selector matches."""
        query = [("labelSelector", selector)] if selector else []
        found = self._send(_Request("get", kind, query=tuple(query))) or {}
        items: list[Object] = found.get("items") or []
        return items

    def server_time(self) -> float:
        """The Date of an answer (RFC 9110), Unix time. Raises UnreachableError without one."""
        doing = "reading the API server's clock"
        try:
            with within(_LONGEST):
                answer = self._dynamic.request(
                    "get", "/version", serialize=False, _request_timeout=_TIMEOUT
                )
            return parsedate_to_datetime(answer.headers["Date"]).timestamp()
        except (
            ApiException,
            urllib3.exceptions.HTTPError,
            OSError,
            KeyError,
            ValueError,
        ) as error:
            raise self._silent(error, doing) from error

    def resources(self, group: str, version: str) -> list[Object]:
        """What the API server serves of a group's version (its APIResourceList); every user may
        ask."""
        kind = Kind(group, version, "APIResourceList", "", namespaced=False)
        found = self._send(_Request("get", kind), missing_ok=True) or {}
        listed: list[Object] = found.get("resources") or []
        return listed

    def create(self, kind: Kind, body: Object) -> Object:
        """Create the object; Conflict where it exists."""
        return self._send(_Request("post", kind, body=self._complete(kind, body))) or {}

    def replace(self, kind: Kind, body: Object) -> Object:
        """Replace what has the body's resourceVersion; Conflict where it has changed or is gone."""
        name = body["metadata"]["name"]
        request = _Request("put", kind, name, body=self._complete(kind, body))
        found = self._send(request, missing_ok=True)
        if found is None:
            raise Conflict(f"{kind.kind} {name} is gone")
        return found

    def apply(self, kind: Kind, body: Object, *, force: bool) -> Object:
        """Server-side apply as field manager ``tarsrelease``.

        Conflict where another manager owns a field and `force` is not given, or where the body
        carries a resourceVersion that is no longer the object's.
        """
        request = _Request(
            "patch",
            kind,
            body["metadata"]["name"],
            body=self._complete(kind, body),
            query=(("fieldManager", FIELD_MANAGER), ("force", "true" if force else "false")),
            content="application/apply-patch+yaml",
        )
        return self._send(request) or {}

    def merge(self, kind: Kind, name: str, body: Object, subresource: str = "") -> Object:
        """JSON merge patch of an object, or of its subresource."""
        request = _Request(
            "patch",
            kind,
            name,
            body=body,
            query=(("fieldManager", FIELD_MANAGER),),
            content="application/merge-patch+json",
            subresource=subresource,
        )
        return self._send(request) or {}

    def delete(self, kind: Kind, name: str) -> bool:
        """Delete in the background; False where there was nothing."""
        request = _Request("delete", kind, name, query=(("propagationPolicy", "Background"),))
        return self._send(request, missing_ok=True) is not None

    def pod_page(self, pod: str, path: str, deadline: float, most: int) -> bytes:
        """What a pod answers to GET `path`, through the API server's proxy.

        `pod` is ``[https:]NAME:PORT``, `deadline` a time of time.monotonic(), `most` bytes. Raises
        ForbiddenError without the right, UnreachableError if the page is not there in time.
        """
        doing = f"reading {path} of pod {pod} in {self.namespace}"
        url = f"/api/v1/namespaces/{self.namespace}/pods/{pod}/proxy/{path.lstrip('/')}"
        left = max(0.05, deadline - time.monotonic())
        try:
            answer = self._dynamic.request(
                "get",
                url,
                header_params={"Accept": "text/plain;version=0.0.4;q=1,*/*;q=0.1"},
                serialize=False,
                _request_timeout=(min(left, _TIMEOUT[0]), left),
            )
            try:
                return _bounded(answer, deadline, most)
            finally:
                answer.release_conn()
        except ApiException as error:
            message = _message(error)
            if error.status == 403 and _FORBIDDEN.search(message):
                raise forbidden(doing, message, self.namespace, "get", "pods/proxy") from error
            asks = " (the pod asks for a login; use its metrics from Prometheus)"
            why = f"{error.status}: {message[:200]}" + asks * (error.status in (401, 403))
            raise _no_page(doing, why) from error
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise _no_page(doing, str(error)) from error

    def _complete(self, kind: Kind, body: Object) -> Object:
        own = {"namespace": self.namespace} if kind.namespaced else {}
        metadata = own | body.get("metadata", {})
        return {**body, "apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}

    def _send(self, request: _Request, *, missing_ok: bool = False) -> Object | None:
        doing = request.doing(self.namespace)
        renew, began = self._renew, time.monotonic()
        for pause in (*_PAUSES, None):
            try:
                with within(_LONGEST):
                    answer = self._dynamic.request(
                        request.method,
                        request.path(self.namespace),
                        body=request.body,
                        query_params=list(request.query),
                        content_type=request.content,
                        serialize=False,
                        _request_timeout=_TIMEOUT,
                    )
                    self._compare_clocks(answer.headers)
                    return _parsed(answer.data)
            except ApiException as error:
                self._compare_clocks(error.headers)
                if error.status == 404 and missing_ok:
                    return None
                if error.status == 409 and request.method != "get":
                    raise Conflict(_message(error)) from error
                if error.status == 401 and renew is not None and pause is not None:
                    self._dynamic = _DYNAMIC_CLIENT(renew(), discoverer=_no_discovery)
                    renew = None  # once a request: what is refused twice is wrong, not old
                    continue
                late = time.monotonic() - began >= _LONGEST
                if error.status not in _LATER or pause is None or late:
                    raise self._explained(error, request) from error
            except (urllib3.exceptions.HTTPError, OSError, _NotJsonError) as error:
                late = time.monotonic() - began >= _LONGEST
                if pause is None or late or "CERTIFICATE" in str(error):
                    raise self._silent(error, doing) from error
            time.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    def _compare_clocks(self, headers: Mapping[str, str] | None) -> None:
        try:
            server = parsedate_to_datetime((headers or {})["Date"]).timestamp()
        except (KeyError, ValueError, OverflowError, OSError):
            return
        self.skew = server - time.time()

    def _explained(self, error: ApiException, request: _Request) -> ReleaseError:
        doing, kind = request.doing(self.namespace), request.kind
        message = _message(error)
        if error.status == 401:
            return UsageError(
                doing=doing,
                found=f"{self.server} does not accept the credentials: {message}",
                expected="credentials that the API server knows",
                next_step="log in to the cluster again, or give the kubeconfig a new token",
            )
        if error.status == 403:
            verb = _verb(request.method, request.name)
            return forbidden(doing, message, self.namespace, verb, kind.right)
        if error.status == 404:
            return UsageError(
                doing=doing,
                found=message,
                expected=f"the namespace {self.namespace}, and the API {kind.api_version}",
                next_step="check kubernetes.namespace in the environment file"
                + (
                    " and install the Gateway API's CRDs"
                    if kind in (HTTP_ROUTE, GRPC_ROUTE)
                    else ""
                ),
            )
        if error.status in _LATER:
            return UnreachableError(
                doing=doing,
                found=f"{self.server} answers {error.status}: {message}",
                expected="an API server that is ready",
                next_step="run this command again when it is ready",
            )
        return UsageError(
            doing=doing,
            found=f"{self.server} answers {error.status}: {message}",
            expected="a request that the API server accepts",
            next_step="fix the error in the message",
        )

    def _silent(self, error: Exception, doing: str) -> ReleaseError:
        if "CERTIFICATE" in str(error):
            return UsageError(
                doing=doing,
                found=f"the certificate of {self.server} is not trusted: {error}",
                expected="a server whose certificate the kubeconfig's authority signed",
                next_step="check certificate-authority and server in the kubeconfig",
            )
        if isinstance(error, _NotJsonError):
            return UnreachableError(
                doing=doing,
                found=f"{self.server} answers, but not as an API server does: {error}",
                expected="an object in JSON; this may be a login page or a proxy's message",
                next_step="log in to what stands before the API server, or correct `server` in "
                "the kubeconfig",
            )
        return UnreachableError(
            doing=doing,
            found=f"no answer from {self.server}: {_why(error)}",
            expected=f"an answer within {duration(_TIMEOUT[1])}",
            next_step="check that this machine can reach the API server, then run this command "
            "again",
        )


_CONNECTION = re.compile(r"\w+\(host='[^']*', port=\w+\): ")


def _why(error: Exception) -> str:
    """What urllib3 found, without its own words about tries, pools and connections."""
    reason = error.reason if isinstance(error, urllib3.exceptions.MaxRetryError) else None
    match (reason or error).args:
        case (str(what), OSError() as cause):  # ("Connection aborted.", ConnectionResetError(…))
            return f"{what.rstrip('.')}: {cause.strerror or cause}"
    return _CONNECTION.sub("", str(reason or error), count=1)


_VERBS = {"get": "reading", "post": "creating", "put": "writing", "patch": "writing"}
_VERBS["delete"] = "deleting"
_FORBIDDEN = re.compile(
    r'cannot (?P<verb>\w+) resource "(?P<resource>[^"]+)" in API group "(?P<group>[^"]*)"'
)


def forbidden(doing: str, message: str, namespace: str, verb: str, resource: str) -> ForbiddenError:
    """The error that names the missing right, read from the API server's own message."""
    named = _FORBIDDEN.search(message)
    if named:
        verb = named["verb"]
        resource = named["resource"] + (f".{named['group']}" if named["group"] else "")
    return ForbiddenError(
        doing=doing,
        found=f"the right to `{verb} {resource} in {namespace}` is missing",
        expected="a ServiceAccount with the Role in rbac/role.yaml",
        next_step=f"compare with rbac/role.yaml; check with `kubectl auth can-i {verb} {resource} "
        f"-n {namespace}`",
    )


def _bounded(answer: Any, deadline: float, most: int) -> bytes:
    chunks, size = [], 0
    for chunk in answer.stream(65536):
        chunks.append(chunk)
        size += len(chunk)
        if size > most:
            raise ValueError(f"more than {most >> 20} MiB")
        if time.monotonic() > deadline:
            raise ValueError("the answer took too long")
    return b"".join(chunks)


def _no_page(doing: str, found: str) -> UnreachableError:
    return UnreachableError(
        doing=doing,
        found=found,
        expected="the pod's metrics",
        next_step="check the port and path of the pod's metrics",
    )


def _no_discovery(client: Any, cache_file: str | None) -> None:  # noqa: ARG001
    return None


def _verb(method: str, name: str | None) -> str:
    if method == "get":
        return "get" if name else "list"
    return {"post": "create", "put": "update", "patch": "patch", "delete": "delete"}[method]


class _NotJsonError(Exception):
    """An answer that no API server gives; its beginning."""


def _parsed(data: bytes) -> Object:
    try:
        parsed = json.loads(data)
    except (ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, dict):
        raise _NotJsonError(repr(data[:_EXCERPT].decode(errors="replace")))
    return parsed


def _message(error: ApiException) -> str:
    body = error.body.decode("utf-8", "replace") if isinstance(error.body, bytes) else error.body
    try:
        status: Mapping[str, Any] = json.loads(body or "")
        return str(status.get("message") or error.reason)
    except (ValueError, AttributeError, RecursionError):
        return str(body or error.reason)[:_LONGEST_MESSAGE]
