"""Points of time as people write them: +1h, 2026-05-01 12:30, tomorrow 8am (flux-submit(1), --begin-time)."""

from __future__ import annotations

from flux.util import parse_datetime
from flux_cli.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["parse_date"]


def parse_date(option: str, text: str) -> datetime:
    """A point of time, with time zone. CommandError naming the option when nobody can tell which is meant."""
    try:
        return parse_datetime(text)
    except ValueError as exc:
        if text.startswith("+"):
            raise CommandError(f"{option}: {exc}") from None
    return _natural(option, text)


def _natural(option: str, text: str) -> datetime:
    from datetime import datetime

    from parsedatetime import VERSION_CONTEXT_STYLE, Calendar, Constants

    constants = Constants()
    constants.StartHour = 0  # a day begins at midnight
    found, context = Calendar(constants, VERSION_CONTEXT_STYLE).parseDT(text, datetime.now())
    if not context.hasDateOrTime:
        raise CommandError(
            f"{option}: invalid date '{text}': expected +DURATION, 2026-05-01 12:30, or words such as tomorrow 8am"
        )
    moment: datetime = found.astimezone()
    return moment
