"""The statement that goes with records of treatment for substance use when they are disclosed."""

from typing import Final

NOTICE: Final = "42 CFR part 2 prohibits unauthorized use or disclosure of these records."


def notice(*, applies: bool) -> str | None:
    """What has to accompany a disclosure of this record, in the regulation's short form.

    Units and range: one sentence, or None where the law does not apply. Raises: nothing.
    Missing data: a record nobody has flagged carries no notice; whether it needs one the clinic knows, not we.

    Source: 42 CFR 2.32(a)(2), as amended by 89 FR 12472 (16 February 2024).

    >>> notice(applies=True)
    '42 CFR part 2 prohibits unauthorized use or disclosure of these records.'
    >>> notice(applies=False) is None
    True
    """
    return NOTICE if applies else None
