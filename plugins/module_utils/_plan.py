# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""From wanted and actual to an ordered list of steps, a diff and what cannot be known. Pure: no I/O, no Ansible.

The order of the steps is the promise: whatever can be refused comes before anything that runs is touched.
"""

from __future__ import annotations

import json
import typing as t
from dataclasses import dataclass, field

from ansible_collections.berth.django.plugins.module_utils import _release
from ansible_collections.berth.django.plugins.module_utils._release import Record, UnderWay
from ansible_collections.berth.django.plugins.module_utils._spec import Service, create_spec

# How far a call goes. Between two of them, the other hosts of a fleet can catch up.
STAGES = ("ship", "start", "switch", "retire")

# Steps after which somebody may notice: they wait for this host's turn.
_DISRUPTIVE = frozenset(("switch", "drain", "stop", "restart", "restart_if_pending"))
_CHECKS = frozenset(("validate", "check_ports", "wait_healthy", "bake", "watch", "look", "drain", "restart_if_pending", "commit"))


@dataclass(frozen=True)
class Container:
    """What the engine says about one existing container of the service."""

    name: str
    instance: str
    running: bool
    healthy: bool = True
    spec: str = "{}"
    ports: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Companion:
    """Of a service that is released together with this one: what has to be known to remove it."""

    name: str
    directory: str
    stop_grace: int


@dataclass(frozen=True)
class Actual:
    """What is on the host. The defaults describe a host without anything, not even an engine."""

    engine: bool = False
    containers: tuple[Container, ...] = ()
    neighbours: tuple[str, ...] = ()
    companions: tuple[Companion, ...] = ()
    image_present: bool = False
    networks: frozenset[str] = frozenset()
    unmounted: tuple[str, ...] = ()
    missing_directories: tuple[str, ...] = ()
    config_files: dict[str, str] = field(default_factory=dict)
    config_current: str = ""
    config_staged: bool = False
    secrets_staged: bool = False
    has_versions: bool = False
    loaded: bool = False
    restart_pending: bool = False
    links: dict[str, str] = field(default_factory=dict)
    previous: tuple[str, ...] = ()
    withdrawn: bool = True
    records: tuple[Record, ...] = ()
    under_way: UnderWay | None = None
    release_directories: tuple[str, ...] = ()
    release_images: tuple[str, ...] = ()


@dataclass(frozen=True)
class Step:
    """One thing to do; `target` is a container, a directory, a network... whatever the step acts on."""

    do: str
    target: str = ""

    @property
    def changes(self) -> bool:
        """Checks and waits change nothing by themselves."""
        return self.do not in _CHECKS


@dataclass(frozen=True)
class Plan:
    """`quiet` are the first steps, which every host may take at the same time; `pending` says that later stages have work left.

    `unhealthy` says that what is wanted runs already, and does not do its work.
    """

    steps: tuple[Step, ...] = ()
    actions: tuple[str, ...] = ()
    diff: tuple[dict[str, str], ...] = ()
    unknown: tuple[str, ...] = ()
    quiet: tuple[Step, ...] = ()
    pending: bool = False
    disruptive: bool = False
    unhealthy: bool = False

    @property
    def changed(self) -> bool:
        return any(step.changes for step in self.steps)


def plan(service: Service, actual: Actual, until: str = "retire", run: str = "") -> Plan:
    """What to do so that `service` runs as specified; an empty list of steps means that it does. `run` is on whose behalf."""
    keeper = next((item for item in actual.containers if item.running and item.instance == service.instance), None)
    others = [item for item in actual.containers if item is not keeper]
    stages = _stages(service, actual, keeper, others, run)
    wanted = STAGES[: STAGES.index(until) + 1]
    # Whoever asks for the switch alone has asked for the start before, and waited there.
    steps = [step for stage in wanted for step in stages[stage] if not (step.do == "bake" and until == "switch")]
    later = [step for stage in STAGES if stage not in wanted for step in stages[stage]]
    quiet = stages["ship"] + (stages["start"] if service.beside else [])
    by_turns = not service.beside or service.release is not None
    interrupts = by_turns and any(step.do in _DISRUPTIVE for step in steps if step not in quiet)
    return Plan(
        steps=tuple(steps),
        actions=tuple(_sentences(service, steps, keeper, others)),
        diff=tuple(_diff(service, actual, keeper, others)),
        unknown=tuple(_unknown(actual, steps)),
        quiet=tuple(step for step in quiet if step in steps),
        pending=any(step.changes for step in later),
        disruptive=interrupts and any(item.running for item in actual.containers),
        unhealthy=keeper is not None and not keeper.healthy,
    )


def _stages(service: Service, actual: Actual, keeper: Container | None, others: list[Container], run: str) -> dict[str, list[Step]]:
    """The steps of each stage. Without a second container beside the first there are but two: preparing, and all the rest."""
    ship = _prepare(service, actual)
    stages: dict[str, list[Step]] = {stage: [] for stage in STAGES}
    if not service.beside:
        # Leftovers first, since one may have the name that the keeper gets back.
        stages["start"] = _replace(service, others) if keeper is None else _clear(others) + _adjust(service, actual, keeper, prepared=ship)
    else:
        gone = [Step("look", service.container)] if keeper is None and _begun(service, actual, run) else []
        stages["start"] = gone or (
            _start_beside(service, actual, others) if keeper is None else _adjust(service, actual, keeper, prepared=ship)
        )
        stages["switch"], stages["retire"] = _switch(service, actual, run), _retire(service, actual, others)
        if service.release and any(step.do == "switch" for step in stages["switch"]):
            begun = _begun(service, actual, run)
            # Also by a run that goes on with what another one began: from here on, it is this one's to take back.
            stages["start"] = [*([] if begun else [Step("begin")]), *stages["start"]]
            stages["start"] += [Step("bake", service.container)] if service.release.bake else []
    stages["ship"] = [*ship, *(step for step in stages["start"] if step.do in ("validate", "check_ports"))]
    stages["start"] = [step for step in stages["start"] if step.do not in ("validate", "check_ports")]
    return stages


def roll_back(service: Service, actual: Actual, run: str = "") -> Plan:
    """What to do so that the instance before serves again, when this run has begun a release that is not finished.

    Which one that is, is on record: what the inventory describes may have changed while it ran.
    """
    under_way = actual.under_way
    if not actual.containers and _release.serving(actual.records) is None and actual.has_versions:
        return Plan(steps=(Step("forget"),), actions=("what was written for it is removed: it never ran here",))
    if under_way is None or under_way.run != run:
        return Plan()
    serves = any(item.running and under_way.serves_before(item.instance) for item in actual.containers)
    switched = {link: target for link, target in under_way.links.items() if actual.links.get(link, "") != target}
    # Nobody is led back to what does not run, from what does. What nobody was led to goes all the same, and so does a worker.
    if any(under_way.links.values()) and not serves and service.before_stop.drained and (under_way.switched or switched):
        return Plan()
    # A worker that nobody switches to has begun with its work, too.
    asked = under_way.switched or bool(switched) or not service.before_stop.drained
    new = [item for item in actual.containers if not under_way.serves_before(item.instance)]
    steps = [Step("switch_back")] if switched else []
    steps += [Step("unlink", link) for link in actual.previous]
    for item in new:
        steps += ([Step("drain", item.name), Step("stop", item.name)] if item.running and asked else []) + [Step("discard", item.name)]
    instances = dict.fromkeys([under_way.instance, *(item.instance for item in new)])
    steps += [Step("remove_directories", name) for name in instances if not under_way.serves_before(name)]
    steps += [Step("record", _release.ROLLED_BACK), Step("conclude")]
    if actual.has_versions and new == list(actual.containers) and _release.serving(actual.records) is None:
        steps.append(Step("forget"))
    current = {link: actual.links.get(link, "") for link in under_way.links}
    return Plan(
        steps=tuple(steps),
        actions=(f"instance {under_way.instance} is taken back", *(f"remove container {item.name}" for item in new)),
        diff=(_text_diff("links", _lines(current), _lines(under_way.links)),) if switched else (),
    )


def remove(service: Service, actual: Actual) -> Plan:
    """What to do so that no container, config or secret of `service` is left. Its directories of data stay."""
    steps: list[Step] = []
    for item in actual.containers:
        steps += [Step("withdraw"), Step("drain", item.name), Step("stop", item.name)] if item.running else []
    # Before the containers: a run that is killed here finds them again, and what they were given with them.
    steps += [Step("forget")] if actual.has_versions else []
    for item in actual.containers:
        steps += [Step("remove", item.name), *([Step("remove_directories", item.instance)] if item.instance else [])]
    steps += [Step("unlink", link) for link in (*actual.previous, *filter(actual.links.get, (item.link for item in service.switch)))]
    diff = [_spec_diff(item.name, item.spec, "{}") for item in actual.containers]
    actions = tuple(f"remove container {item.name}" for item in actual.containers)
    return Plan(tuple(steps), actions, tuple(diff), disruptive=not service.beside and any(step.do in _DISRUPTIVE for step in steps))


def _prepare(service: Service, actual: Actual) -> list[Step]:
    return [
        *(Step("refuse_unmounted", path) for path in actual.unmounted),
        *([] if actual.image_present else [Step("pull", service.image)]),
        *(Step("network", item.name) for item in service.networks if item.name not in actual.networks),
        *(Step("directory", path) for path in actual.missing_directories if not _of_instance(service, path)),
        *([Step("secrets")] if service.secrets and not actual.secrets_staged else []),
        *([Step("config")] if service.config and not actual.config_staged else []),
    ]


def _of_instance(service: Service, path: str) -> bool:
    """Made with the instance's container, and gone with it: a release that gets no container leaves none behind."""
    return service.beside and service.instance in path


def _checks(service: Service) -> list[Step]:
    return [Step("validate")] if service.validate else []


def _start(service: Service) -> list[Step]:
    return [
        *([Step("point_config")] if service.config and service.reload else []),
        Step("start", service.container),
        Step("wait_healthy", service.container),
    ]


def _replace(service: Service, others: list[Container]) -> list[Step]:
    """Nothing of this spec runs: the old container gives way, and comes back when the new one does not become healthy."""
    serving = [item for item in others if item.running]
    steps = [*_checks(service), *([Step("check_ports")] if service.ports else [])]
    steps += [Step("remove", item.name) for item in others if not item.running]
    steps += [Step("rename", item.name) for item in serving if item.name == service.container]
    steps.append(Step("create", service.container))
    asides = [_aside(service, item) for item in serving]
    if serving:
        steps.append(Step("withdraw"))
    steps += [Step("drain", name) for name in asides] + [Step("stop", name) for name in asides]
    steps += _start(service)
    steps += [Step("put_back")] if service.before_stop.withdraw else []
    return steps + ([Step("commit")] if asides else []) + [Step("remove", name) for name in asides]


def _aside(service: Service, item: Container) -> str:
    return aside_name(item.name) if item.name == service.container else item.name


def aside_name(name: str) -> str:
    """What a container is called while its successor is being proven."""
    return f"{name}-old"


def _start_beside(service: Service, actual: Actual, others: list[Container]) -> list[Step]:
    leftovers = [item.name for item in others if item.name == service.container]
    return [
        *_checks(service),
        *(Step("remove", name) for name in leftovers),
        *(Step("directory", path) for path in actual.missing_directories if _of_instance(service, path)),
        Step("create", service.container),
        *_start(service),
    ]


def _adjust(service: Service, actual: Actual, keeper: Container, prepared: list[Step]) -> list[Step]:
    """The right container runs: its config, name, health and place in rotation may still be off."""
    steps: list[Step] = []
    if keeper.name != service.container:
        steps.append(Step("rename_to_final", keeper.name))
    if service.reload and not (actual.loaded and actual.config_current == service.generation and actual.config_staged):
        steps += [*_checks(service), Step("point_config"), Step("reload", service.container)]
        steps += [Step("restart_if_pending", service.container)] if service.restart_when else []
    elif actual.restart_pending:
        steps += [Step("withdraw"), Step("drain", service.container), Step("restart", service.container)]
    if steps or prepared or not keeper.healthy:
        steps.append(Step("wait_healthy", service.container))
    if service.before_stop.withdraw and (actual.withdrawn or any(step.do in ("withdraw", "restart_if_pending") for step in steps)):
        steps.append(Step("put_back"))
    return steps if any(step.do != "wait_healthy" for step in steps) or not keeper.healthy else []


def _begun(service: Service, actual: Actual, run: str) -> bool:
    """Whether this very run has begun the release."""
    return bool(actual.under_way and (actual.under_way.instance, actual.under_way.run) == (service.instance, run))


def _switch(service: Service, actual: Actual, run: str) -> list[Step]:
    """Moves the links to the new instance. Asked again by the run that began the release, it looks what has become of it."""
    if all(actual.links.get(item.link) == item.target for item in service.switch):
        return [Step("look", service.container)] if _begun(service, actual, run) else []
    return [Step("switch"), *([Step("watch", service.container)] if service.release and service.release.pause else [])]


def _retire(service: Service, actual: Actual, others: list[Container]) -> list[Step]:
    """Nobody asks the others any more: they finish what they have, and go. Then the release is on record."""
    old = [item for item in others if item.name != service.container]
    moves = (item for item in service.switch if item.previous and actual.links.get(item.link, item.target) not in ("", item.target))
    steps = [Step("unlink", link) for link in dict.fromkeys((*actual.previous, *(item.previous for item in moves)))]
    for item in old:
        steps += [Step("drain", item.name), Step("stop", item.name)] if item.running else []
    steps += ([Step("commit")] if old else []) + [Step("remove", item.name) for item in old]
    return steps + _record(service, actual, begun=bool(steps))


def _record(service: Service, actual: Actual, begun: bool) -> list[Step]:
    """What is on record is kept, and the rest of what was made for releases goes. The record comes first: a run may be killed after it.

    Nothing is pruned for its own sake: an image may be one that something else on this host uses, and it would be tried on every run.
    """
    if service.release is None:
        return []
    new = Record("", service.release.id, service.image, service.instance, "")
    last = _release.serving(actual.records)
    recorded = last is not None and (last.release, last.instance) == (new.release, new.instance)
    kept = _release.kept([*actual.records, *([] if recorded else [new])], service.release.keep)
    directories = {item.release for item in kept} | {*actual.links.values(), *(item.target for item in service.switch)}
    known = {item.image for item in actual.records}
    ours = {item.release for item in actual.records}
    steps = [
        *([] if recorded else [Step("record", _release.SERVES)]),
        *([Step("conclude")] if actual.under_way or not recorded else []),
    ]
    if steps or begun:
        folders = [name for name in actual.release_directories if name in ours or _release.is_name(name)]
        steps += [Step("prune_directory", name) for name in _release.unneeded(folders, directories)]
        images = [name for name in actual.release_images if name in known or _release.is_built_here(name)]
        steps += [Step("prune_image", name) for name in _release.unneeded(images, {item.image for item in kept})]
    return steps


def _clear(others: list[Container]) -> list[Step]:
    return [step for item in others for step in (*([Step("stop", item.name)] if item.running else []), Step("remove", item.name))]


def _unknown(actual: Actual, steps: list[Step]) -> list[str]:
    known = {
        "pull": "whether the registry has the image",
        "validate": "whether the product accepts the new configuration",
        "start": "whether the new container becomes healthy",
        "restart_if_pending": "whether the product asks for a restart after the reload",
    }
    unknown = [text for do, text in known.items() if any(step.do == do for step in steps)]
    return unknown if actual.engine else ["what the Docker Engine, which is not there yet, will say", *unknown]


def _sentences(service: Service, steps: list[Step], keeper: Container | None, others: list[Container]) -> list[str]:
    if keeper is None:
        reason = "starts beside" if service.beside else "replaces"
        serving = [item.name for item in others if item.running]
        first = f"container {service.container} {reason} {', '.join(serving)}" if serving else f"container {service.container} is created"
        sentences = [first]
    else:
        sentences = []
    words = {
        "refuse_unmounted": "{0} would be refused: what the hosts share is not mounted there",
        "pull": "pull {0}",
        "network": "create network {0}",
        "directory": "make directory {0}",
        "secrets": "write secrets",
        "config": f"write config {service.generation}",
        "reload": f"reload {{0}} to config {service.generation}",
        "restart": "restart {0}",
        "switch": f"switch to instance {service.instance}",
        "put_back": "put back into rotation",
        "prune_directory": "remove the static files of release {0}",
        "prune_image": "remove image {0}",
    }
    sentences += [words[step.do].format(step.target) for step in steps if step.do in words]
    if keeper is not None:
        sentences += [f"remove container {step.target}" for step in steps if step.do == "remove"]
    return sentences


def _diff(service: Service, actual: Actual, keeper: Container | None, others: list[Container]) -> list[dict[str, str]]:
    wanted = service.config_texts
    diff = []
    for name in sorted(set(wanted) | set(actual.config_files)):
        before, after = actual.config_files.get(name, ""), wanted.get(name, "")
        if before != after:
            header = f"{service.container if not service.beside else service.project + '-' + service.name}: {name}"
            diff.append(dict(before_header=header, after_header=header, before=before, after=after))
    last = _release.serving(actual.records)
    if service.release and service.release.id != (last.release if last else ""):
        diff.append(_text_diff("release", f"{last.release}\n" if last else "", f"{service.release.id}\n"))
    if keeper is None:
        old = next((item for item in others if item.running), others[0] if others else None)
        diff.append(_spec_diff(service.container, old.spec if old else "{}", json.dumps(create_spec(service))))
    links = {item.link: item.target for item in service.switch}
    current = {link: actual.links.get(link, "") for link in links}
    if links != current:
        diff.append(_text_diff("links", _lines(current), _lines(links)))
    return diff


def _lines(values: dict[str, t.Any]) -> str:
    return "".join(f"{key}: {json.dumps(value, sort_keys=True)}\n" for key, value in sorted(values.items()) if value not in ("", None))


def _spec_diff(name: str, before: str, after: str) -> dict[str, str]:
    return _text_diff(f"container {name}", _lines(json.loads(before)), _lines(json.loads(after)))


def _text_diff(header: str, before: str, after: str) -> dict[str, str]:
    return dict(before_header=header, after_header=header, before=before, after=after)
