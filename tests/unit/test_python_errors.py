# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operator reads when Python fails."""

from __future__ import annotations

import pytest
from ansible_collections.berth.django.plugins.module_utils import _python_errors

ERRORS = [
    (
        "a setting is missing: the message, and the project's line",
        """\
Traceback (most recent call last):
  File "/app/manage.py", line 16, in <module>
    execute_from_command_line(sys.argv)
  File "/venv/lib/python3.13/site-packages/django/core/management/__init__.py", line 442, in execute_from_command_line
    utility.execute()
  File "/usr/lib/python3.13/importlib/__init__.py", line 88, in import_module
    return _bootstrap._gcd_import(name[level:], package, level)
  File "<frozen importlib._bootstrap>", line 1387, in _gcd_import
  File "/app/site_settings/settings.py", line 14, in <module>
    SECRET_KEY = env.text("SECRET_KEY")
                 ^^^^^^^^^^^^^^^^^^^^^^
  File "/app/site_settings/environment.py", line 25, in text
    raise ImproperlyConfigured(f"The environment has no {name}.")
django.core.exceptions.ImproperlyConfigured: The environment has no SECRET_KEY.
""",
        "django.core.exceptions.ImproperlyConfigured: The environment has no SECRET_KEY.\n"
        '(raised in /app/site_settings/environment.py, line 25: raise ImproperlyConfigured(f"The environment has no {name}."))',
    ),
    (
        "an exception with a cause: the last one counts, all of its lines",
        """\
Traceback (most recent call last):
  File "/venv/lib/python3.13/site-packages/django/db/backends/base/base.py", line 279, in ensure_connection
    self.connect()
psycopg.OperationalError: connection failed: connection to server at "10.0.0.2", port 5432 failed: Connection refused
	Is the server running on that host and accepting TCP/IP connections?

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "/app/manage.py", line 16, in <module>
    execute_from_command_line(sys.argv)
  File "/venv/lib/python3.13/site-packages/django/db/utils.py", line 91, in __exit__
    raise dj_exc_value.with_traceback(traceback) from exc_value
django.db.utils.OperationalError: connection failed: connection to server at "10.0.0.2", port 5432 failed: Connection refused
	Is the server running on that host and accepting TCP/IP connections?
""",
        'django.db.utils.OperationalError: connection failed: connection to server at "10.0.0.2", port 5432 failed: Connection refused\n'
        "\tIs the server running on that host and accepting TCP/IP connections?",
    ),
    (
        "CommandError, with warnings before it",
        "/app/songs/apps.py:3: UserWarning: old\n  warnings.warn('old')\nCommandError: No installed app with label 'song'.\n",
        "CommandError: No installed app with label 'song'.",
    ),
    (
        "system checks: the whole list, in colour",
        "\x1b[31;1mSystemCheckError: System check identified some issues:\x1b[0m\n\nERRORS:\nsongs.Song.x: (fields.E304) Clashes.\n"
        "\tHINT: Add related_name.\n\nSystem check identified 1 issue (0 silenced).\n",
        "SystemCheckError: System check identified some issues:\nERRORS:\nsongs.Song.x: (fields.E304) Clashes.\n"
        "\tHINT: Add related_name.\nSystem check identified 1 issue (0 silenced).",
    ),
    (
        "a wrong argument: the error, not the usage",
        "usage: manage.py migrate [-h] [--noinput] [--database DATABASE]\n                         [app_label] [migration_name]\n"
        "manage.py migrate: error: unrecognized arguments: --wrong\n",
        "manage.py migrate: error: unrecognized arguments: --wrong",
    ),
    (
        "an unknown command",
        "Unknown command: 'migrat'. Did you mean migrate?\nType 'manage.py help' for usage.\n",
        "Unknown command: 'migrat'. Did you mean migrate?\nType 'manage.py help' for usage.",
    ),
    (
        "a syntax error in the project",
        """\
Traceback (most recent call last):
  File "/app/manage.py", line 16, in <module>
    execute_from_command_line(sys.argv)
  File "/app/songs/models.py", line 3
    class Song(
              ^
SyntaxError: '(' was never closed
""",
        "SyntaxError: '(' was never closed\n(raised in /app/songs/models.py, line 3: class Song()",
    ),
    (
        "two exceptions: the first says what is missing",
        """\
Traceback (most recent call last):
  File "/venv/lib/python3.13/site-packages/django/db/backends/postgresql/base.py", line 27, in <module>
    import psycopg2 as Database
ImportError: libpq.so.5: cannot open shared object file: No such file or directory

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/venv/lib/python3.13/site-packages/django/db/backends/postgresql/base.py", line 29, in <module>
    raise ImproperlyConfigured("Error loading psycopg2 or psycopg module")
django.core.exceptions.ImproperlyConfigured: Error loading psycopg2 or psycopg module
""",
        "django.core.exceptions.ImproperlyConfigured: Error loading psycopg2 or psycopg module\n"
        "(after ImportError: libpq.so.5: cannot open shared object file: No such file or directory)",
    ),
    (
        "nothing known: the end",
        "\n".join(f"line {number}" for number in range(100)),
        "\n".join(f"line {number}" for number in range(75, 100)),
    ),
    ("nothing at all", "", ""),
]


@pytest.mark.parametrize(("text", "expected"), [case[1:] for case in ERRORS], ids=[case[0] for case in ERRORS])
def test_explain(text: str, expected: str) -> None:
    assert _python_errors.explain(text) == expected


STACK = """\
Traceback (most recent call last):
  File "/venv/lib/python3.13/site-packages/django/core/handlers/exception.py", line 55, in inner
    response = get_response(request)
  File "/app/shop/cache.py", line 6, in answer
    raise RuntimeError("the cache is gone")
RuntimeError: the cache is gone"""
SHORT = 'RuntimeError: the cache is gone\n(raised in /app/shop/cache.py, line 6: raise RuntimeError("the cache is gone"))'
IN_A_LIBRARY = """\
Traceback (most recent call last):
  File "/venv/lib/python3.13/site-packages/celery/app.py", line 9, in start
    self.connect()
ConnectionError: no broker"""
SHORT_OF_A_LIBRARY = "ConnectionError: no broker\n(raised in /venv/lib/python3.13/site-packages/celery/app.py, line 9: self.connect())"
CONDENSED = {
    "no stack": ("ready\nGET / 200", "ready\nGET / 200"),
    "a stack": (f"before\n{STACK}\nafter", f"before\n{SHORT}\nafter"),
    "for every request": (f"{STACK}\nGET / 500\n{STACK}\nGET / 500", f"{SHORT}\nGET / 500\n(the same error again)\nGET / 500"),
    "nothing of the project in it: where it was raised": (IN_A_LIBRARY, SHORT_OF_A_LIBRARY),
    "cut off before its end": ("\n".join(STACK.splitlines()[:5]), SHORT.splitlines()[1]),
    "nothing but its first line": ("Traceback (most recent call last):", ""),
}


@pytest.mark.parametrize("name", CONDENSED)
def test_a_log_without_its_stacks(name: str) -> None:
    log, expected = CONDENSED[name]
    assert "\n".join(_python_errors.condensed(log.splitlines(), set())) == expected


def test_what_was_told_above_is_not_told_again() -> None:
    told: set[str] = set()
    _python_errors.condensed(STACK.splitlines(), told)
    assert _python_errors.condensed(STACK.splitlines(), told) == ["(the same error again)"]


def test_of_several_stacks_the_last_is_whole() -> None:
    chain = f"{IN_A_LIBRARY}\n\nDuring handling of the above exception, another exception occurred:\n\n{STACK}"
    told = _python_errors.one_stack(chain)
    assert told.startswith(SHORT_OF_A_LIBRARY) and told.endswith(STACK) and told.count("Traceback") == 1
    assert _python_errors.one_stack(STACK) == STACK and _python_errors.one_stack("none\n") == "none\n"
