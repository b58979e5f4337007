"""Per operator and backbone: native, reference or not at all here, and what mends it."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable
from dataclasses import dataclass

import torch

from ...backbones import backbone_spec, list_backbones
from ...backbones.plugins import import_attribute
from ...backbones.registry import plugin_problems
from ...errors import BackendError, LinBenchError
from ...kernels import operator_backends, resolve_backend
from ...kernels.registry import BackendStatus
from ..inventory import Records
from ..training.precision import cpu_has_bf16
from .findings import Fault

NATIVE, REFERENCE, ABSENT = "native", "reference", "not here"
_ORDER = (NATIVE, REFERENCE, ABSENT)
_PLAIN = ("torch", "reference")
_PACKAGES = {"cpu": "numba", "triton": "triton", "mamba": "mamba-ssm", "causal_conv1d": "causal-conv1d"}


@dataclass(frozen=True)
class Service:
    """How an operator is served on one device type.

    Attributes:
        state: `native` (a compiled kernel, or plain PyTorch where that is all there is), `reference` (the slow
            PyTorch form in place of a compiled kernel) or `not here`.
        backend: What `auto` takes.
        reason: Why it is not native.
        mend: The command that makes it so, where one does.
    """

    state: str
    backend: str
    reason: str = ""
    mend: str = ""


def devices() -> Records:
    """The devices that torch sees, and why it sees no GPU."""
    bf16 = "yes" if cpu_has_bf16() else "no"
    records: Records = [
        {"device": "cpu", "works": "yes", "detail": f"{torch.get_num_threads()} threads, bf16 in hardware: {bf16}"}
    ]
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            facts = torch.cuda.get_device_properties(index)
            detail = f"{facts.name}, {facts.total_memory / 2**30:.0f} GiB, capability {facts.major}.{facts.minor}"
            records.append({"device": f"cuda:{index}", "works": "yes", "detail": detail})
        return records
    built = torch.version.cuda is not None or torch.version.hip is not None
    reason = "no driver or no device" if built else "torch was built without CUDA"
    mend = "" if built else "where there is a GPU: pip install --force-reinstall torch torchvision, from pytorch.org"
    return [*records, {"device": "cuda", "works": "no", "detail": reason, "mend": mend}]


def check_operators() -> tuple[Records, dict[str, dict[str, Service]], list[Fault]]:
    """Every backend of every operator; how each operator is served, by device type; faults of the CPU's."""
    statuses = operator_backends()
    places = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    names = sorted({status.operator for status in statuses})
    services = {name: {place: _served(name, place, statuses) for place in places} for name in names}
    records: Records = [
        {
            "operator": status.operator,
            "backend": status.backend,
            "works here": "yes" if status.available else "no",
            "used on": ", ".join(p for p in places if services[status.operator][p].backend == status.backend),
            "reason": status.reason,
            "mend": _mend(status),
        }
        for status in statuses
    ]
    faults = {
        Fault(f"{service.backend} kernels: {service.reason}", service.mend and f"`{service.mend}`")
        for service in (services[name]["cpu"] for name in names)
        if service.state == ABSENT
    }
    return records, services, sorted(faults, key=str)


def check_backbones(services: dict[str, dict[str, Service]]) -> Records:
    """How each registered backbone runs on each device type."""
    modules: dict[str, str] = {}
    records: Records = []
    for name in list_backbones():
        spec = backbone_spec(name)
        if spec.builder not in modules:
            modules[spec.builder] = _import_problem(spec.builder)
        record = {"backbone": name}
        used = {operator: services[operator] for operator in spec.operators if operator in services}
        for place in next(iter(services.values())):
            here = [one[place] for one in used.values()]
            record[f"on {place}"] = ABSENT if modules[spec.builder] else _worst(one.state for one in here)
        lacking = [one for by_place in used.values() for one in by_place.values() if one.state != NATIVE]
        record["operators"] = ", ".join(f"{operator}: {by['cpu'].backend}" for operator, by in used.items())
        record["reason"] = modules[spec.builder] or "; ".join(dict.fromkeys(one.reason for one in lacking))
        record["mend"] = "; ".join(dict.fromkeys(one.mend for one in lacking if one.mend))
        records.append(record)
    return records + [{"backbone": "plug-in", "reason": problem} for problem in plugin_problems()]


def _served(operator: str, place: str, statuses: list[BackendStatus]) -> Service:
    own = {status.backend: status for status in statuses if status.operator == operator}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it is slow is what is reported here
            backend = resolve_backend(operator, place, torch.float32)
    except BackendError as error:
        return Service(ABSENT, "", str(error))
    if not own[backend].available:
        return Service(ABSENT, backend, own[backend].reason, _mend(own[backend]))
    better = [status for name, status in own.items() if name not in _PLAIN and _meant_for(name, place)]
    if backend not in _PLAIN or not better:
        return Service(NATIVE, backend)
    return Service(REFERENCE, backend, better[0].reason, _mend(better[0]))


def _meant_for(backend: str, place: str) -> bool:
    return backend == "sdpa" or (backend == "cpu") == (place == "cpu")


def _mend(status: BackendStatus) -> str:
    """The command that makes a backend work, empty where it works or no package is what is lacking."""
    package = _PACKAGES.get(status.backend, "")
    wants_gpu = status.backend != "cpu" and not torch.cuda.is_available()
    if status.available or not package or wants_gpu or (package == "triton" and sys.platform != "linux"):
        return ""
    return f"pip install --upgrade {package}" + (" numpy" if package == "numba" else "")


def _worst(states: Iterable[str]) -> str:
    return max(states, key=_ORDER.index, default=NATIVE)


def _import_problem(builder: str) -> str:
    try:
        import_attribute(builder)
    except LinBenchError as error:
        return str(error)
    return ""
