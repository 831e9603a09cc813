# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL settings from the memory that the server may use, and the operator's own on top."""

from __future__ import annotations

DOCUMENTATION = r"""
name: postgres_settings
author: berth.django contributors
version_added: 0.1.0
short_description: PostgreSQL settings for an amount of memory, of processors, and a kind of disk
description:
  - Gives the lines of a settings file as a dict of names and literals, derived from the memory that the server may use, with the
    operator's own settings on top, verbatim.
  - C(shared_buffers) is a quarter of the memory, "a reasonable starting value" in
    U(https://www.postgresql.org/docs/17/runtime-config-resource.html).
  - C(effective_cache_size) is three quarters of it, C(maintenance_work_mem) a sixteenth, at most 2 GB, and C(work_mem) a third of
    what remains beside C(shared_buffers) for each of C(max_connections) connections, at least 4 MB (PostgreSQL's own default). These are
    the formulas of PGTune for a web application (U(https://github.com/le0pard/pgtune)); see also
    U(https://wiki.postgresql.org/wiki/Tuning_Your_PostgreSQL_Server).
  - So are those for the log and the disk. From 2 GB of memory on, C(min_wal_size) is 1 GB and C(max_wal_size) 4 GB, so that checkpoints
    are rare while much is written; a smaller server keeps PostgreSQL's own, 80 MB and 1 GB. C(random_page_cost) is 1.1 and
    C(effective_io_concurrency) 200 for an SSD; a hard disk keeps PostgreSQL's own.
  - With 4 processors or more, C(max_worker_processes) and C(max_parallel_workers) are as many, and half of them, at most 4, are
    C(max_parallel_workers_per_gather) and C(max_parallel_maintenance_workers). PostgreSQL never starts with fewer than its own 8 workers.
positional: _input, settings, shared
options:
  _input:
    description: Memory, as a number of bytes or with a unit (V(1g), V(512m)).
    type: raw
    required: true
  settings:
    description:
      - Settings by name, which win over the derived ones. Booleans, numbers and strings are written as PostgreSQL expects them.
      - A setting of V(null) leaves PostgreSQL's own default.
      - What the role decides itself (where files are, the port in the container) is refused.
    type: dict
    default: {}
  cpus:
    description: Processors that the server may use. Empty leaves what follows from them to PostgreSQL.
    type: str
    default: ""
    version_added: 0.2.0
  storage:
    description: What its data is on.
    type: str
    choices: [ssd, hdd]
    default: ssd
    version_added: 0.2.0
  shared:
    description:
      - Only those that the members of a cluster share, and as values and not as literals. Patroni has them from its dynamic configuration.
    type: bool
    default: false
    version_added: 0.2.0
"""

EXAMPLES = r"""
- name: Show what the server of 4 GB gets
  ansible.builtin.debug:
    msg: "{{ '4g' | berth.django.postgres_settings({'max_connections': 300, 'log_min_duration_statement': '250ms'}) }}"
"""

RETURN = r"""
_value:
  description: Literals of a settings file by name, in the order in which they are written.
  type: dict
  sample: {"max_connections": "100", "shared_buffers": "'256MB'", "effective_cache_size": "'768MB'"}
"""

import re
import typing as t

from ansible.errors import AnsibleFilterError

_UNITS = {"": 1, "b": 1, "k": 2**10, "m": 2**20, "g": 2**30}
_MB = 2**20
# What has to be the same on all members of a cluster, or more on a replica than on its primary: Patroni's to give to each
# (U(https://patroni.readthedocs.io/en/latest/patroni_configuration.html)).
SHARED = frozenset(
    ("max_connections", "max_locks_per_transaction", "max_worker_processes", "max_prepared_transactions", "wal_level",
     "track_commit_timestamp", "max_wal_senders", "max_replication_slots", "wal_keep_size")
)  # fmt: skip
# What the role needs to be as it is: the container's paths, the port it publishes, and its proof of a reload.
RESERVED = frozenset(
    ("config_file", "data_directory", "external_pid_file", "hba_file", "ident_file", "include", "include_dir", "include_if_exists",
     "listen_addresses", "password_encryption", "port", "unix_socket_directories", "berth.generation")
)  # fmt: skip


def memory_in_bytes(memory: str | int) -> int:
    """``1g`` -> 1073741824, by the units of Docker."""
    match = re.fullmatch(r"(\d+)([bkmg]?)b?", str(memory).strip().lower())
    if not match:
        raise ValueError(f"memory is {memory!r}: give a number of bytes with a unit, for example 512m or 4g.")
    return int(match[1]) * _UNITS[match[2]]


def derived(memory: int, connections: int, cpus: int = 0, storage: str = "ssd") -> dict[str, int | str | float]:
    """What follows from memory, processors and disk; see DOCUMENTATION for where the formulas are from."""
    shared = memory // 4
    return {
        "max_connections": connections,
        "shared_buffers": f"{shared // _MB}MB",
        "effective_cache_size": f"{memory * 3 // 4 // _MB}MB",
        "maintenance_work_mem": f"{min(memory // 16, 2048 * _MB) // _MB}MB",
        "work_mem": f"{max((memory - shared) // (connections * 3) // _MB, 4)}MB",
        **({"min_wal_size": "1GB", "max_wal_size": "4GB"} if memory >= 2048 * _MB else {}),
        **({"random_page_cost": 1.1, "effective_io_concurrency": 200} if storage == "ssd" else {}),
        **(workers(cpus) if cpus >= 4 else {}),
    }


def workers(cpus: int) -> dict[str, int]:
    half = min(-(-cpus // 2), 4)
    return {
        "max_worker_processes": max(cpus, 8),
        "max_parallel_workers": cpus,
        "max_parallel_workers_per_gather": half,
        "max_parallel_maintenance_workers": half,
    }


def literal(value: t.Any) -> str:
    """A value as postgresql.conf takes it: one line, quotes and backslashes kept as they are."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, (int, float)):
        return str(value)
    text = str(value).replace("\\", "\\\\").replace("'", "''").replace("\n", "\\n")
    return f"'{text}'"


def settings(
    memory: str | int, own: dict[str, t.Any] | None = None, shared: bool = False, cpus: str = "", storage: str = "ssd"
) -> dict[str, t.Any]:
    own = {str(name).lower(): value for name, value in (own or {}).items()}
    for name, value in own.items():
        if name in RESERVED:
            raise ValueError(f"postgres_settings has {name}, which the role sets itself: leave it out.")
        if not re.fullmatch(r"[a-z_][a-z0-9_$]*(\.[a-z_][a-z0-9_$]*)*", name):
            raise ValueError(f"postgres_settings has {name!r}, which is not the name of a setting.")
        if isinstance(value, (dict, list)):
            raise ValueError(f"postgres_settings.{name} is a {type(value).__name__}: give a string, a number or true/false.")
    size = memory_in_bytes(memory)
    if size < 128 * _MB:
        raise ValueError(f"postgres_memory is {memory}: PostgreSQL needs at least 128m.")
    connections = own.get("max_connections")
    if not re.fullmatch(r"[1-9]\d*", str(connections or 100)):
        raise ValueError(f"postgres_settings.max_connections is {connections!r}: give a whole number.")
    if cpus and not re.fullmatch(r"\d+(\.\d+)?", str(cpus)):
        raise ValueError(f"postgres_cpus is {cpus!r}: give a number of processors, for example '4'.")
    wanted = {**derived(size, int(connections or 100), int(float(cpus or 0)), storage), **own}
    if shared:
        return {name: value for name, value in wanted.items() if name in SHARED}
    return {name: literal(value) for name, value in wanted.items() if value is not None}


def _filter(
    memory: str | int, own: dict[str, t.Any] | None = None, shared: bool = False, cpus: str = "", storage: str = "ssd"
) -> dict[str, t.Any]:
    try:
        return settings(memory, own, shared, cpus, storage)
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from None


class FilterModule:
    """Filters of this file, by name."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"postgres_settings": _filter}
