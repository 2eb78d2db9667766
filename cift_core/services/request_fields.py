"""The fields of a request, read one by one; everything that is wrong with them is told."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cift_core.errors import FieldError, did_you_mean, pointer_to


class Fields:
    """The fields of one object of the request; what is wrong with them is added to `errors`."""

    def __init__(self, errors: list[FieldError], pointer: str, values: object, known: Sequence[str]) -> None:
        self._errors = errors
        self._pointer = pointer
        if not isinstance(values, Mapping):
            self.wrong("", "must be a JSON object")
            values = {}
        self.values: Mapping[str, Any] = values
        for name in values:
            if name not in known:
                near = did_you_mean(str(name), known) or f"; these are: {', '.join(known)}"
                self.wrong(pointer_to("", name), f"is not a field here{near}")

    def wrong(self, place: str, detail: str) -> None:
        """Tell what is wrong at a place in the object."""
        self._errors.append(FieldError(self._pointer + place, detail))

    def nested(self, name: str, known: Sequence[str]) -> "Fields":
        """The fields of an object in it."""
        return Fields(self._errors, f"{self._pointer}/{name}", self.values.get(name), known)

    def text(self, name: str, default: str | None = None) -> str | None:
        """A text that is not empty; the default when it is not there."""
        value = self.values.get(name)
        if value is None:
            return default
        if not isinstance(value, str) or not value or "\0" in value:
            self.wrong(f"/{name}", "must be a string that is not empty")
            return None
        return value

    def choice(self, name: str, now: Iterable[str]) -> str | None:
        """One of a few words, which must be there."""
        value = self.text(name)
        if value is None:
            if self.values.get(name) is None:
                self.wrong(f"/{name}", f"is missing; one of: {', '.join(now)}")
        elif value not in now:
            self.wrong(f"/{name}", f"{value!r} is none of: {', '.join(now)}{did_you_mean(value, now)}")
        else:
            return value
        return None
