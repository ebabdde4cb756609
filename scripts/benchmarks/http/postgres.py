"""A private PostgreSQL: a cluster in a folder of its own, on a Unix socket alone, ended with the block.

Its settings are the defaults save memory: fsync and synchronous_commit stay on. It refuses to run as root, so under
root it runs as the user ``postgres`` that Debian's package brings.
"""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from scripts.benchmarks.http.cores import START_SECONDS, BenchmarkFailed, pinned

DATABASE: Final = "postgres"
_ROLE: Final = "bench"
_USER: Final = "postgres"
_SETTINGS: Final = ("listen_addresses=", "shared_buffers=512MB", "max_connections=50", "max_wal_size=4GB")


def find_programs() -> Path:
    """The newest installed server's programs. Raises BenchmarkFailed with what to type where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if not found:
        raise BenchmarkFailed("PostgreSQL's server is missing: apt-get install postgresql")
    return found[-1].parent


def make_cluster(folder: Path, schema: str, tables: dict[str, Path], core: int, log: Path) -> None:
    """Makes a cluster in ``folder`` with a schema and what the files (as COPY reads them) hold for each table."""
    folder.mkdir()
    shutil.chown(folder, *_owner())
    _run(
        [
            find_programs() / "initdb",
            "--username",
            _ROLE,
            "--encoding",
            "UTF8",
            "--locale",
            "C",
            "-D",
            folder,
        ],
        log,
    )
    with running_cluster(folder, core, log) as (dsn, _):
        psql = [find_programs() / "psql", "--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", dsn]
        statements = [schema]
        statements += [f"\\copy {table} from '{file}'" for table, file in tables.items()]
        statements.append("VACUUM ANALYZE")
        for statement in statements:
            _run([*psql, "--command", statement], log)


@contextmanager
def running_cluster(folder: Path, core: int, log: Path) -> Iterator[tuple[str, int]]:
    """The server of a cluster on one core: its connection string and the process id of its postmaster."""
    options = [part for setting in _SETTINGS for part in ("-c", setting)]
    command = [str(find_programs() / "postgres"), "-D", str(folder), "-k", str(folder), *options]
    with pinned(command, core, log, user=_owner()[0] if os.geteuid() == 0 else None) as process:
        dsn = f"postgresql:///{DATABASE}?host={folder}&user={_ROLE}"
        until = time.monotonic() + START_SECONDS
        ready = [str(find_programs() / "pg_isready"), "--quiet", "--host", str(folder)]
        while subprocess.run(ready, check=False).returncode:
            if process.poll() is not None or time.monotonic() > until:
                raise BenchmarkFailed(f"PostgreSQL did not start:\n{log.read_text(errors='replace')[-3000:]}")
            time.sleep(0.05)  # a poll: pg_isready tells how it is, not when that changes
        yield dsn, process.pid


def copy_cluster(source: Path, target: Path) -> None:
    """Copies a cluster that does not run."""
    shutil.copytree(source, target)
    user, group = _owner()
    for path in (target, *target.rglob("*")):
        shutil.chown(path, user, group)
    target.chmod(0o700)


def _owner() -> tuple[str, str]:
    if os.geteuid() != 0:
        user = pwd.getpwuid(os.geteuid())
        return user.pw_name, grp.getgrgid(user.pw_gid).gr_name
    return _USER, _USER


def _run(command: Sequence[object], log: Path) -> None:
    user = _owner()[0] if os.geteuid() == 0 else None
    with log.open("ab") as output:
        done = subprocess.run(
            [str(part) for part in command], stdout=output, stderr=output, user=user, cwd="/", check=False
        )
    if done.returncode:
        raise BenchmarkFailed(f"{command[0]} failed:\n{log.read_text(errors='replace')[-3000:]}")
