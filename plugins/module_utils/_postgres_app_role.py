# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: it may change in any release without notice.
# Please do not import it from elsewhere.

"""What the role that a project runs as may do in its database: read and write rows, and nothing that only a migration needs. Pure.

The tables belong to another role, which migrates. What that one makes later is covered by its default privileges
(https://www.postgresql.org/docs/17/sql-alterdefaultprivileges.html).
"""

from __future__ import annotations

import typing as t

# By the letter of pg_class.relkind and pg_default_acl.defaclobjtype, where they agree.
ON_TABLES = ("SELECT", "INSERT", "UPDATE", "DELETE")
# loaddata ends with setval.
ON_SEQUENCES = ("USAGE", "SELECT", "UPDATE")
ON_SCHEMAS = ("USAGE",)

# Tables, views and the like; pg_class.relkind.
_TABLES = "'r', 'p', 'v', 'm', 'f'"


def question(app: str, owner: str) -> str:
    """An SQL expression: what the role lacks, as a JSON list of phrases. Both are literals; empty where one of them does not exist."""
    lacking = " OR ".join(f"NOT has_table_privilege(app.oid, c.oid, '{privilege}')" for privilege in ON_TABLES)
    unusable = " OR ".join(f"NOT has_sequence_privilege(app.oid, c.oid, '{privilege}')" for privilege in ON_SEQUENCES)
    return f"""(
        SELECT coalesce(jsonb_agg(DISTINCT lack ORDER BY lack), '[]')
        FROM pg_roles app, pg_roles owner, LATERAL (
            SELECT 'connect' AS lack WHERE NOT has_database_privilege(app.oid, current_database(), 'CONNECT')
            UNION ALL SELECT 'tables' FROM pg_class c WHERE c.relowner = owner.oid AND c.relkind IN ({_TABLES}) AND ({lacking})
            UNION ALL SELECT 'sequences' FROM pg_class c WHERE c.relowner = owner.oid AND c.relkind = 'S' AND ({unusable})
            UNION ALL SELECT 'schemas' FROM pg_class c WHERE c.relowner = owner.oid AND c.relkind IN ({_TABLES}, 'S')
                AND NOT has_schema_privilege(app.oid, c.relnamespace, 'USAGE')
            UNION ALL SELECT 'what migrations make later' WHERE {len((*ON_TABLES, *ON_SEQUENCES, *ON_SCHEMAS))} > (
                SELECT count(*) FROM pg_default_acl d, aclexplode(d.defaclacl) a
                WHERE d.defaclrole = owner.oid AND d.defaclnamespace = 0 AND a.grantee = app.oid AND (
                    d.defaclobjtype = 'r' AND a.privilege_type IN ({_listed(ON_TABLES)})
                    OR d.defaclobjtype = 'S' AND a.privilege_type IN ({_listed(ON_SEQUENCES)})
                    OR d.defaclobjtype = 'n' AND a.privilege_type IN ({_listed(ON_SCHEMAS)})))
        ) AS lacks
        WHERE app.rolname = {app} AND owner.rolname = {owner})"""  # noqa: S608 (quoted by the caller)


def grants(app: str, owner: str, owner_literal: str, database: str) -> list[str]:
    """Lines for psql that give the role all of it, in that database. Names are quoted as identifiers, `owner_literal` as a text."""
    tables, sequences, schemas = map(", ".join, (ON_TABLES, ON_SEQUENCES, ON_SCHEMAS))
    of_owner = f"FROM pg_class c JOIN pg_roles o ON o.oid = c.relowner WHERE o.rolname = {owner_literal} AND c.relkind"
    schema = "c.relnamespace::regnamespace"
    target = app.replace("'", "''").replace("%", "%%")
    return [
        f"GRANT CONNECT ON DATABASE {database} TO {app};",
        f"ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT {tables} ON TABLES TO {app};",
        f"ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT {sequences} ON SEQUENCES TO {app};",
        f"ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT {schemas} ON SCHEMAS TO {app};",
        f"SELECT DISTINCT format('GRANT {schemas} ON SCHEMA %s TO {target}', {schema}) {of_owner} IN ({_TABLES}, 'S') \\gexec",
        f"SELECT format('GRANT {tables} ON %s TO {target}', c.oid::regclass) {of_owner} IN ({_TABLES}) \\gexec",
        f"SELECT format('GRANT {sequences} ON SEQUENCE %s TO {target}', c.oid::regclass) {of_owner} = 'S' \\gexec",
    ]  # fmt: skip


def _listed(words: t.Iterable[str]) -> str:
    return ", ".join(f"'{word}'" for word in words)
