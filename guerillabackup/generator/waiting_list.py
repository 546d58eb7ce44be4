"""Who waits for which run that somebody asked for. No I/O."""

from guerillabackup.generator.schedule import Asked


class WaitingList:
    """Clients by their numbers, and the tickets of the runs they wait for."""

    def __init__(self) -> None:
        self._waiting: dict[int, set[int]] = {}
        self._units: dict[int, str] = {}

    def add(self, client: int, asked: Asked, unit_name: str) -> None:
        """A client waits for a run of a unit; any number of them may wait for one run, and one for many."""
        self._waiting.setdefault(asked.ticket, set()).add(client)
        self._units[asked.ticket] = unit_name

    def clients(self, ticket: int) -> list[int]:
        """Those who wait for a run."""
        return sorted(self._waiting.get(ticket, ()))

    def unit_of(self, ticket: int) -> str | None:
        """The unit of a run that somebody waits for."""
        return self._units.get(ticket)

    def end(self, ticket: int) -> list[int]:
        """The run has ended; those who wait for nothing any more."""
        clients = self._waiting.pop(ticket, set())
        self._units.pop(ticket, None)
        return sorted(client for client in clients if not self.is_waiting(client))

    def forget(self, client: int) -> None:
        """A client has gone."""
        for ticket in list(self._waiting):
            self._waiting[ticket].discard(client)
            if not self._waiting[ticket]:
                del self._waiting[ticket]
                del self._units[ticket]

    def is_waiting(self, client: int) -> bool:
        return any(client in clients for clients in self._waiting.values())

    @property
    def all_clients(self) -> set[int]:
        return set().union(*self._waiting.values())

    @property
    def watched_units(self) -> frozenset[str]:
        """The units whose events somebody wants."""
        return frozenset(self._units.values())
