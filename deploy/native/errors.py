"""The one error of the native stack."""

from __future__ import annotations


class StackError(Exception):
    """What keeps the stack from standing, in a sentence that says what to do about it."""
