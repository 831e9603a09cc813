# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""What Python programs say when they fail, as an operator wants it: what went wrong, and which line of the project. Pure: no I/O."""

from __future__ import annotations

import re
import typing as t

# The last lines of a failed command that are shown.
SHOWN = 25

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_ERROR = re.compile(r"^(?:[\w.]*(?:Error|Exception|ImproperlyConfigured|DoesNotExist|Warning)\b.*|manage\.py\b.*: error: .*)$")
_FRAME = re.compile(r'^  File "(?P<file>[^"]+)", line (?P<line>\d+)(?:, in .*)?$')
_TRACEBACK = "Traceback (most recent call last):"
_CHAINED = (
    "During handling of the above exception, another exception occurred:",
    "The above exception was the direct cause of the following exception:",
)
_NOT_THE_PROJECT = ("/site-packages/", "/dist-packages/", "/lib/python", "<", "manage.py", "/berth-explain")


def explain(text: str) -> str:
    """The lines of a failed command that tell an operator what to correct.

    The last exception's message, the project's own line that led to it, and the exception before it, if there was one; or the error that
    Django printed; or the end of the output.
    """
    lines = [line.rstrip() for line in _COLOUR.sub("", text).splitlines()]
    if _TRACEBACK in lines:
        start = len(lines) - 1 - lines[::-1].index(_TRACEBACK)
        last = _from_traceback(lines[start + 1 :])
        return "\n".join([last, *(f"(after {text})" for text in _exception_before(lines[:start]) if text.partition(": ")[2] not in last)])
    starts = [number for number, line in enumerate(lines) if _ERROR.match(line)]
    telling = lines[starts[0] :] if starts else lines
    return "\n".join([line for line in telling if line][-SHOWN:])


def condensed(lines: t.Iterable[str], told: set[str]) -> list[str]:
    """A log without its stacks: in the place of each the exception and the project's own line.

    A project that logs its errors does so for every visitor and every health check. `told` is what was shown before, which is not
    shown again; it grows.
    """
    kept: list[str] = []
    rest = list(lines)
    while rest:
        if rest[0].strip() != _TRACEBACK:
            kept.append(rest.pop(0))
            continue
        end = next((number for number, line in enumerate(rest[1:], 1) if line and not line.startswith(" ")), len(rest) - 1)
        error = _from_traceback(rest[1 : end + 1], anywhere=True)
        kept += ["(the same error again)"] if error in told else error.splitlines()
        told.add(error)
        rest = rest[end + 1 :]
    return kept


def one_stack(text: str) -> str:
    """With the last of its stacks alone: of those that led to it, what went wrong."""
    lines = text.splitlines()
    starts = [number for number, line in enumerate(lines) if line.strip() == _TRACEBACK]
    return "\n".join([*condensed(lines[: starts[-1]], set()), *lines[starts[-1] :]]) if starts else text


def _exception_before(lines: list[str]) -> list[str]:
    """Of two exceptions, the first may be the one that says what is missing."""
    told = [line for line in lines if line]
    return [told[-2]] if len(told) > 1 and told[-1] in _CHAINED else []


def _from_traceback(lines: list[str], anywhere: bool = False) -> str:
    """Its message, and the project's line; with `anywhere` the last line, where none is the project's."""
    frames = [(match, number) for number, line in enumerate(lines) if (match := _FRAME.match(line))]
    # The message begins at the first line that is not indented, and may have several; a SyntaxError shows its line above it.
    message_at = next((number for number, line in enumerate(lines) if line and not line.startswith(" ")), len(lines))
    message = [line for line in lines[message_at:] if line][:SHOWN]
    own = [(match, number) for match, number in frames if not any(part in match["file"] for part in _NOT_THE_PROJECT)]
    if shown := own or (frames if anywhere else []):
        match, number = shown[-1]
        code = lines[number + 1].strip() if number + 1 < message_at else ""
        message.append(f"(raised in {match['file']}, line {match['line']}: {code})")
    return "\n".join(message)
