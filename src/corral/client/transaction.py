"""Several operations in one: all of them happen, or none does."""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any, Final, Self

from corral.base.errors import (
    CorralError,
    Outcome,
    RuntimeInconsistency,
    SessionExpired,
    WireError,
    ZooKeeperError,
)
from corral.client.calls import Calls
from corral.client.effects import Call, nothing
from corral.client.errors import error_of
from corral.client.values import ZnodeStat, access_list, checked_version
from corral.wire import opcodes
from corral.wire.client import CheckVersionRequest
from corral.wire.data import ACL
from corral.wire.schema import encode

_unpack_head: Final = struct.Struct(">i?i").unpack_from
_unpack_int: Final = struct.Struct(">i").unpack_from
_HEAD_BYTES: Final = 9
TTL_MS_MAX: Final = (1 << 40) - 1
"""What servers take. Source: ZooKeeper EphemeralType.TTL.maxValue."""

Result = str | ZnodeStat | None


class TransactionFailed(CorralError):
    """A transaction that was refused; nothing of it has happened.

    index: of the operation that was refused. error: why. results: an error for each operation.
    """

    outcome = Outcome.NOT_APPLIED

    def __init__(self, index: int, what: str, results: list[ZooKeeperError]) -> None:
        self.index = index
        self.results = results
        self.error = results[index]
        super().__init__(f"operation {index} of the transaction, {what}: {type(self.error).__name__}")


class Transaction:
    """A list of operations, committed by `commit` or at the end of the `async with` block; see the client.

    results: after the commit, of each operation: create a path, set a stat, the others None. zxid: of the commit, which
    is the czxid of every znode that it made; servers tell no stats of those. was_asked: whether `commit` was called, so
    that the end of the block has nothing more to do. Once it is committed it takes no more; that raises ValueError.
    """

    def __init__(
        self, calls: Calls, full: Callable[[str], bytes], full_for_create: Callable[[str, int], bytes],
        run: Callable[[Call], Awaitable[Any]], shown: Callable[[bytes], str],
    ) -> None:  # fmt: skip
        self._calls = calls
        self._full = full
        self._full_for_create = full_for_create
        self._run = run
        self._shown = shown
        self._parts: list[Call] = []
        self._names: list[str] = []
        self.results: list[Result] = []
        self.zxid = 0
        self.was_asked = False

    def __len__(self) -> int:
        return len(self._parts)

    def create(
        self, path: str, data: bytes = b"", *, acl: Sequence[ACL] | None = None, ephemeral: bool = False,
        sequence: bool = False, container: bool = False, ttl_ms: int | None = None,
    ) -> Self:  # fmt: skip
        """Make a znode; parameters as the client's `create`."""
        flags = create_flags(ephemeral, sequence, container, ttl_ms)
        acls = access_list(acl)
        call = self._calls.create(self._full_for_create(path, flags), data, acls, flags, ttl_ms or 0, False)
        return self._add(call, f"create {path}")

    def set(self, path: str, data: bytes, version: int = -1) -> Self:
        """Give a znode new data. version: expected, -1 for any."""
        return self._add(self._calls.set(self._full(path), data, version), f"set {path}")

    def delete(self, path: str, version: int = -1) -> Self:
        """Delete a znode. version: expected, -1 for any."""
        return self._add(self._calls.delete(self._full(path), version), f"delete {path}")

    def check(self, path: str, version: int = -1) -> Self:
        """Require that a znode is there. version: expected, -1 for any."""
        full = self._full(path)
        payload = encode(CheckVersionRequest(full, checked_version(version)))
        return self._add(Call(opcodes.CHECK, payload, nothing, False, full), f"check {path}")

    def _add(self, call: Call, name: str) -> Self:
        self._require_open()
        self._parts.append(call)
        self._names.append(name)
        return self

    async def commit(self) -> list[Result]:
        """Do it. Raises TransactionFailed, and what any request raises."""
        self._require_open()
        self.was_asked = True
        if not self._parts:
            return []
        parts = [(call.op, call.frame) for call in self._parts]
        call = self._calls.multi(parts, self._read, opcodes.MULTI)
        answers = await self._run(call)
        failed = [index for index, answer in enumerate(answers) if isinstance(answer, ZooKeeperError)]
        if failed:
            guilty = next(
                (i for i in failed if type(answers[i]) not in (RuntimeInconsistency, ZooKeeperError)), failed[0]
            )
            raise TransactionFailed(guilty, self._names[guilty], answers)
        self.results = answers
        self.zxid = call.zxid
        return self.results

    def _require_open(self) -> None:
        if self.zxid:
            raise ValueError("the transaction is committed: make another one")

    def _read(self, buf: bytes, at: int, end: int) -> list[Any]:
        """Read the reply. Raises SessionExpired where that is why it was refused: no operation is to blame for it."""
        answers = read_results(buf, at, end, self._parts, self._shown)
        for answer in answers:
            if type(answer) is SessionExpired:
                raise answer
        return answers

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and not self.was_asked:
            await self.commit()


def read_results(
    buf: bytes, at: int, end: int, parts: Sequence[Call], shown: Callable[[bytes], str]
) -> list[Any]:  # fmt: skip
    """Read a multi's reply: a result or an error for each of `parts`. shown(path): as its user knows it."""
    results: list[Any] = []
    for part in parts:
        op, done, err = _unpack_head(buf, at)
        at += _HEAD_BYTES
        if done:
            raise WireError(f"{len(results)} results for {len(parts)} operations")
        if op == opcodes.ERROR:
            (err,) = _unpack_int(buf, at)
            at += 4
            results.append(error_of(err, shown(part.path)) if err else ZooKeeperError("not done"))
            continue
        results.append(part.decode(buf, at, end))
        at += _size_of(op, buf, at)
    return results


def _size_of(op: int, buf: bytes, at: int) -> int:
    """Return how many bytes a result of type `op` has."""
    if op in (opcodes.CREATE, opcodes.CREATE2, opcodes.CREATE_CONTAINER, opcodes.CREATE_TTL):
        size = 4 + int(_unpack_int(buf, at)[0])
        return size if op == opcodes.CREATE else size + 68
    if op == opcodes.SET_DATA:
        return 68
    if op == opcodes.GET_DATA:
        return 4 + max(int(_unpack_int(buf, at)[0]), 0) + 68
    if op == opcodes.GET_CHILDREN:
        start = at
        count = _unpack_int(buf, at)[0]
        at += 4
        for _ in range(count):
            at += 4 + int(_unpack_int(buf, at)[0])
        return at - start
    return 0


def create_flags(ephemeral: bool, sequence: bool, container: bool, ttl_ms: int | None) -> int:
    """Return a create's flags as they go on the wire. Raises ValueError for what no znode can be."""
    if sum((ephemeral, container, ttl_ms is not None)) > 1:
        raise ValueError("a znode is ephemeral, a container or has a time to live, not several of these")
    if container:
        if sequence:
            raise ValueError("a container cannot be sequential")
        return 4
    if ttl_ms is not None:
        if not 0 < ttl_ms <= TTL_MS_MAX:
            raise ValueError(f"ttl_ms {ttl_ms}: must be from 1 to {TTL_MS_MAX}")
        return 6 if sequence else 5
    return int(ephemeral) | (2 if sequence else 0)
