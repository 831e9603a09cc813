# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables for the rules that an inventory must keep."""

from __future__ import annotations

from typing import Any

import pytest
from _paths import ROOT
from _render import load_yaml
from ansible_collections.berth.django.plugins.module_utils import _inventory as inventory
from ansible_collections.berth.django.plugins.module_utils._inventory_secrets import weakness

STRONG = "vQ3nT8zLx0pKw5Rb"
STRONG_KEY = "k9XvQ3nT8zLx0pKw5Rb7HsYd2MfGjCa4Ue6WiOoPl1ZqVtBnEr8SyDhA"


def role(host: str = "web1", name: str = "nginx", options: dict[str, Any] | None = None, **values: Any) -> inventory.Role:
    return inventory.Role(host, name, options or {}, values, frozenset(values))


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ({"nginx": ["web1"], "postgres": ["db1"]}, []),
        ({"nginx": [], "postgres": ["db1"]}, ["The group 'nginx' is empty: put at least one host into it."]),
        ({"postgres": ["db1"]}, ["The inventory has no group 'nginx': add it, with at least one host in it."]),
    ],
)
def test_groups(groups: dict[str, list[str]], expected: list[str]) -> None:
    assert inventory.group_problems(groups, ["nginx", "postgres"], {}) == expected


@pytest.mark.parametrize(
    ("groups", "elsewhere", "expected"),
    [
        ({"nginx": ["web1"]}, ["postgres"], []),
        ({"nginx": ["web1"], "postgres": []}, ["postgres"], []),
        (
            {"nginx": ["web1"]},
            [],
            [
                "The inventory has no group 'postgres': add it, with at least one host in it, "
                "or berth_elsewhere: [postgres] where the fleet has it elsewhere."
            ],
        ),
        (
            {"nginx": ["web1"], "postgres": ["db1"]},
            ["postgres"],
            ["berth_elsewhere of host web1 names 'postgres', and that group has hosts (db1): take it out of one of the two."],
        ),
        (
            {"postgres": ["db1"]},
            ["nginx"],
            [
                "berth_elsewhere of host web1 names 'nginx', and only postgres and haproxy can be elsewhere: take it out.",
                "The inventory has no group 'nginx': add it, with at least one host in it.",
            ],
        ),
    ],
)
def test_a_part_of_the_fleet_may_be_elsewhere(groups: dict[str, list[str]], elsewhere: list[str], expected: list[str]) -> None:
    assert inventory.group_problems(groups, ["nginx", "postgres"], dict.fromkeys(elsewhere, "web1")) == expected


def test_a_backend_asks_where_the_web_servers_listen() -> None:
    def balancer(**backend: Any) -> inventory.Role:
        return role("lb1", "haproxy", haproxy_backends=[{"name": "shop", "server_group": "shop_web", **backend}])

    groups, webs = {"shop_web": ["web1", "web2"]}, [role("web1", nginx_port=8001), role("web2")]
    assert inventory.backend_problems([balancer(port=8001), *webs], {"shop_web": ["web1"]}) == []
    assert inventory.backend_problems([balancer(port="8000"), *webs], {"shop_web": ["web2"]}) == []
    assert inventory.backend_problems([balancer(), *webs], groups) == []
    assert inventory.backend_problems([balancer(port=8001), *webs], groups) == [
        "The backend 'shop' in haproxy_backends of host lb1 asks port 8001, but nginx_port of web2 is 8000: make them the same."
    ]


def test_a_project_has_one_database_and_a_fleet_one_builder() -> None:
    def postgres(host: str, project: str) -> inventory.Role:
        return role(host, "postgres", postgres_project=project)

    assert inventory.single_problems([postgres("shop-db1", "shop"), postgres("blog-db1", "blog")], ["postgres"]) == []
    assert inventory.single_problems([postgres("db1", "shop"), postgres("db2", "shop")], ["postgres"]) == [
        "The group 'postgres' has 2 hosts of shop (db1, db2), and can have one: keep one there."
    ]
    assert inventory.single_problems([role("b1", "image", image_project="lab"), role("b2", "image", image_project="lab")], ["image"]) == [
        "The group 'builder' has 2 hosts of lab (b1, b2), and can have one: keep one there."
    ]


def test_one_machine_may_be_a_host_of_two_projects() -> None:
    addresses = {"shop-web1": "10.0.0.1", "blog-web1": "10.0.0.1"}
    assert inventory.address_problems(addresses, {"shop-web1": "web1:22", "blog-web1": "web1:22"}) == []
    assert len(inventory.address_problems(addresses, {"shop-web1": "web1:22", "blog-web1": "web2:22"})) == 1


def test_hosts_that_are_one_machine_share_its_ports() -> None:
    machines = {"shop-web1": "web1", "blog-web1": "web1", "web2": "web2"}
    shop, blog, other = (role(host, nginx_port=port) for host, port in (("shop-web1", 8000), ("blog-web1", 8000), ("web2", 8000)))
    assert inventory.port_problems([shop, blog, other], machines) == [
        "nginx_port of host blog-web1 is 8000, which nginx of shop-web1 has on the same machine: give it another."
    ]
    assert len(inventory.port_problems([role("shop-web1"), role("blog-web1")], machines)) == 1, "8000 is what both have by default"
    assert inventory.port_problems([shop, role("blog-web1", nginx_port=8010)], machines) == []


def test_a_project_names_the_groups_of_its_own_hosts() -> None:
    groups = {"django_uwsgi": ["shop-web1", "blog-web1"], "nginx": ["shop-web1", "blog-web1"], "shop_web": ["shop-web1"]}
    shop = role("shop-web1", "django_uwsgi", django_uwsgi_project="shop", django_uwsgi_client_group="shop_web")
    blog = role("blog-web1", "django_uwsgi", django_uwsgi_project="blog")
    (told,) = [line for line in inventory.peer_problems([shop, blog], groups) if "shop-web1" in line]
    shared = "'django_uwsgi', a group with hosts of blog, too"
    assert told == f"django_uwsgi_peer_group of host shop-web1 is {shared}: name a group that has those of shop alone."
    assert inventory.peer_problems([shop], {**groups, "django_uwsgi": ["shop-web1"]}) == []


def test_groups_and_ports_are_those_of_the_defaults() -> None:
    for name, peers in inventory.PEERS.items():
        defaults = load_yaml(ROOT / "roles" / name / "defaults" / "main.yml")
        assert {group: defaults[group] for group in peers} == peers
    for name, ports in inventory.PORTS.items():
        defaults = load_yaml(ROOT / "roles" / name / "defaults" / "main.yml")
        assert {port: defaults[port] for port in ports} == ports


@pytest.mark.parametrize(
    ("addresses", "words"),
    [
        ({"a": "10.0.0.1", "b": "10.0.0.2"}, []),
        ({"a": "fd00::1"}, ["berth_address of host a is fd00::1, but containers speak IPv4 only"]),
        ({"a": "127.0.0.1"}, []),
        ({"a": None}, ["berth_address is missing for host a"]),
        ({"a": ""}, ["berth_address is missing for host a"]),
        ({"a": "web1.example.org"}, ["host a is 'web1.example.org', not an IP address"]),
        ({"a": "10.0.0.1/24"}, ["not an IP address"]),
        ({"a": "0.0.0.0"}, ["other hosts cannot reach"]),
        ({"a": "127.0.0.1", "b": "10.0.0.2"}, ["berth_address of host a is 127.0.0.1, which other hosts cannot reach"]),
        ({"a": "10.0.0.1", "b": "10.0.0.1"}, ["10.0.0.1 stands for two hosts, a and b"]),
    ],
)
def test_addresses(addresses: dict[str, Any], words: list[str]) -> None:
    found = inventory.address_problems(addresses, {})
    assert len(found) == len(words)
    assert all(word in sentence for word, sentence in zip(words, found))


@pytest.mark.parametrize(
    ("name", "secret", "reason"),
    [
        ("postgres_password", STRONG, None),
        ("postgres_password", "correct horse battery staple", None),
        ("postgres_password", "password", "it is among the first that are tried"),
        ("postgres_password", "Password123!", "it is among the first that are tried"),
        ("postgres_password", "P-a-s-s-w-o-r-d", "it is among the first that are tried"),
        ("postgres_password", "admin", "it is among the first that are tried"),
        ("postgres_password", "changeme", "it is a placeholder"),
        ("postgres_password", "change-me-in-the-vault", "it is a placeholder"),
        ("postgres_password", "<a long random value>", "it is a placeholder"),
        ("postgres_password", "example-of-the-docs-1234", "it is a placeholder"),
        ("postgres_password", "x7Kq2", "it has 5 characters, and needs 12"),
        ("postgres_password", "abababababababab", "it has fewer than 5 different characters"),
        ("postgres_password", "123456789012", "it has digits only"),
        ("django_uwsgi_secrets.SECRET_KEY", STRONG, "it has 16 characters, and needs 50"),
        ("django_uwsgi_secrets.SECRET_KEY", STRONG_KEY, None),
        ("django_uwsgi_secrets.SECRET_KEY", "django-insecure-" + STRONG_KEY, "it is a placeholder"),
        ("django_uwsgi_secrets.DATABASE_URL", f"postgres://music:{STRONG}@db/music", None),
        ("django_uwsgi_secrets.DATABASE_URL", "postgres://music:music@db/music", "it is among the first that are tried"),
        ("django_uwsgi_secrets.SENTRY_DSN", "https://abc@sentry/1", None),
    ],
)
def test_weakness(name: str, secret: str, reason: str | None) -> None:
    assert weakness(name, secret) == reason


@pytest.mark.parametrize(
    ("option", "value", "where"),
    [
        ({"type": "str", "no_log": True}, "admin", ["x_y"]),
        ({"type": "str"}, "admin", []),
        ({"type": "dict", "no_log": True}, {"A": "admin", "EMAIL_HOST_USER": "bob", "B": STRONG}, ["x_y.A"]),
        ({"type": "dict", "options": {"password": {"no_log": True}, "name": {}}}, {"name": "admin", "password": "admin"}, ["x_y.password"]),
        (
            {"type": "list", "elements": "dict", "options": {"password": {"no_log": True}}},
            [{"password": STRONG}, {"password": "admin"}],
            ["x_y[1].password"],
        ),
        ({"type": "str", "no_log": True}, None, []),  # missing_problems tells of it where it is required
        ({"type": "str", "no_log": True}, 123456789012, ["x_y"]),
        (
            {"type": "dict", "no_log": True},
            {"A": None, "B": 7, "C": True, "D": 1.5, "EMAIL_PORT": 25},
            ["x_y.A", "x_y.B", "x_y.C", "x_y.D"],
        ),
    ],
)
def test_secrets_are_found_by_no_log(option: dict[str, Any], value: Any, where: list[str]) -> None:
    found = inventory.secret_problems(role("db1", "x", {"x_y": option}, x_y=value))
    assert [sentence.split(" ")[0] for sentence in found] == where
    for sentence in found:
        assert "host db1" in sentence and "openssl rand" in sentence and "admin" not in sentence


OPTIONS = {
    "nginx_limits": {"type": "dict", "options": {"memory": {}, "cpus": {}, "deep": {"options": {"inner": {}}}}},
    "nginx_servers": {"type": "list", "elements": "dict", "options": {"name": {}}},
    "nginx_free": {"type": "dict"},
    "nginx_extra_config": {"type": "str"},
}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"nginx_limits": {"memory": "1g"}, "nginx_free": {"anything": 1}}, []),
        ({"nginx_limits": {"memroy": "1g"}}, ["nginx_limits.memroy of host web1 is not known: did you mean memory?"]),
        ({"nginx_limits": {"zzz": 1}}, ["nginx_limits.zzz of host web1 is not known: it can be one of cpus, deep, memory."]),
        ({"nginx_limits": {"deep": {"iner": 1}}}, ["nginx_limits.deep.iner of host web1 is not known: did you mean inner?"]),
        ({"nginx_servers": [{"name": 1}, {"nane": 1}]}, ["nginx_servers[1].nane of host web1 is not known: did you mean name?"]),
        (
            {"nginx_extra_confg": "x"},
            ["nginx_extra_confg of host web1 is not an input of the role nginx: did you mean nginx_extra_config?"],
        ),
        ({"nginx_my_own_note": "x"}, []),
    ],
)
def test_unknown_keys(values: dict[str, Any], expected: list[str]) -> None:
    assert inventory.unknown_problems(role(options=OPTIONS, **values)) == expected


@pytest.mark.parametrize(
    ("option", "values", "defaulted", "words"),
    [
        ({"required": True}, {}, [], "x_y is missing for host web1: set it in group_vars/x"),
        ({"required": True, "no_log": True}, {}, [], "x_y is missing for host web1: make a value with"),
        ({"required": True}, {"x_y": 0}, [], None),
        ({"required": True, "no_log": True}, {"x_y": ""}, [], "x_y of host web1 is empty"),
        ({"required": True, "no_log": True}, {"x_y": None}, [], "x_y of host web1 is empty"),
        ({"no_log": True}, {"x_y": ""}, ["x_y"], None),
        ({"no_log": True}, {}, [], None),
        ({}, {}, [], None),
    ],
)
def test_missing(option: dict[str, Any], values: dict[str, Any], defaulted: list[str], words: str | None) -> None:
    found = inventory.missing_problems(inventory.Role("web1", "x", {"x_y": option}, values, defaulted=frozenset(defaulted)))
    assert len(found) == (words is not None)
    assert not words or found[0].startswith(words)


@pytest.mark.parametrize("project", ["Music", "m", "1music", "mu sic", "musique!", "m" * 31, "", 7])
def test_project_is_a_slug(project: Any) -> None:
    (sentence,) = inventory.project_problems([role(nginx_project=project)])
    assert "web1" in sentence and "berth_project" in sentence


def test_two_projects_with_one_name() -> None:
    app = {"name": "django_uwsgi", "django_uwsgi_project": "music"}
    same = [role("web1", **app, django_uwsgi_source="/a"), role("web2", **app, django_uwsgi_source="/a")]
    assert inventory.project_problems(same) == []
    other = [same[0], role("web2", **app, django_uwsgi_source="/b")]
    (sentence,) = inventory.project_problems(other)
    assert "'music'" in sentence and "/a (web1)" in sentence and "/b (web2)" in sentence and "django_uwsgi_source" in sentence


MEDIA = {"url": "/media/", "root": "/srv/media", "path": "/srv/uploads"}
PRIVATE = {"root": "/srv/private", "path": "/srv/invoices"}


@pytest.mark.parametrize(
    ("apps", "webs", "media", "told"),
    [
        (["web1"], ["web1"], [MEDIA], None),
        (["web1", "web2"], ["web1", "web2"], [{**MEDIA, "shared": True}], None),
        (["web1", "web2"], ["web1", "web2"], [], None),
        (["web1", "web2"], ["web1", "web2"], [MEDIA, PRIVATE], ("2 hosts alone (web1, web2)", "/srv/media, /srv/private")),
        (["web1", "web2"], ["web1", "web2"], [{**MEDIA, "shared": True}, PRIVATE], ("2 hosts alone (web1, web2)", "of /srv/private ")),
        (["app1"], ["front1"], [MEDIA], ("2 hosts alone (app1, front1)", "/srv/media")),
        (["app1"], ["front1"], [PRIVATE], None),
    ],
)
def test_uploads_are_shared_by_all_hosts_that_need_them(
    apps: list[str], webs: list[str], media: list[dict[str, Any]], told: tuple[str, str] | None
) -> None:
    roles = [role(host, "django_uwsgi", django_uwsgi_project="music", django_uwsgi_media=media) for host in apps]
    roles += [role(host, nginx_project="music") for host in webs] + [role("web7", nginx_project="another")]
    found = inventory.media_problems(roles)
    assert len(found) == (told is not None)
    assert not told or all(word in found[0] for word in ("'music'", "django_uwsgi_media", *told))


@pytest.mark.parametrize(
    ("values", "where"),
    [
        ({"django_uwsgi_static_url": "/static/", "django_uwsgi_media": [MEDIA, PRIVATE]}, None),
        ({"django_uwsgi_static_url": "https://static.example.com/shop/"}, None),
        ({"django_uwsgi_static_url": "/"}, "django_uwsgi_static_url of host web1 is '/'"),
        ({"django_uwsgi_static_url": "https://static.example.com"}, "django_uwsgi_static_url of host web1 is 'https://static.example.com'"),
        ({"django_uwsgi_media": [MEDIA, {**MEDIA, "url": "/"}]}, "django_uwsgi_media[1].url of host web1 is '/'"),
    ],
)
def test_files_have_a_path_of_their_own(values: dict[str, Any], where: str | None) -> None:
    found = inventory.url_problems(role("web1", "django_uwsgi", **values))
    assert [sentence.split(",")[0] for sentence in found] == ([where] if where else [])


@pytest.mark.parametrize(("source", "refused"), [("collectstatic", False), (None, False), ("image", True), ("none", True)])
def test_commands_after_a_collectstatic_that_is_never_run(source: str | None, refused: bool) -> None:
    values = {"django_uwsgi_static_from": source, "django_uwsgi_after_collectstatic": [{"command": "compress"}]}
    found = inventory.static_problems(role("web1", "django_uwsgi", **values))
    assert [sentence.split(" ")[0] for sentence in found] == ["django_uwsgi_after_collectstatic"] * refused


def test_a_weak_secret_is_accepted_by_its_name() -> None:
    options = {"x_password": {"no_log": True}, "x_secrets": {"type": "dict", "no_log": True}}
    values = {"x_password": "admin", "x_secrets": {"a": "admin", "b": "admin", "c": ""}}
    accepted = frozenset(["x_password", "x_secrets.a", "x_secrets.c"])
    found = inventory.secret_problems(inventory.Role("db1", "x", options, values, accepted=accepted))
    assert [sentence.split(" of ")[0] for sentence in found] == ["x_secrets.b", "x_secrets.c"], "an empty one is none at all"


@pytest.mark.parametrize(
    ("registry", "password", "refused"),
    [
        ("192.0.2.1:5000", "", True),
        ("192.0.2.1:5000", STRONG, False),
        ("192.0.2.1", None, True),
        ("registry.example.org/shop", "", False),
        ("192.0.2.10:5000", "", False),
    ],
)
def test_registry_on_the_builder_needs_a_password(registry: str, password: str | None, refused: bool) -> None:
    values = {"image_registry": registry, "image_registry_address": "192.0.2.1", "image_registry_password": password}
    found = inventory.registry_problems([role("builder1", "image", **values)])
    assert [sentence.split(":")[0] for sentence in found] == ["image_registry_password of host builder1 is empty"] * refused


def test_socket_upstream_needs_the_app_on_the_same_host() -> None:
    nginx = role("web9", nginx_upstream="unix")
    assert inventory.socket_problems([nginx], {"django_uwsgi": ["web9"]}) == []
    (sentence,) = inventory.socket_problems([nginx], {"django_uwsgi": ["web1"]})
    assert "web9" in sentence and "nginx_upstream" in sentence


@pytest.mark.parametrize(
    ("web", "listen", "refused"), [("web9", "socket", True), ("web9", "tcp", False), ("web1", "socket", False)], ids=str
)
def test_tcp_upstream_needs_an_app_that_listens_for_other_hosts(web: str, listen: str, refused: bool) -> None:
    nginx, app = role(web, nginx_upstream="tcp"), role("web1", "django_uwsgi", django_uwsgi_listen=listen)
    found = inventory.socket_problems([nginx, app], {"django_uwsgi": ["web1"]})
    assert [sentence.split(" ")[:4] for sentence in found] == [["django_uwsgi_listen", "of", "host", "web1"]] * refused


@pytest.mark.parametrize(("keep", "refused"), [(1, True), (2, False), (None, False)])
def test_there_is_always_a_release_to_go_back_to(keep: int | None, refused: bool) -> None:
    found = inventory.release_problems([role("web1", "django_uwsgi", django_uwsgi_keep_releases=keep)])
    assert [sentence.split(":")[0] for sentence in found] == ["django_uwsgi_keep_releases of host web1 is 1"] * refused


AGREEING: list[tuple[dict[str, Any], dict[str, Any], bool]] = [
    # nginx, django_uwsgi, refused
    ({"nginx_static_url": "/s/"}, {"django_uwsgi_static_url": "/static/"}, True),
    ({"nginx_static_url": "/s/"}, {"django_uwsgi_static_url": "s/"}, False),
    ({"nginx_static_url": "/s/"}, {"django_uwsgi_static_url": "https://files.example.org/"}, False),
    ({"nginx_static_url": "/s/"}, {}, False),
    ({}, {"django_uwsgi_static_url": "/static/"}, False),
    ({"nginx_upstream": "tcp", "nginx_upstream_port": 8001}, {"django_uwsgi_port": 9001}, True),
    ({"nginx_upstream": "tcp", "nginx_upstream_port": 8001}, {"django_uwsgi_port": "8001"}, False),
    ({"nginx_upstream": "unix", "nginx_upstream_port": 8001}, {"django_uwsgi_port": 9001}, False),
    ({"nginx_static_url": "/s/"}, {"django_uwsgi_static_url": "/static/", "django_uwsgi_project": "another"}, False),
]


@pytest.mark.parametrize(("web", "app", "refused"), AGREEING)
def test_what_services_are_told_of_each_other_agrees(web: dict[str, Any], app: dict[str, Any], refused: bool) -> None:
    webs = [role(host, **{"nginx_project": "music", **web}) for host in ("web1", "web2")]
    found = inventory.agreement_problems([*webs, role("app1", "django_uwsgi", **{"django_uwsgi_project": "music", **app})])
    assert len(found) == refused
    assert not refused or (f"{[*web][-1]} of hosts web1, web2 is" in found[0] and f"but {[*app][-1]} of app1 is" in found[0])


@pytest.mark.parametrize(
    ("web", "app", "told"),
    [
        ([MEDIA], [MEDIA], ""),
        ([MEDIA], [MEDIA, PRIVATE], ""),
        ([{**MEDIA, "url": "media", "path": "/srv/uploads/"}], [MEDIA], ""),
        (None, [MEDIA], ""),
        ([MEDIA], None, ""),
        ([], [{**MEDIA, "url": "https://files.example.org/m/"}], ""),
        ([], [MEDIA], "nginx_media of host web1 has no /media/ in /srv/uploads, which django_uwsgi_media of app1 has: make them the same."),
        ([{**MEDIA, "path": "/srv/media"}], [MEDIA], "nginx_media of host web1 has no /media/ in /srv/uploads"),
    ],
)
def test_nginx_serves_the_uploads_that_the_project_has(web: Any, app: Any, told: str) -> None:
    webs = role("web1", nginx_project="music", **({} if web is None else {"nginx_media": web}))
    apps = role("app1", "django_uwsgi", django_uwsgi_project="music", **({} if app is None else {"django_uwsgi_media": app}))
    found = inventory.agreement_problems([webs, apps])
    assert len(found) == bool(told) and found[0].startswith(told) if told else not found


def test_the_balancer_asks_the_port_that_nginx_listens_on() -> None:
    balancer = role("lb1", "haproxy", haproxy_server_port=8000)
    assert inventory.agreement_problems([balancer, role("web1", nginx_port=8000)]) == []
    assert inventory.agreement_problems([balancer, role("web1", nginx_port=8000), role("web2", nginx_port=9000)]) == [
        "haproxy_server_port of host lb1 is 8000, but nginx_port of web2 is 9000: make them the same."
    ]


def test_what_hosts_share_is_told_once() -> None:
    options = {"nginx_server_names": {"required": True}}
    found = inventory.problems(
        {}, [], [], {}, {}, [role("web1", options=options), role("web2", options=options), role("web11", options=options)]
    )
    assert found == ["nginx_server_names is missing for hosts web1, web2, web11: set it in group_vars/nginx."]


def test_all_problems_at_once_each_once() -> None:
    weak = role("db1", "postgres", {"postgres_password": {"no_log": True}}, postgres_password="admin", postgres_project="music")
    found = inventory.problems({"postgres": ["db1"], "nginx": []}, ["postgres", "nginx"], ["postgres"], {"db1": None}, {}, [weak, weak])
    assert len(found) == 3
    broken = inventory.Role("db1", "postgres", {}, {}, failed={"postgres_password": "no vault secret found."})
    assert inventory.value_problems(broken) == ["postgres_password of host db1 cannot be evaluated: no vault secret found."]
