#!/bin/sh
# The files that site.yml keeps on this host: the engine's settings, live configuration, and secrets that containers mount.
ls /etc/docker/daemon.json 2>/dev/null
find -L /srv/berth/*/*/config/current -type f 2>/dev/null
docker ps --quiet | xargs --no-run-if-empty docker inspect --format '{{range .Mounts}}{{println .Source}}{{end}}' |
    grep /secrets/ | sort -u | while read -r directory; do find "$directory" -type f; done
exit 0
