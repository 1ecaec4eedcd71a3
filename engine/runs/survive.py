"""Whether this machine ends a user's processes at log-out, and how a run gets round it.

logind with KillUserProcesses=yes kills what a login session leaves, own session or not. `systemd-run --user
--scope` puts a process where it lives on, if there is a user manager to ask. Looks at files; the one test of
systemd-run is made once a process.
"""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

_PLACES = ("/usr/lib/systemd", "/usr/local/lib/systemd", "/run/systemd", "/etc/systemd")
_SCOPE = ["systemd-run", "--user", "--scope", "--quiet", "--collect", "--"]
_SECONDS = 5.0


def prefix() -> list[str]:
    """Return the words before a command that is to outlive the login; none where they are not needed."""
    return list(_SCOPE) if killed_at_logout() and scope_works() else []


def killed_at_logout() -> bool:
    """Tell whether what this user leaves is killed when the login session ends."""
    return in_login_session() and kills_user_processes(settings(), _user())


def in_login_session() -> bool:
    """Tell whether this process is in a systemd login session."""
    if not Path("/run/systemd/system").is_dir():
        return False
    try:
        groups = Path("/proc/self/cgroup").read_text()
    except OSError:
        return False
    return any("/session-" in line and line.endswith(".scope") for line in groups.splitlines())


def kills_user_processes(settings: dict[str, str], user: str) -> bool:
    """Tell what logind does with a user's processes by its settings."""
    excluded = settings.get("KillExcludeUsers", "root").split()
    only = settings.get("KillOnlyUsers", "").split()
    if user in excluded or (only and user not in only):
        return False
    return settings.get("KillUserProcesses", "no").lower() in ("yes", "true", "1", "on")


def settings(places: tuple[str, ...] = _PLACES) -> dict[str, str]:
    """Return the settings of logind: its file, and what drop-ins change, the last one by name wins."""
    files = [file for place in reversed(places) if (file := Path(place) / "logind.conf").is_file()][:1]
    drops: dict[str, Path] = {}
    for place in places:
        for file in (Path(place) / "logind.conf.d").glob("*.conf"):
            drops[file.name] = file
    found: dict[str, str] = {}
    for file in [*files, *(drops[name] for name in sorted(drops))]:
        try:
            lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        for line in lines:
            key, sign, value = line.strip().partition("=")
            if sign and not key.startswith(("#", ";")):
                found[key.strip()] = value.strip()
    return found


@cache
def scope_works() -> bool:
    """Tell whether a scope of the user's own manager can be made here; tried once."""
    if shutil.which(_SCOPE[0]) is None:
        return False
    try:
        done = subprocess.run([*_SCOPE, "true"], capture_output=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def lingers() -> bool:
    """Tell whether the user's manager stays when nobody is logged in."""
    return (Path("/var/lib/systemd/linger") / _user()).exists()


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
