# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A PostgreSQL database as its URI declares it. The URI holds a password: no message here repeats any of it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import psycopg2
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from psycopg2.extensions import parse_dsn

SCHEME = re.compile(r"^postgres(?:ql)?(?:\+psycopg2)?://")
FORM = "postgresql://user:password@host:port/database?sslmode=verify-full"
# libpq's parameters that name files of the machine it runs on, which is a pod: trust comes from
# platform_ca_certificates, the login from the URI.
FILES = ("passfile", "service", "sslcert", "sslcrl", "sslcrldir", "sslkey", "sslpassword", "sslrootcert")
LOGIN = ("user", "password", "host", "port", "dbname")
# https://www.postgresql.org/docs/17/libpq-connect.html#LIBPQ-PARAMKEYWORDS, those that a site may want.
PARAMETERS = (
    "application_name", "channel_binding", "connect_timeout", "gssencmode", "hostaddr", "keepalives",
    "keepalives_count", "keepalives_idle", "keepalives_interval", "load_balance_hosts", "options", "require_auth",
    "ssl_max_protocol_version", "ssl_min_protocol_version", "sslmode", "sslnegotiation", "sslsni",
    "target_session_attrs", "tcp_user_timeout",
)  # fmt: skip
VERIFYING = ("verify-ca", "verify-full")


@dataclass(frozen=True)
class Database:
    """Where a database is and who may use it; `host` and `port` may be lists with commas, as libpq takes them."""

    host: str
    port: str
    name: str
    username: str
    password: str = field(repr=False)
    parameters: Mapping[str, str]

    @property
    def verifies(self) -> bool:
        """Whether the server's certificate is checked, so that an authority must be named."""
        return self.parameters.get("sslmode") in VERIFYING

    @property
    def place(self) -> str:
        """The address, without anything secret."""
        hosts, ports = self.host.split(","), self.port.split(",")
        ports = ports * len(hosts) if len(ports) == 1 else ports
        shown = [
            f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in zip(hosts, ports, strict=True)
        ]
        return f"postgresql://{','.join(shown)}"


def parse(uri: str, variable: str) -> Database:
    """The database of a URI in libpq's form; `variable` is where it was declared.

    Raises PlatformError, without any part of the URI that may be secret.
    """
    if not SCHEME.match(uri):
        raise PlatformError(f"{variable}: not the URI of a PostgreSQL database; its form is {FORM}")
    try:
        found = dict(parse_dsn(SCHEME.sub("postgresql://", uri)))
    except psycopg2.ProgrammingError as error:
        raise PlatformError(f"{variable}: {_mistake(uri, str(error))}") from None
    for key in ("user", "host", "dbname"):
        if not found.get(key):
            raise PlatformError(
                f"{variable}: the {'database' if key == 'dbname' else key} is missing; its form is {FORM}"
            )
    if re.search(r"[@/:\s]", found["dbname"]) or "@" in found["host"]:
        raise PlatformError(f"{variable}: characters such as @ : / ? # % in user or password must be percent-encoded")
    ports = ",".join(port or "5432" for port in (found.get("port") or "").split(","))
    if not all(port.isdigit() and 0 < int(port) < 65536 for port in ports.split(",")):
        raise PlatformError(f"{variable}: the port must be a number from 1 to 65535")
    if len(ports.split(",")) not in (1, len(found["host"].split(","))):
        raise PlatformError(f"{variable}: give one port for all hosts, or one for each")
    parameters = {key: value for key, value in found.items() if key not in LOGIN}
    for name, value in parameters.items():
        if not value.isprintable():
            raise PlatformError(f"{variable}: the parameter {name} has a character that is not printable")
        if name in FILES:
            raise PlatformError(
                f"{variable}: the parameter {name} names what a pod does not have; "
                "authorities are declared in platform_ca_certificates, user and password in the URI"
            )
    return Database(found["host"], ports, found["dbname"], found["user"], found.get("password", ""), parameters)


def _mistake(uri: str, said: str) -> str:
    """What libpq said, without the parts of the URI that it repeats; the name of a parameter is none."""
    name = re.search(r'invalid URI query parameter: "([a-z_]+)"', said)
    if name and "?" not in uri.rpartition("@")[0]:
        near = difflib.get_close_matches(name[1], PARAMETERS, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        return f"unknown parameter {name[1]!r}{hint} (known are {', '.join(PARAMETERS)})"
    return f"not a valid URI; characters such as @ : / ? # % in user or password must be percent-encoded ({FORM})"
