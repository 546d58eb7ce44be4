"""What a plan of the transfer service says that is allowed, and can hardly be meant. No I/O."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from guerillabackup.transfer.control_messages import LOW_RATE
from guerillabackup.transfer.plan import RECEIVER, SENDER, SOCKET_AGENT, PeerPlan, ServicePlan

_ANY_SOURCE = ("/", "*", "?", "[")
"""How a pattern begins that can match a source's name."""
_AGES = (("MinAge", "MaxAge"), ("MinArrivalAge", "MaxArrivalAge"))
MAX_PATH = 107


def find_oddities(plan: ServicePlan, has_program: Callable[[str], bool]) -> list[str]:
    """All of them, each once; `has_program` says whether a command can be started."""
    found: list[str] = []
    for peer in plan.peers:
        found += [f"peer {peer.agent_id}: {text}" for text in _of_peer(peer, has_program)]
    for peer in plan.peers:
        found += _of_choices(peer)
    if plan.bandwidth_limit is not None and plan.bandwidth_limit < LOW_RATE:
        found.append(
            f"TransferBandwidthLimit is {plan.bandwidth_limit} bytes a second: so few that peers give the "
            "connection up"
        )
    return list(dict.fromkeys([*found, *_of_marks(plan)]))


def _of_peer(peer: PeerPlan, has_program: Callable[[str], bool]) -> Iterator[str]:
    if peer.listen is not None and len(peer.listen.encode()) > MAX_PATH:
        yield f"Listen {peer.listen} has more than {MAX_PATH} bytes: socat and others cannot reach it"
    if isinstance(peer.connect, tuple):
        program = peer.connect[0]
        if len(program.split()) > 1 and not has_program(program):
            yield f"Connect has {program!r} as the program: each word is an item of the list of its own"
        elif not has_program(program):
            yield f"Connect starts {program}, which is no program in PATH"
    if not peer.rules.accepted_sources and peer.receiver.policy_class is not None:
        yield (
            "AcceptSources is empty: all it offers is refused; where nothing is to come from it, "
            "'ReceiverPolicyClass': None asks for nothing"
        )
    patterns = {"AcceptSources": peer.rules.accepted_sources, "OfferSources": peer.rules.offered_sources}
    for name, values in patterns.items():
        yield from _of_patterns(name, values)


def _of_choices(peer: PeerPlan) -> Iterator[str]:
    for direction, choice in ((SENDER, peer.sender), (RECEIVER, peer.receiver)):
        settings, name = choice.settings, f"{direction}Settings"
        if not isinstance(settings, Mapping) or not settings:
            continue
        if choice.policy_class is None:
            used = f"no {direction}PolicyClass for peer {peer.agent_id}: nothing uses it"
            yield f"Transfer{name} is set, and {used}"
            continue
        sources = settings.get("Sources")
        if isinstance(sources, list | tuple):
            yield from _of_patterns(f"Sources in {name}", sources)
        for least, most in _AGES:
            low, high = settings.get(least), settings.get(most)
            if isinstance(low, int | float) and isinstance(high, int | float) and low > high:
                yield f"{name} has {least} {low} above {most} {high}: no element is both"


def _of_patterns(name: str, patterns: Any) -> Iterator[str]:
    for pattern in patterns:
        if isinstance(pattern, str) and not pattern.startswith(_ANY_SOURCE):
            yield f"{name} has {pattern!r}, which matches nothing: a source begins with a slash"


def _of_marks(plan: ServicePlan) -> Iterator[str]:
    # The socket that is nobody's own is there unasked.
    marking = [peer for peer in plan.peers if _marks(peer) and peer.agent_id != SOCKET_AGENT]
    for storage in dict.fromkeys(peer.storage for peer in marking):
        names = [peer.agent_id for peer in marking if peer.storage == storage]
        if len(names) > 1:
            yield (
                f"elements in {storage} are marked as done, and each goes to the first of {', '.join(names)} "
                "only: set 'MarkCountsForAll': False where each is to have them"
            )


def _marks(peer: PeerPlan) -> bool:
    choice = peer.sender
    settings = choice.settings if isinstance(choice.settings, Mapping) else {}
    is_for_all = settings.get("MarkCountsForAll", True) is True
    return choice.policy_class is not None and peer.only_marks and is_for_all
