"""Publishing for the targets of one line: what can be known before any of them is looked at, is known before."""

from collections.abc import Mapping

from worker.cli.app import App
from worker.cli.fleet.app import FleetApp
from worker.core.bundles.bundle import Bundle
from worker.core.bundles.wanted import Intent, PublishDecision
from worker.errors import UsageError
from worker.fleet.home import have_control, targets_by_line
from worker.jobs.offer import check_every_script, publish_to_line
from worker.jobs.preflight import check_home_publisher
from worker.postgres.session import Session


async def publish(app: App, bundle: Bundle) -> tuple[PublishDecision, str]:
    """Publish to the home half, on the line that is set or meant; whether it can be applied, each target finds out.

    Raises:
        UsageError: The fleet has no such line, or several and none is named.
        BundleError: A file cannot be run as SQL.
        RefusedError: Its label belongs to other content, or it is not trusted there; or a privilege is missing.
    """
    own = FleetApp(app)
    fleet, said = own.read(), app.settings.target.line or bundle.manifest.line
    check_every_script(bundle)

    async def work(session: Session) -> tuple[PublishDecision, str]:
        line = line_meant(fleet.lines, await targets_by_line(session, fleet.sources), said)
        own.site.trust.check_line_claimed(bundle, line)
        await have_control(session, own.site, check_home_publisher)
        return await publish_to_line(session, own.site, line, bundle, Intent.EXPLICIT), line

    return await app.with_session(work)


def line_meant(declared: tuple[str, ...], sizes: Mapping[str, int], said: str | None) -> str:
    """The line that is said, or the only one that is meant; `sizes` are how many targets each line has by now.

    A registered target may follow a line that the file does not name. What the file's only line is called says
    nothing where all targets follow others.

    Raises:
        UsageError: There is no such line, or there are several and none is named.
    """
    known = tuple(dict.fromkeys((*declared, *sizes)))
    if said is not None:
        if said not in known:
            raise no_such_line(known, said)
        return said
    meant = tuple(sizes) if sizes and len(declared) == 1 and declared[0] not in sizes else known
    if len(meant) > 1:
        raise UsageError(f"the fleet follows several lines: {', '.join(meant)}", hint="say which: --line NAME")
    return meant[0]


def no_such_line(known: tuple[str, ...], line: str) -> UsageError:
    """The error of a line that no target follows."""
    return UsageError(f"no target of the fleet follows the line {line}", hint=f"these do: {', '.join(known)}")
