# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""Makes one image on the builder: base, build, push. The command lines come from ``_build.py``."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
import typing as t
from pathlib import Path

from ansible_collections.berth.django.plugins.module_utils import _build, _registry
from ansible_collections.berth.django.plugins.module_utils._build import LABEL_VERSION, docker
from ansible_collections.berth.django.plugins.module_utils._docker_argv import DOCKER_CONFIG
from ansible_collections.berth.django.plugins.module_utils._observe import image_present
from ansible_collections.berth.django.plugins.module_utils._shell import EngineError, docker_present, run, wait_for_engine

BUILD_TIMEOUT = 3600
# A registry that has not even answered which image it is about to send is taken for unreachable.
PULL_PATIENCE = 20
# How often a registry that does not answer is asked.
ASKED = 5
LABEL_DIGEST = "berth.image"
_DEBIAN = re.compile(r"^(?:docker\.io/)?(?:library/)?debian:(?P<suite>[a-z]+)(?:-slim)?$")


def missing(images: t.Sequence[str], push: bool, tolerant: bool) -> tuple[list[str], list[str]]:
    """Which images are not where they are wanted, and what could not be found out (only if `tolerant`: in check mode)."""
    if push:
        try:
            return [image for image in images if not _has(image, 1 if tolerant else ASKED)], []
        except _registry.RegistryError as error:
            # In check mode, the host role only says that it would log in.
            if not (tolerant and (error.unreachable or error.no_login)):
                raise
            return list(images), [f"{str(error).rstrip('.')}; whether it has the images is not known"]
    if not docker_present():
        if not tolerant:
            raise EngineError("docker is not installed on the builder: run the host role first.")
        return list(images), []
    wait_for_engine()
    return [image for image in images if not image_present(image)], []


def _has(image: str, tries: int) -> bool:
    """A registry that was just started, or is being restarted, gets some seconds."""
    try:
        return _registry.has(image)
    except _registry.RegistryError as error:
        if not error.unreachable or tries <= 1:
            raise
    time.sleep(1)
    return _has(image, tries - 1)


def make(wanted: t.Mapping[str, t.Any]) -> list[str]:
    """Builds and pushes one image. `wanted` is what the action plugin sent, `folder` in it holds the files that it sent."""
    image, done = str(wanted["reference"]), []
    wait_for_engine()
    if not image_present(image):
        made = _base(str(wanted["base"]), str(wanted["refresh"]), str(wanted["folder"]), str(wanted["debian_mirror"]))
        done += [made] if made else []
        _build_image(wanted)
        done.append(f"built {image}")
    if wanted["push"]:
        outcome = run(docker(_config(), "push", "--quiet", image), timeout=BUILD_TIMEOUT)
        if outcome.rc != 0:
            raise EngineError(f"pushing {image} failed: {outcome.text}")
        done.append(f"pushed {image}")
    return done


def _config() -> str:
    return DOCKER_CONFIG if os.path.isfile(f"{DOCKER_CONFIG}/config.json") else ""


def _build_image(wanted: t.Mapping[str, t.Any]) -> None:
    folder, image = str(wanted["folder"]), str(wanted["reference"])
    secrets = {name: f"{folder}/{name}" for name in ("ca", "pip") if os.path.exists(f"{folder}/{name}")}
    labels = {LABEL_DIGEST: image.rpartition(":")[2], **({LABEL_VERSION: wanted["version"]} if wanted["version"] else {})}
    argv = _build.build_argv(image, wanted["args"], secrets, labels)
    # Engines before 23 build with BuildKit only when asked to.
    environment = {**os.environ, "DOCKER_BUILDKIT": "1"}
    with open(f"{folder}/context.tar.gz", "rb") as context:
        try:
            done = subprocess.run(
                argv, stdin=context, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment, timeout=BUILD_TIMEOUT, check=False
            )
        except subprocess.TimeoutExpired:
            raise EngineError(f"building {image} took longer than {BUILD_TIMEOUT} s and was given up.") from None
    output = done.stdout.decode(errors="replace")
    if done.returncode != 0:
        if "buildx component is missing" in output:
            raise EngineError(
                "this builder's docker command has no BuildKit: install docker-buildx, or let the host role do it (host_builder)."
            )
        raise EngineError(f"building {image} failed:\n{_build.explain(output, wanted['variables'])}")


# --- the base ---------------------------------------------------------------------------------------------------------------------


def _base(base: str, refresh: str, folder: str, mirror: str) -> str:
    """Brings the base image to the builder once for each value of `image_refresh`; says how, when something was done.

    A second name marks a base as fetched for this value: the name alone does not tell how old it is.
    """
    marker = f"berth/base:{_build.digest({}, {'base': base, 'refresh': refresh})}"
    if image_present(marker) or (not refresh and image_present(base)):
        if not image_present(base):
            run(["docker", "tag", marker, base])
        return ""
    why_not = _pull(base)
    done = f"pulled {base}"
    if why_not:
        suite = _DEBIAN.match(base)
        if suite is None:
            raise EngineError(f"the base {base} can neither be pulled nor made here (only Debian's can, by debootstrap): {why_not}")
        _debootstrap(base, suite.group("suite"), f"{folder}/debootstrap.sh", mirror, why_not)
        done = f"made {base} by debootstrap, since it could not be pulled"
    run(["docker", "tag", base, marker])
    return done


def _pull(base: str) -> str:
    """Empty when the image is there afterwards, otherwise why not. Gives up early where nothing answers."""
    process = subprocess.Popen(docker(_config(), "pull", base), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    early = threading.Timer(PULL_PATIENCE, process.kill)
    early.start()
    first = process.stdout.readline() if process.stdout else ""  # "trixie-slim: Pulling from library/debian"
    early.cancel()
    try:
        _rest, errors = process.communicate(timeout=BUILD_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        return f"pulling took longer than {BUILD_TIMEOUT} s"
    if process.returncode == 0:
        return ""
    return errors.strip() or (f"no answer within {PULL_PATIENCE} s" if not first else "the connection was lost")


def _debootstrap(base: str, suite: str, script: str, mirror: str, why_not: str) -> None:
    target = tempfile.mkdtemp(prefix="berth-base-", dir="/var/tmp")
    tree = f"{target}/tree"
    environment = {**os.environ, **({"DEBIAN_MIRROR": mirror} if mirror else {})}
    try:
        made = subprocess.run(
            ["sh", script, suite, tree],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            check=False,
        )
        if made.returncode != 0:
            end = "\n".join(made.stdout.decode(errors="replace").splitlines()[-15:])
            raise EngineError(f"the base {base} could not be pulled ({why_not}), and debootstrap failed:\n{end}")
        os.makedirs(f"{tree}/dev", exist_ok=True)
        with subprocess.Popen(["tar", "-C", tree, "--one-file-system", "-c", "."], stdout=subprocess.PIPE) as tar:
            imported = subprocess.run(
                ["docker", "import", "--change", 'CMD ["bash"]', "-", base], stdin=tar.stdout, capture_output=True, text=True, check=False
            )
        if imported.returncode != 0:
            raise EngineError(f"importing the base {base} failed: {imported.stderr.strip()}")
    finally:
        shutil.rmtree(target, ignore_errors=True)


def forget(folder: str) -> None:
    """The files that the action plugin sent, secrets among them."""
    if Path(folder).is_dir():
        shutil.rmtree(folder, ignore_errors=True)
