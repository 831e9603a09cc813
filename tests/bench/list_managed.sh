#!/bin/sh
# What site.yml keeps on this host, a line each: kind, a tab, and its name. A command asks what a module of ours asks; "once" is one for
# all hosts.
set -eu
each() { while read -r name; do [ -z "$name" ] || printf '%s\t%s\n' "$1" "$name"; done; }
of_containers() { docker ps --quiet | xargs --no-run-if-empty docker inspect --format "$1" | sort -u; }

for path in /etc/docker/daemon.json /etc/sysctl.d/60-berth.conf /etc/docker/certs.d/*/ca.crt; do [ ! -f "$path" ] || echo "$path"; done | each file
{ find -L /srv/berth/*/*/config/current -type f 2>/dev/null || true; } | each file
of_containers '{{range .Mounts}}{{println .Source}}{{end}}' | grep '/config/' | xargs --no-run-if-empty -I{} find {} -type f | each file
{ find /etc/berth -name config.json -type f 2>/dev/null || true; } | each secret
of_containers '{{range .Mounts}}{{println .Source}}{{end}}' | grep /secrets/ | xargs --no-run-if-empty -I{} find {} -type f | each secret
of_containers '{{range .Mounts}}{{println .Source}}{{end}}' | each directory
of_containers '{{range $name, $_ := .NetworkSettings.Networks}}{{println $name}}{{end}}' | grep -v '^host$' | each network
of_containers '{{.Config.Image}}' | each image
docker ps --format '{{.Names}}' | each container
echo 'dpkg --status docker.io' | each command
echo 'docker info' | each command

docker ps --filter label=berth.service=postgres --format '{{.Names}}' | while read -r name; do
    for table in pg_roles pg_database pg_extension; do echo "docker exec $name psql --username postgres --command 'TABLE $table'"; done
done | each command
docker ps --filter label=berth.service=django_uwsgi --format '{{.Names}}' | while read -r name; do
    manage="docker exec $name $(docker inspect --format '{{join .Config.Entrypoint " "}}' "$name") python3 manage.py"
    echo "$manage collectstatic --no-input --dry-run" | each command
    echo "$manage migrate --check" | each once
    echo "$manage shell --command 'from django.contrib.auth import get_user_model as model; model().objects.get(is_superuser=True)'" | each once
done
