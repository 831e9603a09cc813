# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""What is wrong with an inventory, as sentences: pure functions of values that the controller has already evaluated.

Every sentence names the variable, the host and the way out, and no sentence shows a secret's value.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
import typing as t
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from ansible_collections.berth.django.plugins.module_utils._inventory_backup import backup_problems
from ansible_collections.berth.django.plugins.module_utils._inventory_cluster import cluster_problems
from ansible_collections.berth.django.plugins.module_utils._inventory_connections import connection_problems
from ansible_collections.berth.django.plugins.module_utils._inventory_pool import pool_problems
from ansible_collections.berth.django.plugins.module_utils._inventory_secrets import NEW_SECRET, is_secret, secrets_in, weakness

PROJECT = re.compile(r"[a-z][a-z0-9-]{1,29}")

# What a role is told of another service -> what that one is told itself.
AGREE = {
    "nginx_static_url": "django_uwsgi_static_url",
    "nginx_upstream_port": "django_uwsgi_port",
    "haproxy_server_port": "nginx_port",
    "postgres_backup_port": "pgbackrest_port",
}


# Groups whose part somebody else may have: a database server that is there already, the load balancer of a cloud.
MAY_BE_ELSEWHERE = ("postgres", "haproxy")
# A fleet whose databases are single servers, or without backups or pools, has none.
OPTIONAL = ("etcd", "pgbackrest", "pgbouncer")

# role -> the group of its hosts, where that has another name
GROUP_OF = {"image": "builder"}
# The variables of a role that name hosts of its own project, and the groups that they name by default.
PEERS = {
    "postgres": {"postgres_client_group": "django_uwsgi", "postgres_peer_group": "postgres"},
    "django_uwsgi": {"django_uwsgi_peer_group": "django_uwsgi", "django_uwsgi_client_group": "nginx"},
    "nginx": {"nginx_upstream_group": "django_uwsgi", "nginx_peer_group": "nginx"},
}
# The ports that roles publish on a host, as their defaults say.
PORTS = {
    "etcd": {"etcd_client_port": 2379, "etcd_peer_port": 2380},
    "pgbackrest": {"pgbackrest_port": 8432},
    "postgres": {"postgres_port": 5432},
    "django_uwsgi": {"django_uwsgi_port": 8001},
    "nginx": {"nginx_port": 8000},
    "haproxy": {"haproxy_port": 80, "haproxy_stats_port": 9080},
}


@dataclass(frozen=True)
class Role:
    """What the inventory gives to one role on one host."""

    host: str
    name: str
    options: dict[str, dict[str, t.Any]]  # of the role's argument spec
    values: dict[str, t.Any]  # from the inventory, and defaults where a rule needs them
    given: frozenset[str] = frozenset()  # names of all variables that the inventory sets for this host
    defaulted: frozenset[str] = frozenset()  # names that defaults/main.yml sets
    failed: dict[str, str] = field(default_factory=dict)  # names whose value cannot be evaluated -> why
    accepted: frozenset[str] = frozenset()  # dotted names of secrets that may be weak: berth_accepted_weak_secrets


def problems(
    groups: dict[str, list[str]],
    wanted: t.Iterable[str],
    single: t.Iterable[str],
    addresses: dict[str, t.Any],
    machines: dict[str, str],
    roles: t.Iterable[Role],
    elsewhere: t.Mapping[str, str] | None = None,
) -> list[str]:
    """All of them at once, each once, in the order in which an operator would mend them."""
    roles = list(roles)
    found = group_problems(groups, wanted, elsewhere or {}) + single_problems(roles, single) + address_problems(addresses, machines)
    of_roles = []
    for role in roles:
        told = value_problems(role) + missing_problems(role) + unknown_problems(role) + secret_problems(role) + url_problems(role)
        told += static_problems(role)
        of_roles += [(role.host, sentence) for sentence in told]
    found += merged(of_roles) + registry_problems(roles) + project_problems(roles) + socket_problems(roles, groups) + media_problems(roles)
    found += release_problems(roles) + agreement_problems(roles) + port_problems(roles, machines) + peer_problems(roles, groups)
    found += backend_problems(roles, groups) + merged(cluster_problems(roles, groups, addresses)) + backup_problems(roles, groups, machines)
    found += merged(connection_problems(roles)) + merged(pool_problems(roles))
    return list(dict.fromkeys(found))


def merged(told: t.Iterable[tuple[str, str]]) -> list[str]:
    """What several hosts share, most often by one group variable, is told once and names them all."""
    hosts: dict[str, list[str]] = {}
    for host, sentence in told:
        known = hosts.setdefault(sentence.replace(f"host {host}", "host \0", 1), [])
        if host not in known:
            known.append(host)
    return [
        sentence.replace("host \0", f"host {names[0]}" if len(names) == 1 else f"hosts {', '.join(names)}")
        for sentence, names in hosts.items()
    ]


def group_problems(groups: dict[str, list[str]], wanted: t.Iterable[str], elsewhere: t.Mapping[str, str]) -> list[str]:
    """Every wanted group has a host, unless its part is elsewhere: name -> a host that berth_elsewhere says so for."""
    known = " and ".join(MAY_BE_ELSEWHERE)
    found = [
        f"berth_elsewhere of host {host} names {name!r}, and only {known} can be elsewhere: take it out."
        for name, host in elsewhere.items()
        if name not in MAY_BE_ELSEWHERE
    ]
    for group in wanted:
        hosts = groups.get(group, [])
        away = group in elsewhere and group in MAY_BE_ELSEWHERE
        if away and hosts:
            found.append(
                f"berth_elsewhere of host {elsewhere[group]} names {group!r}, and that group has hosts ({', '.join(hosts)}): "
                "take it out of one of the two."
            )
        elif away or group in OPTIONAL:
            continue
        elif group not in groups:
            hint = f", or berth_elsewhere: [{group}] where the fleet has it elsewhere" if group in MAY_BE_ELSEWHERE else ""
            found.append(f"The inventory has no group {group!r}: add it, with at least one host in it{hint}.")
        elif not hosts:
            found.append(f"The group {group!r} is empty: put at least one host into it.")
    return found


def single_problems(roles: t.Sequence[Role], single: t.Iterable[str]) -> list[str]:
    """Some roles serve a project from one host."""
    found = []
    for name in single:
        hosts: dict[t.Any, list[str]] = {}
        for role in roles:
            if role.name == name:
                known = hosts.setdefault(project_of(role), [])
                known += [role.host] if role.host not in known else []
        for project, names in hosts.items():
            if len(names) > 1:
                group = GROUP_OF.get(name, name)
                found.append(
                    f"The group {group!r} has {len(names)} hosts of {project} ({', '.join(names)}), and can have one: keep one there."
                )
    return found


def address_problems(addresses: dict[str, t.Any], machines: dict[str, str]) -> list[str]:
    """berth_address is an IP address that the other hosts of the fleet can use, and no other machine's.

    One machine may be several hosts of the inventory, one for each project that it has a part in: `machines` is how each is reached.
    """

    def machine(host: str) -> str:
        return machines.get(host, host)

    found = []
    owners: dict[str, str] = {}
    for host, given in addresses.items():
        if given in (None, ""):
            found.append(f"berth_address is missing for host {host}: set it to the IP address under which the other hosts reach it.")
            continue
        try:
            address = ipaddress.ip_address(str(given))
        except ValueError:
            found.append(f"berth_address of host {host} is {given!r}, not an IP address: set the one that other hosts reach it by.")
            continue
        if address.version == 6:
            found.append(f"berth_address of host {host} is {address}, but containers speak IPv4 only: set an IPv4 address.")
        elif address.is_unspecified or address.is_multicast or (address.is_loopback and len(addresses) > 1):
            found.append(f"berth_address of host {host} is {address}, which other hosts cannot reach: set an address of its own.")
        elif str(address) in owners and machine(owners[str(address)]) != machine(host):
            found.append(f"berth_address {address} stands for two hosts, {owners[str(address)]} and {host}: give each host its own.")
        owners.setdefault(str(address), host)
    return found


def value_problems(role: Role) -> list[str]:
    """Values that cannot be evaluated: an undefined name, a vault that does not open."""
    return [f"{name} of host {role.host} cannot be evaluated: {why}" for name, why in sorted(role.failed.items())]


def missing_problems(role: Role) -> list[str]:
    """What the role requires and neither the inventory nor its defaults set, before the first role touches a host."""
    found = []
    for name, option in role.options.items():
        if not option.get("required") or name in role.failed:
            continue
        secret = is_secret(name, option)
        if name not in role.values and name in role.defaulted:
            continue
        if name not in role.values:
            found.append(f"{name} is missing for host {role.host}: {NEW_SECRET if secret else f'set it in group_vars/{role.name}'}.")
        elif secret and role.values[name] in (None, ""):
            found.append(f"{name} of host {role.host} is empty: {NEW_SECRET}.")
    source, image = f"{role.name}_source", f"{role.name}_image"
    if source in role.options and not role.values.get(source) and source not in role.failed and not own(role, image):
        found.append(f"{source} is missing for host {role.host}: set it in group_vars/{role.name}, or {image} to a ready image.")
    return found


def unknown_problems(role: Role) -> list[str]:
    """Keys that no option knows, inside dicts and as whole variables that look like a misspelt input."""
    found = []
    for name, value in role.values.items():
        option = role.options.get(name, {})
        found += [f"{where} of host {role.host} is not known: {hint}" for where, hint in unknown_keys(name, value, option)]
    for name in sorted(role.given):
        if name.startswith(f"{role.name}_") and name not in role.options:
            near = difflib.get_close_matches(name, role.options, 1, 0.88)
            if near:
                found.append(f"{name} of host {role.host} is not an input of the role {role.name}: did you mean {near[0]}?")
    return found


def unknown_keys(where: str, value: t.Any, option: dict[str, t.Any]) -> t.Iterator[tuple[str, str]]:
    """(dotted name, what to do) of every key of a dict that its options do not list."""
    known = option.get("options")
    if not known:
        return
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from unknown_keys(f"{where}[{index}]", item, option)
    if not isinstance(value, dict):
        return
    names = {alias for name, inner in known.items() for alias in [name, *inner.get("aliases", [])]}
    for key, item in value.items():
        if key not in names:
            near = difflib.get_close_matches(str(key), names, 1, 0.6)
            yield f"{where}.{key}", f"did you mean {near[0]}?" if near else f"it can be one of {', '.join(sorted(names))}."
        else:
            yield from unknown_keys(f"{where}.{key}", item, known.get(key, {}))


def secret_problems(role: Role) -> list[str]:
    """Secrets that a stranger would try first. Options with `no_log` are secrets, wherever they stand in a role's spec."""
    found = []
    for name, option in role.options.items():
        for where, secret in secrets_in(name, role.values.get(name), option):
            if not secret:
                if "." in where:  # a whole input may be left empty; a secret that has a name needs a value
                    found.append(f"{where} of host {role.host} is empty: {NEW_SECRET}.")
                continue
            reason = weakness(where, secret)
            if reason and where not in role.accepted:
                found.append(f"{where} of host {role.host} is weak ({reason}): {NEW_SECRET}.")
    return found


def registry_problems(roles: t.Sequence[Role]) -> list[str]:
    """A registry that is made on the builder has a login; one that is there already may do without."""
    return [
        f"image_registry_password of host {role.host} is empty: {NEW_SECRET}."
        for role in roles
        if role.name == "image"
        and re.sub(r"(:[0-9]+)?(/.*)?$", "", str(role.values.get("image_registry"))) == role.values.get("image_registry_address")
        and not role.values.get("image_registry_password")
        and "image_registry_password" not in role.failed
    ]


def project_problems(roles: t.Sequence[Role]) -> list[str]:
    """A project's name is a slug, and stands for one project: the hosts of a group agree about what it is made of."""
    named: list[tuple[str, str]] = []
    found: list[str] = []
    made_of: dict[tuple[str, str], dict[str, list[str]]] = {}
    for role in roles:
        project = role.values.get(f"{role.name}_project")
        if project is None:
            continue
        if not PROJECT.fullmatch(str(project)):
            named.append(
                (role.host, f"berth_project of host {role.host} is {project!r}: use 2 to 30 of a-z, 0-9 and '-', with a letter first.")
            )
        source = role.values.get(f"{role.name}_source")
        if source:
            source = re.sub(r"(?<=://)[^/@\s]*@", "", str(source))  # without a login that it may hold
            made_of.setdefault((role.name, str(project)), {}).setdefault(source, []).append(role.host)
    for (name, project), sources in made_of.items():
        if len(sources) > 1:
            told = " and ".join(f"{source} ({', '.join(hosts)})" for source, hosts in sources.items())
            found.append(f"Two projects have the name {project!r}: {name}_source is {told}. Give each project a berth_project of its own.")
    return merged(named) + found


def port_problems(roles: t.Sequence[Role], machines: dict[str, str]) -> list[str]:
    """Two hosts of the inventory that are one machine share its ports."""
    found = []
    owners: dict[tuple[str, int], Role] = {}
    for role in roles:
        for name, default in PORTS.get(role.name, {}).items():
            if name == "django_uwsgi_port" and role.values.get("django_uwsgi_listen") != "tcp":
                continue
            port = role.values.get(name, default)
            owner = owners.setdefault((machines.get(role.host, role.host), port), role)
            if owner.host != role.host:
                found.append(
                    f"{name} of host {role.host} is {port}, which {owner.name} of {owner.host} has on the same machine: give it another."
                )
    return found


def socket_problems(roles: t.Sequence[Role], groups: dict[str, list[str]]) -> list[str]:
    """A unix socket is reached on its own host only, and a port when something listens there."""
    apps = set(groups.get("django_uwsgi", []))
    webs = [role for role in roles if role.name == "nginx"]
    found = [
        f"nginx_upstream of host {web.host} is 'unix', but the host is not in the group 'django_uwsgi': put it there, or use 'tcp'."
        for web in webs
        if web.values.get("nginx_upstream") == "unix" and web.host not in apps
    ]
    for role in roles:
        if role.name != "django_uwsgi" or role.values.get("django_uwsgi_listen") != "socket":
            continue
        of_project = [web for web in webs if project_of(web) == project_of(role) and web.values.get("nginx_upstream") == "tcp"]
        others = [web.host for web in of_project if web.host != role.host]
        if others:
            found.append(
                f"django_uwsgi_listen of host {role.host} is 'socket', but nginx on {', '.join(others)} is to reach it from there: "
                "set it to 'tcp' (or nginx_upstream to 'unix')."
            )
    return found


def peer_problems(roles: t.Sequence[Role], groups: dict[str, list[str]]) -> list[str]:
    """Of several projects in one inventory, each names the groups of its own hosts: one of two would never be migrated otherwise."""
    projects: dict[str, t.Any] = {role.host: project_of(role) for role in roles if role.name in PEERS}
    told = []
    for role in roles:
        own_project = project_of(role)
        for name, default in PEERS.get(role.name, {}).items():
            group = role.values.get(name, default)
            others = sorted({str(projects[host]) for host in groups.get(group, []) if projects.get(host, own_project) != own_project})
            if others:
                shared = f"{group!r}, a group with hosts of {', '.join(others)}, too"
                told.append((role.host, f"{name} of host {role.host} is {shared}: name a group that has those of {own_project} alone."))
    return merged(told)


def release_problems(roles: t.Sequence[Role]) -> list[str]:
    """There is always one to go back to."""
    return [
        f"django_uwsgi_keep_releases of host {role.host} is {keep}: keep at least 2, the one that serves and the one to go back to."
        for role in roles
        if isinstance(keep := role.values.get("django_uwsgi_keep_releases"), int) and keep < 2
    ]


def backend_problems(roles: t.Sequence[Role], groups: dict[str, list[str]]) -> list[str]:
    """A backend with a port and a group of its own asks the web servers of that group where they listen."""
    ports = {role.host: role.values.get("nginx_port", PORTS["nginx"]["nginx_port"]) for role in roles if role.name == "nginx"}
    found = []
    for role in roles:
        for item in dicts(role.values.get("haproxy_backends")) if role.name == "haproxy" else []:
            name, group, port = (item.get(key) for key in ("name", "server_group", "port"))
            wrong = [host for host in groups.get(str(group), []) if port and host in ports and str(ports[host]) != str(port)]
            if wrong:
                found.append(
                    f"The backend {name!r} in haproxy_backends of host {role.host} asks port {port}, but nginx_port of {wrong[0]} is "
                    f"{ports[wrong[0]]}: make them the same."
                )
    return found


def agreement_problems(roles: t.Sequence[Role]) -> list[str]:
    """What one service is told of another is what that one was told itself, where the inventory sets both."""
    told = []
    for role in roles:
        for name, other in AGREE.items():
            if name == "nginx_upstream_port" and role.values.get("nginx_upstream") != "tcp":
                continue
            value = own(role, name)
            peers = [(peer.host, own(peer, other)) for peer in roles if project_of(peer) == project_of(role)]
            for host, theirs in [(host, theirs) for host, theirs in peers if not agree(value, theirs)][:1]:
                told.append(
                    (role.host, f"{name} of host {role.host} is {value!r}, but {other} of {host} is {theirs!r}: make them the same.")
                )
        served = served_media(own(role, "nginx_media"))
        apps = [peer for peer in roles if project_of(peer) == project_of(role) and own(role, "nginx_media") is not None]
        lacking = [(app.host, item) for app in apps for item in served_media(own(app, "django_uwsgi_media")) if item not in served]
        for host, (url, path) in lacking[:1]:
            which = f"{url} in {path}, which django_uwsgi_media of {host} has"
            told.append((role.host, f"nginx_media of host {role.host} has no {which}: make them the same."))
    return merged(told)


def served_media(items: t.Any) -> list[tuple[str, str]]:
    """(path of the URL, directory) of what has a URL on this site; one with a host may be another site's to serve."""
    urls = [(str(item["url"]), str(item.get("path"))) for item in dicts(items) if item.get("url")]
    return [(f"/{path_of_url(url)}/", path.rstrip("/")) for url, path in urls if "//" not in url]


def dicts(items: t.Any) -> list[dict[str, t.Any]]:
    """What else is in a list is told by the argument spec."""
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def agree(value: t.Any, other: t.Any) -> bool:
    """Also where there is nothing to agree about: one is not set, there are no uploads, or another site serves the files."""
    return not value or not other or "//" in str(other) or str(value).strip("/") == str(other).strip("/")


def own(role: Role, name: str) -> t.Any:
    """A value that the inventory sets, not a default."""
    return role.values.get(name) if name in role.given else None


def project_of(role: Role) -> t.Any:
    return role.values.get(f"{role.name}_project")


def media_problems(roles: t.Sequence[Role]) -> list[str]:
    """What one web host was given as an upload must be there on the others: on those that run the project, and on those that serve it."""
    found = []
    for project in dict.fromkeys(project_of(role) for role in roles if role.name == "django_uwsgi"):
        members = [role for role in roles if project_of(role) == project]
        local = [item for role in members for item in dicts(role.values.get("django_uwsgi_media")) if not item.get("shared")]
        needing = ("django_uwsgi", "nginx") if any(item.get("url") for item in local) else ("django_uwsgi",)
        hosts = list(dict.fromkeys(role.host for role in members if role.name in needing))
        roots = ", ".join(dict.fromkeys(str(item.get("root")) for item in local))
        if local and len(hosts) > 1:
            found.append(
                f"Uploads of project {project!r} would lie on one of {len(hosts)} hosts alone ({', '.join(hosts)}): mount one file system "
                f"on all of them and say shared: true in django_uwsgi_media, beside the path of {roots} (or set it to []: no uploads)."
            )
    return found


def url_problems(role: Role) -> list[str]:
    """Under the root of the site is the site."""
    urls = [("django_uwsgi_static_url", role.values.get("django_uwsgi_static_url"))]
    media = enumerate(dicts(role.values.get("django_uwsgi_media")))
    urls += [(f"django_uwsgi_media[{index}].url", item.get("url")) for index, item in media]
    return [
        f"{where} of host {role.host} is {url!r}, which is the whole site: give it a path of its own, such as /static/ or /media/."
        for where, url in urls
        if url and not path_of_url(url)
    ]


def path_of_url(url: t.Any) -> str:
    """Without slashes around it."""
    try:
        return urlsplit(str(url)).path.strip("/")
    except ValueError:
        return ""


def static_problems(role: Role) -> list[str]:
    """Commands that would never run."""
    source = role.values.get("django_uwsgi_static_from") or "collectstatic"
    if source == "collectstatic" or not role.values.get("django_uwsgi_after_collectstatic"):
        return []
    return [
        f"django_uwsgi_after_collectstatic of host {role.host} would never run, since django_uwsgi_static_from is {source!r}: take it out, "
        "or have it run when the image is built (django_uwsgi_build_commands)."
    ]
