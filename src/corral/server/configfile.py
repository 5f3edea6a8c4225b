"""From a zoo.cfg, the environment and the command line to a Config.

Three sources, each over the one before: the file, `CORRAL_*` variables, options. All three go through one table of keys
(`configkeys`) and one set of checks, so a value means the same wherever it was written. What is wrong is a ConfigError
that says where, what and what would be right; what is merely odd becomes a warning.
Not decided here: the server's own number (`myid`) and what `server.N` lines mean.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from corral.base.errors import CorralError
from corral.base.records import record
from corral.replica.config import Config
from corral.server.configkeys import FAMILIES, PREFIX, Family, Key, spellings, variable_of
from corral.server.properties import PropertiesError, parse_properties

ENVIRONMENT = "environment"
COMMAND_LINE = "command line"
SECRET = re.compile(r"password|secret|superdigest", re.IGNORECASE)
# What Kubernetes sets in every container near a service called corral or corral-something: none of it is meant for us.
KUBERNETES = re.compile(r"_SERVICE_(HOST|PORT(_.*)?)$|_PORT(_\d+_(TCP|UDP|SCTP)(_.*)?)?$")
KUBERNETES_VALUE = re.compile(r"(tcp|udp|sctp)://", re.IGNORECASE)
# What the commands for clients read, and what `corral lock` gives to its command.
OF_CLIENTS = frozenset(
    "CORRAL_" + name for name in ("CONNECT", "AUTH", "KEY_PASSWORD", "SASL_PASSWORD", "FENCING_TOKEN", "LOCK_NODE")
)
EVERY_ADDRESS = ("0.0.0.0", "::", "")
SNAPSHOTS_KEPT_MIN = 3
SNAP_COUNT_MIN = 2


class ConfigError(CorralError):
    """A configuration that cannot be used, in one sentence for who wrote it."""


@record
class Setting:
    """A key as someone wrote it. where: `file:line`, or another source's name."""

    key: str
    value: str
    where: str


def load(
    path: str | None, environ: Mapping[str, str], options: Mapping[str, str] | None = None
) -> tuple[Config, list[str]]:
    """Make the configuration of a server.

    path: of a zoo.cfg, None for none. options: canonical keys and their values, as a command line gave them.
    Returns it with warnings, each one sentence. Raises ConfigError.
    """
    reader = _Reader()
    if path is not None:
        reader.read(_file_settings(path))
    reader.read_environment(environ)
    reader.read(Setting(key, value, COMMAND_LINE) for key, value in (options or {}).items())
    if path is not None and "data_dir" not in reader.values:
        raise ConfigError(f"{path}: dataDir is missing: add a line such as dataDir=/var/lib/corral")
    return reader.finish(), reader.warnings


def parse(text: str, name: str = "zoo.cfg") -> tuple[Config, list[str]]:
    """Make the configuration that the text of a zoo.cfg alone describes, without asking for a dataDir.

    name: what to call the text in messages. Raises ConfigError.
    """
    reader = _Reader()
    reader.read(_settings(text, name))
    return reader.finish(), reader.warnings


def _file_settings(path: str) -> list[Setting]:
    try:
        with open(path, "rb") as file:
            raw = file.read()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    return _settings(_decode(raw), path)


def _decode(raw: bytes) -> str:
    """Decode a file as UTF-8, or else as Latin-1, which is what Java takes every file for."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _settings(text: str, name: str) -> list[Setting]:
    try:
        found = parse_properties(text)
    except PropertiesError as error:
        raise ConfigError(f"{name}:{error.line}: {error}") from error
    return [Setting(each.key.strip(), each.value.strip(), f"{name}:{each.line}") for each in found]


class _Reader:
    """Collects settings, the later over the earlier.

    values: by field of Config. sources: by field, the setting that gave its value.
    """

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}  # Typed by the key's kind; the tests compare that with Config's annotations.
        self.sources: dict[str, Setting] = {}
        self.warnings: list[str] = []
        self._spellings = spellings()
        self._super_users: dict[str, str] = {}

    def read(self, settings: Iterable[Setting]) -> None:
        """Take the settings of one source."""
        seen: dict[str, Setting] = {}
        for setting in settings:
            name = self._canonical(setting.key)
            if name is None:
                self._unknown(setting)
                continue
            if name in seen:
                self.warnings.append(f"{setting.where}: {name} is set at {seen[name].where} too; this line counts")
            seen[name] = setting
            self._take(name, setting)

    def read_environment(self, environ: Mapping[str, str]) -> None:
        """Take the variables that begin with CORRAL_, in the order of their names."""
        variables = {variable_of(name): name for name in self._spellings}
        for variable, value in sorted(environ.items()):
            if not variable.startswith("CORRAL_") or KUBERNETES_VALUE.match(value):
                continue
            where = f"{ENVIRONMENT}, {variable}"
            name = variables.get(variable) or _family_member(variable)
            if name is not None:
                self._take(self._canonical(name) or name, Setting(name, value.strip(), where))
            elif variable not in OF_CLIENTS and not KUBERNETES.search(variable):
                # Without what all of them begin with, which alone would make any two alike.
                bare = {each.removeprefix("CORRAL_"): each for each in variables}
                near = [bare[found] for found in difflib.get_close_matches(variable.removeprefix("CORRAL_"), bare, 1)]
                self.warnings.append(f"{where}: unknown variable{_perhaps(near)}; it is ignored")

    def finish(self) -> Config:
        """Check values against each other and return the configuration. Raises ConfigError."""
        self._fill_in()
        users = tuple(user for user in self._super_users.values() if user)
        if users:
            self.values["super_users"] = users
        config = Config(**self.values)
        self._check_sessions(config)
        self._check_authentication(config)
        self._check_ensemble(config)
        self._check_ports(config)
        return config

    def _canonical(self, spelled: str) -> str | None:
        """Return a key's canonical spelling, or a family member's; None if there is no such key."""
        bare = spelled.removeprefix(PREFIX)
        key = self._spellings.get(bare)
        if key is not None:
            return key.name
        return bare if _family_of(bare) is not None else None

    def _unknown(self, setting: Setting) -> None:
        bare = setting.key.removeprefix(PREFIX)
        lower = {name.lower(): name for name in self._spellings}
        near = [lower[found] for found in difflib.get_close_matches(bare.lower(), lower, 1)]
        self.warnings.append(f"{setting.where}: unknown key {setting.key}{_perhaps(near)}; it is ignored")

    def _take(self, name: str, setting: Setting) -> None:
        key = self._spellings.get(name)
        if key is None:
            self._take_member(name, setting)
            return
        value = _value(key, setting)
        if key.unused:
            self.warnings.append(f"{setting.where}: {name} has no effect: {key.unused}")
        if key.field == "other":
            self.values.setdefault("other", {})[name] = setting.value
        elif key.field == "super_users":
            self._super_users[""] = setting.value
        else:
            self.values[key.field] = value
        self.sources[key.field] = setting

    def _take_member(self, name: str, setting: Setting) -> None:
        family = _family_of(name)
        assert family is not None, name
        suffix = name.removeprefix(family.prefix)
        if family.field == "other":
            self.values.setdefault("other", {})[name] = setting.value
        elif family.field == "super_users":
            self._super_users[suffix] = setting.value
        else:
            member: str | int = suffix
            value: str | int = setting.value
            if family.digits:
                if not suffix.isascii() or not suffix.isdigit():
                    raise _wrong(name, setting, f"a whole number behind {family.prefix}")
                member = int(suffix)
            if family.field == "weights":
                if not setting.value.isascii() or not setting.value.isdigit():
                    raise _wrong(name, setting, "a whole number, at least 0")
                value = int(setting.value)
            elif not setting.value:
                raise _wrong(name, setting, "a value that is not empty")
            self.values.setdefault(family.field, {})[member] = value
        self.sources[family.field] = setting

    def _fill_in(self) -> None:
        """Set what follows from other settings, and raise what is too low to be used."""
        values = self.values
        if "secure_client_port" in values and "client_port" not in values and values["secure_client_port"] >= 0:
            values["client_port"] = -1  # As ZooKeeper: a secure port alone means no plain one.
        if values.get("read_only_mode_enabled") and "four_lw_whitelist" not in values:
            values["four_lw_whitelist"] = ("srvr", "isro")
        if values.get("snap_size_limit_bytes") == 0:
            values["snap_size_limit_bytes"] = -1  # What ZooKeeper documents, and then divides by.
        self._raise_to("autopurge_snap_retain_count", "autopurge.snapRetainCount", SNAPSHOTS_KEPT_MIN)
        self._raise_to("snap_count", "snapCount", SNAP_COUNT_MIN)

    def _raise_to(self, field: str, key: str, least: int) -> None:
        given = self.values.get(field)
        if given is not None and given < least:
            self.values[field] = least
            self.warnings.append(f"{self.sources[field].where}: {key}={given} is too low and was raised to {least}")

    def _check_sessions(self, config: Config) -> None:
        least, most = config.min_session_timeout, config.max_session_timeout
        if least > most:
            where = self._where("min_session_timeout_ms", "max_session_timeout_ms", "tick_time_ms")
            raise ConfigError(
                f"{where}: minSessionTimeout is {least} and maxSessionTimeout is {most}: "
                "expected the first to be at most the second"
            )
        if config.local_sessions_upgrading_enabled and not config.local_sessions_enabled:
            where = self._where("local_sessions_upgrading_enabled")
            self.warnings.append(f"{where}: localSessionsUpgradingEnabled has no effect without localSessionsEnabled")

    def _check_authentication(self, config: Config) -> None:
        if config.enforce_auth_enabled and not config.enforce_auth_schemes:
            where = self._where("enforce_auth_enabled")
            raise ConfigError(f"{where}: enforce.auth.enabled=true needs enforce.auth.schemes, such as digest,sasl")
        digest = config.super_digest
        if digest and ":" not in digest:
            where = self._where("super_digest")
            raise ConfigError(f"{where}: DigestAuthenticationProvider.superDigest is expected to be user:digest")
        if config.skip_acl:
            self.warnings.append(f"{self._where('skip_acl')}: skipACL=yes lets every client do everything")
        if not config.force_sync:
            self.warnings.append(f"{self._where('force_sync')}: forceSync=no: a crash may lose confirmed writes")
        if config.audit_file and not config.audit_enable:
            where = self._where("audit_file")
            self.warnings.append(f"{where}: corral.audit.file does nothing without audit.enable=true")

    def _check_ensemble(self, config: Config) -> None:
        if len(config.servers) < 2:
            return
        for key, ticks in (("initLimit", config.init_limit_ticks), ("syncLimit", config.sync_limit_ticks)):
            if not ticks:
                where = self._where("servers")
                raise ConfigError(f"{where}: {key} is missing, and an ensemble needs it: add a line such as {key}=10")

    def _check_ports(self, config: Config) -> None:
        """Refuse one port for two listeners, where their addresses meet."""
        taken: list[tuple[str, str, int]] = []
        for key, address, port, used in (
            ("clientPort", config.client_port_address, config.client_port, True),
            ("secureClientPort", config.secure_client_port_address, config.secure_client_port, True),
            ("admin.serverPort", config.admin_address, config.admin_port, config.admin_enabled),
            ("metricsProvider.httpPort", config.metrics_http_host, config.metrics_http_port,
             config.metrics_provider == "prometheus"),
        ):  # fmt: skip
            if not used or port <= 0:
                continue
            for other, other_address, other_port in taken:
                if port == other_port and _meet(address, other_address):
                    raise ConfigError(f"{other} and {key} are both {port}: expected a port for each")
            taken.append((key, address, port))

    def _where(self, *fields: str) -> str:
        """Return where the first of `fields` that was set was set."""
        return next((self.sources[field].where for field in fields if field in self.sources), "defaults")


def _value(key: Key, setting: Setting) -> Any:
    try:
        return key.kind.parse(setting.value)
    except (ValueError, KeyError):
        raise _wrong(key.name, setting, key.kind.wanted) from None


def _wrong(name: str, setting: Setting, wanted: str) -> ConfigError:
    shown = "(not shown)" if SECRET.search(name) else setting.value
    return ConfigError(f"{setting.where}: {name}={shown} is wrong: expected {wanted}")


def _family_of(name: str) -> Family | None:
    """Return the family that a key without its prefix belongs to."""
    for family in FAMILIES:
        if name.startswith(family.prefix) and len(name) > len(family.prefix):
            return family
    return None


def _family_member(variable: str) -> str | None:
    """Return the key of a variable such as CORRAL_SERVER_1; of those kept as text, only the spelling is lost."""
    for family in FAMILIES:
        if family.field == "other":
            continue
        start = variable_of(family.prefix)
        suffix = variable.removeprefix(start)
        if variable.startswith(start) and suffix and (suffix.isdigit() or not family.digits):
            return family.prefix + suffix.lower()
    return None


def _perhaps(near: list[str]) -> str:
    return f" (did you mean {near[0]}?)" if near else ""


def _meet(address: str, other: str) -> bool:
    return address == other or address in EVERY_ADDRESS or other in EVERY_ADDRESS
