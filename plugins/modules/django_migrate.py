#!/usr/bin/python
# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: django_migrate
short_description: Apply the migrations of a Django project
description:
  - Brings the schema of one database to what the project in the image says, or to one migration of one app.
  - Two runs at once are safe with PostgreSQL, which Django alone does not care for. An advisory lock, held by the very session that
    migrates, lets one of them work; the other waits, says for whom, and then finds nothing left to do.
  - The database is asked on every run. Nothing is remembered elsewhere, so that a rebuilt database does not stay empty.
  - Migrations run while the release before still serves. Refused before anything is applied, with what to do instead, is what that
    release cannot run on afterwards (a column or a table dropped or renamed, a column NOT NULL without a default in the database, another
    type), and what keeps traffic waiting (an index built without CONCURRENTLY, a constraint that is validated under a lock, a new
    column with another value for each row, as C(RandomUUID) has), also in SQL of the project's own. C(RunPython) and blocks of procedural
    SQL are not looked into, and neither are migrations backwards.
  - What the release before uses is what the migrations that it knows say, where its container runs on this host. After a rollback that is
    less than what is applied.
version_added: 0.1.0
author: berth.django contributors
extends_documentation_fragment:
  - berth.django._django
  - berth.django._preview
attributes:
  check_mode:
    support: full
    details: >-
      Returns exactly the migrations that would run. Where that cannot be asked (no Docker Engine, no image, no database yet) nothing fails:
      RV(unknown) says why.
  diff_mode:
    support: full
    details: >-
      Shows the SQL of each migration. In check mode before it runs. A line C(-- not safe while the release before serves) stands above the
      SQL of a migration that is not.
options:
  database:
    description: Alias of the database in the project's C(DATABASES).
    type: str
    default: default
  app:
    description: Migrate this app only.
    type: str
  migration:
    description: Migrate O(app) to this migration, forwards or backwards. The beginning of its name is enough; V(zero) unapplies all.
    type: str
  fake:
    description: Record migrations as applied, or as unapplied, without touching the schema.
    type: bool
    default: false
  allow_unsafe:
    description: >-
      Apply migrations also when they are not safe while the release before still serves. In the role C(django_uwsgi) it is
      C(-e allow_unsafe_migrations=true).
    type: bool
    default: false
    version_added: 0.2.0
  apply:
    description: V(false) asks only, also outside of check mode - what would run, and what O(check_deploy) finds.
    type: bool
    default: true
    version_added: 0.2.0
  wait:
    description: Seconds to wait for a migration that another run has started.
    type: int
    default: 600
  lock_timeout:
    description: >-
      Seconds that one statement may wait for a lock on a table. A migration that waits longer makes the whole site wait behind it, so it
      fails, and can be run again. V(0) waits forever. PostgreSQL only.
    type: int
    default: 2
  check_deploy:
    description: >-
      Run C(manage.py check --deploy) first, and migrate nothing when it finds something of this level or above. Silence what does not apply
      with O(silenced_checks). Not asked again while exactly the same image, settings and secrets serve.
    type: str
    choices: [CRITICAL, ERROR, WARNING, INFO, DEBUG]
  silenced_checks:
    description: Ids of checks that O(check_deploy) passes over, on top of the project's own C(SILENCED_SYSTEM_CHECKS).
    type: list
    elements: str
    default: []
    version_added: 0.2.0
"""

EXAMPLES = r"""
- name: Migrate with the image that is about to go live
  berth.django.django_migrate:
    service: "{{ __django_uwsgi_service }}"
    check_deploy: WARNING
    silenced_checks: [security.W004]  # the proxy in front sends Strict-Transport-Security
  run_once: true

- name: Unapply the last migration of songs in a running container
  berth.django.django_migrate:
    container: music-django_uwsgi-5b1d0c2f7a90
    app: songs
    migration: "0001"
"""

RETURN = r"""
applied:
  description: Migrations that were applied, or would be in check mode. On failure, those that were applied before it.
  type: list
  elements: str
  returned: when the database was asked
  sample: [songs.0001_initial]
unapplied:
  description: The same for migrations that were, or would be, unapplied.
  type: list
  elements: str
  returned: when the database was asked
unsafe:
  description:
    - What is not safe in them while the release before still serves. On failure, what was refused.
    - C(kind) is V(incompatible) where that release cannot run on the schema afterwards, V(lock) where traffic waits while it is applied.
  type: list
  elements: dict
  returned: when the database was asked
  sample:
    - migration: songs.0003_album
      kind: incompatible
      problem: renames the column songs_song.record, which the release before still uses
      instead: keep its name with db_column
waited_for:
  description: Who held the lock, when somebody did.
  type: str
  returned: success
unknown:
  description: What check mode cannot know, one sentence each.
  type: list
  elements: str
  returned: in check mode
stdout:
  description: What Django printed.
  type: str
  returned: outside of check mode
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.berth.django.plugins.module_utils import _django, _django_inside, _manage
from ansible_collections.berth.django.plugins.module_utils._shell import EngineError


def migrate(module: AnsibleModule, project: _manage.Project) -> dict[str, object]:
    """Uses of `module`: its parameters, check_mode, _diff and warn()."""
    options = {key: module.params[key] for key in ("database", "fake", "allow_unsafe", "wait", "lock_timeout", "holder", "silenced_checks")}
    options.update({key: module.params[key] or "" for key in ("app", "migration", "check_deploy")})
    options["check_deploy"] = "" if project.serves else options["check_deploy"]
    serving = _manage.serving(project, module.params["entrypoint"] is not None)
    plan = []
    asking = module.check_mode or not module.params["apply"]
    if asking or module._diff:
        plan = ask(project, serving, {**options, "apply": False, "sql": module._diff})["plan"]
    if asking:
        applied = [_django.migration_name(entry) for entry in plan if not entry["backwards"]]
        unapplied = [_django.migration_name(entry) for entry in plan if entry["backwards"]]
        answer = {"unsafe": [found for entry in plan for found in entry["unsafe"]]}
        if answer["unsafe"] and not module.params["allow_unsafe"]:
            names = ", ".join(dict.fromkeys(found["migration"] for found in answer["unsafe"]))
            module.warn(f"not safe while the release before serves, so a run refuses it without -e allow_unsafe_migrations=true: {names}")
    else:
        # What was looked at for the diff has passed the checks already.
        answer = ask(project, serving, {**options, "apply": True, "check_deploy": "" if module._diff else options["check_deploy"]})
        applied, unapplied = answer["applied"], answer["unapplied"]
        if answer["waited_for"]:
            module.warn(f"waited for another migration: {answer['waited_for']}")
        if "not yet reflected in a migration" in answer["output"]:
            module.warn(_django_inside.UNMIGRATED)
    done = {*applied, *unapplied}
    return dict(
        changed=bool(done) and module.params["apply"],
        applied=applied,
        unapplied=unapplied,
        unsafe=answer["unsafe"],
        waited_for=answer.get("waited_for", ""),
        unknown=[],
        stdout=answer.get("output", ""),
        diff=_django.migration_diff([entry for entry in plan if _django.migration_name(entry) in done], options["database"]),
    )


def ask(project: _manage.Project, serving: _manage.Project | None, request: dict[str, object]) -> dict:
    """After a rollback, the release that serves may know less than what is applied: it is asked, where there is something to judge."""
    request = {"do": "migrate", "known": _django_inside.ASK if serving else None, **request}
    answer = project.ask(request, label="migrate")
    if answer.get("asks") and serving:
        answer = project.ask({**request, "known": known_to(serving), "check_deploy": ""}, label="migrate")
    if "error" not in answer:
        return answer
    if project.check_mode:
        raise _manage.Unknown(answer["error"])
    applied, unapplied = answer.get("applied", []), answer.get("unapplied", [])
    kept = f"\nDone before it, and kept: {', '.join([*applied, *unapplied])}" if applied or unapplied else ""
    raise _manage.CommandFailed(
        answer["error"] + kept,
        changed=bool(kept),
        applied=applied,
        unapplied=unapplied,
        unsafe=answer.get("unsafe", []),
        stdout=answer.get("output", answer["printed"]),
        exit_code=1,
    )


def known_to(serving: _manage.Project) -> list[object] | None:
    """A release that is too broken to answer must not keep the next one from being deployed."""
    try:
        return serving.ask({"do": "known"}, label="migrate").get("known")
    except (EngineError, _manage.CommandFailed):
        return None


def main() -> None:
    module = AnsibleModule(
        argument_spec=dict(
            **_django.ARGUMENT_SPEC,
            **_django.PREVIEW_SPEC,
            database=dict(type="str", default="default"),
            app=dict(type="str"),
            migration=dict(type="str"),
            fake=dict(type="bool", default=False),
            allow_unsafe=dict(type="bool", default=False),
            apply=dict(type="bool", default=True),
            wait=dict(type="int", default=600),
            lock_timeout=dict(type="int", default=2),
            check_deploy=dict(type="str", choices=["CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG"]),
            silenced_checks=dict(type="list", elements="str", default=[]),
        ),
        required_one_of=_django.ONE_OF,
        mutually_exclusive=_django.ONE_OF,
        required_by=dict(migration=["app"]),
        supports_check_mode=True,
    )
    _manage.execute(module, lambda project: migrate(module, project))


if __name__ == "__main__":
    main()
