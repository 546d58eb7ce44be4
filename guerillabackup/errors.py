"""The exceptions of the whole house, one tree: the class says whose fault it is. No I/O.

Messages carry what, which and the limit, in lower case and without a full stop, because callers put
them behind the name of the thing that failed.
"""


class GuerillaBackupError(Exception):
    """Everything this package raises on purpose."""


class TemporaryError(GuerillaBackupError):
    """What may pass by itself: trying again later can succeed. Only retry code asks for it."""


class ConfigError(GuerillaBackupError):
    """The operator's: configuration, unit files, arguments.

    `problems` holds every single one, where several were found in one go.
    """

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems: tuple[str, ...] = problems


class KeyUnusableError(ConfigError):
    """A key that is named is missing, expired, revoked or cannot do what is asked of it."""


class RemoteProtocolError(GuerillaBackupError):
    """The peer's: it broke the protocol."""


class ConnectionLostError(RemoteProtocolError, TemporaryError):
    """The connection ended before both sides had agreed to end it: the next one may go further."""


class StorageError(GuerillaBackupError):
    """This machine's world: files, devices, processes."""


class StorageFullError(StorageError, TemporaryError):
    """No space, no inodes or no quota left: the same run succeeds once there is."""


class StorageReadOnlyError(StorageError):
    """The file system takes nothing just now, whatever it is: it was mounted so, or met an error."""


class StorageReplacedError(StorageError):
    """The storage's directory is not at its place any more: what goes into it, nobody would find there."""


class ElementNotFoundError(StorageError):
    """The element that was asked for is not, or no longer, in the storage."""


class ElementLockedError(StorageError, TemporaryError):
    """Somebody else reads or deletes the element right now."""


class ElementExistsError(StorageError):
    """What would be written is there already and must not be replaced."""


class PipelineError(StorageError):
    """A stage of a pipeline failed: a program's exit status, a signal, input left unread, no progress."""


class CancelledError(PipelineError):
    """Somebody who may ended the work before it was done; nothing of it stays."""


class UnreadInputError(PipelineError):
    """A process ended and left input unread: what it did not take is not in the result."""


class BrokenOutputError(PipelineError):
    """Nobody read a process's output any more: mostly what follows from the failure of a later process."""


class StateError(StorageError):
    """The remembered state of a unit or an agent cannot be used as it is."""


class IntegrityError(GuerillaBackupError):
    """The data is not what it claims to be: digest, signature, chain, format."""


class SourceUrlError(IntegrityError):
    """A text is not a source URL."""


class ElementIdError(IntegrityError):
    """A text is not an element id."""


class MetainfoError(IntegrityError):
    """Metadata of an element breaks a rule of its format."""
