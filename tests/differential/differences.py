"""Where Corral and the Apache ZooKeeper of these tests (3.8) differ: one table, a reason each.

Everything that is not in these tables is compared. Requests with an avoided trait are not drawn against Corral, because
the two would go separate ways from there on; `test_known_differences` shows each of them at both servers. A forgiven
answer may differ. Apache against Apache is played with all, but for what is unstable.
"""

from __future__ import annotations

from typing import Final

UNSTABLE: Final[dict[str, str]] = {
    "createSession from a client": "ZooKeeper answers without a header, by a connect response with a session id.",
    "watch without a path": "ZooKeeper 3.8 cannot forget such a watch, and never closes the socket.",
    "createTTL in another mode": "3.8 takes it, cannot apply it, and ends itself.",
}
"""Trait of a request -> why two servers of one kind cannot be compared by it."""

UNSTABLE_QUOTAS: Final[dict[str, str]] = {
    "multi below a quota in a batch": "If the quota cannot be read, writes behind it see parts of what is not done.",
    "quota still being written": "A quota is checked as committed; how much of a batch is by then, is chance.",
}
"""Trait of a request -> why two servers of one kind cannot be compared by it where they enforce quotas."""

DIFFERENT: Final[dict[str, str]] = {
    "auth named twice": "Both become the same entry; ZooKeeper keeps it twice, here it is kept once.",
    "check outside a multi": "3.8 answers -5, takes a zxid and stays; 3.9 and we answer -6 and close.",
    "create of 3.9 in a multi": "3.8 takes create2, and createContainer by other flags, for a create there.",
    "deleteContainer": "ZooKeeper takes it from any client without a look at rights; here it is the server's own.",
    "multi without a path": "ZooKeeper stumbles over a null path, -5 for the whole; here the operation alone fails.",
    "no path": "ZooKeeper stumbles over a null path, -5; here it is a bad argument or the root.",
    "quota in parts": "Limits set anew beside old statistics: ZooKeeper goes on from these, here all is counted anew.",
    "second kind of watch at a path": "Until 3.9 a later watch replaced an earlier one of another kind.",
    "typed watch removal": "3.8 takes persistent watches for standard ones where a type is given.",
    "undecodable write": "3.8 takes a zxid for it; later ones and we do not.",
    "unknown flags in a multi": "3.8 answers when it comes to that operation; here the whole multi is undecodable.",
    "unreadable node": "This 3.8 asks no right of exists; later ones do, and so do we.",
    "watch check": "3.8 says yes if anybody watches the path.",
    "watch type of 3.9": "Removing or checking persistent watches alone came with 3.9; 3.8 answers -5.",
}
"""Trait of a request -> why the servers answer differently."""

AVOIDED: Final = frozenset({*UNSTABLE, *DIFFERENT})
"""Traits of requests that are not drawn against Corral."""

FORGIVEN: Final[dict[str, str]] = {
    "the owner is connected": "A wrong password cuts off a session's owner in ZooKeeper; here only the right one does.",
}
"""Name of an answer within a reconnect -> why it may differ."""
