# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL: one login role and database a consumer, extensions in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psycopg2
from ansible_collections.mlops.platform.plugins.module_utils.checks.base import Access
from ansible_collections.mlops.platform.plugins.module_utils.checks.sql import connect
from ansible_collections.mlops.platform.plugins.module_utils.configure.base import Step
from psycopg2 import sql

SUPERUSER_DATABASE = "postgres"


@dataclass(frozen=True)
class PostgresqlStep(Step):
    """`databases` is a list of {name, credentials, extensions}.

    Each database belongs to the login role of its Secret `credentials` (keys username and password),
    which may do nothing elsewhere: nobody else may connect to it. `superuser` is the Secret of the
    role that does the work, `monitor` that of one which reads statistics and no data ("" for none).
    """

    superuser: str
    databases: tuple[Mapping[str, Any], ...] = ()
    monitor: str = ""

    def apply(self, access: Access, check_mode: bool) -> list[str]:
        changes: list[str] = []
        with connect(access, self.service, self.superuser, SUPERUSER_DATABASE) as session, session.cursor() as cursor:
            session.autocommit = True
            for item in self.databases:
                changes += self._database(access, cursor, item, check_mode)
            if self.monitor:
                changes += self._monitor(access, cursor, check_mode)
        for item in self.databases:
            if not (check_mode and changes):
                changes += self._extensions(access, item, check_mode)
        return changes

    def _database(self, access: Access, cursor: Any, item: Mapping[str, Any], check_mode: bool) -> list[str]:
        """The role and the database of one consumer."""
        name = item["name"]
        username, changes = self._role(access, cursor, item["credentials"], name, check_mode)
        role, database = sql.Identifier(username), sql.Identifier(name)
        cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
        if cursor.fetchone() is None:
            changes.append(f"database {name} created")
            if not check_mode:
                cursor.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(database, role))
        changes += self._ownership(cursor, name, username, check_mode)
        cursor.execute(
            "SELECT 1 FROM pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba))) AS acl "
            "WHERE datname = %s AND acl.grantee = 0",
            (name,),
        )
        if cursor.fetchone() and not check_mode:
            changes.append(f"database {name} closed to other roles")
            cursor.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))
        return changes

    def _monitor(self, access: Access, cursor: Any, check_mode: bool) -> list[str]:
        """The role that may read what PostgreSQL counts."""
        username, changes = self._role(access, cursor, self.monitor, SUPERUSER_DATABASE, check_mode)
        cursor.execute("SELECT 1 FROM pg_auth_members WHERE roleid = 'pg_monitor'::regrole AND member = "
                       "(SELECT oid FROM pg_roles WHERE rolname = %s)", (username,))  # fmt: skip
        if cursor.fetchone() is None:
            changes.append(f"statistics opened to {username}")
            if not check_mode:
                cursor.execute(sql.SQL("GRANT pg_monitor TO {}").format(sql.Identifier(username)))
        return changes

    def _role(
        self, access: Access, cursor: Any, credentials: str, database: str, check_mode: bool
    ) -> tuple[str, list[str]]:
        """The role of a Secret, with its password, that may log in and nothing else; its name and what was changed."""
        username, password = access.secret(credentials, "username", "password")
        changes: list[str] = []
        cursor.execute(
            "SELECT rolcanlogin AND NOT (rolsuper OR rolcreatedb OR rolcreaterole) FROM pg_roles WHERE rolname = %s",
            (username,),
        )
        found = cursor.fetchone()
        if found is None:
            changes.append(f"role {username} created")
            statement = "CREATE ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD {}"
        elif not found[0] or not self._accepted(access, credentials, database):
            changes.append(f"{'password' if found[0] else 'rights'} of role {username} set")
            statement = "ALTER ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD {}"
        else:
            statement = ""
        if statement and not check_mode:
            cursor.execute(sql.SQL(statement).format(sql.Identifier(username), sql.Literal(password)))
        return username, changes

    def _ownership(self, cursor: Any, name: str, username: str, check_mode: bool) -> list[str]:
        """A database that is there belongs to its role, which may do everything in it."""
        cursor.execute(
            "SELECT pg_get_userbyid(datdba) = %s, "
            "(SELECT bool_and(has_database_privilege(%s, oid, p)) FROM unnest(ARRAY['CONNECT', 'CREATE']) AS p) "
            "FROM pg_database WHERE datname = %s",
            (username, username, name),
        )
        owns, may = cursor.fetchone() or (True, True)
        role, database = sql.Identifier(username), sql.Identifier(name)
        changes: list[str] = []
        if not owns:
            changes.append(f"database {name} given to {username}")
            if not check_mode:
                cursor.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(database, role))
        if not may:
            changes.append(f"rights of {username} in database {name} set")
            if not check_mode:
                cursor.execute(sql.SQL("GRANT ALL ON DATABASE {} TO {}").format(database, role))
        return changes

    def _accepted(self, access: Access, credentials: str, database: str) -> bool:
        """Whether the role's password is the one in its Secret."""
        try:
            with connect(access, self.service, credentials, database):
                return True
        except psycopg2.OperationalError as error:
            # A role that may log in is told that the database is missing; it may be created next.
            return "password authentication failed" not in str(error) and "not permitted to log in" not in str(error)

    def _extensions(self, access: Access, item: Mapping[str, Any], check_mode: bool) -> list[str]:
        wanted = list(item.get("extensions", []))
        with connect(access, self.service, self.superuser, item["name"]) as session, session.cursor() as cursor:
            session.autocommit = True
            cursor.execute("SELECT extname FROM pg_extension")
            present = {row[0] for row in cursor.fetchall()}
            missing = [name for name in wanted if name not in present]
            for name in missing if not check_mode else []:
                cursor.execute(sql.SQL("CREATE EXTENSION {}").format(sql.Identifier(name)))
        return [f"extension {name} created in {item['name']}" for name in missing]
