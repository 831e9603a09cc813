# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Django's command line as values. Every output below was printed by Django 5.2.19 or 4.2.30."""

from __future__ import annotations

import json

import pytest
from ansible_collections.berth.django.plugins.module_utils import _django
from ansible_collections.berth.django.plugins.module_utils._django import Collected
from ansible_collections.berth.django.plugins.module_utils._django_inside import ANSWER

COLLECTED = [
    (
        "first run, manifest storage",
        "\n154 static files copied to '/srv/static', 154 post-processed.\n",
        Collected(copied=154, deleted=0, unmodified=0, post_processed=154, destination="/srv/static"),
        True,
    ),
    (
        "second run: post-processing is repeated and is no change",
        "\n0 static files copied to '/srv/static', 154 unmodified, 113 post-processed.\n",
        Collected(copied=0, deleted=0, unmodified=154, post_processed=113, destination="/srv/static"),
        False,
    ),
    (
        "a count that ends like another: 130 is not 0",
        "\n130 static files copied to '/srv/static'.\n",
        Collected(copied=130, deleted=0, unmodified=0, post_processed=0, destination="/srv/static"),
        True,
    ),
    (
        "one file, singular",
        "\n1 static file copied to '/srv/static', 154 unmodified, 114 post-processed.\n",
        Collected(copied=1, deleted=0, unmodified=154, post_processed=114, destination="/srv/static"),
        True,
    ),
    (
        "dry run",
        "Pretending to copy '/app/songs/static/one.txt'\n\n1 static file copied to '/srv/static', 154 unmodified.\n",
        Collected(copied=1, deleted=0, unmodified=154, post_processed=0, destination="/srv/static"),
        True,
    ),
    (
        "clear",
        "Deleting 'staticfiles.json'\nDeleting 'one.txt'\n\n155 static files copied to '/srv/static', 155 post-processed.\n",
        Collected(copied=155, deleted=2, unmodified=0, post_processed=155, destination="/srv/static"),
        True,
    ),
    (
        "clear, dry run: Django counts nothing to copy, and would delete all the same",
        "Pretending to delete 'staticfiles.json'\nPretending to delete 'one.txt'\n\n"
        "0 static files copied to '/srv/static', 155 unmodified.\n",
        Collected(copied=0, deleted=2, unmodified=155, post_processed=0, destination="/srv/static"),
        True,
    ),
    (
        "a storage that is not local, Django 4.2",
        "\n0 static files copied, 126 unmodified.\n",
        Collected(copied=0, deleted=0, unmodified=126, post_processed=0, destination=""),
        False,
    ),
    (
        "two files of one name",
        "Found another file with the destination path 'a.css'. It will be ignored since only the first encountered file is collected. "
        "If this is not what you want, make sure every static file has a unique path.\n\n2 static files symlinked to '/srv/it's'.\n",
        Collected(copied=2, deleted=0, unmodified=0, post_processed=0, destination="/srv/it's"),
        True,
    ),
]


@pytest.mark.parametrize(("out", "expected", "changed"), [case[1:] for case in COLLECTED], ids=[case[0] for case in COLLECTED])
def test_parse_collectstatic(out: str, expected: Collected, changed: bool) -> None:
    found = _django.parse_collectstatic(out)
    assert found == expected
    assert expected.changed is changed


@pytest.mark.parametrize("out", ["", "done\n", "there are 12 static files copied to 'x'.\n"])
def test_no_summary_is_not_guessed(out: str) -> None:
    assert _django.parse_collectstatic(out) is None


@pytest.mark.parametrize(
    ("text", "variable"),
    [
        ("Unknown command: 'collectstatic'\nType 'manage.py help' for usage.", "django_uwsgi_static_from"),
        ("OSError: [Errno 30] Read-only file system: '/var/www'", "django_uwsgi_static_root"),
        ("... without having set the STATIC_ROOT setting to a filesystem path.", "django_uwsgi_settings_files"),
        ("ValueError: no such picture", ""),
    ],
)
def test_what_to_change_when_collectstatic_fails(text: str, variable: str) -> None:
    hint = _django.static_hint(text)
    assert variable in hint and bool(hint) is bool(variable)


@pytest.mark.parametrize(
    ("destination", "refused"),
    [("/srv/static", False), ("/srv/static/", False), ("/srv/x/../static", False), ("", False), ("/tmp/static", True)],
)
def test_static_files_that_are_collected_elsewhere(destination: str, refused: bool) -> None:
    problem = _django.destination_problem(Collected(1, 0, 0, 0, destination), "/srv/static")
    assert bool(problem) is refused and (not refused or "set django_uwsgi_static_root to /tmp/static" in problem)


def test_manage() -> None:
    assert _django.manage("migrate", ["--plan"]) == ["python3", "manage.py", "migrate", "--no-color", "--plan"]
    assert _django.manage("check", python="python3.13", folder="/app/src", settings="shop.settings") == [
        "python3.13", "/app/src/manage.py", "check", "--settings=shop.settings", "--no-color",
    ]  # fmt: skip


def test_answer_is_found_among_what_the_project_prints() -> None:
    answer = ANSWER + json.dumps({"plan": []})
    assert _django.read_answer(f"loading the models\n{answer}\nbye\n") == {"plan": []}
    assert _django.read_answer("Traceback ...") is None


def test_migration_diff_shows_the_sql() -> None:
    plan = [
        {"app": "songs", "name": "0002_x", "backwards": False, "sql": "BEGIN;\nALTER TABLE ...;\nCOMMIT;", "unsafe": []},
        {"app": "songs", "name": "0001_initial", "backwards": True, "sql": "", "unsafe": []},
        {"app": "songs", "name": "0003_y", "backwards": False, "sql": "DROP ...;", "unsafe": [{"problem": "drops", "instead": "keep"}]},
    ]
    first, second, third = _django.migration_diff(plan, "default")
    assert third["after"] == "-- not safe while the release before serves: drops: keep\nDROP ...;\n"
    assert first["after"] == "BEGIN;\nALTER TABLE ...;\nCOMMIT;\n"
    assert first["after_header"] == "default: songs.0002_x"
    assert second["after_header"] == "default: unapply songs.0001_initial"
    assert second["after"] == "-- nothing is executed\n"
