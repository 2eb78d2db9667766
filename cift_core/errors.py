"""The whole error tree. The core carries a stable code, never an HTTP status (`cift_web/problems.py` maps).

CiftError
├── InvalidInput       what was sent is wrong, and says where and what would be right
├── Unauthenticated    no key, or one that does not hold
├── Forbidden          a valid key without the scope
├── NotFound           does not exist, or belongs to somebody else
├── Gone               was there and is not kept any longer
├── Conflict           true now, may be different later (a running job can't be deleted)
├── RateLimited        too often within a minute; says when to come again
├── Outdated           somebody else changed the thing since it was read
└── StoreUnavailable   a server does not answer: the only error a task retries
"""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches


@dataclass(frozen=True, slots=True)
class FieldError:
    """One wrong field: `pointer` is a JSON pointer (RFC 6901) into what was sent."""

    pointer: str
    detail: str


class CiftError(Exception):
    """An error a user can act on: a stable `code`, a sentence, and the fields it concerns."""

    def __init__(self, code: str, message: str, errors: Iterable[FieldError] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.errors = tuple(errors)

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.code, self.message, self.errors)


class InvalidInput(CiftError):
    """What was sent is wrong."""


class Unauthenticated(CiftError):
    """No key, or one that does not hold."""


class Forbidden(CiftError):
    """A valid key without the scope for this."""


class NotFound(CiftError):
    """No such thing for this user."""


class Gone(CiftError):
    """It was there and is not kept any longer."""


class Conflict(CiftError):
    """The thing is in a state that does not allow this."""


class RateLimited(CiftError):
    """Too often: to be asked again after `retry_after_s` seconds; `first` of this minute, or one of many."""

    def __init__(self, code: str, message: str, retry_after_s: int, first: bool) -> None:
        super().__init__(code, message)
        self.retry_after_s = retry_after_s
        self.first = first

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.code, self.message, self.retry_after_s, self.first)


class Outdated(CiftError):
    """The thing is no longer the version that was to be changed."""


class StoreUnavailable(CiftError):
    """A server does not answer; the same call may succeed later."""


class JobCancelled(CiftError):
    """The owner asked the running job to stop."""


class LeaseLost(CiftError):
    """This worker's lease on the job is gone: whatever it would still write is not wanted."""


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """` (did you mean "slow"?)` for a near miss, else the empty string; to be appended to a sentence."""
    near = get_close_matches(name, list(candidates), n=1, cutoff=0.6)
    return f' (did you mean "{near[0]}"?)' if near else ""


def pointer_to(parent: str, name: object) -> str:
    """The JSON pointer of a member of `parent`, whatever characters its name has."""
    return f"{parent}/{str(name).replace('~', '~0').replace('/', '~1')}"
