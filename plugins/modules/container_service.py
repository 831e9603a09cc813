#!/usr/bin/python
# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: container_service
short_description: Converge one service of a project, as one container on this host
description:
  - Takes one dict that describes a service (image, config files, secrets, limits, health check) and makes the host run exactly that, in one
    module execution.
  - What the product refuses never goes live. The candidate is validated in a throw-away container of the same image, user, secrets and
    networks before anything that runs is touched; a container that does not become healthy is removed and the one before runs on.
  - A change of config files alone is a reload, and the running product is asked whether it took it. A change of anything else replaces the
    container, either after the old one was drained and stopped, or beside it.
  - On a failure everything done so far is undone in reverse order, and the end of the container's own log is in the message.
version_added: 0.1.0
author: berth.django contributors
attributes:
  check_mode:
    support: full
    description: >-
      Predicts files, container and links exactly, also on a host without Docker Engine. What only the product can tell (whether it accepts
      the configuration, whether the container becomes healthy) is listed in RV(unknown). A host that does not answer is skipped with a
      message.
  diff_mode:
    support: full
    description: One diff for every config file, for the container's specification, and for the links. Secret values never appear.
  idempotent:
    support: full
    description: A second run asks the running product which configuration it has, and changes nothing.
requirements:
  - Docker Engine 20.10 or later with its command line on the host.
  - Python 3.9 or later on the host, without further packages.
options:
  service:
    description:
      - The service. Unknown keys are refused by name.
      - The text V({instance}) in commands, environment, directories, mounts, sockets and links becomes the instance id, a hash of
        everything that
        the container is made from. The container also gets it as E(BERTH_INSTANCE).
    type: dict
    required: true
    suboptions:
      project:
        description: Project that the service belongs to. First part of the container's name.
        type: str
        required: true
      name:
        description: >-
          Name of the service inside the project. The container is C(<project>-<name>), followed by the instance id with
          O(service.replace=beside).
        type: str
        required: true
      fleet:
        description: Name of the fleet. Containers of the same project that carry another fleet's name are a reason to refuse.
        type: str
        required: true
      image:
        description: Image reference. Pulled only when the host does not have it.
        type: str
        required: true
      command:
        description: Arguments for the entry point. The image's own when empty.
        type: list
        elements: str
        default: []
      entrypoint:
        description: Entry point. The image's own when empty.
        type: list
        elements: str
        default: []
      workdir:
        description: Working directory in the container. The image's own when empty.
        type: str
        default: ""
        version_added: 0.2.0
      user:
        description: Numeric C(uid:gid), never 0. Owner of the config and secret files.
        type: str
        required: true
      env:
        description: Environment. Everybody who can run C(docker inspect) reads it, so secrets go to O(service.secrets).
        type: dict
        default: {}
      secrets:
        description: >-
          Name and value of each secret. Written to the host as files of mode 0400, mounted read-only at O(service.secrets_path). A new
          value
          replaces the container.
        type: dict
        default: {}
      secrets_path:
        description: Directory in the container that holds the secret files.
        type: str
        default: /run/secrets
      config:
        description: Config files, versioned on the host in directories that are named by their content.
        type: dict
        suboptions:
          files:
            description: Relative file name and text of each file. The text C(@GENERATION@) becomes the version's hash.
            type: dict
            required: true
          path:
            description: Directory in the container. The files are in C(current) below it.
            type: str
            default: /etc/berth
      directory:
        description: Directory of the service on the host, for its config and secrets.
        type: str
        required: true
      directories:
        description:
          - Directories on the host that are made when they are missing, and stay.
          - One with V({instance}) in its path belongs to that instance, and goes with it.
        type: list
        elements: dict
        default: []
        suboptions:
          path:
            description: Absolute path.
            type: str
            required: true
          mode:
            description: Octal mode.
            type: str
            default: "0750"
          uid:
            description: Owner. The service's user by default.
            type: int
          gid:
            description: Group. The service's group by default.
            type: int
      mounts:
        description: Directories of the host that the container sees. The source has to exist.
        type: list
        elements: dict
        default: []
        suboptions: &mount
          source:
            description: Absolute path on the host.
            type: str
            required: true
          target:
            description: Absolute path in the container.
            type: str
            required: true
          read_only:
            description: Whether the container may only read it.
            type: bool
            default: true
      tmpfs:
        description: Path and mount options of each temporary file system.
        type: dict
        default: {}
      networks:
        description: >-
          Bridge networks, made when they are missing. Without any, and without O(service.host_network), the container has no
          network.
        type: list
        elements: dict
        default: []
        suboptions:
          name:
            description: Name of the network.
            type: str
            required: true
          aliases:
            description: Further names of the container in it.
            type: list
            elements: str
            default: []
      host_network:
        description: Whether the container shares the host's network.
        type: bool
        default: false
      ports:
        description: Published ports.
        type: list
        elements: dict
        default: []
        suboptions:
          address:
            description: Address of the host to publish on.
            type: str
            required: true
          port:
            description: Port on the host.
            type: int
            required: true
          container_port:
            description: Port in the container.
            type: int
            required: true
          protocol:
            description: Transport protocol.
            type: str
            choices: [tcp, udp]
            default: tcp
          public:
            description: Has to be true to publish on every address (0.0.0.0), which also passes by the host's firewall.
            type: bool
            default: false
      health:
        description: Health check, without which a service is refused. Times are seconds.
        type: dict
        required: true
        suboptions:
          command:
            description: Command in the container that exits 0 when the service does its work.
            type: list
            elements: str
            required: true
          interval:
            description: Time between two checks by the engine. This module asks by itself while it waits.
            type: int
            default: 30
          timeout:
            description: Limit of one check.
            type: int
            default: 5
          retries:
            description: Failures in a row that make the container unhealthy.
            type: int
            default: 3
          start_period:
            description: Time after the start in which failures do not count.
            type: int
            default: 30
          wait:
            description: How long a start or reload may take until the first success.
            type: int
            default: 60
          explain:
            description: >-
              Command in the container that is run once when it runs and did not become healthy in time. What it prints is told with the
              failure, for products that do not log why they answer as they do.
            type: list
            elements: str
            version_added: 0.2.0
      memory:
        description: Memory limit, for example V(256m).
        type: str
        required: true
      cpus:
        description: Limit in processors, for example V(1.5).
        type: str
      pids_limit:
        description: Limit of processes and threads.
        type: int
        default: 200
      capabilities:
        description: Linux capabilities to add. All are dropped first.
        type: list
        elements: str
        default: []
      read_only:
        description: Whether the container's root file system is read-only.
        type: bool
        default: true
      no_new_privileges:
        description: Whether set-uid programs gain nothing.
        type: bool
        default: true
      stop_signal:
        description: Signal that asks the process to finish. The image's own by default.
        type: str
      stop_grace:
        description: Seconds until a stopping container is killed.
        type: int
        default: 30
      group_add:
        description: Further numeric groups of the process.
        type: list
        elements: str
        default: []
      shm_size:
        description: Size of C(/dev/shm), for example V(128m).
        type: str
      ulimits:
        description: Soft and hard limit of each resource, for example V(1024:2048) for C(nofile).
        type: dict
        default: {}
      sysctls:
        description: Kernel parameters of the container's own namespaces.
        type: dict
        default: {}
      extra_hosts:
        description: Name and address of each line to add to C(/etc/hosts).
        type: dict
        default: {}
      init:
        description: Whether a small init process reaps zombies and forwards signals.
        type: bool
        default: false
      log:
        description: Logging. The engine's own settings by default, which the P(berth.django.host#role) role rotates.
        type: dict
        default: {}
        suboptions:
          driver:
            description: Log driver.
            type: str
          options:
            description: Its options.
            type: dict
            default: {}
      labels:
        description: Labels besides the collection's own, which begin with C(berth.).
        type: dict
        default: {}
      restart:
        description: Restart policy.
        type: str
        choices: ["no", on-failure, always, unless-stopped]
        default: unless-stopped
      validate:
        description: >-
          Checks of the candidate, each in a throw-away container. The candidate is where the live configuration will be; the service's own
          mounts are not there.
        type: list
        elements: dict
        default: []
        suboptions:
          command:
            description: Command. Anything but exit code 0 refuses the candidate.
            type: list
            elements: str
            required: true
          mounts:
            description: Mounts for this check, always read-only.
            type: list
            elements: dict
            default: []
            suboptions: *mount
          tmpfs:
            description: Temporary file systems besides the service's own.
            type: dict
            default: {}
          env:
            description: Environment besides the service's own.
            type: dict
            default: {}
      reload:
        description: >-
          How the running product takes new config files. Exactly one of the keys signal, command and socket. Without it, a change of
          config files replaces the container.
        type: dict
        suboptions: &reload
          signal:
            description: Signal to the container's first process.
            type: str
            choices: [HUP, USR1, USR2]
          command: &probe_command
            description: Command in the container.
            type: list
            elements: str
          socket: &probe_socket
            description: Unix socket, as a path on the host.
            type: str
          send: &probe_send
            description: What to send over the socket.
            type: str
          expect: &probe_expect
            description: Regular expression that the answer has to match.
            type: str
          reject: &probe_reject
            description: Regular expression that the answer must not match.
            type: str
      proof:
        description: Question whose answer contains the hash of the loaded configuration. Exactly one of command and socket.
        type: dict
        suboptions: &probe
          command: *probe_command
          socket: *probe_socket
          send: *probe_send
          expect: *probe_expect
          reject: *probe_reject
      restart_when:
        description: Asked after a reload. Whatever the command prints is a reason for a restart.
        type: dict
        suboptions:
          command:
            description: Command in the container.
            type: list
            elements: str
            required: true
      replace:
        description: >-
          V(stop_first) drains and stops the old container, and starts it again should the new one fail. V(beside) starts the new one first,
          which
          needs a service without published ports.
        type: str
        choices: [stop_first, beside]
        default: stop_first
      hints:
        description: >-
          Regular expression -> sentence. Where it is found in what the product, or a command in its image, says when it fails, the error
          ends with that sentence: the variable to look at, for those who know the role and not the product. The first one counts.
        type: dict
        default: {}
        version_added: 0.2.0
      shared:
        description: >-
          Directories that other hosts of the service have, too. One that is on the root file system, or on the one of O(service.directory),
          is refused before anything is touched, since what all hosts share is not mounted there.
        type: list
        elements: str
        default: []
        version_added: 0.2.0
      switch:
        description: Relative symbolic links on the host that are renamed into place when the new instance is healthy.
        type: list
        elements: dict
        default: []
        suboptions:
          link:
            description: Path of the link.
            type: str
            required: true
          target:
            description: What it points to.
            type: str
            required: true
          previous:
            description:
              - A second link in the same directory. It leads to where O(service.switch[].link) led before, as long as both instances run.
              - A web server can ask the instance there when the new one crashes.
            type: str
            version_added: 0.2.0
      release:
        description:
          - Makes the service one that has releases, which needs O(service.replace=beside) and O(service.switch). The host keeps on record
            what served when, and by whom it was brought, in C(releases.jsonl) in O(service.directory).
        type: dict
        suboptions:
          id:
            description: Name of the release. Instances of one release differ in settings only.
            type: str
            required: true
          directory:
            description:
              - Directory on the host that holds one directory per release, named by O(service.release.id), for its static files. Links in
                C(kept) in it lead to those that are kept, C(0) being the newest.
              - Without it the service has no files of its own for each release, and images are another service's to keep.
            type: str
            default: ""
          keep:
            description: Releases that are kept, the one that serves included. Images and directories of older ones are removed.
            type: int
            default: 5
          bake:
            description: Seconds for which a new instance has to stay healthy before anything is switched to it.
            type: int
            default: 0
          batch:
            description: Hosts that may switch at the same time.
            type: int
            default: 1
          pause:
            description: >-
              Seconds for which the new instance has to stay healthy after the switch of a host, before other hosts follow. Where it does
              not, the host's links go back.
            type: int
            default: 0
          back:
            description: >-
              Whether the release has served before and is gone back to. O(companions) start with V(switch) then, after the service: whether
              they can work is known by that time. One that came with a later release is left out, since the image does not know it. What a
              run does not finish is repeated by the next one that goes back.
            type: bool
            default: false
      before_stop:
        description: What has to happen before a running container is stopped.
        type: dict
        suboptions:
          withdraw:
            description: >-
              Path of a file on the host whose absence takes the service out of rotation. It is removed before a stop, and made when the
              container is healthy.
            type: str
          settle:
            description: Seconds that those who check the service need to notice.
            type: int
            default: 0
          drained:
            description: Question that succeeds when no request is in flight. Exactly one of command and socket.
            type: dict
            suboptions: *probe
          timeout:
            description: Seconds after which the container is stopped all the same, with a note in the result.
            type: int
            default: 60
  companions:
    description:
      - Services that are released together with O(service), such as workers from the same image. Each stage is taken for all of them,
        companions first, before the next one begins; with O(state=rolled_back) and O(state=absent) they go together, too.
      - One that runs on this host and is not in the list any more is stopped and removed at the end.
    type: list
    elements: dict
    default: []
    version_added: 0.2.0
  state:
    description:
      - V(present) makes the host run the service.
      - V(absent) drains and removes its containers, config and secrets. Directories of data stay.
      - V(rolled_back) takes a release back that has begun and is not finished. The links point to where they pointed before, and the new
        instance is drained and removed. Nothing is done where no release of this instance is under way.
    type: str
    choices: [present, absent, rolled_back]
    default: present
  until:
    description:
      - How far to go with O(state=present). Between two calls, other hosts can catch up. RV(pending) says whether later stages have work
        left.
      - V(ship) brings image, directories, config and secrets to the host, and validates them. Nothing that runs is touched.
      - V(start) also starts the new instance of O(service.replace=beside) and proves it healthy. The one before goes on serving.
      - V(switch) also moves the links.
      - V(retire) also drains and removes the instance before, and puts the release on record.
      - A service that is not replaced beside the one before has no stages after V(start).
      - Check mode always predicts all of it.
    type: str
    choices: [ship, start, switch, retire]
    default: retire
  question:
    description:
      - Command that is run in the container of O(service) when it is healthy, with O(until=start). RV(answer) is whether it ended with 0
        within 20 s.
      - Saves a task that would ask the same of what has just started.
    type: list
    elements: str
    default: []
    version_added: 0.2.0
  defer_disruption:
    description:
      - With V(true), a step that interrupts a running service is left out, and RV(deferred) tells so. The action plugin uses it to let
        hosts take turns, and a playbook to have all hosts take new configuration before one of them is interrupted.
    type: bool
    default: false
  holder:
    description: Who runs this, for others who wait. Set by the action plugin.
    type: str
    default: unknown
  run:
    description: Identifies the run, which alone may take back the release that it began. Set by the action plugin.
    type: str
    default: ""
notes:
  - One run at a time per service of a project and host. Another run waits, and is told for whom.
  - Exit code 1 of a health check is C(unhealthy) to Docker; other codes work too.
seealso:
  - module: berth.django.django_migrate
"""

EXAMPLES = r"""
- name: Converge a small web server
  berth.django.container_service:
    service:
      project: music
      name: hello
      fleet: lab
      image: nginx:1.26
      user: "101:101"
      directory: /srv/berth/music/hello
      memory: 64m
      tmpfs: {/var/cache/nginx: "mode=1777", /run: "mode=1777"}
      networks: [{name: music}]
      ports: [{address: 10.0.0.5, port: 8000, container_port: 8080}]
      health: {command: [curl, --fail, --silent, http://127.0.0.1:8080/]}

- name: Remove it
  berth.django.container_service:
    service: "{{ __hello_service }}"
    state: absent
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode, one sentence each.
  type: list
  elements: str
  returned: success
  sample: ["reload music-nginx to config 0f3a9c1b2d4e"]
container:
  description: Name of the container.
  type: str
  returned: success
  sample: music-nginx
instance:
  description: Hash of everything that the container is made from.
  type: str
  returned: success
  sample: 5b1d0c2f7a90
generation:
  description: Hash of the config files. Empty without any.
  type: str
  returned: success
  sample: 0f3a9c1b2d4e
pending:
  description: Whether later stages than O(until) have work left. Always false in check mode.
  type: bool
  returned: success
unhealthy:
  description: Whether the container runs as specified, and its engine has not seen it healthy. The stage V(start) waits for it.
  type: bool
  returned: success
  version_added: 0.2.0
answer:
  description: Whether the command of O(question) ended with 0. Always false in check mode.
  type: bool
  returned: success
  version_added: 0.2.0
deployed:
  description: Whether a release of the service is on record as having served on this host before.
  type: bool
  returned: success
kept:
  description: Names of its releases that are kept, the newest first, as the host had them on record before.
  type: list
  elements: str
  returned: success
neighbours:
  description: Names of the project's other services that have a container on this host.
  type: list
  elements: str
  returned: success
  sample: [nginx]
deferred:
  description: Whether a disruptive step was left out because of O(defer_disruption).
  type: bool
  returned: success
unknown:
  description: What check mode cannot know.
  type: list
  elements: str
  returned: success
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.berth.django.plugins.module_utils import (
    _companions,
    _docker_argv,
    _engine,
    _observe,
    _plan,
    _release,
    _release_files,
    _shell,
    _steps_release,
)
from ansible_collections.berth.django.plugins.module_utils._spec import Probe, Service
from ansible_collections.berth.django.plugins.module_utils._spec_parse import SERVICE_ARGUMENT_SPEC, parse

# Seconds.
QUESTION_TIMEOUT = 20


def converge(module: AnsibleModule, service: Service) -> dict[str, t.Any]:
    """The service with its companions. Uses of `module`: its parameters, check_mode and warn()."""
    state, check = module.params["state"], module.check_mode
    companions = _companions.companions(service, module.params["companions"])
    # Visitors come first where a release is gone back to, and what works beside it when it is known to be able to.
    back = service.release is not None and service.release.back
    if back:
        companions = [each for each in companions if not _companions.came_later(service, each)]
    order = [service, *companions] if state == "rolled_back" or back else [*companions, service]
    stages = {each.name: stage_of(module, each, waits=back and each is not service) for each in order}
    results = {each.name: outcome for each, outcome in zip(order, in_turn_or_all(module, order, stages, state))}
    answer = False
    if state == "present" and module.params["until"] == "start" and not check:
        for each in companions:  # by now they have worked for as long as the service has been watched
            if _begun_by(each, module.params["run"]):
                _steps_release.look(each)
        question = _docker_argv.limited(module.params["question"], QUESTION_TIMEOUT)
        answer = bool(module.params["question"]) and _observe.ask(Probe(command=tuple(question)), service.container).rc == 0
    own = results[service.name]
    left_over = _companions.left_over(service, companions, own.pop("companions"))
    ends = state == "absent" or (state == "present" and last_stage(module) == _plan.STAGES[-1])
    for each in left_over if ends else []:
        results[each.name] = converge_one(module, each, "absent")
        if not check:
            _companions.erase(each)
    every = list(results.values())
    return {
        **own,
        "answer": answer,
        "changed": any(result["changed"] for result in every),
        "pending": any(result["pending"] for result in every) or bool(left_over and state == "present" and not ends),
        "unhealthy": any(result["unhealthy"] for result in every),
        "deferred": any(result["deferred"] for result in every),
        "diff": [diff for result in every for diff in result["diff"]],
        "actions": [action for result in every for action in result["actions"]],
        "unknown": list(dict.fromkeys(sentence for result in every for sentence in result["unknown"])),
        "neighbours": [name for name in own["neighbours"] if name not in results],
    }


def in_turn_or_all(module: AnsibleModule, services: t.Sequence[Service], stages: dict[str, str], state: str) -> list[dict[str, t.Any]]:
    """One after the other. What cannot be taken back keeps nothing else from it."""
    if state != "rolled_back":
        return [converge_one(module, each, state, stages[each.name]) for each in services]
    results, errors = [], []
    for each in services:
        try:
            results.append(converge_one(module, each, state, stages[each.name]))
        except _shell.EngineError as error:
            errors.append(str(error))
    if errors:
        raise _shell.EngineError("\n".join(errors))
    return results


def last_stage(module: AnsibleModule) -> str:
    """Check mode tells of everything at once: nothing of it will be there for the stages that follow."""
    return _plan.STAGES[-1] if module.check_mode else module.params["until"]


def stage_of(module: AnsibleModule, service: Service, waits: bool) -> str:
    """How far a service goes. One that `waits` starts with the switch: whether the database is what it needs is known by then."""
    return "ship" if waits and last_stage(module) == "start" else last_stage(module)


def _begun_by(service: Service, run: str) -> bool:
    """What an earlier run has started may have ended once in all the time since."""
    under_way = _release_files.under_way(service.directory)
    return under_way is not None and under_way.run == run


def converge_one(module: AnsibleModule, service: Service, state: str, until: str = "retire") -> dict[str, t.Any]:
    """Uses of `module`: its parameters, check_mode and warn()."""
    actual = _observe.observe(service, module.check_mode)
    if state == "absent":
        plan = _plan.remove(service, actual)
    elif state == "rolled_back":
        plan = _plan.roll_back(service, actual, module.params["run"])
    else:
        plan = _plan.plan(service, actual, until, module.params["run"])
    deferred = plan.disruptive and module.params["defer_disruption"] and not module.check_mode
    if not module.check_mode:
        steps = _plan.Plan(steps=plan.quiet) if deferred else plan
        for note in _engine.execute(service, actual, steps, module.params["holder"], module.params["run"]):
            module.warn(note)
    return dict(
        changed=plan.changed,
        diff=list(plan.diff),
        actions=list(plan.actions),
        container=service.container,
        instance=service.instance,
        generation=service.generation,
        kept=[item.release for item in _release.kept(actual.records, service.release.keep)] if service.release else [],
        pending=plan.pending,
        unhealthy=plan.unhealthy,
        deployed=_release.serving(actual.records) is not None,
        neighbours=list(actual.neighbours),
        companions=actual.companions,
        deferred=deferred,
        unknown=list(plan.unknown) if module.check_mode else [],
    )


def main() -> None:
    module = AnsibleModule(
        argument_spec=dict(
            service=dict(type="dict", required=True, options=SERVICE_ARGUMENT_SPEC),
            companions=dict(type="list", elements="dict", options=SERVICE_ARGUMENT_SPEC, default=[]),
            state=dict(type="str", choices=["present", "absent", "rolled_back"], default="present"),
            until=dict(type="str", choices=list(_plan.STAGES), default="retire"),
            question=dict(type="list", elements="str", default=[]),
            defer_disruption=dict(type="bool", default=False),
            holder=dict(type="str", default="unknown"),
            run=dict(type="str", default=""),
        ),
        supports_check_mode=True,
    )
    try:
        service = parse(module.params["service"])
        if module.check_mode:
            module.exit_json(**converge(module, service))
        with _shell.service_lock(service.project, service.name, module.params["holder"]) as waited:
            if waited:
                module.warn(waited)
            module.exit_json(**converge(module, service))
    except (ValueError, _shell.EngineError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
