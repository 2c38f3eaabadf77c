"""Takes secrets out of what is shown of a target: what a server or a file said can repeat one."""

from collections.abc import Callable
from dataclasses import replace

from worker.core.events.failure import Failure
from worker.core.status.drift import Difference, Drift, Verdict
from worker.core.status.snapshot import TargetStatus

Mask = Callable[[str], str]
"""Gives the text without this process's secrets."""


def masked(status: TargetStatus, mask: Mask) -> TargetStatus:
    """The status, with the texts masked that the job's row has of why it stopped."""
    failure = None if status.failure is None else _failure(status.failure, mask)
    return replace(status, failure=failure, refusal=_text(status.refusal, mask), hint=_text(status.hint, mask))


def masked_verdict(verdict: Verdict, mask: Mask) -> Verdict:
    """The verdict, with the texts masked that the catalogue has: a default or a function can hold a secret."""
    if not isinstance(verdict, Drift):
        return verdict
    return replace(verdict, differences=tuple(_difference(one, mask) for one in verdict.differences))


def _difference(one: Difference, mask: Mask) -> Difference:
    parts = (replace(part, was=_text(part.was, mask), now=_text(part.now, mask)) for part in one.parts)
    return replace(one, parts=tuple(parts))


def _failure(failure: Failure, mask: Mask) -> Failure:
    return replace(
        failure,
        file=mask(failure.file),
        message=mask(failure.message),
        hint=_text(failure.hint, mask),
        statement=_text(failure.statement, mask),
    )


def _text(text: str | None, mask: Mask) -> str | None:
    return None if text is None else mask(text)
