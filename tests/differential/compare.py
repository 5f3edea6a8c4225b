"""Holds what a step did at one server against what it did at the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.differential.operations import Requests, Step
from tests.differential.players import Outcome
from tests.support.jute import Op
from tests.support.raw import Event


def differences(
    step: Step, theirs: Outcome, mine: Outcome, forgiven: Mapping[str, str], event_zxids_may_lack: bool
) -> list[str]:
    """Return what differs, in words; nothing if the two are alike.

    event_zxids_may_lack: theirs may carry -1 in events where mine carries the zxid of the transaction.
    """
    found = []
    for at, (their, my) in enumerate(zip(theirs.replies, mine.replies, strict=False)):
        if their != my and not _is_forgiven(their, my, forgiven):
            found.append(f"reply {at}: theirs {their}\n         mine   {my}")
    if len(theirs.replies) != len(mine.replies):
        found.append(f"replies: theirs {theirs.replies}\n         mine   {mine.replies}")
    if theirs.is_cut != mine.is_cut:
        found.append(f"connections cut: theirs {theirs.is_cut}\n                 mine   {mine.is_cut}")
    if theirs.zxids != mine.zxids:
        found.append(f"last zxid before and after: theirs {theirs.zxids}, mine {mine.zxids}")
    for number, (their_events, my_events) in enumerate(zip(theirs.events, mine.events, strict=True)):
        if not _alike(_ordered(step, their_events), _ordered(step, my_events), mine.zxids, event_zxids_may_lack):
            found.append(f"events of session {number}: theirs {their_events}\n                     mine   {my_events}")
    return found


def _is_forgiven(theirs: Any, mine: Any, forgiven: Mapping[str, str]) -> bool:
    return isinstance(theirs, tuple) and theirs[0] in forgiven and theirs[0] == mine[0]


def _ordered(step: Step, events: list[Event]) -> list[Event]:
    """The ephemerals of a closed session are deleted in no particular order."""
    closes = isinstance(step, Requests) and any(request.op == Op.CLOSE_SESSION for request in step.requests)
    return sorted(events) if closes else events


def _alike(theirs: list[Event], mine: list[Event], zxids: tuple[int, int], may_lack: bool) -> bool:
    if [event[:3] for event in theirs] != [event[:3] for event in mine]:
        return False
    before, after = zxids
    return all(
        their.zxid == my.zxid or (may_lack and their.zxid == -1 and before < my.zxid <= after)
        for their, my in zip(theirs, mine, strict=True)
    )
