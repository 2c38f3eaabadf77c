"""`tidegate bundle keygen`, `sign` and `verify`: who says what of a bundle, and whether that is so."""

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worker.bundles.directory import local_path, read_directory
from worker.bundles.keys import generate, public_path, read_private, read_trusted, seal_with
from worker.cli.output import print_line, print_table
from worker.core.bundles.bundle import Bundle, unsealed
from worker.core.bundles.limits import SEAL_NAME
from worker.core.bundles.seal import Claims, checked, parse_time, render_seal
from worker.core.bundles.trust import Policy, TrustedKey, signers
from worker.core.planning.plan import listed
from worker.core.value import dataclass
from worker.errors import RefusedError, TidegateError, UsageError
from worker.jobs.look import View, look
from worker.jobs.published import load
from worker.postgres.home_half import HomeHalf, Row

if TYPE_CHECKING:
    from worker.cli.app import App
    from worker.cli.arguments import Flags
    from worker.postgres.session import Session


def add_key_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `keygen`."""
    parser.add_argument("--out", "-o", metavar="FILE", required=True, help="the private key; its public is FILE.pub")
    parser.add_argument("--force", action="store_true", help="replace files that are there")


def add_claim_arguments(parser: argparse.ArgumentParser, key: str) -> None:
    """What signing takes: keys, and what is said besides audience, line and label, which are settings."""
    parser.add_argument(
        key, dest="keys", metavar="KEY", action="append", default=[], required=key == "--key",
        help="sign with this private key, which has no password; say it twice to sign with the old and the new one",
    )  # fmt: skip
    parser.add_argument("--sequence", metavar="N", type=_number, help="grows with each build; else seconds since 1970")
    parser.add_argument("--only-database", metavar="NAME", help="good for databases of this name alone")
    parser.add_argument("--expires", metavar="TIME", type=_time, help="to be published until 2027-01-31T12:00:00Z, say")


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"got {text!r:.60}; it takes a whole number, 0 or more")
    return int(text)


def _time(text: str) -> int:
    try:
        return parse_time(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def keygen(flags: "Flags") -> None:
    """Make a pair of keys."""
    out = Path(flags.own.out)
    made = generate(out, force=flags.own.force)
    print_line(f"{out}: the private key {made}; keep it where bundles are signed, and nowhere else")
    print_line(f"{public_path(out)}: its public key, for TIDEGATE_TRUSTED_KEYS")


def sign(app: "App", flags: "Flags") -> Bundle:
    """Sign a directory: writes its `bundle.sig` anew; the caller has checked it."""
    path = local_path(flags.own.bundle)
    bundle = sealed(app, flags, read_directory(path, app.settings.target.label, unsealed))
    place = path / SEAL_NAME
    try:
        _write(place, render_seal(bundle.seal) if bundle.seal is not None else "")
    except OSError as error:
        message = f"{str(place)!r} cannot be written: {error.strerror}"
        raise UsageError(message, hint="check the path and its rights") from error
    return bundle


def _write(place: Path, text: str) -> None:
    partial = place.with_name(f".{place.name}.partial")
    try:
        partial.write_text(text, encoding="utf-8", newline="")
        partial.replace(place)
    finally:
        partial.unlink(missing_ok=True)


def sealed(app: "App", flags: "Flags", bundle: Bundle) -> Bundle:
    """The bundle with a seal of the keys that were named.

    Raises:
        UsageError: Nothing says which application it is for, or a claim or a key cannot be used.
    """
    own, said, target = flags.own, app.settings.trust, app.settings.target
    if said.audience is None:
        raise UsageError(
            "nothing says which application the bundle is for", hint="say --audience ID, or set TIDEGATE_AUDIENCE"
        )
    sequence = int(time.time()) if own.sequence is None else own.sequence
    line = target.line or bundle.manifest.line or target.version_table.table
    claims = Claims(said.audience, line, bundle.label, sequence, own.only_database, own.expires)
    try:
        checked(claims)
    except ValueError as error:
        raise UsageError(f"the bundle cannot be signed: {error}", hint="correct that value") from None
    return replace(bundle, seal=seal_with([read_private(Path(key)) for key in own.keys], claims, bundle))


def described(app: "App", bundle: Bundle) -> str:
    """Who signed a bundle that was read, and as what."""
    if bundle.seal is None:
        return "not signed"
    claims, paths = bundle.seal.claims, app.settings.trust.keys
    said = f"sequence {claims.sequence}, audience {claims.audience}, line {claims.line}"
    if not paths:
        by = ", ".join(key for key, _ in bundle.seal.signatures)
        return f"signed with the key {by}, which nothing here vouches for; {said}"
    return f"signed by {_names(bundle, read_trusted(paths))}; {said}"


def _names(bundle: Bundle, keys: tuple[TrustedKey, ...]) -> str:
    return "" if bundle.seal is None else ", ".join(key.name for key, _ in signers(bundle.seal, keys))


def strict(app: "App") -> Policy:
    """Verifying is strict wherever there are keys, whatever a worker would make of a doubt.

    Raises:
        UsageError: There are keys, and no audience.
    """
    said = app.settings.trust
    if said.keys and said.audience is None:
        raise UsageError("nothing says which application is meant", hint="say --audience ID, or set TIDEGATE_AUDIENCE")
    return Policy.REQUIRE if said.keys else Policy.OFF


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a published bundle is trusted: who signed it, or why it is not."""

    label: str
    signed: dict[str, Any] | None
    why: str | None

    @property
    def document(self) -> dict[str, object]:
        """What `--json` prints of it."""
        return {"label": self.label, "trusted": self.why is None, "signed": self.signed, "why": self.why}

    @property
    def cells(self) -> tuple[object, ...]:
        """What a person reads of it."""
        said = self.signed or {"sequence": "", "by": ()}
        return self.label, said["sequence"], ", ".join(said["by"]), self.why or "trusted"


def document(app: "App", bundle: Bundle) -> dict[str, object]:
    """What `--json` prints of a source that was checked."""
    paths = app.settings.trust.keys
    signed = _signed(bundle, read_trusted(paths) if paths else ())
    return {"label": bundle.label, "digest": bundle.digest, "signed": signed}


def _signed(bundle: Bundle, keys: tuple[TrustedKey, ...]) -> dict[str, Any] | None:
    if bundle.seal is None:
        return None
    claims = bundle.seal.claims
    return {
        "sequence": claims.sequence,
        "audience": claims.audience,
        "line": claims.line,
        "keys": [key for key, _ in bundle.seal.signatures],
        "by": [key.name for key, _ in signers(bundle.seal, keys)],
    }


async def verdicts(app: "App", policy: Policy) -> tuple[Verdict, ...]:
    """Check the signatures of all that is published on the line, withdrawn bundles too.

    Raises:
        UsageError: No key is trusted.
    """
    if policy is Policy.OFF:
        raise UsageError("no key is trusted", hint="set TIDEGATE_TRUSTED_KEYS to the .pub files of the team")
    site, keys = replace(app.site, trust=app.trust_under(policy)), read_trusted(app.settings.trust.keys)

    async def verdict(session: "Session", view: View, row: Row) -> Verdict:
        try:
            bundle = await load(session, site, view, row)
        except TidegateError as error:
            return Verdict(row.published.label, None, error.message)
        return Verdict(row.published.label, _signed(bundle, keys), None)

    async with app.session() as session:
        view = await look(session, site)
        rows = await HomeHalf(session, view.line).bundles() if view.has_home else ()
        return tuple([await verdict(session, view, row) for row in rows])


def print_verdicts(found: Sequence[Verdict]) -> None:
    """Print them as a table."""
    print_table(("label", "sequence", "signed by", ""), [one.cells for one in found])


def check_verdicts(found: Sequence[Verdict]) -> None:
    """Fail with what was printed.

    Raises:
        RefusedError: Some of it is not trusted.
    """
    bad = [one.label for one in found if one.why is not None]
    if bad:
        raise RefusedError(
            f"{len(bad)} of {len(found)} published bundles are not trusted: {listed(bad)}",
            hint="where they are the team's, sign and publish them again; else find out who can write there",
            reason="untrusted",
        )
