"""What can go wrong with a test service."""


class ServiceError(RuntimeError):
    """A service did not start, or is not the one that was started."""


class ServiceUnavailableError(ServiceError):
    """This machine lacks something that the service needs; the message says what."""
