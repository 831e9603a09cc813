# Proves candidate settings and pg_hba.conf by starting a server with them, on an empty cluster in memory (about 1.2 seconds).
# `postgres -C` is no proof: it accepts a broken pg_hba.conf and shared_buffers = 500GB.
# Arguments: memory limit of the container in bytes, config file.
set -eu
limit=$1
config=$2
log=/tmp/server.log

# shellcheck disable=SC2086 # several options in one variable, as with the official image
initdb --pgdata="$PGDATA" --username=postgres --auth=trust --no-sync --no-instructions ${POSTGRES_INITDB_ARGS:-} > /tmp/initdb.log 2>&1 || {
    cat /tmp/initdb.log
    exit 1
}
if ! pg_ctl --pgdata="$PGDATA" --wait --timeout=45 --silent --log="$log" --options="-c config_file=$config -c archive_mode=off" start > /dev/null 2>&1; then
    grep -vE 'LOG:  (starting PostgreSQL|listening on|database system)' "$log"
    # The server names the line of a wrong name, and not that of a wrong value or of memory that it does not get.
    names=$(sed -nE 's/.*(value for|setting|parameter) "([a-z_.]+)".*/\2/p' "$log" | sort -u)
    grep -q 'shared memory' "$log" && names="shared_buffers max_connections huge_pages"
    for name in $names; do
        grep -nH "^$name " "$(dirname "$config")/postgresql.conf" || true
    done
    exit 1
fi
# The server reserves memory without touching it: a limit that is too low would kill it later, under load.
wrong=$(psql -XAtq -v ON_ERROR_STOP=1 -v limit="$limit" -h /var/run/postgresql -U postgres -d postgres 2>&1 << 'SQL'
select format('shared_buffers = %s (%s line %s) does not fit: the server would share %s, and the container has %s.',
              current_setting('shared_buffers'), sourcefile, sourceline, current_setting('shared_memory_size'), pg_size_pretty(:limit::bigint))
from pg_settings where name = 'shared_buffers' and pg_size_bytes(current_setting('shared_memory_size')) >= :limit;
select format('%s line %s: %s', file_name, line_number, error) from pg_hba_file_rules where error is not null;
SQL
) || wrong=${wrong:-The server started, but the superuser cannot log in through the local socket.}
[ -z "$wrong" ] || {
    echo "$wrong"
    exit 1
}
