# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operator sees who runs site.yml with a mistake in a copy of inventories/production.example: no engine, no host, no connection."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from _paths import ROOT
from ansible_collections.berth.django.plugins.module_utils._inventory_secrets import weakness

ALL = "group_vars/all/"
SECRETS = ("registry", "postgres_superuser", "postgres", "postgres_app", "django_secret_key", "django_superuser", "haproxy_stats")
Change = Callable[[Path], None]


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    """The example with its secrets filled in, and nothing else changed."""
    copy = Path(shutil.copytree(ROOT / "inventories" / "production.example", tmp_path / "production"))
    values = {f"vault_{name}" if name.endswith("key") else f"vault_{name}_password": strong(name) for name in SECRETS}
    (copy / ALL / "vault.yml").write_text(yaml.safe_dump(values))
    return copy


def strong(name: str) -> str:
    return f"{name}-vQ3nT8zLx0pKw5Rb7HsYd2MfGjCa4Ue6WiOoPl1ZqVtBnEr8SyDhA"


def run(inventory: Path, program: str = "ansible-playbook", *words: str) -> tuple[int, str]:
    outcome = subprocess.run(
        [Path(sys.executable).parent / program, "--inventory", inventory, *(words or [ROOT / "site.yml"])],
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
            "ANSIBLE_NOCOLOR": "1",
        },
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return outcome.returncode, outcome.stdout + outcome.stderr


def project(**changes: Any) -> Change:
    """Changes of group_vars/all/project.yml; None takes a variable out."""

    def change(inventory: Path) -> None:
        file = inventory / ALL / "project.yml"
        values = {**yaml.safe_load(file.read_text()), **changes}
        file.write_text(yaml.safe_dump({name: value for name, value in values.items() if value is not None}))

    return change


def host(name: str, **values: Any) -> Change:
    """Variables of one host."""

    def change(inventory: Path) -> None:
        (inventory / "host_vars").mkdir()
        (inventory / "host_vars" / f"{name}.yml").write_text(yaml.safe_dump(values))

    return change


def no_balancer(inventory: Path) -> None:
    file = inventory / "hosts.yml"
    groups = yaml.safe_load(file.read_text())
    groups["all"]["children"]["haproxy"] = {"hosts": {}}
    file.write_text(yaml.safe_dump(groups))


def vault_as_delivered(inventory: Path) -> None:
    shutil.copy(ROOT / "inventories" / "production.example" / ALL / "vault.yml", inventory / ALL / "vault.yml")


REMOVE = "Compare the name that was given with the project's"
NEW = "make a value with `openssl rand -hex 32` and keep it in a vault file."
WEB = "web1.example.com, web2.example.com"
SUPERUSER = {"username": "admin", "password": "{{ vault_django_superuser_password }}"}
REFUSED: list[tuple[str, Change, list[str]]] = [
    ("missing secret", project(postgres_password=None), [f"postgres_password is missing for host db1.example.com: {NEW}"]),
    (
        "secret that the vault does not have",
        project(haproxy_stats_password="{{ vault_no_such_password }}"),
        ["haproxy_stats_password of host lb1.example.com cannot be evaluated: 'vault_no_such_password' is undefined."],
    ),
    (
        "password",
        project(postgres_password="password"),
        [f"postgres_password of host db1.example.com is weak (it is among the first that are tried): {NEW}"],
    ),
    (
        "admin",
        project(haproxy_stats_password="admin"),
        [f"haproxy_stats_password of host lb1.example.com is weak (it is among the first that are tried): {NEW}"],
    ),
    (
        "the vault of the example, as it is delivered",
        vault_as_delivered,
        [
            f"postgres_password of host db1.example.com is empty: {NEW}",
            f"postgres_superuser_password of host db1.example.com is empty: {NEW}",
            f"django_uwsgi_secrets.secret_key of hosts {WEB} is empty: {NEW}",
            f"django_uwsgi_secrets.database_password of hosts {WEB} is empty: {NEW}",
            f"django_uwsgi_migrate_secrets.database_password of hosts {WEB} is empty: {NEW}",
            f"django_uwsgi_superuser.password of hosts {WEB} is empty: {NEW}",
            f"haproxy_stats_password of host lb1.example.com is empty: {NEW}",
            f"image_registry_password of host builder1.example.com is empty: {NEW}",
        ],
    ),
    (
        "unknown key in a dict",
        project(django_uwsgi_superuser={**SUPERUSER, "emial": "a@example.com"}),
        [f"django_uwsgi_superuser.emial of hosts {WEB} is not known: did you mean email?"],
    ),
    (
        "unknown key in a list of dicts",
        project(haproxy_frontends=[{"name": "site", "bind": [":80"], "bakcend": "site"}]),
        ["haproxy_frontends[0].bakcend of host lb1.example.com is not known: did you mean backend?"],
    ),
    (
        "two projects with one name",
        host("web2.example.com", django_uwsgi_source="/home/me/blog"),
        [
            "Two projects have the name 'shop': django_uwsgi_source is /home/me/shop (web1.example.com) and /home/me/blog "
            "(web2.example.com). Give each project a berth_project of its own."
        ],
    ),
    ("empty group", no_balancer, ["The group 'haproxy' is empty: put at least one host into it."]),
    (
        "uploads that stay on one of two hosts",
        project(django_uwsgi_media=[{"url": "/media/", "root": "/srv/media", "path": "/srv/media"}]),
        [
            f"Uploads of project 'shop' would lie on one of 2 hosts alone ({WEB}): mount one file system on all of them and say "
            "shared: true in django_uwsgi_media, beside the path of /srv/media (or set it to []: no uploads)."
        ],
    ),
]


LIMIT = ("--limit", "web2.example.com")
GUARDED: list[tuple[str, Change, tuple[str, ...], str, str]] = [
    # playbook, change, words, task, what is said of web2 or of the balancer
    (
        "site.yml",
        project(postgres_password="password"),
        LIMIT,
        "Refuse an inventory that cannot work",
        "postgres_password of host db1.example.com",
    ),
    (
        "deploy.yml",
        project(postgres_password=7),
        LIMIT,
        "Refuse an inventory that cannot work",
        "postgres_password of host db1.example.com",
    ),
    ("remove.yml", project(), LIMIT, REMOVE, "This takes shop off web2.example.com. To do it, add: -e remove=shop"),
    ("remove.yml", host("web2.example.com", berth_project="blog"), ("-e", "remove=shop"), REMOVE, "This takes blog off web2.example.com."),
    ("maintenance.yml", project(), ("--limit", "lb1.example.com"), "Ask for on or off", "add -e state=on or -e state=off"),
]


@pytest.mark.parametrize(("playbook", "change", "words", "task", "said"), GUARDED)
def test_limit_leaves_the_guards(inventory: Path, playbook: str, change: Change, words: tuple[str, ...], task: str, said: str) -> None:
    """A guard in a play of localhost would be left out with it, and nothing is done before the guard has spoken."""
    change(inventory)
    code, shown = run(inventory, "ansible-playbook", str(ROOT / "playbooks" / playbook), *words)
    assert code != 0, shown
    assert re.findall(r"^TASK \[(.*)\]", shown, re.MULTILINE) == [task], shown
    assert shown.count("FAILED! =>") == 1 and said in shown, shown


def test_site_leaves_a_company_s_other_hosts_alone(inventory: Path) -> None:
    groups = yaml.safe_load((inventory / "hosts.yml").read_text())
    groups["all"]["children"]["mail"] = {"hosts": {"mail1.example.com": {}}}
    (inventory / "hosts.yml").write_text(yaml.safe_dump(groups))
    code, shown = run(inventory, "ansible-playbook", str(ROOT / "site.yml"), "--list-hosts")
    assert code == 0 and "db1.example.com" in shown and "mail1.example.com" not in shown, shown


def test_without_uploads_nginx_looks_for_none(inventory: Path) -> None:
    """And what services are told of each other follows one variable."""
    project(django_uwsgi_media=[], django_uwsgi_static_url="/files/", django_uwsgi_static_from="none", nginx_port=8800)(inventory)
    names = (
        "nginx_media",
        "nginx_static_path",
        "nginx_static_url",
        "nginx_static_releases",
        "nginx_upstream_port",
        "haproxy_server_port",
    )
    told = "{{ " + " ~ ' ' ~ ".join(f"({name} | string or '-')" for name in names) + " }}"
    code, shown = run(inventory, "ansible", "web1.example.com", "--module-name", "ansible.builtin.debug", "--args", f'msg="{told}"')
    assert code == 0 and '"msg": "[] - /files/ 5 8001 8800"' in shown, shown


def test_a_weak_secret_is_accepted_by_its_name(inventory: Path) -> None:
    values = {"postgres_password": "password", "django_uwsgi_secrets": {"database_password": "password"}}
    project(**values, berth_accepted_weak_secrets=["postgres_password"])(inventory)
    code, shown = run(inventory, "ansible", "localhost", "--module-name", "berth.django.inventory_check")
    assert code != 0 and "1 problem," in shown and f"django_uwsgi_secrets.database_password of hosts {WEB} is weak" in shown, shown
    project(berth_accepted_weak_secrets=["postgres_password", "django_uwsgi_secrets.database_password"])(inventory)
    code, shown = run(inventory, "ansible", "localhost", "--module-name", "berth.django.inventory_check")
    assert code == 0, shown


def test_example_is_accepted_once_its_vault_is_filled(inventory: Path) -> None:
    code, shown = run(inventory, "ansible", "localhost", "--module-name", "berth.django.inventory_check")
    assert code == 0 and "localhost | SUCCESS" in shown, shown


@pytest.mark.parametrize(("change", "sentences"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_refused_before_any_other_task(inventory: Path, change: Change, sentences: list[str]) -> None:
    change(inventory)
    code, shown = run(inventory)
    assert code != 0, shown
    assert re.findall(r"^TASK \[(.*)\]", shown, re.MULTILINE) == ["Refuse an inventory that cannot work"], shown
    (result,) = re.findall(r"^fatal: \[localhost\]: FAILED! => (\{.*\})$", shown, re.MULTILINE)
    count = "1 problem" if len(sentences) == 1 else f"{len(sentences)} problems"
    listed = "".join(f"\n- {sentence}" for sentence in sentences)
    assert json.loads(result)["msg"] == f"The inventory has {count}, and nothing was touched:{listed}"
    assert "vQ3nT8z" not in shown, "a secret was shown"


DOCS = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("roles/**/*.md"), *ROOT.glob("examples/**/*.md"), ROOT / "Makefile"]
LITERAL = re.compile(r"\b\w*(?:password|secret_key)[\"']?\s*[:=]\s*[\"']?([^\s\"'{}`]+)", re.IGNORECASE)


def test_secrets_of_our_own_docs_are_weak() -> None:
    """Whoever copies an example from the documentation is told so."""
    literals = {(path.name, value) for path in [*DOCS, *ROOT.glob("plugins/modules/*.py")] for value in LITERAL.findall(told(path))}
    assert ("Makefile", "only-for-its-own-tests") in literals, "nothing is found, so this would prove nothing"
    strong = {(name, value) for name, value in literals if not weakness("django_uwsgi_secrets.secret_key", value)}
    assert not strong


def told(path: Path) -> str:
    """What an operator reads of it: of a module, its documentation."""
    text = path.read_text()
    return "\n".join(re.findall(r'r"""(.*?)"""', text, re.DOTALL)) if path.suffix == ".py" else text
