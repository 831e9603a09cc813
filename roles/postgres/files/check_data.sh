# Refuses data that this server must not start on. Runs in a throw-away container with the data directory mounted read-only,
# before anything that runs is stopped.  Arguments: major version wanted, data directory on the host (for the message), whether the
# server copies its data from another one ("true"): then what a restore has set aside may lie beside it; and whether it is a member of a cluster.
set -eu
wanted=$1
host=$2
copies=$3
clustered=$4
data=$(dirname "$PGDATA")

refuse() {
    echo "$1"
    exit 1
}

server=$(postgres --version | sed -E 's/^[^0-9]*([0-9]+).*/\1/')
[ "$server" = "$wanted" ] || refuse "The image holds PostgreSQL $server, and this role runs PostgreSQL $wanted: change postgres_image."

for directory in "$data" "$PGDATA"; do
    if [ -e "$directory" ] && ! ls "$directory" > /dev/null 2>&1; then
        refuse "$host belongs to uid $(stat -c %u "$directory"), and the server runs as uid $(id -u): give it to the server's with chown -R, or change postgres_user."
    fi
done
if [ -e "$PGDATA" ]; then
    if [ -s "$PGDATA/PG_VERSION" ]; then
        found=$(cat "$PGDATA/PG_VERSION")
        [ "$found" = "$wanted" ] || refuse "$host/$wanted holds data of PostgreSQL $found: PostgreSQL $wanted cannot read it. Upgrade the data first (pg_upgrade, or dump and restore)."
        [ "$clustered" = true ] || [ ! -e "$PGDATA/standby.signal" ] || refuse "$host/$wanted is a replica of a cluster, and would wait for its primary as a server of its own: leave the host that was the primary in the inventory, or all of them."
        exit 0
    fi
    [ -z "$(ls -A "$PGDATA")" ] || refuse "$host/$wanted is not empty and holds no PostgreSQL cluster: look what it is, and move it away."
fi
for version in "$data"/PG_VERSION "$data"/*/PG_VERSION; do
    [ -s "$version" ] || continue
    case $version in
        "$PGDATA".initdb/*) continue ;;
        "$PGDATA".before-*) [ "$copies" != true ] || continue ;;
    esac
    refuse "$host holds data of PostgreSQL $(cat "$version") and none of PostgreSQL $wanted: a new server would start empty. Upgrade the data first (pg_upgrade, or dump and restore), or move it away."
done
