"""enableEagerACLCheck: what is refused for want of rights makes no transaction."""

from __future__ import annotations

import struct

import pytest
from tests.support.core import Client, Core, framed, multi_body

from corral.base.errors import BadVersion, InvalidAcl, NoAuth
from corral.wire import client as records
from corral.wire import opcodes
from corral.wire.data import ACL
from corral.wire.schema import encode

READ_ONLY = [ACL(opcodes.READ, "world", "anyone")]
REFUSED = [
    (opcodes.CREATE, records.CreateRequest(b"/locked/a", b"", READ_ONLY, 0)),
    (opcodes.CREATE2, records.CreateRequest(b"/locked/a", b"", READ_ONLY, 0)),
    (opcodes.DELETE, records.DeleteRequest(b"/locked/child", -1)),
    (opcodes.SET_DATA, records.SetDataRequest(b"/locked", b"", -1)),
    (opcodes.SET_ACL, records.SetAclRequest(b"/locked", READ_ONLY, -1)),
]


def locked(is_eager: bool) -> tuple[Core, Client]:
    """Return a core with a node that nobody may change, and a client."""
    core = Core(enable_eager_acl_check=is_eager)
    client = core.client()
    client.create(b"/locked")
    client.create(b"/locked/child")
    client.call(opcodes.SET_ACL, records.SetAclRequest(b"/locked", READ_ONLY, -1))
    return core, client


@pytest.mark.parametrize("is_eager", [False, True])
@pytest.mark.parametrize(("op", "request_"), REFUSED)
def test_a_write_without_rights_takes_a_zxid_only_without_the_setting(
    op: int, request_: object, is_eager: bool
) -> None:
    core, client = locked(is_eager)
    before = core.tree.zxid

    reply = client.call(op, request_)

    assert reply.err == NoAuth.code
    assert core.tree.zxid - before == (0 if is_eager else 1)
    assert client.create(b"/open").err == 0


def test_a_wrong_list_is_refused_so_too_and_other_errors_are_not() -> None:
    core, client = locked(True)
    before = core.tree.zxid

    assert client.create(b"/a", acl=[ACL(31, "nonsense", "x")]).err == InvalidAcl.code
    assert core.tree.zxid == before
    assert client.set(b"/locked/child", b"", 7).err == BadVersion.code
    assert core.tree.zxid == before + 1


def test_a_multi_without_rights_stays_a_transaction() -> None:
    core, client = locked(True)
    before = core.tree.zxid

    client.call(opcodes.MULTI, multi_body((opcodes.SET_DATA, records.SetDataRequest(b"/locked", b"", -1))))

    assert core.tree.zxid == before + 1


def test_the_refusal_keeps_its_place_and_sees_the_writes_before_it() -> None:
    core, client = locked(True)
    core.auto = False
    lock = encode(records.SetAclRequest(b"/locked/child", READ_ONLY, -1))
    change = encode(records.SetDataRequest(b"/locked/child", b"", -1))

    client.send_bytes(
        framed(struct.pack(">ii", 1, opcodes.SET_ACL) + lock) + framed(struct.pack(">ii", 2, opcodes.SET_DATA) + change)
    )

    assert client.replies() == []
    core.sync()
    assert [(reply.xid, reply.err) for reply in client.replies()] == [(1, 0), (2, NoAuth.code)]
