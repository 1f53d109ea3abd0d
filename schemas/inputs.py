"""Placeholders in an input, as it is recorded and sent, for secrets and for files.

A placeholder is a whole string, alone or an item of a list. A client's own text may not begin like one.
"""

from typing import Final

from msgspec import Struct, json

SEALED_PREFIX: Final = "samovar-secret:"
"""Start of a secret: base64 of a NaCl sealed box for the installation's public key follows, with a `Secret` in it."""

FILE_PREFIX: Final = "samovar-file:"
"""Start of a file: its key in the file store follows. One of our own file URLs becomes this."""

REDACTED: Final = "**********"
"""What clients see of a secret, and what remains of it once its prediction has ended."""


class Secret(Struct, frozen=True, array_like=True):
    """A secret and the prediction that it belongs to.

    A sealed text that somebody copies into another prediction opens nothing.
    """

    prediction: str
    value: str


decode_secret = json.Decoder(Secret).decode
