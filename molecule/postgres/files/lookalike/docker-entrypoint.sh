#!/usr/bin/env bash
# Does what the entry point of the official image does, step by step, for a server that is not started as root.
set -Eeo pipefail

if [ "${1:0:1}" = '-' ]; then
    set -- postgres "$@"
fi
if [ "$1" = 'postgres' ]; then
    mkdir -p "$PGDATA" || :
    chmod 00700 "$PGDATA" || :
    if [ ! -s "$PGDATA/PG_VERSION" ]; then
        [ -z "$POSTGRES_PASSWORD_FILE" ] || POSTGRES_PASSWORD="$(< "$POSTGRES_PASSWORD_FILE")"
        [ -n "$POSTGRES_PASSWORD" ] || { echo "Error: Database is uninitialized and superuser password is not specified." >&2; exit 1; }
        eval 'initdb --username="postgres" --pwfile=<(printf "%s\n" "$POSTGRES_PASSWORD") '"$POSTGRES_INITDB_ARGS"
        printf '\nhost all all all scram-sha-256\n' >> "$PGDATA/pg_hba.conf"
        # A server on the socket alone, for the scripts of /docker-entrypoint-initdb.d.
        PGUSER=postgres pg_ctl -D "$PGDATA" -o "${*:2} -c listen_addresses='' -p 5432" -w start
        PGPASSWORD="$POSTGRES_PASSWORD" psql -v ON_ERROR_STOP=1 --no-psqlrc --username postgres --no-password --dbname postgres -c 'select 1'
        PGUSER=postgres pg_ctl -D "$PGDATA" -m fast -w stop
        echo 'PostgreSQL init process complete; ready for start up.'
    fi
fi
exec "$@"
