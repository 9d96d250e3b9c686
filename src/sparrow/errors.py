"""The errors a user can act on."""


class SparrowError(Exception):
    """Bad input or a broken promise: one line that names the key or file, the value and what would be valid."""


class ConfigError(SparrowError):
    """The study's configuration is not valid."""


class CheckpointError(SparrowError):
    """A file is not a checkpoint, or not the one that was expected."""


class NetworkError(SparrowError):
    """One network cannot be used, whatever is tried again: it diverged, or its layers cannot be bounded."""


class InheritedError(NetworkError):
    """The network that this one was to be made from, or the one to be evaluated, has failed before."""


class StorageError(SparrowError):
    """A file cannot be written: no room, or no permission."""


class ContradictionError(SparrowError):
    """Two results that cannot both be true, such as a sample both verified and broken."""
