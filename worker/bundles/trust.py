"""Trust: lets bundles through that the team has signed for this application, and keeps in mind how new they were.

What was seen is kept in this process alone. Whoever may write to the control tables could set back a number in them.
"""

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256

from worker.bundles.keys import is_signed
from worker.core.bundles.bundle import Bundle, unvetted
from worker.core.bundles.migration import Side
from worker.core.bundles.seal import Seal, digests_of, message_of, parse_seal
from worker.core.bundles.trust import (
    FORGED,
    UNSIGNED,
    Objection,
    Place,
    Policy,
    TrustedKey,
    expired,
    led_astray,
    misdirected,
    misplaced,
    replayed,
    signers,
    unknown,
)
from worker.core.value import dataclass
from worker.errors import RefusedError, SettingError

_BOM = "\ufeff"


@dataclass(frozen=True, slots=True)
class Terms:
    """What the configuration says; `line` None leaves it to the offered bundle, else to the version table's name."""

    policy: Policy
    audience: str
    line: str | None
    min_sequence: int


class Warrant:
    """The files that were found signed, by their SHA-256, for a last check of what is about to be sent."""

    def __init__(self, bundles: Sequence[Bundle]) -> None:
        self._signed = {pair for one in bundles for pair in digests_of(one.files).items()}

    def check(self, side: Side | None) -> None:
        """Let a file's text through.

        Raises:
            RefusedError: It is not the text of a signed file of that name.
        """
        texts = () if side is None else (side.sql, _BOM + side.sql)
        if side is not None and not any((side.file, sha256(text.encode()).digest()) in self._signed for text in texts):
            raise _refused(side.file, FORGED)


class Trust:
    """Decides about bundles, by the keys as they are now; `tell` hears what is run in spite of a doubt."""

    def __init__(
        self,
        terms: Terms,
        keys: Callable[[], tuple[TrustedKey, ...]],
        now: Callable[[], float],
        tell: Callable[[str], None],
    ) -> None:
        self._terms = terms
        self._keys = keys
        self._now = now
        self._tell = tell
        self._floor = terms.min_sequence
        self._line = terms.line
        self._known: str | None = None

    def __bool__(self) -> bool:
        """Whether anything is checked."""
        return self._terms.policy is not Policy.OFF

    def ready(self) -> None:
        """Read the keys once.

        Raises:
            SettingError: They cannot be read.
        """
        if self:
            self._keys()

    def vet(self, files: Mapping[str, bytes], raw: bytes | None, source: str) -> Seal | None:
        """Read a seal, and decide about a bundle's raw bytes before they are parsed.

        Raises:
            RefusedError: Nobody who is trusted signed them for this application, or the seal is of other files.
        """
        seal = unvetted(files, raw, source)
        self.check_files(files, seal, source)
        return seal

    def check_files(self, files: Mapping[str, bytes], seal: Seal | None, source: str) -> None:
        """Decide about a bundle's raw bytes.

        Raises:
            RefusedError: Nobody who is trusted signed them for this application.
        """
        self._judge(source, lambda: self.authenticity(files, seal))

    def offered(self, bundle: Bundle) -> None:
        """Keep in mind what this process was started to offer: nothing older is run, and its line is the one."""
        self.seen(bundle)
        if self and bundle.seal is not None:
            self._line = self._line or bundle.seal.claims.line

    def check_publishing(self, bundle: Bundle) -> None:
        """Let a bundle be published that is new to its line, or made wanted again.

        Raises:
            RefusedError: Its time is over, or its sequence number below `TIDEGATE_MIN_SEQUENCE`.
        """
        if self and bundle.seal is not None:
            claims = bundle.seal.claims
            floor = self._terms.min_sequence
            self._judge(f"bundle {bundle.label}", lambda: expired(claims, self._now()) or replayed(claims, floor))

    def check_line(self, followed: str, table: str) -> None:
        """Compare the line that a target's row names with the one that this process was started for.

        Raises:
            RefusedError: They differ.
        """
        said = self._line or table
        if self and followed != said:
            self._judge(f"the line {followed}", lambda: _other_line(followed, said))

    def check_line_claimed(self, bundle: Bundle, line: str) -> None:
        """Let a bundle that was vetted be published on a line, whatever its targets are.

        Raises:
            RefusedError: It was signed for another one.
        """
        self._judge(f"bundle {bundle.label}", lambda: _astray(bundle, line))

    def lines_claimed(self, bundle: Bundle, lines: Sequence[str]) -> Sequence[str]:
        """The lines that a bundle was signed for; all of them where nothing is checked, or where none is the right one.

        Raises:
            RefusedError: It was signed for none of them.
        """
        meant = [line for line in lines if not self or _astray(bundle, line) is None]
        for line in () if meant else lines:
            self.check_line_claimed(bundle, line)
        return meant or lines

    def check_place(self, bundle: Bundle, place: Place, also: Callable[[], Objection | None] = lambda: None) -> None:
        """Let a bundle that was vetted be used at a line and a database; `also` objects to its row.

        Raises:
            RefusedError: It was signed for another one.
        """
        self._judge(f"bundle {bundle.label}", lambda: _misplaced(bundle, place) or also())

    def authenticity(self, files: Mapping[str, bytes], seal: Seal | None) -> Objection | None:
        """Object to files that nobody who is trusted signed for this audience; nothing where nothing is checked."""
        if not self:
            return None
        return UNSIGNED if seal is None else self._doubt(digests_of(files), seal)

    def _doubt(self, digests: Mapping[str, bytes], seal: Seal) -> Objection | None:
        keys = self._current_keys()
        if isinstance(keys, Objection):
            return keys
        signed = signers(seal, keys)
        if not signed:
            return unknown(seal, keys)
        message = message_of(seal.claims, digests)
        if not all(is_signed(key, made, message) for key, made in signed):
            return FORGED
        return misdirected(seal.claims, self._terms.audience)

    def seen(self, bundle: Bundle) -> None:
        """Keep in mind how new a wanted bundle is, if it is trusted."""
        if self and bundle.seal is not None and self.authenticity(bundle.files, bundle.seal) is None:
            self._floor = max(self._floor, bundle.seal.claims.sequence)

    def knows(self, digest: str) -> bool:
        """Whether `learn` was told last of the bundle of this digest, or need not be told at all."""
        return not self or digest == self._known

    def learn(self, digest: str, digests: Mapping[str, bytes], raw: bytes | None, place: Place) -> None:
        """Keep in mind how new a wanted bundle is whose files are not read, since there is nothing to do."""
        self._known = digest
        try:
            seal = None if raw is None else parse_seal(raw)
        except RefusedError:
            return
        if seal is not None and (self._doubt(digests, seal) or misplaced(seal.claims, place)) is None:
            self._floor = max(self._floor, seal.claims.sequence)

    def warrant(self, bundle: Bundle, lent: Sequence[Bundle], place: Place, *, upwards: bool) -> Warrant | None:
        """Decide once more, with the lock held, about the bytes that are to be run; None where nothing is refused.

        A bundle that lends what is undone may be older than what was seen: a rollback needs the older ones.

        Raises:
            RefusedError: They are not trusted, and why.
        """
        for one in (bundle, *lent):
            self.check_files(one.files, one.seal, f"bundle {one.label}")
            self.check_place(one, place)
        if self and upwards and bundle.seal is not None:
            claims = bundle.seal.claims
            self._judge(f"bundle {bundle.label}", lambda: replayed(claims, self._floor))
        return Warrant((bundle, *lent)) if self._terms.policy is Policy.REQUIRE else None

    def _current_keys(self) -> tuple[TrustedKey, ...] | Objection:
        try:
            return self._keys()
        except SettingError as error:
            return Objection(error.message, error.hint)

    def _judge(self, what: str, judge: Callable[[], Objection | None]) -> None:
        if not self:
            return
        objection = judge()
        if objection is None:
            return
        if self._terms.policy is Policy.REQUIRE:
            raise _refused(what, objection)
        self._tell(f"{_shown(what)} is not trusted: {objection.message}")


def _misplaced(bundle: Bundle, place: Place) -> Objection | None:
    return None if bundle.seal is None else misplaced(bundle.seal.claims, place)


def _astray(bundle: Bundle, line: str) -> Objection | None:
    return None if bundle.seal is None else led_astray(bundle.seal.claims, line)


def _shown(what: str) -> str:
    """A name as it was read, which somebody may have chosen for what it does to a terminal."""
    return what if what.isprintable() else repr(what)


def _refused(what: str, objection: Objection) -> RefusedError:
    return RefusedError(f"{_shown(what)} is not trusted: {objection.message}", hint=objection.hint, reason="untrusted")


def _other_line(followed: str, said: str) -> Objection:
    line = _shown(followed)
    return Objection(
        f"the target's row says that it follows it, and this process was started for {said}",
        f"if {line} is right, set TIDEGATE_LINE={line}; else somebody changed the row in the table target",
    )


OFF = Trust(Terms(Policy.OFF, "", None, 0), tuple, lambda: 0.0, lambda _message: None)
"""Trust where nothing is checked."""
