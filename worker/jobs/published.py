"""Reads bundles back from the home half, and lets through those that are trusted."""

from collections.abc import Mapping

from worker.bundles.trust import Trust
from worker.core.bundles.bundle import Bundle, build_bundle
from worker.core.bundles.seal import Seal
from worker.core.bundles.trust import Objection, Place
from worker.core.pattern import pattern
from worker.core.planning.readiness import required_versions
from worker.core.value import replace
from worker.errors import RefusedError
from worker.jobs.look import View
from worker.jobs.site import Site
from worker.postgres.home_half import HomeHalf, Row
from worker.postgres.session import Session

_SHA256 = pattern(r"[0-9a-f]{64}")


def place_of(view: View) -> Place:
    """Where a bundle of this view's line would be used."""
    return Place(view.line, view.survey.database)


async def load(session: Session, site: Site, view: View, row: Row, at_hand: Bundle | None = None) -> Bundle:
    """Read a published bundle; the files of the bundle at hand are taken where they are the same.

    Its signatures are checked before anything of it is parsed; then its row, whose columns others read.

    Raises:
        RefusedError: The stored files are not those that were published, or the team did not sign them.
        BundleError: They make no bundle.
    """
    trust, home, label = site.trust, HomeHalf(session, view.line), row.published.label
    trust.check_line(view.line, view.survey.target.table)
    same = at_hand if at_hand is not None and at_hand.digest == row.published.digest else None
    files = await home.files(row) if same is None else same.files
    seal = await _vetted(home, trust, row, files, same) if trust else None
    bundle = build_bundle(files, label, f"bundle {label}") if same is None else same
    bundle = replace(bundle, label=label, seal=seal)
    trust.check_place(bundle, place_of(view), lambda: _differing(row, bundle))
    _check_row(row, bundle)
    return bundle


def _check_row(row: Row, bundle: Bundle) -> None:
    """Refuse a row that opens gates for less than the files say, signed or not."""
    manifest = bundle.manifest
    stored, meant = (
        (row.required, row.serves, row.order),
        (required_versions(bundle.migrations), manifest.serves, manifest.order),
    )
    if stored != meant:
        raise RefusedError(
            f"bundle {bundle.label}: its row does not say what its files say (required, serves or order_policy)",
            hint="withdraw it, and publish it anew under another label with tidegate publish",
            reason="checksum",
        )


async def learn(session: Session, site: Site, view: View) -> None:
    """Keep in mind how new the wanted bundle is, once, where there is nothing to do and its files are not read."""
    row = view.wanted
    if row is None or site.trust.knows(row.published.digest):
        return
    pairs = zip(row.names, row.checksums, strict=False)
    digests = {name: bytes.fromhex(checksum) for name, checksum in pairs if _SHA256.fullmatch(checksum)}
    raw = await HomeHalf(session, view.line).seal(row)
    site.trust.learn(row.published.digest, digests, raw, place_of(view))


async def _vetted(
    home: HomeHalf, trust: Trust, row: Row, files: Mapping[str, bytes], same: Bundle | None
) -> Seal | None:
    """The row's seal, or that of the bundle at hand, which is of the same files and may be of a newer key."""
    source = f"bundle {row.published.label}"
    if same is not None and same.seal is not None and same.seal.claims.label == row.published.label:
        trust.check_files(files, same.seal, source)
        return same.seal
    return trust.vet(files, await home.seal(row), source)


def _differing(row: Row, bundle: Bundle) -> Objection | None:
    """Object to a row that says anything else than the signed bytes do."""
    manifest, label = bundle.manifest, row.published.label
    facts: dict[str, tuple[object, object]] = {
        "label": (label, label if bundle.seal is None else bundle.seal.claims.label),
        "names": (sorted(row.names), sorted(bundle.files)),
        "checksums": (row.published.checksums, bundle.checksums),
        "required": (row.required, required_versions(bundle.migrations)),
        "serves": (row.serves, manifest.serves),
        "order_policy": (row.order, manifest.order),
    }
    wrong = [name for name, (stored, signed) in facts.items() if stored != signed]
    if not wrong:
        return None
    return Objection(
        f"its row says something else than its signed files do ({', '.join(wrong)})",
        "somebody changed the row: publish the signed bundle under another label, and find out who can write to it",
    )
