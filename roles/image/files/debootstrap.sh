#!/bin/sh
# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
#
# Makes the tree of a slim Debian base image, for networks that reach a Debian mirror but no image registry.
#
#   debootstrap.sh SUITE TARGET
#   tar -C TARGET -c . | docker import --change 'CMD ["bash"]' - debian:SUITE-slim
#
# Trimmed the way the official slim images are: no manuals, no translations, no package lists.
# Environment: DEBIAN_MIRROR, DEBIAN_SECURITY_MIRROR, http_proxy.
set -eu

usage='usage: debootstrap.sh SUITE TARGET'
suite=${1:?$usage}
target=${2:?$usage}
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
# A directory of this machine, which packages that are set up inside the tree would not find.
unset TMPDIR

[ "$(id -u)" = 0 ] || { echo "debootstrap needs root." >&2; exit 1; }

if ! command -v debootstrap >/dev/null 2>&1 && [ ! -x /usr/sbin/debootstrap ]; then
    command -v apt-get >/dev/null 2>&1 || { echo "debootstrap is missing, and there is no apt-get to install it with." >&2; exit 1; }
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends debootstrap debian-archive-keyring
fi
PATH=$PATH:/usr/sbin:/sbin

# The tree is made to be packed and thrown away: syncing every package to the disk only costs time.
quick=
command -v eatmydata >/dev/null 2>&1 && quick=eatmydata

mkdir -p "$target"
$quick debootstrap --variant=minbase --include=ca-certificates "$suite" "$target" ${DEBIAN_MIRROR:+"$DEBIAN_MIRROR"}
# The mirror that was used, debootstrap's own by default; what a mirror has of security is beside it.
mirror=$(awk '$1 == "deb" { print $2; exit }' "$target/etc/apt/sources.list")
mirror=${mirror%/}
security=${DEBIAN_SECURITY_MIRROR:-$mirror-security}

inside() { chroot "$target" "$@"; }

cat >"$target/etc/dpkg/dpkg.cfg.d/berth-slim" <<'SLIM'
path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
path-exclude /usr/share/man/*
path-exclude /usr/share/groff/*
path-exclude /usr/share/info/*
path-exclude /usr/share/lintian/*
path-exclude /usr/share/linda/*
path-exclude /usr/share/locale/*
SLIM
cat >"$target/etc/apt/apt.conf.d/berth-slim" <<'SLIM'
APT::AutoRemove::SuggestsImportant "false";
Acquire::Languages "none";
Acquire::GzipIndexes "true";
SLIM
echo force-unsafe-io >"$target/etc/dpkg/dpkg.cfg.d/berth-unsafe-io"
# No service starts while an image is built.
printf '#!/bin/sh\nexit 101\n' >"$target/usr/sbin/policy-rc.d"
chmod 0755 "$target/usr/sbin/policy-rc.d"

rm -f "$target/etc/apt/sources.list"
cat >"$target/etc/apt/sources.list.d/debian.sources" <<SOURCES
Types: deb
URIs: $mirror
Suites: $suite $suite-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: $security
Suites: $suite-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
SOURCES

inside apt-get update -qq
inside apt-get -y -qq dist-upgrade
inside apt-get clean

find "$target/usr/share/doc" -mindepth 1 -not -name copyright -not -type d -delete
find "$target/usr/share/doc" -mindepth 1 -type d -empty -delete
rm -rf "$target"/usr/share/man/* "$target"/usr/share/groff/* "$target"/usr/share/info/* \
    "$target"/usr/share/lintian/* "$target"/usr/share/locale/* "$target"/var/lib/apt/lists/* \
    "$target"/var/cache/apt/* "$target"/var/cache/debconf/*-old "$target"/var/log/apt \
    "$target"/var/log/bootstrap.log "$target"/var/log/dpkg.log "$target"/var/log/alternatives.log \
    "$target"/run/* "$target"/tmp/* "$target"/dev/* "$target/etc/hostname" "$target/etc/resolv.conf"
