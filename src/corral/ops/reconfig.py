"""reconfig: refused, as ZooKeeper refuses it where it is disabled or the server stands alone."""

from __future__ import annotations

from corral.base.errors import ReconfigDisabled, Unimplemented
from corral.base.paths import CONFIG
from corral.ops.base import Preparing, Stamp, View, WriteOp
from corral.ops.data import SetData
from corral.tree.node import Node
from corral.wire.client import ReconfigRequest
from corral.wire.opcodes import RECONFIG
from corral.wire.txns import SetDataTxn, TxnBody


class Reconfig(WriteOp[ReconfigRequest]):
    """Its transaction sets the data of the configuration's node, so logs of an ensemble can be replayed."""

    code = RECONFIG
    name = "reconfig"
    lop = "RECO"
    request = ReconfigRequest
    txns = {RECONFIG: SetDataTxn}

    def __init__(self, set_data: SetData) -> None:
        super().__init__()
        self._set_data = set_data

    def prepare(self, cx: Preparing, request: ReconfigRequest) -> tuple[int, TxnBody]:
        if not cx.options.reconfig_enabled:
            raise ReconfigDisabled("reconfigEnabled is not true")
        raise Unimplemented(f"a server alone has no ensemble to reconfigure ({CONFIG.decode()})")

    def apply(self, view: View, stamp: Stamp, body: SetDataTxn) -> Node | None:
        return self._set_data.apply(view, stamp, body)
