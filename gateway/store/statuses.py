"""Conditions on a prediction's status, generated from the statuses that `schemas.prediction` calls final."""

from typing import Final

from schemas.prediction import FINAL, Status


def _list(*statuses: Status) -> str:
    return ", ".join(f"'{status}'" for status in statuses)


IS_UNFINISHED: Final = f"status IN ({_list(*(status for status in Status if status not in FINAL))})"
"""The condition for unfinished predictions, word for word that of the partial indexes of them."""

NOT_FINAL: Final = f"status NOT IN ({_list(*(status for status in Status if status in FINAL))})"
"""The condition for unfinished predictions that are looked up by id.

It names the final states and not the others, as the others are the condition of the index `predictions_due`: PostgreSQL
would read all of that index, too, in which there is an entry for each prediction since the last vacuum.
"""
